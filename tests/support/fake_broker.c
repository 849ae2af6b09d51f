#include "tests/support/fake_broker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "tests/support/block_of.h"
#include "tests/support/cmocka_all.h"

static netpool_status connect_back(void *context, struct link **out, netpool_error *error)
{
    (void)error;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", (const char *)context);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        if (fd >= 0) {
            close(fd);
        }
        return NETPOOL_UNREACHABLE;
    }
    *out = link_fd_new(fd, "fake broker");
    return NETPOOL_OK;
}

static void run_supervisor(struct fake_broker *broker, const struct supervisor_options *options)
{
    struct supervisor *supervisor = NULL;
    netpool_error error = {0};
    struct supervisor_options own = *options;
    own.connect = connect_back;
    own.connect_context = broker->path;
    own.ready_fd = -1;
    own.reconnect_ms = 20000;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
    if (getenv("NETPOOL_TEST_LOG") != NULL) {
        np_log_open(STDERR_FILENO, NP_LOG_DEBUG);
    }
    netpool_status status = supervisor_new(&supervisor, &own, &error);
    if (status == NETPOOL_OK) {
        status = supervisor_run(supervisor, &error);
    }
    if (status != NETPOOL_OK) {
        (void)fprintf(stderr, "supervisor: %s\n", error.message);
    }
    supervisor_destroy(&supervisor);
    _exit(status == NETPOOL_OK ? 0 : 1);
}

static void send_welcome(struct fake_broker *broker, const Np__Hello *hello)
{
    uint8_t id[NP_SESSION_SIZE] = "fake broker";
    Np__Welcome welcome = NP__WELCOME__INIT;
    welcome.version = 1;
    welcome.software = (char *)(uintptr_t) "fake";
    welcome.broker = (ProtobufCBinaryData){.len = sizeof id, .data = id};
    welcome.epoch = broker->epoch;
    welcome.max_payload = NP_PAYLOAD_DEFAULT;
    welcome.credit_bytes = broker->credit_bytes;
    welcome.heartbeat_ms = 500;
    welcome.timeout_ms = 20000;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_WELCOME;
    envelope.welcome = &welcome;
    assert_int_equal(channel_send(broker->channel, &envelope, NULL, 0, CHANNEL_IN_ORDER), NETPOOL_OK);
    channel_set_remote_role(broker->channel, NP__ROLE__WORKER);
    broker->hello_slots = hello->slots;
    broker->hello_functions = hello->n_functions;
    broker->hello_resume = hello->resume;
    broker->result_bytes = 0;
}

struct fake_result *fake_broker_result(struct fake_broker *broker, uint64_t seq)
{
    if (seq >= broker->capacity) {
        size_t capacity = 2 * (size_t)seq + 1024;
        broker->results = realloc(broker->results, capacity * sizeof *broker->results);
        assert_non_null(broker->results);
        memset(broker->results + broker->capacity, 0, (capacity - broker->capacity) * sizeof *broker->results);
        broker->capacity = capacity;
    }
    return &broker->results[seq];
}

static void keep_failure(struct fake_result *result, const Np__Failure *failure)
{
    free(result->message);
    free(result->output);
    free(result->stack);
    result->message = strdup(failure->message);
    result->item = failure->item;
    result->has_started = failure->started;
    result->signal = failure->signal;
    result->exit_code = failure->exit_code;
    result->output_size = failure->error_output.len;
    result->output = calloc(1, failure->error_output.len + 1);
    if (failure->error_output.len > 0) {
        memcpy(result->output, failure->error_output.data, failure->error_output.len);
    }
    result->is_output_truncated = failure->error_output_truncated;
    result->stack = strdup(failure->stack);
}

static void grant_credit(struct fake_broker *broker)
{
    Np__Credit credit = NP__CREDIT__INIT;
    credit.bytes = broker->result_bytes + broker->credit_bytes;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CREDIT;
    envelope.credit = &credit;
    assert_int_equal(channel_send(broker->channel, &envelope, NULL, 0, CHANNEL_URGENT), NETPOOL_OK);
}

