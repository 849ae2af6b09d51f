#include "client/profile.h"

#include "common/clock.h"

#define EXECUTORS_MAX 65536  /* counted; a hostile broker could name more */
#define OVERHEAD_PART 20     /* of compute time: 5 % */
#define TASKS_AN_EXECUTOR 8U /* at least, of a map */

void profile_init(struct np_profile *profile, const struct np_profile *pool)
{
    *profile = (struct np_profile){.pool = pool};
    atomic_init(&profile->least_away_ns, UINT64_MAX);
    atomic_init(&profile->first_submitted, NP_NEVER);
    if (pool != NULL) {
        profile->threads = pool->threads;
        profile->pool_tasks_before = atomic_load(&pool->tasks);
        profile->pool_serialize_before_ns = atomic_load(&pool->serialize_ns);
    }
}

void profile_fini(struct np_profile *profile)
{
    np_table_fini(&profile->seen);
}

/* The leader alone writes: no locked instruction is needed. */
static void add(_Atomic uint64_t *sum, uint64_t more)
{
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + more, memory_order_relaxed);
}

void profile_add_executor(struct np_profile *profile, uint64_t key)
{
    profile->last_seen = key;
    if (profile->seen.count < EXECUTORS_MAX && np_table_find(&profile->seen, key) == NULL &&
        np_table_put(&profile->seen, key, profile) == NETPOOL_OK) {
        atomic_store_explicit(&profile->executors, (uint32_t)profile->seen.count, memory_order_relaxed);
    }
}

static void add_times(struct profile_sums *sums, const struct np_task *task, const struct np_outcome *outcome)
{
    uint64_t total_ns = outcome->now > task->submitted ? (uint64_t)(outcome->now - task->submitted) : 0;
    if (outcome->attempt == 0) {
        sums->queue_ns += total_ns; /* it never ran: all it did was wait */
        return;
    }
    uint64_t known_ns = outcome->queue_ns + outcome->compute_ns;
    uint64_t away_ns = total_ns > known_ns ? total_ns - known_ns : 0;
    sums->queue_ns += outcome->queue_ns;
    sums->compute_ns += outcome->compute_ns;
    sums->away_ns += away_ns;
    if (away_ns < sums->least_away_ns) {
        sums->least_away_ns = away_ns;
    }
}

static inline void add_task(struct profile_sums *sums, const struct np_task *task, const struct np_outcome *outcome,
                            uint64_t items)
{
    sums->tasks++;
    sums->items += items;
    sums->failed += outcome->status != NETPOOL_OK;
    sums->bytes_in += task->input_size;
    sums->bytes_out += outcome->size;
    add_times(sums, task, outcome);
    sums->first_submitted = np_earlier(sums->first_submitted, task->submitted);
    if (outcome->now > sums->last_finished) {
        sums->last_finished = outcome->now;
    }
}

void profile_add(struct profile_sums *sums, const struct np_task *task, const struct np_outcome *outcome,
                 uint64_t items)
{
    add_task(sums, task, outcome, items);
}

static inline void book_sums(struct np_profile *profile, const struct profile_sums *sums)
{
    add(&profile->items, sums->items);
    add(&profile->failed, sums->failed);
    add(&profile->bytes_in, sums->bytes_in);
    add(&profile->bytes_out, sums->bytes_out);
    add(&profile->queue_ns, sums->queue_ns);
    add(&profile->compute_ns, sums->compute_ns);
    add(&profile->away_ns, sums->away_ns);
    if (sums->least_away_ns < atomic_load_explicit(&profile->least_away_ns, memory_order_relaxed)) {
        atomic_store_explicit(&profile->least_away_ns, sums->least_away_ns, memory_order_relaxed);
    }
    if (sums->first_submitted < atomic_load_explicit(&profile->first_submitted, memory_order_relaxed)) {
        atomic_store_explicit(&profile->first_submitted, sums->first_submitted, memory_order_relaxed);
    }
    if (sums->last_finished > atomic_load_explicit(&profile->last_finished, memory_order_relaxed)) {
        atomic_store_explicit(&profile->last_finished, sums->last_finished, memory_order_relaxed);
    }
    add(&profile->tasks, sums->tasks);
}

