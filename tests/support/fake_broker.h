/*
 * The broker's side of one worker, in the hands of a test: a supervisor in a child process that connects to a Unix
 * socket of the test, and a reactor and channel here that assign tasks and keep every result. All waiting has a time
 * limit and ends the test when it passes.
 */
#ifndef NP_FAKE_BROKER_H
#define NP_FAKE_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "transport/channel.h"
#include "worker/supervisor.h"

struct fake_result {
    unsigned count; /* results received for this seq */
    netpool_status status;
    uint32_t attempt;
    uint32_t pid;
    uint64_t compute_ns;
    uint64_t wait_ns;
    bool has_started;  /* failures: as the worker says */
    uint64_t done;     /* progress, as heard last */
    uint64_t total;    /* likewise */
    unsigned progress; /* how often it was heard */
    uint8_t *data;
    size_t size;
    char *message;
    uint64_t item;
    uint32_t signal;
    uint32_t exit_code;
    char *output;
    size_t output_size;
    bool is_output_truncated;
    char *stack;
    bool is_returned; /* Returned named it */
    bool is_held;     /* Held named it */
};

struct fake_broker {
    struct reactor *reactor;
    struct channel *channel;
    struct reactor_source listener;
    char path[128]; /* of the socket */
    pid_t supervisor;
    bool keeps_results; /* false: only counts and statuses, for speed */
    bool is_greedy;     /* false: no credit beyond credit_bytes */
    uint64_t credit_bytes;
    uint64_t epoch;
    uint8_t session[NP_SESSION_SIZE];
    struct fake_result *results; /* by seq */
    size_t capacity;
    size_t result_count;
    size_t batch_count; /* Results messages */
    size_t returned_count;
    unsigned returned_ends;
    size_t held_count;
    unsigned ready_count; /* Ready messages */
    unsigned hello_slots;
    size_t hello_functions;
    bool hello_resume;
    bool has_drained; /* Drain came */
    bool is_closed;
    netpool_status closed_status;
    uint64_t result_bytes;
};

/* Starts a supervisor with these options (connect is set here) and waits for its Ready. */
void fake_broker_start(struct fake_broker *broker, const struct supervisor_options *options);

/* Ends the supervisor and checks that it exits with `exit_code`. */
void fake_broker_stop(struct fake_broker *broker);

/* Assigns `count` tasks with seqs first_seq..., all with the same input. */
void fake_broker_assign(struct fake_broker *broker, const char *function, uint64_t first_seq, size_t count,
                        const void *input, size_t size);

/* The same with everything else. */
struct fake_assignment {
    const char *function;
    uint64_t first_seq;
    size_t count;
    const void *input;
    size_t size;
    uint32_t attempt; /* 0 = 1 */
    uint64_t timeout_ms;
    uint32_t item_in_size;
    uint32_t item_out_size;
};
void fake_broker_assign_as(struct fake_broker *broker, const struct fake_assignment *assignment);

void fake_broker_cancel(struct fake_broker *broker, const uint64_t *seqs, size_t count);
/* Only what has not started. */
void fake_broker_cancel_unstarted(struct fake_broker *broker, const uint64_t *seqs, size_t count);

/* How executors are to be prepared for the session from now on; neither initializer nor max_tasks: forget it. */
void fake_broker_prepare(struct fake_broker *broker, const char *initializer, const void *input, size_t size,
                         uint32_t max_tasks);

void fake_broker_take_back(struct fake_broker *broker, uint32_t count);

/* Cuts the link without a word. */
void fake_broker_cut(struct fake_broker *broker);

/* One turn of the loop, at most `wait_ms`. */
void fake_broker_turn(struct fake_broker *broker, int wait_ms);

/* Turns until the condition holds; fails the test after 30 seconds. */
#define FAKE_BROKER_UNTIL(broker, condition)                       \
    do {                                                           \
        int64_t until_limit = np_clock_now() + 30 * NP_NS_PER_S;   \
        while (!(condition)) {                                     \
            if (np_clock_now() > until_limit) {                    \
                fail_msg("waited 30 seconds for: %s", #condition); \
            }                                                      \
            fake_broker_turn((broker), 50);                        \
        }                                                          \
    } while (0)

struct fake_result *fake_broker_result(struct fake_broker *broker, uint64_t seq);

/* Waits for the supervisor's end and returns its exit status (or 128 + signal). */
int fake_broker_reap(struct fake_broker *broker);

/* How many lines the file "announced" beside the socket has; its path, and what to give `announce` for it. */
int fake_broker_announced(struct fake_broker *broker, pid_t *pids, int capacity);
size_t fake_broker_announcement(struct fake_broker *broker, const char *sleep_us, char out[256]);

/* A task that has begun when the call returns, and keeps its executor busy until it is ended, by cancelling it. */
void fake_broker_start_long(struct fake_broker *broker, uint64_t seq);
void fake_broker_end_long(struct fake_broker *broker, uint64_t seq);

/* Of a process: open descriptors, direct children, zombies among all its descendants. */
int process_descriptors(pid_t pid);
int process_children(pid_t pid, pid_t *children, int capacity);
int process_zombies(pid_t pid);
bool process_exists(pid_t pid);

#endif
