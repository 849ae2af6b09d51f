/*
 * netpool: a task pool for C programs, on this machine or on a cluster.
 *
 * A pool is opened by URL: `local[:N]` (N worker processes beside the program), `threads:N`, `ipc://PATH` (a broker
 * of this host), `tls://HOST:PORT` (a broker anywhere). Everything else in this header means the same on all four.
 *
 * All calls are thread-safe. No call raises a signal, prints, installs a handler or ends the process. A pool belongs
 * to the process that opened it: in a forked child every call returns NETPOOL_FORKED, and large results of a local
 * pool are not to be read any more, as the parent's pool goes on using their memory. A program that locks its memory
 * (mlockall) does so before it opens pools: what a local pool reserves for large payloads (1 GiB of addresses a
 * worker, of which only what is used is memory) would be locked with it. Times are on the monotonic clock. A timeout
 * in milliseconds is < 0: for ever, 0: only look, > 0: at most so long.
 */
#ifndef NETPOOL_H
#define NETPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netpool_function.h"
#include "netpool_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header, as MAJOR.MINOR.PATCH. */
#define NETPOOL_VERSION "0.1.0"

/* An open pool. */
typedef struct netpool netpool;
/* A submitted task and what becomes of it. */
typedef struct netpool_future netpool_future;
/* Tasks that are fed and read one by one. */
typedef struct netpool_stream netpool_stream;

/* Where the executors of a `local` pool come from. */
typedef enum netpool_start_method {
    NETPOOL_START_DEFAULT, /* fork */
    NETPOOL_START_FORK,    /* executors are copies of the program as it is now; refused once it has threads */
    NETPOOL_START_SPAWN,   /* the program is executed anew; needs netpool_init first in main */
    NETPOOL_START_MODULE   /* only functions of `modules`; works at any time */
} netpool_start_method;

/* Options of a pool. Zero-initialized: all defaults. Strings are copied. */
typedef struct netpool_options {
    const char *name;                  /* how logs and status call this program; NULL: the program's name */
    const char *ca;                    /* tls: PEM files. NULL: $NETPOOL_CA, $NETPOOL_CERT, $NETPOOL_KEY */
    const char *cert;                  /* tls: this program's certificate */
    const char *key;                   /* tls: its key, readable by nobody else */
    const char *crl;                   /* NULL: none */
    const char *const *modules;        /* local, threads: shared objects to load, NULL-terminated; may be NULL */
    netpool_start_method start_method; /* local */
    uint64_t max_payload;              /* bytes, of one input or result, at most 1 GiB; 0: 64 MiB */
    int connect_timeout_ms;            /* netpool_open fails after so long; 0: 10,000 */
    int reconnect_timeout_ms;          /* a broker away for longer fails what is outstanding with NETPOOL_UNREACHABLE;
                                          0: 60,000; < 0: wait for ever */
    const char *initializer;           /* function that each executor calls once before this pool's first task there;
                                          when it fails, all tasks of the pool end with NETPOOL_NOT_INITIALIZED and its
                                          message. NULL: none */
    netpool_bytes initializer_input;   /* copied; up to 64 KiB */
    unsigned max_tasks_per_executor;   /* an executor is replaced after so many tasks of this pool; 0: never */
    uint64_t reserved[8];              /* must be zero */
} netpool_options;

/* The line that explains the calling thread's last netpool call that failed: which argument, and what to do. ""
 * before the first failure. Valid until the thread's next failing call. */
NETPOOL_API const char *netpool_last_error(void);

