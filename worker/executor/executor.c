#include "worker/executor/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/block.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "proto/limits.h"
#include "worker/crash/crash.h"
#include "worker/executor/detach.h"
#include "worker/executor/mappings.h"
#include "worker/executor/modules.h"
#include "worker/slots/share.h"

enum {
    BELL_FD_MIN = 200,       /* out of the way of functions that count on small numbers */
    SHORTEST_CHDIR_NS = 400, /* a call that took less cannot have changed the directory */
    SHORT_RESULT = 2048,     /* bytes; they are copied in the time that it takes to read the clock */
};

struct executor {
    struct share *share;
    int bell;
    struct ring tasks;
    struct ring results;
    netpool_function **functions; /* by index in the registry */
    size_t function_count;
    size_t wanted;          /* bytes waited for in the task ring, or of room in the result ring */
    uint32_t unrung;        /* SHARE_BELL_*: published since the bell was last looked at */
    int64_t now;            /* ns: when the last call ended; 0: time has passed since */
    struct np_buffer input; /* payloads that do not lie in the ring in one piece */
    struct np_buffer result;
    struct mappings heap;
    uint64_t room;        /* the grant taken for a result and not used yet; 0: none */
    int room_index;       /* where it was taken from */
    bool is_room_shown;   /* the function knows where its result is */
    uint8_t *room_bytes;  /* where `result` is in it; NULL: it is not */
    char directory[4096]; /* where every call starts */
    char message[NP_MESSAGE_MAX + 1];
};

static void ring_bell(struct executor *executor)
{
    uint64_t one = 1;
    executor->now = 0;
    if (write(executor->bell, &one, sizeof one) != (ssize_t)sizeof one) {
        _exit(EXECUTOR_UNUSABLE); /* a function closed the descriptor */
    }
}

static bool has_tasks(void *context)
{
    struct executor *executor = context;
    return ring_available(&executor->tasks) >= executor->wanted;
}

static bool has_room(void *context)
{
    struct executor *executor = context;
    return ring_room(&executor->results, executor->wanted) >= executor->wanted;
}

static void look_at_bell(struct executor *executor)
{
    if (share_take_bell(executor->share, executor->unrung)) {
        ring_bell(executor);
    }
    executor->unrung = 0;
}

static void wait(struct executor *executor, size_t wanted, uint32_t reason, bool (*is_ready)(void *executor))
{
    look_at_bell(executor);
    executor->now = 0;
    executor->wanted = wanted;
    while (!is_ready(executor)) {
        const int64_t review_at = np_block_deadline();
        share_sleep(executor->share, reason, review_at, is_ready, executor);
        if (review_at != NP_NEVER) {
            np_block_review(np_clock_now());
        }
    }
}

static inline void wait_for_tasks(struct executor *executor, size_t wanted)
{
    if (!ring_has(&executor->tasks, wanted)) {
        wait(executor, wanted, SHARE_WAITS_FOR_TASKS, has_tasks);
    }
}

static inline void wait_for_room(struct executor *executor, size_t wanted)
{
    if (!ring_has_room(&executor->results, wanted)) {
        wait(executor, wanted, SHARE_WAITS_FOR_ROOM, has_room);
    }
}

static void give_room_back(struct executor *executor)
{
    ring_publish_read(&executor->tasks);
    if (share_take_bell(executor->share, SHARE_BELL_ROOM)) {
        ring_bell(executor);
    }
}

static void publish_results(struct executor *executor)
{
    ring_publish_written(&executor->results);
    if (share_take_bell(executor->share, SHARE_BELL_RESULTS)) {
        ring_bell(executor);
    }
}

/* Streams bytes through the ring when they do not fit at once. */
static void write_result_bytes(struct executor *executor, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        size_t room = ring_room(&executor->results, size < SHARE_RING_SIZE ? size : SHARE_RING_SIZE);
        if (room == 0) {
            publish_results(executor);
            wait_for_room(executor, 1);
            continue;
        }
        size_t piece = size < room ? size : room;
        ring_write(&executor->results, at, piece);
        at += piece;
        size -= piece;
    }
}

