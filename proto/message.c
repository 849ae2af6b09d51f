#include "proto/message.h"

#include <string.h>

#include "common/block.h"
#include "common/error.h"
#include "proto/limits.h"

/* A generous allowance for fields of a later minor version. */
enum { UNKNOWN_FIELDS_MAX = 16 };

uint8_t *np_message_take_body(const struct np_message *message)
{
    if (np_message_has_block(message)) {
        return np_block_share(message->body);
    }
    uint8_t *body = np_block_new(message->body_size > 0 ? message->body_size : 1);
    if (body != NULL && message->body_size > 0) {
        memcpy(body, message->body, message->body_size);
    }
    return body;
}

static void *allocate_in_arena(void *arena, size_t size)
{
    return np_arena_allocate(arena, size);
}

static void keep_in_arena(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

netpool_status np_message_decode(const struct np_frame *frame, struct np_arena *arena, const Np__Envelope **envelope,
                                 netpool_error *error)
{
    np_arena_reset(arena, NP_ARENA_FACTOR * frame->header_size + NP_ARENA_BASE);
    ProtobufCAllocator allocator = {allocate_in_arena, keep_in_arena, arena};
    const Np__Envelope *decoded = np__envelope__unpack(&allocator, frame->header_size, frame->header);
    if (decoded == NULL) {
        return np_error_set(error, NETPOOL_PROTOCOL, "frame header of %zu bytes does not decode within its budget",
                            frame->header_size);
    }
    if (decoded->base.n_unknown_fields > UNKNOWN_FIELDS_MAX) {
        return np_error_set(error, NETPOOL_PROTOCOL, "%u unknown fields in a message",
                            decoded->base.n_unknown_fields);
    }
    if (decoded->kind_case == NP__ENVELOPE__KIND__NOT_SET) {
        return np_error_set(error, NETPOOL_PROTOCOL, "message of unknown kind");
    }
    *envelope = decoded;
    return NETPOOL_OK;
}

static bool is_text(const char *text, size_t most)
{
    return strnlen(text, most + 1) <= most;
}

static bool is_name(const char *text)
{
    if (text[0] == '\0' || !is_text(text, NP_NAME_MAX)) {
        return false;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            return false;
        }
    }
    return true;
}

static bool are_names(char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_name(texts[i])) {
            return false;
        }
    }
    return true;
}

static bool is_session(ProtobufCBinaryData session)
{
    return session.len == NP_SESSION_SIZE;
}

static bool is_column(size_t column, size_t count)
{
    return column == 0 || column == count;
}

static bool is_batch(size_t seqs)
{
    return seqs >= 1 && seqs <= NP_BATCH_TASKS_MAX;
}

static bool is_sum(const uint32_t *sizes, size_t count, size_t body_size)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += sizes[i];
    }
    return sum == body_size;
}

/* The checks return what is wrong, NULL when nothing is. */

static const char *check_hello(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Hello *hello = envelope->hello;
    if (body_size != 0 || !is_session(hello->session)) {
        return "session is not 16 bytes";
    }
    if (hello->role < NP__ROLE__BROKER || hello->role > NP__ROLE__ADMIN) {
        return "unknown role";
    }
    if (!is_text(hello->software, NP_NAME_MAX) || !is_text(hello->name, NP_NAME_MAX) ||
        !is_text(hello->host, NP_NAME_MAX)) {
        return "name too long";
    }
    if (hello->slots > NP_SLOTS_MAX || hello->n_functions > NP_FUNCTIONS_MAX || hello->n_labels > NP_LABELS_MAX) {
        return "too many slots, functions or labels";
    }
    if (!are_names(hello->functions, hello->n_functions)) {
        return "malformed function name";
    }
    return are_names(hello->labels, hello->n_labels) ? NULL : "malformed label";
}

static const char *check_welcome(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Welcome *welcome = envelope->welcome;
    if (body_size != 0 || !is_session(welcome->broker) || !is_text(welcome->software, NP_NAME_MAX)) {
        return "malformed broker identity";
    }
    if (welcome->epoch == 0 || welcome->heartbeat_ms == 0 || welcome->timeout_ms == 0) {
        return "epoch, heartbeat or timeout is 0";
    }
    return NULL;
}

