/* The command line of netpool-broker. */
#ifndef BROKER_OPTIONS_H
#define BROKER_OPTIONS_H

#include <stdbool.h>

#include "broker/server.h"
#include "common/log.h"
#include "common/url.h"

struct options {
    struct server_config server; /* its host and port point into `listen` */
    struct np_url listen;
    enum np_log_level log_level;
    int ready_fd; /* -1 = none */
    bool help;
    bool version;
};

/* Reads arguments and environment. NETPOOL_INVALID with one line that names the option and what is wrong with it. */
NETPOOL_MUST_CHECK netpool_status options_parse(struct options *out, int argc, char **argv, netpool_error *error);

/* The text of --help. */
const char *options_help(void);

#endif
