#include "tests/system/tls_pair.h"

#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/ca/authority.h"
#include "common/text.h"
#include "transport/tcp.h"

#define WAIT_MS 20000

void tls_ground_init(struct tls_ground *ground)
{
    static const char *const hosts[] = {"127.0.0.1"};
    netpool_error error = {0};
    (void)snprintf(ground->dir, sizeof ground->dir, "/tmp/netpool-tls-XXXXXX");
    assert_non_null(mkdtemp(ground->dir));
    assert_int_equal(ca_init(ground->dir, "lab", &error), NETPOOL_OK);
    assert_int_equal(ca_issue(ground->dir, NP__ROLE__BROKER, "main", hosts, 1, &error), NETPOOL_OK);
    assert_int_equal(ca_issue(ground->dir, NP__ROLE__WORKER, "w1", NULL, 0, &error), NETPOOL_OK);
    assert_int_equal(ca_issue(ground->dir, NP__ROLE__CLIENT, "c1", NULL, 0, &error), NETPOOL_OK);
    assert_int_equal(ca_issue(ground->dir, NP__ROLE__ADMIN, "a1", NULL, 0, &error), NETPOOL_OK);
    assert_true(odd_authority_open(&ground->authority, ground->dir));
    char bound[128];
    assert_int_equal(tcp_listen(&ground->listener, "127.0.0.1", "0", bound, &error), NETPOOL_OK);
    np_text_copy(ground->port, sizeof ground->port, strrchr(bound, ':') + 1);
}

void tls_ground_fini(struct tls_ground *ground)
{
    odd_authority_fini(&ground->authority);
    assert_int_equal(close(ground->listener), 0);
    DIR *dir = opendir(ground->dir);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
        }
    }
    assert_int_equal(closedir(dir), 0);
    assert_int_equal(rmdir(ground->dir), 0); /* nothing hidden was left behind */
}

netpool_status tls_ground_load(const struct tls_ground *ground, struct tls_context **out, const char *stem,
                               Np__Role role, const char *crl, netpool_error *error)
{
    char ca[128];
    char cert[128];
    char key[128];
    char list[128];
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", ground->dir);
    (void)snprintf(cert, sizeof cert, "%s/%s.pem", ground->dir, stem);
    (void)snprintf(key, sizeof key, "%s/%s.key", ground->dir, stem);
    (void)snprintf(list, sizeof list, "%s/%s", ground->dir, crl == NULL ? "" : crl);
    struct tls_files files = {.ca = ca, .cert = cert, .key = key, .crl = crl == NULL ? NULL : list};
    return tls_context_new(out, &files, role, error);
}

struct tls_context *tls_ground_context(const struct tls_ground *ground, const char *stem, Np__Role role,
                                       const char *crl)
{
    struct tls_context *context = NULL;
    netpool_error error = {0};
    netpool_status status = tls_ground_load(ground, &context, stem, role, crl, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, NETPOOL_OK);
    return context;
}

static short poll_events(const struct tls_end *end, bool want_write)
{
    uint32_t interest = end->link->operations->interest(end->link, want_write);
    return (short)(((interest & EPOLLIN) != 0 ? POLLIN : 0) | ((interest & EPOLLOUT) != 0 ? POLLOUT : 0));
}

void tls_end_wait(const struct tls_end *end, bool want_write)
{
    struct pollfd waiting = {.fd = end->link->fd, .events = poll_events(end, want_write)};
    assert_int_equal(poll(&waiting, 1, WAIT_MS), 1);
}

netpool_status tls_end_read(struct tls_end *end, uint8_t *out, size_t capacity, size_t *got, netpool_error *error)
{
    if (!end->link->operations->is_readable(end->link)) {
        tls_end_wait(end, false);
    }
    return end->link->operations->read(end->link, out, capacity, got, error);
}

static void note(struct tls_end *end, netpool_status status, const netpool_error *error)
{
    if (status != NETPOOL_OK && end->status == NETPOOL_OK) {
        end->status = status;
        np_text_copy(end->message, sizeof end->message, error->message);
        assert_int_equal(error->status, status);
        assert_true(strlen(error->message) > 0);
    }
}

static void establish(struct tls_end *end)
{
    netpool_error error = {0};
    if (end->link != NULL && !end->established && end->status == NETPOOL_OK) {
        note(end, end->link->operations->establish(end->link, &end->established, &error), &error);
    }
}

static bool is_settled(const struct tls_end *end)
{
    return end->established || end->status != NETPOOL_OK;
}

static void wait_for_either(const struct tls_pair *pair, int listener)
{
    struct pollfd waiting[3] = {{.fd = -1}, {.fd = -1}, {.fd = -1}};
    if (pair->broker.link == NULL) {
        waiting[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    } else if (!is_settled(&pair->broker)) {
        waiting[1] = (struct pollfd){.fd = pair->broker.link->fd, .events = poll_events(&pair->broker, false)};
    }
    if (!is_settled(&pair->peer)) {
        waiting[2] = (struct pollfd){.fd = pair->peer.link->fd, .events = poll_events(&pair->peer, false)};
    }
    assert_true(poll(waiting, 3, WAIT_MS) > 0);
}

static void accept_if_needed(struct tls_pair *pair, int listener, struct tls_context *context)
{
    if (pair->broker.link == NULL) {
        int fd;
        char address[128];
        assert_int_equal(tcp_accept(listener, &fd, address, NULL), NETPOOL_OK);
        if (fd >= 0) {
            pair->broker.link = tls_link_accept(context, fd, address);
            assert_non_null(pair->broker.link);
        }
    }
}

void tls_pair_run(struct tls_pair *pair, const struct tls_ground *ground, struct tls_context *broker,
                  struct tls_context *peer, const char *host)
{
    netpool_error error = {0};
    *pair = (struct tls_pair){0};
    assert_int_equal(tls_link_connect(&pair->peer.link, peer, host, ground->port, &error), NETPOOL_OK);
    while (!is_settled(&pair->broker) || !is_settled(&pair->peer)) {
        wait_for_either(pair, ground->listener);
        accept_if_needed(pair, ground->listener, broker);
        establish(&pair->peer);
        establish(&pair->broker);
    }
}

void tls_pair_open(struct tls_pair *pair, const struct tls_ground *ground, struct tls_context *broker,
                   struct tls_context *peer, const char *host)
{
    netpool_error error = {0};
    tls_pair_run(pair, ground, broker, peer, host);
    while (pair->broker.status != NETPOOL_OK && pair->peer.status == NETPOOL_OK) {
        uint8_t byte;
        size_t got;
        note(&pair->peer, tls_end_read(&pair->peer, &byte, 1, &got, &error), &error);
    }
}

void tls_pair_close(struct tls_pair *pair)
{
    struct tls_end *ends[] = {&pair->peer, &pair->broker};
    for (size_t i = 0; i < 2; i++) {
        if (ends[i]->link != NULL) {
            ends[i]->link->operations->destroy(ends[i]->link);
        }
        ends[i]->link = NULL;
    }
}

struct link *tls_ground_accept(const struct tls_ground *ground, struct tls_context *broker, int *raw_peer)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(ground->port))};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *raw_peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(*raw_peer, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(fcntl(*raw_peer, F_SETFL, O_NONBLOCK), 0);
    struct tls_pair pair = {0};
    struct pollfd waiting = {.fd = ground->listener, .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, WAIT_MS), 1);
    accept_if_needed(&pair, ground->listener, broker);
    assert_non_null(pair.broker.link);
    return pair.broker.link;
}
