/*
 * A link over TLS 1.3: connecting, the handshake, reading and writing. OpenSSL's rules it keeps: no call after a
 * fatal error, and the thread's error queue, which a host program may share, is emptied before a call whose failure
 * is looked up in it. Records are sealed into a buffer and sent several at a time, as each send costs as much as
 * sealing.
 */
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/error.h"
#include "common/list.h"
#include "common/text.h"
#include "transport/tcp.h"
#include "transport/tls.h"
#include "transport/tls/context.h"
#include "transport/tls/reason.h"
#include "transport/tls/socket_bio.h"
#include "transport/tls/verify.h"

#define RECORD_SIZE (16U * 1024U) /* bytes; the most that one SSL_write takes: one TLS record */
#define RECORD_EXTRA 64           /* bytes, rather too many, that sealing adds to a record */
#define SEALED_MAX 4              /* records sent at a time */
#define IDLE_RECORDS_MAX 32       /* records without data (key updates) in a row, then the peer is at fault */
#define DRAIN_SIZE (64U * 1024U)  /* bytes; the most that is read and thrown away before a close */

enum state {
    CONNECTING,
    HANDSHAKING,
    OPEN,
    FINISHED, /* the peer closed in good order: our own close_notify may still be sent */
    BROKEN    /* nothing may be sent any more */
};

/* Sizes of a record that was sealed and is not sent in whole. */
struct sealed_record {
    size_t plain;
    size_t sealed;
};

struct tls_link {
    struct link link;
    enum state state;
    SSL *ssl;
    struct socket_bio socket;
    struct tcp_connector *connector; /* client side, while connecting */
    struct tls_verifier verifier;
    char host[256];             /* client side */
    char pool[NP_NAME_MAX + 1]; /* our own */
    netpool_error refusal;      /* why the verifier refused the peer */
    int handshake_wants;        /* EPOLLIN or EPOLLOUT */
    bool read_wants_write;
    bool write_wants_read;
    bool is_drained;                         /* the last read ended because nothing was there */
    struct sealed_record sealed[SEALED_MAX]; /* what is written next begins with their plain bytes */
    unsigned sealed_count;
    netpool_status failure; /* found while reading, after bytes that are to be delivered first */
    netpool_error failure_reason;
};

static struct tls_link *of(struct link *link)
{
    return NP_CONTAINER(link, struct tls_link, link);
}

static const struct tls_link *of_const(const struct link *link)
{
    return (const struct tls_link *)(const void *)link;
}

static const char *side(const struct tls_link *tls)
{
    return tls->verifier.peer_is_broker ? "the broker" : "the peer";
}

/* Clearing an empty queue costs several times as much as looking whether it is. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

static netpool_status fail_cut(struct tls_link *tls, netpool_error *error)
{
    const char *when = tls->state == HANDSHAKING ? " during the TLS handshake" : "";
    if (tls->socket.failure != 0) {
        char text[128];
        return np_error_set(error, NETPOOL_UNREACHABLE, "connection with %s broke%s: %s", tls->link.peer.address,
                            when, strerror_r(tls->socket.failure, text, sizeof text));
    }
    return np_error_set(error, NETPOOL_UNREACHABLE, "%s cut the connection off%s", tls->link.peer.address, when);
}

/* After SSL_ERROR_SSL or SSL_ERROR_SYSCALL: what happened. Nothing can be sent afterwards. */
static netpool_status fail(struct tls_link *tls, int ssl_error, netpool_error *error)
{
    unsigned long code = ERR_peek_error();
    bool is_cut = ssl_error == SSL_ERROR_SYSCALL || code == 0 ||
                  (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
    netpool_status status;
    if (tls->refusal.status != NETPOOL_OK) {
        status = np_error_set(error, tls->refusal.status, "%s", tls->refusal.message);
    } else if (is_cut) {
        status = fail_cut(tls, error);
    } else {
        bool is_alert;
        struct tls_reason reason = tls_reason_of_error(code, &is_alert);
        if (is_alert) {
            status = np_error_set(error, reason.status, "%s at %s refused our %s", side(tls), tls->link.peer.address,
                                  reason.text);
        } else {
            status = np_error_set(error, reason.status, "%s %s", tls->link.peer.address, reason.text);
        }
    }
    ERR_clear_error();
    tls->state = BROKEN;
    return status;
}

static netpool_status begin_handshake(struct tls_link *tls, netpool_error *error)
{
    tls->socket.fd = tls->link.fd;
    BIO *bio = socket_bio_new(&tls->socket);
    if (bio == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory for a TLS connection");
    }
    SSL_set_bio(tls->ssl, bio, bio);
    tls->state = HANDSHAKING;
    return NETPOOL_OK;
}

static netpool_status connect_on(struct tls_link *tls, netpool_error *error)
{
    bool connected;
    netpool_status status = tcp_connector_advance(tls->connector, &tls->link.fd, &connected, error);
    np_text_copy(tls->link.peer.address, sizeof tls->link.peer.address, tcp_connector_address(tls->connector));
    if (status != NETPOOL_OK || !connected) {
        return status;
    }
    tcp_connector_destroy(&tls->connector);
    return begin_handshake(tls, error);
}

static netpool_status shake_hands(struct tls_link *tls, netpool_error *error)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    int ssl_error = SSL_get_error(tls->ssl, result);
    switch (ssl_error) {
    case SSL_ERROR_NONE:
        /* The verifier ran and accepted, or there is no peer: nothing else may lead here. */
        assert(tls->link.peer.role != NP__ROLE__NONE);
        assert(SSL_session_reused(tls->ssl) == 0);
        tls->state = OPEN;
        return NETPOOL_OK;
    case SSL_ERROR_WANT_READ:
        tls->handshake_wants = EPOLLIN;
        return NETPOOL_OK;
    case SSL_ERROR_WANT_WRITE:
        /* A broken socket stays writable, and reading will say why it broke. */
        tls->handshake_wants = EPOLLOUT;
        return tls->socket.write_broken ? fail(tls, SSL_ERROR_SYSCALL, error) : NETPOOL_OK;
    default:
        return fail(tls, ssl_error, error);
    }
}

