/* Memory shared by a program and its worker processes: blocks, references across processes, and what becomes of them.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/block.h"
#include "common/clock.h"
#include "common/heap.h"
#include "common/random.h"
#include "tests/support/cmocka_all.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

/* Both sides in one process, at two addresses. */
struct sides {
    struct np_heap *program;
    struct np_heap *workers;
};

static int open_sides(void **state)
{
    static struct sides sides;
    sides.program = np_heap_new(1);
    assert_non_null(sides.program);
    sides.workers = np_heap_attach(np_heap_fd(sides.program));
    assert_non_null(sides.workers);
    *state = &sides;
    return 0;
}

static int close_sides(void **state)
{
    struct sides *sides = *state;
    np_heap_leave(sides->program);
    np_heap_leave(sides->workers);
    return 0;
}

static void *pass(struct np_heap *from, struct np_heap *to, void *block, size_t size)
{
    uint32_t unit = np_heap_unit(from, block);
    np_heap_send(from, block);
    return np_heap_receive(to, unit, size);
}

static void what_one_side_writes_the_other_reads_in_place(void **state)
{
    struct sides *sides = *state;
    char *ours = np_heap_take(sides->program, 100 * KIB);
    assert_non_null(ours);
    memset(ours, 'x', 100 * KIB);
    char *theirs = pass(sides->program, sides->workers, ours, 100 * KIB);
    assert_non_null(theirs);
    assert_ptr_not_equal(ours, theirs);
    assert_int_equal(theirs[100 * KIB - 1], 'x');
    assert_true(np_heap_free_block(theirs));
}

static void a_block_is_taken_again_when_both_sides_have_dropped_it(void **state)
{
    struct sides *sides = *state;
    void *block = np_heap_take(sides->program, MIB);
    assert_true(np_heap_share_block(block));
    void *theirs = pass(sides->program, sides->workers, block, MIB);
    assert_true(np_heap_free_block(block));
    void *other = np_heap_take(sides->program, MIB);
    assert_ptr_not_equal(other, block);
    assert_true(np_heap_free_block(theirs));
    void *again = np_heap_take(sides->program, MIB);
    assert_ptr_equal(again, block);
    assert_true(np_heap_free_block(again));
    assert_true(np_heap_free_block(other));
}

static void gaps_are_joined_and_split(void **state)
{
    struct sides *sides = *state;
    char *blocks[8];
    for (int i = 0; i < 8; i++) {
        blocks[i] = np_heap_take(sides->workers, NP_HEAP_UNIT);
        assert_ptr_equal(blocks[i], blocks[0] + (size_t)i * NP_HEAP_UNIT);
    }
    for (int i = 2; i < 6; i++) {
        assert_true(np_heap_free_block(blocks[i]));
    }
    char *large = np_heap_take(sides->workers, 4 * NP_HEAP_UNIT);
    assert_ptr_equal(large, blocks[2]);
    assert_true(np_heap_free_block(large));
    char *first = np_heap_take(sides->workers, NP_HEAP_UNIT + 1);
    char *second = np_heap_take(sides->workers, 2 * NP_HEAP_UNIT);
    assert_ptr_equal(first, blocks[2]);
    assert_ptr_equal(second, blocks[4]);
    void *rest[] = {first, second, blocks[0], blocks[1], blocks[6], blocks[7]};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        assert_true(np_heap_free_block(rest[i]));
    }
}

static void there_is_an_end_to_it(void **state)
{
    struct sides *sides = *state;
    assert_null(np_heap_take(sides->program, 0));
    assert_null(np_heap_take(sides->program, NP_HEAP_SLOT_SIZE + 1));
    void *all = np_heap_take(sides->program, NP_HEAP_SLOT_SIZE);
    assert_non_null(all);
    assert_null(np_heap_take(sides->program, 1));
    void *theirs = np_heap_take(sides->workers, NP_HEAP_SLOT_SIZE);
    assert_non_null(theirs);
    assert_true(np_heap_free_block(all));
    assert_true(np_heap_free_block(theirs));
}