void profile_book_sums(struct np_profile *profile, const struct profile_sums *sums)
{
    book_sums(profile, sums);
}

void profile_book(struct np_profile *profile, const struct np_task *task, const struct np_outcome *outcome,
                  uint64_t items)
{
    struct profile_sums sums = PROFILE_NO_SUMS;
    add_task(&sums, task, outcome, items);
    book_sums(profile, &sums);
    profile_count_executor(profile, outcome);
}

void profile_book_serializing(struct np_profile *profile, int64_t ns)
{
    atomic_fetch_add_explicit(&profile->serialize_ns, (uint64_t)ns, memory_order_relaxed);
}

/* A part of a pool has its share of what the pool spent meanwhile, by the number of tasks. */
static uint64_t serialize_ns(const struct np_profile *profile, uint64_t tasks)
{
    if (profile->pool == NULL) {
        return atomic_load(&profile->serialize_ns);
    }
    uint64_t ns = atomic_load(&profile->pool->serialize_ns) - profile->pool_serialize_before_ns;
    uint64_t all = atomic_load(&profile->pool->tasks) - profile->pool_tasks_before;
    return all > tasks ? (uint64_t)((double)ns * (double)tasks / (double)all) : ns;
}

size_t profile_suggest_chunk(uint64_t items, uint64_t compute_ns, uint64_t task_ns, unsigned slots)
{
    if (items == 0 || compute_ns == 0) {
        return 0;
    }
    double item_ns = (double)compute_ns / (double)items;
    double wanted = (double)task_ns * OVERHEAD_PART / item_ns;
    uint64_t most = items / ((uint64_t)(slots > 0 ? slots : 1) * TASKS_AN_EXECUTOR);
    if (wanted >= (double)most) {
        return most > 0 ? (size_t)most : 1;
    }
    size_t chunk = (size_t)wanted;
    return (double)chunk < wanted ? chunk + 1 : chunk > 0 ? chunk : 1;
}

/* Threads cannot be told apart: as many as there were tasks for. */
static unsigned count_executors(const struct np_profile *profile)
{
    uint64_t returned = atomic_load(&profile->tasks) - atomic_load(&profile->failed);
    if (profile->threads == 0) {
        return atomic_load(&profile->executors);
    }
    return returned < profile->threads ? (unsigned)returned : profile->threads;
}

void profile_read(const struct np_profile *profile, unsigned slots, netpool_profile *out)
{
    uint64_t tasks = atomic_load(&profile->tasks);
    *out = (netpool_profile){.tasks = tasks,
                             .items = atomic_load(&profile->items),
                             .failed = atomic_load(&profile->failed),
                             .bytes_in = atomic_load(&profile->bytes_in),
                             .bytes_out = atomic_load(&profile->bytes_out),
                             .serialize_ns = serialize_ns(profile, tasks),
                             .queue_ns = atomic_load(&profile->queue_ns),
                             .compute_ns = atomic_load(&profile->compute_ns),
                             .executors = count_executors(profile)};
    if (tasks == 0) {
        return;
    }
    out->wall_ns = (uint64_t)(atomic_load(&profile->last_finished) - atomic_load(&profile->first_submitted));
    out->chunk = (size_t)((out->items + tasks / 2) / tasks);
    uint64_t away_ns = atomic_load(&profile->away_ns);
    out->transfer_ns = away_ns > out->serialize_ns ? away_ns - out->serialize_ns : 0;
    uint64_t least_away_ns = atomic_load(&profile->least_away_ns);
    if (least_away_ns != UINT64_MAX) {
        uint64_t packing_ns = out->serialize_ns / tasks;
        out->suggested_chunk = profile_suggest_chunk(out->items, out->compute_ns,
                                                     packing_ns > least_away_ns ? packing_ns : least_away_ns,
                                                     slots > 0 ? slots : out->executors);
    }
}
