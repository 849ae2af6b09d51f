/* Frames and messages: sizes before memory, caps, budgets, and who may send what. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"
#include "proto/message.h"
#include "tests/support/cmocka_all.h"

static void b18_length_prefixes_are_judged_from_eight_bytes(void **state)
{
    (void)state;
    static const struct {
        uint32_t header_size;
        uint32_t body_size;
        netpool_status status;
    } cases[] = {
        {1, 0, NETPOOL_OK},
        {NP_FRAME_HEADER_MAX, NP_FRAME_BODY_MAX, NETPOOL_OK},
        {0, 0, NETPOOL_PROTOCOL},
        {0, 10, NETPOOL_PROTOCOL},
        {NP_FRAME_HEADER_MAX + 1, 0, NETPOOL_PROTOCOL},
        {1, NP_FRAME_BODY_MAX + 1, NETPOOL_PROTOCOL},
        {UINT32_MAX, UINT32_MAX, NETPOOL_PROTOCOL},
        {1, UINT32_MAX, NETPOOL_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t prefix[NP_FRAME_PREFIX_SIZE];
        np_frame_prefix(prefix, cases[i].header_size, cases[i].body_size);
        struct np_frame frame;
        size_t frame_size = 99;
        assert_int_equal(np_frame_parse(prefix, sizeof prefix, &frame, &frame_size, NULL), cases[i].status);
        if (cases[i].status == NETPOOL_OK) {
            assert_int_equal(frame_size, 0);
        }
    }
}

static void b19_a_frame_is_whole_only_with_its_last_byte(void **state)
{
    (void)state;
    uint8_t data[NP_FRAME_PREFIX_SIZE + 5 + 7 + 3] = {0};
    np_frame_prefix(data, 5, 7);
    for (size_t size = 0; size <= sizeof data; size++) {
        struct np_frame frame = {0};
        size_t frame_size;
        assert_int_equal(np_frame_parse(data, size, &frame, &frame_size, NULL), NETPOOL_OK);
        bool whole = size >= NP_FRAME_PREFIX_SIZE + 12;
        assert_int_equal(frame_size, whole ? NP_FRAME_PREFIX_SIZE + 12 : 0);
        if (whole) {
            assert_ptr_equal(frame.body, data + NP_FRAME_PREFIX_SIZE + 5);
        }
    }
}

static netpool_status decode(const uint8_t *header, size_t size, struct np_arena *arena,
                             const Np__Envelope **envelope)
{
    struct np_frame frame = {.header = header, .header_size = size};
    return np_message_decode(&frame, arena, envelope, NULL);
}

static void b22_empty_submessages_do_not_amplify_past_the_budget(void **state)
{
    (void)state;
    /* Envelope.status (18) holding WorkerStatus (13), each empty: two bytes on the wire, a struct in memory. */
    size_t count = 60000;
    uint8_t *bytes = malloc(2 * count + 16);
    size_t at = 0;
    bytes[at++] = ((18 << 3 | 2) & 0x7f) | 0x80;
    bytes[at++] = (18 << 3 | 2) >> 7;
    size_t inner = 2 * count;
    bytes[at++] = (uint8_t)((inner & 0x7f) | 0x80);
    bytes[at++] = (uint8_t)((inner >> 7 & 0x7f) | 0x80);
    bytes[at++] = (uint8_t)(inner >> 14);
    for (size_t i = 0; i < count; i++) {
        bytes[at++] = 13 << 3 | 2;
        bytes[at++] = 0;
    }
    struct np_arena arena = {0};
    const Np__Envelope *envelope;
    assert_int_equal(decode(bytes, at, &arena, &envelope), NETPOOL_PROTOCOL);
    assert_true(arena.used <= NP_ARENA_FACTOR * at + NP_ARENA_BASE);
    np_arena_fini(&arena);
    free(bytes);
}

static void b22_unknown_fields_and_kinds_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[3 * 40];
    for (size_t i = 0; i < sizeof bytes; i += 3) {
        bytes[i] = 0xF8; /* field 47, varint */
        bytes[i + 1] = 0x02;
        bytes[i + 2] = 1;
    }
    struct np_arena arena = {0};
    const Np__Envelope *envelope;
    assert_int_equal(decode(bytes, sizeof bytes, &arena, &envelope), NETPOOL_PROTOCOL);
    assert_int_equal(decode(bytes, 3, &arena, &envelope), NETPOOL_PROTOCOL);
    np_arena_fini(&arena);
}

