/*
 * A core on a test rig: tests speak as clients and workers and read what the core has answered, as a dialogue. What
 * the core sends is recorded per peer, in wire format and checked, and taken in order.
 */
#ifndef CORE_RIG_H
#define CORE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/core.h"
#include "broker/core/state.h"
#include "common/clock.h"
#include "tests/support/cmocka_all.h"

#define RIG_MESSAGES_MAX 4096

struct rig_message {
    uint64_t peer;
    Np__Envelope *envelope;
    uint8_t *body; /* a block; a large body is the core's own */
    size_t body_size;
    bool urgent;
    bool taken;
};

struct rig {
    struct core *core;
    int64_t now;
    uint64_t next_peer;
    struct rig_message messages[RIG_MESSAGES_MAX];
    size_t count;
    const void *given;    /* the body given last, which is a block */
    uint64_t closed_peer; /* the newest */
    netpool_status closed_status;
    char closed_reason[256];
};

/* config may be NULL: all defaults, no recovery. */
struct rig *rig_new(const struct core_config *config);
/* Also checks the core a last time. */
void rig_free(struct rig *rig);

/* Flushes, then checks the core. */
void rig_flush(struct rig *rig);
void rig_advance(struct rig *rig, int64_t ms); /* and ticks and flushes */

/* Connects and says HELLO; nothing is flushed. */
uint64_t rig_hello(struct rig *rig, const Np__Hello *hello, Np__Role vouched, const char *name);
/* A client with session {id}; flushed. */
uint64_t rig_client(struct rig *rig, uint8_t id, bool resume);
/* A worker with the functions (space-separated) that is Ready; flushed. */
uint64_t rig_worker(struct rig *rig, uint8_t id, unsigned slots, const char *functions);
/* The same with labels (space-separated). */
uint64_t rig_labelled_worker(struct rig *rig, uint8_t id, unsigned slots, const char *functions, const char *labels);
/* The same before Held and Ready. */
uint64_t rig_joining_worker(struct rig *rig, uint8_t id, unsigned slots, const char *functions);
Np__Hello rig_hello_of(Np__Role role, uint8_t id);

void rig_give(struct rig *rig, uint64_t peer, const Np__Envelope *envelope, const void *body, size_t body_size);
void rig_disconnect(struct rig *rig, uint64_t peer, bool orderly);

struct rig_task {
    const char *function;
    uint64_t first, count;
    int priority;
    unsigned max_attempts;
    uint64_t expiry_ms;
    bool at_most_once, resumed;
    uint32_t size; /* of each payload */
    uint64_t lane;
    const char *labels; /* space-separated */
    unsigned slots;
    uint32_t retry_delay_ms;
    bool retry_failures;
};
void rig_submit(struct rig *rig, uint64_t client, struct rig_task task);
void rig_cancel(struct rig *rig, uint64_t client, uint64_t seq);
void rig_cancel_unstarted(struct rig *rig, uint64_t client, uint64_t seq);
void rig_acknowledge(struct rig *rig, uint64_t client, uint64_t first, uint64_t count);

struct rig_result {
    uint8_t session; /* id of the client's session */
    uint64_t epoch;  /* 0: the core's */
    uint64_t seq;
    uint32_t attempt; /* 0: 1 */
    netpool_status status;
    uint32_t size;
    uint64_t compute_ns;
    uint64_t wait_ns;
    bool started;        /* of the failure */
    const char *message; /* likewise; NULL: some */
    const char *stack;   /* likewise; NULL: none */
};
void rig_result(struct rig *rig, uint64_t worker, struct rig_result result);
void rig_returned(struct rig *rig, uint64_t worker, uint8_t session, uint64_t seq, uint32_t attempt, bool end);
void rig_held(struct rig *rig, uint64_t worker, uint8_t session, uint64_t epoch, uint64_t seq, uint32_t attempt);
/* A client says how executors are to be prepared; initializer may be "". */
void rig_prepare(struct rig *rig, uint64_t client, const char *initializer, const char *input, uint32_t max_tasks);
void rig_progress(struct rig *rig, uint64_t worker, uint8_t session, uint64_t epoch, uint64_t seq, uint64_t done,
                  uint64_t total);
void rig_say(struct rig *rig, uint64_t peer, Np__Envelope__KindCase kind); /* Ready, Drain, StatusRequest */

/* The oldest message of that kind to that peer that was not taken; NULL: none. Valid until rig_free. */
const struct rig_message *rig_take(struct rig *rig, uint64_t peer, Np__Envelope__KindCase kind);
/* Takes all Assigns to that worker and returns how many tasks they have. */
size_t rig_take_assigned(struct rig *rig, uint64_t worker);
/* The worker answers all it was assigned, each after `compute_ns`, and the core is flushed; returns how many.
 * `session`: of the client that it says; 0: as assigned. */
size_t rig_answer(struct rig *rig, uint64_t worker, uint8_t session, uint64_t compute_ns);

struct rig_trial {
    uint8_t id; /* of the worker */
    unsigned slots;
    uint64_t compute_ns; /* of its first task */
    uint64_t count;      /* of the tasks after it */
};
/* A worker with the function "f" that has done task 1 of the session with this id; more of them are submitted then.
 */
uint64_t rig_tried_worker(struct rig *rig, uint64_t client, uint8_t session, struct rig_trial trial);

/* Takes Results until the row of seq is found; false: not there. */
bool rig_take_result(struct rig *rig, uint64_t client, uint64_t seq, netpool_status *status, uint32_t *attempt);

/* The same with what failed, NULL when there is no row of seq; valid until rig_free. */
const Np__Failure *rig_take_failure(struct rig *rig, uint64_t client, uint64_t seq);

struct core_stats rig_stats(const struct rig *rig);
struct task *rig_task_of(const struct rig *rig, uint8_t session, uint64_t seq);

#define assert_result(rig, client, seq, expected)                                               \
    do {                                                                                        \
        netpool_status result_status = NETPOOL_INVALID;                                         \
        assert_true(rig_take_result(rig, client, seq, &result_status, NULL));                   \
        assert_string_equal(netpool_status_name(result_status), netpool_status_name(expected)); \
    } while (0)

#define assert_closed(rig, peer, status)                                                             \
    do {                                                                                             \
        rig_flush(rig);                                                                              \
        assert_int_equal((rig)->closed_peer, peer);                                                  \
        assert_string_equal(netpool_status_name((rig)->closed_status), netpool_status_name(status)); \
    } while (0)

#endif
