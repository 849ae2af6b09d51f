/*
 * Counts the words of a text by map and reduce: pieces of the text are counted wherever there is a free executor, and
 * the counts are merged there, too; nothing is shared, and this program sees only the last table.
 *
 *     word_count --generate 50 text.txt                      writes 50 MB of text
 *     word_count text.txt                                    counts it on worker processes beside this program
 *     word_count --url tls://broker.example:4747 text.txt    the same on a cluster
 *
 * Prints "word count" lines in the order of the words' bytes.
 *
 * Exit status: 0 done, 1 a task failed, 2 usage, 3 the pool cannot be used.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <netpool.h>

enum { EXIT_TASK = 1, EXIT_USAGE = 2, EXIT_POOL = 3 };
enum { PIECE_SIZE = 1024 * 1024, VOCABULARY = 20000, WORD_SIZE = 32 };

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016). */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static void make_word(char *word, uint64_t *random)
{
    static const char *const syllables[] = {"ba", "con", "di", "er",  "fo", "gra", "hu", "in", "ka",  "lo", "me",
                                            "na", "or",  "pe", "qui", "ro", "sta", "ti", "un", "ver", "wi", "zo"};
    size_t count = 1 + next_random(random) % 4;
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        const char *syllable = syllables[(next_random(random) >> 33) % (sizeof syllables / sizeof syllables[0])];
        length += (size_t)snprintf(word + length, WORD_SIZE - length, "%s", syllable);
    }
}

/* A text whose words are as unevenly frequent as a language's: the n-th word about 1/n as often as the first (Zipf).
 */
static int generate(const char *path, size_t megabytes)
{
    static char words[VOCABULARY][WORD_SIZE];
    uint64_t random = 20261121;
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "word_count: %s: %s\n", path, strerror(errno));
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < VOCABULARY; i++) {
        make_word(words[i], &random);
    }
    size_t column = 0;
    for (size_t size = 0; size < megabytes * 1000 * 1000;) {
        double uniform = (double)(next_random(&random) >> 11) / 9007199254740992.0; /* 2^53 */
        const char *word = words[(size_t)(pow(VOCABULARY, uniform) - 1)];
        size_t length = strlen(word);
        column = column + length > 110 ? 0 : column + length + 1;
        fprintf(file, "%s%c", word, column == 0 ? '\n' : ' ');
        size += length + 1;
    }
    if (fclose(file) != 0) {
        fprintf(stderr, "word_count: %s: %s\n", path, strerror(errno));
        return EXIT_USAGE;
    }
    return EXIT_SUCCESS;
}

/* Cuts the text into pieces that end between words. Returns their number. */
static size_t cut(const char *text, size_t size, netpool_bytes *pieces)
{
    size_t count = 0;
    for (size_t begin = 0, end; begin < size; begin = end) {
        end = size - begin > PIECE_SIZE ? begin + PIECE_SIZE : size;
        while (end < size && !isspace((unsigned char)text[end])) {
            end++;
        }
        pieces[count++] = (netpool_bytes){text + begin, end - begin};
    }
    return count;
}

static int count_text(netpool *pool, const char *text, size_t size)
{
    netpool_bytes *pieces = calloc(size / PIECE_SIZE + 1, sizeof *pieces);
    if (pieces == NULL) {
        fprintf(stderr, "word_count: out of memory\n");
        return EXIT_USAGE;
    }
    const netpool_reduce_options options = {.leaf = "count_words", .chunk = 1};
    netpool_bytes counts = {0};
    netpool_error error;
    int status = EXIT_SUCCESS;
    if (netpool_reduce_bytes(pool, "merge_counts", pieces, cut(text, size, pieces), &counts, &options, &error) !=
        NETPOOL_OK) {
        fprintf(stderr, "word_count: %s\n", error.message);
        status = error.status == NETPOOL_UNREACHABLE ? EXIT_POOL : EXIT_TASK;
    } else if (fwrite(counts.data, 1, counts.size, stdout) != counts.size || fflush(stdout) != 0) {
        fprintf(stderr, "word_count: writing the counts: %s\n", strerror(errno));
        status = EXIT_TASK;
    }
    netpool_free_results(&counts, 1);
    free(pieces);
    return status;
}

static int run(const char *url, const char *path)
{
    NETPOOL_SCOPED netpool *pool = NULL;
    netpool_error error;
    struct stat about;
    if (netpool_open(&pool, url, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "word_count: %s\n", error.message);
        return error.status == NETPOOL_INVALID ? EXIT_USAGE : EXIT_POOL;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &about) != 0) {
        fprintf(stderr, "word_count: %s: %s\n", path, strerror(errno));
        return EXIT_USAGE;
    }
    if (about.st_size == 0) {
        return EXIT_SUCCESS;
    }
    size_t size = (size_t)about.st_size;
    char *text = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (text == MAP_FAILED) {
        fprintf(stderr, "word_count: %s: %s\n", path, strerror(errno));
        return EXIT_USAGE;
    }
    int status = count_text(pool, text, size);
    munmap(text, size);
    return status;
}

static void print_help(FILE *out)
{
    fputs("Usage: word_count [--url URL] FILE\n"
          "       word_count --generate MEGABYTES FILE\n"
          "\n"
          "Prints how often each word stands in FILE.\n"
          "\n"
          "  -u, --url URL             the pool: local[:N], threads[:N], ipc://PATH, tls://HOST:PORT\n"
          "                            (default: $NETPOOL_URL, else local)\n"
          "  -g, --generate MEGABYTES  write a text of this size into FILE instead, 1 to 100000\n"
          "  -h, --help                print this text\n",
          out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"url", required_argument, NULL, 'u'},
                                            {"generate", required_argument, NULL, 'g'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *url = NULL;
    bool generates = false;
    unsigned long megabytes = 1;
    char *end = NULL;
    int option;

    netpool_init(&argc, &argv);
    while ((option = getopt_long(argc, argv, "u:g:h", options, NULL)) != -1) {
        switch (option) {
        case 'u':
            url = optarg;
            break;
        case 'g':
            generates = true;
            megabytes = strtoul(optarg, &end, 10);
            megabytes = *end == '\0' && optarg[0] != '-' ? megabytes : 0;
            break;
        case 'h':
            print_help(stdout);
            return EXIT_SUCCESS;
        default:
            print_help(stderr);
            return EXIT_USAGE;
        }
    }
    if (argc - optind != 1 || megabytes < 1 || megabytes > 100000) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    return generates ? generate(argv[optind], megabytes) : run(url, argv[optind]);
}
