#include "broker/admission.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/table.h"

enum {
    STEPS_PER_TURN = 2 /* a step with a signature takes up to a millisecond or two */
};

struct admission {
    struct reactor *reactor;
    struct admission_config config;
    admission_handler *admitted;
    void *owner;
    struct np_list by_deadline; /* struct candidate.by_deadline; all have the same time-out */
    struct np_list due;         /* struct candidate.due: the peer has sent something, or the link can be written */
    struct reactor_source work; /* deferred while `due` is not empty */
    struct np_table addresses;  /* hash of the address without port -> struct address */
    size_t count;
    struct np_log_limit refused_limit;
    struct np_log_limit silent_limit;
    struct np_log_limit full_limit;
};

struct address {
    uint64_t key;
    unsigned count; /* candidates; never 0 */
};

struct candidate {
    struct admission *admission;
    struct link *link;
    struct reactor_source source;
    struct np_list by_deadline;
    struct np_list due;
    int64_t deadline;
    struct address *address;
};

/* FNV-1a (Fowler, Noll, Vo) over the address without its port. Two addresses that collide share one count. */
static uint64_t address_key(const char *address)
{
    const char *port = strrchr(address, ':');
    size_t size = port == NULL ? strlen(address) : (size_t)(port - address);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (uint8_t)address[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static struct address *count_address(struct admission *admission, const char *text)
{
    uint64_t key = address_key(text);
    struct address *address = np_table_find(&admission->addresses, key);
    if (address == NULL) {
        address = calloc(1, sizeof *address);
        if (address == NULL || np_table_put(&admission->addresses, key, address) != NETPOOL_OK) {
            free(address);
            return NULL;
        }
        address->key = key;
    }
    address->count++;
    return address;
}

static void uncount_address(struct admission *admission, struct address *address)
{
    if (--address->count == 0) {
        (void)np_table_take(&admission->addresses, address->key);
        free(address);
    }
}

/* Ends the candidate and leaves its link to the caller. */
static struct link *candidate_free(struct candidate *candidate)
{
    struct admission *admission = candidate->admission;
    struct link *link = candidate->link;
    reactor_remove(admission->reactor, &candidate->source);
    np_list_remove(&candidate->by_deadline);
    np_list_remove(&candidate->due);
    uncount_address(admission, candidate->address);
    admission->count--;
    free(candidate);
    return link;
}

static void candidate_drop(struct candidate *candidate)
{
    struct link *link = candidate_free(candidate);
    link->operations->destroy(link);
}

static void candidate_ready(struct reactor_source *source, uint32_t events)
{
    struct candidate *candidate = NP_CONTAINER(source, struct candidate, source);
    struct admission *admission = candidate->admission;
    (void)events;
    reactor_set_interest(admission->reactor, source, 0); /* silent until its step has been made */
    if (np_list_is_empty(&candidate->due)) {
        np_list_push_back(&admission->due, &candidate->due);
        reactor_defer(admission->reactor, &admission->work);
    }
}

static void log_refusal(struct admission *admission, const struct link *link, netpool_status status,
                        const char *reason)
{
    /* Health checks and port scans connect and leave; that is nobody's fault. */
    enum np_log_level level = status == NETPOOL_CLOSED ? NP_LOG_DEBUG : NP_LOG_WARNING;
    np_log_limited(&admission->refused_limit, np_clock_now(), level, "admission", "%s is refused: %s",
                   link->peer.address, reason);
}

static void candidate_step(struct candidate *candidate)
{
    struct admission *admission = candidate->admission;
    struct link *link = candidate->link;
    bool done = false;
    netpool_error error = {0};
    netpool_status status = link->operations->establish(link, &done, &error);
    if (status != NETPOOL_OK) {
        log_refusal(admission, link, status, error.message);
        candidate_drop(candidate);
    } else if (done) {
        admission->admitted(admission->owner, candidate_free(candidate));
    } else {
        reactor_set_interest(admission->reactor, &candidate->source, link->operations->interest(link, false));
    }
}

static void work_ready(struct reactor_source *source, uint32_t events)
{
    struct admission *admission = NP_CONTAINER(source, struct admission, work);
    (void)events;
    for (int i = 0; i < STEPS_PER_TURN; i++) {
        struct np_list *node = np_list_pop_front(&admission->due);
        if (node == NULL) {
            return;
        }
        candidate_step(NP_CONTAINER(node, struct candidate, due));
    }
    if (!np_list_is_empty(&admission->due)) {
        reactor_defer(admission->reactor, &admission->work);
    }
}

netpool_status admission_new(struct admission **out, struct reactor *reactor, const struct admission_config *config,
                             admission_handler *admitted, void *owner)
{
    struct admission *admission = calloc(1, sizeof *admission);
    if (admission == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    admission->reactor = reactor;
    admission->config = *config;
    if (admission->config.timeout_ns == 0) {
        admission->config.timeout_ns = NP_HANDSHAKE_TIMEOUT_MS * NP_NS_PER_MS;
    }
    admission->admitted = admitted;
    admission->owner = owner;
    np_list_init(&admission->by_deadline);
    np_list_init(&admission->due);
    netpool_status status = reactor_add(reactor, &admission->work, -1, 0, work_ready);
    if (status != NETPOOL_OK) {
        free(admission);
        return status;
    }
    *out = admission;
    return NETPOOL_OK;
}

void admission_destroy(struct admission **admission_at)
{
    struct admission *admission = *admission_at;
    *admission_at = NULL;
    if (admission == NULL) {
        return;
    }
    while (!np_list_is_empty(&admission->by_deadline)) {
        candidate_drop(NP_CONTAINER(np_list_front(&admission->by_deadline), struct candidate, by_deadline));
    }
    reactor_remove(admission->reactor, &admission->work);
    np_table_fini(&admission->addresses);
    free(admission);
}

bool admission_is_full_for(struct admission *admission, const char *address)
{
    const struct address *entry = np_table_find(&admission->addresses, address_key(address));
    if (entry == NULL || entry->count < admission->config.max_per_address) {
        return false;
    }
    np_log_limited(&admission->full_limit, np_clock_now(), NP_LOG_WARNING, "admission",
                   "%s is refused: %u connections from this address are in handshake", address, entry->count);
    return true;
}

netpool_status admission_offer(struct admission *admission, struct link *link)
{
    struct candidate *candidate = calloc(1, sizeof *candidate);
    struct address *address = candidate == NULL ? NULL : count_address(admission, link->peer.address);
    if (address == NULL) {
        free(candidate);
        link->operations->destroy(link);
        return NETPOOL_NO_MEMORY;
    }
    *candidate = (struct candidate){
        .admission = admission,
        .link = link,
        .address = address,
        .deadline = np_clock_now() + admission->config.timeout_ns,
    };
    np_list_init(&candidate->due);
    np_list_push_back(&admission->by_deadline, &candidate->by_deadline);
    admission->count++;
    uint32_t interest = link->operations->interest(link, false);
    netpool_status status = reactor_add(admission->reactor, &candidate->source, link->fd, interest, candidate_ready);
    if (status != NETPOOL_OK) {
        candidate_drop(candidate);
    }
    return status;
}

void admission_tick(struct admission *admission, int64_t now)
{
    while (admission_deadline(admission) <= now) {
        struct candidate *candidate =
            NP_CONTAINER(np_list_front(&admission->by_deadline), struct candidate, by_deadline);
        np_log_limited(&admission->silent_limit, now, NP_LOG_WARNING, "admission",
                       "%s is dropped: the handshake did not finish in time", candidate->link->peer.address);
        candidate_drop(candidate);
    }
}

int64_t admission_deadline(const struct admission *admission)
{
    if (np_list_is_empty(&admission->by_deadline)) {
        return NP_NEVER;
    }
    const struct candidate *first = NP_CONTAINER(admission->by_deadline.next, struct candidate, by_deadline);
    return first->deadline;
}

size_t admission_count(const struct admission *admission)
{
    return admission->count;
}