/* url NULL: $NETPOOL_URL, and if that is not set `local`. options and error may be NULL. On success *out must be
 * given to netpool_close or netpool_terminate. Fails with NETPOOL_INVALID (URL), NETPOOL_CREDENTIALS,
 * NETPOOL_UNREACHABLE, NETPOOL_REFUSED, NETPOOL_BAD_MODULE, NETPOOL_UNSUPPORTED (start method), NETPOOL_TOO_LARGE
 * (initializer_input), NETPOOL_SYSTEM, NETPOOL_NO_MEMORY. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_open(netpool **out, const char *url,
                                                           const netpool_options *options, netpool_error *error);

/* Waits for what was submitted, then closes. Futures stay valid and readable until freed. *pool becomes NULL at once;
 * NULL is harmless. Of several threads that close or terminate the pool in the same variable one does it, and the
 * others return at once. */
NETPOOL_API void netpool_close(netpool **pool);

/* Ends what runs and what waits with NETPOOL_CANCELLED and closes, within a few seconds at the worst. */
NETPOOL_API void netpool_terminate(netpool **pool);

/* Closes as netpool_close does; with cancel_pending the tasks that no executor has started end with
 * NETPOOL_CANCELLED instead of running, and only what runs is waited for. */
NETPOOL_API void netpool_shutdown(netpool **pool, bool cancel_pending);

/* A pool that is closed when its variable goes out of scope: NETPOOL_SCOPED netpool *pool = NULL; */
#define NETPOOL_SCOPED __attribute__((cleanup(netpool_close)))

/* First thing in main for NETPOOL_START_SPAWN: in a process that a pool started it serves the pool and does not
 * return. */
NETPOOL_API void netpool_init(int *argc, char ***argv);

struct netpool_result;

/* Called when a task has finished, whatever its status; result is borrowed for the call. Callbacks of a pool run one
 * after the other, in the order in which tasks finish, on a thread of the pool that does nothing else: so they may
 * call everything in this header, also netpool_submit, netpool_cancel, netpool_wait, netpool_close and
 * netpool_terminate of their own pool. (A close from inside a callback returns when everything but this callback is
 * over; it makes the calls that are left itself.) netpool_close and netpool_terminate return after the last callback.
 * Each task that was submitted gets its call exactly once; one whose future was freed before, too: the future is
 * valid in the call, but not to be freed again. Results wait for their call without bound, so a slow callback of fast
 * tasks takes memory; and two callbacks that each close the other's pool wait for each other for ever. */
typedef void netpool_callback(netpool_future *future, const struct netpool_result *result, void *context);

/* Options of a task. Zero-initialized: all defaults. Strings are copied. */
typedef struct netpool_task_options {
    unsigned max_attempts; /* tries in all when executors crash or workers are lost, at most 64; 0: the broker's
                              default (3) */
    bool at_most_once; /* never run again: NETPOOL_LOST when the outcome is unknown, NETPOOL_CRASHED after a crash */
    bool retry_failures;     /* a function that fails or is stopped by timeout_ms is tried again, too; not together
                                with at_most_once */
    unsigned retry_delay_ms; /* before the second attempt, at most 60,000; doubled for each further one, up to a
                                minute. 0: at once */
    int priority;            /* higher first, among the tasks of this program */
    uint64_t timeout_ms;     /* of one attempt from its start; then NETPOOL_DEADLINE. 0: none */
    uint64_t expiry_ms;      /* from submission; then NETPOOL_DEADLINE. 0: none */
    const char *lane;   /* tasks of this pool with the same lane run one at a time, in the order of submission, also
                           when a worker is lost; 1 to 128 bytes. NULL: none */
    const char *labels; /* "gpu=1,fast": only on workers with all these labels ("fast": whatever its value). No
                           spaces. Until one comes, the task waits and netpool_get_info says why. NULL or "": any */
    unsigned slots;     /* of the worker's slots (executors) that the task takes up, at most 4,096; 0: 1 */
    netpool_callback *on_done; /* netpool_submit only, elsewhere NETPOOL_INVALID; NULL: none */
    void *context;             /* of on_done */
    uint64_t reserved[4];      /* must be zero */
} netpool_task_options;

