/* Did the kernel kill for memory? Told from the counters of this process' cgroup, or of the host where there is none:
 * best effort, as another process may have been the one. */
#ifndef NP_MEMORY_KILLER_H
#define NP_MEMORY_KILLER_H

#include <stdbool.h>
#include <stdint.h>

struct memory_killer {
    char path[4200]; /* of the file with a line "oom_kill N"; "" when there is none */
    uint64_t kills;  /* as last read */
};

void memory_killer_init(struct memory_killer *killer);

/* Has it struck since the last call? */
bool memory_killer_has_struck(struct memory_killer *killer);

#endif