static void take_results(struct fake_broker *broker, const Np__Results *results, const uint8_t *body)
{
    assert_int_equal(results->session.len, NP_SESSION_SIZE);
    assert_memory_equal(results->session.data, broker->session, NP_SESSION_SIZE);
    broker->batch_count++;
    for (size_t i = 0; i < results->n_seqs; i++) {
        struct fake_result *result = fake_broker_result(broker, results->seqs[i]);
        result->count++;
        result->status = results->n_statuses > 0 ? (netpool_status)results->statuses[i] : NETPOOL_OK;
        result->attempt = results->n_attempts > 0 ? results->attempts[i] : 1;
        result->pid = results->pids[i];
        result->compute_ns = results->compute_ns[i];
        result->wait_ns = results->wait_ns[i];
        result->size = results->sizes[i];
        if (broker->keeps_results) {
            free(result->data);
            result->data = malloc(result->size + 1);
            memcpy(result->data, body, result->size);
        }
        body += result->size;
        broker->result_bytes += result->size;
        broker->result_count++;
    }
    for (size_t i = 0; i < results->n_failures; i++) {
        keep_failure(fake_broker_result(broker, results->seqs[results->failures[i]->index]), results->failures[i]);
    }
    if (broker->is_greedy) {
        grant_credit(broker);
    }
}

static void take_progress(struct fake_broker *broker, const Np__Progress *progress)
{
    assert_memory_equal(progress->session.data, broker->session, NP_SESSION_SIZE);
    assert_int_equal(progress->epoch, broker->epoch);
    for (size_t i = 0; i < progress->n_seqs; i++) {
        struct fake_result *result = fake_broker_result(broker, progress->seqs[i]);
        result->done = progress->done[i];
        result->total = progress->total[i];
        result->progress++;
    }
}

static void received(void *owner, struct channel *channel, struct np_message *message)
{
    struct fake_broker *broker = owner;
    (void)channel;
    const Np__Envelope *envelope = message->envelope;
    switch (envelope->kind_case) {
    case NP__ENVELOPE__KIND_HELLO:
        send_welcome(broker, envelope->hello);
        break;
    case NP__ENVELOPE__KIND_READY:
        broker->ready_count++;
        break;
    case NP__ENVELOPE__KIND_RESULTS:
        take_results(broker, envelope->results, message->body);
        break;
    case NP__ENVELOPE__KIND_HELD:
        broker->held_count += envelope->held->n_seqs;
        for (size_t i = 0; i < envelope->held->n_seqs; i++) {
            fake_broker_result(broker, envelope->held->seqs[i])->is_held = true;
        }
        break;
    case NP__ENVELOPE__KIND_RETURNED:
        broker->returned_count += envelope->returned->n_seqs;
        broker->returned_ends += envelope->returned->end ? 1U : 0U;
        for (size_t i = 0; i < envelope->returned->n_seqs; i++) {
            fake_broker_result(broker, envelope->returned->seqs[i])->is_returned = true;
        }
        break;
    case NP__ENVELOPE__KIND_PROGRESS:
        take_progress(broker, envelope->progress);
        break;
    case NP__ENVELOPE__KIND_DRAIN:
        broker->has_drained = true;
        break;
    default:
        fail_msg("unexpected message %s", np_message_kind_name(envelope->kind_case));
    }
}

static void closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    struct fake_broker *broker = owner;
    (void)channel;
    (void)reason;
    broker->is_closed = true;
    broker->closed_status = status;
}

static const struct channel_handler handler = {.received = received, .closed = closed};

static void accept_worker(struct reactor_source *source, uint32_t events)
{
    (void)events;
    struct fake_broker *broker = NP_CONTAINER(source, struct fake_broker, listener);
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    channel_destroy(&broker->channel);
    struct channel_options options = {.local_role = NP__ROLE__BROKER, .max_payload = NP_PAYLOAD_DEFAULT};
    netpool_error error;
    broker->is_closed = false;
    assert_int_equal(
        channel_new(&broker->channel, broker->reactor, link_fd_new(fd, "worker"), &options, &handler, broker, &error),
        NETPOOL_OK);
}

