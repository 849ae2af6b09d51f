#include "worker/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/block.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/heap.h"
#include "common/log.h"
#include "worker/executor/detach.h"
#include "worker/fatal.h"
#include "worker/progress.h"
#include "worker/slots/executors.h"
#include "worker/uplink.h"

#define DRAIN_GRACE_MS 30000
#define CANCEL_GRACE_MS 1000
#define GOODBYE_NS (2 * NP_NS_PER_S) /* after the drain's grace: to write the last results */

/* Failed starts of each executor until the worker gives up; slot.c has the pauses between them. */
enum {
    FAILED_STARTS_FIRST = 8, /* before it has been ready: within a second */
    FAILED_STARTS_MAX = 14,  /* later: ten seconds */
};

struct supervisor {
    struct supervisor_options options;
    struct zygote zygote;
    char **functions; /* names, by index */
    size_t function_count;
    struct np_heap *heap; /* or NULL */
    struct reactor *reactor;
    struct reactor_source signals;
    struct outbox outbox;
    struct executors executors;
    struct uplink uplink;
    uint32_t last_function; /* that was looked up */
    uint32_t links;         /* welcomed so far */
    bool is_running;        /* supervisor_run has set up what lies between reactor and uplink */
    bool is_draining;
    bool is_interrupted; /* by a second signal */
    int64_t drain_by;    /* what runs is given up then */
    netpool_error end;   /* why it drains: NETPOOL_OK for a signal */
};

static void tell_readiness(struct supervisor *supervisor, const char *line)
{
    int fd = supervisor->options.ready_fd;
    if (fd >= 0) {
        (void)!write(fd, line, strlen(line));
        (void)!write(fd, "\n", 1);
        close(fd);
        supervisor->options.ready_fd = -1;
    }
}

static netpool_status learn_functions(struct supervisor *supervisor, netpool_error *error)
{
    struct zygote_event event;
    for (;;) {
        netpool_status status = zygote_await(&supervisor->zygote, &event, error);
        if (status != NETPOOL_OK || event.kind == ZYGOTE_LOADED) {
            return status;
        }
        size_t count = supervisor->function_count + 1;
        supervisor->functions = fatal_if_null(realloc(supervisor->functions, count * sizeof(char *)));
        supervisor->functions[supervisor->function_count] = fatal_if_null(strdup(event.text));
        supervisor->function_count = count;
    }
}

netpool_status supervisor_new(struct supervisor **out, const struct supervisor_options *options, netpool_error *error)
{
    netpool_error local = {0};
    error = error != NULL ? error : &local;
    if (options->slots == 0 || options->slots > NP_SLOTS_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "%u executors; 1 to %u are possible", options->slots,
                            NP_SLOTS_MAX);
    }
    struct supervisor *supervisor = fatal_if_null(calloc(1, sizeof *supervisor));
    supervisor->options = *options;
    supervisor->zygote.fd = -1;
    netpool_status status =
        zygote_start(&supervisor->zygote, options->modules, options->module_count, options->slots, error);
    if (status == NETPOOL_OK) {
        status = learn_functions(supervisor, error);
    }
    if (status != NETPOOL_OK) {
        tell_readiness(supervisor, error->message);
        supervisor_destroy(&supervisor);
        return status;
    }
    *out = supervisor;
    return NETPOOL_OK;
}

static uint32_t find_function(struct supervisor *supervisor, const char *name)
{
    if (supervisor->last_function < supervisor->function_count &&
        strcmp(supervisor->functions[supervisor->last_function], name) == 0) {
        return supervisor->last_function;
    }
    for (uint32_t i = 0; i < supervisor->function_count; i++) {
        if (strcmp(supervisor->functions[i], name) == 0) {
            return supervisor->last_function = i;
        }
    }
    return TASK_NO_FUNCTION;
}

static void send_empty(struct supervisor *supervisor, Np__Envelope__KindCase kind)
{
    Np__Ready ready = NP__READY__INIT;
    Np__Drain drain = NP__DRAIN__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = kind;
    if (kind == NP__ENVELOPE__KIND_READY) {
        envelope.ready = &ready;
    } else {
        envelope.drain = &drain;
    }
    uplink_send(&supervisor->uplink, &envelope);
}

