/*
 * The floor under `tls`: client -> relay -> echo over TLS 1.3, three single-threaded processes on loopback. Frames
 * are a u32 size and a payload; each process looks at every frame's size, copies it on and writes what it has in
 * records of up to 16 KiB. No protobuf, no bookkeeping, no queues: what no pool over TLS on this machine can be
 * faster than.
 *
 *     floor_tls_relay MODE [SECONDS]              MODE: rate_16, rate_1k, round_trip, echo_1m
 *     floor_tls_relay payload BYTES [SECONDS]     round trips, then the rate with four under way (phase.h)
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/floors/party.h"
#include "bench/floors/tls_link.h"
#include "bench/phase.h"

#define HEADER_SIZE sizeof(uint32_t)
#define TIMES_MAX 100000
#define WARM_UP 200

struct mode {
    const char *name;
    uint32_t payload_size;
    size_t window; /* messages on their way */
    bool is_paced; /* one at a time, timed */
};

static const struct mode modes[] = {
    {"rate_16", 16, 16384, false},
    {"rate_1k", 1024, 512, false},
    {"round_trip", 16, 1, true},
    {"echo_1m", 1024 * 1024, 4, false},
};

/* Where one floor's processes meet. */
struct stage {
    const struct mode *mode;
    struct tls_identity identity;
    int relay_listener;
    int echo_listener;
    uint16_t relay_port;
    uint16_t echo_port;
    size_t buffer_size; /* bytes; holds everything that can be on its way, so nobody waits for room */
};

/* Finds the ends of frames in a stream of bytes that comes in pieces. */
struct frames {
    uint32_t expected_size;
    unsigned char header[HEADER_SIZE];
    size_t header_have;
    size_t payload_left;
};

/* How many frames end in these bytes. */
static size_t frames_count(struct frames *frames, const unsigned char *data, size_t size)
{
    size_t ended = 0;
    while (size > 0) {
        size_t step = 0;
        if (frames->payload_left > 0) {
            step = frames->payload_left < size ? frames->payload_left : size;
            frames->payload_left -= step;
            ended += frames->payload_left == 0;
        } else {
            uint32_t payload_size;
            step = HEADER_SIZE - frames->header_have;
            step = step < size ? step : size;
            memcpy(frames->header + frames->header_have, data, step);
            frames->header_have += step;
            if (frames->header_have == HEADER_SIZE) {
                memcpy(&payload_size, frames->header, sizeof payload_size);
                if (payload_size != frames->expected_size) {
                    figures_die("tls relay: a frame of %u bytes instead of %u", payload_size, frames->expected_size);
                }
                frames->payload_left = payload_size;
                frames->header_have = 0;
            }
        }
        data += step;
        size -= step;
    }
    return ended;
}

/* Moves what has come in on one link to the other. False: the peer closed. */
static bool pass_on(struct tls_link *from, struct tls_link *to, struct frames *frames)
{
    static unsigned char buffer[TLS_LINK_RECORD];
    do {
        long size = tls_link_read(from, buffer, sizeof buffer);
        if (size <= 0) {
            return size == 0;
        }
        frames_count(frames, buffer, (size_t)size);
        tls_link_append(to, buffer, (size_t)size);
        if (to->out_end - to->out_begin >= TLS_LINK_RECORD) {
            tls_link_flush(to);
        }
    } while (tls_link_has_pending(from));
    tls_link_flush(to);
    return true;
}

static void run_echo(void *argument)
{
    struct stage *stage = argument;
    struct tls_link link;
    struct frames frames = {.expected_size = stage->mode->payload_size};
    close(stage->relay_listener);
    tls_link_init(&link, party_accept(stage->echo_listener), true, &stage->identity, stage->buffer_size);
    while (pass_on(&link, &link, &frames)) {
    }
    tls_link_fini(&link);
}

static bool has_backlog(const struct tls_link *link)
{
    return link->out_begin < link->out_end;
}

/* The relay reads no more than it can write: what it holds stays in the cache. */
static struct pollfd polled_of(const struct tls_link *link, const struct tls_link *other)
{
    return (struct pollfd){.fd = link->fd,
                           .events = (short)((has_backlog(link) ? POLLOUT : 0) | (has_backlog(other) ? 0 : POLLIN))};
}

