/* A TLS link between both ends in one thread: the stream is whole, closes are told from cuts, nothing raises SIGPIPE.
 */
#include "tests/support/cmocka_all.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/random.h"
#include "tests/system/tls_pair.h"
#include "transport/tcp.h"

#define MIB (1024U * 1024U)

struct fixture {
    struct tls_ground ground;
    struct tls_context *broker;
    struct tls_context *worker;
    struct tls_pair pair;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    tls_ground_init(&fixture->ground);
    fixture->broker = tls_ground_context(&fixture->ground, "broker-main", NP__ROLE__BROKER, "crl.pem");
    fixture->worker = tls_ground_context(&fixture->ground, "worker-w1", NP__ROLE__WORKER, NULL);
    tls_pair_open(&fixture->pair, &fixture->ground, fixture->broker, fixture->worker, "127.0.0.1");
    assert_string_equal(fixture->pair.broker.message, "");
    assert_string_equal(fixture->pair.peer.message, "");
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    tls_pair_close(&fixture->pair);
    tls_context_destroy(&fixture->worker);
    tls_context_destroy(&fixture->broker);
    tls_ground_fini(&fixture->ground);
    free(fixture);
    return 0;
}

static size_t offer(struct tls_end *end, const uint8_t *data, size_t size)
{
    const struct iovec part = {(void *)(uintptr_t)data, size};
    size_t taken = 0;
    netpool_error error = {0};
    assert_int_equal(end->link->operations->write(end->link, &part, 1, &taken, &error), NETPOOL_OK);
    assert_true(taken <= size);
    return taken;
}

/* Bytes go from one end to the other in steps of odd sizes, each offer from a new place, and arrive as they were. */
static void carry(struct tls_end *from, struct tls_end *to, size_t size, size_t step)
{
    uint8_t *sent = malloc(size);
    uint8_t *received = malloc(size);
    struct np_random random = {.state = size};
    for (size_t i = 0; i < size; i++) {
        sent[i] = (uint8_t)np_random_next(&random);
    }
    size_t out = 0;
    size_t in = 0;
    while (in < size) {
        size_t chunk = size - out < step ? size - out : step;
        uint8_t *moved = malloc(chunk + 1);
        memcpy(moved, sent + out, chunk);
        out += chunk > 0 ? offer(from, moved, chunk) : 0;
        free(moved);
        netpool_error error = {0};
        size_t got = 0;
        size_t most = size - in < step + 7 ? size - in : step + 7;
        assert_int_equal(tls_end_read(to, received + in, most, &got, &error), NETPOOL_OK);
        in += got;
    }
    assert_memory_equal(sent, received, size);
    free(sent);
    free(received);
}

static void both_ends_know_who_is_there(void **state)
{
    struct fixture *fixture = *state;
    const struct link_peer *worker = &fixture->pair.broker.link->peer;
    const struct link_peer *broker = &fixture->pair.peer.link->peer;
    assert_int_equal(worker->role, NP__ROLE__WORKER);
    assert_string_equal(worker->name, "w1");
    assert_string_equal(worker->pool, "lab");
    assert_true(worker->serial == tls_context_identity(fixture->worker)->serial);
    assert_int_equal(broker->role, NP__ROLE__BROKER);
    assert_string_equal(broker->name, "main");
    assert_int_equal(strncmp(worker->address, "127.0.0.1:", 10), 0);
    assert_string_equal(strchr(broker->address, ':') + 1, fixture->ground.port);
}

static void bytes_of_every_size_arrive_both_ways(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {1, 2, 127, 4095, 16383, 16384, 16385, 32768, 65537, 100003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        carry(&fixture->pair.peer, &fixture->pair.broker, sizes[i], 40001);
        carry(&fixture->pair.broker, &fixture->pair.peer, sizes[i], 3001);
    }
    carry(&fixture->pair.broker, &fixture->pair.peer, MIB, MIB);
    carry(&fixture->pair.peer, &fixture->pair.broker, MIB, 16384);
}

static void writer_is_held_back_while_nobody_reads(void **state)
{
    struct fixture *fixture = *state;
    size_t size = 64 * (size_t)MIB;
    uint8_t *data = calloc(1, size);
    size_t taken = 0;
    for (size_t step = 1; step > 0; taken += step) {
        step = offer(&fixture->pair.peer, data + taken, size - taken);
    }
    assert_true(taken > 0 && taken < size);
    assert_int_equal(offer(&fixture->pair.peer, data + taken, size - taken), 0);
    uint32_t interest = fixture->pair.peer.link->operations->interest(fixture->pair.peer.link, true);
    assert_true((interest & EPOLLOUT) != 0);
    size_t in = 0;
    while (in < size) {
        netpool_error error = {0};
        size_t got = 0;
        assert_int_equal(tls_end_read(&fixture->pair.broker, data, MIB, &got, &error), NETPOOL_OK);
        in += got;
        taken += taken < size ? offer(&fixture->pair.peer, data + taken, size - taken) : 0;
    }
    assert_int_equal(in, size);
    free(data);
}

static void idle_link_asks_for_nothing_but_input(void **state)
{
    struct fixture *fixture = *state;
    uint8_t byte;
    size_t got = 1;
    struct link *link = fixture->pair.broker.link;
    assert_int_equal(link->operations->read(link, &byte, 1, &got, NULL), NETPOOL_OK);
    assert_int_equal(got, 0);
    assert_false(link->operations->is_readable(link));
    assert_int_equal(link->operations->interest(link, false), EPOLLIN);
    assert_int_equal(link->operations->interest(link, true), EPOLLIN | EPOLLOUT);
}

