#include "client/calls/reduce_tree.h"

#include <assert.h>
#include <stdlib.h>

#include "common/block.h"

/* A key of the table is a level and the index of a group of nodes of that level. */
enum { LEVEL_SHIFT = 57 };

void reduce_tree_init(struct reduce_tree *tree, uint64_t count, uint64_t chunk, unsigned fan_in)
{
    assert(count > 0 && chunk > 0 && fan_in > 1);
    *tree = (struct reduce_tree){.count = count, .chunk = chunk, .fan_in = fan_in};
    tree->width[0] = (count - 1) / chunk + 1;
    assert(tree->width[0] < UINT64_C(1) << LEVEL_SHIFT);
    while (tree->width[tree->top] > 1) {
        tree->width[tree->top + 1] = (tree->width[tree->top] - 1) / fan_in + 1;
        tree->top++;
    }
}

void reduce_group_free(struct reduce_group *group)
{
    for (uint64_t i = 0; i < group->wanted; i++) {
        np_block_free(group->parts[i].data);
    }
    free(group);
}

void reduce_tree_fini(struct reduce_tree *tree)
{
    size_t cursor = 0;
    for (struct reduce_group *group = np_table_next(&tree->groups, &cursor); group != NULL;
         group = np_table_next(&tree->groups, &cursor)) {
        reduce_group_free(group);
    }
    np_table_fini(&tree->groups);
}

/* Leaves under one node of the level that is not the last. */
static uint64_t leaves_of(const struct reduce_tree *tree, unsigned level)
{
    uint64_t leaves = 1;
    for (unsigned i = 0; i < level; i++) {
        if (__builtin_mul_overflow(leaves, tree->fan_in, &leaves)) {
            return tree->width[0]; /* more than there are: the node is the only one */
        }
    }
    return leaves < tree->width[0] ? leaves : tree->width[0];
}

uint64_t reduce_tree_first(const struct reduce_tree *tree, struct reduce_node node)
{
    return node.index * leaves_of(tree, node.level) * tree->chunk;
}

uint64_t reduce_tree_inputs(const struct reduce_tree *tree, struct reduce_node node)
{
    uint64_t rest = tree->count - reduce_tree_first(tree, node);
    uint64_t leaves = leaves_of(tree, node.level);
    return leaves > rest / tree->chunk ? rest : leaves * tree->chunk;
}

static struct reduce_group *find_group(struct reduce_tree *tree, uint64_t key, uint64_t wanted)
{
    struct reduce_group *group = np_table_find(&tree->groups, key);
    if (group != NULL) {
        return group;
    }
    group = calloc(1, sizeof *group + wanted * sizeof group->parts[0]);
    if (group == NULL) {
        return NULL;
    }
    group->wanted = wanted;
    if (np_table_put(&tree->groups, key, group) != NETPOOL_OK) {
        free(group);
        return NULL;
    }
    return group;
}

netpool_status reduce_tree_add(struct reduce_tree *tree, struct reduce_node *node, netpool_bytes *part,
                               struct reduce_group **ready)
{
    *ready = NULL;
    while (node->level < tree->top) {
        uint64_t parent = node->index / tree->fan_in;
        uint64_t first = parent * tree->fan_in;
        uint64_t rest = tree->width[node->level] - first;
        uint64_t wanted = rest < tree->fan_in ? rest : tree->fan_in;
        uint64_t key = (uint64_t)node->level << LEVEL_SHIFT | parent;
        if (wanted > 1) {
            struct reduce_group *group = find_group(tree, key, wanted);
            if (group == NULL) {
                np_block_free(part->data);
                return NETPOOL_NO_MEMORY;
            }
            group->parts[node->index - first] = *part;
            *part = (netpool_bytes){0};
            if (++group->have < wanted) {
                return NETPOOL_OK;
            }
            *ready = np_table_take(&tree->groups, key);
        }
        *node = (struct reduce_node){.level = node->level + 1, .index = parent};
        if (*ready != NULL) {
            return NETPOOL_OK;
        }
    }
    return NETPOOL_OK;
}
