#include "transport/tls/socket_bio.h"

#include <errno.h>
#include <sys/socket.h>

enum { GATHERED_KEPT = 256 }; /* bytes of memory: small messages need none of their own, idle peers keep little */

static bool is_temporary(int code)
{
    return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

static int read_some(BIO *bio, char *out, int size)
{
    struct socket_bio *state = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got;
    do {
        got = recv(state->fd, out, (size_t)size, 0);
    } while (got < 0 && errno == EINTR);
    state->read_blocked = got < 0 && is_temporary(errno);
    if (state->read_blocked) {
        BIO_set_retry_read(bio);
    } else if (got < 0) {
        state->failure = errno;
    } else if (got == 0) {
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    }
    return (int)got;
}

static ssize_t send_some(struct socket_bio *state, const void *data, size_t size)
{
    ssize_t sent;
    do {
        sent = send(state->fd, data, size, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        state->write_broken = state->write_broken || !is_temporary(errno);
    }
    return sent;
}

static int write_some(BIO *bio, const char *data, int size)
{
    struct socket_bio *state = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (state->gathers) {
        if (np_buffer_append(&state->gathered, data, (size_t)size) != NETPOOL_OK) {
            state->failure = ENOMEM;
            return -1;
        }
        return size;
    }
    ssize_t sent = np_buffer_size(&state->gathered) > 0 ? -1 : send_some(state, data, (size_t)size);
    if (sent < 0) {
        BIO_set_retry_write(bio);
    }
    return (int)sent;
}

void socket_bio_send_gathered(struct socket_bio *state)
{
    while (np_buffer_size(&state->gathered) > 0) {
        ssize_t sent = send_some(state, np_buffer_data(&state->gathered), np_buffer_size(&state->gathered));
        if (sent < 0) {
            return;
        }
        np_buffer_consume(&state->gathered, (size_t)sent);
    }
    np_buffer_trim(&state->gathered, GATHERED_KEPT);
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

BIO *socket_bio_new(struct socket_bio *state)
{
    if (state->method == NULL) {
        state->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "netpool socket");
    }
    if (state->method == NULL || BIO_meth_set_read(state->method, read_some) != 1 ||
        BIO_meth_set_write(state->method, write_some) != 1 || BIO_meth_set_ctrl(state->method, control) != 1) {
        return NULL;
    }
    BIO *bio = BIO_new(state->method);
    if (bio != NULL) {
        BIO_set_data(bio, state);
        BIO_set_init(bio, 1);
    }
    return bio;
}

void socket_bio_fini(struct socket_bio *state)
{
    np_buffer_fini(&state->gathered);
    BIO_meth_free(state->method);
    state->method = NULL;
}
