/* A broker with credentials of its own CA, in a directory of its own, and what tests do to it. */
#ifndef NP_TEST_BROKER_FIXTURE_H
#define NP_TEST_BROKER_FIXTURE_H

#include <stdbool.h>

#include "tests/support/broker_process.h"

struct broker_fixture {
    char dir[64]; /* CA directory with broker-b, client-c and worker-w */
    char ca[96], cert[96], key[96], crl[96];
    char socket[96]; /* DIR/ipc/broker */
    void *context;   /* ZeroMQ's, for the test's own peers */
    struct broker_process broker;
    bool has_ended_well; /* else sockets may be open, and ending the ZeroMQ context would wait for them */
};

/* cmocka's set-up and tear-down of one test; *state is a struct broker_fixture. */
int broker_fixture_set_up(void **state);
int broker_fixture_tear_down(void **state);

/* Starts the broker on 127.0.0.1:0 with the fixture's credentials and these arguments besides (NULL at the end). */
void broker_fixture_start(struct broker_fixture *fixture, const char *const *more, unsigned descriptors);

/* SIGTERM; fails the test unless it exits with 0. The last thing a test does. */
void broker_fixture_stop(struct broker_fixture *fixture);

/* A plain TCP connection to the broker. */
int broker_fixture_connect(const struct broker_fixture *fixture);

/* Waits until the other side has closed the connection (what it sends is dropped) and closes it too. */
void expect_cut(int fd);

#endif
