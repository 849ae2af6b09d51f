#include "common/arena.h"

#include <stdalign.h>
#include <stdlib.h>

enum { BLOCK_SIZE = 16 * 1024 };

struct np_arena_block {
    struct np_arena_block *next;
    size_t size; /* bytes of memory */
    size_t used;
    alignas(16) unsigned char memory[];
};

void np_arena_reset(struct np_arena *arena, size_t budget)
{
    struct np_arena_block *block = arena->blocks;
    while (block != NULL && (block->next != NULL || block->size > BLOCK_SIZE)) {
        struct np_arena_block *next = block->next;
        free(block);
        block = next;
    }
    if (block != NULL) {
        block->used = 0;
    }
    arena->blocks = block;
    arena->used = 0;
    arena->budget = budget;
}

static struct np_arena_block *add_block(struct np_arena *arena, size_t size)
{
    size_t block_size = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    struct np_arena_block *block = malloc(sizeof *block + block_size);
    if (block != NULL) {
        *block = (struct np_arena_block){.next = arena->blocks, .size = block_size};
        arena->blocks = block;
    }
    return block;
}

void *np_arena_allocate(struct np_arena *arena, size_t size)
{
    if (size > arena->budget) {
        return NULL;
    }
    size = (size + 15) & ~(size_t)15;
    if (arena->used + size > arena->budget) {
        return NULL;
    }
    struct np_arena_block *block = arena->blocks;
    if (block == NULL || block->size - block->used < size) {
        block = add_block(arena, size);
        if (block == NULL) {
            return NULL;
        }
    }
    void *memory = block->memory + block->used;
    block->used += size;
    arena->used += size;
    return memory;
}

void np_arena_fini(struct np_arena *arena)
{
    while (arena->blocks != NULL) {
        struct np_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    *arena = (struct np_arena){0};
}
