/*
 * The floor under `local`: one message of 16 bytes to a child and back over a Unix socket pair, the way two processes
 * of one host hand each other work when each sleeps while it waits.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/floors/party.h"

#define MESSAGE_SIZE 16
#define TIMES_MAX 200000
#define WARM_UP 500

static void answer(void *argument)
{
    const int *pair = argument;
    char message[MESSAGE_SIZE];
    ssize_t size;
    close(pair[0]);
    while ((size = read(pair[1], message, sizeof message)) > 0) {
        if (write(pair[1], message, (size_t)size) != size) {
            figures_die("socketpair: write: %s", strerror(errno));
        }
    }
}

static void round_trip(int fd)
{
    char message[MESSAGE_SIZE] = "there and back";
    if (write(fd, message, sizeof message) != sizeof message || read(fd, message, sizeof message) != sizeof message) {
        figures_die("socketpair: %s", strerror(errno));
    }
}

int main(int argc, char **argv)
{
    double seconds = figures_positive(argc > 1 ? argv[1] : "0.5", "seconds");
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        figures_die("socketpair: %s", strerror(errno));
    }
    pid_t child = party_start(answer, pair);
    close(pair[1]);

    struct figures_times times;
    figures_times_init(&times, TIMES_MAX);
    for (int i = 0; i < WARM_UP; i++) {
        round_trip(pair[0]);
    }
    uint64_t now_ns = figures_now_ns();
    uint64_t end_ns = now_ns + (uint64_t)(seconds * FIGURES_NS_PER_S);
    while (now_ns < end_ns) {
        uint64_t start_ns = now_ns;
        round_trip(pair[0]);
        now_ns = figures_now_ns();
        figures_times_add(&times, now_ns - start_ns);
    }
    close(pair[0]);
    party_join(child);
    figures_print_times("socketpair", "round_trip", &times);
    figures_times_fini(&times);
    return 0;
}
