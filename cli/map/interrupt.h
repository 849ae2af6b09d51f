/* Ctrl-C and its like, noticed instead of died of, so that a pool can be taken down first. One per process. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

/* From now on the first SIGINT, SIGTERM or SIGHUP is only noted; the second one ends the process at once. SIGPIPE is
 * ignored: writing fails with EPIPE. Returns a descriptor that becomes readable with the first signal, -1 with errno.
 * Call it after a local pool was opened, so that its processes do not inherit this. */
int interrupt_catch(void);

/* The signal that came, or 0. */
int interrupt_signal(void);

/* Makes the descriptor readable without a signal. */
void interrupt_wake(void);

/* Ends the process by this signal, so that a shell sees what happened. */
_Noreturn void interrupt_die_of(int signal_number);

#endif