static void report_and_be_ready(void *owner)
{
    struct supervisor *supervisor = owner;
    struct roll roll = {0};
    supervisor->links++;
    executors_report(&supervisor->executors, &roll);
    outbox_report(&supervisor->outbox, &roll);
    roll_send_held(&roll, supervisor->uplink.channel);
    roll_fini(&roll);
    send_empty(supervisor, NP__ENVELOPE__KIND_READY);
    if (supervisor->is_draining) {
        send_empty(supervisor, NP__ENVELOPE__KIND_DRAIN);
    }
}

static void give_back(struct supervisor *supervisor, struct roll *roll, bool end)
{
    if (supervisor->uplink.is_ready) {
        roll_send_returned(roll, supervisor->uplink.channel, end);
    }
    roll_fini(roll);
}

static void handle_assign(struct supervisor *supervisor, struct np_message *message)
{
    uint32_t function = find_function(supervisor, message->envelope->assign->function);
    executors_assign(&supervisor->executors, batch_new(message, supervisor->uplink.epoch, function, np_clock_now()));
    if (supervisor->is_draining) { /* sent before our DRAIN had arrived */
        struct roll roll = {0};
        executors_pause(&supervisor->executors, &roll, np_clock_now());
        give_back(supervisor, &roll, false);
    }
}

static void handle_withdraw(struct supervisor *supervisor, const Np__Withdraw *withdraw)
{
    if (withdraw->n_seqs > 0) {
        uint64_t *seqs = fatal_if_null(malloc(withdraw->n_seqs * sizeof *seqs));
        memcpy(seqs, withdraw->seqs, withdraw->n_seqs * sizeof *seqs);
        const struct withdrawal withdrawal = {.session = withdraw->session.data,
                                              .seqs = seqs,
                                              .count = withdraw->n_seqs,
                                              .unstarted_only = withdraw->unstarted_only};
        executors_cancel(&supervisor->executors, &withdrawal, np_clock_now());
        free(seqs);
    } else {
        struct roll roll = {0};
        executors_give_back(&supervisor->executors, withdraw->count, &roll);
        give_back(supervisor, &roll, true);
    }
}

static void handle_prepare(struct supervisor *supervisor, const struct np_message *message)
{
    const Np__Prepare *prepare = message->envelope->prepare;
    if (prepare->session.len != NP_SESSION_SIZE) {
        channel_close(supervisor->uplink.channel, NETPOOL_PROTOCOL, "a preparation for nobody's session");
        return;
    }
    if (prepare->initializer[0] == '\0' && prepare->max_tasks_per_executor == 0) {
        executors_forget(&supervisor->executors, prepare->session.data, np_clock_now());
        return;
    }
    const struct preparation_order order = {.session = prepare->session.data,
                                            .initializer = prepare->initializer,
                                            .function = find_function(supervisor, prepare->initializer),
                                            .max_tasks = prepare->max_tasks_per_executor,
                                            .input = message->body,
                                            .input_size = message->body_size,
                                            .link = supervisor->links};
    if (!executors_prepare(&supervisor->executors, &order, np_clock_now())) {
        channel_close(supervisor->uplink.channel, NETPOOL_NO_MEMORY, "executors are prepared for too many sessions");
    }
}

static void handle_message(void *owner, struct np_message *message)
{
    struct supervisor *supervisor = owner;
    if (message->envelope->kind_case == NP__ENVELOPE__KIND_ASSIGN) {
        handle_assign(supervisor, message);
    } else if (message->envelope->kind_case == NP__ENVELOPE__KIND_WITHDRAW) {
        handle_withdraw(supervisor, message->envelope->withdraw);
    } else if (message->envelope->kind_case == NP__ENVELOPE__KIND_PREPARE) {
        handle_prepare(supervisor, message);
    }
}

static void link_lost(void *owner)
{
    (void)owner; /* what is held goes on; it is reported at the next welcome */
}

static const struct uplink_handler uplink_handler = {
    .welcomed = report_and_be_ready, .received = handle_message, .lost = link_lost};

static void begin_drain(struct supervisor *supervisor, int64_t now)
{
    np_log(NP_LOG_INFO, "worker", "draining: %zu tasks run or wait",
           supervisor->executors.fed + supervisor->executors.queued);
    supervisor->is_draining = true;
    supervisor->drain_by = now + supervisor->options.drain_grace_ms * NP_NS_PER_MS;
    send_empty(supervisor, NP__ENVELOPE__KIND_DRAIN);
    struct roll roll = {0};
    executors_pause(&supervisor->executors, &roll, now);
    give_back(supervisor, &roll, false);
}

