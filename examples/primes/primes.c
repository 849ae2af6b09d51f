/*
 * The main job: factors the numbers of a file on whatever pool it is given, in a handful of calls of the public API.
 *
 *     primes numbers.txt                                  worker processes beside this program
 *     primes --url threads:4 numbers.txt                  threads
 *     primes --url tls://broker.example:4747 numbers.txt  a cluster
 *
 * Exit status: 0 done, 1 a number failed, 2 usage, 3 the pool cannot be used.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netpool.h>

enum { EXIT_TASK = 1, EXIT_USAGE = 2, EXIT_POOL = 3 };

struct numbers {
    char *text; /* the whole file */
    netpool_bytes *lines;
    size_t count;
};

static bool read_text(FILE *file, char **text, size_t *size)
{
    size_t capacity = 0;
    *size = 0;
    for (;;) {
        if (*size == capacity) {
            capacity = capacity == 0 ? 65536 : capacity * 2;
            char *larger = realloc(*text, capacity);
            if (larger == NULL) {
                return false;
            }
            *text = larger;
        }
        size_t got = fread(*text + *size, 1, capacity - *size, file);
        *size += got;
        if (got == 0) {
            return !ferror(file);
        }
    }
}

static bool split_lines(struct numbers *numbers, size_t size)
{
    size_t capacity = 1;
    for (size_t i = 0; i < size; i++) {
        capacity += numbers->text[i] == '\n';
    }
    numbers->lines = calloc(capacity, sizeof *numbers->lines);
    if (numbers->lines == NULL) {
        return false;
    }
    for (const char *line = numbers->text, *end = line + size; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline != NULL ? newline : end;
        if (stop > line) {
            numbers->lines[numbers->count++] = (netpool_bytes){line, (size_t)(stop - line)};
        }
        line = stop + 1;
    }
    return true;
}

static bool read_numbers(struct numbers *numbers, const char *path)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "r");
    size_t size = 0;
    if (file == NULL) {
        return false;
    }
    bool ok = read_text(file, &numbers->text, &size) && split_lines(numbers, size);
    if (!is_stdin) {
        fclose(file);
    }
    return ok;
}

static int print_results(const netpool_bytes *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fwrite(results[i].data, 1, results[i].size, stdout);
        putchar('\n');
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "primes: writing the results: %s\n", strerror(errno));
        return EXIT_TASK;
    }
    return EXIT_SUCCESS;
}

static int run(const char *url, const char *function, const char *path)
{
    NETPOOL_SCOPED netpool *pool = NULL;
    netpool_error error = {0};
    struct numbers numbers = {0};
    netpool_bytes *results = NULL;
    int status = EXIT_POOL;

    /* The pool first: `local` starts its workers as copies of this process, and now it is small. */
    if (netpool_open(&pool, url, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "primes: %s\n", error.message);
        return error.status == NETPOOL_INVALID ? EXIT_USAGE : EXIT_POOL;
    }
    if (!read_numbers(&numbers, path)) {
        fprintf(stderr, "primes: %s: %s\n", path, strerror(errno));
        status = EXIT_USAGE;
        goto cleanup;
    }
    results = calloc(numbers.count + 1, sizeof *results);
    if (results == NULL) {
        fprintf(stderr, "primes: out of memory\n");
        goto cleanup;
    }
    if (netpool_map_bytes(pool, function, numbers.lines, numbers.count, results, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "primes: %s\n", error.message);
        status = error.status == NETPOOL_UNREACHABLE ? EXIT_POOL : EXIT_TASK;
    } else {
        status = print_results(results, numbers.count);
    }
    netpool_free_results(results, numbers.count);

cleanup:
    free(results);
    free(numbers.lines);
    free(numbers.text);
    return status;
}

static void print_help(FILE *out)
{
    fputs("Usage: primes [--url URL] [--largest] [FILE]\n"
          "\n"
          "Prints the prime factors of each number of FILE (default: standard input) in the format of factor(1).\n"
          "\n"
          "  -u, --url URL  the pool: local[:N], threads[:N], ipc://PATH, tls://HOST:PORT\n"
          "                 (default: $NETPOOL_URL, else local)\n"
          "  -l, --largest  print only the largest prime factor of each number\n"
          "  -h, --help     print this text\n",
          out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"url", required_argument, NULL, 'u'},
                                            {"largest", no_argument, NULL, 'l'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *url = NULL;
    const char *function = "factorize";
    int option;

    netpool_init(&argc, &argv);
    while ((option = getopt_long(argc, argv, "u:lh", options, NULL)) != -1) {
        switch (option) {
        case 'u':
            url = optarg;
            break;
        case 'l':
            function = "largest_prime_factor";
            break;
        case 'h':
            print_help(stdout);
            return EXIT_SUCCESS;
        default:
            print_help(stderr);
            return EXIT_USAGE;
        }
    }
    if (argc - optind > 1) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    return run(url, function, optind < argc ? argv[optind] : "-");
}