static void places_that_cannot_be_are_refused(void **state)
{
    struct sides *sides = *state;
    void *block = np_heap_take(sides->program, MIB);
    uint32_t unit = np_heap_unit(sides->program, block);
    assert_null(np_heap_receive(sides->workers, unit + 1, 1));                  /* inside it */
    assert_null(np_heap_receive(sides->workers, unit + MIB / NP_HEAP_UNIT, 1)); /* free */
    assert_null(np_heap_receive(sides->workers, unit, MIB + 1));
    assert_null(np_heap_receive(sides->workers, 0, 1));
    assert_null(np_heap_receive(sides->workers, 2, 1));
    assert_null(np_heap_receive(sides->workers, UINT64_MAX, 1));
    assert_int_equal(np_heap_unit(sides->workers, block), 0);
    assert_int_equal(np_heap_unit(sides->program, (char *)block + 16), 0);
    assert_true(np_heap_free_block(block));
}

static void memory_that_is_no_heaps_is_left_alone(void **state)
{
    (void)state;
    char local[16] = "";
    assert_false(np_heap_share_block(local));
    assert_false(np_heap_free_block(local));
}

static bool is_resident(const void *page)
{
    unsigned char is_there = 0;
    assert_int_equal(mincore((void *)(uintptr_t)page, 1, &is_there), 0);
    return is_there & 1;
}

/* The next one, with all its parts. Returns how many they were. */
static int review(struct np_heap *heap)
{
    int64_t now = np_heap_deadline(heap);
    int parts = 1;
    assert_false(np_heap_review(heap, now - 1));
    assert_true(np_heap_review(heap, now));
    for (; np_heap_deadline(heap) <= now; parts++) {
        assert_false(np_heap_review(heap, now)); /* it has begun already */
    }
    return parts;
}

/* Twice what blocks are kept for: used, then unused in one review, then gone. */
static void memory_that_nobody_uses_goes_back_to_the_system(void **state)
{
    struct sides *sides = *state;
    assert_int_equal(np_heap_deadline(sides->program), NP_NEVER);
    assert_false(np_heap_review(sides->program, np_clock_now()));
    char *small = np_heap_take(sides->program, MIB);
    char *large = np_heap_take(sides->program, (size_t)160 * MIB);
    char *last = np_heap_take(sides->program, MIB);
    memset(small, 1, MIB);
    memset(large, 1, (size_t)160 * MIB);
    memset(last, 1, MIB);
    assert_true(np_heap_free_block(large));
    (void)review(sides->program);
    char *again = np_heap_take(sides->program, (size_t)80 * MIB);
    assert_ptr_equal(again, large);
    assert_true(np_heap_free_block(again));
    (void)review(sides->program);
    assert_true(is_resident(large + (size_t)159 * MIB)); /* used before the last review but one */
    assert_in_range(review(sides->program), 5, 6);       /* none of which keeps takers waiting for long */
    assert_true(is_resident(large + (size_t)79 * MIB));
    assert_false(is_resident(large + (size_t)81 * MIB));
    (void)review(sides->program);
    assert_false(is_resident(large));
    assert_int_equal(last[MIB - 1] + small[MIB - 1], 2);
    assert_true(np_heap_free_block(small));
    assert_true(np_heap_free_block(last));
    (void)review(sides->program);
    assert_false(is_resident(small));
    assert_false(is_resident(last));
    assert_int_equal(np_heap_deadline(sides->program), NP_NEVER);
}

static void a_half_that_nobody_uses_any_more_gives_all_back_but_blocks(void **state)
{
    struct sides *sides = *state;
    np_heap_purge(sides->program, NP_HEAP_WORKERS); /* nothing was there yet */
    char *freed = np_heap_take(sides->workers, (size_t)40 * MIB);
    char *held = np_heap_take(sides->workers, MIB);
    char *ours = np_heap_take(sides->program, MIB);
    memset(freed, 1, (size_t)40 * MIB);
    memset(held, 1, MIB);
    memset(ours, 1, MIB);
    assert_true(np_heap_free_block(freed));
    np_heap_purge(sides->program, NP_HEAP_WORKERS);
    assert_false(is_resident(freed));
    assert_false(is_resident(freed + (size_t)39 * MIB));
    assert_int_equal(held[0] + held[MIB - 1] + ours[0], 3);
    assert_true(np_heap_free_block(ours));
    np_heap_purge(sides->program, NP_HEAP_PROGRAM);
    assert_false(is_resident(ours));
    assert_true(np_heap_free_block(held));
}

