/*
 * What a crashing executor leaves behind for its stack to be told: registers, the innermost part of its stack and the
 * map of its memory. Written by a signal handler into memory shared with the supervisor, which costs no memory until
 * then. Whoever reads it believes nothing but crash_is_plausible.
 */
#ifndef NP_CRASH_H
#define NP_CRASH_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define CRASH_REGISTERS 17 /* numbered as in DWARF; the last one is the program counter */
#elif defined(__aarch64__)
#define CRASH_REGISTERS 32
#else
#error "add the registers of this processor here and in crash.c"
#endif

#define CRASH_STACK_MAX ((size_t)1024 * 1024) /* bytes, whole pages */
#define CRASH_MAPS_MAX ((size_t)128 * 1024)   /* bytes */

/* Of SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS and SIGABRT. */
#define CRASH_SIGNALS 7

struct crash_head {
    uint32_t signal;
    uint32_t stack_size; /* bytes of the stack ... */
    uint64_t stack_address;
    uint32_t maps_size; /* bytes of /proc/self/maps; may end within a line */
    uint32_t reserved;
    uint64_t pc;
    uint64_t sp;
    uint64_t registers[CRASH_REGISTERS];
};

struct crash_dump {
    _Atomic uint32_t is_complete;
    struct crash_head head;
    _Alignas(4096) uint8_t stack[CRASH_STACK_MAX];
    char maps[CRASH_MAPS_MAX];
};

/* What is handled now, to be given to crash_install after signals were reset. */
void crash_save_handlers(struct sigaction saved[CRASH_SIGNALS]);

/* In an executor: from now on a crash of this process fills the dump and then ends the process by the same signal as
 * it would have without. Signals with a handler in `saved`, a module's own, keep it; a function that installs its own
 * later keeps that. The stack is copied up to `base`, the frame where the executor begins. Overflows of the calling
 * thread's stack are caught, too. False: no memory, nothing is installed. */
bool crash_install(struct crash_dump *dump, const void *base, const struct sigaction saved[CRASH_SIGNALS]);

/* Can what was read from a dump be used? */
bool crash_is_plausible(const struct crash_head *head);

#endif
