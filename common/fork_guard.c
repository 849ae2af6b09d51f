#include "common/fork_guard.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void np_fork_guard_init(struct np_fork_guard *guard)
{
    *guard = (struct np_fork_guard){.pid = getpid()};
    char *page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return;
    }
    if (madvise(page, page_size(), MADV_WIPEONFORK) != 0) {
        munmap(page, page_size());
        return;
    }
    *page = 1;
    guard->mark = page;
}

void np_fork_guard_fini(struct np_fork_guard *guard)
{
    if (guard->mark != NULL) {
        munmap((void *)(uintptr_t)guard->mark, page_size());
        guard->mark = NULL;
    }
}
