/*
 * Where the time of a pool, a map, a stream or a reduction went: sums that cost a few additions a task. Tasks are
 * booked on the engine's leader; anybody may read.
 */
#ifndef NP_PROFILE_H
#define NP_PROFILE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "client/dialogue/task.h"
#include "client/netpool.h"
#include "common/clock.h"
#include "common/table.h"

struct np_profile {
    _Atomic uint64_t tasks;
    _Atomic uint64_t items;
    _Atomic uint64_t failed;
    _Atomic uint64_t bytes_in;
    _Atomic uint64_t bytes_out;
    _Atomic uint64_t queue_ns;
    _Atomic uint64_t away_ns; /* transfer, with what of it was serializing */
    _Atomic uint64_t compute_ns;
    _Atomic uint64_t serialize_ns;  /* of a pool alone: batches mix what they carry */
    _Atomic uint64_t least_away_ns; /* of one task: what handing it out costs without crowding; UINT64_MAX: unknown */
    _Atomic int64_t first_submitted; /* NP_NEVER: nothing has finished */
    _Atomic int64_t last_finished;
    _Atomic uint32_t executors;
    struct np_table seen;          /* executors, by name and pid; the leader's */
    uint64_t last_seen;            /* its key of the last result's, 0: none yet */
    unsigned threads;              /* that share this process, in a `threads:N` pool; 0: executors are processes */
    const struct np_profile *pool; /* that it is a part of; NULL: it is a pool's */
    uint64_t pool_tasks_before;    /* of `pool`, at the beginning */
    uint64_t pool_serialize_before_ns;
};

/* `pool`: the profile of the pool that the map or stream is part of; NULL: this is that one. */
void profile_init(struct np_profile *profile, const struct np_profile *pool);
void profile_fini(struct np_profile *profile);

/* A task of so many items has finished. Workers are told apart by the addresses of their kept names. On the leader;
 * most callers want pool_book (pool.h). */
void profile_book(struct np_profile *profile, const struct np_task *task, const struct np_outcome *outcome,
                  uint64_t items);

/* Sums of tasks that are booked together. */
struct profile_sums {
    uint64_t tasks;
    uint64_t items;
    uint64_t failed;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t queue_ns;
    uint64_t away_ns;
    uint64_t compute_ns;
    uint64_t least_away_ns;
    int64_t first_submitted;
    int64_t last_finished;
};

#define PROFILE_NO_SUMS ((struct profile_sums){.least_away_ns = UINT64_MAX, .first_submitted = NP_NEVER})

/* The same in two steps: all but the executor, for many tasks at once. */
void profile_add(struct profile_sums *sums, const struct np_task *task, const struct np_outcome *outcome,
                 uint64_t items);
void profile_book_sums(struct np_profile *profile, const struct profile_sums *sums);

void profile_add_executor(struct np_profile *profile, uint64_t key); /* private */

/* And the executor. */
static inline void profile_count_executor(struct np_profile *profile, const struct np_outcome *outcome)
{
    uint64_t key = ((uint64_t)(uintptr_t)outcome->worker << 20) ^ outcome->pid;
    if (outcome->status == NETPOOL_OK && key != profile->last_seen) {
        profile_add_executor(profile, key);
    }
}

/* This program spent so long in packing, unpacking and copying. Of a pool's profile; any thread. */
void profile_book_serializing(struct np_profile *profile, int64_t ns);

/* The public form. `slots`: the pool's executors as far as known; 0: those that returned results. */
void profile_read(const struct np_profile *profile, unsigned slots, netpool_profile *out);

/*
 * Items a task: as many as keep what handing out a task costs (`task_ns`) under a twentieth of its compute time, but
 * no more than leave each of `slots` executors eight tasks, so that the wait for the last one at the end of a map is
 * a sixteenth of the whole on average. 0: nothing is known of the items' time.
 */
size_t profile_suggest_chunk(uint64_t items, uint64_t compute_ns, uint64_t task_ns, unsigned slots);

#endif