/* One attempt that did not bring a result. */
typedef struct netpool_attempt_record {
    unsigned attempt;      /* from 1 */
    netpool_status status; /* how it ended */
    uint32_t pid;          /* of the executor, 0: unknown */
    int signal;            /* that ended the executor, 0: none */
    int exit_code;         /* of the executor */
    char worker[129];      /* name of the worker */
    char host[129];        /* its host */
    char message[256];     /* one line */
} netpool_attempt_record;

/* Everything known about a task that failed. */
typedef struct netpool_failure {
    netpool_status status; /* why it failed */
    unsigned attempt;      /* the last one, from 1; 0: it never ran */
    uint64_t item;         /* map: index of the failed item */
    uint32_t pid;          /* of the executor, 0: unknown */
    int signal;            /* that ended the executor, 0: none */
    int exit_code;         /* of the executor */
    bool started; /* the last attempt had begun to run. Cancelled tasks: attempt 0: it was still queued; not started:
                     a worker had it ready; started: it was stopped (signal SIGKILL: by force) */
    char function[129];          /* name of the function */
    char worker[129];            /* name of the worker, "" if none had it */
    char host[129];              /* its host */
    char message[1025];          /* one line */
    char error_output[4097];     /* last bytes of what the executor printed */
    bool error_output_truncated; /* it printed more */
    char stack[4097];       /* of a crash by a signal: one frame a line, innermost first: "function at file.c:12",
                               without debug information "function+0x12 in module.so"; "" when not known */
    unsigned attempt_count; /* records of the last attempts, oldest first, the one that failed last included; 0 when
                               the first one failed for good */
    netpool_attempt_record attempts[8]; /* `attempt_count` of them */
} netpool_failure;

/* What became of a task. Borrowed from its future or stream. */
typedef struct netpool_result {
    netpool_status status;          /* NETPOOL_OK, or why there is no result */
    const void *data;               /* result bytes; 16-byte aligned */
    size_t size;                    /* bytes */
    const netpool_failure *failure; /* NULL on success */
    unsigned attempt;               /* that brought the result, from 1 */
    uint32_t pid;                   /* of the executor */
    const char *worker;             /* name of the worker, never NULL */
    const char *host;               /* its host, never NULL */
    uint64_t queue_ns;              /* waiting, at the broker and at the worker */
    uint64_t compute_ns;            /* inside the function */
    uint64_t transfer_ns;           /* the rest of total_ns: on the way there and back, packing included */
    uint64_t total_ns;              /* submitted until the result was here */
} netpool_result;

/* Copies the input and returns at once (it waits while the pool's window is full). Fails with NETPOOL_TOO_LARGE,
 * NETPOOL_CLOSED, NETPOOL_FORKED, NETPOOL_INVALID (also for options out of range), NETPOOL_NO_MEMORY, NETPOOL_SYSTEM
 * (no thread for callbacks); whatever happens later is the future's. *out must be given to netpool_future_free; it is
 * set before options->on_done is called, which may be before this returns. out may be NULL with options->on_done: the
 * future is then freed after that call. options may be NULL. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_submit(netpool *pool, const char *function, netpool_bytes input,
                                                             const netpool_task_options *options,
                                                             netpool_future **out);

/* Returns the task's status once it is finished, and fills *result (may be NULL), borrowed until the future is freed.
 * NETPOOL_TIMEOUT: not finished yet, *result untouched. (A task stopped by its own deadline has NETPOOL_DEADLINE.) */
NETPOOL_API netpool_status netpool_wait(netpool_future *future, int timeout_ms, netpool_result *result);

/* Asks for the task's end; it ends in NETPOOL_CANCELLED unless it finishes first. NETPOOL_OK: asked; NETPOOL_CLOSED:
 * was finished already. */
NETPOOL_API netpool_status netpool_cancel(netpool_future *future);

/* The same, but only while no executor has started it: what runs goes on undisturbed. */
NETPOOL_API netpool_status netpool_cancel_pending(netpool_future *future);

/* Is it finished? Never waits. */
NETPOOL_API bool netpool_is_done(netpool_future *future);