static void signal_came(struct reactor_source *source, uint32_t events)
{
    (void)events;
    struct supervisor *supervisor = NP_CONTAINER(source, struct supervisor, signals);
    struct signalfd_siginfo info;
    while (read(source->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (supervisor->is_draining) {
            supervisor->is_interrupted = true;
        } else {
            begin_drain(supervisor, np_clock_now());
        }
    }
}

static netpool_status watch_signals(struct supervisor *supervisor, netpool_error *error)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    detach_reset_signals(&ends);
    (void)signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0 || reactor_add(supervisor->reactor, &supervisor->signals, fd, EPOLLIN, signal_came) != NETPOOL_OK) {
        return np_error_system(error, "cannot watch for signals");
    }
    return NETPOOL_OK;
}

static netpool_status set_up(struct supervisor *supervisor, netpool_error *error)
{
    struct supervisor_options *options = &supervisor->options;
    options->drain_grace_ms = options->drain_grace_ms > 0 ? options->drain_grace_ms : DRAIN_GRACE_MS;
    options->cancel_grace_ms = options->cancel_grace_ms > 0 ? options->cancel_grace_ms : CANCEL_GRACE_MS;
    supervisor->signals.fd = -1;
    outbox_init(&supervisor->outbox);
    netpool_status status = reactor_new(&supervisor->reactor, error);
    if (status == NETPOOL_OK) {
        status = watch_signals(supervisor, error);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    if (options->heap_fd > 0 && (supervisor->heap = np_heap_attach(options->heap_fd)) == NULL) {
        return np_error_system(error, "cannot map the memory that is shared with the program");
    }
    const struct executors_options executors = {
        .reactor = supervisor->reactor,
        .zygote = &supervisor->zygote,
        .outbox = &supervisor->outbox,
        .slots = options->slots,
        .functions = supervisor->function_count,
        .heap = supervisor->heap,
        .max_payload = options->max_payload > 0 ? options->max_payload : NP_PAYLOAD_DEFAULT,
        .max_tasks = options->max_tasks_per_executor,
        .cancel_grace_ns = options->cancel_grace_ms * NP_NS_PER_MS,
        .forward_fd = options->forward_output ? STDERR_FILENO : -1,
    };
    status = executors_init(&supervisor->executors, &executors, error);
    if (status == NETPOOL_OK) {
        uplink_init(&supervisor->uplink, supervisor->reactor, options, &uplink_handler, supervisor);
        supervisor->uplink.heap = supervisor->heap;
        supervisor->uplink.functions = supervisor->functions;
        supervisor->uplink.function_count = supervisor->function_count;
        supervisor->is_running = true;
    }
    return status;
}

static void send_results(struct supervisor *supervisor)
{
    struct uplink *uplink = &supervisor->uplink;
    if (!uplink->is_ready) {
        return;
    }
    bool was_full = outbox_is_full(&supervisor->outbox);
    outbox_send(&supervisor->outbox, uplink->channel, uplink->credit_bytes, &uplink->sent_bytes);
    if (was_full && !outbox_is_full(&supervisor->outbox)) {
        executors_resume(&supervisor->executors);
    }
}

/* Is the drain over? What still runs after its grace is left to the broker: it has not been answered. */
static bool is_drained(struct supervisor *supervisor, int64_t now)
{
    if (!supervisor->is_draining) {
        return false;
    }
    bool runs =
        (supervisor->executors.fed > 0 || supervisor->executors.postmortems.count > 0) && now < supervisor->drain_by;
    bool has_link = supervisor->uplink.is_ready;
    bool is_unsent =
        !outbox_is_empty(&supervisor->outbox) || (has_link && channel_backlog(supervisor->uplink.channel) > 0);
    if (runs || (is_unsent && now < supervisor->drain_by + (has_link ? GOODBYE_NS : 0))) {
        return false;
    }
    if (has_link && supervisor->end.status == NETPOOL_OK) {
        channel_close(supervisor->uplink.channel, NETPOOL_CLOSED, "the worker has drained");
    } else if (has_link) {
        channel_close(supervisor->uplink.channel, supervisor->end.status, supervisor->end.message);
    }
    return true;
}

/* What a person may do about a failed start. */
static const char *advice(int error)
{
    switch (error) {
    case EMFILE:
        return "; the limit of open files (ulimit -n) is too low";
    case EAGAIN:
        return "; a limit of processes (ulimit -u, pids of the cgroup) is reached";
    default:
        return "";
    }
}

/* Ready is who has been welcomed and has an executor. A worker that can have none gives its tasks back and ends, so
 * that others do them, or the program hears of it. */
static void watch_readiness(struct supervisor *supervisor, int64_t now)
{
    struct executors *executors = &supervisor->executors;
    bool is_starting = supervisor->options.ready_fd >= 0;
    if (is_starting && supervisor->uplink.was_welcomed && executors->forks > 0) {
        tell_readiness(supervisor, "");
    }
    if (!supervisor->is_draining &&
        executors_are_wanting(executors, is_starting ? FAILED_STARTS_FIRST : FAILED_STARTS_MAX)) {
        int error = executors->start_error;
        (void)np_error_set(&supervisor->end, NETPOOL_SYSTEM, "no executor can be started: %s%s",
                           error != 0 ? strerror(error) : "each ends before its first task", advice(error));
        np_log(NP_LOG_ERROR, "worker", "%s", supervisor->end.message);
        begin_drain(supervisor, now);
    }
}

static int64_t next_deadline(const struct supervisor *supervisor, int64_t now)
{
    int64_t deadline = np_earlier(uplink_deadline(&supervisor->uplink), executors_deadline(&supervisor->executors));
    if (supervisor->is_draining) {
        int64_t by = supervisor->drain_by + (now >= supervisor->drain_by ? GOODBYE_NS : 0);
        deadline = np_earlier(deadline, by);
    }
    return deadline;
}

static netpool_status run(struct supervisor *supervisor, netpool_error *error)
{
    for (int64_t now = np_clock_now();; now = np_clock_now()) {
        uplink_turn(&supervisor->uplink, now);
        executors_turn(&supervisor->executors, now);
        progress_turn(&supervisor->executors, supervisor->uplink.is_ready ? supervisor->uplink.channel : NULL, now);
        watch_readiness(supervisor, now);
        send_results(supervisor);
        if (is_drained(supervisor, now)) {
            *error = supervisor->end;
            return error->status;
        }
        if (supervisor->is_interrupted) {
            return np_error_set(error, NETPOOL_CANCELLED, "ended by a second signal before the drain was over");
        }
        if (supervisor->executors.zygote_is_gone) {
            return np_error_set(error, NETPOOL_SYSTEM, "the process that starts executors is gone");
        }
        if (supervisor->uplink.has_ended) {
            netpool_status status = supervisor->uplink.end.status;
            return status == NETPOOL_CLOSED ? NETPOOL_OK
                                            : np_error_set(error, status, "%s", supervisor->uplink.end.message);
        }
        (void)reactor_turn(supervisor->reactor, next_deadline(supervisor, now));
    }
}

netpool_status supervisor_run(struct supervisor *supervisor, netpool_error *error)
{
    netpool_error local = {0};
    error = error != NULL ? error : &local;
    netpool_status status = set_up(supervisor, error);
    if (status == NETPOOL_OK) {
        np_block_add_reviewer();
        status = run(supervisor, error);
        np_block_remove_reviewer();
    }
    if (status != NETPOOL_OK) {
        tell_readiness(supervisor, error->message);
    }
    return status;
}

void supervisor_destroy(struct supervisor **supervisor_at)
{
    struct supervisor *supervisor = *supervisor_at;
    if (supervisor == NULL) {
        return;
    }
    zygote_stop(&supervisor->zygote); /* functions that still run have their inputs until they are killed */
    if (supervisor->is_running) {
        uplink_fini(&supervisor->uplink);
        executors_fini(&supervisor->executors);
        outbox_fini(&supervisor->outbox);
    }
    if (supervisor->reactor != NULL) {
        reactor_remove(supervisor->reactor, &supervisor->signals);
        if (supervisor->signals.fd >= 0) {
            close(supervisor->signals.fd);
        }
        reactor_destroy(&supervisor->reactor);
    }
    np_heap_leave(supervisor->heap);
    for (size_t i = 0; i < supervisor->function_count; i++) {
        free(supervisor->functions[i]);
    }
    free(supervisor->functions);
    free(supervisor);
    *supervisor_at = NULL;
}
