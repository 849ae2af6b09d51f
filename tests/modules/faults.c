/* Functions that behave and misbehave in every way a test wants. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "worker/netpool_function.h"

static unsigned long number_of(netpool_bytes input)
{
    char text[32] = "";
    memcpy(text, input.data, input.size < sizeof text - 1 ? input.size : sizeof text - 1);
    return strtoul(text, NULL, 10);
}

static void sleep_us_of(unsigned long us)
{
    struct timespec left = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

/* The input as it is. */
static netpool_status echo(netpool_call *call, netpool_bytes input)
{
    return netpool_return(call, input.data, input.size);
}

/* Nothing, and no result. */
static netpool_status noop(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    return NETPOOL_OK;
}

/* Sleeps for the decimal number of microseconds and returns the input. */
static netpool_status sleep_us(netpool_call *call, netpool_bytes input)
{
    sleep_us_of(number_of(input));
    return netpool_return(call, input.data, input.size);
}

/* Sleeps likewise, but notices a cancellation within a millisecond. */
static netpool_status sleep_politely(netpool_call *call, netpool_bytes input)
{
    for (unsigned long left = number_of(input); left > 0 && !netpool_is_cancelled(call);) {
        unsigned long piece = left < 1000 ? left : 1000;
        sleep_us_of(piece);
        left -= piece;
    }
    return netpool_is_cancelled(call) ? netpool_fail(call, "stopped when asked to") : NETPOOL_OK;
}

/* "MICROSECONDS PATH": adds a line with its process id to the file, then sleeps: a test can wait until it runs. */
static netpool_status announce(netpool_call *call, netpool_bytes input)
{
    char text[256] = "";
    memcpy(text, input.data, input.size < sizeof text - 1 ? input.size : sizeof text - 1);
    const char *path = strchr(text, ' ');
    int fd = path != NULL ? open(path + 1, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd < 0) {
        return netpool_fail(call, "%s: %s", text, strerror(errno));
    }
    dprintf(fd, "%d\n", (int)getpid());
    close(fd);
    sleep_us_of(strtoul(text, NULL, 10));
    return NETPOOL_OK;
}

/* "DONE TOTAL": says so until it is cancelled; with "DONE+" each millisecond one more. */
static netpool_status report(netpool_call *call, netpool_bytes input)
{
    char text[64] = "";
    memcpy(text, input.data, input.size < sizeof text - 1 ? input.size : sizeof text - 1);
    char *rest;
    unsigned long done = strtoul(text, &rest, 10);
    bool goes_on = *rest == '+';
    unsigned long total = strtoul(goes_on ? rest + 1 : rest, NULL, 10);
    for (; !netpool_is_cancelled(call); done += goes_on ? 1 : 0) {
        netpool_progress(call, done, total);
        sleep_us_of(1000);
    }
    return NETPOOL_OK;
}

static netpool_status crash_segv(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    printf("about to crash\n");
    (void)raise(SIGSEGV);
    return NETPOOL_OK;
}

/* Crashes on the first attempt only, then returns the input. */
static netpool_status crash_once(netpool_call *call, netpool_bytes input)
{
    if (netpool_attempt(call) == 1) {
        (void)raise(SIGSEGV);
    }
    return netpool_return(call, input.data, input.size);
}

static netpool_status crash_abort(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    abort();
}

/* exit() with the decimal code. */
static netpool_status exit_now(netpool_call *call, netpool_bytes input)
{
    (void)call;
    exit((int)number_of(input));
}

/* Fails with the input as message. */
static netpool_status fail(netpool_call *call, netpool_bytes input)
{
    return netpool_fail(call, "%.*s", (int)input.size, (const char *)input.data);
}

/* Returns a status without a message. */
static netpool_status fail_silently(netpool_call *call, netpool_bytes input)
{
    (void)call;
    return (netpool_status)number_of(input);
}

/* Prints the decimal number of bytes to both outputs, then fails with "flooded". */
static netpool_status flood(netpool_call *call, netpool_bytes input)
{
    char line[100];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (unsigned long left = number_of(input), i = 0; left >= sizeof line; left -= sizeof line, i++) {
        FILE *target = i % 2 == 0 ? stdout : stderr;
        (void)fwrite(line, 1, sizeof line, target);
    }
    fprintf(stderr, "the end");
    return netpool_fail(call, "flooded");
}

/* Computes for ever. */
static netpool_status spin(netpool_call *call, netpool_bytes input)
{
    (void)input;
    volatile unsigned long count = 0;
    while (netpool_attempt(call) > 0) {
        count = count + 1;
    }
    return NETPOOL_OK;
}

/* Ignores every signal that can be ignored, starts a child that does the same, tells its pid through the file named
 * by the input, and never ends. */