/* The heaps of pools with many workers are larger. */
static void each_slot_has_its_share_of_a_half(void **state)
{
    (void)state;
    struct np_heap *heap = np_heap_new(3);
    struct np_heap *workers = np_heap_attach(np_heap_fd(heap));
    assert_null(np_heap_take(heap, 3 * NP_HEAP_SLOT_SIZE + 1));
    char *all = np_heap_take(heap, 3 * NP_HEAP_SLOT_SIZE);
    all[3 * NP_HEAP_SLOT_SIZE - 1] = 'x';
    char *theirs = pass(heap, workers, all, 3 * NP_HEAP_SLOT_SIZE);
    assert_int_equal(theirs[3 * NP_HEAP_SLOT_SIZE - 1], 'x');
    assert_true(np_heap_free_block(theirs));
    np_heap_leave(workers);
    np_heap_leave(heap);
    struct np_heap *largest = np_heap_new(1000);
    assert_null(np_heap_take(largest, NP_HEAP_SLOTS_MAX * NP_HEAP_SLOT_SIZE + 1));
    np_heap_leave(largest);
}

static void a_heap_lasts_as_long_as_its_blocks(void **state)
{
    (void)state;
    struct np_heap *heap = np_heap_new(1);
    char *freed = np_heap_take(heap, MIB);
    char *block = np_heap_take(heap, MIB);
    memset(freed, 1, MIB);
    memset(block, 1, MIB);
    assert_true(np_heap_free_block(freed));
    np_heap_leave(heap);
    assert_false(is_resident(freed)); /* nobody would review it any more */
    assert_int_equal(block[MIB - 1], 1);
    block[MIB - 1] = 'x';
    assert_true(np_heap_free_block(block));
    assert_false(np_heap_free_block(block)); /* its heap is gone, so it is nobody's */
}

