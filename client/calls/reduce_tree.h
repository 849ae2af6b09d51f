/*
 * The shape of a reduction, and the partial results that wait for their neighbours.
 *
 * Level 0 are the leaves, `chunk` inputs each. Node i of level n + 1 combines the nodes from i * fan_in on of level
 * n, fan_in of them, the last node fewer; one with a single child is that child. The top level is one node. So the
 * shape depends on count, chunk and fan_in alone, and order is kept, whatever the order in which results come.
 *
 * What waits is bounded: each group that waits lacks a node that is being computed or is not handed out yet, and of
 * the latter kind there is one group a level.
 */
#ifndef NP_REDUCE_TREE_H
#define NP_REDUCE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/table.h"
#include "worker/netpool_function.h"

enum { REDUCE_LEVELS_MAX = 65 };
#define REDUCE_INPUTS_MAX (UINT64_C(1) << 56) /* more than any memory has */

struct reduce_node {
    unsigned level; /* 0: a leaf */
    uint64_t index;
};

/* Neighbours; data is a block of its own, NULL where size is 0. */
struct reduce_group {
    uint64_t wanted;
    uint64_t have;
    netpool_bytes parts[]; /* `wanted` */
};

struct reduce_tree {
    uint64_t count; /* inputs */
    uint64_t chunk; /* of a leaf */
    unsigned fan_in;
    unsigned top;                      /* the highest level */
    uint64_t width[REDUCE_LEVELS_MAX]; /* nodes of each level */
    struct np_table groups;            /* that wait */
};

/* 0 < count <= REDUCE_INPUTS_MAX, chunk > 0, fan_in > 1. */
void reduce_tree_init(struct reduce_tree *tree, uint64_t count, uint64_t chunk, unsigned fan_in);
void reduce_tree_fini(struct reduce_tree *tree);

/* The inputs under a node: the first one, and how many. */
uint64_t reduce_tree_first(const struct reduce_tree *tree, struct reduce_node node);
uint64_t reduce_tree_inputs(const struct reduce_tree *tree, struct reduce_node node);

/* The value of *node is there; it is taken, also on failure. Afterwards
 *   *ready != NULL: *node is to be computed from this group, which is the caller's (reduce_group_free);
 *   node->level == tree->top: the value was the last one and is left in *part;
 *   else it waits.
 * NETPOOL_NO_MEMORY. */
NETPOOL_MUST_CHECK netpool_status reduce_tree_add(struct reduce_tree *tree, struct reduce_node *node,
                                                  netpool_bytes *part, struct reduce_group **ready);

/* With its parts. */
void reduce_group_free(struct reduce_group *group);

#endif
