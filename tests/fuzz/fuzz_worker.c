/*
 * A worker against a broker that lies: the input is fed to the link of a whole supervisor, whose zygote and executors
 * are played by this file, so that nothing is forked. Whatever the broker says, the worker's own messages are
 * well-formed, and no task is answered (by a result, or by being returned) more often than it was assigned.
 */
#include <assert.h>
#include <stddef.h>
#include <sys/socket.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/memory_link.h"
#include "transport/channel_input.h"

/* The supervisor's turn is run from here, and its struct is its own. */
#include "worker/supervisor.c" /* NOLINT(bugprone-suspicious-include) */

enum { SLOTS = 2, BODY_SIZE = 70000, MAX_PAYLOAD = 1024 * 1024, RECORDS_PER_TURN = 64, FDS = 4 };

/* By index in the registry. */
enum function { ECHO, FAIL, HANG, CRASH, FUNCTIONS };
static char *function_names[FUNCTIONS] = {(char[]){"echo"}, (char[]){"fail"}, (char[]){"hang"}, (char[]){"crash"}};

/* An executor without a process. */
struct puppet {
    struct share *share; /* NULL: none */
    struct ring tasks;
    struct ring results;
    int heap; /* where large inputs lie, or -1 */
    bool hangs;
};

struct stage {
    struct supervisor supervisor;
    struct memory_wire wire;
    struct channel_input output; /* what the worker says, as a broker reads it */
    struct np_arena arena;
    int zygote_fd; /* our end */
    struct puppet puppets[SLOTS];
    struct roll assigned;
    struct roll answered;
    bool is_connected;
};

static void tell_supervisor(struct stage *stage, uint32_t kind, uint32_t slot, int wait_status)
{
    struct zygote_event event = {.kind = kind, .slot = slot, .pid = 1000 + (int32_t)slot, .wait_status = wait_status};
    if (send(stage->zygote_fd, &event, offsetof(struct zygote_event, text) + 1, MSG_NOSIGNAL) < 0) {
        abort();
    }
}

static void drop_puppet(struct puppet *puppet)
{
    if (puppet->share != NULL) {
        share_unmap(&puppet->share);
        (void)close(puppet->heap);
    }
}

static void end_puppet(struct stage *stage, uint32_t slot, int wait_status)
{
    drop_puppet(&stage->puppets[slot]);
    tell_supervisor(stage, ZYGOTE_EXITED, slot, wait_status);
}

static void make_puppet(struct stage *stage, uint32_t slot, const int fds[FDS])
{
    struct puppet *puppet = &stage->puppets[slot];
    *puppet = (struct puppet){.share = share_map(fds[0]), .heap = fds[3]};
    if (puppet->share == NULL) {
        abort();
    }
    ring_init(&puppet->tasks, &puppet->share->tasks, share_task_bytes(puppet->share), SHARE_RING_SIZE);
    ring_init(&puppet->results, &puppet->share->results, share_result_bytes(puppet->share), SHARE_RING_SIZE);
    for (int i = 0; i < 3; i++) {
        close(fds[i]); /* bells are not rung: the harness looks at every slot each turn */
    }
    tell_supervisor(stage, ZYGOTE_FORKED, slot, 0);
}

static void play_zygote(struct stage *stage)
{
    struct zygote_request request;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(FDS * sizeof(int))];
    } control;
    struct iovec data = {.iov_base = &request, .iov_len = sizeof request};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    while (recvmsg(stage->zygote_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) == (ssize_t)sizeof request) {
        assert(request.slot < SLOTS);
        if (request.kind == ZYGOTE_FORK) {
            const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            int fds[FDS] = {-1, -1, -1, -1};
            memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
            assert(stage->puppets[request.slot].share == NULL);
            make_puppet(stage, request.slot, fds);
        } else if (stage->puppets[request.slot].share != NULL) {
            end_puppet(stage, request.slot, SIGKILL);
        }
        message.msg_controllen = sizeof control.bytes;
    }
}

