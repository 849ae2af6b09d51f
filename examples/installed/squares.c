/* Sums the squares of 0 .. N-1 (default 1000) on the pool of NETPOOL_URL, or on local processes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <netpool.h>

#include "squares.h"

int main(int argc, char **argv)
{
    NETPOOL_SCOPED netpool *pool = NULL;
    netpool_error error;
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    struct squares_in *in = calloc(count, sizeof *in);
    struct squares_out *out = calloc(count, sizeof *out);
    int64_t sum = 0;

    if (in == NULL || out == NULL) {
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < count; i++) {
        in[i].number = (int32_t)i;
    }
    if (netpool_open(&pool, NULL, NULL, &error) != NETPOOL_OK ||
        netpool_map(pool, "square", in, count, sizeof *in, out, sizeof *out, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "squares: %s\n", error.message);
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < count; i++) {
        sum += out[i].square;
    }
    printf("%" PRId64 "\n", sum);
    free(in);
    free(out);
    return EXIT_SUCCESS;
}
