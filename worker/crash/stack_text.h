/* The text of a stack: one frame a line, innermost first, cut to NP_STACK_MAX bytes between two lines. */
#ifndef NP_STACK_TEXT_H
#define NP_STACK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

struct stack_text {
    size_t size;
    bool is_full; /* a line did not fit: no more are taken */
    char bytes[NP_STACK_MAX + 1];
};

void stack_text_init(struct stack_text *text);

/* "function at file:line"; only the last part of the file's path is shown. */
void stack_text_add_source(struct stack_text *text, const char *function, const char *file, int line);

/* "function+0x12 in module", "module+0x1234" without a function, "0x1234" without a module. The module's name need
 * not be terminated; only the last part of its path is shown. */
void stack_text_add_address(struct stack_text *text, const char *function, const char *module, size_t module_size,
                            uint64_t offset);

/* Makes what another process wrote fit to be shown: whole lines without control characters. bytes has room for
 * NP_STACK_MAX + 1. */
void stack_text_clean(char *bytes, size_t size);

#endif