static void run_relay(void *argument)
{
    struct stage *stage = argument;
    struct tls_link links[2]; /* the client's, the echo's */
    struct frames frames[2] = {{.expected_size = stage->mode->payload_size},
                               {.expected_size = stage->mode->payload_size}};
    close(stage->echo_listener);
    tls_link_init(&links[0], party_accept(stage->relay_listener), true, &stage->identity, stage->buffer_size);
    tls_link_init(&links[1], party_connect(stage->echo_port), false, &stage->identity, stage->buffer_size);
    tls_link_set_nonblocking(&links[0]);
    tls_link_set_nonblocking(&links[1]);

    /* What came right behind the handshake is inside already, where poll does not see it. */
    bool is_open = pass_on(&links[0], &links[1], &frames[0]) && pass_on(&links[1], &links[0], &frames[1]);
    while (is_open) {
        struct pollfd polled[2] = {polled_of(&links[0], &links[1]), polled_of(&links[1], &links[0])};
        if (poll(polled, 2, -1) < 0) {
            figures_die("tls relay: poll: %s", strerror(errno));
        }
        for (int i = 0; i < 2 && is_open; i++) {
            if ((polled[i].revents & POLLOUT) != 0) {
                tls_link_flush(&links[i]);
            }
            if ((polled[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
                is_open = pass_on(&links[i], &links[1 - i], &frames[i]);
            }
        }
    }
    tls_link_fini(&links[0]);
    tls_link_fini(&links[1]);
}

/* Sends one frame and waits for its echo. */
static void one_round_trip(struct tls_link *link, struct frames *frames, const unsigned char *message, size_t size)
{
    unsigned char buffer[TLS_LINK_RECORD];
    tls_link_append(link, message, size);
    tls_link_flush(link);
    for (;;) {
        long got = tls_link_read(link, buffer, sizeof buffer);
        if (got <= 0) {
            figures_die("tls relay: the relay closed");
        }
        if (frames_count(frames, buffer, (size_t)got) == 1) {
            return;
        }
    }
}

static void measure_round_trip(struct tls_link *link, const struct mode *mode, const unsigned char *message,
                               double seconds)
{
    struct frames frames = {.expected_size = mode->payload_size};
    struct figures_times times;
    figures_times_init(&times, TIMES_MAX);
    for (int i = 0; i < WARM_UP; i++) {
        one_round_trip(link, &frames, message, HEADER_SIZE + mode->payload_size);
    }
    uint64_t now_ns = figures_now_ns();
    uint64_t end_ns = now_ns + (uint64_t)(seconds * FIGURES_NS_PER_S);
    while (now_ns < end_ns) {
        uint64_t start_ns = now_ns;
        one_round_trip(link, &frames, message, HEADER_SIZE + mode->payload_size);
        now_ns = figures_now_ns();
        figures_times_add(&times, now_ns - start_ns);
    }
    figures_print_times("tls_relay", mode->name, &times);
    figures_times_fini(&times);
}

/* What a pipelining client has under way. */
struct pipeline {
    struct tls_link *link;
    const struct mode *mode;
    const unsigned char *message; /* header and payload */
    size_t message_sent;          /* bytes of the current message already in the link's buffer */
    uint64_t sent;                /* messages */
    uint64_t received;
    struct frames frames;
};

/* Packs up to one record of messages, as far as the window lets it, and writes. */
static bool pipeline_send(struct pipeline *pipeline)
{
    struct tls_link *link = pipeline->link;
    size_t message_size = HEADER_SIZE + pipeline->mode->payload_size;
    tls_link_flush(link);
    if (link->out_begin < link->out_end) {
        return false;
    }
    size_t room = TLS_LINK_RECORD;
    while (room > 0 && pipeline->sent - pipeline->received < pipeline->mode->window) {
        size_t step = message_size - pipeline->message_sent;
        step = step < room ? step : room;
        tls_link_room(link);
        tls_link_append(link, pipeline->message + pipeline->message_sent, step);
        pipeline->message_sent += step;
        room -= step;
        if (pipeline->message_sent == message_size) {
            pipeline->message_sent = 0;
            pipeline->sent++;
        }
    }
    tls_link_flush(link);
    return room < TLS_LINK_RECORD;
}

static bool pipeline_receive(struct pipeline *pipeline)
{
    unsigned char buffer[TLS_LINK_RECORD];
    long size = tls_link_read(pipeline->link, buffer, sizeof buffer);
    if (size < 0) {
        figures_die("tls relay: the relay closed");
    }
    pipeline->received += frames_count(&pipeline->frames, buffer, (size_t)size);
    return size > 0;
}

static void pipeline_turn(struct pipeline *pipeline)
{
    bool has_sent = pipeline_send(pipeline);
    bool has_received = pipeline_receive(pipeline);
    if (!has_sent && !has_received) {
        struct pollfd polled = {.fd = pipeline->link->fd,
                                .events = has_backlog(pipeline->link) ? POLLIN | POLLOUT : POLLIN};
        poll(&polled, 1, -1);
    }
}

static void pipeline_run_until(struct pipeline *pipeline, uint64_t end_ns)
{
    do {
        pipeline_turn(pipeline);
    } while (figures_now_ns() < end_ns);
}

static void measure_rate(struct tls_link *link, const struct mode *mode, const unsigned char *message, double seconds)
{
    struct pipeline pipeline = {
        .link = link, .mode = mode, .message = message, .frames = {.expected_size = mode->payload_size}};
    uint64_t window_ns = (uint64_t)(seconds * FIGURES_NS_PER_S);
    tls_link_set_nonblocking(link);
    pipeline_run_until(&pipeline, figures_now_ns() + window_ns / 5);
    uint64_t start_ns = figures_now_ns();
    uint64_t start_count = pipeline.received;
    pipeline_run_until(&pipeline, start_ns + window_ns);
    double per_second =
        (double)(pipeline.received - start_count) * FIGURES_NS_PER_S / (double)(figures_now_ns() - start_ns);
    if (mode->payload_size >= 1024 * 1024) {
        figures_print("tls_relay", mode->name, "MiB/s", per_second * mode->payload_size / FIGURES_MIB);
    } else {
        figures_print("tls_relay", mode->name, "messages/s", per_second);
    }
}

/* A message that fits a record waits for its echo; a larger one comes back while it still goes out. */
static void measure_payload(struct tls_link *link, uint32_t size, const unsigned char *message, double seconds)
{
    struct mode mode = {.payload_size = size, .window = 1};
    struct pipeline pipeline = {.link = link, .mode = &mode, .message = message, .frames = {.expected_size = size}};
    bool is_streamed = HEADER_SIZE + size > TLS_LINK_RECORD;
    _Atomic uint64_t done = 0;
    struct phase phase;
    if (is_streamed) {
        tls_link_set_nonblocking(link);
    }
    phase_init(&phase, "trips", phase_of_trips(size, seconds), true, &done);
    for (; phase_goes_on(&phase); done++) {
        if (!is_streamed) {
            one_round_trip(link, &pipeline.frames, message, HEADER_SIZE + size);
        }
        while (is_streamed && pipeline.received == done) {
            pipeline_turn(&pipeline);
        }
    }
    tls_link_set_nonblocking(link);
    mode.window = PHASE_UNDER_WAY;
    pipeline.received = pipeline.sent = 0;
    done = 0;
    phase_init(&phase, "rate", phase_of_rate(size, seconds), false, &done);
    for (; phase_goes_on(&phase); done = pipeline.received) {
        pipeline_turn(&pipeline);
    }
}

static const struct mode *find_mode(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, name) == 0) {
            return &modes[i];
        }
    }
    figures_die("tls relay: no mode '%s'", name);
}