/* How far its function says it is (netpool_progress), at most some tenths of a second ago. Both 0: not said yet. */
NETPOOL_API void netpool_get_progress(netpool_future *future, uint64_t *done, uint64_t *total);

/* When netpool_wait_many returns. */
typedef enum netpool_wait_for {
    NETPOOL_ALL_COMPLETED,   /* when all are finished */
    NETPOOL_FIRST_COMPLETED, /* when one is finished */
    NETPOOL_FIRST_FAILED     /* or all completed, if none fails */
} netpool_wait_for;

/* Waits for a set of futures, also of different pools. NETPOOL_OK, with the number of finished ones in *finished (may
 * be NULL); NETPOOL_TIMEOUT, *finished is set then, too. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_wait_many(netpool_future *const *futures, size_t count,
                                                                netpool_wait_for condition, int timeout_ms,
                                                                size_t *finished);

/* The futures of a set as they finish. */
typedef struct netpool_completion netpool_completion;
/* Watches the futures of an array, which is not needed afterwards. A future may stand in several, and may be freed
 * once its index was returned. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_as_completed(netpool_future *const *futures, size_t count,
                                                                   netpool_completion **out);
/* *index: of the next finished future in the array. NETPOOL_TIMEOUT; NETPOOL_CLOSED after the last. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_completion_next(netpool_completion *completion, int timeout_ms,
                                                                      size_t *index);
/* Frees it; the futures stay. *completion becomes NULL; NULL is harmless. */
NETPOOL_API void netpool_completion_close(netpool_completion **completion);

/* Frees it, finished or not (an unfinished task is cancelled). *future becomes NULL; NULL is harmless. */
NETPOOL_API void netpool_future_free(netpool_future **future);

/* Where the time of a map, a stream or a whole pool went. The sums are over its tasks. */
typedef struct netpool_profile {
    uint64_t tasks;         /* finished ones */
    uint64_t items;         /* of maps; else as tasks */
    uint64_t failed;        /* tasks among them */
    uint64_t bytes_in;      /* payloads sent */
    uint64_t bytes_out;     /* results */
    uint64_t wall_ns;       /* from the first submission to the last result */
    uint64_t serialize_ns;  /* this program's time in packing, unpacking and copying */
    uint64_t queue_ns;      /* waiting, at the broker and at workers */
    uint64_t transfer_ns;   /* on the way there and back, without serialize_ns */
    uint64_t compute_ns;    /* inside functions */
    unsigned executors;     /* that returned results; threads are counted by their number */
    size_t chunk;           /* items a task, on average */
    size_t suggested_chunk; /* items a task that would keep overhead under 5 % of compute_ns without making the end of
                               a map wait for stragglers; 0: not known */
} netpool_profile;

/* Of all tasks that finished since the pool was opened. */
NETPOOL_API void netpool_get_profile(netpool *pool, netpool_profile *out);

/* Called on the thread that called netpool_map, at most ten times a second and once at the end: items done so far,
 * with fractions of running tasks that say how far they are (netpool_progress). */
typedef void netpool_map_progress(uint64_t done, uint64_t count, void *context);

/* Options of a map. Zero-initialized: all defaults. */
typedef struct netpool_map_options {
    size_t chunk;              /* items a task; 0: adapted to the measured time of an item. netpool_map_bytes: each
                                  item is a task of its own, whatever this is; they travel in batches anyway */
    netpool_task_options task; /* of each of its tasks */
    netpool_failure *failure;  /* filled when the map fails; may be NULL */
    netpool_profile *profile;  /* filled when the map ends; may be NULL */
    netpool_map_progress *progress; /* may be NULL */
    void *progress_context;         /* of `progress` */
    uint64_t reserved[4];           /* must be zero */
} netpool_map_options;