/* A forked program may have results that it frees; they are still its parent's. */
static void a_forked_childs_frees_do_not_count(void **state)
{
    struct sides *sides = *state;
    void *block = np_heap_take(sides->program, MIB);
    pid_t child = fork();
    if (child == 0) {
        _exit(np_heap_free_block(block) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    void *other = np_heap_take(sides->program, MIB);
    assert_ptr_not_equal(other, block);
    assert_true(np_heap_free_block(other));
    assert_true(np_heap_free_block(block));
}

static void a_worker_process_leaves_what_it_inherited_and_attaches_anew(void **state)
{
    struct sides *sides = *state;
    char *block = np_heap_take(sides->program, MIB);
    uint32_t unit = np_heap_unit(sides->program, block);
    int fd = np_heap_fd(sides->program);
    pid_t child = fork();
    if (child == 0) {
        np_heap_leave_inherited();
        struct np_heap *heap = np_heap_free_block(block) ? NULL : np_heap_attach(fd);
        char *theirs = heap != NULL ? np_heap_receive(heap, unit, MIB) : NULL;
        if (theirs != NULL) {
            theirs[0] = 'y';
        }
        _exit(theirs != NULL && np_heap_free_block(theirs) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(block[0], 'y');
    np_heap_send(sides->program, block); /* the child has dropped it */
    char *again = np_heap_take(sides->program, MIB);
    assert_ptr_equal(again, block);
    assert_true(np_heap_free_block(again));
}

static void heap_memory_is_the_systems_again_though_a_forked_child_lives(void **state)
{
    (void)state;
    int channel[2];
    assert_int_equal(pipe(channel), 0);
    struct np_heap *heap = np_heap_new(1);
    int fd = dup(np_heap_fd(heap));
    char *block = np_heap_take(heap, 8 * MIB);
    memset(block, 1, 8 * MIB);
    pid_t child = fork();
    if (child == 0) {
        close(channel[1]);
        char nothing;
        (void)!read(channel[0], &nothing, 1);
        _exit(0);
    }
    assert_true(np_heap_free_block(block));
    np_heap_leave(heap);
    struct stat stat;
    assert_int_equal(fstat(fd, &stat), 0);
    assert_int_equal(stat.st_blocks, 0);
    close(channel[0]);
    close(channel[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(fd);
}

static void a_program_that_locks_its_memory_has_none(void **state)
{
    (void)state;
    if (syscall(SYS_mlockall, MCL_FUTURE) != 0) { /* the sanitizers' mlockall does nothing */
        skip();                                   /* only root may */
    }
    struct np_heap *heap = np_heap_new(1);
    assert_int_equal(syscall(SYS_munlockall), 0);
    assert_null(heap);
    heap = np_heap_new(1);
    assert_non_null(heap);
    np_heap_leave(heap);
}

static void a_limit_of_file_sizes_means_none(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = MIB, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_null(np_heap_new(1));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void a_limit_of_addresses_means_none(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    struct rlimit small = {.rlim_cur = (rlim_t)4 << 30, .rlim_max = before.rlim_max};
    if (setrlimit(RLIMIT_AS, &small) == 0) { /* sanitizers need more, and are content until they map something */
        struct np_heap *heap = np_heap_new(1);
        assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
        assert_null(heap);
    }
}

static void a_program_has_so_many_heaps_at_most(void **state)
{
    (void)state;
    enum { MORE = 300 };
    struct np_heap *heaps[MORE] = {0};
    size_t count = 0;
    while (count < MORE && (heaps[count] = np_heap_new(1)) != NULL) {
        count++;
    }
    assert_in_range(count, 64, MORE - 1);
    for (size_t i = 0; i < count; i++) {
        np_heap_leave(heaps[i]);
    }
    struct np_heap *again = np_heap_new(1);
    assert_non_null(again);
    np_heap_leave(again);
}

/* Blocks that one thread takes and either gives up. */
struct traffic {
    struct np_heap *heap;
    _Atomic(uint8_t *) blocks[64];
    atomic_bool has_ended;
    atomic_uint broken;
};

struct mark {
    uint32_t number;
    uint32_t units;
};

static struct mark *last_mark(uint8_t *block)
{
    size_t size = ((struct mark *)(void *)block)->units * NP_HEAP_UNIT;
    return (struct mark *)(void *)(block + size) - 1;
}

/* Nobody else has written to it. */
static void give_up(struct traffic *traffic, uint8_t *block)
{
    const struct mark *mark = (const struct mark *)(void *)block;
    if (mark->units < 1 || mark->units > 6 || last_mark(block)->number != mark->number) {
        atomic_fetch_add(&traffic->broken, 1);
    }
    (void)np_heap_free_block(block);
}

static void *give_up_others(void *argument)
{
    struct traffic *traffic = argument;
    struct np_random random = {7};
    while (!atomic_load(&traffic->has_ended)) {
        uint8_t *block = atomic_exchange(&traffic->blocks[np_random_below(&random, 64)], NULL);
        if (block != NULL) {
            give_up(traffic, block);
        }
    }
    return NULL;
}

static void blocks_never_overlap_whoever_gives_them_up(void **state)
{
    (void)state;
    struct traffic traffic = {.heap = np_heap_new(1)};
    struct np_random random = {1};
    pthread_t other;
    assert_non_null(traffic.heap);
    assert_int_equal(pthread_create(&other, NULL, give_up_others, &traffic), 0);
    for (uint32_t i = 1; i <= 100000; i++) {
        const uint32_t units = 1 + (uint32_t)np_random_below(&random, 6);
        uint8_t *block = np_heap_take(traffic.heap, units * NP_HEAP_UNIT);
        if (block == NULL) {
            atomic_fetch_add(&traffic.broken, 1);
            break;
        }
        *(struct mark *)(void *)block = (struct mark){i, units};
        *last_mark(block) = (struct mark){i, units};
        block = atomic_exchange(&traffic.blocks[np_random_below(&random, 64)], block);
        if (block != NULL) {
            give_up(&traffic, block);
        }
        if (i % 100 == 0) {
            (void)np_heap_review(traffic.heap, np_heap_deadline(traffic.heap));
        }
    }
    atomic_store(&traffic.has_ended, true);
    assert_int_equal(pthread_join(other, NULL), 0);
    for (size_t i = 0; i < 64; i++) {
        if (traffic.blocks[i] != NULL) {
            give_up(&traffic, traffic.blocks[i]);
        }
    }
    assert_int_equal(traffic.broken, 0);
    assert_non_null(np_heap_take(traffic.heap, NP_HEAP_SLOT_SIZE)); /* all gaps are one again */
    np_heap_leave(traffic.heap);
}

/* Takes and gives up blocks until it is killed, so that gaps are joined and split all the time. */
static _Noreturn void work_for_ever(int fd, int begun)
{
    enum { COUNT = 2000 };
    static void *blocks[COUNT];
    np_heap_leave_inherited();
    struct np_heap *heap = np_heap_attach(fd);
    (void)!write(begun, "", 1);
    for (;;) {
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = np_heap_take(heap, 1);
        }
        for (size_t i = 0; i < COUNT; i++) {
            np_block_free(blocks[i]);
        }
        np_block_free(np_heap_take(heap, COUNT * NP_HEAP_UNIT));
    }
}

static void a_worker_process_may_be_killed_at_any_moment(void **state)
{
    (void)state;
    struct np_random random = {(uint64_t)np_clock_now()};
    for (int kills = 0; kills < 50; kills++) {
        struct np_heap *heap = np_heap_new(1);
        int begun[2];
        char byte;
        assert_non_null(heap);
        assert_int_equal(pipe(begun), 0);
        pid_t child = fork();
        if (child == 0) {
            work_for_ever(np_heap_fd(heap), begun[1]);
        }
        assert_int_equal(read(begun[0], &byte, 1), 1);
        nanosleep(&(struct timespec){.tv_nsec = (long)np_random_below(&random, 2000000)}, NULL); /* the moment */
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        (void)alarm(20); /* ends the test if the purge does not end */
        np_heap_purge(heap, NP_HEAP_WORKERS);
        (void)alarm(0);
        np_heap_leave(heap);
        close(begun[0]);
        close(begun[1]);
    }
}

/* Who has the descriptor sees blocks, and can harm nothing but them. */
static void the_table_of_a_guarded_heap_is_not_in_its_file(void **state)
{
    (void)state;
    struct np_heap *heap = np_heap_new_guarded();
    assert_non_null(heap);
    uint8_t *blocks[2] = {np_heap_take(heap, MIB), np_heap_take(heap, NP_HEAP_UNIT)};
    memset(blocks[0], 0x5a, MIB);
    uint8_t nonsense[NP_HEAP_UNIT];
    memset(nonsense, 0xff, sizeof nonsense);
    for (uint32_t unit = 0; unit < np_heap_unit(heap, blocks[0]); unit++) {
        assert_int_equal(pwrite(np_heap_fd(heap), nonsense, sizeof nonsense, (off_t)(unit * NP_HEAP_UNIT)),
                         sizeof nonsense);
    }
    assert_int_equal(np_heap_unit(heap, blocks[1]) - np_heap_unit(heap, blocks[0]), MIB / NP_HEAP_UNIT);
    assert_true(np_heap_free_block(blocks[0]));
    assert_ptr_equal(np_heap_take(heap, MIB), blocks[0]);
    uint8_t seen = 0;
    assert_int_equal(
        pread(np_heap_fd(heap), &seen, 1, (off_t)(np_heap_unit(heap, blocks[0]) * NP_HEAP_UNIT + MIB - 1)), 1);
    assert_int_equal(seen, 0x5a);
    assert_true(np_heap_free_block(blocks[0]));
    assert_true(np_heap_free_block(blocks[1]));
    np_heap_leave(heap);
}

int main(void)
{
#define WITH_SIDES(test) cmocka_unit_test_setup_teardown(test, open_sides, close_sides)
    const struct CMUnitTest tests[] = {
        WITH_SIDES(what_one_side_writes_the_other_reads_in_place),
        WITH_SIDES(a_block_is_taken_again_when_both_sides_have_dropped_it),
        WITH_SIDES(gaps_are_joined_and_split),
        WITH_SIDES(there_is_an_end_to_it),
        WITH_SIDES(places_that_cannot_be_are_refused),
        cmocka_unit_test(memory_that_is_no_heaps_is_left_alone),
        WITH_SIDES(memory_that_nobody_uses_goes_back_to_the_system),
        WITH_SIDES(a_half_that_nobody_uses_any_more_gives_all_back_but_blocks),
        cmocka_unit_test(each_slot_has_its_share_of_a_half),
        cmocka_unit_test(a_heap_lasts_as_long_as_its_blocks),
        WITH_SIDES(a_forked_childs_frees_do_not_count),
        WITH_SIDES(a_worker_process_leaves_what_it_inherited_and_attaches_anew),
        cmocka_unit_test(heap_memory_is_the_systems_again_though_a_forked_child_lives),
        cmocka_unit_test(a_program_that_locks_its_memory_has_none),
        cmocka_unit_test(a_limit_of_file_sizes_means_none),
        cmocka_unit_test(a_limit_of_addresses_means_none),
        cmocka_unit_test(a_program_has_so_many_heaps_at_most),
        cmocka_unit_test(blocks_never_overlap_whoever_gives_them_up),
        cmocka_unit_test(a_worker_process_may_be_killed_at_any_moment),
        cmocka_unit_test(the_table_of_a_guarded_heap_is_not_in_its_file),
    };
    return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
