#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "tests/support/fake_broker.h"

int process_descriptors(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    int count = -2; /* "." and ".." */
    while (directory != NULL && readdir(directory) != NULL) {
        count++;
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    return count;
}

int process_children(pid_t pid, pid_t *children, int capacity)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "re");
    int count = 0;
    int child;
    while (file != NULL && count < capacity && fscanf(file, "%d", &child) == 1) {
        children[count++] = child;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return count;
}

static char state_of(pid_t pid)
{
    char path[64];
    char state = '?';
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        (void)fscanf(file, "%*d (%*[^)]) %c", &state);
        (void)fclose(file);
    }
    return state;
}

int process_zombies(pid_t pid)
{
    pid_t children[256];
    int count = process_children(pid, children, 256);
    int zombies = 0;
    for (int i = 0; i < count; i++) {
        zombies += state_of(children[i]) == 'Z';
        zombies += process_zombies(children[i]);
    }
    return zombies;
}

bool process_exists(pid_t pid)
{
    return kill(pid, 0) == 0 && state_of(pid) != 'Z';
}
