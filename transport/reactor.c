#include "transport/reactor.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/block.h"
#include "common/clock.h"
#include "common/error.h"

enum { EVENTS_PER_TURN = 128 };

struct reactor {
    int epoll_fd;
    int wake_fd; /* eventfd, readable after reactor_wake */
    struct np_list deferred;
    struct epoll_event events[EVENTS_PER_TURN];
    int event_count; /* of the turn being run */
    struct np_arena arena;
};

netpool_status reactor_new(struct reactor **out, netpool_error *error)
{
    struct reactor *reactor = calloc(1, sizeof *reactor);
    if (reactor == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    np_list_init(&reactor->deferred);
    reactor->wake_fd = -1;
    reactor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (reactor->epoll_fd >= 0) {
        reactor->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
    if (reactor->wake_fd < 0 || epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, reactor->wake_fd, &wake) != 0) {
        netpool_status status = np_error_system(error, "cannot make an event loop");
        reactor_destroy(&reactor);
        return status;
    }
    *out = reactor;
    return NETPOOL_OK;
}

void reactor_destroy(struct reactor **reactor_at)
{
    struct reactor *reactor = *reactor_at;
    if (reactor == NULL) {
        return;
    }
    if (reactor->wake_fd >= 0) {
        close(reactor->wake_fd);
    }
    if (reactor->epoll_fd >= 0) {
        close(reactor->epoll_fd);
    }
    np_arena_fini(&reactor->arena);
    free(reactor);
    *reactor_at = NULL;
}

netpool_status reactor_add(struct reactor *reactor, struct reactor_source *source, int fd, uint32_t interest,
                           void (*ready)(struct reactor_source *, uint32_t))
{
    *source = (struct reactor_source){.fd = fd, .interest = interest, .ready = ready};
    np_list_init(&source->deferred);
    struct epoll_event event = {.events = interest, .data.ptr = source};
    if (fd >= 0 && epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        source->ready = NULL;
        return NETPOOL_SYSTEM;
    }
    return NETPOOL_OK;
}

void reactor_set_interest(struct reactor *reactor, struct reactor_source *source, uint32_t interest)
{
    if (source->ready == NULL || source->interest == interest) {
        return;
    }
    source->interest = interest;
    struct epoll_event event = {.events = interest, .data.ptr = source};
    if (source->fd >= 0) {
        int result = epoll_ctl(reactor->epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
        assert(result == 0 && "the descriptor of a source was closed before the source was removed");
        (void)result;
    }
}

void reactor_remove(struct reactor *reactor, struct reactor_source *source)
{
    if (source->ready == NULL) {
        return;
    }
    if (source->fd >= 0) {
        (void)epoll_ctl(reactor->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    }
    np_list_remove(&source->deferred);
    for (int i = 0; i < reactor->event_count; i++) {
        if (reactor->events[i].data.ptr == source) {
            reactor->events[i].data.ptr = NULL;
        }
    }
    source->ready = NULL;
}

void reactor_defer(struct reactor *reactor, struct reactor_source *source)
{
    if (source->ready != NULL && np_list_is_empty(&source->deferred)) {
        np_list_push_back(&reactor->deferred, &source->deferred);
    }
}

/* Kernels before 5.11, and valgrind, have no epoll_pwait2: there a wait is rounded up to whole milliseconds. */
static int wait_in_ms(struct reactor *reactor, int64_t wait_ns, bool has_deadline)
{
    int64_t wait_ms = wait_ns / NP_NS_PER_MS + (wait_ns % NP_NS_PER_MS > 0);
    int timeout_ms = has_deadline ? (int)np_earlier(wait_ms, INT_MAX) : -1;
    return epoll_wait(reactor->epoll_fd, reactor->events, EVENTS_PER_TURN, timeout_ms);
}

static int wait_for_events(struct reactor *reactor, int64_t deadline)
{
    int64_t now = 0;
    if (!np_list_is_empty(&reactor->deferred)) {
        deadline = 0;
    } else if (deadline != NP_NEVER) {
        now = np_clock_now();
    }
    int64_t wait_ns = deadline > now ? deadline - now : 0;
    struct timespec timeout = {.tv_sec = wait_ns / NP_NS_PER_S, .tv_nsec = wait_ns % NP_NS_PER_S};
    int count = epoll_pwait2(reactor->epoll_fd, reactor->events, EVENTS_PER_TURN,
                             deadline == NP_NEVER ? NULL : &timeout, NULL);
    if (count < 0 && errno == ENOSYS) {
        count = wait_in_ms(reactor, wait_ns, deadline != NP_NEVER);
    }
    assert(count >= 0 || errno == EINTR);
    return count < 0 ? 0 : count;
}

static int run_deferred(struct reactor *reactor)
{
    struct np_list due;
    np_list_init(&due);
    np_list_splice_back(&due, &reactor->deferred);
    int run = 0;
    for (struct np_list *node = np_list_pop_front(&due); node != NULL; node = np_list_pop_front(&due)) {
        struct reactor_source *source = NP_CONTAINER(node, struct reactor_source, deferred);
        source->ready(source, 0);
        run++;
    }
    return run;
}

int reactor_turn(struct reactor *reactor, int64_t deadline)
{
    const int64_t review_at = np_block_deadline();
    reactor->event_count = wait_for_events(reactor, np_earlier(deadline, review_at));
    if (review_at != NP_NEVER) {
        np_block_review(np_clock_now());
    }
    int run = run_deferred(reactor);
    for (int i = 0; i < reactor->event_count; i++) {
        struct reactor_source *source = reactor->events[i].data.ptr;
        if (source != NULL) {
            source->ready(source, reactor->events[i].events);
            run++;
            continue;
        }
        /* The wake-up, or a source removed by an earlier callback of this turn: draining in vain does no harm. */
        uint64_t wakes;
        (void)!read(reactor->wake_fd, &wakes, sizeof wakes);
    }
    reactor->event_count = 0;
    return run;
}

struct np_arena *reactor_arena(struct reactor *reactor)
{
    return &reactor->arena;
}

void reactor_wake(struct reactor *reactor)
{
    uint64_t one = 1;
    int saved = errno;
    (void)!write(reactor->wake_fd, &one, sizeof one);
    errno = saved;
}
