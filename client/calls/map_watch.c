#include "client/calls/map_watch.h"

#include "common/clock.h"
#include "common/list.h"

#define INTERVAL_NS (100 * NP_NS_PER_MS) /* between reports */

static void run_look(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    (void)dialogue;
    (void)now;
    struct map_watch *watch = NP_CONTAINER(request, struct map_watch, request);
    watch->seen = watch->look(watch);
    event_signal(&watch->looked);
}

static void report(struct map_watch *watch, double done)
{
    watch->reported = done < (double)watch->count ? (uint64_t)done : watch->count;
    watch->report(watch->reported, watch->count, watch->context);
}

/* What runs is the leader's to look at. */
static void report_now(struct map_watch *watch)
{
    uint32_t ticket = event_ticket(&watch->looked);
    watch->request.run = run_look;
    if (!engine_post(watch->engine, &watch->request)) {
        return; /* the pool has been closed, and the end is near */
    }
    (void)engine_wait(watch->engine, &watch->looked, ticket, NP_NEVER, true);
    if ((uint64_t)watch->seen != watch->reported) {
        report(watch, watch->seen);
    }
}

void map_watch_wait(struct map_watch *watch, struct event *done)
{
    bool reports = watch->report != NULL;
    while (!engine_wait(watch->engine, done, 0, reports ? np_clock_now() + INTERVAL_NS : NP_NEVER, true)) {
        report_now(watch);
    }
    if (reports) {
        report(watch, watch->look(watch));
    }
}
