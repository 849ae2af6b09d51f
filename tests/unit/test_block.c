/* Blocks: shared by reference, kept for the next of their size, given back when nobody wants them. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/block.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/random.h"
#include "tests/support/cmocka_all.h"

/* Not under AddressSanitizer, which is to see every use of a freed block. */
static void a_large_block_is_used_again_for_the_next_of_its_size(void **state)
{
    (void)state;
#ifndef __SANITIZE_ADDRESS__
    const size_t size = (size_t)64 << 20;
    np_block_add_reviewer();
    void *block = np_block_new(size);
    assert_non_null(block);
    np_block_free(block);
    void *much_smaller = np_block_new(size / 4);
    assert_ptr_not_equal(much_smaller, block);
    void *with_header = np_block_new(size + 64);
    assert_ptr_equal(with_header, block);
    np_block_free(with_header);
    np_block_free(much_smaller);
    np_block_remove_reviewer();
#endif
    np_block_free(NULL);
}

#ifndef __SANITIZE_ADDRESS__
static bool is_mapped(const void *page)
{
    unsigned char is_there;
    return mincore((void *)((uintptr_t)page / 4096 * 4096), 1, &is_there) == 0;
}
#endif

static void a_large_block_that_nobody_wants_goes_back_to_the_system(void **state)
{
    (void)state;
#ifndef __SANITIZE_ADDRESS__
    const size_t size = (size_t)64 << 20;
    np_block_add_reviewer();
    char *block = np_block_new(size);
    assert_non_null(block);
    assert_int_not_equal(np_block_deadline(), NP_NEVER); /* whoever frees it need not know of reviews */
    np_block_free(block);
    int64_t first = np_block_deadline();
    np_block_review(first - 1);
    assert_true(is_mapped(block + size / 2));
    np_block_review(first);
    assert_ptr_equal(np_block_new(size), block);
    np_block_review(np_block_deadline());
    np_block_free(block);
    np_block_review(np_block_deadline());
    assert_true(is_mapped(block + size / 2));
    np_block_review(np_block_deadline());
    assert_false(is_mapped(block + size / 2));
    assert_int_equal(np_block_deadline(), NP_NEVER);

    block = np_block_new(size);
    np_block_free(block);
    assert_true(is_mapped(block + size / 2));
    np_block_remove_reviewer();
    assert_false(is_mapped(block + size / 2));
    block = np_block_new(size);
    np_block_free(block); /* nobody would review it */
    assert_false(is_mapped(block + size / 2));
#endif
}

#ifndef __SANITIZE_ADDRESS__
static size_t mapped_bytes(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu", &pages), 1);
    (void)fclose(file);
    return pages * 4096;
}

static void review_until_nothing_is_left(void)
{
    while (np_block_deadline() != NP_NEVER) {
        np_block_review(np_block_deadline());
    }
}
#endif

static void hardly_more_is_kept_than_was_in_use_at_one_time(void **state)
{
    (void)state;
#ifndef __SANITIZE_ADDRESS__
    const size_t mib = (size_t)1 << 20;
    const size_t before = mapped_bytes();
    np_block_add_reviewer();
    review_until_nothing_is_left();   /* and of earlier tests nothing known */
    for (size_t i = 0; i < 30; i++) { /* one at a time: each fits none before it */
        np_block_free(np_block_new((i * 7 % 30 + 1) * mib));
    }
    assert_in_range(mapped_bytes() - before, mib, 62 * mib);
    review_until_nothing_is_left();
    assert_in_range(mapped_bytes(), 0, before + mib);
    char *held = np_block_new(mib); /* nothing is to be done about it */
    for (int i = 0; i < 3 && np_block_deadline() != NP_NEVER; i++) {
        np_block_review(np_block_deadline());
    }
    assert_int_equal(np_block_deadline(), NP_NEVER);
    np_block_free(held);
    assert_false(is_mapped(held + mib / 2));
    np_block_remove_reviewer();
#endif
}