static uint64_t three_seqs[] = {4, 5, 9};
static uint32_t three_sizes[] = {16, 0, 8};

static Np__Submit valid_submit(void)
{
    Np__Submit submit = NP__SUBMIT__INIT;
    submit.function = (char *)(uintptr_t) "echo";
    submit.seqs = three_seqs;
    submit.n_seqs = 3;
    submit.sizes = three_sizes;
    submit.n_sizes = 3;
    return submit;
}

static netpool_status check_submit(Np__Submit *submit, size_t body_size)
{
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = submit;
    netpool_error error = {0};
    netpool_status status = np_message_check(&envelope, body_size, &error);
    assert_int_equal(status != NETPOOL_OK, strstr(error.message, "malformed submit message: ") != NULL);
    return status;
}

static void columns_that_disagree_are_refused(void **state)
{
    (void)state;
    Np__Submit submit = valid_submit();
    assert_int_equal(check_submit(&submit, 24), NETPOOL_OK);
    assert_int_equal(check_submit(&submit, 23), NETPOOL_PROTOCOL);
    assert_int_equal(check_submit(&submit, 25), NETPOOL_PROTOCOL);
    submit.n_sizes = 2;
    assert_int_equal(check_submit(&submit, 16), NETPOOL_PROTOCOL);
    submit = valid_submit();
    submit.n_seqs = submit.n_sizes = 0;
    assert_int_equal(check_submit(&submit, 0), NETPOOL_PROTOCOL);
    submit = valid_submit();
    submit.item_in_size = 8;
    assert_int_equal(check_submit(&submit, 24), NETPOOL_OK);
    submit.item_in_size = 7;
    assert_int_equal(check_submit(&submit, 24), NETPOOL_PROTOCOL);
    submit = valid_submit();
    uint64_t descending[] = {4, 4, 9};
    submit.seqs = descending;
    assert_int_equal(check_submit(&submit, 24), NETPOOL_PROTOCOL);
    descending[0] = 0;
    assert_int_equal(check_submit(&submit, 24), NETPOOL_PROTOCOL);
    static const char *const names[] = {"", "two words", "tab\t", "caf\xc3\xa9"};
    for (size_t i = 0; i < 4; i++) {
        submit = valid_submit();
        submit.function = (char *)(uintptr_t)names[i];
        assert_int_equal(check_submit(&submit, 24), NETPOOL_PROTOCOL);
    }
}

static void sizes_near_the_top_of_their_type_do_not_wrap(void **state)
{
    (void)state;
    Np__Submit submit = valid_submit();
    uint32_t sizes[] = {UINT32_MAX, UINT32_MAX, 2};
    submit.sizes = sizes;
    assert_int_equal(check_submit(&submit, 0), NETPOOL_PROTOCOL);
    assert_int_equal(check_submit(&submit, 2 * (size_t)UINT32_MAX + 2), NETPOOL_OK);
}

static void a22_a_lane_stands_for_each_task_or_for_none(void **state)
{
    (void)state;
    uint64_t lanes[] = {7, 0, UINT64_MAX};
    Np__Submit submit = valid_submit();
    submit.lanes = lanes;
    submit.n_lanes = 3;
    assert_int_equal(check_submit(&submit, 24), NETPOOL_OK);
    submit.n_lanes = 2;
    assert_int_equal(check_submit(&submit, 24), NETPOOL_PROTOCOL);
}

static void what_a_task_requires_is_bounded(void **state)
{
    (void)state;
    char *labels[NP_REQUIRED_MAX + 1];
    for (size_t i = 0; i < NP_REQUIRED_MAX + 1; i++) {
        labels[i] = (char *)(uintptr_t) "gpu=1";
    }
    Np__Submit submit = valid_submit();
    submit.labels = labels;
    submit.n_labels = NP_REQUIRED_MAX;
    submit.slots = NP_SLOTS_MAX;
    submit.retry_delay_ms = UINT32_MAX;
    assert_int_equal(check_submit(&submit, 24), NETPOOL_OK);
    submit.n_labels = NP_REQUIRED_MAX + 1;
    assert_int_equal(check_submit(&submit, 24), NETPOOL_PROTOCOL);
    submit.n_labels = 1;
    submit.slots = NP_SLOTS_MAX + 1;
    assert_int_equal(check_submit(&submit, 24), NETPOOL_PROTOCOL);
    submit.slots = 1;
    labels[0] = (char *)(uintptr_t) "two words";
    assert_int_equal(check_submit(&submit, 24), NETPOOL_PROTOCOL);
    labels[0] = (char *)(uintptr_t) "";
    assert_int_equal(check_submit(&submit, 24), NETPOOL_PROTOCOL);
}

