/* The three state machines: each table walked cell by cell, against the core's behaviour and against PROTOCOL.md. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/core_rig.h"

enum { CLIENT = 1 };

/* Cells of a table row without the blanks around them. Returns their number. */
static size_t split(char *line, char **cells, size_t most)
{
    size_t count = 0;
    for (char *cell = strtok(line, "|"); cell != NULL && count < most; cell = strtok(NULL, "|")) {
        while (isspace((unsigned char)*cell)) {
            cell++;
        }
        char *end = cell + strlen(cell);
        while (end > cell && isspace((unsigned char)end[-1])) {
            *--end = '\0';
        }
        if (*cell != '\0') {
            cells[count++] = cell;
        }
    }
    return count;
}

static void task_table_is_the_one_printed_in_protocol_md(void **state)
{
    (void)state;
    FILE *file = fopen(PROTOCOL_MD, "r");
    assert_non_null(file);
    char line[1024];
    bool is_found = false;
    while (!is_found && fgets(line, sizeof line, file) != NULL) {
        is_found = strncmp(line, "| state | on assign |", 21) == 0;
    }
    assert_true(is_found);
    char *cells[TASK_EVENTS + 2];
    assert_int_equal(split(line, cells, TASK_EVENTS + 2), TASK_EVENTS + 1);
    for (int event = 0; event < TASK_EVENTS; event++) {
        assert_string_equal(cells[event + 1], task_event_name((enum task_event)event));
    }
    assert_non_null(fgets(line, sizeof line, file)); /* the rule below the head */
    for (int row = 0; row < TASK_STATES; row++) {
        assert_non_null(fgets(line, sizeof line, file));
        assert_int_equal(split(line, cells, TASK_EVENTS + 2), TASK_EVENTS + 1);
        assert_string_equal(cells[0], task_state_name((enum task_state)row));
        for (int event = 0; event < TASK_EVENTS; event++) {
            assert_string_equal(cells[event + 1],
                                task_rule_text(task_rule((enum task_state)row, (enum task_event)event)));
        }
    }
    assert_non_null(fgets(line, sizeof line, file));
    assert_true(line[0] != '|'); /* no state more than the code has */
    fclose(file);
}

/* A rig whose client has task 1 in the state asked for; a worker is there, or joining while the broker recovers. */
struct scene {
    struct rig *rig;
    uint64_t client;
    uint64_t worker;
};

static struct scene in_state(enum task_state wanted)
{
    struct core_config config = {.recovery_ns = wanted == TASK_RECOVERING ? NP_NS_PER_S : -1};
    struct scene scene = {.rig = rig_new(&config)};
    scene.client = rig_client(scene.rig, CLIENT, wanted == TASK_RECOVERING);
    scene.worker = wanted == TASK_RECOVERING || wanted == TASK_QUEUED ? rig_joining_worker(scene.rig, 2, 1, "f")
                                                                      : rig_worker(scene.rig, 2, 1, "f");
    rig_submit(scene.rig, scene.client,
               (struct rig_task){.function = "f",
                                 .first = 1,
                                 .count = 1,
                                 .size = 8,
                                 .expiry_ms = 100,
                                 .resumed = wanted == TASK_RECOVERING});
    rig_flush(scene.rig);
    if (wanted == TASK_CANCELLING) {
        rig_cancel(scene.rig, scene.client, 1);
    } else if (wanted == TASK_FINISHED) {
        rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1});
    }
    assert_int_equal(rig_task_of(scene.rig, CLIENT, 1)->state, wanted);
    return scene;
}

