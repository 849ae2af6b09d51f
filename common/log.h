/*
 * The log of the programs: one line an event on standard error, `LEVEL component: text`, no timestamps (the service
 * manager adds them). The client library never logs unless np_log_open was called by the program it lives in.
 */
#ifndef NP_LOG_H
#define NP_LOG_H

#include "common/netpool_status.h"

enum np_log_level { NP_LOG_ERROR, NP_LOG_WARNING, NP_LOG_INFO, NP_LOG_DEBUG, NP_LOG_OFF = -1 };

/* Lines up to `level` go to descriptor `fd` from now on; the initial level is NP_LOG_OFF. Call once, before threads.
 */
void np_log_open(int fd, enum np_log_level level);

/* Accepts "error", "warning", "info", "debug", "off". False when the name is none of these. */
int np_log_level_parse(const char *name, enum np_log_level *level);

/* Control characters are replaced, so a peer's words cannot forge a line. Thread-safe: one write(2) a line. */
void np_log(enum np_log_level level, const char *component, const char *format, ...) NETPOOL_PRINTF(3, 4);

/* For events that a hostile peer can repeat at will: at most 10 lines a second, then one line that counts the
 * rest. One such object a kind of event, zero-initialized, used by one thread. */
struct np_log_limit {
    long long window_start_ns;
    unsigned in_window;
    unsigned suppressed;
};
void np_log_limited(struct np_log_limit *limit, long long now_ns, enum np_log_level level, const char *component,
                    const char *format, ...) NETPOOL_PRINTF(5, 6);

#endif