static void buffered_bytes_are_announced(void **state)
{
    struct fixture *fixture = *state;
    uint8_t data[100] = {0};
    size_t got = 0;
    assert_int_equal(offer(&fixture->pair.peer, data, sizeof data), sizeof data);
    assert_int_equal(tls_end_read(&fixture->pair.broker, data, 10, &got, NULL), NETPOOL_OK);
    assert_int_equal(got, 10);
    assert_true(fixture->pair.broker.link->operations->is_readable(fixture->pair.broker.link));
    assert_int_equal(tls_end_read(&fixture->pair.broker, data, 100, &got, NULL), NETPOOL_OK);
    assert_int_equal(got, 90);
    assert_false(fixture->pair.broker.link->operations->is_readable(fixture->pair.broker.link));
}

/* What comes before the end is delivered before the end is told, and the end is told again and again. */
static void expect_end(struct tls_end *end, netpool_status expected, const char *words)
{
    uint8_t data[64];
    size_t got = 0;
    netpool_error error = {0};
    assert_int_equal(tls_end_read(end, data, sizeof data, &got, &error), NETPOOL_OK);
    assert_int_equal(got, 5);
    assert_memory_equal(data, "hello", 5);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tls_end_read(end, data, sizeof data, &got, &error), expected);
        assert_non_null(strstr(error.message, words));
    }
}

static void orderly_close_is_told_as_such(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(offer(&fixture->pair.broker, (const uint8_t *)"hello", 5), 5);
    fixture->pair.broker.link->operations->destroy(fixture->pair.broker.link);
    fixture->pair.broker.link = NULL;
    expect_end(&fixture->pair.peer, NETPOOL_CLOSED, "closed the connection");
}

static void cut_without_close_notify_is_no_orderly_close(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(offer(&fixture->pair.broker, (const uint8_t *)"hello", 5), 5);
    assert_int_equal(shutdown(fixture->pair.broker.link->fd, SHUT_WR), 0);
    expect_end(&fixture->pair.peer, NETPOOL_UNREACHABLE, "cut the connection off");
}

/* SIGPIPE has its default action here: it would end the test. */
static void b39_writing_to_a_reset_link_raises_no_signal(void **state)
{
    struct fixture *fixture = *state;
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    int fd = fixture->pair.broker.link->fd;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    fixture->pair.broker.link->operations->destroy(fixture->pair.broker.link);
    fixture->pair.broker.link = NULL;
    uint8_t data[1000] = {0};
    for (int i = 0; i < 10; i++) {
        (void)offer(&fixture->pair.peer, data, sizeof data);
    }
    netpool_status status = NETPOOL_OK;
    netpool_error error = {0};
    while (status == NETPOOL_OK) {
        size_t got;
        status = tls_end_read(&fixture->pair.peer, data, sizeof data, &got, &error);
    }
    assert_true(status == NETPOOL_CLOSED || status == NETPOOL_UNREACHABLE);
}

/* A port where nobody listens, and that nobody else can take meanwhile. */
static int bind_without_listening(char bound[128])
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    (void)snprintf(bound, 128, "127.0.0.1:%u", ntohs(name.sin_port));
    return fd;
}

static void connecting_to_a_closed_port_names_it(void **state)
{
    struct fixture *fixture = *state;
    char bound[128];
    netpool_error error = {0};
    int fd = bind_without_listening(bound);
    struct tls_end end = {0};
    const char *port = strrchr(bound, ':') + 1;
    netpool_status status = tls_link_connect(&end.link, fixture->worker, "127.0.0.1", port, &error);
    while (status == NETPOOL_OK) {
        tls_end_wait(&end, false);
        status = end.link->operations->establish(end.link, &end.established, &error);
    }
    assert_int_equal(status, NETPOOL_UNREACHABLE);
    assert_non_null(strstr(error.message, bound));
    assert_non_null(strstr(error.message, "refused"));
    assert_int_equal(close(fd), 0);
    if (end.link != NULL) {
        end.link->operations->destroy(end.link);
    }
}

/* localhost may be ::1 first, where nobody listens. */
static void every_address_of_a_host_is_tried(void **state)
{
    struct fixture *fixture = *state;
    struct tls_pair pair;
    tls_pair_open(&pair, &fixture->ground, fixture->broker, fixture->worker, "localhost");
    assert_non_null(strstr(pair.peer.message, "is not for host localhost")); /* it got as far as the certificate */
    assert_int_equal(strncmp(pair.peer.link->peer.address, "127.0.0.1:", 10), 0);
    tls_pair_close(&pair);
}

static void address_in_use_is_named(void **state)
{
    struct fixture *fixture = *state;
    int fd = -1;
    char bound[128];
    netpool_error error = {0};
    assert_int_equal(tcp_listen(&fd, "127.0.0.1", fixture->ground.port, bound, &error), NETPOOL_SYSTEM);
    assert_non_null(strstr(error.message, fixture->ground.port));
    assert_non_null(strstr(error.message, "in use"));
    assert_int_equal(fd, -1);
    assert_int_equal(tcp_listen(&fd, "", "0", bound, &error), NETPOOL_OK);
    assert_int_equal(close(fd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_ends_know_who_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_of_every_size_arrive_both_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writer_is_held_back_while_nobody_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_link_asks_for_nothing_but_input, set_up, tear_down),
        cmocka_unit_test_setup_teardown(buffered_bytes_are_announced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orderly_close_is_told_as_such, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_without_close_notify_is_no_orderly_close, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b39_writing_to_a_reset_link_raises_no_signal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connecting_to_a_closed_port_names_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_address_of_a_host_is_tried, set_up, tear_down),
        cmocka_unit_test_setup_teardown(address_in_use_is_named, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