static void happen(struct scene *scene, enum task_event event)
{
    struct rig *rig = scene->rig;
    switch (event) {
    case TASK_ASSIGN:
        rig_say(rig, scene->worker, NP__ENVELOPE__KIND_READY);
        rig_flush(rig);
        break;
    case TASK_RESULT:
        rig_result(rig, scene->worker, (struct rig_result){.session = CLIENT, .seq = 1});
        break;
    case TASK_LOST:
        rig_disconnect(rig, scene->worker, false);
        break;
    case TASK_RETURN:
        rig_returned(rig, scene->worker, CLIENT, 1, 1, false);
        break;
    case TASK_CANCEL:
        rig_cancel(rig, scene->client, 1);
        break;
    case TASK_EXPIRE:
        rig->now += 100 * NP_NS_PER_MS;
        core_tick(rig->core, rig->now);
        break;
    case TASK_HOLD:
        if (rig_task_of(rig, CLIENT, 1)->state >= TASK_LEASED) {
            scene->worker = rig_joining_worker(rig, 3, 1, "f");
        }
        rig_held(rig, scene->worker, CLIENT, 3, 1, 1);
        break;
    case TASK_RECOVER:
        rig->now += NP_NS_PER_S;
        core_tick(rig->core, rig->now);
        break;
    case TASK_UNSERVED:
        rig_disconnect(rig, scene->worker, false);
        rig_worker(rig, 4, 1, "g");
        break;
    case TASK_CANCEL_UNSTARTED:
        rig_cancel_unstarted(rig, scene->client, 1);
        break;
    case TASK_BREAK:
        prepare_failed(rig->core, rig_task_of(rig, CLIENT, 1)->session, "no licence");
        break;
    }
}

/* What the rule says happened? */
static void assert_followed(const struct scene *scene, enum task_state before, enum task_rule rule)
{
    const struct task *task = rig_task_of(scene->rig, CLIENT, 1);
    assert_non_null(task);
    switch (rule) {
    case TASK_IGNORED:
    case TASK_DROPPED:
    case TASK_NEVER:
        assert_int_equal(task->state, before);
        break;
    case TASK_MARKED:
        assert_int_equal(task->state, before);
        assert_true(task->is_unwanted);
        break;
    case TASK_TO_LEASED:
        assert_int_equal(task->state, TASK_LEASED);
        break;
    case TASK_TO_QUEUED:
        assert_int_equal(task->state, TASK_QUEUED);
        break;
    case TASK_TO_CANCELLING:
        assert_int_equal(task->state, TASK_CANCELLING);
        break;
    case TASK_TO_FINISHED:
        assert_int_equal(task->state, TASK_FINISHED);
        break;
    case TASK_TO_FINISHED_CANCELLED:
        assert_int_equal(task->state, TASK_FINISHED);
        assert_int_equal(task->status, NETPOOL_CANCELLED);
        break;
    case TASK_TO_FINISHED_DEADLINE:
        assert_int_equal(task->state, TASK_FINISHED);
        assert_int_equal(task->status, NETPOOL_DEADLINE);
        break;
    case TASK_TO_QUEUED_OR_FINISHED:
        assert_true(task->state == TASK_QUEUED || task->state == TASK_FINISHED);
        break;
    }
}

static void each_task_state_meets_each_event_as_the_table_says(void **state)
{
    (void)state;
    for (int from = 0; from < TASK_STATES; from++) {
        for (int event = 0; event < TASK_EVENTS; event++) {
            enum task_rule rule = task_rule((enum task_state)from, (enum task_event)event);
            if (rule == TASK_NEVER) {
                continue; /* no message or time can bring it about; task_move would assert */
            }
            struct scene scene = in_state((enum task_state)from);
            happen(&scene, (enum task_event)event);
            assert_followed(&scene, (enum task_state)from, rule);
            rig_free(scene.rig);
        }
    }
}