int main(int argc, char **argv)
{
    bool is_payload = argc > 2 && strcmp(argv[1], "payload") == 0;
    struct mode payload = {.name = "payload", .window = PHASE_UNDER_WAY};
    if (is_payload) {
        payload.payload_size = (uint32_t)figures_positive(argv[2], "bytes");
    }
    struct stage stage = {.mode = is_payload ? &payload : find_mode(argc > 1 ? argv[1] : "round_trip")};
    int last = is_payload ? 3 : 2;
    double seconds = figures_positive(argc > last ? argv[last] : "0.5", "seconds");
    size_t message_size = HEADER_SIZE + stage.mode->payload_size;
    stage.buffer_size = (stage.mode->window + 2) * message_size + 2 * (size_t)TLS_LINK_RECORD;
    tls_identity_init(&stage.identity);
    stage.relay_listener = party_listen(&stage.relay_port);
    stage.echo_listener = party_listen(&stage.echo_port);
    pid_t echo = party_start(run_echo, &stage);
    pid_t relay = party_start(run_relay, &stage);
    close(stage.relay_listener);
    close(stage.echo_listener);

    unsigned char *message = calloc(1, message_size);
    if (message == NULL) {
        figures_die("out of memory");
    }
    memcpy(message, &stage.mode->payload_size, HEADER_SIZE);
    memset(message + HEADER_SIZE, 'x', stage.mode->payload_size);
    struct tls_link link;
    tls_link_init(&link, party_connect(stage.relay_port), false, &stage.identity, stage.buffer_size);
    if (is_payload) {
        measure_payload(&link, payload.payload_size, message, seconds);
    } else if (stage.mode->is_paced) {
        measure_round_trip(&link, stage.mode, message, seconds);
    } else {
        measure_rate(&link, stage.mode, message, seconds);
    }
    tls_link_fini(&link);
    party_end(relay); /* in the middle of what was on its way: nothing to wait for */
    party_end(echo);
    free(message);
    tls_identity_fini(&stage.identity);
    return 0;
}
