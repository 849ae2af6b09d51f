/*
 * What TLS costs a record, both ends in one process over loopback, to be counted by valgrind.
 *
 *     perf_tls DIRECTORY BYTES COUNT
 *
 * COUNT times so many bytes, at most a record's 16 KiB, are written at a client's end and read at the broker's.
 * Credentials are DIRECTORY/ca.pem, broker-main and client-c as `netpool ca` makes them.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "transport/tcp.h"
#include "transport/tls.h"

enum { RECORD_MAX = 16384 };

static void require(netpool_status status, const netpool_error *error)
{
    if (status != NETPOOL_OK) {
        fprintf(stderr, "perf_tls: %s\n", error->message);
        exit(1);
    }
}

static struct tls_context *load(const char *directory, const char *stem, Np__Role role)
{
    char ca[512];
    char cert[512];
    char key[512];
    netpool_error error = {0};
    struct tls_context *context = NULL;
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", directory);
    (void)snprintf(cert, sizeof cert, "%s/%s.pem", directory, stem);
    (void)snprintf(key, sizeof key, "%s/%s.key", directory, stem);
    const struct tls_files files = {.ca = ca, .cert = cert, .key = key};
    require(tls_context_new(&context, &files, role, &error), &error);
    return context;
}

static void establish(struct link *link, bool *done)
{
    netpool_error error = {0};
    if (!*done) {
        require(link->operations->establish(link, done, &error), &error);
    }
}

/* How often something is tried again does not depend on time: what has come is waited for. */
static void wait_readable(const struct link *link)
{
    struct pollfd end = {.fd = link->fd, .events = POLLIN};
    (void)poll(&end, 1, -1);
}

static void send_record(struct link *from, struct link *to, size_t size)
{
    static uint8_t data[RECORD_MAX];
    netpool_error error = {0};
    size_t part = 0;
    for (size_t taken = 0; taken < size; taken += part) {
        const struct iovec rest = {data + taken, size - taken};
        require(from->operations->write(from, &rest, 1, &part, &error), &error);
    }
    for (size_t got = 0; got < size; got += part) {
        if (!to->operations->is_readable(to)) {
            wait_readable(to);
        }
        require(to->operations->read(to, data, sizeof data, &part, &error), &error);
    }
}

int main(int argc, char **argv)
{
    netpool_error error = {0};
    size_t size = argc == 4 ? (size_t)strtoul(argv[2], NULL, 10) : 0;
    size_t count = argc == 4 ? (size_t)strtoul(argv[3], NULL, 10) : 0;
    if (size == 0 || size > RECORD_MAX || count == 0) {
        fprintf(stderr, "usage: perf_tls DIRECTORY BYTES COUNT\n");
        return 2;
    }
    struct tls_context *broker = load(argv[1], "broker-main", NP__ROLE__BROKER);
    struct tls_context *client = load(argv[1], "client-c", NP__ROLE__CLIENT);
    int listener = -1;
    char bound[128];
    require(tcp_listen(&listener, "127.0.0.1", "0", bound, &error), &error);
    struct link *from = NULL;
    require(tls_link_connect(&from, client, "127.0.0.1", strrchr(bound, ':') + 1, &error), &error);
    bool is_from_done = false;
    bool is_to_done = false;
    establish(from, &is_from_done);
    struct pollfd door = {.fd = listener, .events = POLLIN};
    (void)poll(&door, 1, -1);
    struct link *to = tls_link_accept(broker, accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), "client");
    while (!is_from_done || !is_to_done) {
        establish(to, &is_to_done);
        establish(from, &is_from_done);
    }
    for (size_t i = 0; i < count; i++) {
        send_record(from, to, size);
    }
    return 0; /* the process's end closes the links */
}
