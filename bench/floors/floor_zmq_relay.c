/*
 * The second floor under `tls`: client -> relay -> echo over plain libzmq on loopback TCP, in clear text: DEALER
 * client, ROUTER/DEALER relay, DEALER echo, three processes with one I/O thread each. What a pool that leaves its
 * transport to ZeroMQ could reach before it does any work of its own.
 *
 *     floor_zmq_relay MODE [SECONDS]      MODE: rate_16, rate_1k, round_trip, echo_1m
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include <zmq.h>

#include "bench/figures.h"
#include "bench/floors/party.h"

#define TIMES_MAX 100000
#define WARM_UP 200
#define DRAIN_MAX 1024 /* messages passed one way before the other way is looked at */

struct mode {
    const char *name;
    size_t payload_size;
    size_t window; /* messages on their way */
    bool is_paced; /* one at a time, timed */
};

static const struct mode modes[] = {
    {"rate_16", 16, 16384, false},
    {"rate_1k", 1024, 4096, false},
    {"round_trip", 16, 1, true},
    {"echo_1m", 1024 * 1024, 4, false},
};

/* Where the processes meet: sockets that listen already, which libzmq takes over, so that no port is guessed. */
struct stage {
    int relay_listener;
    int echo_listener;
    uint16_t relay_port;
    uint16_t echo_port;
};

static void check(bool is_fine, const char *what)
{
    if (!is_fine) {
        figures_die("zmq relay: %s: %s", what, zmq_strerror(zmq_errno()));
    }
}

static void *socket_new(void *context, int type)
{
    int no_limit = 0; /* the client's window is the limit */
    void *socket = zmq_socket(context, type);
    check(socket != NULL, "socket");
    check(zmq_setsockopt(socket, ZMQ_SNDHWM, &no_limit, sizeof no_limit) == 0, "ZMQ_SNDHWM");
    check(zmq_setsockopt(socket, ZMQ_RCVHWM, &no_limit, sizeof no_limit) == 0, "ZMQ_RCVHWM");
    return socket;
}

static void bind_to(void *socket, int listener, uint16_t port)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", port);
    check(zmq_setsockopt(socket, ZMQ_USE_FD, &listener, sizeof listener) == 0, "ZMQ_USE_FD");
    check(zmq_bind(socket, endpoint) == 0, "bind");
}

static void connect_to(void *socket, uint16_t port)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", port);
    check(zmq_connect(socket, endpoint) == 0, "connect");
}

/* Passes whole messages, part by part and without a copy, until none is left. True: some were passed. */
static bool pass_on(void *from, void *to)
{
    zmq_msg_t part;
    zmq_msg_init(&part);
    int passed = 0;
    while (passed < DRAIN_MAX && zmq_msg_recv(&part, from, ZMQ_DONTWAIT) >= 0) {
        bool has_more = zmq_msg_more(&part) != 0;
        check(zmq_msg_send(&part, to, has_more ? ZMQ_SNDMORE : 0) >= 0, "send");
        passed += !has_more;
    }
    zmq_msg_close(&part);
    return passed > 0;
}

static void run_echo(void *argument)
{
    const struct stage *stage = argument;
    void *socket = socket_new(zmq_ctx_new(), ZMQ_DEALER);
    connect_to(socket, stage->echo_port);
    for (;;) {
        zmq_pollitem_t polled = {.socket = socket, .events = ZMQ_POLLIN};
        if (!pass_on(socket, socket)) {
            check(zmq_poll(&polled, 1, -1) >= 0, "poll");
        }
    }
}

static void run_relay(void *argument)
{
    const struct stage *stage = argument;
    void *context = zmq_ctx_new();
    void *front = socket_new(context, ZMQ_ROUTER);
    void *back = socket_new(context, ZMQ_DEALER);
    bind_to(front, stage->relay_listener, stage->relay_port);
    bind_to(back, stage->echo_listener, stage->echo_port);
    for (;;) {
        bool has_passed = pass_on(front, back);
        has_passed = pass_on(back, front) || has_passed;
        if (!has_passed) {
            zmq_pollitem_t polled[2] = {{.socket = front, .events = ZMQ_POLLIN},
                                        {.socket = back, .events = ZMQ_POLLIN}};
            check(zmq_poll(polled, 2, -1) >= 0, "poll");
        }
    }
}

