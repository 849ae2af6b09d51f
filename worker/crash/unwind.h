/* From what a crash left behind to the text of its stack, with the help of elfutils' libdw, which is loaded only
 * here: no program needs it to run, and without it only the place of the crash is told. */
#ifndef NP_UNWIND_H
#define NP_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/crash/stack_text.h"

/* A copy of what the crash left, checked. */
struct unwind_input {
    const uint64_t *registers; /* CRASH_REGISTERS of them */
    uint64_t pc;
    const uint8_t *stack;
    uint64_t stack_address;
    size_t stack_size; /* bytes */
    const char *maps;  /* whole lines */
    size_t maps_size;
};

/* Adds the frames up to the one that called the function. False when none was found. */
bool unwind_frames(const struct unwind_input *input, struct stack_text *text);

#endif
