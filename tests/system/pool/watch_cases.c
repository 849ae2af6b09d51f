/* Progress and profiles of maps, reductions and streams. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/reduce_functions.h"
#include "tests/system/pool/pool_cases.h"

/* What a callback that is told of progress does: when `at` is reached, it lets the function that waits half way go
 * on. */
struct release {
    uint64_t at;
    uint64_t count;
    int fifo;
    uint64_t last;
    unsigned calls;
    bool is_released;
};

static void release_at(uint64_t done, uint64_t count, void *context)
{
    struct release *release = context;
    assert_int_equal(count, release->count);
    assert_true(done <= count);
    if (!release->is_released && done >= release->at) {
        assert_int_equal(write(release->fifo, "!", 1), 1);
        release->is_released = true;
    }
    release->last = done;
    release->calls++;
}

enum { WAITING = 8 };

/* Item `at` waits. */
static void start_waiting(struct wait_half_way orders[WAITING], uint64_t at, struct release *release,
                          char directory[32])
{
    (void)strcpy(directory, "/tmp/netpool-test-XXXXXX");
    assert_non_null(mkdtemp(directory));
    memset(orders, 0, WAITING * sizeof orders[0]);
    for (size_t i = 0; i < WAITING; i++) {
        orders[i].at = at;
        (void)snprintf(orders[i].fifo, sizeof orders[i].fifo, "%s/fifo", directory);
    }
    assert_int_equal(mkfifo(orders[0].fifo, 0600), 0);
    *release = (struct release){.count = WAITING, .fifo = open(orders[0].fifo, O_RDWR | O_CLOEXEC)};
    assert_true(release->fifo >= 0);
}

static void end_waiting(const struct wait_half_way *order, const struct release *release, const char *directory)
{
    assert_true(release->is_released);
    assert_int_equal(release->last, WAITING);
    close(release->fifo);
    unlink(order->fifo);
    rmdir(directory);
}

static void a24_map_tells_of_the_parts_of_running_tasks(void **state)
{
    netpool *pool = pool_of(state);
    static struct wait_half_way in[WAITING];
    uint64_t out[WAITING];
    struct release release;
    char directory[32];
    netpool_error error;
    start_waiting(in, 6, &release, directory);
    release.at = 6; /* of one block, which is not done: nothing but its progress says so */
    netpool_map_options options = {.chunk = WAITING, .progress = release_at, .progress_context = &release};
    if (netpool_map(pool, "wait_half_way", in, WAITING, sizeof in[0], out, sizeof out[0], &options, &error) !=
        NETPOOL_OK) {
        fail_msg("%s", error.message);
    }
    end_waiting(in, &release, directory);
    netpool_close(&pool);
}

static void a24_reduction_tells_of_the_parts_of_running_leaves(void **state)
{
    netpool *pool = pool_of(state);
    static struct wait_half_way in[WAITING];
    uint64_t out = 1;
    struct release release;
    char directory[32];
    netpool_error error;
    start_waiting(in, 4, &release, directory);
    release.at = 4 + 2; /* a leaf of four, and a half of the other one */
    netpool_reduce_options options = {
        .leaf = "wait_half_way", .chunk = 4, .progress = release_at, .progress_context = &release};
    if (netpool_reduce(pool, "add_numbers", in, WAITING, sizeof in[0], &out, sizeof out, &options, &error) !=
        NETPOOL_OK) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(out, 0);
    end_waiting(in, &release, directory);
    netpool_close(&pool);
}

static void a24_stream_tells_of_the_parts_of_running_tasks(void **state)
{
    netpool *pool = pool_of(state);
    static struct wait_half_way orders[WAITING];
    struct release release;
    char directory[32];
    netpool_stream *stream;
    netpool_result result;
    uint64_t finished;
    double running = 0;
    start_waiting(orders, 0, &release, directory); /* outside of a map every item is 0 */
    assert_int_equal(netpool_stream_open(pool, "wait_half_way", NULL, &stream), NETPOOL_OK);
    netpool_stream_get_progress(stream, &finished, &running);
    assert_true(finished == 0 && running == 0);
    assert_int_equal(netpool_stream_put(stream, bytes_of(&orders[0], sizeof orders[0]), 1000), NETPOOL_OK);
    while (running == 0) {
        assert_int_equal(netpool_stream_next(stream, 20, NULL, &result), NETPOOL_TIMEOUT);
        netpool_stream_get_progress(stream, &finished, &running);
    }
    assert_true(finished == 0 && running == 0.5);
    release_at(WAITING, WAITING, &release);
    assert_int_equal(netpool_stream_next(stream, 60000, NULL, &result), NETPOOL_OK);
    assert_int_equal(result.status, NETPOOL_OK);
    netpool_stream_get_progress(stream, &finished, &running);
    assert_true(finished == 1 && running == 0);
    netpool_stream_close(&stream);
    end_waiting(orders, &release, directory);
    netpool_close(&pool);
}

static void a25_profiles_of_maps_reductions_and_streams_add_up(void **state)
{
    netpool *pool = pool_of(state);
    const struct pool_fixture *fixture = *state;
    enum { COUNT = 1000 };
    static uint64_t in[COUNT];
    static uint64_t out[COUNT];
    netpool_profile profile;
    netpool_error error;
    netpool_map_options map = {.chunk = 10, .profile = &profile};
    assert_int_equal(netpool_map(pool, "square", in, COUNT, 8, out, 8, &map, &error), NETPOOL_OK);
    assert_true(profile.tasks == 100 && profile.items == COUNT && profile.failed == 0 && profile.chunk == 10);
    assert_true(profile.bytes_in == sizeof in && profile.bytes_out == sizeof out);
    assert_true(profile.executors >= 1 && profile.executors <= fixture->slots);
    netpool_reduce_options reduce = {.chunk = 100, .fan_in = 4, .profile = &profile};
    assert_int_equal(netpool_reduce(pool, "add_numbers", in, COUNT, 8, out, 8, &reduce, &error), NETPOOL_OK);
    assert_true(profile.tasks == 10 + 3 + 1 && profile.items == COUNT && profile.bytes_in == 8 * (COUNT + 10 + 3));
    netpool_stream *stream;
    assert_int_equal(netpool_stream_open(pool, "echo", NULL, &stream), NETPOOL_OK);
    assert_int_equal(netpool_stream_put(stream, bytes_of("four", 4), 1000), NETPOOL_OK);
    assert_int_equal(netpool_stream_next(stream, 60000, NULL, NULL), NETPOOL_OK);
    netpool_stream_get_profile(stream, &profile);
    assert_true(profile.tasks == 1 && profile.items == 1 && profile.bytes_in == 4 && profile.bytes_out == 4);
    netpool_stream_close(&stream);
    netpool_get_profile(pool, &profile);
    assert_true(profile.tasks == 115);
    netpool_close(&pool);
}

const struct CMUnitTest watch_cases[] = {
    cmocka_unit_test(a24_map_tells_of_the_parts_of_running_tasks),
    cmocka_unit_test(a24_reduction_tells_of_the_parts_of_running_leaves),
    cmocka_unit_test(a24_stream_tells_of_the_parts_of_running_tasks),
    cmocka_unit_test(a25_profiles_of_maps_reductions_and_streams_add_up),
};
const size_t watch_case_count = sizeof watch_cases / sizeof watch_cases[0];
