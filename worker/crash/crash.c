#include "worker/crash/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    HANDLER_STACK = 64 * 1024, /* bytes; the handler needs some 8 KiB, sanitizers more */
    SKIPPED_PAGES_MAX = 2048,  /* below the stack's mapping: one frame that overflowed may be as large as the stack */
};

static const int signals[CRASH_SIGNALS] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

/* A signal handler has no other way to its data. */
static struct {
    struct crash_dump *dump;
    uintptr_t base;
    uintptr_t low; /* the stack cannot reach below this */
    pid_t pid;
    atomic_flag is_taken;
} crash;

static void copy_registers(struct crash_head *head, const mcontext_t *machine)
{
#if defined(__x86_64__)
    static const int order[CRASH_REGISTERS] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                               REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                               REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
    for (int i = 0; i < CRASH_REGISTERS; i++) {
        head->registers[i] = (uint64_t)machine->gregs[order[i]];
    }
    head->pc = (uint64_t)machine->gregs[REG_RIP];
    head->sp = (uint64_t)machine->gregs[REG_RSP];
#else
    for (int i = 0; i < CRASH_REGISTERS - 1; i++) {
        head->registers[i] = machine->regs[i];
    }
    head->registers[CRASH_REGISTERS - 1] = machine->sp;
    head->pc = machine->pc;
    head->sp = machine->sp;
#endif
}

/* Copies whole pages from `from` on until one cannot be read. Returns the bytes copied. Where a sandbox forbids the
 * system call, the thread's own stack is read as it is: within its limits the kernel maps what is touched. */
static size_t read_pages(uint8_t *out, uintptr_t from, size_t pages, bool is_own)
{
    struct iovec remote[CRASH_STACK_MAX / PAGE]; /* one a page: a transfer ends between two of them */
    for (size_t i = 0; i < pages; i++) {
        remote[i] = (struct iovec){.iov_base = (void *)(from + i * PAGE), .iov_len = PAGE}; /* NOLINT: an address */
    }
    struct iovec local = {.iov_base = out, .iov_len = pages * PAGE};
    ssize_t size = process_vm_readv(getpid(), &local, 1, remote, pages, 0);
    if (size < 0 && is_own && (errno == EPERM || errno == ENOSYS)) {
        memcpy(out, (const void *)from, pages * PAGE); /* NOLINT: an address */
        return pages * PAGE;
    }
    return size > 0 ? (size_t)size & ~(size_t)(PAGE - 1) : 0;
}

/* The stack from the page of sp up to the executor's own frames, or, of another thread or with a spoilt sp, whatever
 * can be read there. After an overflow sp itself lies below what is mapped. */
static void copy_stack(struct crash_dump *dump)
{
    uintptr_t from = (uintptr_t)dump->head.sp & ~(uintptr_t)(PAGE - 1);
    bool is_own = from >= crash.low && from < crash.base;
    size_t skips = is_own ? SKIPPED_PAGES_MAX : 1;
    for (size_t i = 0; i < skips && from <= UINTPTR_MAX - CRASH_STACK_MAX; i++, from += PAGE) {
        size_t pages = CRASH_STACK_MAX / PAGE;
        if (is_own && from >= crash.base) {
            return;
        }
        if (is_own && (crash.base - from + PAGE - 1) / PAGE < pages) {
            pages = (crash.base - from + PAGE - 1) / PAGE;
        }
        size_t size = read_pages(dump->stack, from, pages, is_own);
        if (size > 0) {
            dump->head.stack_address = from;
            dump->head.stack_size = (uint32_t)size;
            return;
        }
    }
}

static void copy_maps(struct crash_dump *dump)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    ssize_t got = fd >= 0 ? 1 : 0;
    while (got > 0 && size < CRASH_MAPS_MAX) {
        got = read(fd, dump->maps + size, CRASH_MAPS_MAX - size);
        size += got > 0 ? (size_t)got : 0;
    }
    dump->head.maps_size = (uint32_t)size;
}

/* Only calls that are safe in a signal handler; all signals are blocked, so a fault in here ends the process at once.
 */
static void handle(int number, siginfo_t *info, void *context)
{
    (void)info;
    if (getpid() == crash.pid) { /* not a child that a function forked */
        if (atomic_flag_test_and_set(&crash.is_taken)) {
            for (;;) {
                (void)pause(); /* two threads crashed: the first one ends the process */
            }
        }
        struct crash_dump *dump = crash.dump;
        dump->head.signal = (uint32_t)number;
        copy_registers(&dump->head, &((ucontext_t *)context)->uc_mcontext);
        copy_stack(dump);
        copy_maps(dump);
        atomic_store(&dump->is_complete, 1);
    }
    /* Raised again rather than left to the faulting instruction: it may have been sent by raise or kill. It takes
     * effect when the handler returns. */
    const struct sigaction plain = {.sa_handler = SIG_DFL};
    (void)sigaction(number, &plain, NULL);
    (void)raise(number);
}

void crash_save_handlers(struct sigaction saved[CRASH_SIGNALS])
{
    for (int i = 0; i < CRASH_SIGNALS; i++) {
        saved[i] = (struct sigaction){.sa_handler = SIG_DFL};
        (void)sigaction(signals[i], NULL, &saved[i]);
    }
}

static bool is_handled(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) != 0 || (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

bool crash_install(struct crash_dump *dump, const void *base, const struct sigaction saved[CRASH_SIGNALS])
{
    stack_t stack = {.ss_size = HANDLER_STACK};
    stack.ss_sp = mmap(NULL, HANDLER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL) != 0) {
        return false;
    }
    struct rlimit limit;
    uintptr_t depth = (uintptr_t)SKIPPED_PAGES_MAX * PAGE;
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur > depth) {
        depth = limit.rlim_cur;
    }
    crash.dump = dump;
    crash.base = (uintptr_t)base;
    crash.low = crash.base > depth ? crash.base - depth : 0;
    crash.pid = getpid();
    atomic_flag_clear(&crash.is_taken);
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    for (int i = 0; i < CRASH_SIGNALS; i++) {
        (void)sigaction(signals[i], is_handled(&saved[i]) ? &saved[i] : &action, NULL);
    }
    return true;
}

bool crash_is_plausible(const struct crash_head *head)
{
    return head->stack_size <= CRASH_STACK_MAX && head->maps_size <= CRASH_MAPS_MAX &&
           head->stack_address <= UINT64_MAX - CRASH_STACK_MAX;
}