/* The payload of the record just read, 16-byte aligned; *in_place: it lies in the ring, which keeps the room. NULL:
 * no memory, the payload was skipped. */
static const uint8_t *take_payload(struct executor *executor, size_t size, bool *in_place)
{
    static const _Alignas(SHARE_ALIGNMENT) uint8_t empty[SHARE_ALIGNMENT];
    size_t padded = share_padded(size);
    *in_place = false;
    if (padded == 0) {
        return empty;
    }
    if (padded <= SHARE_WHOLE_MAX) {
        wait_for_tasks(executor, padded);
        const uint8_t *payload = ring_peek(&executor->tasks, padded);
        if (payload != NULL) {
            *in_place = true;
            return payload;
        }
    }
    executor->now = 0;
    np_buffer_clear(&executor->input);
    uint8_t *copy = np_buffer_reserve(&executor->input, padded);
    for (size_t filled = 0; filled < padded;) {
        wait_for_tasks(executor, 1);
        size_t piece = ring_available(&executor->tasks);
        piece = piece < padded - filled ? piece : padded - filled;
        if (copy != NULL) {
            ring_read(&executor->tasks, copy + filled, piece);
        } else {
            ring_skip(&executor->tasks, piece);
        }
        give_room_back(executor);
        filled += piece;
    }
    return copy;
}

/* The supervisor may have it again. */
static void put_grant_back(struct executor *executor)
{
    if (executor->room != 0) {
        atomic_store_explicit(&executor->share->grants[executor->room_index], executor->room, memory_order_release);
        executor->room = 0;
    }
}

/* Takes a granted block of at least `size` bytes, unless there is none. The supervisor may take it away meanwhile. */
static bool take_grant(struct executor *executor, size_t size)
{
    put_grant_back(executor);
    for (int i = 0; i < SHARE_GRANTS; i++) {
        uint64_t grant = atomic_load_explicit(&executor->share->grants[i], memory_order_acquire);
        if (share_grant_fits(grant, size) &&
            atomic_compare_exchange_strong_explicit(&executor->share->grants[i], &grant, 0, memory_order_acquire,
                                                    memory_order_relaxed)) {
            executor->room = grant;
            executor->room_index = i;
            return true;
        }
    }
    return false;
}

/* The result's memory is its own again, if it had other. */
static inline void leave_room(struct executor *executor)
{
    if (executor->room_bytes != NULL) {
        mappings_hand_over(&executor->heap, executor->room_bytes, executor->is_room_shown);
        executor->result = (struct np_buffer){0};
        executor->room_bytes = NULL;
    }
}

/* For call_run: a large result is put where the program will read it. */
static void make_room(void *context, struct np_buffer *result, size_t size)
{
    struct executor *executor = context;
    if (result->capacity >= size) {
        return;
    }
    uint8_t *bytes = NULL;
    if (share_grant_fits(executor->room, size) || take_grant(executor, size)) {
        bytes =
            mappings_write(&executor->heap, share_grant_unit(executor->room), share_grant_size(executor->room), size);
    }
    leave_room(executor);
    if (bytes != NULL) {
        np_buffer_fini(result);
        *result = (struct np_buffer){.memory = bytes, .capacity = share_grant_size(executor->room)};
        executor->room_bytes = bytes;
    }
}

/* False: the supervisor has taken the task back. What was published before is rung for before the task runs. */
static bool claim(struct executor *executor, uint32_t number)
{
    uint64_t word = atomic_load_explicit(&executor->share->claim, memory_order_acquire);
    do {
        if ((int32_t)(number - share_claim_floor(word)) < 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&executor->share->claim, &word,
                                                    share_claim_word(share_claim_floor(word), number + 1),
                                                    memory_order_acq_rel, memory_order_acquire));
    if (share_take_bell_after_claim(executor->share, executor->unrung)) {
        ring_bell(executor);
    }
    executor->unrung = 0;
    return true;
}

