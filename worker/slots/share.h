/*
 * What a supervisor and one executor share: a memfd with two rings (tasks in, results out), the state of the running
 * call, room for what a crash leaves behind, and the words by which one wakes the other. The executor runs foreign
 * code that may write anything here: the supervisor believes nothing it reads from it.
 *
 * Claims: tasks are numbered as they are fed. An executor starts task n by moving `started` from n to n + 1 in the
 * claim word. The supervisor takes back everything not started by raising `floor` in the same word: the executor
 * skips the records below it. One compare-and-swap decides who has a task.
 */
#ifndef NP_SHARE_H
#define NP_SHARE_H

#include "common/heap.h"
#include "common/netpool_status.h"
#include "worker/crash/crash.h"
#include "worker/executor/call.h"
#include "worker/slots/ring.h"

#define SHARE_RING_SIZE ((size_t)256 * 1024)
#define SHARE_WHOLE_MAX ((size_t)64 * 1024) /* padded bytes; payloads and results up to it are put in whole */
#define SHARE_ALIGNMENT 16                  /* of each record's payload in the task ring */

#define SHARE_GRANTS 4 /* blocks for large results that an executor has at a time */

/* Values of share.asleep: what the executor waits for. */
enum { SHARE_AWAKE, SHARE_WAITS_FOR_TASKS, SHARE_WAITS_FOR_ROOM };

/* Bits of share.bell: what the supervisor wants to be rung for. */
enum { SHARE_BELL_RESULTS = 1, SHARE_BELL_ROOM = 2 };

struct share {
    alignas(64) struct ring_positions tasks;
    alignas(64) struct ring_positions results;
    alignas(64) _Atomic uint64_t claim;  /* floor << 32 | started */
    _Atomic int64_t started_ns;          /* when the running task began */
    _Atomic uint32_t pid;                /* the executor's, as it says itself */
    alignas(64) _Atomic uint32_t asleep; /* futex: SHARE_AWAKE, or what the executor waits for */
    alignas(64) _Atomic uint32_t bell;   /* the supervisor waits for SHARE_BELL_* */
    alignas(64) struct call_state call;
    _Atomic uint64_t grants[SHARE_GRANTS]; /* blocks of the heap for results: share_grant; 0: none. Supervisor puts,
                                              executor takes */
};

#define SHARE_HEAD_SIZE ((size_t)4096)
#define SHARE_CRASH_AT (SHARE_HEAD_SIZE + 2 * SHARE_RING_SIZE)
#define SHARE_SIZE (SHARE_CRASH_AT + sizeof(struct crash_dump))
_Static_assert(sizeof(struct share) <= SHARE_HEAD_SIZE, "the head has one page");

/* One task in the ring, followed by its payload, padded to SHARE_ALIGNMENT. */
struct task_record {
    uint32_t number;   /* counts up with each record */
    uint32_t function; /* index in the registry */
    uint32_t attempt;
    uint32_t item_in_size;
    uint32_t item_out_size;
    uint32_t size; /* bytes of payload, without padding */
    uint64_t max_result;
    uint64_t first_item;
    uint32_t is_timed; /* its time is limited, so when it starts counts */
    uint32_t unit;     /* > 0: the payload does not follow, it lies there in the heap */
};
_Static_assert(sizeof(struct task_record) % SHARE_ALIGNMENT == 0, "payloads are aligned");

/* One result in the ring, followed by its message, or its payload unless that lies in a granted block. */
struct result_record {
    uint32_t number;
    uint32_t status;
    uint64_t size; /* bytes of payload */
    uint64_t compute_ns;
    uint64_t failed_item;
    int64_t started_ns; /* on the clock that all processes of a host share */
    uint32_t message_size;
    uint32_t unit; /* > 0: of the heap, where the granted block begins that holds the payload */
};

static inline uint64_t share_claim_word(uint32_t floor, uint32_t started)
{
    return (uint64_t)floor << 32 | started;
}

static inline uint32_t share_claim_floor(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static inline uint32_t share_claim_started(uint64_t word)
{
    return (uint32_t)word;
}

/* Units of the heap: how many, and the first one's index. */
static inline uint64_t share_grant(uint32_t unit, size_t units)
{
    return (uint64_t)units << 32 | unit;
}

static inline uint32_t share_grant_unit(uint64_t grant)
{
    return (uint32_t)grant;
}

static inline size_t share_grant_size(uint64_t grant)
{
    return (size_t)(grant >> 32) * NP_HEAP_UNIT;
}

/* Large enough for a result of so many bytes, and not so large that it would be a waste. */
static inline bool share_grant_fits(uint64_t grant, size_t size)
{
    return share_grant_size(grant) >= size && share_grant_size(grant) / 4 <= size + NP_HEAP_UNIT;
}

static inline size_t share_padded(size_t size)
{
    return (size + SHARE_ALIGNMENT - 1) / SHARE_ALIGNMENT * SHARE_ALIGNMENT;
}

static inline uint8_t *share_task_bytes(struct share *share)
{
    return (uint8_t *)share + SHARE_HEAD_SIZE;
}

static inline uint8_t *share_result_bytes(struct share *share)
{
    return (uint8_t *)share + SHARE_HEAD_SIZE + SHARE_RING_SIZE;
}

static inline struct crash_dump *share_crash(struct share *share)
{
    return (struct crash_dump *)(void *)((uint8_t *)share + SHARE_CRASH_AT);
}

/* A new, zeroed and mapped share and its memfd, which cannot be resized (a shrunk one would kill its reader). */
NETPOOL_MUST_CHECK netpool_status share_new(struct share **out, int *fd);
struct share *share_map(int fd); /* NULL on failure */
void share_unmap(struct share **share);

/* Supervisor: wakes the executor if it sleeps for `reason` (SHARE_WAITS_FOR_*). After every publication. */
void share_wake_executor(struct share *share, uint32_t reason);

/* Executor: sleeps until woken for `reason` or until the deadline, unless is_ready is true already. May return early.
 */
void share_sleep(struct share *share, uint32_t reason, int64_t deadline, bool (*is_ready)(void *context),
                 void *context);

/* Executor: does the supervisor want to be rung for any of these? Clears the wishes; the caller rings. After every
 * publication, before it sleeps or runs anything. */
bool share_take_bell(struct share *share, uint32_t reasons);

/* The same for what was published before the caller's last claim. */
static inline bool share_take_bell_after_claim(struct share *share, uint32_t reasons)
{
#if defined(__x86_64__)
    atomic_signal_fence(memory_order_seq_cst); /* the compare-and-swap was a fence for the processor */
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
    return (atomic_load_explicit(&share->bell, memory_order_relaxed) & reasons) != 0 &&
           (atomic_exchange_explicit(&share->bell, 0, memory_order_relaxed) & reasons) != 0;
}

/* Supervisor: asks to be rung. The caller looks once more afterwards. */
void share_arm_bell(struct share *share, uint32_t reasons);

#endif