/* out[i] = function(in[i]) for `count` items: in is an array of count x in_size bytes, out of count x out_size bytes,
 * both the caller's, untouched items undefined on failure. Returns when all is done, or with the first failure: its
 * status, and an error that names the item. out_size may be 0 (no results). options and error may be NULL. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_map(netpool *pool, const char *function, const void *in,
                                                          size_t count, size_t in_size, void *out, size_t out_size,
                                                          const netpool_map_options *options, netpool_error *error);

/* The same for items of any size: out is an array of `count` that is filled with results the caller gives to
 * netpool_free_results, also after a failure. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_map_bytes(netpool *pool, const char *function,
                                                                const netpool_bytes *in, size_t count,
                                                                netpool_bytes *out,
                                                                const netpool_map_options *options,
                                                                netpool_error *error);
/* Frees what netpool_map_bytes or netpool_reduce_bytes filled in; NULL data is harmless. */
NETPOOL_API void netpool_free_results(netpool_bytes *results, size_t count);

/* Options of a reduction. Zero-initialized: all defaults. */
typedef struct netpool_reduce_options {
    const char *leaf;          /* what becomes of the inputs first, see below; NULL: the combining function itself */
    size_t chunk;              /* inputs a leaf; 0: what fits 64 KiB, at least 1; netpool_reduce_bytes: 1 */
    unsigned fan_in;           /* partial results a combination, at least 2; 0: 16 */
    netpool_task_options task; /* of each of its tasks */
    netpool_failure *failure;  /* filled when it fails, item: first input of what failed; may be NULL */
    netpool_profile *profile;  /* filled when it ends; may be NULL */
    netpool_map_progress *progress; /* inputs that have been through the leaves */
    void *progress_context;         /* of `progress` */
    uint64_t reserved[4];           /* must be zero */
} netpool_reduce_options;

/* Reduces an array of `count` x in_size bytes to one value of out_size bytes, on the workers: `leaf` is called with
 * blocks of consecutive inputs (n x in_size bytes) and returns out_size bytes, `combine` is called with consecutive
 * partial results (2 to fan_in x out_size bytes) and returns out_size bytes, until one is left. Without a leaf
 * function `combine` is called with the blocks, too, and in_size must be out_size. What
 * stands alone is not combined but goes up as it is. The shape of the tree depends on count, chunk and fan_in alone,
 * and order is kept: combine must be associative but need not commute, and floating-point results are the same bits
 * on every run and every pool. count 0 is NETPOOL_INVALID. options and error may be NULL. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_reduce(netpool *pool, const char *combine, const void *in,
                                                             size_t count, size_t in_size, void *out, size_t out_size,
                                                             const netpool_reduce_options *options,
                                                             netpool_error *error);

/* The same for values of any size. `combine` is called with parts (netpool_part_count in netpool_function.h): 2 to
 * fan_in partial results. `leaf` is called with each input as it is, or with chunk > 1 with parts: up to that many
 * inputs. Without a leaf function `combine` gets the inputs as parts, 2 to chunk of them (0: fan_in). *out is given
 * to netpool_free_results(out, 1). */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_reduce_bytes(netpool *pool, const char *combine,
                                                                   const netpool_bytes *in, size_t count,
                                                                   netpool_bytes *out,
                                                                   const netpool_reduce_options *options,
                                                                   netpool_error *error);

/* Options of a stream. Zero-initialized: all defaults. */
typedef struct netpool_stream_options {
    bool unordered;            /* results as they come; default: in the order of the inputs */
    size_t in_flight;          /* inputs put and not yet taken as results, at most; up to 2^20. 0: 4,096 */
    size_t in_flight_bytes;    /* their bytes; 0: 64 MiB; one item always fits */
    netpool_task_options task; /* of each of its tasks */
    uint64_t reserved[4];      /* must be zero */
} netpool_stream_options;

