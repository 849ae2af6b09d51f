#include "worker/crash/postmortem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/crash/stack_key.h"
#include "worker/crash/stack_text.h"
#include "worker/crash/symbolizer.h"
#include "worker/fatal.h"

#define PATIENCE_NS (SYMBOLIZER_TIME_S * NP_NS_PER_S)

enum { KNOWN_MAX = 32 };

/* The text of a crash at a place, in a call path, that was seen before. */
struct known_stack {
    uint64_t key; /* 0: none */
    char text[NP_STACK_MAX + 1];
};

struct postmortem {
    struct np_list node;
    struct task *task; /* owned */
    struct outbox_result result;
    struct outbox_failure failure;
    int64_t deadline;
    uint64_t key;
    bool is_follower; /* an earlier one's text is its, too */
    int dump_fd;      /* until the symbolizer has it; -1 then */
    bool has_ended;
    struct reactor_source pipe; /* from the symbolizer; fd -1 before */
    size_t stack_size;
    char stack[NP_STACK_MAX + 1];
    char message[NP_MESSAGE_MAX + 1];
    uint8_t output[NP_ERROR_OUTPUT_MAX];
};

void postmortems_init(struct postmortems *list, struct reactor *reactor, struct zygote *zygote, struct outbox *outbox)
{
    *list = (struct postmortems){.reactor = reactor, .zygote = zygote, .outbox = outbox};
    np_list_init(&list->waiting);
}

static void destroy(struct postmortems *list, struct postmortem *postmortem)
{
    reactor_remove(list->reactor, &postmortem->pipe);
    if (postmortem->pipe.fd >= 0) {
        close(postmortem->pipe.fd);
    }
    if (postmortem->dump_fd >= 0) {
        close(postmortem->dump_fd);
    }
    np_list_remove(&postmortem->node);
    list->count--;
    list->dumps -= postmortem->is_follower ? 0 : 1;
    batch_release(postmortem->task);
    free(postmortem);
}

void postmortems_fini(struct postmortems *list)
{
    NP_LIST_EACH(node, &list->waiting) {
        destroy(list, NP_CONTAINER(node, struct postmortem, node));
    }
    free(list->known);
    list->known = NULL;
}

static bool write_at(int fd, const void *data, size_t size, size_t offset)
{
    return size == 0 || pwrite(fd, data, size, (off_t)offset) == (ssize_t)size;
}

/* The executor's share goes away, and others may write into it: the symbolizer gets a copy of what is used. */
static int copy_dump(const struct crash_dump *dump, const struct crash_head *head)
{
    int fd = memfd_create("netpool-crash", MFD_CLOEXEC);
    if (fd >= 0 &&
        (ftruncate(fd, sizeof *dump) != 0 || !write_at(fd, head, sizeof *head, offsetof(struct crash_dump, head)) ||
         !write_at(fd, dump->stack, head->stack_size, offsetof(struct crash_dump, stack)) ||
         !write_at(fd, dump->maps, head->maps_size, offsetof(struct crash_dump, maps)))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static const char *find_known(const struct postmortems *list, uint64_t key)
{
    for (unsigned i = 0; list->known != NULL && i < KNOWN_MAX; i++) {
        if (list->known[i].key == key) {
            return list->known[i].text;
        }
    }
    return NULL;
}

static void note_known(struct postmortems *list, const struct postmortem *postmortem)
{
    if (list->known == NULL) {
        list->known = fatal_if_null(calloc(KNOWN_MAX, sizeof(struct known_stack)));
    }
    struct known_stack *known = &list->known[list->next_known++ % KNOWN_MAX];
    known->key = postmortem->key;
    memcpy(known->text, postmortem->stack, sizeof known->text);
}

static void text_came(struct reactor_source *source, uint32_t events)
{
    (void)events;
    struct postmortem *postmortem = NP_CONTAINER(source, struct postmortem, pipe);
    char *place = postmortem->stack + postmortem->stack_size;
    size_t room = NP_STACK_MAX - postmortem->stack_size;
    ssize_t size = room > 0 ? read(source->fd, place, room) : 0;
    if (size > 0) {
        postmortem->stack_size += (size_t)size;
    } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
        postmortem->has_ended = true;
    }
}

/* False: there will be no text. */
static bool start_symbolizer(struct postmortems *list, struct postmortem *postmortem)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    bool is_asked = zygote_symbolize(list->zygote, postmortem->dump_fd, ends[1]) == NETPOOL_OK;
    close(ends[1]);
    close(postmortem->dump_fd);
    postmortem->dump_fd = -1;
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    if (!is_asked || reactor_add(list->reactor, &postmortem->pipe, ends[0], EPOLLIN, text_came) != NETPOOL_OK) {
        postmortem->pipe.fd = -1;
        close(ends[0]);
        return false;
    }
    return true;
}

