/* Runs a fuzz target without libFuzzer: FILE... (replay), or prefixes, corruptions and random mutations of the seeds.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/random.h"
#include "tests/fuzz/fuzz.h"

enum { ALL_FLIPS = 255 };
enum { EDGE = 400 }; /* bytes at each end of a seed that are all tried; between them a sample */

static uint64_t runs;

static void run(const uint8_t *data, size_t size)
{
    /* A copy of exactly this size, so that the sanitizer sees a read past its end. */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void run_systematically(uint8_t *seed, size_t size, unsigned flips)
{
    run(seed, size);
    for (size_t at = 0; at < size; at += at >= EDGE && at + EDGE < size ? 1009 : 1) {
        run(seed, at);
        for (unsigned i = 0; i < flips; i++) {
            /* Spread over all values; fewer than all are others for each byte. */
            uint8_t flip = (uint8_t)(1 + (at * 37 + (size_t)i * ALL_FLIPS / flips) % ALL_FLIPS);
            seed[at] ^= flip;
            run(seed, size);
            seed[at] ^= flip;
        }
    }
}

static void mutate(struct np_random *random, struct np_buffer *bytes)
{
    uint8_t *data = np_buffer_data(bytes);
    size_t size = np_buffer_size(bytes);
    size_t at = (size_t)np_random_below(random, size);
    size_t length = 1 + (size_t)np_random_below(random, size - at < 64 ? size - at : 64);
    switch (np_random_below(random, 5)) {
    case 0:
        data[at] = (uint8_t)np_random_next(random);
        break;
    case 1: /* cut a piece out */
        memmove(data + at, data + at + length, size - at - length);
        bytes->end -= length;
        break;
    case 2: /* one piece over another */
        memmove(data + (size_t)np_random_below(random, size - length + 1), data + at, length);
        break;
    case 3: /* a value that lengths are checked against */
        for (size_t i = 0; i < length && i < 4; i++) {
            data[at + i] = (uint8_t)(np_random_below(random, 2) ? 0xff : 0);
        }
        break;
    default: /* say a piece again */
        if (np_buffer_append(bytes, data + at, 0) == NETPOOL_OK && np_buffer_reserve(bytes, length) != NULL) {
            memcpy(bytes->memory + bytes->end, np_buffer_data(bytes) + at, length);
            np_buffer_commit(bytes, length);
        }
        break;
    }
}

static void run_mutations(uint64_t seed, uint64_t count)
{
    unsigned seeds = 0;
    struct np_buffer probe = {0};
    while (fuzz_seed(seeds, &probe)) {
        seeds++;
    }
    np_buffer_fini(&probe);
    for (uint64_t i = 0; i < count; i++) {
        struct np_random random = {seed + i};
        struct np_buffer bytes = {0};
        (void)fuzz_seed((unsigned)np_random_below(&random, seeds), &bytes);
        for (uint64_t times = 1 + np_random_below(&random, 6); times > 0 && np_buffer_size(&bytes) > 0; times--) {
            mutate(&random, &bytes);
        }
        run(np_buffer_data(&bytes), np_buffer_size(&bytes));
        np_buffer_fini(&bytes);
    }
}

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 2;
    }
    struct np_buffer bytes = {0};
    uint8_t *place;
    size_t got = 1;
    while (got > 0 && (place = np_buffer_reserve(&bytes, 65536)) != NULL) {
        got = fread(place, 1, 65536, file);
        np_buffer_commit(&bytes, got);
    }
    (void)fclose(file);
    run(np_buffer_data(&bytes), np_buffer_size(&bytes));
    np_buffer_fini(&bytes);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"runs", required_argument, NULL, 'n'},
                                            {"flips", required_argument, NULL, 'f'},
                                            {NULL, 0, NULL, 0}};
    uint64_t seed = 1;
    uint64_t count = 20000;
    unsigned flips = ALL_FLIPS; /* other values tried for each byte */
    for (int option; (option = getopt_long(argc, argv, "s:n:f:", options, NULL)) != -1;) {
        if (option == 's') {
            seed = strtoull(optarg, NULL, 0);
        } else if (option == 'n') {
            count = strtoull(optarg, NULL, 0);
        } else if (option == 'f') {
            flips = (unsigned)strtoul(optarg, NULL, 0);
        } else {
            (void)fprintf(stderr, "usage: %s [--seed S] [--runs N] [--flips N] [FILE...]\n", argv[0]);
            return 2;
        }
    }
    if (optind < argc) {
        return replay(argv[optind]);
    }
    (void)printf("random mutations from --seed %" PRIu64 " --runs %" PRIu64 "\n", seed, count);
    (void)fflush(stdout);
    struct np_buffer bytes = {0};
    for (unsigned i = 0; fuzz_seed(i, &bytes); i++) {
        run_systematically(np_buffer_data(&bytes), np_buffer_size(&bytes), flips);
        np_buffer_clear(&bytes);
    }
    np_buffer_fini(&bytes);
    run_mutations(seed, count);
    (void)printf("%" PRIu64 " runs\n", runs);
    return 0;
}