static uint8_t session[NP_SESSION_SIZE] = "a session of 16";

/* The envelope's message of that kind, whatever it is. */
static netpool_status check_message(Np__Envelope__KindCase kind, void *message, size_t body_size, uint64_t large_body)
{
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = kind;
    envelope.prepare = message; /* a union of pointers */
    envelope.large_body = large_body;
    return np_message_check(&envelope, body_size, NULL);
}

static netpool_status check_prepare(Np__Prepare *prepare, size_t body_size)
{
    return check_message(NP__ENVELOPE__KIND_PREPARE, prepare, body_size, 0);
}

static void a9_an_initializer_has_a_name_and_a_bounded_input(void **state)
{
    (void)state;
    Np__Prepare prepare = NP__PREPARE__INIT;
    assert_int_equal(check_prepare(&prepare, 0), NETPOOL_OK); /* forget the session */
    prepare.initializer = (char *)(uintptr_t) "open_database";
    assert_int_equal(check_prepare(&prepare, NP_PREPARE_MAX), NETPOOL_OK);
    assert_int_equal(check_prepare(&prepare, NP_PREPARE_MAX + 1), NETPOOL_PROTOCOL);
    assert_int_equal(check_message(NP__ENVELOPE__KIND_PREPARE, &prepare, 0, NP_PREPARE_MAX + 1), NETPOOL_PROTOCOL);
    prepare.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = session};
    assert_int_equal(check_prepare(&prepare, 0), NETPOOL_OK);
    prepare.session.len = NP_SESSION_SIZE - 1;
    assert_int_equal(check_prepare(&prepare, 0), NETPOOL_PROTOCOL);
    prepare.session.len = 0;
    char longest[NP_NAME_MAX + 2] = {0};
    memset(longest, 'x', NP_NAME_MAX);
    prepare.initializer = longest;
    assert_int_equal(check_prepare(&prepare, 0), NETPOOL_OK);
    longest[NP_NAME_MAX] = 'x';
    assert_int_equal(check_prepare(&prepare, 0), NETPOOL_PROTOCOL);
    prepare.initializer = (char *)(uintptr_t) "two words";
    assert_int_equal(check_prepare(&prepare, 0), NETPOOL_PROTOCOL);
}

static netpool_status check_progress(Np__Progress *progress, size_t body_size)
{
    return check_message(NP__ENVELOPE__KIND_PROGRESS, progress, body_size, 0);
}

static void a24_progress_has_both_values_of_each_task_and_no_body(void **state)
{
    (void)state;
    static uint64_t values[NP_BATCH_TASKS_MAX + 1];
    Np__Progress valid = NP__PROGRESS__INIT;
    valid.seqs = valid.done = valid.total = values;
    valid.n_seqs = valid.n_done = valid.n_total = NP_BATCH_TASKS_MAX;
    Np__Progress progress = valid;
    assert_int_equal(check_progress(&progress, 0), NETPOOL_OK);
    assert_int_equal(check_progress(&progress, 1), NETPOOL_PROTOCOL);
    assert_int_equal(check_message(NP__ENVELOPE__KIND_PROGRESS, &progress, 0, 1), NETPOOL_PROTOCOL);
    progress.n_done--;
    assert_int_equal(check_progress(&progress, 0), NETPOOL_PROTOCOL);
    progress = valid;
    progress.n_total = 0;
    assert_int_equal(check_progress(&progress, 0), NETPOOL_PROTOCOL);
    progress = valid;
    progress.n_seqs = progress.n_done = progress.n_total = 0;
    assert_int_equal(check_progress(&progress, 0), NETPOOL_PROTOCOL);
    progress.n_seqs = progress.n_done = progress.n_total = NP_BATCH_TASKS_MAX + 1;
    assert_int_equal(check_progress(&progress, 0), NETPOOL_PROTOCOL);
    progress = valid;
    progress.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = session};
    assert_int_equal(check_progress(&progress, 0), NETPOOL_OK);
    progress.session.len = 1;
    assert_int_equal(check_progress(&progress, 0), NETPOOL_PROTOCOL);
}

