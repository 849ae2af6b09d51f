/* Tells crashes apart by where they happened and how they got there. */
#ifndef NP_STACK_KEY_H
#define NP_STACK_KEY_H

#include <stdint.h>

#include "worker/crash/crash.h"

/* A hash of what the text of the stack is made from: signal, program counter, every word on the stack that points
 * into code, with its place, and what code is mapped where. Never 0. `head` is a checked copy of dump->head. */
uint64_t stack_key(const struct crash_dump *dump, const struct crash_head *head);

#endif