/* Each block carries its owner's mark at both ends: nobody else may get it meanwhile. */
static void *use_blocks(void *seed)
{
    struct np_random random = {(uint64_t)(uintptr_t)seed};
    uint8_t *blocks[16] = {0};
    size_t sizes[16] = {0};
    bool is_intact = true;
    for (int i = 0; i < 20000; i++) {
        size_t at = np_random_below(&random, 16);
        if (blocks[at] != NULL) {
            is_intact = is_intact && blocks[at][0] == (uint8_t)at && blocks[at][sizes[at] - 1] == (uint8_t)~at &&
                        (uintptr_t)blocks[at] % 16 == 0;
        }
        np_block_free(blocks[at]);
        sizes[at] = 2 + np_random_below(&random, i % 64 == 0 ? 3 << 20 : 128 << 10);
        blocks[at] = np_block_new(sizes[at]);
        if (blocks[at] == NULL) {
            return "no memory";
        }
        blocks[at][0] = (uint8_t)at;
        blocks[at][sizes[at] - 1] = (uint8_t)~at;
    }
    for (size_t at = 0; at < 16; at++) {
        np_block_free(blocks[at]);
    }
    return is_intact ? NULL : "a block had two owners";
}

static void blocks_have_one_owner_whatever_threads_do(void **state)
{
    (void)state;
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use_blocks, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < 3; i++) {
        void *complaint = NULL;
        assert_int_equal(pthread_join(threads[i], &complaint), 0);
        assert_null(complaint);
    }
}

static void shared_blocks_live_until_the_last_reference_is_given_back(void **state)
{
    (void)state;
    for (size_t size = 1; size < 8 << 20; size *= 3) {
        uint8_t *block = np_block_new(size);
        assert_non_null(block);
        memset(block, 1, size);
        assert_ptr_equal(np_block_share(block), block);
        np_block_free(block);
        uint8_t *other = np_block_new(size);
        assert_ptr_not_equal(other, block);
        memset(other, 2, size);
        assert_int_equal(block[0] + block[size - 1], 2);
        np_block_free(block);
        np_block_free(other);
    }
}

/* Each has a reference of its own to what the others give back at the same time. */
static void *share_block(void *block)
{
    const uint8_t *bytes = block;
    bool is_intact = true;
    for (int i = 0; i < 20000; i++) {
        const uint8_t *again = np_block_share(bytes);
        is_intact = is_intact && again[99999] == 7;
        np_block_free(again);
    }
    is_intact = is_intact && bytes[0] == 7;
    np_block_free(bytes);
    return is_intact ? NULL : "a block was freed under a reader";
}

static void blocks_are_shared_by_threads(void **state)
{
    (void)state;
    pthread_t threads[3];
    uint8_t *block = np_block_new(100000);
    assert_non_null(block);
    memset(block, 7, 100000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, share_block, np_block_share(block)), 0);
    }
    np_block_free(block);
    for (int i = 0; i < 3; i++) {
        void *complaint = NULL;
        assert_int_equal(pthread_join(threads[i], &complaint), 0);
        assert_null(complaint);
    }
}

static void a_buffers_memory_can_be_taken_as_a_block(void **state)
{
    (void)state;
    struct np_buffer buffer = {0};
    assert_int_equal(np_buffer_append(&buffer, "text", 5), NETPOOL_OK);
    uint8_t *block = np_buffer_take(&buffer);
    assert_string_equal(block, "text");
    assert_int_equal(np_buffer_append(&buffer, "more", 5), NETPOOL_OK);
    assert_string_equal(block, "text");
    np_block_free(block);
    np_buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_block_is_used_again_for_the_next_of_its_size),
        cmocka_unit_test(a_large_block_that_nobody_wants_goes_back_to_the_system),
        cmocka_unit_test(hardly_more_is_kept_than_was_in_use_at_one_time),
        cmocka_unit_test(blocks_have_one_owner_whatever_threads_do),
        cmocka_unit_test(shared_blocks_live_until_the_last_reference_is_given_back),
        cmocka_unit_test(blocks_are_shared_by_threads),
        cmocka_unit_test(a_buffers_memory_can_be_taken_as_a_block),
    };
    return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