static void each_worker_state_meets_each_event_as_the_table_says(void **state)
{
    (void)state;
    static const Np__Envelope__KindCase kinds[] = {[WORKER_HELD] = NP__ENVELOPE__KIND_HELD,
                                                   [WORKER_SAYS_READY] = NP__ENVELOPE__KIND_READY,
                                                   [WORKER_RESULTS] = NP__ENVELOPE__KIND_RESULTS,
                                                   [WORKER_RETURNED] = NP__ENVELOPE__KIND_RETURNED,
                                                   [WORKER_DRAIN] = NP__ENVELOPE__KIND_DRAIN};
    for (int from = WORKER_JOINING; from < WORKER_GONE; from++) {
        for (int event = 0; event < WORKER_EVENTS; event++) {
            struct rig *rig = rig_new(NULL);
            uint64_t worker = rig_joining_worker(rig, 2, 1, "f");
            if (from != WORKER_JOINING) {
                rig_say(rig, worker, from == WORKER_READY ? NP__ENVELOPE__KIND_READY : NP__ENVELOPE__KIND_DRAIN);
            }
            struct peer *peer = np_table_find(&rig->core->peers, worker);
            assert_int_equal(peer->worker->state, from);
            int next = worker_next((enum worker_state)from, (enum worker_event)event);
            if (event == WORKER_LOST) {
                assert_int_equal(next, WORKER_GONE);
                rig_disconnect(rig, worker, false);
                assert_int_equal(rig_stats(rig).workers, 0);
            } else if (event == WORKER_HELD) {
                rig_held(rig, worker, 9, 3, 1, 1);
            } else if (event == WORKER_RESULTS) {
                rig_result(rig, worker, (struct rig_result){.session = 9, .seq = 1});
            } else if (event == WORKER_RETURNED) {
                rig_returned(rig, worker, 9, 1, 1, false);
            } else {
                rig_say(rig, worker, kinds[event]);
            }
            if (event != WORKER_LOST && next < 0) {
                assert_closed(rig, worker, NETPOOL_PROTOCOL);
                assert_non_null(strstr(rig->closed_reason, np_message_kind_name(kinds[event])));
            } else if (event != WORKER_LOST) {
                assert_int_equal(peer->worker->state, next);
            }
            rig_free(rig);
        }
    }
}

static void nothing_is_allowed_for_a_worker_that_is_gone(void **state)
{
    (void)state;
    for (int event = 0; event < WORKER_EVENTS; event++) {
        assert_int_equal(worker_next(WORKER_GONE, (enum worker_event)event), -1);
    }
}

static void each_peer_state_meets_each_event_as_the_table_says(void **state)
{
    (void)state;
    for (int from = PEER_NEW; from <= PEER_CLOSING; from++) {
        for (int event = 0; event < PEER_EVENTS; event++) {
            enum peer_rule rule = peer_rule((enum peer_state)from, (enum peer_event)event);
            if (rule == PEER_NEVER) {
                continue;
            }
            struct rig *rig = rig_new(NULL);
            uint64_t id = 77;
            core_connect(rig->core, id, &(struct core_peer){.name = "", .address = "rig"}, rig->now);
            Np__Hello hello = rig_hello_of(NP__ROLE__CLIENT, 1);
            Np__Envelope envelope = NP__ENVELOPE__INIT;
            envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
            envelope.hello = &hello;
            if (from == PEER_OPEN) {
                rig_give(rig, id, &envelope, NULL, 0);
            } else if (from == PEER_CLOSING) {
                core_shutdown(rig->core, "test", rig->now);
            }
            struct peer *peer = np_table_find(&rig->core->peers, id);
            assert_int_equal(peer->state, from);
            if (event == PEER_HELLO) {
                rig_give(rig, id, &envelope, NULL, 0);
            } else if (event == PEER_MESSAGE) {
                rig_say(rig, id, NP__ENVELOPE__KIND_STATUS_REQUEST);
            } else if (event == PEER_HELLO_LATE) {
                rig->now += NP_HELLO_TIMEOUT_MS * NP_NS_PER_MS;
                assert_int_equal(core_deadline(rig->core), rig->now);
                core_tick(rig->core, rig->now);
            } else if (event == PEER_CLOSE) {
                core_shutdown(rig->core, "test", rig->now);
            } else {
                rig_disconnect(rig, id, false);
            }
            peer = np_table_find(&rig->core->peers, id);
            switch (rule) {
            case PEER_TO_GONE:
                assert_null(peer);
                break;
            case PEER_TO_OPEN:
            case PEER_STAYS:
                assert_int_equal(peer->state, PEER_OPEN);
                break;
            case PEER_FAULT:
                assert_closed(rig, id, NETPOOL_PROTOCOL);
                break;
            case PEER_TO_CLOSING:
            case PEER_IGNORED:
            case PEER_NEVER:
                assert_int_equal(peer->state, PEER_CLOSING);
                break;
            }
            rig_free(rig);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(task_table_is_the_one_printed_in_protocol_md),
        cmocka_unit_test(each_task_state_meets_each_event_as_the_table_says),
        cmocka_unit_test(each_worker_state_meets_each_event_as_the_table_says),
        cmocka_unit_test(nothing_is_allowed_for_a_worker_that_is_gone),
        cmocka_unit_test(each_peer_state_meets_each_event_as_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