static netpool_status tls_establish(struct link *link, bool *done, netpool_error *error)
{
    struct tls_link *tls = of(link);
    netpool_status status = NETPOOL_OK;
    if (tls->state == CONNECTING) {
        status = connect_on(tls, error);
    }
    if (status == NETPOOL_OK && tls->state == HANDSHAKING) {
        status = shake_hands(tls, error);
    }
    if (status != NETPOOL_OK) {
        tls->state = BROKEN;
        return status;
    }
    *done = tls->state == OPEN;
    return NETPOOL_OK;
}

static netpool_status fail_flood(struct tls_link *tls, netpool_error *error)
{
    ERR_clear_error();
    tls->state = BROKEN;
    return np_error_set(error, NETPOOL_PROTOCOL, "%s floods us with TLS records without data",
                        tls->link.peer.address);
}

/* What a failed SSL_read means. NETPOOL_OK: nothing there now. */
static netpool_status explain_read(struct tls_link *tls, int ssl_error, netpool_error *error)
{
    switch (ssl_error) {
    case SSL_ERROR_WANT_WRITE:
        tls->read_wants_write = true;
        tls->is_drained = true;
        break;
    case SSL_ERROR_WANT_READ:
        tls->is_drained = tls->socket.read_blocked; /* else it was a record without data */
        break;
    case SSL_ERROR_ZERO_RETURN:
        tls->state = FINISHED;
        return np_error_set(error, NETPOOL_CLOSED, "%s closed the connection", tls->link.peer.address);
    default:
        return fail(tls, ssl_error, error);
    }
    return tls->socket.write_broken ? fail(tls, SSL_ERROR_SYSCALL, error) : NETPOOL_OK;
}

static netpool_status tls_read(struct link *link, uint8_t *out, size_t capacity, size_t *got, netpool_error *error)
{
    struct tls_link *tls = of(link);
    *got = 0;
    if (tls->failure != NETPOOL_OK) {
        return np_error_set(error, tls->failure, "%s", tls->failure_reason.message);
    }
    assert(tls->state == OPEN);
    tls->read_wants_write = false;
    tls->is_drained = false;
    unsigned idle_records = 0;
    while (*got < capacity && !tls->is_drained && tls->failure == NETPOOL_OK) {
        size_t count = 0;
        forget_errors();
        int result = SSL_read_ex(tls->ssl, out + *got, capacity - *got, &count);
        if (result == 1) {
            *got += count;
            idle_records = 0;
            if (SSL_has_pending(tls->ssl) == 0) {
                break; /* the descriptor will tell of more: asking it now costs a system call, mostly in vain */
            }
        } else if (++idle_records > IDLE_RECORDS_MAX) {
            tls->failure = fail_flood(tls, &tls->failure_reason);
        } else {
            tls->failure = explain_read(tls, SSL_get_error(tls->ssl, result), &tls->failure_reason);
        }
    }
    if (tls->failure != NETPOOL_OK && *got == 0) {
        return np_error_set(error, tls->failure, "%s", tls->failure_reason.message);
    }
    return NETPOOL_OK;
}

