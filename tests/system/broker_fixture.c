#include "tests/system/broker_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "cli/ca/authority.h"
#include "tests/support/cmocka_all.h"

enum { ARGUMENTS_MAX = 40, PATIENCE_MS = 20000 };

int broker_fixture_set_up(void **state)
{
    const char *hosts[] = {"127.0.0.1"};
    struct broker_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    test_directory_make(fixture->dir);
    (void)snprintf(fixture->ca, sizeof fixture->ca, "%s/ca.pem", fixture->dir);
    (void)snprintf(fixture->cert, sizeof fixture->cert, "%s/broker-b.pem", fixture->dir);
    (void)snprintf(fixture->key, sizeof fixture->key, "%s/broker-b.key", fixture->dir);
    (void)snprintf(fixture->crl, sizeof fixture->crl, "%s/crl.pem", fixture->dir);
    (void)snprintf(fixture->socket, sizeof fixture->socket, "%s/ipc/broker", fixture->dir);
    assert_int_equal(ca_init(fixture->dir, "test", NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__BROKER, "b", hosts, 1, NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__CLIENT, "c", NULL, 0, NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(fixture->dir, NP__ROLE__WORKER, "w", NULL, 0, NULL), NETPOOL_OK);
    fixture->context = zmq_ctx_new();
    *state = fixture;
    return 0;
}

int broker_fixture_tear_down(void **state)
{
    struct broker_fixture *fixture = *state;
    if (fixture->has_ended_well) {
        (void)zmq_ctx_term(fixture->context);
    }
    if (fixture->broker.pid > 0) {
        (void)broker_stop(&fixture->broker, SIGKILL);
    }
    test_directory_remove(fixture->dir);
    free(fixture);
    return 0;
}

void broker_fixture_start(struct broker_fixture *fixture, const char *const *more, unsigned descriptors)
{
    const char *arguments[ARGUMENTS_MAX] = {"--listen", "127.0.0.1:0", "--ca",  fixture->ca,
                                            "--cert",   fixture->cert, "--key", fixture->key};
    size_t count = 8;
    for (size_t i = 0; more[i] != NULL; i++) {
        assert_true(count < ARGUMENTS_MAX - 1);
        arguments[count++] = more[i];
    }
    broker_start(&fixture->broker, arguments, descriptors);
}

void broker_fixture_stop(struct broker_fixture *fixture)
{
    int status = broker_stop(&fixture->broker, SIGTERM);
    if (status != 0) {
        fail_msg("the broker exited with %d; its log:\n%s", status, fixture->broker.log);
    }
    fixture->has_ended_well = true;
}

int broker_fixture_connect(const struct broker_fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(fixture->broker.port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void expect_cut(int fd)
{
    char bytes[4096];
    struct pollfd item = {.fd = fd, .events = POLLIN};
    do {
        assert_int_equal(poll(&item, 1, PATIENCE_MS), 1);
    } while (read(fd, bytes, sizeof bytes) > 0);
    close(fd);
}
