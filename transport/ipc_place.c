#include "transport/ipc_place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/error.h"
#include "transport/ipc_socket.h"

/* The directory part of path, "." when there is none. */
static void directory_of(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (length == 0) {
        path = ".";
        length = 1;
    }
    if (length >= size) {
        length = size - 1;
    }
    memcpy(out, path, length);
    out[length] = '\0';
}

static netpool_status open_directory(const char *path, int *fd, netpool_error *error)
{
    char directory[sizeof((struct sockaddr_un){0}.sun_path)];
    struct stat status;
    directory_of(path, directory, sizeof directory);
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        return np_error_system(error, "ipc://%s: cannot make the directory %s", path, directory);
    }
    int opened = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0 || fstat(opened, &status) != 0) {
        netpool_status failure = np_error_system(error, "ipc://%s: cannot open the directory %s", path, directory);
        if (opened >= 0) {
            close(opened);
        }
        return failure;
    }
    if (status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        close(opened);
        return np_error_set(error, NETPOOL_SYSTEM,
                            "ipc://%s: the directory %s must belong to the broker's user and have mode 0700, "
                            "but belongs to uid %u and has mode %04o",
                            path, directory, (unsigned)status.st_uid, (unsigned)(status.st_mode & 07777));
    }
    *fd = opened;
    return NETPOOL_OK;
}

static netpool_status clear_path(const char *path, netpool_error *error)
{
    uint32_t uid = 0;
    switch (ipc_probe(path, &uid)) {
    case IPC_ABSENT:
        return NETPOOL_OK;
    case IPC_DEAD:
        return unlink(path) == 0 || errno == ENOENT
                   ? NETPOOL_OK
                   : np_error_system(error, "ipc://%s: cannot remove the stale socket", path);
    case IPC_ALIVE:
        return np_error_set(error, NETPOOL_SYSTEM, "ipc://%s: address in use: another broker listens there", path);
    case IPC_FOREIGN:
        return np_error_set(error, NETPOOL_SYSTEM, "ipc://%s: something that is not a socket is there", path);
    case IPC_UNKNOWN:
        break;
    }
    return np_error_system(error, "ipc://%s", path);
}

netpool_status ipc_place_prepare(const char *path, int *directory_fd, netpool_error *error)
{
    int fd = -1; /* gcc cannot see that it is set */
    netpool_status status = open_directory(path, &fd, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    if (flock(fd, LOCK_EX) != 0) {
        status = np_error_system(error, "ipc://%s: cannot lock its directory", path);
    } else {
        status = clear_path(path, error);
    }
    if (status != NETPOOL_OK) {
        close(fd);
        return status;
    }
    *directory_fd = fd;
    return NETPOOL_OK;
}