/* What is to be written, and how much of it was. */
struct plain {
    const struct iovec *parts; /* from the one where the rest begins on */
    size_t skipped;            /* bytes at its front that belong to the rest no more */
    size_t size;               /* of the rest */
};

static void plain_advance(struct plain *plain, size_t size)
{
    plain->skipped += size;
    plain->size -= size;
    while (plain->size > 0 && plain->skipped >= plain->parts->iov_len) {
        plain->skipped -= plain->parts->iov_len;
        plain->parts++;
    }
}

/* Seals the next record. Bytes that do not lie together are brought together, for small records cost as much as large
 * ones. Returns what OpenSSL does. */
static int seal_record(struct tls_link *tls, const struct plain *plain, size_t *written)
{
    uint8_t together[RECORD_SIZE];
    size_t size = plain->size < RECORD_SIZE ? plain->size : RECORD_SIZE;
    const uint8_t *data = (const uint8_t *)plain->parts->iov_base + plain->skipped;
    if (plain->parts->iov_len - plain->skipped < size) {
        link_parts_copy(plain->parts, plain->skipped, together, size);
        data = together;
    }
    forget_errors();
    return SSL_write_ex(tls->ssl, data, size, written);
}

/* Seals the next records. OK and none sealed: OpenSSL has to read first. */
static netpool_status seal(struct tls_link *tls, struct plain plain)
{
    struct np_buffer *gathered = &tls->socket.gathered;
    plain.size = plain.size < LINK_WRITE_SIZE ? plain.size : LINK_WRITE_SIZE;
    (void)np_buffer_reserve(gathered,
                            plain.size + SEALED_MAX * RECORD_EXTRA); /* at once; or it grows, or fails, below */
    tls->socket.gathers = true;
    int result = 1;
    while (plain.size > 0 && tls->sealed_count < SEALED_MAX && result == 1) {
        size_t before = np_buffer_size(gathered);
        size_t written = 0;
        result = seal_record(tls, &plain, &written);
        if (result == 1) { /* less than offered: the peer asked for smaller records */
            tls->sealed[tls->sealed_count++] = (struct sealed_record){written, np_buffer_size(gathered) - before};
            plain_advance(&plain, written);
        }
    }
    tls->socket.gathers = false;
    int ssl_error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);
    tls->write_wants_read = ssl_error == SSL_ERROR_WANT_READ;
    if (ssl_error != SSL_ERROR_NONE && ssl_error != SSL_ERROR_WANT_READ) {
        tls->failure = fail(tls, ssl_error, &tls->failure_reason);
    }
    return tls->failure;
}

/* Sends what is sealed. Records that the socket has taken in whole count as taken. */
static void send_sealed(struct tls_link *tls, size_t *taken)
{
    socket_bio_send_gathered(&tls->socket);
    size_t behind = 0; /* bytes of all but the first */
    for (unsigned i = 1; i < tls->sealed_count; i++) {
        behind += tls->sealed[i].sealed;
    }
    unsigned sent = 0;
    for (; sent < tls->sealed_count && np_buffer_size(&tls->socket.gathered) <= behind; sent++) {
        *taken += tls->sealed[sent].plain;
        behind -= sent + 1 < tls->sealed_count ? tls->sealed[sent + 1].sealed : 0;
    }
    tls->sealed_count -= sent;
    memmove(tls->sealed, tls->sealed + sent, tls->sealed_count * sizeof *tls->sealed);
}

static netpool_status tls_write(struct link *link, const struct iovec *parts, size_t count, size_t *taken,
                                netpool_error *error)
{
    struct tls_link *tls = of(link);
    *taken = 0;
    if (tls->failure != NETPOOL_OK || tls->socket.write_broken) {
        return NETPOOL_OK; /* the read that comes next tells the reason */
    }
    assert(tls->state == OPEN);
    struct plain plain = {.parts = parts, .size = link_parts_size(parts, count)};
    plain_advance(&plain, 0); /* past parts without bytes */
    while (plain.size > 0) {
        if (tls->sealed_count == 0 && seal(tls, plain) != NETPOOL_OK) {
            return np_error_set(error, tls->failure, "%s", tls->failure_reason.message);
        }
        size_t sent = 0;
        send_sealed(tls, &sent);
        *taken += sent;
        plain_advance(&plain, sent);
        if (tls->sealed_count > 0 || tls->write_wants_read) {
            break;
        }
    }
    return NETPOOL_OK;
}

