/*
 * A folder of pictures through a stream: read one by one, resized and filtered by the pool, written as they come
 * back. However many there are, only as many as the stream has in flight are in memory.
 *
 *     images --generate 200 pictures                            paints 200 pictures into a folder
 *     images --size 160 --filter sharpen pictures small         resizes a folder into another
 *     images --url tls://broker.example:4747 pictures small     the same on a cluster
 *
 * Exit status: 0 done, 1 a picture failed, 2 usage, 3 the pool cannot be used.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <netpool.h>

#include "images.h"

enum { EXIT_TASK = 1, EXIT_USAGE = 2, EXIT_POOL = 3 };
enum { SIZE_DEFAULT = 160, NAME_SIZE = 256 };

struct job {
    netpool_stream *stream;
    const char *from; /* folder that is read */
    const char *to;   /* folder that is written */
    struct images_request request;
    char (*names)[NAME_SIZE]; /* of the pictures put so far, by index */
    size_t put;
    size_t taken;
    size_t failed;
};

/* Appends a name; false when out of memory. */
static bool keep_name(struct job *job, const char *name)
{
    if ((job->put & (job->put - 1)) == 0) {
        size_t capacity = job->put == 0 ? 1 : 2 * job->put;
        char(*names)[NAME_SIZE] = realloc(job->names, capacity * sizeof *names);
        if (names == NULL) {
            return false;
        }
        job->names = names;
    }
    (void)snprintf(job->names[job->put], NAME_SIZE, "%s", name);
    return true;
}

static bool write_picture(const struct job *job, uint64_t index, const netpool_result *result)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", job->to, job->names[index]);
    FILE *file = fopen(path, "wb");
    bool ok = file != NULL && fwrite(result->data, 1, result->size, file) == result->size;
    ok = file != NULL && fclose(file) == 0 && ok;
    if (!ok) {
        fprintf(stderr, "images: %s: %s\n", path, strerror(errno));
    }
    return ok;
}

/* Takes one result. False when there is none within the time. */
static bool take(struct job *job, int timeout_ms)
{
    uint64_t index = 0;
    netpool_result result;
    if (netpool_stream_next(job->stream, timeout_ms, &index, &result) != NETPOOL_OK) {
        return false;
    }
    job->taken++;
    if (result.status != NETPOOL_OK) {
        fprintf(stderr, "images: %s: %s\n", job->names[index], result.failure->message);
        job->failed++;
    } else if (!write_picture(job, index, &result)) {
        job->failed++;
    }
    return true;
}

/* Puts one input, and takes results while there is no room for it. */
static bool put(struct job *job, const char *name, netpool_bytes input)
{
    if (!keep_name(job, name)) {
        return false;
    }
    netpool_status status = netpool_stream_put(job->stream, input, 0);
    while (status == NETPOOL_TIMEOUT && take(job, -1)) {
        status = netpool_stream_put(job->stream, input, 0);
    }
    if (status != NETPOOL_OK) {
        fprintf(stderr, "images: %s: %s\n", name, netpool_last_error());
        return false;
    }
    job->put++;
    return true;
}

/* The request and the whole file in one block for the caller to free; NULL after a message. */
static uint8_t *read_picture(const struct job *job, const char *name, size_t *size)
{
    char path[4096];
    struct stat about;
    uint8_t *block = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", job->from, name);
    FILE *file = fopen(path, "rb");
    if (file != NULL && fstat(fileno(file), &about) == 0) {
        size_t file_size = (size_t)about.st_size;
        block = malloc(sizeof job->request + file_size);
        if (block != NULL) {
            memcpy(block, &job->request, sizeof job->request);
            *size = sizeof job->request + fread(block + sizeof job->request, 1, file_size, file);
        }
    }
    if (block == NULL) {
        fprintf(stderr, "images: %s: %s\n", path, strerror(errno));
    }
    if (file != NULL) {
        fclose(file);
    }
    return block;
}

static bool resize_folder(struct job *job)
{
    DIR *folder = opendir(job->from);
    if (folder == NULL) {
        fprintf(stderr, "images: %s: %s\n", job->from, strerror(errno));
        return false;
    }
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(folder)) != NULL;) {
        const char *extension = strrchr(entry->d_name, '.');
        if (extension == NULL || (strcmp(extension, ".png") != 0 && strcmp(extension, ".jpg") != 0)) {
            continue;
        }
        size_t size = 0;
        uint8_t *block = read_picture(job, entry->d_name, &size);
        ok = block != NULL && put(job, entry->d_name, (netpool_bytes){block, size});
        free(block);
    }
    closedir(folder);
    return ok;
}