static netpool_status run(struct executor *executor, const struct task_record *record, const uint8_t *payload,
                          uint64_t *failed_item)
{
    if (payload == NULL) {
        (void)snprintf(executor->message, sizeof executor->message, "no memory for an input of %lu bytes",
                       (unsigned long)record->size);
        return NETPOOL_FAILED;
    }
    struct call_request request = {
        .function = executor->functions[record->function],
        .input = {.data = payload, .size = record->size},
        .item_in_size = record->item_in_size,
        .item_out_size = record->item_out_size,
        .first_item = record->first_item,
        .attempt = record->attempt,
        .max_result = record->max_result,
        .make_room = executor->heap.fd >= 0 ? make_room : NULL,
        .context = executor,
        .is_shown = &executor->is_room_shown,
    };
    executor->is_room_shown = false;
    return call_run(&request, &executor->share->call, &executor->result, executor->message, failed_item);
}

/* Empties it and keeps what memory small payloads need. */
static inline void forget(struct np_buffer *buffer, size_t keep)
{
    np_buffer_clear(buffer);
    if (buffer->capacity > keep) {
        np_buffer_fini(buffer);
    }
}

/* After a call. */
static inline void forget_result(struct executor *executor)
{
    leave_room(executor);
    put_grant_back(executor);
    forget(&executor->result, executor->heap.fd >= 0 ? CALL_LARGE : SHARE_RING_SIZE); /* large ones look for room */
}

/* What fits the ring lies there before the next task is claimed, and the bell is looked at then. */
static void answer(struct executor *executor, const struct task_record *record, netpool_status status,
                   uint64_t failed_item, int64_t started_ns)
{
    bool is_ok = status == NETPOOL_OK;
    struct result_record result = {
        .number = record->number,
        .status = (uint32_t)status,
        .size = is_ok ? np_buffer_size(&executor->result) : 0,
        .compute_ns = (uint64_t)(executor->now - started_ns),
        .failed_item = failed_item,
        .started_ns = started_ns,
        .message_size = is_ok ? 0 : (uint32_t)strlen(executor->message),
    };
    const void *body = is_ok ? np_buffer_data(&executor->result) : (const uint8_t *)executor->message;
    size_t size = result.size + result.message_size;
    if (size > SHORT_RESULT) {
        executor->now = 0;
    }
    if (executor->room_bytes != NULL && result.size > SHARE_WHOLE_MAX) {
        result.unit = share_grant_unit(executor->room);
        executor->room = 0;
        size = 0;
    }
    if (size > SHARE_WHOLE_MAX) {
        write_result_bytes(executor, &result, sizeof result);
        write_result_bytes(executor, body, size);
        publish_results(executor);
        return;
    }
    wait_for_room(executor, sizeof result + size);
    ring_write(&executor->results, &result, sizeof result);
    if (size > 0) {
        ring_write(&executor->results, body, size);
    }
    ring_publish_written(&executor->results);
    executor->unrung |= SHARE_BELL_RESULTS;
}

/* The task starts where the last one ended, if nothing that takes time lies between. One that is timed is not to pay
 * for what this process may have waited there for a processor. */
static void call(struct executor *executor, const struct task_record *record, const uint8_t *payload)
{
    uint64_t failed_item = 0;
    const int64_t start = executor->now == 0 || record->is_timed != 0 ? np_clock_now() : executor->now;
    atomic_store_explicit(&executor->share->started_ns, start, memory_order_relaxed);
    netpool_status status = run(executor, record, payload, &failed_item);
    if (__fpending(stdout) > 0) {
        (void)fflush(stdout);
    }
    const int64_t end = executor->now = np_clock_now();
    answer(executor, record, status, failed_item, start);
    if (end - start >= SHORTEST_CHDIR_NS) {
        look_at_bell(executor);
        executor->now = 0;
        (void)!chdir(executor->directory); /* gone by now? then the function has to live with it */
    }
    forget_result(executor);
}

