/* A little of everything that the client library does, to be run under valgrind: test_pool_leaks URL. The exit status
 * is valgrind's to give, so the program ends with 1 at the first thing that goes wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/netpool.h"

static void check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "test_pool_leaks: %s\n", what);
        exit(1);
    }
}

static void use_maps(netpool *pool)
{
    static uint64_t in[3000];
    static uint64_t out[3000];
    netpool_bytes texts[50];
    netpool_bytes results[50];
    netpool_error error;
    check(netpool_map(pool, "square", in, 3000, 8, out, 8, NULL, &error) == NETPOOL_OK, "map");
    in[1500] = 4711;
    check(netpool_map(pool, "fail_above", in, 3000, 8, out, 8, NULL, &error) == NETPOOL_FAILED, "failing map");
    for (size_t i = 0; i < 50; i++) {
        texts[i] = (netpool_bytes){"a longer text than what is kept inline in a result", i};
    }
    check(netpool_map_bytes(pool, "echo", texts, 50, results, NULL, &error) == NETPOOL_OK, "map of bytes");
    netpool_free_results(results, 50);
    check(netpool_map_bytes(pool, "fail", texts, 50, results, NULL, &error) == NETPOOL_FAILED,
          "failing map of bytes");
    netpool_free_results(results, 50);
}

static void use_futures(netpool *pool)
{
    static char block[200000];
    uint64_t ms = 30;
    for (size_t size = 0; size <= sizeof block; size += 50000) {
        netpool_future *future;
        netpool_result result;
        check(netpool_submit(pool, "echo", (netpool_bytes){block, size}, NULL, &future) == NETPOOL_OK, "submit");
        check(netpool_wait(future, -1, &result) == NETPOOL_OK && result.size == size, "wait");
        netpool_future_free(&future);
    }
    for (int i = 0; i < 30; i++) { /* cancelled, freed in flight, failed */
        netpool_future *future;
        const char *function = i % 3 == 0 ? "fail" : "sleep_ms";
        check(netpool_submit(pool, function, (netpool_bytes){&ms, sizeof ms}, NULL, &future) == NETPOOL_OK, "submit");
        if (i % 2 == 0) {
            (void)netpool_cancel(future);
            (void)netpool_wait(future, -1, NULL);
        }
        netpool_future_free(&future);
    }
}

static void use_streams(netpool *pool)
{
    for (int unordered = 0; unordered < 2; unordered++) {
        netpool_stream_options options = {.unordered = unordered != 0, .in_flight = 64};
        netpool_stream *stream;
        netpool_result result;
        check(netpool_stream_open(pool, "echo", &options, &stream) == NETPOOL_OK, "stream");
        for (int i = 0; i < 64; i++) {
            check(netpool_stream_put(stream, (netpool_bytes){"abc", 3}, -1) == NETPOOL_OK, "put");
        }
        for (int i = 0; i < 40; i++) { /* and 24 are left to netpool_stream_close */
            check(netpool_stream_next(stream, -1, NULL, &result) == NETPOOL_OK && result.size == 3, "next");
        }
        netpool_stream_close(&stream);
    }
}

static netpool *open_pool(const char *url)
{
    netpool *pool;
    netpool_error error;
    if (netpool_open(&pool, url, NULL, &error) != NETPOOL_OK) {
        check(0, error.message);
    }
    return pool;
}

int main(int argc, char **argv)
{
    check(argc == 2, "usage: test_pool_leaks URL");
    netpool_error error;
    netpool_info *info;
    netpool *pool = open_pool(argv[1]);
    use_maps(pool);
    use_futures(pool);
    use_streams(pool);
    check(netpool_get_info(pool, &info, -1, &error) == NETPOOL_OK, "info");
    netpool_info_free(&info);
    netpool_close(&pool);
    pool = open_pool(argv[1]);
    use_futures(pool);
    netpool_terminate(&pool);
    check(netpool_open(&pool, "nonsense", NULL, NULL) == NETPOOL_INVALID, "bad URL");
    return 0;
}
