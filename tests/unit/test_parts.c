/* Several byte strings in one input, and inputs that only look like it. */
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"
#include "worker/executor/parts.h"

static netpool_bytes pack(const netpool_bytes *parts, size_t count)
{
    size_t size = parts_size(parts, count);
    void *bytes = aligned_alloc(16, size);
    assert_non_null(bytes);
    memset(bytes, 0xee, size);
    parts_pack(bytes, parts, count);
    return (netpool_bytes){.data = bytes, .size = size};
}

static void release(netpool_bytes packed)
{
    free((void *)(uintptr_t)packed.data);
}

static void a18_parts_come_out_as_they_went_in_and_aligned(void **state)
{
    (void)state;
    static const char text[100] = "abcdefghijklmnopqrstuvwxyz";
    netpool_bytes parts[100];
    for (size_t count = 1; count <= 100; count++) {
        for (size_t i = 0; i < count; i++) {
            parts[i] = (netpool_bytes){.data = i > 0 ? text : NULL, .size = i};
        }
        netpool_bytes packed = pack(parts, count);
        assert_int_equal(netpool_part_count(packed), count);
        for (size_t i = 0; i < count; i++) {
            netpool_bytes part = netpool_part(packed, i);
            assert_int_equal(part.size, i);
            assert_int_equal((uintptr_t)part.data % 16, 0);
            assert_memory_equal(part.data, text, i);
        }
        assert_int_equal(netpool_part(packed, count).size, 0);
        release(packed);
    }
}

static void what_is_not_made_of_parts_has_none(void **state)
{
    (void)state;
    static const char text[64] = "just some bytes that nobody has packed";
    for (size_t size = 0; size <= sizeof text; size++) {
        assert_int_equal(netpool_part_count((netpool_bytes){.data = text, .size = size}), 0);
        assert_null(netpool_part((netpool_bytes){.data = text, .size = size}, 0).data);
    }
    const uint64_t nothing[2] = {PARTS_MAGIC, 0};
    assert_int_equal(netpool_part_count((netpool_bytes){.data = nothing, .size = sizeof nothing}), 0);
    assert_int_equal(netpool_part_count((netpool_bytes){0}), 0);
}

/* Each size, and each bit of head and table turned: never read outside (the copy ends where the memory ends, under a
 * sanitizer), and never parts that overlap. */
static void a20_damaged_parts_are_refused(void **state)
{
    (void)state;
    static const char text[40] = "0123456789";
    const netpool_bytes parts[3] = {
        {.data = text, .size = 10}, {.data = text, .size = 33}, {.data = text, .size = 1}};
    netpool_bytes packed = pack(parts, 3);
    for (size_t size = 0; size < packed.size; size++) {
        netpool_bytes cut = {.data = malloc(size > 0 ? size : 1), .size = size};
        memcpy((void *)(uintptr_t)cut.data, packed.data, size);
        assert_int_equal(netpool_part_count(cut), 0);
        for (size_t i = 0; i < 4; i++) {
            netpool_bytes part = netpool_part(cut, i);
            assert_true(part.data == NULL || (const char *)part.data + part.size <= (const char *)cut.data + size);
        }
        release(cut);
    }
    for (size_t bit = 0; bit < (16 + 3 * 16) * 8; bit++) {
        netpool_bytes damaged = {.data = malloc(packed.size), .size = packed.size};
        unsigned char *bytes = (unsigned char *)(uintptr_t)damaged.data;
        memcpy(bytes, packed.data, packed.size);
        bytes[bit / 8] ^= (unsigned char)(1U << bit % 8);
        size_t count = netpool_part_count(damaged);
        assert_true(count == 0 || count == 3); /* 3: a size changed within its padding */
        for (size_t i = 0; i < 4; i++) {
            netpool_bytes part = netpool_part(damaged, i);
            assert_true(part.data == NULL || (const unsigned char *)part.data + part.size <= bytes + packed.size);
        }
        release(damaged);
    }
    release(packed);
}

static void size_that_no_memory_has_is_0(void **state)
{
    (void)state;
    const netpool_bytes huge[2] = {{.data = "", .size = SIZE_MAX / 2}, {.data = "", .size = SIZE_MAX / 2}};
    const netpool_bytes largest = {.data = "", .size = SIZE_MAX};
    assert_int_equal(parts_size(huge, 2), 0);
    assert_int_equal(parts_size(&largest, 1), 0);
    assert_int_equal(parts_size(huge, SIZE_MAX / 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a18_parts_come_out_as_they_went_in_and_aligned),
        cmocka_unit_test(what_is_not_made_of_parts_has_none),
        cmocka_unit_test(a20_damaged_parts_are_refused),
        cmocka_unit_test(size_that_no_memory_has_is_0),
    };
    return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