static const char *check_goodbye(const Np__Envelope *envelope, size_t body_size)
{
    return body_size == 0 && is_text(envelope->goodbye->reason, NP_MESSAGE_MAX) ? NULL : "reason too long";
}

static const char *check_empty(const Np__Envelope *envelope, size_t body_size)
{
    (void)envelope;
    return body_size == 0 ? NULL : "unexpected body";
}

static const char *check_chunk(const Np__Envelope *envelope, size_t body_size)
{
    (void)envelope;
    return body_size > 0 ? NULL : "empty chunk";
}

static const char *check_submit(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Submit *submit = envelope->submit;
    if (!is_name(submit->function)) {
        return "malformed function name";
    }
    if (!is_batch(submit->n_seqs) || submit->n_sizes != submit->n_seqs ||
        !is_column(submit->n_first_items, submit->n_seqs) || !is_column(submit->n_lanes, submit->n_seqs) ||
        !is_sum(submit->sizes, submit->n_sizes, body_size)) {
        return "columns do not fit each other and the body";
    }
    if (submit->max_attempts > NP_ATTEMPTS_MAX) {
        return "too many attempts asked for";
    }
    if (submit->n_labels > NP_REQUIRED_MAX || submit->slots > NP_SLOTS_MAX) {
        return "too many labels or slots required";
    }
    if (!are_names(submit->labels, submit->n_labels)) {
        return "malformed label";
    }
    uint64_t previous = 0;
    for (size_t i = 0; i < submit->n_seqs; i++) {
        if (submit->seqs[i] <= previous) {
            return "task numbers do not ascend from 1";
        }
        previous = submit->seqs[i];
    }
    for (size_t i = 0; i < submit->n_sizes && submit->item_in_size > 0; i++) {
        if (submit->sizes[i] % submit->item_in_size != 0) {
            return "a block is not a whole number of items";
        }
    }
    return NULL;
}

static const char *check_cancel(const Np__Envelope *envelope, size_t body_size)
{
    return body_size == 0 && is_batch(envelope->cancel->n_seqs) ? NULL : "not 1 to 4096 tasks";
}

static const char *check_acknowledge(const Np__Envelope *envelope, size_t body_size)
{
    return body_size == 0 && is_batch(envelope->acknowledge->n_seqs) ? NULL : "not 1 to 4096 tasks";
}

static const char *check_attempt(const Np__Attempt *attempt)
{
    return is_text(attempt->worker, NP_NAME_MAX) && is_text(attempt->host, NP_NAME_MAX) &&
                   is_text(attempt->message, NP_MESSAGE_MAX)
               ? NULL
               : "attempt record with a name or message too long";
}

