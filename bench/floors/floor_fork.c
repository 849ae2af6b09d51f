/*
 * The floor under one-shot executors: two children under way at any time, each of which is forked, writes 16 bytes
 * and exits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/figures.h"

#define MESSAGE_SIZE 16
#define UNDER_WAY 2

static void start_child(const int *results)
{
    static const char message[MESSAGE_SIZE] = "sixteen bytes..";
    pid_t pid = fork();
    if (pid < 0) {
        figures_die("fork: %s", strerror(errno));
    }
    if (pid == 0) {
        _exit(write(results[1], message, sizeof message) == sizeof message ? 0 : 1);
    }
}

static void end_child(const int *results)
{
    char message[MESSAGE_SIZE];
    int status = 0;
    if (wait(&status) < 0 || status != 0 || read(results[0], message, sizeof message) != sizeof message) {
        figures_die("fork: a child ended badly (wait status 0x%x)", (unsigned)status);
    }
}

int main(int argc, char **argv)
{
    double seconds = figures_positive(argc > 1 ? argv[1] : "0.5", "seconds");
    int results[2];
    if (pipe(results) != 0) {
        figures_die("pipe: %s", strerror(errno));
    }
    for (int i = 0; i < UNDER_WAY; i++) {
        start_child(results);
    }
    uint64_t done = 0;
    uint64_t start_ns = figures_now_ns();
    uint64_t now_ns = start_ns;
    uint64_t end_ns = start_ns + (uint64_t)(seconds * FIGURES_NS_PER_S);
    while (now_ns < end_ns) {
        end_child(results);
        start_child(results);
        done++;
        now_ns = figures_now_ns();
    }
    for (int i = 0; i < UNDER_WAY; i++) {
        end_child(results);
    }
    figures_print("fork", "one_shot", "tasks/s", (double)done * FIGURES_NS_PER_S / (double)(now_ns - start_ns));
    return 0;
}