static uint32_t tls_interest(const struct link *link, bool want_write)
{
    const struct tls_link *tls = of_const(link);
    switch (tls->state) {
    case CONNECTING:
        return EPOLLOUT;
    case HANDSHAKING:
        return (uint32_t)tls->handshake_wants;
    default: {
        bool write = (want_write && !tls->write_wants_read) || tls->read_wants_write;
        return EPOLLIN | (write ? (uint32_t)EPOLLOUT : 0);
    }
    }
}

static bool tls_is_readable(struct link *link)
{
    struct tls_link *tls = of(link);
    /* Read-ahead may hold a part of a record only: that is not readable, and the last read has told. */
    return tls->failure != NETPOOL_OK || tls->socket.write_broken ||
           (tls->state == OPEN && !tls->is_drained && SSL_has_pending(tls->ssl) == 1);
}

/* Closing a socket with unread bytes sends RST, and that can overtake our last words: an alert, a GOODBYE. */
static void close_socket(int fd)
{
    (void)shutdown(fd, SHUT_WR);
    char sink[4096];
    for (size_t i = 0; i < DRAIN_SIZE / sizeof sink && recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0; i++) {
    }
    (void)close(fd);
}

static void tls_destroy(struct link *link)
{
    struct tls_link *tls = of(link);
    if ((tls->state == OPEN || tls->state == FINISHED) && !tls->socket.write_broken) {
        ERR_clear_error();
        (void)SSL_shutdown(tls->ssl);
    }
    SSL_free(tls->ssl);
    socket_bio_fini(&tls->socket);
    ERR_clear_error();
    tcp_connector_destroy(&tls->connector);
    if (link->fd >= 0) {
        close_socket(link->fd);
    }
    free(tls);
}

static const struct link_operations operations = {
    .kind = "tls",
    .establish = tls_establish,
    .read = tls_read,
    .write = tls_write,
    .interest = tls_interest,
    .is_readable = tls_is_readable,
    .destroy = tls_destroy,
};

static struct tls_link *new_link(struct tls_context *context, const char *host)
{
    struct tls_link *tls = calloc(1, sizeof *tls);
    if (tls == NULL) {
        return NULL;
    }
    ERR_clear_error();
    tls->link.operations = &operations;
    tls->link.fd = -1;
    tls->ssl = SSL_new(context->ssl);
    np_text_copy(tls->pool, sizeof tls->pool, context->identity.pool);
    tls->verifier = (struct tls_verifier){
        .peer_is_broker = host != NULL,
        .pool = tls->pool,
        .host = host == NULL ? NULL : tls->host,
        .peer = &tls->link.peer,
        .error = &tls->refusal,
    };
    if (host != NULL) {
        np_text_copy(tls->host, sizeof tls->host, host);
    }
    if (tls->ssl == NULL || tls_verifier_install(&tls->verifier, tls->ssl) != NETPOOL_OK) {
        tls_destroy(&tls->link);
        return NULL;
    }
    return tls;
}

struct link *tls_link_accept(struct tls_context *context, int fd, const char *address)
{
    struct tls_link *tls = new_link(context, NULL);
    if (tls == NULL) {
        return NULL;
    }
    SSL_set_accept_state(tls->ssl);
    tls->handshake_wants = EPOLLIN;
    np_text_copy(tls->link.peer.address, sizeof tls->link.peer.address, address);
    tls->link.fd = fd;
    if (begin_handshake(tls, NULL) != NETPOOL_OK) {
        tls->link.fd = -1; /* still the caller's */
        tls_destroy(&tls->link);
        return NULL;
    }
    return &tls->link;
}

netpool_status tls_link_connect(struct link **out, struct tls_context *context, const char *host, const char *port,
                                netpool_error *error)
{
    struct tls_link *tls = new_link(context, host);
    if (tls == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory for a TLS connection");
    }
    SSL_set_connect_state(tls->ssl);
    netpool_status status = tcp_connector_new(&tls->connector, &tls->link.fd, host, port, error);
    if (status != NETPOOL_OK) {
        tls_destroy(&tls->link);
        return status;
    }
    np_text_copy(tls->link.peer.address, sizeof tls->link.peer.address, tcp_connector_address(tls->connector));
    *out = &tls->link;
    return NETPOOL_OK;
}
