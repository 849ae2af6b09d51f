#include "worker/crash/symbolizer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "worker/crash/maps.h"
#include "worker/crash/unwind.h"
#include "worker/executor/detach.h"

#define MEMORY_MAX ((rlim_t)1024 * 1024 * 1024) /* bytes, beyond what the zygote has */

/* Executors are copies of the zygote, as this process is, so its own map serves when the crashed one's is missing;
 * only what a function has loaded itself is not in it. */
static char *read_own_maps(size_t *size)
{
    char *maps = malloc(CRASH_MAPS_MAX);
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t got = maps != NULL && fd >= 0 ? 1 : 0;
    *size = 0;
    while (got > 0 && *size < CRASH_MAPS_MAX) {
        got = read(fd, maps + *size, CRASH_MAPS_MAX - *size);
        *size += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return maps;
}

static void find_maps(const struct crash_dump *dump, struct unwind_input *input)
{
    input->maps = dump->maps;
    input->maps_size = dump->head.maps_size;
    if (input->maps_size == 0) {
        input->maps = read_own_maps(&input->maps_size);
    }
    const char *last = input->maps_size > 0 ? memrchr(input->maps, '\n', input->maps_size) : NULL;
    input->maps_size = last != NULL ? (size_t)(last + 1 - input->maps) : 0;
}

static bool is_code(const struct unwind_input *input, uint64_t address)
{
    struct maps_line line;
    uint64_t base;
    return maps_find_code(input->maps, input->maps_size, address, &line, &base);
}

/* A call to nowhere, of a function pointer that is NULL for one, has no frame yet: the caller's is entered by its
 * return address. */
static void return_from_nowhere(struct unwind_input *input, uint64_t registers[CRASH_REGISTERS])
{
    uint64_t back = 0;
#if defined(__x86_64__)
    uint64_t *sp = &registers[7];
    if (*sp >= input->stack_address && input->stack_size >= sizeof back &&
        *sp - input->stack_address <= input->stack_size - sizeof back) {
        memcpy(&back, input->stack + (*sp - input->stack_address), sizeof back);
    }
#else
    back = registers[30];
#endif
    if (!is_code(input, back)) {
        return;
    }
#if defined(__x86_64__)
    *sp += sizeof back;
    registers[16] = back - 1; /* within the call */
#endif
    input->pc = back - 1;
}

static void tell_place(const struct unwind_input *input, struct stack_text *text)
{
    struct maps_line line = {0};
    uint64_t base = 0;
    if (!maps_find_code(input->maps, input->maps_size, input->pc, &line, &base)) {
        line.path_size = 0;
        base = 0;
    }
    stack_text_add_address(text, NULL, line.path_size > 0 ? line.path : NULL, line.path_size, input->pc - base);
}

void symbolizer_tell(const struct crash_dump *dump, struct stack_text *text)
{
    uint64_t registers[CRASH_REGISTERS];
    memcpy(registers, dump->head.registers, sizeof registers);
    struct unwind_input input = {.registers = registers,
                                 .pc = dump->head.pc,
                                 .stack = dump->stack,
                                 .stack_address = dump->head.stack_address,
                                 .stack_size = dump->head.stack_size};
    stack_text_init(text);
    if (!crash_is_plausible(&dump->head)) {
        return;
    }
    find_maps(dump, &input);
    if (!is_code(&input, input.pc)) {
        stack_text_add_address(text, NULL, NULL, 0, input.pc);
        return_from_nowhere(&input, registers);
        if (input.pc == dump->head.pc) {
            return;
        }
    }
    if (!unwind_frames(&input, text)) {
        tell_place(&input, text);
    }
}

/* Kilobytes are not known to a limit on data: pages of /proc/self/statm are. */
static void limit_resources(void)
{
    unsigned long data = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL && fscanf(file, "%*u %*u %*u %*u %*u %lu", &data) == 1) {
        rlim_t most = (rlim_t)data * (rlim_t)sysconf(_SC_PAGESIZE) + MEMORY_MAX;
        (void)setrlimit(RLIMIT_DATA, &(struct rlimit){most, most});
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)alarm(SYMBOLIZER_TIME_S);
    (void)unsetenv("DEBUGINFOD_URLS"); /* nothing is downloaded */
}

_Noreturn void symbolizer_main(pid_t parent, int dump_fd, int out_fd)
{
    static struct stack_text text;
    (void)setsid();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    const int kept[] = {dump_fd, out_fd};
    detach_close_descriptors(kept, 2);
    detach_reset_signals(NULL);
    limit_resources();
    void *dump = mmap(NULL, sizeof(struct crash_dump), PROT_READ, MAP_PRIVATE, dump_fd, 0);
    if (dump == MAP_FAILED) {
        _exit(1);
    }
    symbolizer_tell(dump, &text);
    (void)!write(out_fd, text.bytes, text.size); /* fits the pipe */
    _exit(0);
}
