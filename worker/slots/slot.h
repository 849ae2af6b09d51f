/*
 * One slot of the supervisor: an executor process as seen from outside, with its rings, what it was fed and not yet
 * answered, and the tail of what it printed. Nothing that the executor writes is believed: a number, size or position
 * that cannot be ends it, as a crash.
 *
 * The head of `fed` is the task that runs, or the next to run. The rest are ahead of it only to keep the executor
 * busy, and can be taken back at any time.
 *
 * A task whose session has an initializer that this executor has not called yet waits beside the ring while the
 * initializer runs as the head. So its own time begins when it starts itself, and cancelling it is answered at once:
 * the initializer is then told and killed as a task would be.
 */
#ifndef NP_SLOT_H
#define NP_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/reactor.h"
#include "worker/outbox.h"
#include "worker/slots/batch.h"
#include "worker/slots/share.h"
#include "worker/slots/tail.h"
#include "worker/zygote/zygote.h"

struct executors;

enum slot_state {
    SLOT_EMPTY,    /* nothing there; starts again at rest_until */
    SLOT_STARTING, /* the zygote was asked for an executor; tasks may be fed already */
    SLOT_LIVE,
    SLOT_DYING /* the zygote was asked to kill it */
};

/* A block for a large result that the executor has, or may take. */
struct slot_grant {
    uint8_t *block; /* NULL: none */
    uint64_t word;  /* as the executor is told */
};

struct slot {
    struct executors *executors;
    unsigned index;
    enum slot_state state;
    uint32_t pid;      /* 0 before the zygote has told it */
    uint64_t executor; /* serial number of the process, whether it lives or not */
    struct share *share;
    struct ring tasks;
    struct ring results;
    struct reactor_source bell;
    struct reactor_source output;

    struct np_list fed; /* struct task, in the order of their numbers */
    uint32_t fed_count;
    uint32_t next_number; /* of the next record */
    uint32_t started;     /* claims as last seen */
    int64_t ahead_ns;     /* estimates of all of fed */
    int64_t head_since;   /* the head cannot have started before this */
    int64_t deadline;     /* when slot_check has something to do, NP_NEVER */
    int64_t cancel_at;    /* the cancelled head is killed then, NP_NEVER */

    struct task *waiting; /* for the initializer that is the head; NULL: none */
    uint32_t given;       /* tasks fed to this executor and not taken back */
    uint32_t answered;    /* of them */

    uint64_t seen_done;  /* progress of the head as last told to the broker */
    uint64_t seen_total; /* likewise */

    struct task *writing; /* whose payload is still on its way into the ring; NULL: taken back, or none is */
    size_t written;       /* bytes of it, of */
    size_t write_size;    /* padded; 0: nothing is being written */

    struct result_record record; /* of the result whose body is coming in */
    bool has_record;
    uint8_t *incoming; /* a body of more than 64 KiB */
    size_t filled;
    struct np_heap *heap; /* for large payloads, shared with the executor; NULL: they go through the rings */
    struct slot_grant grants[SHARE_GRANTS];
    bool has_granted; /* some of them, since the last review */

    netpool_status end_status; /* why we kill it: DEADLINE, CANCELLED, CRASHED (nonsense), CLOSED (it has retired);
                                  OK: we do not */
    bool is_ready;             /* in the list of slots to look at */
    bool is_retiring;          /* has done as many tasks as it may: replaced as soon as nothing runs */
    bool is_stalled;           /* has results for which the outbox has no room */
    unsigned failed_starts;    /* in a row */
    int64_t rest_until;        /* SLOT_EMPTY */
    struct np_list ready_node;
    struct tail tail;
};

/* NULL when nothing is fed. */
static inline struct task *slot_head(const struct slot *slot)
{
    return np_list_is_empty(&slot->fed) ? NULL : NP_CONTAINER(slot->fed.next, struct task, node);
}

void slot_init(struct slot *slot, struct executors *executors, unsigned index);

/* Frees what the slot holds; its tasks must have been taken. */
void slot_fini(struct slot *slot);

/* Asks the zygote for an executor. On failure the slot rests for a while. */
void slot_start(struct slot *slot, int64_t now);

/* Gives the executor a task; false when there is no room now. One that is not idle sees it with slot_show_fed. */
bool slot_feed(struct slot *slot, struct task *task, int64_t now);
void slot_show_fed(struct slot *slot);

/* Moves the payload on its way as far as there is room. */
void slot_write_on(struct slot *slot);

/* The fed task has not started: back into the queue with it; an initializer is dropped. */
void slot_unfeed(struct slot *slot, struct task *task);

/* Takes results, moves what is on its way, arms the bell. */
void slot_turn(struct slot *slot, int64_t now);

/* Takes back what has not started and puts it at the front of the executors' queue. What waits for an initializer
 * comes back, too, though the initializer goes on. */
void slot_take_back(struct slot *slot);

/* Has the head started? */
bool slot_is_running(struct slot *slot);

/* Tells the running head that nobody wants its result; kills it at `kill_at`. The rest was taken back. */
void slot_cancel_head(struct slot *slot, int64_t kill_at);

/* Ends the executor; its head, if it runs then, ends with `status`. */
void slot_kill(struct slot *slot, netpool_status status, int64_t now);

/* Deadlines. */
void slot_check(struct slot *slot, int64_t now);

/* The zygote's news. */
void slot_forked(struct slot *slot, uint32_t pid);
void slot_fork_failed(struct slot *slot, int error, int64_t now);
void slot_exited(struct slot *slot, int wait_status, int64_t now);

#endif
