#include "worker/slots/memory_killer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t read_kills(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[256];
    uint64_t kills = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "oom_kill %" SCNu64, &kills);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return kills;
}

/* The unified hierarchy's line in /proc/self/cgroup is "0::/path". */
static bool find_cgroup_file(char *out, size_t size)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[4096];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::/", 4) == 0) {
            line[strcspn(line, "\n")] = '\0';
            (void)snprintf(out, size, "/sys/fs/cgroup%s/memory.events", line + 3);
            found = access(out, R_OK) == 0;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

void memory_killer_init(struct memory_killer *killer)
{
    if (!find_cgroup_file(killer->path, sizeof killer->path)) {
        (void)snprintf(killer->path, sizeof killer->path, "/proc/vmstat");
    }
    killer->kills = read_kills(killer->path);
}

bool memory_killer_has_struck(struct memory_killer *killer)
{
    uint64_t kills = read_kills(killer->path);
    bool has_struck = kills > killer->kills;
    killer->kills = kills;
    return has_struck;
}
