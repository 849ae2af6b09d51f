#include "transport/tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/error.h"
#include "common/text.h"

#define ADDRESS_SIZE 128
#define BACKLOG 1024

/* Retransmissions of a SYN while other addresses are left to try: gives up after about 3 s instead of 2 minutes. */
#define SYN_RETRIES 1

struct tcp_connector {
    struct addrinfo *addresses;
    struct addrinfo *current; /* the one being tried */
    char host[256];           /* for messages */
    char port[32];
    char address[ADDRESS_SIZE];
};

static void format_address(char out[ADDRESS_SIZE], const struct sockaddr *address, socklen_t size)
{
    char host[64];
    char port[16];
    if (getnameinfo(address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        (void)snprintf(out, ADDRESS_SIZE, "unknown address");
        return;
    }
    /* A dual-stack listener sees IPv4 peers as ::ffff:a.b.c.d. */
    const char *mapped = "::ffff:";
    bool is_mapped = strncmp(host, mapped, strlen(mapped)) == 0 && strchr(host, '.') != NULL;
    if (strchr(host, ':') != NULL && !is_mapped) {
        (void)snprintf(out, ADDRESS_SIZE, "[%s]:%s", host, port);
    } else {
        (void)snprintf(out, ADDRESS_SIZE, "%s:%s", is_mapped ? host + strlen(mapped) : host, port);
    }
}

/* Small messages leave at once; the layers above batch. A failure costs speed only. */
static void set_no_delay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int open_listener(const struct addrinfo *address, bool dual_stack)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    int v6_only = dual_stack ? 0 : 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (address->ai_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only) != 0) ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* The first address that can be bound; for "all addresses" the IPv6 one, which serves IPv4 too. */
static int open_first(const struct addrinfo *addresses, bool any)
{
    int fd = -1;
    int failure = EADDRNOTAVAIL;
    for (int family_pass = any ? 0 : 1; family_pass < 2 && fd < 0; family_pass++) {
        for (const struct addrinfo *a = addresses; a != NULL && fd < 0; a = a->ai_next) {
            if (family_pass == 0 && a->ai_family != AF_INET6) {
                continue;
            }
            fd = open_listener(a, any);
            failure = fd < 0 ? errno : failure;
            if (fd < 0 && family_pass == 0 && failure == EADDRINUSE) {
                errno = failure; /* IPv4 alone might be free: half a listener is worse than an error */
                return -1;
            }
        }
    }
    errno = failure;
    return fd;
}

netpool_status tcp_listen(int *fd, const char *host, const char *port, char bound[ADDRESS_SIZE], netpool_error *error)
{
    bool any = host[0] == '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    int result = getaddrinfo(any ? NULL : host, port, &hints, &addresses);
    if (result != 0) {
        return np_error_set(error, NETPOOL_SYSTEM, "cannot listen on %.255s:%.31s: %s", any ? "*" : host, port,
                            gai_strerror(result));
    }
    int listener = open_first(addresses, any);
    freeaddrinfo(addresses);
    if (listener < 0) {
        return np_error_system(error, "cannot listen on %.255s:%.31s", any ? "*" : host, port);
    }
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    if (getsockname(listener, (struct sockaddr *)&name, &size) != 0) {
        (void)close(listener);
        return np_error_system(error, "cannot read the address of a listening socket");
    }
    format_address(bound, (const struct sockaddr *)&name, size);
    *fd = listener;
    return NETPOOL_OK;
}

/* Errors that concern the one connection which is gone already, not the listener (accept(2)). */
static bool is_peer_error(int code)
{
    return code == ECONNABORTED || code == EINTR || code == EPROTO || code == ENETDOWN || code == ENOPROTOOPT ||
           code == EHOSTDOWN || code == ENONET || code == EHOSTUNREACH || code == EOPNOTSUPP || code == ENETUNREACH ||
           code == EPERM;
}

