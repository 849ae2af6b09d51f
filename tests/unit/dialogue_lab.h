/* A dialogue under test: what it sends is kept, what the broker would say is given to it, and what becomes of each
 * task is noted. */
#ifndef NP_DIALOGUE_LAB_H
#define NP_DIALOGUE_LAB_H

#include "client/dialogue/dialogue.h"
#include "tests/support/cmocka_all.h"

enum { LAB_TASKS_MAX = 10000, LAB_SENT_MAX = 256, LAB_RESULT_MAX = 128 };

struct lab_task {
    struct np_task task;
    int ended; /* how often `finished` was called */
    netpool_status status;
    unsigned attempt;
    uint64_t item; /* of the failure */
    size_t size;
    char result[LAB_RESULT_MAX];
    const char *reason;
    void *taken; /* body taken over */
    bool submit_again;
    int progressed; /* how often news came; only of tasks in a lane */
    uint64_t done;
    uint64_t total;
    struct lab *lab;
};

struct lab_sent {
    Np__Envelope *envelope; /* unpacked copy */
    uint8_t *body;          /* a block; a large body is the dialogue's own */
    size_t body_size;
    bool urgent;
};

struct lab {
    struct dialogue *dialogue;
    int64_t now;
    struct lab_sent sent[LAB_SENT_MAX]; /* since the last look */
    size_t sent_count;
    const void *given;     /* the body received last, which is a block */
    netpool_status output; /* what sending returns */
    size_t outputs_left;   /* sends that still succeed before `output` counts */
    struct lab_task *tasks;
    int statuses; /* Status messages seen */
};

void lab_init(struct lab *lab);
void lab_init_prepared(struct lab *lab, struct dialogue_preparation preparation); /* borrowed */
void lab_fini(struct lab *lab);

/* Connects and gives a WELCOME. */
struct lab_welcome {
    bool resumed;
    uint64_t received_seq;
    uint64_t credit_tasks;
    uint64_t credit_bytes;
    uint32_t version; /* 0: 1 */
};
netpool_status lab_welcome(struct lab *lab, struct lab_welcome welcome);
/* Connected, welcome, with credit for everything; nothing left in `sent`. */
void lab_open(struct lab *lab);

/* Submits the i-th task. */
void lab_submit(struct lab *lab, size_t i, const struct np_task_kind *kind, const void *input, size_t size);

/* With an empty input; its progress is noted. */
void lab_submit_in_lane(struct lab *lab, size_t i, const struct np_task_kind *kind, uint64_t lane);

/* Forgets what was sent before, flushes. Returns what the flush did. */
netpool_status lab_flush(struct lab *lab);
netpool_status lab_flush_room(struct lab *lab, size_t room);

/* The i-th message sent, which must be of that kind. */
const Np__Envelope *lab_sent(const struct lab *lab, size_t i, Np__Envelope__KindCase kind);

netpool_status lab_credit(struct lab *lab, uint64_t tasks, uint64_t bytes);

/* A result of one task. */
netpool_status lab_result(struct lab *lab, uint64_t seq, const char *text);
netpool_status lab_results(struct lab *lab, Np__Results *results, const void *body, size_t body_size);
netpool_status lab_progress(struct lab *lab, uint64_t seq, uint64_t done, uint64_t total);
netpool_status lab_receive(struct lab *lab, Np__Envelope *envelope, const void *body, size_t body_size);

#endif