static const char *check_failure(const Np__Failure *failure, size_t count)
{
    if (failure->index >= count) {
        return "failure of a task that is not in the batch";
    }
    if (!is_text(failure->message, NP_MESSAGE_MAX) || !is_text(failure->stack, NP_STACK_MAX) ||
        failure->error_output.len > NP_ERROR_OUTPUT_MAX || failure->n_attempts > NP_ATTEMPTS_MAX) {
        return "failure with a field too long";
    }
    for (size_t i = 0; i < failure->n_attempts; i++) {
        const char *wrong = check_attempt(failure->attempts[i]);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

static const char *check_results(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Results *results = envelope->results;
    size_t count = results->n_seqs;
    if (!is_batch(count) || results->n_sizes != count || !is_sum(results->sizes, count, body_size) ||
        !is_column(results->n_statuses, count) || !is_column(results->n_attempts, count) ||
        !is_column(results->n_compute_ns, count) || !is_column(results->n_queue_ns, count) ||
        !is_column(results->n_pids, count) || !is_column(results->n_wait_ns, count)) {
        return "columns do not fit each other and the body";
    }
    if (results->session.len != 0 && !is_session(results->session)) {
        return "session is not 16 bytes";
    }
    if (!is_text(results->worker, NP_NAME_MAX) || !is_text(results->host, NP_NAME_MAX)) {
        return "name too long";
    }
    if (results->n_failures > NP_BATCH_FAILURES_MAX) {
        return "too many failures in one batch";
    }
    for (size_t i = 0; i < results->n_failures; i++) {
        const char *wrong = check_failure(results->failures[i], count);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

static const char *check_assign(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Assign *assign = envelope->assign;
    size_t count = assign->n_seqs;
    if (!is_session(assign->session) || !is_name(assign->function)) {
        return "malformed session or function name";
    }
    if (!is_batch(count) || assign->n_sizes != count || !is_column(assign->n_attempts, count) ||
        !is_column(assign->n_first_items, count) || !is_sum(assign->sizes, count, body_size)) {
        return "columns do not fit each other and the body";
    }
    for (size_t i = 0; i < count && assign->item_in_size > 0; i++) {
        if (assign->sizes[i] % assign->item_in_size != 0) {
            return "a block is not a whole number of items";
        }
    }
    return NULL;
}

static const char *check_withdraw(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Withdraw *withdraw = envelope->withdraw;
    if (withdraw->n_seqs > 0) {
        return body_size == 0 && is_batch(withdraw->n_seqs) && is_session(withdraw->session) && withdraw->count == 0
                   ? NULL
                   : "cancels without a session or with a count";
    }
    return body_size == 0 && withdraw->count > 0 && !withdraw->unstarted_only ? NULL
                                                                              : "neither tasks nor a count alone";
}

static const char *check_returned(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Returned *returned = envelope->returned;
    if (returned->n_seqs == 0) {
        return body_size == 0 && returned->end ? NULL : "returns nothing and does not end";
    }
    return body_size == 0 && is_batch(returned->n_seqs) && is_session(returned->session) &&
                   is_column(returned->n_attempts, returned->n_seqs)
               ? NULL
               : "columns do not fit each other";
}

static const char *check_held(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Held *held = envelope->held;
    return body_size == 0 && is_batch(held->n_seqs) && is_session(held->session) &&
                   is_column(held->n_attempts, held->n_seqs)
               ? NULL
               : "columns do not fit each other";
}

static const char *check_status(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Status *status = envelope->status;
    return body_size == 0 && status->n_workers <= NP_STATUS_ROWS_MAX && status->n_clients <= NP_STATUS_ROWS_MAX &&
                   status->n_waiting <= NP_STATUS_ROWS_MAX
               ? NULL
               : "too many rows";
}

static const char *check_progress(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Progress *progress = envelope->progress;
    size_t count = progress->n_seqs;
    if (progress->session.len != 0 && !is_session(progress->session)) {
        return "session is not 16 bytes";
    }
    return body_size == 0 && is_batch(count) && progress->n_done == count && progress->n_total == count
               ? NULL
               : "columns do not fit each other";
}

static const char *check_prepare(const Np__Envelope *envelope, size_t body_size)
{
    const Np__Prepare *prepare = envelope->prepare;
    if (prepare->session.len != 0 && !is_session(prepare->session)) {
        return "session is not 16 bytes";
    }
    if (prepare->initializer[0] != '\0' && !is_name(prepare->initializer)) {
        return "malformed function name";
    }
    return envelope->large_body == 0 && body_size <= NP_PREPARE_MAX ? NULL : "initializer's input too large";
}

/* Who may send a kind to whom, as bits of (1 << role). */
enum {
    BROKER = 1 << NP__ROLE__BROKER,
    WORKER = 1 << NP__ROLE__WORKER,
    CLIENT = 1 << NP__ROLE__CLIENT,
    ADMIN = 1 << NP__ROLE__ADMIN,
    PEERS = WORKER | CLIENT | ADMIN,
};

static const struct kind {
    const char *name;
    const char *(*check)(const Np__Envelope *envelope, size_t body_size);
    uint8_t to_broker;   /* roles that may send it to a broker */
    uint8_t from_broker; /* roles a broker may send it to */
    bool has_body;
} kinds[] = {
    [NP__ENVELOPE__KIND_HELLO] = {"hello", check_hello, PEERS, 0, false},
    [NP__ENVELOPE__KIND_WELCOME] = {"welcome", check_welcome, 0, PEERS, false},
    [NP__ENVELOPE__KIND_GOODBYE] = {"goodbye", check_goodbye, PEERS, PEERS, false},
    [NP__ENVELOPE__KIND_HEARTBEAT] = {"heartbeat", check_empty, PEERS, PEERS, false},
    [NP__ENVELOPE__KIND_CHUNK] = {"chunk", check_chunk, PEERS, PEERS, true},
    [NP__ENVELOPE__KIND_CREDIT] = {"credit", check_empty, 0, PEERS, false},
    [NP__ENVELOPE__KIND_SUBMIT] = {"submit", check_submit, CLIENT, 0, true},
    [NP__ENVELOPE__KIND_CANCEL] = {"cancel", check_cancel, CLIENT, 0, false},
    [NP__ENVELOPE__KIND_ACKNOWLEDGE] = {"acknowledge", check_acknowledge, CLIENT, 0, false},
    [NP__ENVELOPE__KIND_RESULTS] = {"results", check_results, WORKER, CLIENT, true},
    [NP__ENVELOPE__KIND_ASSIGN] = {"assign", check_assign, 0, WORKER, true},
    [NP__ENVELOPE__KIND_WITHDRAW] = {"withdraw", check_withdraw, 0, WORKER, false},
    [NP__ENVELOPE__KIND_RETURNED] = {"returned", check_returned, WORKER, 0, false},
    [NP__ENVELOPE__KIND_HELD] = {"held", check_held, WORKER, 0, false},
    [NP__ENVELOPE__KIND_READY] = {"ready", check_empty, WORKER, 0, false},
    [NP__ENVELOPE__KIND_DRAIN] = {"drain", check_empty, WORKER, 0, false},
    [NP__ENVELOPE__KIND_STATUS_REQUEST] = {"status request", check_empty, CLIENT | ADMIN, 0, false},
    [NP__ENVELOPE__KIND_STATUS] = {"status", check_status, 0, CLIENT | ADMIN, false},
    [NP__ENVELOPE__KIND_PROGRESS] = {"progress", check_progress, WORKER, CLIENT, false},
    [NP__ENVELOPE__KIND_PREPARE] = {"prepare", check_prepare, CLIENT, WORKER, true},
};

static const struct kind *find_kind(Np__Envelope__KindCase kind)
{
    size_t index = (size_t)kind;
    return index < sizeof kinds / sizeof kinds[0] && kinds[index].name != NULL ? &kinds[index] : NULL;
}

netpool_status np_message_check(const Np__Envelope *envelope, size_t body_size, netpool_error *error)
{
    const struct kind *kind = find_kind(envelope->kind_case);
    const char *wrong = "unknown kind";
    if (kind != NULL) {
        wrong = envelope->large_body > 0 && !kind->has_body ? "unexpected body" : kind->check(envelope, body_size);
    }
    if (wrong == NULL) {
        return NETPOOL_OK;
    }
    return np_error_set(error, NETPOOL_PROTOCOL, "malformed %s message: %s",
                        np_message_kind_name(envelope->kind_case), wrong);
}

bool np_message_is_allowed(Np__Role from, Np__Role to, Np__Envelope__KindCase kind_case)
{
    const struct kind *kind = find_kind(kind_case);
    if (kind == NULL || from < NP__ROLE__BROKER || from > NP__ROLE__ADMIN || to < NP__ROLE__BROKER ||
        to > NP__ROLE__ADMIN) {
        return false;
    }
    if (to == NP__ROLE__BROKER) {
        return (kind->to_broker >> from & 1) != 0;
    }
    return from == NP__ROLE__BROKER && (kind->from_broker >> to & 1) != 0;
}

const char *np_message_kind_name(Np__Envelope__KindCase kind_case)
{
    const struct kind *kind = find_kind(kind_case);
    return kind == NULL ? "unknown" : kind->name;
}

static const char *const role_names[] = {
    [NP__ROLE__NONE] = "none",     [NP__ROLE__BROKER] = "broker", [NP__ROLE__WORKER] = "worker",
    [NP__ROLE__CLIENT] = "client", [NP__ROLE__ADMIN] = "admin",
};

const char *np_role_name(Np__Role role)
{
    return role >= NP__ROLE__NONE && role <= NP__ROLE__ADMIN ? role_names[role] : "unknown";
}

bool np_role_parse(Np__Role *out, const char *name)
{
    for (int role = NP__ROLE__BROKER; role <= NP__ROLE__ADMIN; role++) {
        if (strcmp(name, role_names[role]) == 0) {
            *out = (Np__Role)role;
            return true;
        }
    }
    return false;
}
