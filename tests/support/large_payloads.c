#include "tests/support/large_payloads.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

void fill(uint8_t *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(seed * 7 + i * 31 + i / 4096);
    }
}

netpool_future *submit(netpool *pool, const char *function, const uint8_t *bytes, size_t size)
{
    netpool_future *future;
    assert_int_equal(netpool_submit(pool, function, (netpool_bytes){bytes, size}, NULL, &future), NETPOOL_OK);
    return future;
}

void assert_result(netpool_future *future, const uint8_t *bytes, size_t size)
{
    netpool_result result;
    assert_int_equal(netpool_wait(future, -1, &result), NETPOOL_OK);
    assert_int_equal(result.status, NETPOOL_OK);
    assert_int_equal(result.size, size);
    assert_int_equal(memcmp(result.data, bytes, size), 0);
}

long long heap_bytes(pid_t pid)
{
    long long bytes = -1;
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *fds = opendir(path);
    for (struct dirent *entry = fds != NULL ? readdir(fds) : NULL; entry != NULL; entry = readdir(fds)) {
        char target[256] = "";
        struct stat stat;
        if (readlinkat(dirfd(fds), entry->d_name, target, sizeof target - 1) > 0 &&
            strstr(target, "netpool-payloads") != NULL && fstatat(dirfd(fds), entry->d_name, &stat, 0) == 0) {
            bytes = (bytes < 0 ? 0 : bytes) + (long long)stat.st_blocks * 512;
        }
    }
    if (fds != NULL) {
        (void)closedir(fds);
    }
    return bytes;
}