static void serve_one(struct executor *executor)
{
    struct task_record record;
    wait_for_tasks(executor, sizeof record);
    ring_read(&executor->tasks, &record, sizeof record);
    bool in_place = false;
    if (record.unit != 0) {
        executor->now = 0; /* mapping takes time */
    }
    const uint8_t *payload = record.unit == 0 ? take_payload(executor, record.size, &in_place)
                                              : mappings_read(&executor->heap, record.unit, record.size);
    if (record.unit != 0 && payload == NULL && errno == EBADF) {
        _exit(EXECUTOR_UNUSABLE); /* a function closed the descriptor */
    }
    if (claim(executor, record.number)) {
        call(executor, &record, payload);
    }
    mappings_release(&executor->heap);
    if (in_place) {
        ring_skip(&executor->tasks, share_padded(record.size));
    }
    ring_publish_read(&executor->tasks);
    executor->unrung |= SHARE_BELL_ROOM;
    forget(&executor->input, SHARE_RING_SIZE);
}

/* exit() inside a function must not run what the program registered with atexit: it was meant for the program. */
static void leave_at_once(int code, void *unused)
{
    (void)unused;
    (void)fflush(stdout);
    _exit(code);
}

static int open_output(const struct executor_fds *fds)
{
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(fds->output, STDOUT_FILENO) < 0 ||
        dup2(fds->output, STDERR_FILENO) < 0) {
        return -1;
    }
    /* A stream of its own: the program's may hold what the program had not written yet, and a file's position. */
    FILE *output = fdopen(STDOUT_FILENO, "w");
    if (output == NULL) {
        return -1;
    }
    (void)setvbuf(output, NULL, _IOLBF, BUFSIZ);
    stdout = output;
    return 0;
}

/* The kernel's memory killer should take executors before their supervisor, whose death would cost all of them. */
static void volunteer_for_memory_killer(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "500", 3);
        close(fd);
    }
}

static int keep_descriptor(int given)
{
    int fd = fcntl(given, F_DUPFD_CLOEXEC, BELL_FD_MIN);
    return fd >= 0 ? fd : fcntl(given, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); /* few descriptors are allowed here */
}

static int isolate(struct executor *executor, const struct executor_fds *fds)
{
    const struct rlimit no_core = {0, 0};
    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != fds->parent ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0) {
        return -1;
    }
    executor->bell = keep_descriptor(fds->bell);
    executor->share = share_map(fds->share);
    if (executor->bell < 0 || executor->share == NULL || open_output(fds) != 0) {
        return -1;
    }
    volunteer_for_memory_killer();
    executor->heap.fd = fds->heap >= 0 ? keep_descriptor(fds->heap) : -1;
    if (executor->heap.fd < 0 && fds->heap >= 0) {
        return -1;
    }
    const int kept[] = {executor->bell, executor->heap.fd};
    detach_close_descriptors(kept, sizeof kept / sizeof kept[0]);
    struct sigaction handlers[CRASH_SIGNALS]; /* of modules */
    crash_save_handlers(handlers);
    detach_reset_signals(NULL);
    (void)crash_install(share_crash(executor->share), __builtin_frame_address(0), handlers); /* or no stacks */
    return on_exit(leave_at_once, NULL);
}

static int find_functions(struct executor *executor)
{
    executor->function_count = modules_count();
    executor->functions = calloc(executor->function_count + 1, sizeof(netpool_function *));
    for (size_t i = 0; executor->functions != NULL && i < executor->function_count; i++) {
        executor->functions[i] = modules_at(i)->function;
    }
    return executor->functions != NULL ? 0 : -1;
}

_Noreturn void executor_main(const struct executor_fds *fds)
{
    static struct executor executor;
    if (isolate(&executor, fds) != 0 || find_functions(&executor) != 0 ||
        getcwd(executor.directory, sizeof executor.directory) == NULL) {
        _exit(EXECUTOR_UNUSABLE);
    }
    np_block_add_reviewer();
    struct share *share = executor.share;
    atomic_store(&share->pid, (uint32_t)getpid());
    ring_init(&executor.tasks, &share->tasks, share_task_bytes(share), SHARE_RING_SIZE);
    ring_init(&executor.results, &share->results, share_result_bytes(share), SHARE_RING_SIZE);
    for (;;) {
        serve_one(&executor);
    }
}
