/* The shape of a reduction: order kept, everything once, the same whatever comes first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/calls/reduce_tree.h"
#include "tests/support/block_of.h"
#include "tests/support/cmocka_all.h"

enum { TEXT_MAX = 4096 };

/* A node that has been handed out, with the text of what it combines. */
struct pending {
    struct reduce_node node;
    char *text;
};

static char *text_of(const struct reduce_group *group)
{
    char *text = np_block_new(TEXT_MAX);
    assert_non_null(text);
    strcpy(text, "(");
    for (uint64_t i = 0; i < group->wanted; i++) {
        strcat(text, group->parts[i].data);
    }
    return strcat(text, ")");
}

/* Runs a tree whose leaves are "first-last;", in an order chosen by the seed; the text of the result. */
static char *run(uint64_t count, uint64_t chunk, unsigned fan_in, unsigned seed)
{
    struct reduce_tree tree;
    struct pending pending[300];
    size_t waiting = 0;
    reduce_tree_init(&tree, count, chunk, fan_in);
    for (uint64_t i = 0; i < tree.width[0]; i++) {
        struct reduce_node node = {.index = i};
        uint64_t first = reduce_tree_first(&tree, node);
        pending[waiting] = (struct pending){.node = node, .text = np_block_new(TEXT_MAX)};
        (void)snprintf(pending[waiting++].text, TEXT_MAX, "%d-%d;", (int)first,
                       (int)(first + reduce_tree_inputs(&tree, node) - 1));
    }
    char *result = NULL;
    while (waiting > 0) {
        seed = seed * 1103515245 + 12345;
        size_t chosen = seed / 65536 % waiting;
        struct pending next = pending[chosen];
        pending[chosen] = pending[--waiting];
        netpool_bytes part = {.data = next.text, .size = strlen(next.text)};
        struct reduce_group *ready;
        assert_int_equal(reduce_tree_add(&tree, &next.node, &part, &ready), NETPOOL_OK);
        if (ready != NULL) {
            assert_true(ready->wanted >= 2 && ready->wanted <= fan_in);
            pending[waiting++] = (struct pending){.node = next.node, .text = text_of(ready)};
            reduce_group_free(ready);
        } else if (next.node.level == tree.top) {
            assert_null(result);
            result = (char *)(uintptr_t)part.data;
        }
    }
    assert_int_equal(tree.groups.count, 0);
    reduce_tree_fini(&tree);
    assert_non_null(result);
    return result;
}

static void a18_tree_is_the_same_in_whatever_order_results_come(void **state)
{
    (void)state;
    for (uint64_t count = 1; count <= 70; count++) {
        for (unsigned fan_in = 2; fan_in <= 5; fan_in++) {
            for (uint64_t chunk = 1; chunk <= 4; chunk += 3) {
                char *first = run(count, chunk, fan_in, 1);
                for (unsigned seed = 2; seed < 6; seed++) {
                    char *other = run(count, chunk, fan_in, seed);
                    assert_string_equal(first, other);
                    np_block_free(other);
                }
                np_block_free(first);
            }
        }
    }
}

static void a18_every_input_is_combined_once_and_in_order(void **state)
{
    (void)state;
    for (uint64_t count = 1; count <= 200; count += 7) {
        char *text = run(count, 3, 4, (unsigned)count);
        int expected = 0;
        for (const char *c = text; *c != '\0'; c++) {
            int first;
            int last;
            if (*c >= '0' && *c <= '9') {
                assert_int_equal(sscanf(c, "%d-%d", &first, &last), 2);
                assert_int_equal(first, expected);
                assert_in_range(last, first, first + 2);
                expected = last + 1;
                c = strchr(c, ';');
            }
        }
        assert_int_equal(expected, count);
        np_block_free(text);
    }
}

static void shape_is_as_documented(void **state)
{
    (void)state;
    char *text = run(7, 1, 3, 4);
    assert_string_equal(text, "((0-0;1-1;2-2;)(3-3;4-4;5-5;)6-6;)"); /* a node with a single child is that child */
    np_block_free(text);
    text = run(1, 10, 2, 1);
    assert_string_equal(text, "0-0;");
    np_block_free(text);
}

static void inputs_of_a_node_are_those_of_its_leaves(void **state)
{
    (void)state;
    struct reduce_tree tree;
    reduce_tree_init(&tree, 100000005, 10, 16);
    assert_int_equal(tree.width[0], 10000001);
    const struct reduce_node top = {.level = tree.top};
    assert_int_equal(reduce_tree_first(&tree, top), 0);
    assert_int_equal(reduce_tree_inputs(&tree, top), 100000005);
    const struct reduce_node last = {.level = 1, .index = 10000001 / 16};
    assert_int_equal(reduce_tree_first(&tree, last), 100000000);
    assert_int_equal(reduce_tree_inputs(&tree, last), 5);
    const struct reduce_node second = {.level = 2, .index = 1};
    assert_int_equal(reduce_tree_first(&tree, second), 2560);
    assert_int_equal(reduce_tree_inputs(&tree, second), 2560);
    reduce_tree_fini(&tree);
    reduce_tree_init(&tree, REDUCE_INPUTS_MAX, 1, 2);
    assert_int_equal(tree.top, 56);
    reduce_tree_fini(&tree);
}

static void what_waits_is_freed_with_the_tree(void **state)
{
    (void)state;
    struct reduce_tree tree;
    reduce_tree_init(&tree, 100, 1, 10);
    for (uint64_t i = 0; i < 100; i += 3) {
        struct reduce_node node = {.index = i};
        netpool_bytes part = {.data = block_of("8 bytes", 8), .size = 8};
        struct reduce_group *ready;
        assert_int_equal(reduce_tree_add(&tree, &node, &part, &ready), NETPOOL_OK);
        assert_null(ready);
    }
    reduce_tree_fini(&tree); /* the sanitizer sees what is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a18_tree_is_the_same_in_whatever_order_results_come),
        cmocka_unit_test(a18_every_input_is_combined_once_and_in_order),
        cmocka_unit_test(shape_is_as_documented),
        cmocka_unit_test(inputs_of_a_node_are_those_of_its_leaves),
        cmocka_unit_test(what_waits_is_freed_with_the_tree),
    };
    return cmocka_run_group_tests_name("reduce_tree", tests, NULL, NULL);
}