static bool generate(struct job *job, uint64_t count)
{
    bool ok = true;
    for (uint64_t i = 0; ok && i < count; i++) {
        char name[NAME_SIZE];
        (void)snprintf(name, sizeof name, "%05" PRIu64 ".%s", i, i % 2 == 0 ? "png" : "jpg");
        ok = put(job, name, (netpool_bytes){&i, sizeof i});
    }
    return ok;
}

static int run(const char *url, uint64_t count, struct job *job)
{
    NETPOOL_SCOPED netpool *pool = NULL;
    netpool_error error;
    const netpool_stream_options options = {.unordered = true, .in_flight = 64};

    if (netpool_open(&pool, url, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "images: %s\n", error.message);
        return error.status == NETPOOL_INVALID ? EXIT_USAGE : EXIT_POOL;
    }
    if (mkdir(job->to, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "images: %s: %s\n", job->to, strerror(errno));
        return EXIT_USAGE;
    }
    if (netpool_stream_open(pool, count > 0 ? "paint" : "resize", &options, &job->stream) != NETPOOL_OK) {
        fprintf(stderr, "images: %s\n", netpool_last_error());
        return EXIT_POOL;
    }
    bool ok = count > 0 ? generate(job, count) : resize_folder(job);
    netpool_stream_end(job->stream);
    while (take(job, -1)) {
    }
    netpool_stream_close(&job->stream);
    free(job->names);
    printf("%zu pictures, %zu failed\n", job->taken, job->failed);
    return ok && job->failed == 0 && job->taken == job->put ? EXIT_SUCCESS : EXIT_TASK;
}

static void print_help(FILE *out)
{
    fputs("Usage: images [--url URL] [--size PIXELS] [--filter NAME] FROM TO\n"
          "       images [--url URL] --generate COUNT TO\n"
          "\n"
          "Resizes and filters the PNG and JPEG pictures of folder FROM into folder TO.\n"
          "\n"
          "  -u, --url URL         the pool: local[:N], threads[:N], ipc://PATH, tls://HOST:PORT\n"
          "                        (default: $NETPOOL_URL, else local)\n"
          "  -s, --size PIXELS     length of the longer side, 1 to 10000 (default: 160)\n"
          "  -f, --filter NAME     none, blur, sharpen, gray or edges (default: none)\n"
          "  -g, --generate COUNT  paint COUNT pictures into TO instead\n"
          "  -h, --help            print this text\n",
          out);
}

/* False unless text is a whole number from 1 to most. */
static bool parse_count(const char *text, uint64_t most, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return errno == 0 && end != text && *end == '\0' && text[0] != '-' && value >= 1 && value <= most;
}

static bool parse_filter(const char *name, uint32_t *out)
{
    static const char *const names[] = {"none", "blur", "sharpen", "gray", "edges"}; /* enum images_filter */
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'},    {"size", required_argument, NULL, 's'},
        {"filter", required_argument, NULL, 'f'}, {"generate", required_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    struct job job = {.request = {.longest = SIZE_DEFAULT}};
    const char *url = NULL;
    uint64_t count = 0;
    uint64_t size = SIZE_DEFAULT;
    bool ok = true;
    int option;

    netpool_init(&argc, &argv);
    while ((option = getopt_long(argc, argv, "u:s:f:g:h", options, NULL)) != -1) {
        switch (option) {
        case 'u':
            url = optarg;
            break;
        case 's':
            ok = ok && parse_count(optarg, 10000, &size);
            break;
        case 'f':
            ok = ok && parse_filter(optarg, &job.request.filter);
            break;
        case 'g':
            ok = ok && parse_count(optarg, 100000, &count);
            break;
        case 'h':
            print_help(stdout);
            return EXIT_SUCCESS;
        default:
            ok = false;
            break;
        }
    }
    if (!ok || argc - optind != (count > 0 ? 1 : 2)) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    job.request.longest = (uint32_t)size;
    job.from = argv[optind];
    job.to = argv[argc - 1];
    return run(url, count, &job);
}