/* Does one task, if one is there whole. */
static bool play_executor(struct stage *stage, uint32_t slot)
{
    struct puppet *puppet = &stage->puppets[slot];
    static uint8_t payload[MAX_PAYLOAD];
    struct task_record record;
    size_t available = puppet->share == NULL || puppet->hangs ? 0 : ring_available(&puppet->tasks);
    if (available < sizeof record) {
        return false;
    }
    struct ring tasks = puppet->tasks;
    ring_read(&tasks, &record, sizeof record);
    if (record.unit > 0) {
        const ssize_t size = pread(puppet->heap, payload, record.size, (off_t)(record.unit * NP_HEAP_UNIT));
        assert(size == (ssize_t)record.size);
        (void)size;
    } else if (available < sizeof record + share_padded(record.size)) {
        return false;
    } else {
        ring_read(&tasks, payload, share_padded(record.size));
    }
    puppet->tasks = tasks;
    uint64_t word = atomic_load(&puppet->share->claim);
    assert(record.function < FUNCTIONS);
    if ((int32_t)(record.number - share_claim_floor(word)) >= 0) { /* else it was taken back */
        atomic_store(&puppet->share->claim, share_claim_word(share_claim_floor(word), record.number + 1));
        bool fails = record.function == FAIL;
        struct result_record result = {.number = record.number,
                                       .status = fails ? NETPOOL_FAILED : NETPOOL_OK,
                                       .size = fails ? 0 : record.size,
                                       .compute_ns = record.number % 2 == 0 ? UINT64_MAX : 1000,
                                       .started_ns = record.number % 2 == 0 ? INT64_MAX : INT64_MIN,
                                       .message_size = fails ? 3 : 0};
        puppet->hangs = record.function == HANG;
        atomic_store(&puppet->share->call.done, record.number + 1);
        if (record.function == CRASH) {
            end_puppet(stage, slot, SIGSEGV);
            return false;
        }
        if (!puppet->hangs && ring_room(&puppet->results, sizeof result + record.size + 3) > record.size + 100) {
            ring_write(&puppet->results, &result, sizeof result);
            ring_write(&puppet->results, fails ? (const uint8_t *)"bad" : payload, fails ? 3 : record.size);
            ring_publish_written(&puppet->results);
        }
    }
    ring_publish_read(&puppet->tasks);
    return true;
}

static void play_executors(struct stage *stage)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        for (int i = 0; i < RECORDS_PER_TURN && play_executor(stage, slot); i++) {
        }
        executors_mark_ready(&stage->supervisor.executors, &stage->supervisor.executors.slots[slot]);
    }
}

static void note_answers(struct stage *stage, const Np__Envelope *envelope)
{
    if (envelope->kind_case == NP__ENVELOPE__KIND_RESULTS) {
        const Np__Results *results = envelope->results;
        for (size_t i = 0; i < results->n_seqs; i++) {
            roll_add(&stage->answered, results->session.data, 0, results->seqs[i], 0);
        }
    } else if (envelope->kind_case == NP__ENVELOPE__KIND_RETURNED) {
        const Np__Returned *returned = envelope->returned;
        for (size_t i = 0; i < returned->n_seqs; i++) {
            roll_add(&stage->answered, returned->session.data, 0, returned->seqs[i], 0);
        }
    }
}

/* As a broker's channel does: what breaks a rule of the protocol is the worker's fault here. */
static void hear_worker(struct stage *stage)
{
    struct np_buffer *said = &stage->wire.forth.bytes;
    if (np_buffer_append(&stage->output.bytes, np_buffer_data(said), np_buffer_size(said)) != NETPOOL_OK) {
        abort();
    }
    np_buffer_clear(said);
    bool is_whole = true;
    while (is_whole) {
        struct np_message message = {0};
        netpool_error error;
        if (channel_input_next(&stage->output, &stage->arena, &message, &is_whole, &error) != NETPOOL_OK) {
            abort();
        }
        if (is_whole) {
            note_answers(stage, message.envelope);
            if (message.envelope->kind_case == NP__ENVELOPE__KIND_HELLO) {
                stage->output.remote_role = NP__ROLE__WORKER;
            }
        }
    }
}

static void received(void *owner, struct np_message *message)
{
    struct stage *stage = NP_CONTAINER(owner, struct stage, supervisor);
    if (message->envelope->kind_case == NP__ENVELOPE__KIND_ASSIGN) {
        const Np__Assign *assign = message->envelope->assign;
        for (size_t i = 0; i < assign->n_seqs; i++) {
            roll_add(&stage->assigned, assign->session.data, 0, assign->seqs[i], 0);
        }
    }
    handle_message(owner, message);
}

