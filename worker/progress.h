/* How far the running calls say they are, on its way to the broker. */
#ifndef NP_PROGRESS_H
#define NP_PROGRESS_H

#include "transport/channel.h"
#include "worker/slots/executors.h"

/* Looks at what runs when executors.progress_at has come, sends what has changed since it was told last, and sets the
 * next time: PROGRESS_NS later as long as something changes, otherwise with the executors' next look at what is busy.
 * So nothing wakes up for functions that do not report. channel NULL: there is no link now. */
void progress_turn(struct executors *executors, struct channel *channel, int64_t now);

#endif
