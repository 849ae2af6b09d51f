/* What the command line of `netpool map` asks for. */
#ifndef CLI_MAP_SETTINGS_H
#define CLI_MAP_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/netpool.h"

struct map_settings {
    const char *url;
    netpool_options pool;
    const char **modules; /* NULL-terminated */
    size_t module_count;
    uint64_t procs; /* 0: not given */
    uint64_t chunk;
    netpool_task_options task;
    bool has_profile; /* is to be shown */
    bool is_unordered;
    const char *function;
    const char *file; /* NULL: standard input */
    char procs_url[32];
};

enum map_parsed { MAP_PARSED, MAP_PARSED_HELP, MAP_PARSED_WRONG };

/* `settings` zero but for `modules`, which has room for argc + 1. It keeps pointers into argv and to itself.
 * Complains about what is wrong. */
enum map_parsed map_settings_parse(struct map_settings *settings, int argc, char **argv);

#endif