static const struct uplink_handler handler = {
    .welcomed = report_and_be_ready, .received = received, .lost = link_lost};

/* One link after the other; the pipes begin anew. */
static netpool_status connect_stage(void *context, struct link **out, netpool_error *error)
{
    struct stage *stage = context;
    (void)error;
    channel_input_fini(&stage->output);
    stage->output = (struct channel_input){.local_role = NP__ROLE__BROKER, .max_payload = MAX_PAYLOAD};
    stage->wire.forth.closed = stage->wire.back.closed = false;
    *out = memory_link_new(&stage->wire.back, &stage->wire.forth);
    return *out != NULL ? NETPOOL_OK : NETPOOL_NO_MEMORY;
}

/* A slot that waits for its executor's end must leave no past deadline, or the event loop would spin until then. */
static void check_deadlines(const struct executors *executors, int64_t now)
{
    for (size_t i = 0; i < SLOTS; i++) {
        const struct slot *slot = &executors->slots[i];
        assert(slot->state != SLOT_DYING || (slot->cancel_at > now && slot->deadline > now));
    }
}

static void turn_stage(struct stage *stage)
{
    struct supervisor *supervisor = &stage->supervisor;
    int64_t now = np_clock_now();
    uplink_turn(&supervisor->uplink, now);
    executors_turn(&supervisor->executors, now);
    check_deadlines(&supervisor->executors, now);
    supervisor->executors.progress_at = now;
    progress_turn(&supervisor->executors, supervisor->uplink.is_ready ? supervisor->uplink.channel : NULL, now);
    send_results(supervisor);
    hear_worker(stage);
    play_zygote(stage);
    play_executors(stage);
    (void)reactor_turn(supervisor->reactor, 0);
}

/* Heaps take longer to make than all the rest: only for inputs that can have a use for them. */
static void open_stage(struct stage *stage, bool has_heaps)
{
    int ends[2];
    struct supervisor *supervisor = &stage->supervisor;
    netpool_error error;
    *stage = (struct stage){.zygote_fd = -1};
    memory_wire_init(&stage->wire);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        abort();
    }
    stage->zygote_fd = ends[1];
    supervisor->zygote = (struct zygote){.fd = ends[0]};
    supervisor->functions = function_names;
    supervisor->function_count = FUNCTIONS;
    supervisor->options = (struct supervisor_options){.name = "fuzz",
                                                      .slots = SLOTS,
                                                      .max_payload = MAX_PAYLOAD,
                                                      .connect = connect_stage,
                                                      .connect_context = stage,
                                                      .ready_fd = -1};
    if (set_up(supervisor, &error) != NETPOOL_OK) {
        abort();
    }
    supervisor->executors.has_own_heaps = has_heaps;
    supervisor->executors.cancel_grace_ns = 0; /* what is cancelled while it runs is killed in the next turn */
    supervisor->uplink.handler = &handler;
    for (int i = 0; i < 3; i++) {
        turn_stage(stage);
    }
}

static void close_stage(struct stage *stage)
{
    struct supervisor *supervisor = &stage->supervisor;
    uplink_fini(&supervisor->uplink);
    executors_fini(&supervisor->executors);
    outbox_fini(&supervisor->outbox);
    reactor_remove(supervisor->reactor, &supervisor->signals);
    close(supervisor->signals.fd);
    reactor_destroy(&supervisor->reactor);
    close(supervisor->zygote.fd);
    close(stage->zygote_fd);
    for (size_t i = 0; i < SLOTS; i++) {
        drop_puppet(&stage->puppets[i]);
    }
    channel_input_fini(&stage->output);
    np_arena_fini(&stage->arena);
    memory_wire_fini(&stage->wire);
    roll_fini(&stage->assigned);
    roll_fini(&stage->answered);
}

static int compare_tasks(const void *left, const void *right)
{
    const struct roll_entry *a = left;
    const struct roll_entry *b = right;
    int sessions = memcmp(a->session, b->session, NP_SESSION_SIZE);
    return sessions != 0 ? sessions : (a->seq > b->seq) - (a->seq < b->seq);
}

