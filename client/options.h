/* The settings of a pool: what its URL, the options and the environment say, checked, completed and copied. */
#ifndef NP_OPTIONS_H
#define NP_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "client/netpool.h"
#include "common/url.h"
#include "proto/limits.h"

struct settings {
    struct np_url url;
    char url_text[512]; /* for messages */
    unsigned slots;     /* local, threads: executors, >= 1 */
    char name[NP_NAME_MAX + 1];
    char host[NP_NAME_MAX + 1];
    char *ca; /* tls; NULL: not given */
    char *cert;
    char *key;
    char *crl;
    char **modules; /* NULL-terminated; NULL: none */
    netpool_start_method start_method;
    uint64_t max_payload; /* bytes */
    int64_t connect_timeout_ns;
    int64_t reconnect_timeout_ns; /* NP_NEVER: for ever */
    char *initializer;            /* function; NULL: none */
    void *initializer_input;
    size_t initializer_input_size;   /* bytes */
    unsigned max_tasks_per_executor; /* 0: no limit */
};

/* NETPOOL_INVALID, NETPOOL_TOO_LARGE (initializer's input), NETPOOL_CREDENTIALS (tls without files),
 * NETPOOL_NO_MEMORY. */
NETPOOL_MUST_CHECK netpool_status settings_init(struct settings *out, const char *url, const netpool_options *options,
                                                netpool_error *error);
void settings_fini(struct settings *settings);

#endif