/* A stream is fed and read one by one, in constant memory, by one or two threads: one that puts, one that takes. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_stream_open(netpool *pool, const char *function,
                                                                  const netpool_stream_options *options,
                                                                  netpool_stream **out);

/* Waits while `in_flight` is reached. NETPOOL_TIMEOUT: not taken. NETPOOL_CLOSED: after netpool_stream_end or when
 * the pool is closed. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_stream_put(netpool_stream *stream, netpool_bytes input,
                                                                 int timeout_ms);

/* No more inputs; a put that waits returns NETPOOL_CLOSED. Any thread may call it. */
NETPOOL_API void netpool_stream_end(netpool_stream *stream);

/* The next result with the index of its input, borrowed until the next call; both may be NULL. Returns NETPOOL_OK
 * also for a failed task (see result->status), NETPOOL_TIMEOUT, or NETPOOL_CLOSED when the stream was ended, or its
 * pool closed, and all results were taken. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_stream_next(netpool_stream *stream, int timeout_ms,
                                                                  uint64_t *index, netpool_result *result);

/* Results that have come so far, taken or not, and the sum of the fractions that running tasks say they are done. */
NETPOOL_API void netpool_stream_get_progress(netpool_stream *stream, uint64_t *finished, double *running);
/* Of the results that have come so far. */
NETPOOL_API void netpool_stream_get_profile(netpool_stream *stream, netpool_profile *out);

/* Cancels what is outstanding and frees. *stream becomes NULL; NULL is harmless. */
NETPOOL_API void netpool_stream_close(netpool_stream **stream);

/* A worker as its broker sees it. */
typedef struct netpool_worker_info {
    char name[129];    /* of its certificate, over TLS */
    char host[129];    /* as it says itself */
    char address[129]; /* that it connected from */
    char state[16];    /* joining, ready, draining */
    unsigned slots;    /* executors */
    unsigned held;     /* tasks assigned */
    uint64_t done;     /* tasks, since it connected */
    uint64_t failed;   /* attempts without a result, since it connected */
    char labels[257];  /* "gpu=1,fast", cut if longer */
} netpool_worker_info;

/* A client as its broker sees it. */
typedef struct netpool_client_info {
    char name[129];        /* of its certificate, over TLS */
    char host[129];        /* as it says itself */
    char address[129];     /* that it connected from */
    bool connected;        /* false: its link is broken, and it may come back */
    uint64_t queued;       /* tasks */
    uint64_t running;      /* tasks that a worker has */
    uint64_t done;         /* tasks finished */
    uint64_t memory_bytes; /* that its tasks and results take */
} netpool_client_info;

/* A snapshot of a pool; give it to netpool_info_free. */
typedef struct netpool_info {
    char broker[257];             /* address */
    char software[65];            /* name and version */
    uint64_t uptime_ms;           /* since the broker was started */
    uint64_t queued;              /* tasks that wait */
    uint64_t running;             /* tasks that a worker has */
    uint64_t done;                /* tasks that brought a result */
    uint64_t failed;              /* tasks that did not */
    uint64_t cancelled;           /* tasks that nobody wanted any more */
    uint64_t retried;             /* attempts after the first */
    uint64_t late;                /* late or duplicate results dropped */
    uint64_t refused;             /* results from workers without the lease */
    uint64_t memory_bytes;        /* that tasks and results take */
    size_t worker_count;          /* connected ones */
    netpool_worker_info *workers; /* `worker_count` of them */
    size_t client_count;          /* connected ones, and those that may come back */
    size_t client_rows;           /* with admin rights: rows of clients; else 0 */
    netpool_client_info *clients; /* `client_rows` of them */
    size_t waiting_count;         /* lines in `waiting` */
    char **waiting;               /* tasks that no worker can serve now, and why: one line of text each */
} netpool_info;

/* Asks the broker. error may be NULL. */
NETPOOL_API NETPOOL_MUST_CHECK netpool_status netpool_get_info(netpool *pool, netpool_info **out, int timeout_ms,
                                                               netpool_error *error);
/* *info becomes NULL; NULL is harmless. */
NETPOOL_API void netpool_info_free(netpool_info **info);

#ifdef __cplusplus
}
#endif
#endif