static void a15_tasks_are_withdrawn_by_number_or_by_count(void **state)
{
    (void)state;
    Np__Withdraw withdraw = NP__WITHDRAW__INIT;
    withdraw.count = 3;
    assert_int_equal(check_message(NP__ENVELOPE__KIND_WITHDRAW, &withdraw, 0, 0), NETPOOL_OK);
    withdraw.unstarted_only = true; /* what is taken back never has started */
    assert_int_equal(check_message(NP__ENVELOPE__KIND_WITHDRAW, &withdraw, 0, 0), NETPOOL_PROTOCOL);
    withdraw.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = session};
    withdraw.seqs = three_seqs;
    withdraw.n_seqs = 3;
    assert_int_equal(check_message(NP__ENVELOPE__KIND_WITHDRAW, &withdraw, 0, 0), NETPOOL_PROTOCOL);
    withdraw.count = 0;
    assert_int_equal(check_message(NP__ENVELOPE__KIND_WITHDRAW, &withdraw, 0, 0), NETPOOL_OK);
    withdraw.session.len = 0;
    assert_int_equal(check_message(NP__ENVELOPE__KIND_WITHDRAW, &withdraw, 0, 0), NETPOOL_PROTOCOL);
    Np__Cancel cancel = NP__CANCEL__INIT;
    cancel.unstarted_only = true;
    assert_int_equal(check_message(NP__ENVELOPE__KIND_CANCEL, &cancel, 0, 0), NETPOOL_PROTOCOL);
    cancel.seqs = three_seqs;
    cancel.n_seqs = 3;
    assert_int_equal(check_message(NP__ENVELOPE__KIND_CANCEL, &cancel, 0, 0), NETPOOL_OK);
}

static void a13_a_failure_of_any_text_is_bounded(void **state)
{
    (void)state;
    uint32_t statuses[] = {NETPOOL_OK, NETPOOL_CRASHED, NETPOOL_OK};
    uint64_t waits[] = {1, 2, 3};
    char stack[NP_STACK_MAX + 2] = {0};
    memset(stack, 's', NP_STACK_MAX);
    Np__Failure failure = NP__FAILURE__INIT;
    failure.index = 1;
    failure.stack = stack;
    Np__Failure *failures[] = {&failure};
    Np__Results results = NP__RESULTS__INIT;
    results.seqs = three_seqs;
    results.sizes = three_sizes;
    results.statuses = statuses;
    results.wait_ns = waits;
    results.n_seqs = results.n_sizes = results.n_statuses = results.n_wait_ns = 3;
    results.failures = failures;
    results.n_failures = 1;
    assert_int_equal(check_message(NP__ENVELOPE__KIND_RESULTS, &results, 24, 0), NETPOOL_OK);
    stack[NP_STACK_MAX] = 's';
    assert_int_equal(check_message(NP__ENVELOPE__KIND_RESULTS, &results, 24, 0), NETPOOL_PROTOCOL);
    stack[0] = '\0';
    failure.index = 3;
    assert_int_equal(check_message(NP__ENVELOPE__KIND_RESULTS, &results, 24, 0), NETPOOL_PROTOCOL);
    failure.index = 2;
    results.n_wait_ns = 2;
    assert_int_equal(check_message(NP__ENVELOPE__KIND_RESULTS, &results, 24, 0), NETPOOL_PROTOCOL);
}

/* The kinds by their names in PROTOCOL.md. */
static const struct {
    const char *name;
    Np__Envelope__KindCase kind;
} documented[] = {
    {"Hello", NP__ENVELOPE__KIND_HELLO},
    {"Welcome", NP__ENVELOPE__KIND_WELCOME},
    {"Goodbye", NP__ENVELOPE__KIND_GOODBYE},
    {"Heartbeat", NP__ENVELOPE__KIND_HEARTBEAT},
    {"Chunk", NP__ENVELOPE__KIND_CHUNK},
    {"Credit", NP__ENVELOPE__KIND_CREDIT},
    {"Submit", NP__ENVELOPE__KIND_SUBMIT},
    {"Cancel", NP__ENVELOPE__KIND_CANCEL},
    {"Acknowledge", NP__ENVELOPE__KIND_ACKNOWLEDGE},
    {"Results", NP__ENVELOPE__KIND_RESULTS},
    {"Assign", NP__ENVELOPE__KIND_ASSIGN},
    {"Withdraw", NP__ENVELOPE__KIND_WITHDRAW},
    {"Returned", NP__ENVELOPE__KIND_RETURNED},
    {"Held", NP__ENVELOPE__KIND_HELD},
    {"Ready", NP__ENVELOPE__KIND_READY},
    {"Drain", NP__ENVELOPE__KIND_DRAIN},
    {"StatusRequest", NP__ENVELOPE__KIND_STATUS_REQUEST},
    {"Status", NP__ENVELOPE__KIND_STATUS},
    {"Progress", NP__ENVELOPE__KIND_PROGRESS},
    {"Prepare", NP__ENVELOPE__KIND_PREPARE},
};

