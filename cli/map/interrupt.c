#include "cli/map/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static volatile sig_atomic_t caught_signal;
static volatile sig_atomic_t wake_fd = -1;

void interrupt_wake(void)
{
    int before = errno;
    eventfd_write(wake_fd, 1); /* a plain write(2): safe in a handler */
    errno = before;
}

static void note(int signal_number)
{
    caught_signal = signal_number;
    interrupt_wake();
}

int interrupt_catch(void)
{
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        return -1;
    }
    wake_fd = fd;
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
        struct sigaction action = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND};
        struct sigaction before;
        sigaction(caught[i], NULL, &before);
        if (before.sa_handler != SIG_IGN) { /* nohup, or a shell's background job */
            sigaction(caught[i], &action, NULL);
        }
    }
    signal(SIGPIPE, SIG_IGN);
    return fd;
}

int interrupt_signal(void)
{
    return caught_signal;
}

_Noreturn void interrupt_die_of(int signal_number)
{
    sigset_t set;
    signal(signal_number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(signal_number);
    _exit(128 + signal_number);
}