void fake_broker_start(struct fake_broker *broker, const struct supervisor_options *options)
{
    if (broker->credit_bytes == 0) {
        broker->credit_bytes = NP_PAYLOAD_DEFAULT + 4 * 1024 * 1024;
    }
    broker->epoch = 77;
    memcpy(broker->session, "client's session", NP_SESSION_SIZE);
    char directory[] = "/tmp/netpool-test-XXXXXX";
    assert_non_null(mkdtemp(directory));
    (void)snprintf(broker->path, sizeof broker->path, "%s/broker", directory);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.100s", broker->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    (void)fflush(NULL);
    broker->supervisor = fork();
    assert_true(broker->supervisor >= 0);
    if (broker->supervisor == 0) {
        close(fd);
        run_supervisor(broker, options);
    }
    netpool_error error;
    assert_int_equal(reactor_new(&broker->reactor, &error), NETPOOL_OK);
    assert_int_equal(reactor_add(broker->reactor, &broker->listener, fd, EPOLLIN, accept_worker), NETPOOL_OK);
    FAKE_BROKER_UNTIL(broker, broker->ready_count == 1);
}

void fake_broker_turn(struct fake_broker *broker, int wait_ms)
{
    int64_t now = np_clock_now();
    int64_t deadline = now + wait_ms * NP_NS_PER_MS;
    if (broker->channel != NULL && !broker->is_closed) {
        channel_flush(broker->channel);
        channel_tick(broker->channel, now);
        deadline = np_earlier(deadline, channel_deadline(broker->channel));
    }
    (void)reactor_turn(broker->reactor, deadline);
}

void fake_broker_assign_as(struct fake_broker *broker, const struct fake_assignment *assignment)
{
    size_t per_batch = assignment->size > 0 ? 64 * 1024 / assignment->size : NP_BATCH_TASKS_MAX;
    per_batch = per_batch > NP_BATCH_TASKS_MAX ? NP_BATCH_TASKS_MAX : per_batch > 0 ? per_batch : 1;
    uint64_t *seqs = malloc(per_batch * sizeof *seqs);
    uint32_t *sizes = malloc(per_batch * sizeof *sizes);
    uint32_t *attempts = malloc(per_batch * sizeof *attempts);
    uint8_t *body = malloc(per_batch * assignment->size + 1);
    for (size_t done = 0; done < assignment->count;) {
        size_t count = assignment->count - done < per_batch ? assignment->count - done : per_batch;
        for (size_t i = 0; i < count; i++) {
            seqs[i] = assignment->first_seq + done + i;
            sizes[i] = (uint32_t)assignment->size;
            attempts[i] = assignment->attempt > 0 ? assignment->attempt : 1;
            memcpy(body + i * assignment->size, assignment->input, assignment->size);
        }
        Np__Assign assign = NP__ASSIGN__INIT;
        assign.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = broker->session};
        assign.function = (char *)(uintptr_t)assignment->function;
        assign.n_seqs = assign.n_sizes = assign.n_attempts = count;
        assign.seqs = seqs;
        assign.sizes = sizes;
        assign.attempts = attempts;
        assign.timeout_ms = assignment->timeout_ms;
        assign.item_in_size = assignment->item_in_size;
        assign.item_out_size = assignment->item_out_size;
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_ASSIGN;
        envelope.assign = &assign;
        size_t size = count * assignment->size;
        void *block = block_of(body, size);
        assert_int_equal(channel_send(broker->channel, &envelope, block, size, CHANNEL_IN_ORDER), NETPOOL_OK);
        np_block_free(block);
        done += count;
    }
    channel_flush(broker->channel);
    free(seqs);
    free(sizes);
    free(attempts);
    free(body);
}

void fake_broker_assign(struct fake_broker *broker, const char *function, uint64_t first_seq, size_t count,
                        const void *input, size_t size)
{
    fake_broker_assign_as(broker, &(struct fake_assignment){.function = function,
                                                            .first_seq = first_seq,
                                                            .count = count,
                                                            .input = input != NULL ? input : "",
                                                            .size = size});
}

static void withdraw(struct fake_broker *broker, const uint64_t *seqs, size_t seq_count, uint32_t count,
                     bool unstarted_only)
{
    Np__Withdraw message = NP__WITHDRAW__INIT;
    if (seq_count > 0) {
        message.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = broker->session};
    }
    message.seqs = (uint64_t *)(uintptr_t)seqs;
    message.n_seqs = seq_count;
    message.count = count;
    message.unstarted_only = unstarted_only;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_WITHDRAW;
    envelope.withdraw = &message;
    assert_int_equal(channel_send(broker->channel, &envelope, NULL, 0, CHANNEL_IN_ORDER), NETPOOL_OK);
    channel_flush(broker->channel);
}

