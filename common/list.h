/* Intrusive doubly linked lists. A node that is in no list points to itself or is zero before np_list_init. */
#ifndef NP_LIST_H
#define NP_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct np_list {
    struct np_list *next;
    struct np_list *previous;
};

#define NP_CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Walks from front to back; the current node may be removed in the body. */
#define NP_LIST_EACH(node, list)                                                         \
    for (struct np_list *node = (list)->next, *node##_next = node->next; node != (list); \
         node = node##_next, node##_next = node->next)

static inline void np_list_init(struct np_list *list)
{
    list->next = list->previous = list;
}

static inline bool np_list_is_empty(const struct np_list *list)
{
    return list->next == list;
}

static inline void np_list_insert_before(struct np_list *position, struct np_list *node)
{
    node->previous = position->previous;
    node->next = position;
    position->previous->next = node;
    position->previous = node;
}

static inline void np_list_push_back(struct np_list *list, struct np_list *node)
{
    np_list_insert_before(list, node);
}

static inline void np_list_push_front(struct np_list *list, struct np_list *node)
{
    np_list_insert_before(list->next, node);
}

/* The node is in no list afterwards; removing it again does nothing. */
static inline void np_list_remove(struct np_list *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    np_list_init(node);
}

/* NULL when empty. */
static inline struct np_list *np_list_front(const struct np_list *list)
{
    return np_list_is_empty(list) ? NULL : list->next;
}

static inline struct np_list *np_list_pop_front(struct np_list *list)
{
    struct np_list *node = np_list_front(list);
    if (node != NULL) {
        np_list_remove(node);
    }
    return node;
}

/* Moves all of `from` to the end of `list`. */
static inline void np_list_splice_back(struct np_list *list, struct np_list *from)
{
    if (!np_list_is_empty(from)) {
        from->next->previous = list->previous;
        list->previous->next = from->next;
        from->previous->next = list;
        list->previous = from->previous;
        np_list_init(from);
    }
}

/* Moves what stands before `end` in `from` to the end of `list`. */
static inline void np_list_move_front(struct np_list *list, struct np_list *from, struct np_list *end)
{
    struct np_list *first = from->next;
    if (first != end) {
        struct np_list *last = end->previous;
        from->next = end;
        end->previous = from;
        first->previous = list->previous;
        list->previous->next = first;
        last->next = list;
        list->previous = last;
    }
}

#endif
