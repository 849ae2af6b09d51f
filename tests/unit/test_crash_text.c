/* What is made of the remains of a crash: maps, texts and keys, also of ones that make no sense. */
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"
#include "worker/crash/crash.h"
#include "worker/crash/maps.h"
#include "worker/crash/stack_key.h"
#include "worker/crash/stack_text.h"
#include "worker/crash/symbolizer.h"

static const char maps[] = "1000-2000 r--p 00000000 fd:01 77 /opt/a module.so\n"
                           "2000-4000 r-xp 00001000 fd:01 77 /opt/a module.so\n"
                           "nonsense\n"
                           "9000-8000 r-xp 00000000 00:00 0\n"
                           "5000-6000 rw-p 00000000 00:00 0\n"
                           "7000-8000 r-xp 00000000 00:00 0 \n"
                           "a000-b000 r-xp 00000000 fd:01 78 /cut";

static void code_is_found_by_address_with_its_file_and_start(void **state)
{
    (void)state;
    struct maps_line line;
    uint64_t base;
    assert_true(maps_find_code(maps, sizeof maps - 1, 0x2abc, &line, &base));
    assert_int_equal(base, 0x1000);
    assert_int_equal(line.path_size, strlen("/opt/a module.so"));
    assert_memory_equal(line.path, "/opt/a module.so", line.path_size);
    assert_true(maps_find_code(maps, sizeof maps - 1, 0x7000, &line, &base));
    assert_int_equal(line.path_size, 0);
    static const uint64_t elsewhere[] = {0, 0xfff, 0x1000, 0x4000, 0x5000, 0x8000, 0xa000, UINT64_MAX};
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        assert_false(maps_find_code(maps, sizeof maps - 1, elsewhere[i], &line, &base));
    }
    assert_false(maps_find_code(NULL, 0, 1, &line, &base));
}

static void maps_cut_at_any_byte_are_read_safely(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof maps; size++) {
        char *copy = malloc(size + 1); /* exact, for the sanitizer */
        memcpy(copy, maps, size);
        struct maps_line line;
        uint64_t base;
        (void)maps_find_code(copy, size, 0x7fff, &line, &base);
        free(copy);
    }
}

static void text_has_one_frame_a_line_and_ends_between_lines(void **state)
{
    (void)state;
    struct stack_text text;
    stack_text_init(&text);
    stack_text_add_source(&text, "inner", "/some/where/file.c", 12);
    stack_text_add_address(&text, "outer", "/opt/module.so", 14, 0x1f);
    stack_text_add_address(&text, NULL, "/opt/module.so and more", 14, 0x1f);
    stack_text_add_address(&text, NULL, NULL, 0, 0xdead);
    assert_string_equal(text.bytes, "inner at file.c:12\nouter+0x1f in module.so\nmodule.so+0x1f\n0xdead");
    for (int i = 0; i < 1000; i++) {
        stack_text_add_source(&text, "a_function_with_a_name", "file.c", 1000000);
    }
    assert_true(text.is_full);
    assert_in_range(text.size, NP_STACK_MAX - 64, NP_STACK_MAX);
    assert_string_equal(text.bytes + text.size - 7, "1000000");
}

static void text_of_another_process_is_made_fit_to_be_shown(void **state)
{
    (void)state;
    char bytes[NP_STACK_MAX + 1] = "a\x1b[31m at b.c:1\n\x7f\nlast\n\n";
    stack_text_clean(bytes, strlen(bytes));
    assert_string_equal(bytes, "a?[31m at b.c:1\n?\nlast");
    memset(bytes, '\n', sizeof bytes);
    stack_text_clean(bytes, NP_STACK_MAX);
    assert_string_equal(bytes, "");
}

static struct crash_dump *new_dump(void)
{
    struct crash_dump *dump = aligned_alloc(4096, sizeof *dump);
    assert_non_null(dump);
    memset(dump, 0, sizeof *dump);
    dump->head = (struct crash_head){.signal = 11,
                                     .stack_size = 4096,
                                     .stack_address = 0x10000,
                                     .maps_size = sizeof maps - 1,
                                     .pc = 0x2100,
                                     .sp = 0x10100};
    memcpy(dump->maps, maps, sizeof maps - 1);
    return dump;
}

static void put_word(struct crash_dump *dump, uint64_t address, uint64_t word)
{
    memcpy(dump->stack + (address - dump->head.stack_address), &word, sizeof word);
}

static void key_tells_call_paths_apart_and_looks_past_data(void **state)
{
    (void)state;
    struct crash_dump *dump = new_dump();
    put_word(dump, 0x10200, 0x2345);
    uint64_t key = stack_key(dump, &dump->head);
    put_word(dump, 0x10208, 0x5555); /* data */
    put_word(dump, 0x10080, 0x2400); /* below the stack pointer: left over */
    assert_int_equal(stack_key(dump, &dump->head), key);
    put_word(dump, 0x10200, 0x2346);
    assert_int_not_equal(stack_key(dump, &dump->head), key);
    put_word(dump, 0x10200, 0x2345);
    dump->head.signal = 7;
    assert_int_not_equal(stack_key(dump, &dump->head), key);
    dump->head.signal = 11;
    *strstr(strstr(dump->maps, "r-xp"), "module") = 'M'; /* another file */
    assert_int_not_equal(stack_key(dump, &dump->head), key);
    free(dump);
}

static void remains_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct crash_dump *dump = new_dump();
    assert_true(crash_is_plausible(&dump->head));
    dump->head.stack_size = CRASH_STACK_MAX + 1;
    assert_false(crash_is_plausible(&dump->head));
    dump->head.stack_size = 0;
    dump->head.maps_size = CRASH_MAPS_MAX + 1;
    assert_false(crash_is_plausible(&dump->head));
    dump->head.maps_size = 0;
    dump->head.stack_address = UINT64_MAX - 4096;
    assert_false(crash_is_plausible(&dump->head));
    free(dump);
}

static void random_remains_make_some_text_and_no_harm(void **state)
{
    (void)state;
    struct crash_dump *dump = new_dump();
    struct stack_text text;
    srandom(1);
    for (int round = 0; round < 50; round++) {
        uint8_t *bytes = (uint8_t *)&dump->head;
        for (size_t i = 0; i < sizeof dump->head; i++) {
            bytes[i] = (uint8_t)random();
        }
        dump->head.stack_size &= CRASH_STACK_MAX - 1;
        dump->head.maps_size = (uint32_t)random() % sizeof maps;
        dump->head.stack_address &= UINT64_MAX >> 1;
        dump->head.sp = dump->head.stack_address + (uint64_t)(random() % 8192);
        symbolizer_tell(dump, &text);
        (void)stack_key(dump, &dump->head);
        assert_true(text.size <= NP_STACK_MAX);
    }
    free(dump);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_is_found_by_address_with_its_file_and_start),
        cmocka_unit_test(maps_cut_at_any_byte_are_read_safely),
        cmocka_unit_test(text_has_one_frame_a_line_and_ends_between_lines),
        cmocka_unit_test(text_of_another_process_is_made_fit_to_be_shown),
        cmocka_unit_test(key_tells_call_paths_apart_and_looks_past_data),
        cmocka_unit_test(remains_that_cannot_be_are_refused),
        cmocka_unit_test(random_remains_make_some_text_and_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