/* Those that wait for the same text have it now, or will never. */
static void share_text(struct postmortems *list, const struct postmortem *from)
{
    NP_LIST_EACH(node, &list->waiting) {
        struct postmortem *postmortem = NP_CONTAINER(node, struct postmortem, node);
        if (postmortem->is_follower && postmortem->key == from->key) {
            memcpy(postmortem->stack, from->stack, sizeof postmortem->stack);
            postmortem->has_ended = true;
        }
    }
}

static void answer(struct postmortems *list, struct postmortem *postmortem)
{
    (void)outbox_add(list->outbox, &postmortem->result);
    destroy(list, postmortem);
}

void postmortems_turn(struct postmortems *list, int64_t now)
{
    NP_LIST_EACH(node, &list->waiting) {
        struct postmortem *postmortem = NP_CONTAINER(node, struct postmortem, node);
        bool is_first = list->waiting.next == node;
        bool is_over = postmortem->has_ended || now >= postmortem->deadline;
        if (!is_over && is_first && !postmortem->is_follower && postmortem->dump_fd >= 0) {
            is_over = !start_symbolizer(list, postmortem);
        }
        if (!is_over) {
            continue;
        }
        if (!postmortem->is_follower) {
            stack_text_clean(postmortem->stack, postmortem->stack_size);
            if (postmortem->has_ended && postmortem->stack[0] != '\0') {
                note_known(list, postmortem);
            }
            share_text(list, postmortem);
        }
        answer(list, postmortem);
    }
}

int64_t postmortems_deadline(const struct postmortems *list)
{
    const struct np_list *first = list->waiting.next;
    return list->count > 0 ? NP_CONTAINER(first, struct postmortem, node)->deadline : NP_NEVER;
}

static struct postmortem *postmortem_new(const struct outbox_result *result, const struct outbox_failure *failure)
{
    struct postmortem *postmortem = fatal_if_null(calloc(1, sizeof *postmortem));
    postmortem->task = (struct task *)(uintptr_t)result->task; /* it is the caller's to give away */
    postmortem->result = *result;
    postmortem->failure = *failure;
    (void)memccpy(postmortem->message, failure->message, '\0', NP_MESSAGE_MAX);
    if (failure->output_size > 0) {
        memcpy(postmortem->output, failure->output, failure->output_size);
    }
    postmortem->failure.message = postmortem->message;
    postmortem->failure.output = postmortem->output;
    postmortem->failure.stack = postmortem->stack;
    postmortem->result.failure = &postmortem->failure;
    postmortem->pipe.fd = -1;
    return postmortem;
}

static bool is_waited_for(const struct postmortems *list, uint64_t key)
{
    NP_LIST_EACH(node, &list->waiting) {
        if (NP_CONTAINER(node, struct postmortem, node)->key == key) {
            return true;
        }
    }
    return false;
}

bool postmortems_take(struct postmortems *list, struct crash_dump *dump, struct outbox_result *result,
                      struct outbox_failure *failure, int64_t now)
{
    const struct crash_head head = dump->head; /* what is checked is what is used */
    if (atomic_load(&dump->is_complete) != 1 || head.signal != failure->signal || !crash_is_plausible(&head)) {
        return false;
    }
    uint64_t key = stack_key(dump, &head);
    failure->stack = find_known(list, key);
    if (failure->stack != NULL || list->count >= POSTMORTEMS_MAX) {
        return false;
    }
    bool is_follower = is_waited_for(list, key);
    int fd = is_follower || list->dumps >= POSTMORTEM_DUMPS_MAX ? -1 : copy_dump(dump, &head);
    if (fd < 0 && !is_follower) {
        return false;
    }
    struct postmortem *postmortem = postmortem_new(result, failure);
    postmortem->key = key;
    postmortem->is_follower = is_follower;
    postmortem->dump_fd = fd;
    postmortem->deadline = now + PATIENCE_NS;
    np_list_push_back(&list->waiting, &postmortem->node);
    list->count++;
    list->dumps += is_follower ? 0 : 1;
    return true;
}

void postmortems_cancel(struct postmortems *list, bool (*is_selected)(const void *context, const struct task *task),
                        const void *context)
{
    NP_LIST_EACH(node, &list->waiting) {
        struct postmortem *postmortem = NP_CONTAINER(node, struct postmortem, node);
        if (is_selected(context, postmortem->task)) {
            postmortem->result.status = NETPOOL_CANCELLED;
            postmortem->stack[0] = '\0';
            if (!postmortem->is_follower) {
                share_text(list, postmortem);
            }
            answer(list, postmortem);
        }
    }
}

void postmortems_report(const struct postmortems *list, struct roll *roll)
{
    NP_LIST_EACH(node, &list->waiting) {
        const struct task *task = NP_CONTAINER(node, struct postmortem, node)->task;
        roll_add(roll, task->batch->session, task->batch->epoch, task->seq, task->attempt);
    }
}
