/*
 * Crashed tasks whose failure waits for the text of its stack. Each has its turn with a symbolizer (symbolizer.h),
 * one at a time, and goes out without a stack when that takes too long or too many wait; the slot itself has a new
 * executor meanwhile. Crashes at a place seen before, or looked into right now, get the same text, so that a storm of
 * them costs little.
 */
#ifndef NP_POSTMORTEM_H
#define NP_POSTMORTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/reactor.h"
#include "worker/crash/crash.h"
#include "worker/outbox.h"
#include "worker/zygote/zygote.h"

#define POSTMORTEMS_MAX 1024    /* crashes that wait */
#define POSTMORTEM_DUMPS_MAX 32 /* of different places: what they left behind is kept */

struct known_stack;

struct postmortems {
    struct reactor *reactor;
    struct zygote *zygote;
    struct outbox *outbox;
    struct np_list waiting; /* struct postmortem; the first one has the symbolizer */
    unsigned count;
    unsigned dumps;            /* of them, that need a symbolizer */
    struct known_stack *known; /* NULL before the first crash */
    unsigned next_known;       /* to be replaced */
};

void postmortems_init(struct postmortems *list, struct reactor *reactor, struct zygote *zygote,
                      struct outbox *outbox);

/* Releases what waits, unanswered. */
void postmortems_fini(struct postmortems *list);

/* A task ended by a signal, as `result` with its failure tells, and its executor left `dump`. True: the task is taken
 * and answered later; texts are copied. False: the caller answers, with failure->stack if that is set (borrowed until
 * the next call). */
bool postmortems_take(struct postmortems *list, struct crash_dump *dump, struct outbox_result *result,
                      struct outbox_failure *failure, int64_t now);

/* Those of the tasks that wait and are wanted no more end as cancelled at once. */
void postmortems_cancel(struct postmortems *list, bool (*is_selected)(const void *context, const struct task *task),
                        const void *context);

/* Adds the tasks to the roll. */
void postmortems_report(const struct postmortems *list, struct roll *roll);

/* Answers what is finished or overdue. */
void postmortems_turn(struct postmortems *list, int64_t now);
int64_t postmortems_deadline(const struct postmortems *list);

#endif
