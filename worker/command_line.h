/* The command line of netpool-worker. */
#ifndef NP_COMMAND_LINE_H
#define NP_COMMAND_LINE_H

#include <stdbool.h>

#include "common/log.h"
#include "common/url.h"
#include "transport/tls.h"
#include "worker/supervisor.h"

struct command_line {
    struct supervisor_options supervisor; /* but for connect */
    struct np_url url;
    struct tls_files files;
    enum np_log_level log_level;
    const char **modules; /* owned */
    const char **labels;  /* owned */
    bool help;
    bool version;
};

/* Reads arguments and environment; texts are borrowed from them. NETPOOL_INVALID with one line that names the option
 * and what is wrong with it. */
NETPOOL_MUST_CHECK netpool_status command_line_parse(struct command_line *out, int argc, char **argv,
                                                     netpool_error *error);
void command_line_fini(struct command_line *command_line);

/* The text of --help. */
const char *command_line_help(void);

#endif
