#include "worker/slots/share.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

netpool_status share_new(struct share **out, int *fd_out)
{
    int fd = memfd_create("netpool-executor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return NETPOOL_SYSTEM;
    }
    struct share *share = NULL;
    if (ftruncate(fd, (off_t)SHARE_SIZE) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        share = share_map(fd);
    }
    if (share == NULL) {
        close(fd);
        return NETPOOL_SYSTEM;
    }
    *out = share;
    *fd_out = fd;
    return NETPOOL_OK;
}

struct share *share_map(int fd)
{
    void *memory = mmap(NULL, SHARE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void share_unmap(struct share **share)
{
    if (*share != NULL) {
        (void)munmap(*share, SHARE_SIZE);
        *share = NULL;
    }
}

/* Both directions follow Dekker: publish, fence, look whether the other side sleeps; announce sleep, fence, look
 * whether something was published. One of the two always sees the other. */

void share_wake_executor(struct share *share, uint32_t reason)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&share->asleep, memory_order_relaxed) == reason &&
        atomic_exchange_explicit(&share->asleep, SHARE_AWAKE, memory_order_relaxed) != SHARE_AWAKE) {
        (void)syscall(SYS_futex, &share->asleep, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

void share_sleep(struct share *share, uint32_t reason, int64_t deadline, bool (*is_ready)(void *context),
                 void *context)
{
    const struct timespec until = {.tv_sec = deadline / NP_NS_PER_S, .tv_nsec = deadline % NP_NS_PER_S};
    atomic_store_explicit(&share->asleep, reason, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (!is_ready(context)) {
        (void)syscall(SYS_futex, &share->asleep, FUTEX_WAIT_BITSET, reason, deadline != NP_NEVER ? &until : NULL,
                      NULL, FUTEX_BITSET_MATCH_ANY);
    }
    atomic_store_explicit(&share->asleep, SHARE_AWAKE, memory_order_relaxed);
}

bool share_take_bell(struct share *share, uint32_t reasons)
{
    atomic_thread_fence(memory_order_seq_cst);
    return share_take_bell_after_claim(share, reasons);
}

void share_arm_bell(struct share *share, uint32_t reasons)
{
    atomic_store_explicit(&share->bell, reasons, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}