/* The order of the table's columns. */
static const struct {
    Np__Role from;
    Np__Role to;
} columns[] = {
    {NP__ROLE__CLIENT, NP__ROLE__BROKER}, {NP__ROLE__ADMIN, NP__ROLE__BROKER}, {NP__ROLE__WORKER, NP__ROLE__BROKER},
    {NP__ROLE__BROKER, NP__ROLE__CLIENT}, {NP__ROLE__BROKER, NP__ROLE__ADMIN}, {NP__ROLE__BROKER, NP__ROLE__WORKER},
};

static void check_row(const char *line, Np__Envelope__KindCase kind)
{
    const char *cell = strchr(line + 1, '|');
    for (size_t i = 0; i < 6; i++) {
        assert_non_null(cell);
        bool yes = strncmp(cell, "| yes ", 6) == 0;
        assert_int_equal(np_message_is_allowed(columns[i].from, columns[i].to, kind), yes);
        cell = strchr(cell + 1, '|');
    }
}

static void b23_every_cell_of_the_documented_table_is_what_the_code_does(void **state)
{
    (void)state;
    FILE *file = fopen(PROTOCOL_MD, "r");
    assert_non_null(file);
    char line[1000];
    size_t found = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        for (size_t i = 0; i < sizeof documented / sizeof documented[0]; i++) {
            char start[40];
            (void)snprintf(start, sizeof start, "| %s |", documented[i].name);
            if (strncmp(line, start, strlen(start)) == 0) {
                check_row(line, documented[i].kind);
                found++;
            }
        }
    }
    (void)fclose(file);
    assert_int_equal(found, sizeof documented / sizeof documented[0]);
    /* Roles and kinds that are not in the table at all. */
    for (int kind = 0; kind < 40; kind++) {
        for (int role = NP__ROLE__WORKER; role <= NP__ROLE__ADMIN; role++) {
            assert_false(np_message_is_allowed((Np__Role)role, NP__ROLE__CLIENT, (Np__Envelope__KindCase)kind));
            assert_false(np_message_is_allowed(NP__ROLE__NONE, (Np__Role)role, (Np__Envelope__KindCase)kind));
        }
        assert_false(np_message_is_allowed((Np__Role)-1, NP__ROLE__BROKER, (Np__Envelope__KindCase)kind));
    }
    assert_false(np_message_is_allowed(NP__ROLE__CLIENT, NP__ROLE__BROKER, NP__ENVELOPE__KIND__NOT_SET));
}

static void roles_are_named_and_parsed(void **state)
{
    (void)state;
    Np__Role parsed;
    for (int role = NP__ROLE__BROKER; role <= NP__ROLE__ADMIN; role++) {
        assert_true(np_role_parse(&parsed, np_role_name((Np__Role)role)));
        assert_int_equal(parsed, role);
    }
    assert_false(np_role_parse(&parsed, "none"));
    assert_false(np_role_parse(&parsed, "root"));
    assert_string_equal(np_role_name((Np__Role)77), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b18_length_prefixes_are_judged_from_eight_bytes),
        cmocka_unit_test(b19_a_frame_is_whole_only_with_its_last_byte),
        cmocka_unit_test(b22_empty_submessages_do_not_amplify_past_the_budget),
        cmocka_unit_test(b22_unknown_fields_and_kinds_are_refused),
        cmocka_unit_test(columns_that_disagree_are_refused),
        cmocka_unit_test(sizes_near_the_top_of_their_type_do_not_wrap),
        cmocka_unit_test(a22_a_lane_stands_for_each_task_or_for_none),
        cmocka_unit_test(what_a_task_requires_is_bounded),
        cmocka_unit_test(a9_an_initializer_has_a_name_and_a_bounded_input),
        cmocka_unit_test(a24_progress_has_both_values_of_each_task_and_no_body),
        cmocka_unit_test(a15_tasks_are_withdrawn_by_number_or_by_count),
        cmocka_unit_test(a13_a_failure_of_any_text_is_bounded),
        cmocka_unit_test(b23_every_cell_of_the_documented_table_is_what_the_code_does),
        cmocka_unit_test(roles_are_named_and_parsed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
