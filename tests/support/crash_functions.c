/* Functions that crash in every way whose stack a test wants to see. A mark in a comment names the line of the crash
 * or of a call on the way to it: tests look the lines up in this file. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/netpool_function.h"

/* Kept from the optimizer: a caller must remain a frame, and what crashes must be done. */
#if defined(__clang__)
#define FRAME __attribute__((noinline))
#else
#define FRAME __attribute__((noinline, noclone))
#endif
static int *volatile nowhere;
static volatile int zero;
static volatile int sink;
static netpool_function *volatile no_function;
#define AFTER_CALL __asm__ volatile("" ::: "memory")

static void (*volatile last_words)(void);

FRAME static void write_nowhere(void)
{
    *nowhere = 1; /* mark: null_write */
    AFTER_CALL;
}

FRAME static void walk_on(int steps)
{
    if (steps > 0) {
        walk_on(steps - 1); /* mark: null_walk */
    } else {
        write_nowhere(); /* mark: null_call */
    }
    AFTER_CALL;
}

/* In a static function that two others called. */
static netpool_status crash_null(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    walk_on(1); /* mark: null_entry */
    AFTER_CALL;
    return NETPOOL_OK;
}

static netpool_status crash_abort_deep(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    abort(); /* mark: abort */
}

static netpool_status crash_fpe(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
#if defined(__x86_64__)
    sink = 7 / zero; /* mark: fpe */
#else
    (void)raise(SIGFPE); /* this processor divides by zero without a word */
#endif
    return NETPOOL_OK;
}

static netpool_status crash_bus(netpool_call *call, netpool_bytes input)
{
    (void)input;
    int fd = memfd_create("short", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 4096) != 0) {
        return netpool_fail(call, "no file");
    }
    volatile char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED || ftruncate(fd, 0) != 0) {
        return netpool_fail(call, "no mapping");
    }
    memory[0] = 1; /* mark: bus */
    return NETPOOL_OK;
}

static netpool_status crash_ill(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
#if defined(__x86_64__)
    __asm__ volatile("ud2"); /* mark: ill */
#else
    __asm__ volatile("udf #0");
#endif
    return NETPOOL_OK;
}

FRAME static int overflow(int depth)
{
    volatile char ballast[512];
    ballast[0] = (char)depth;
    if (zero == 0) {
        sink = overflow(depth + 1) + ballast[0]; /* mark: overflow */
    }
    return ballast[0];
}

static netpool_status crash_overflow(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    sink = overflow(0);
    return NETPOOL_OK;
}

static inline __attribute__((always_inline)) void inlined(void)
{
    *nowhere = 2; /* mark: inlined */
}

static netpool_status crash_inlined(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    inlined(); /* mark: inlined_entry */
    return NETPOOL_OK;
}

static netpool_status crash_in_libc(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    size_t (*volatile length)(const char *) = strlen;
    sink = (int)length((const char *)nowhere); /* mark: libc */
    return NETPOOL_OK;
}

/* Calls a function pointer that is NULL. */
static netpool_status crash_no_function(netpool_call *call, netpool_bytes input)
{
    netpool_status status = no_function(call, input); /* mark: no_function */
    AFTER_CALL;
    return status;
}

/* Overwrites its own return address and everything further out that fits. */
static netpool_status crash_smashed(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    void **frame = __builtin_frame_address(0);
    for (int i = 0; i < 64; i++) {
        ((void *volatile *)frame)[i] = (void *)(0x4141414141414141UL + (unsigned long)i);
    }
    last_words();
    return NETPOOL_OK;
}

/* With a stack pointer that points to nothing: not mapped, or no address at all. */
static netpool_status crash_without_stack(netpool_call *call, netpool_bytes input)
{
    (void)call;
    unsigned long sp = input.size > 0 ? 0x10000UL : 0xdeadbeefdeadbee0UL;
#if defined(__x86_64__)
    __asm__ volatile("mov %0, %%rsp\n\tud2" ::"r"(sp));
#else
    __asm__ volatile("mov sp, %0\n\tudf #0" ::"r"(sp));
#endif
    return NETPOOL_OK;
}

static void *crash_in_thread_main(void *unused)
{
    (void)unused;
    write_nowhere(); /* mark: thread */
    return NULL;
}

static netpool_status crash_in_thread(netpool_call *call, netpool_bytes input)
{
    (void)input;
    pthread_t thread;
    if (pthread_create(&thread, NULL, crash_in_thread_main, NULL) != 0) {
        return netpool_fail(call, "no thread");
    }
    (void)pthread_join(thread, NULL);
    return NETPOOL_OK;
}

static void leave(int number)
{
    _exit(number);
}

/* Has a handler of its own, which ends the process with the signal's number. */
static netpool_status crash_handled(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    (void)signal(SIGSEGV, leave);
    write_nowhere();
    return NETPOOL_OK;
}

/* Crashes in a child, and then only says so. */
static netpool_status crash_in_child(netpool_call *call, netpool_bytes input)
{
    (void)input;
    pid_t child = fork();
    if (child == 0) {
        write_nowhere();
    }
    (void)kill(getpid(), child > 0 ? SIGKILL : SIGTERM);
    return netpool_fail(call, "still here");
}

/* Ends its own process by the decimal number of a signal. */
static netpool_status crash_raise(netpool_call *call, netpool_bytes input)
{
    (void)call;
    char text[16] = "";
    memcpy(text, input.data, input.size < sizeof text - 1 ? input.size : sizeof text - 1);
    (void)raise((int)strtol(text, NULL, 10)); /* mark: raise */
    return NETPOOL_OK;
}

NETPOOL_MODULE(crashes, NETPOOL_FUNCTION(crash_null, "writes to NULL"), NETPOOL_FUNCTION(crash_abort_deep, "abort"),
               NETPOOL_FUNCTION(crash_fpe, "divides by zero"),
               NETPOOL_FUNCTION(crash_bus, "writes past the end of a file"),
               NETPOOL_FUNCTION(crash_ill, "no instruction"), NETPOOL_FUNCTION(crash_overflow, "endless recursion"),
               NETPOOL_FUNCTION(crash_inlined, "in an inlined function"),
               NETPOOL_FUNCTION(crash_in_libc, "strlen of NULL"), NETPOOL_FUNCTION(crash_no_function, "calls NULL"),
               NETPOOL_FUNCTION(crash_smashed, "overwrites its return address"),
               NETPOOL_FUNCTION(crash_without_stack, "spoils its stack pointer"),
               NETPOOL_FUNCTION(crash_in_thread, "in a thread of its own"),
               NETPOOL_FUNCTION(crash_handled, "has its own handler"),
               NETPOOL_FUNCTION(crash_in_child, "in a child process"),
               NETPOOL_FUNCTION(crash_raise, "raises a signal"))