/* What was answered and what is still held are a part of what was assigned, each as often. */
static void check_answers(struct stage *stage)
{
    struct roll held = {0};
    executors_report(&stage->supervisor.executors, &held);
    outbox_report(&stage->supervisor.outbox, &held);
    for (size_t i = 0; i < held.count; i++) {
        roll_add(&stage->answered, held.entries[i].session, 0, held.entries[i].seq, 0);
    }
    roll_fini(&held);
    struct roll *assigned = &stage->assigned;
    struct roll *answered = &stage->answered;
    if (answered->count > 0 && assigned->count > 0) {
        qsort(assigned->entries, assigned->count, sizeof *assigned->entries, compare_tasks);
        qsort(answered->entries, answered->count, sizeof *answered->entries, compare_tasks);
    }
    size_t at = 0;
    for (size_t i = 0; i < answered->count; i++, at++) {
        while (at < assigned->count && compare_tasks(&assigned->entries[at], &answered->entries[i]) < 0) {
            at++;
        }
        assert(at < assigned->count && compare_tasks(&assigned->entries[at], &answered->entries[i]) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stage stage;
    const size_t piece = size < 4096 ? 128 : 1500; /* so that what the worker answers falls between */
    open_stage(&stage, size > SHARE_WHOLE_MAX);
    while (size > 0 && !stage.supervisor.uplink.has_ended) {
        struct uplink *uplink = &stage.supervisor.uplink;
        if (uplink->channel == NULL || uplink->is_dead) { /* the link that ended takes the rest of its piece along */
            uplink->connect_at = 0;
            np_buffer_clear(&stage.wire.back.bytes);
            turn_stage(&stage);
        }
        size_t length = size < piece ? size : piece;
        if (np_buffer_append(&stage.wire.back.bytes, data, length) != NETPOOL_OK) {
            abort();
        }
        data += length;
        size -= length;
        if (uplink->channel != NULL && !uplink->is_dead) {
            channel_ready(uplink->channel);
        }
        turn_stage(&stage);
    }
    for (int i = 0; i < 4; i++) {
        turn_stage(&stage);
    }
    check_answers(&stage);
    close_stage(&stage);
    return 0;
}

static uint8_t session[NP_SESSION_SIZE] = "client session.";

static void append(struct np_buffer *out, Np__Envelope__KindCase kind, void *message, const void *body, size_t size)
{
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = kind;
    envelope.welcome = message; /* the union's pointers are one */
    fuzz_append_message(out, &envelope, body, size);
}

static void append_welcome(struct np_buffer *out, uint64_t epoch)
{
    uint8_t broker[16] = "the broker's id";
    Np__Welcome welcome = NP__WELCOME__INIT;
    welcome.version = 1;
    welcome.broker = (ProtobufCBinaryData){sizeof broker, broker};
    welcome.epoch = epoch;
    welcome.max_payload = MAX_PAYLOAD;
    welcome.credit_bytes = 100000;
    welcome.heartbeat_ms = 2000;
    welcome.timeout_ms = 8000;
    append(out, NP__ENVELOPE__KIND_WELCOME, &welcome, NULL, 0);
}

static void append_assign(struct np_buffer *out, const char *function, uint64_t first, uint32_t *sizes, size_t count,
                          uint32_t item_size)
{
    static uint8_t body[BODY_SIZE];
    uint64_t seqs[8];
    uint32_t attempts[8];
    Np__Assign assign = NP__ASSIGN__INIT;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        seqs[i] = first + i;
        attempts[i] = (uint32_t)i + 1;
        total += sizes[i];
    }
    assign.session = (ProtobufCBinaryData){sizeof session, session};
    assign.function = (char *)(uintptr_t)function;
    assign.seqs = seqs;
    assign.sizes = sizes;
    assign.attempts = attempts;
    assign.n_seqs = assign.n_sizes = assign.n_attempts = count;
    assign.timeout_ms = 60000;
    assign.item_in_size = assign.item_out_size = item_size;
    append(out, NP__ENVELOPE__KIND_ASSIGN, &assign, body, total);
}

static void append_prepare(struct np_buffer *out, const char *initializer, size_t size, uint32_t max_tasks)
{
    static uint8_t input[100];
    Np__Prepare prepare = NP__PREPARE__INIT;
    prepare.session = (ProtobufCBinaryData){sizeof session, session};
    prepare.initializer = (char *)(uintptr_t)initializer;
    prepare.max_tasks_per_executor = max_tasks;
    append(out, NP__ENVELOPE__KIND_PREPARE, &prepare, input, size);
}

static void append_withdraw(struct np_buffer *out, uint64_t *seqs, size_t count, uint32_t any)
{
    Np__Withdraw withdraw = NP__WITHDRAW__INIT;
    if (count > 0) {
        withdraw.session = (ProtobufCBinaryData){sizeof session, session};
    }
    withdraw.seqs = seqs;
    withdraw.n_seqs = count;
    withdraw.count = any;
    append(out, NP__ENVELOPE__KIND_WITHDRAW, &withdraw, NULL, 0);
}

static void append_credit_and_goodbye(struct np_buffer *out)
{
    Np__Credit credit = NP__CREDIT__INIT;
    credit.bytes = MAX_PAYLOAD;
    append(out, NP__ENVELOPE__KIND_CREDIT, &credit, NULL, 0);
    Np__Goodbye goodbye = NP__GOODBYE__INIT;
    goodbye.status = NETPOOL_CLOSED;
    goodbye.reason = (char *)(uintptr_t) "the broker stops";
    append(out, NP__ENVELOPE__KIND_GOODBYE, &goodbye, NULL, 0);
}

_Bool fuzz_seed(unsigned index, struct np_buffer *out)
{
    uint32_t sizes[] = {5, 0, 64, 8, 16, 1, 2, 3};
    uint32_t blocks[] = {64, 8};
    uint32_t large = BODY_SIZE;
    uint64_t seqs[] = {30, 31, 2};
    append_welcome(out, 3);
    switch (index) {
    case 0: /* batches of all sorts; cancelled, asked back, and a broker that goes */
        append_assign(out, "echo", 1, sizes, 8, 0);
        append_assign(out, "echo", 10, blocks, 2, 8);
        append_assign(out, "fail", 20, sizes, 2, 0);
        append_assign(out, "hang", 30, sizes, 3, 0);
        append_assign(out, "crash", 40, sizes, 2, 0);
        append_assign(out, "missing", 50, sizes, 2, 0);
        append_withdraw(out, seqs, 3, 0);
        append_withdraw(out, NULL, 0, 5);
        append_credit_and_goodbye(out);
        return 1;
    case 1: /* a large body there and back, the same task again, and the next broker */
        append_assign(out, "echo", 1, &large, 1, 0);
        append_assign(out, "hang", 2, sizes, 2, 0);
        append_credit_and_goodbye(out);
        while (np_buffer_size(out) % 1500 != 0 && np_buffer_append(out, "", 1) == NETPOOL_OK) {
        }
        append_welcome(out, 4);
        append_assign(out, "echo", 2, sizes, 4, 0);
        append_withdraw(out, NULL, 0, 1000);
        return 1;
    case 2: /* initializers of all sorts, which the tasks wait for; executors that do a few tasks each */
        append_prepare(out, "echo", 8, 2);
        append_assign(out, "echo", 1, sizes, 8, 0);
        append_prepare(out, "hang", 0, 0);
        append_assign(out, "echo", 30, sizes, 3, 0);
        append_withdraw(out, seqs, 2, 0);
        append_withdraw(out, NULL, 0, 5);
        append_prepare(out, "crash", 100, 1);
        append_assign(out, "echo", 40, sizes, 3, 0);
        append_prepare(out, "fail", 3, 0);
        append_assign(out, "echo", 50, sizes, 3, 0);
        append_prepare(out, "missing", 3, 0);
        append_assign(out, "echo", 60, sizes, 3, 0);
        append_prepare(out, "", 0, 3);
        append_assign(out, "echo", 70, sizes, 8, 0);
        append_prepare(out, "", 0, 0);
        append_assign(out, "fail", 80, sizes, 2, 0);
        append_credit_and_goodbye(out);
        return 1;
    default:
        np_buffer_clear(out);
        return 0;
    }
}
