#include "worker/executor/initializer.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "proto/limits.h"

void initializer_failed(char *text, const char *name, const char *words)
{
    (void)snprintf(text, NP_MESSAGE_MAX + 1, "initializer %s: %s", name, words);
}

void initializer_crashed(char *text, const char *name, int wait_status)
{
    if (WIFSIGNALED(wait_status)) {
        const char *signal = sigabbrev_np(WTERMSIG(wait_status));
        (void)snprintf(text, NP_MESSAGE_MAX + 1, "initializer %s crashed: SIG%s", name,
                       signal != NULL ? signal : "?");
    } else {
        (void)snprintf(text, NP_MESSAGE_MAX + 1, "initializer %s crashed: exit code %d", name,
                       WEXITSTATUS(wait_status));
    }
}