void fake_broker_cancel(struct fake_broker *broker, const uint64_t *seqs, size_t count)
{
    withdraw(broker, seqs, count, 0, false);
}

void fake_broker_cancel_unstarted(struct fake_broker *broker, const uint64_t *seqs, size_t count)
{
    withdraw(broker, seqs, count, 0, true);
}

void fake_broker_prepare(struct fake_broker *broker, const char *initializer, const void *input, size_t size,
                         uint32_t max_tasks)
{
    Np__Prepare prepare = NP__PREPARE__INIT;
    prepare.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = broker->session};
    prepare.initializer = (char *)(uintptr_t)initializer;
    prepare.max_tasks_per_executor = max_tasks;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PREPARE;
    envelope.prepare = &prepare;
    assert_int_equal(channel_send(broker->channel, &envelope, input, size, CHANNEL_IN_ORDER), NETPOOL_OK);
    channel_flush(broker->channel);
}

void fake_broker_take_back(struct fake_broker *broker, uint32_t count)
{
    withdraw(broker, NULL, 0, count, false);
}

void fake_broker_cut(struct fake_broker *broker)
{
    channel_destroy(&broker->channel);
}

int fake_broker_announced(struct fake_broker *broker, pid_t *pids, int capacity)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s.announced", broker->path);
    FILE *file = fopen(path, "re");
    int count = 0;
    int pid;
    while (file != NULL && count < capacity && fscanf(file, "%d", &pid) == 1) {
        pids[count++] = pid;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return count;
}

size_t fake_broker_announcement(struct fake_broker *broker, const char *sleep_us, char out[256])
{
    return (size_t)snprintf(out, 256, "%s%s%s.announced", sleep_us, sleep_us[0] != '\0' ? " " : "", broker->path);
}

void fake_broker_start_long(struct fake_broker *broker, uint64_t seq)
{
    char input[256];
    pid_t pids[64];
    int before = fake_broker_announced(broker, pids, 64);
    size_t size = fake_broker_announcement(broker, "600000000", input);
    fake_broker_assign(broker, "announce", seq, 1, input, size);
    FAKE_BROKER_UNTIL(broker, fake_broker_announced(broker, pids, 64) > before);
}

void fake_broker_end_long(struct fake_broker *broker, uint64_t seq)
{
    fake_broker_cancel(broker, &seq, 1);
    FAKE_BROKER_UNTIL(broker, fake_broker_result(broker, seq)->count == 1);
    assert_int_equal(fake_broker_result(broker, seq)->status, NETPOOL_CANCELLED);
    assert_true(fake_broker_result(broker, seq)->has_started);
}

int fake_broker_reap(struct fake_broker *broker)
{
    int status = 0;
    int64_t limit = np_clock_now() + 30 * NP_NS_PER_S;
    while (waitpid(broker->supervisor, &status, WNOHANG) == 0) {
        assert_true(np_clock_now() < limit);
        fake_broker_turn(broker, 5);
    }
    broker->supervisor = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void fake_broker_stop(struct fake_broker *broker)
{
    if (broker->supervisor > 0) {
        assert_int_equal(kill(broker->supervisor, SIGTERM), 0);
        assert_int_equal(fake_broker_reap(broker), 0);
    }
    channel_destroy(&broker->channel);
    reactor_remove(broker->reactor, &broker->listener);
    close(broker->listener.fd);
    reactor_destroy(&broker->reactor);
    char announced[256];
    (void)fake_broker_announcement(broker, "", announced);
    (void)unlink(announced);
    (void)unlink(broker->path);
    *strrchr(broker->path, '/') = '\0';
    (void)rmdir(broker->path);
    for (size_t i = 0; i < broker->capacity; i++) {
        free(broker->results[i].data);
        free(broker->results[i].message);
        free(broker->results[i].output);
        free(broker->results[i].stack);
    }
    free(broker->results);
    *broker = (struct fake_broker){0};
}
