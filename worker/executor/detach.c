#include "worker/executor/detach.h"

#include <assert.h>
#include <unistd.h>

enum { KEEP_MAX = 16 };

void detach_reset_signals(const sigset_t *blocked)
{
    struct sigaction defaults = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) {
        (void)sigaction(number, &defaults, NULL); /* refused for SIGKILL, SIGSTOP and libc's own */
    }
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, blocked != NULL ? blocked : &none, NULL);
}

static void close_between(unsigned first, unsigned last)
{
    if (first <= last && close_range(first, last, 0) != 0) {
        long most = sysconf(_SC_OPEN_MAX); /* kernels before 5.9 */
        for (long fd = first; fd <= (long)last && fd < most; fd++) {
            close((int)fd);
        }
    }
}

void detach_close_descriptors(const int *keep, size_t count)
{
    assert(count <= KEEP_MAX);
    unsigned next = STDERR_FILENO + 1;
    for (;;) {
        /* The smallest descriptor to keep from `next` on ends the gap to close. */
        unsigned kept = ~0U;
        for (size_t i = 0; i < count; i++) {
            if (keep[i] >= 0 && (unsigned)keep[i] >= next && (unsigned)keep[i] < kept) {
                kept = (unsigned)keep[i];
            }
        }
        if (kept == ~0U) {
            close_between(next, ~0U);
            return;
        }
        close_between(next, kept - 1);
        next = kept + 1;
    }
}