static netpool_status fork_and_hang(netpool_call *call, netpool_bytes input)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%.*s", (int)input.size, (const char *)input.data);
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_IGN);
    }
    pid_t child = fork();
    if (child == 0) {
        for (;;) {
            (void)pause();
        }
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dprintf(fd, "%d\n", (int)child);
    close(fd);
    while (netpool_attempt(call) > 0) {
        (void)pause();
    }
    return NETPOOL_OK;
}

/* Writes the byte given as a decimal number all over the memory shared with the supervisor. */
static netpool_status scribble(netpool_call *call, netpool_bytes input)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned long start;
    unsigned long end;
    int byte = (int)number_of(input);
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, "netpool-executor") != NULL && sscanf(line, "%lx-%lx", &start, &end) == 2) {
            memset((void *)start, byte, end - start);
        }
    }
    if (maps != NULL) {
        (void)fclose(maps);
    }
    return netpool_return(call, "done", 4);
}

/* Closes every descriptor. */
static netpool_status close_all(netpool_call *call, netpool_bytes input)
{
    (void)close_range(0, ~0U, 0);
    return netpool_return(call, input.data, input.size);
}

/* Changes to the directory named by the input; with none, returns where it is. */
static netpool_status directory(netpool_call *call, netpool_bytes input)
{
    char path[4096];
    if (input.size > 0) {
        (void)snprintf(path, sizeof path, "%.*s", (int)input.size, (const char *)input.data);
        return chdir(path) == 0 ? NETPOOL_OK : netpool_fail(call, "%s", strerror(errno));
    }
    if (getcwd(path, sizeof path) == NULL) {
        return netpool_fail(call, "%s", strerror(errno));
    }
    return netpool_return(call, path, strlen(path));
}

/* The executor's process id, in decimal. */
static netpool_status pid(netpool_call *call, netpool_bytes input)
{
    (void)input;
    char text[32];
    int size = snprintf(text, sizeof text, "%d", (int)getpid());
    return netpool_return(call, text, (size_t)size);
}

/* Touches the decimal number of bytes of memory and gives them back. */
static netpool_status alloc(netpool_call *call, netpool_bytes input)
{
    size_t size = number_of(input);
    char *memory = malloc(size);
    if (memory == NULL) {
        return netpool_fail(call, "no memory for %zu bytes", size);
    }
    memset(memory, 1, size);
    char last = size > 0 ? memory[size - 1] : 0;
    free(memory);
    return netpool_return(call, &last, 1);
}

/* A result of the decimal number of bytes. */
static netpool_status produce(netpool_call *call, netpool_bytes input)
{
    size_t size = number_of(input);
    unsigned char *place = netpool_return_buffer(call, size);
    if (place == NULL) {
        return netpool_fail(call, "no room");
    }
    for (size_t i = 0; i < size; i++) {
        place[i] = (unsigned char)(i * 7 + i / 251);
    }
    return NETPOOL_OK;
}

/* The input with its ASCII letters in upper case. */
static netpool_status upper(netpool_call *call, netpool_bytes input)
{
    char *place = netpool_return_buffer(call, input.size);
    if (place == NULL) {
        return netpool_fail(call, "no room");
    }
    for (size_t i = 0; i < input.size; i++) {
        char letter = ((const char *)input.data)[i];
        place[i] = letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
    }
    return NETPOOL_OK;
}

NETPOOL_MODULE(faults, NETPOOL_FUNCTION(echo, "the input as it is"), NETPOOL_FUNCTION(noop, "nothing"),
               NETPOOL_FUNCTION(sleep_us, "sleeps, then returns the input"),
               NETPOOL_FUNCTION(announce, "says that it runs, then sleeps"),
               NETPOOL_FUNCTION(report, "tells progress until cancelled"),
               NETPOOL_FUNCTION(sleep_politely, "sleeps until cancelled"), NETPOOL_FUNCTION(crash_segv, "SIGSEGV"),
               NETPOOL_FUNCTION(crash_once, "SIGSEGV on the first attempt"), NETPOOL_FUNCTION(crash_abort, "abort"),
               NETPOOL_FUNCTION(exit_now, "exits with a code"),
               NETPOOL_FUNCTION(fail, "fails with the input as message"),
               NETPOOL_FUNCTION(fail_silently, "returns a status"),
               NETPOOL_FUNCTION(flood, "prints very much, then fails"), NETPOOL_FUNCTION(spin, "never ends"),
               NETPOOL_FUNCTION(fork_and_hang, "leaves a child behind and never ends"),
               NETPOOL_FUNCTION(scribble, "writes over shared memory"),
               NETPOOL_FUNCTION(close_all, "closes every descriptor"),
               NETPOOL_FUNCTION(directory, "changes or tells the directory"),
               NETPOOL_FUNCTION(pid, "the executor's process id"), NETPOOL_FUNCTION(alloc, "touches memory"),
               NETPOOL_FUNCTION(produce, "a result of a size"), NETPOOL_FUNCTION(upper, "upper case"))
