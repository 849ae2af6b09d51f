#include "common/url.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/text.h"

#define FORMS "use local, local:N, threads:N, ipc://PATH or tls://HOST:PORT"

static netpool_status refuse(netpool_error *error, const char *text, const char *why)
{
    return np_error_set(error, NETPOOL_INVALID, "pool URL '%.200s': %s; " FORMS, text, why);
}

/* Decimal digits only, no sign, no space. */
static bool parse_number(const char *text, unsigned long most, unsigned long *out)
{
    size_t length = strlen(text);
    if (length == 0 || length > 9 || strspn(text, "0123456789") != length) {
        return false;
    }
    *out = strtoul(text, NULL, 10);
    return *out <= most;
}

static netpool_status parse_count(struct np_url *url, const char *text, const char *count, netpool_error *error)
{
    unsigned long number;
    if (!parse_number(count, NP_URL_MAX_EXECUTORS, &number) || number == 0) {
        return refuse(error, text, "N must be a number from 1 to 4096");
    }
    url->count = (unsigned)number;
    return NETPOOL_OK;
}

static netpool_status parse_ipc(struct np_url *url, const char *text, const char *path, netpool_error *error)
{
    if (path[0] != '/') {
        return refuse(error, text, "PATH must be absolute");
    }
    if (!np_text_copy(url->path, sizeof url->path, path)) {
        return refuse(error, text, "PATH is longer than 107 bytes, the limit of a socket's name");
    }
    return NETPOOL_OK;
}

static netpool_status parse_tls(struct np_url *url, const char *text, const char *place, netpool_error *error)
{
    const char *host = place;
    const char *colon = strrchr(place, ':');
    size_t host_size = colon == NULL ? strlen(place) : (size_t)(colon - place);
    if (place[0] == '[') {
        const char *bracket = strchr(place, ']');
        if (bracket == NULL || (bracket[1] != ':' && bracket[1] != '\0')) {
            return refuse(error, text, "an IPv6 address is written [ADDRESS]:PORT");
        }
        host = place + 1;
        host_size = (size_t)(bracket - host);
        colon = bracket[1] == ':' ? bracket + 1 : NULL;
    } else if (memchr(place, ':', host_size) != NULL) {
        return refuse(error, text, "an IPv6 address is written [ADDRESS]:PORT");
    }
    if (host_size == 0 || host_size >= sizeof url->host || memchr(host, '/', host_size) != NULL) {
        return refuse(error, text, "HOST is missing or malformed");
    }
    memcpy(url->host, host, host_size);
    url->host[host_size] = '\0';
    const char *port = colon == NULL ? NP_URL_DEFAULT_PORT : colon + 1;
    unsigned long number;
    if (!parse_number(port, 65535, &number)) {
        return refuse(error, text, "PORT must be a number from 0 to 65535");
    }
    (void)np_text_copy(url->port, sizeof url->port, port + strspn(port, "0") - (number == 0));
    return NETPOOL_OK;
}

netpool_status np_url_parse(struct np_url *out, const char *text, netpool_error *error)
{
    struct np_url url = {.kind = NP_URL_LOCAL};
    netpool_status status = NETPOOL_OK;
    if (strncmp(text, "local:", 6) == 0) {
        status = parse_count(&url, text, text + 6, error);
    } else if (strncmp(text, "threads:", 8) == 0) {
        url.kind = NP_URL_THREADS;
        status = parse_count(&url, text, text + 8, error);
    } else if (strcmp(text, "threads") == 0) {
        url.kind = NP_URL_THREADS;
    } else if (strncmp(text, "ipc://", 6) == 0) {
        url.kind = NP_URL_IPC;
        status = parse_ipc(&url, text, text + 6, error);
    } else if (strncmp(text, "tls://", 6) == 0) {
        url.kind = NP_URL_TLS;
        status = parse_tls(&url, text, text + 6, error);
    } else if (strcmp(text, "local") != 0) {
        return refuse(error, text, "unknown form");
    }
    if (status == NETPOOL_OK) {
        *out = url;
    }
    return status;
}
