/*
 * The floor under payloads of `local`: two processes that share memory, four buffers there and four back. The parent
 * copies its one payload into a buffer and wakes the child, the child copies that into the buffer back and wakes the
 * parent, who has it there and looks no closer. Each has a processor of its own: where they share one, a wake-up
 * costs a tenth, and whether they do is the scheduler's whim. One copy in and one out is what a pool that hands
 * functions memory of their own asks of caches and memory; nothing is counted, kept or given a name.
 *
 *     floor_copy BYTES [SECONDS]     round trips of this size, then the rate with four under way (phase.h)
 */
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/floors/party.h"
#include "bench/phase.h"

/* The place of both processes. */
struct board {
    size_t size;
    size_t slots;     /* in use: as many as are under way */
    size_t processor; /* the child's */
    unsigned char *there[PHASE_UNDER_WAY];
    unsigned char *back[PHASE_UNDER_WAY];
    sem_t sent;
    sem_t answered;
};

static void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        figures_die("copy: shared memory: %s", strerror(errno));
    }
    memset(memory, 0, size); /* all of it is there before anything is measured */
    return memory;
}

static void stay_on(size_t processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        figures_die("copy: processor %zu: %s", processor, strerror(errno));
    }
}

/* The parent takes the first processor that this program may use, the child the last. */
static void take_processors(struct board *board)
{
    cpu_set_t all;
    size_t first = CPU_SETSIZE;
    if (sched_getaffinity(0, sizeof all, &all) != 0) {
        figures_die("copy: processors: %s", strerror(errno));
    }
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all)) {
            first = i < first ? i : first;
            board->processor = i;
        }
    }
    stay_on(first);
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
    }
}

static void answer(void *argument)
{
    struct board *board = argument;
    stay_on(board->processor);
    for (uint64_t i = 0;; i++) {
        wait_for(&board->sent);
        memcpy(board->back[i % board->slots], board->there[i % board->slots], board->size);
        sem_post(&board->answered);
    }
}

static void send(struct board *board, uint64_t number, const void *payload)
{
    memcpy(board->there[number % board->slots], payload, board->size);
    sem_post(&board->sent);
}

static void measure(struct board *board, const char *name, size_t slots, const void *payload,
                    struct phase_length length)
{
    board->slots = slots;
    if (sem_init(&board->sent, 1, 0) != 0 || sem_init(&board->answered, 1, 0) != 0) {
        figures_die("copy: semaphore: %s", strerror(errno));
    }
    pid_t child = party_start(answer, board);
    _Atomic uint64_t done = 0;
    struct phase phase;
    for (uint64_t i = 0; i + 1 < slots; i++) {
        send(board, i, payload);
    }
    phase_init(&phase, name, length, slots == 1, &done);
    for (; phase_goes_on(&phase); done++) {
        send(board, done + slots - 1, payload);
        wait_for(&board->answered);
    }
    party_end(child); /* with what was on its way */
}

int main(int argc, char **argv)
{
    size_t size = (size_t)figures_positive(argc > 1 ? argv[1] : "16", "bytes");
    double seconds = figures_positive(argc > 2 ? argv[2] : "0.5", "seconds");
    struct board *board = shared_memory(sizeof *board);
    board->size = size;
    take_processors(board);
    for (size_t i = 0; i < PHASE_UNDER_WAY; i++) {
        board->there[i] = shared_memory(size);
        board->back[i] = shared_memory(size);
    }
    unsigned char *payload = malloc(size);
    if (payload == NULL) {
        figures_die("out of memory");
    }
    memset(payload, 'x', size);
    measure(board, "trips", 1, payload, phase_of_trips(size, seconds));
    measure(board, "rate", PHASE_UNDER_WAY, payload, phase_of_rate(size, seconds));
    free(payload);
    return 0;
}