static void send_one(void *socket, const void *payload, size_t size)
{
    check(zmq_send(socket, payload, size, 0) == (int)size, "send");
}

static bool receive_one(void *socket, size_t size, int flags)
{
    zmq_msg_t message;
    zmq_msg_init(&message);
    int got = zmq_msg_recv(&message, socket, flags);
    zmq_msg_close(&message);
    if (got < 0 && (flags & ZMQ_DONTWAIT) != 0) {
        return false;
    }
    check(got == (int)size, "receive");
    return true;
}

static void measure_round_trip(void *socket, const struct mode *mode, const void *payload, double seconds)
{
    struct figures_times times;
    figures_times_init(&times, TIMES_MAX);
    for (int i = 0; i < WARM_UP; i++) {
        send_one(socket, payload, mode->payload_size);
        receive_one(socket, mode->payload_size, 0);
    }
    uint64_t now_ns = figures_now_ns();
    uint64_t end_ns = now_ns + (uint64_t)(seconds * FIGURES_NS_PER_S);
    while (now_ns < end_ns) {
        uint64_t start_ns = now_ns;
        send_one(socket, payload, mode->payload_size);
        receive_one(socket, mode->payload_size, 0);
        now_ns = figures_now_ns();
        figures_times_add(&times, now_ns - start_ns);
    }
    figures_print_times("zmq_relay", mode->name, &times);
    figures_times_fini(&times);
}

/* Keeps the window full until the time; returns how many messages came back. */
static uint64_t pump_until(void *socket, const struct mode *mode, const void *payload, size_t *under_way,
                           uint64_t end_ns)
{
    uint64_t received = 0;
    while (figures_now_ns() < end_ns) {
        while (*under_way < mode->window) {
            send_one(socket, payload, mode->payload_size);
            ++*under_way;
        }
        receive_one(socket, mode->payload_size, 0);
        size_t got = 1;
        while (got < DRAIN_MAX && receive_one(socket, mode->payload_size, ZMQ_DONTWAIT)) {
            got++;
        }
        *under_way -= got;
        received += got;
    }
    return received;
}

static void measure_rate(void *socket, const struct mode *mode, const void *payload, double seconds)
{
    size_t under_way = 0;
    uint64_t window_ns = (uint64_t)(seconds * FIGURES_NS_PER_S);
    pump_until(socket, mode, payload, &under_way, figures_now_ns() + window_ns / 5);
    uint64_t start_ns = figures_now_ns();
    uint64_t received = pump_until(socket, mode, payload, &under_way, start_ns + window_ns);
    double per_second = (double)received * FIGURES_NS_PER_S / (double)(figures_now_ns() - start_ns);
    if (mode->payload_size >= 1024 * 1024) {
        figures_print("zmq_relay", mode->name, "MiB/s", per_second * (double)mode->payload_size / FIGURES_MIB);
    } else {
        figures_print("zmq_relay", mode->name, "messages/s", per_second);
    }
}

static const struct mode *find_mode(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, name) == 0) {
            return &modes[i];
        }
    }
    figures_die("zmq relay: no mode '%s'", name);
}

int main(int argc, char **argv)
{
    const struct mode *mode = find_mode(argc > 1 ? argv[1] : "round_trip");
    double seconds = figures_positive(argc > 2 ? argv[2] : "0.5", "seconds");
    struct stage stage;
    stage.relay_listener = party_listen(&stage.relay_port);
    stage.echo_listener = party_listen(&stage.echo_port);
    pid_t echo = party_start(run_echo, &stage);
    pid_t relay = party_start(run_relay, &stage);
    close(stage.relay_listener);
    close(stage.echo_listener);

    void *payload = calloc(1, mode->payload_size);
    void *context = zmq_ctx_new();
    void *socket = socket_new(context, ZMQ_DEALER);
    if (payload == NULL) {
        figures_die("out of memory");
    }
    connect_to(socket, stage.relay_port);
    if (mode->is_paced) {
        measure_round_trip(socket, mode, payload, seconds);
    } else {
        measure_rate(socket, mode, payload, seconds);
    }
    party_end(relay); /* in the middle of what was on its way: nothing to wait for */
    party_end(echo);
    int no_linger = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &no_linger, sizeof no_linger);
    zmq_close(socket);
    zmq_ctx_term(context);
    free(payload);
    return 0;
}
