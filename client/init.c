/* netpool_init: a process that a pool started anew (NETPOOL_START_SPAWN) becomes its companion here. */
#include <stddef.h>

#include "client/netpool.h"
#include "worker/companion.h"

void netpool_init(int *argc, char ***argv)
{
    struct companion companion;
    if (argc != NULL && argv != NULL && companion_parse(&companion, *argc, *argv)) {
        companion_run(&companion);
    }
}
