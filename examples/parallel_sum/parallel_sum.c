/*
 * The sum of 100 million doubles by netpool_reduce: the same bits on every run and every pool, because the shape of
 * the tree depends on the number of items alone. The doubles are 1/1, 1/4, 1/9 ..., whose sum tends to pi squared
 * over six.
 *
 *     parallel_sum                                    worker processes beside this program
 *     parallel_sum --count 1000000 --url threads:4    fewer, on threads
 *
 * Exit status: 0 done, 1 the reduction failed, 2 usage, 3 the pool cannot be used.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <netpool.h>

enum { EXIT_TASK = 1, EXIT_USAGE = 2, EXIT_POOL = 3 };
enum { COUNT_DEFAULT = 100000000, COUNT_MAX = 1000000000 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double sum_in_a_loop(const double *numbers, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += numbers[i];
    }
    return sum;
}

static int run(const char *url, size_t count)
{
    NETPOOL_SCOPED netpool *pool = NULL;
    netpool_error error;
    if (netpool_open(&pool, url, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "parallel_sum: %s\n", error.message);
        return error.status == NETPOOL_INVALID ? EXIT_USAGE : EXIT_POOL;
    }
    double *numbers = malloc(count * sizeof *numbers);
    if (numbers == NULL) {
        fprintf(stderr, "parallel_sum: no memory for %zu doubles\n", count);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < count; i++) {
        double n = (double)(i + 1);
        numbers[i] = 1 / (n * n);
    }
    double sum = 0;
    double begin = seconds();
    netpool_status status =
        netpool_reduce(pool, "sum_doubles", numbers, count, sizeof *numbers, &sum, sizeof sum, NULL, &error);
    double middle = seconds();
    if (status == NETPOOL_OK) {
        double plain = sum_in_a_loop(numbers, count);
        double end = seconds();
        printf("sum    %.17g  %a\n", sum, sum);
        fprintf(stderr, "pool   %.3f s\nloop   %.3f s, differs by %.1e (it rounds in another order)\n",
                middle - begin, end - middle, fabs(plain - sum));
    } else {
        fprintf(stderr, "parallel_sum: %s\n", error.message);
    }
    free(numbers);
    return status == NETPOOL_OK ? EXIT_SUCCESS : status == NETPOOL_UNREACHABLE ? EXIT_POOL : EXIT_TASK;
}

static void print_help(FILE *out)
{
    fputs("Usage: parallel_sum [--url URL] [--count N]\n"
          "\n"
          "Prints the sum of 1/1, 1/4, 1/9 ... of N terms, computed by a pool; times go to standard error.\n"
          "\n"
          "  -u, --url URL  the pool: local[:N], threads[:N], ipc://PATH, tls://HOST:PORT\n"
          "                 (default: $NETPOOL_URL, else local)\n"
          "  -n, --count N  terms, 1 to 1000000000 (default: 100000000, which takes 800 MB)\n"
          "  -h, --help     print this text\n",
          out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"url", required_argument, NULL, 'u'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *url = NULL;
    unsigned long count = COUNT_DEFAULT;
    char *end = NULL;
    int option;

    netpool_init(&argc, &argv);
    while ((option = getopt_long(argc, argv, "u:n:h", options, NULL)) != -1) {
        switch (option) {
        case 'u':
            url = optarg;
            break;
        case 'n':
            errno = 0;
            count = strtoul(optarg, &end, 10);
            count = errno == 0 && *end == '\0' && optarg[0] != '-' ? count : 0;
            break;
        case 'h':
            print_help(stdout);
            return EXIT_SUCCESS;
        default:
            print_help(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc || count < 1 || count > COUNT_MAX) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    return run(url, count);
}