netpool_status tcp_accept(int listener, int *fd, char address[ADDRESS_SIZE], netpool_error *error)
{
    for (;;) {
        struct sockaddr_storage name;
        socklen_t size = sizeof name;
        int accepted = accept4(listener, (struct sockaddr *)&name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            set_no_delay(accepted);
            format_address(address, (const struct sockaddr *)&name, size);
            *fd = accepted;
            return NETPOOL_OK;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            *fd = -1;
            return NETPOOL_OK;
        }
        if (!is_peer_error(errno)) {
            return np_error_system(error, "cannot accept a connection");
        }
    }
}

/* Opens a socket for connector->current and starts connecting. -1 with errno when it failed at once. */
static int start(struct tcp_connector *connector)
{
    const struct addrinfo *address = connector->current;
    format_address(connector->address, address->ai_addr, address->ai_addrlen);
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    set_no_delay(fd);
    if (address->ai_next != NULL) {
        int retries = SYN_RETRIES;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &retries, sizeof retries);
    }
    int result = connect(fd, address->ai_addr, address->ai_addrlen);
    if (result != 0 && errno != EINPROGRESS && errno != EINTR) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static netpool_status fail(const struct tcp_connector *connector, int code, netpool_error *error)
{
    char text[128];
    return np_error_set(error, NETPOOL_UNREACHABLE, "cannot connect to %s:%s (%s): %s", connector->host,
                        connector->port, connector->address, strerror_r(code, text, sizeof text));
}

/* From connector->current on, the first address where connecting could be started. -1 with errno: none. */
static int start_first(struct tcp_connector *connector)
{
    for (;;) {
        int fd = start(connector);
        if (fd >= 0 || connector->current->ai_next == NULL) {
            return fd;
        }
        connector->current = connector->current->ai_next;
    }
}

netpool_status tcp_connector_new(struct tcp_connector **out, int *fd, const char *host, const char *port,
                                 netpool_error *error)
{
    struct tcp_connector *connector = calloc(1, sizeof *connector);
    if (connector == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory for a connection");
    }
    np_text_copy(connector->host, sizeof connector->host, host);
    np_text_copy(connector->port, sizeof connector->port, port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int result = getaddrinfo(host, port, &hints, &connector->addresses);
    if (result != 0) {
        tcp_connector_destroy(&connector);
        return np_error_set(error, NETPOOL_UNREACHABLE, "cannot find the address of %.255s:%.31s: %s", host, port,
                            gai_strerror(result));
    }
    connector->current = connector->addresses;
    int started = start_first(connector);
    if (started < 0) {
        netpool_status status = fail(connector, errno, error);
        tcp_connector_destroy(&connector);
        return status;
    }
    *fd = started;
    *out = connector;
    return NETPOOL_OK;
}

netpool_status tcp_connector_advance(struct tcp_connector *connector, int *fd, bool *done, netpool_error *error)
{
    *done = false;
    int code = 0;
    socklen_t size = sizeof code;
    if (getsockopt(*fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) {
        code = errno;
    }
    if (code == 0) {
        struct sockaddr_storage name;
        size = sizeof name;
        /* Without an error a socket that has no peer yet is still on its way. */
        *done = getpeername(*fd, (struct sockaddr *)&name, &size) == 0;
        return NETPOOL_OK;
    }
    if (connector->current->ai_next == NULL) {
        return fail(connector, code, error);
    }
    connector->current = connector->current->ai_next;
    int next = start_first(connector);
    if (next < 0) {
        return fail(connector, errno, error);
    }
    (void)close(
        *fd); /* only now, so that the new socket has a number of its own and whoever watches sees the change */
    *fd = next;
    return NETPOOL_OK;
}

const char *tcp_connector_address(const struct tcp_connector *connector)
{
    return connector->address;
}

void tcp_connector_destroy(struct tcp_connector **connector)
{
    if (*connector != NULL) {
        if ((*connector)->addresses != NULL) {
            freeaddrinfo((*connector)->addresses);
        }
        free(*connector);
        *connector = NULL;
    }
}
