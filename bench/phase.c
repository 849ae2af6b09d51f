#include "bench/phase.h"

#include <inttypes.h>

#define LIMIT_NS UINT64_C(6000000000)
#define LARGE_SIZE ((size_t)16 * 1024 * 1024) /* a hundred of these would take minutes */

enum { TIMES_MAX = 200000, TRIPS_LEAST = 100, LARGE_TRIPS_LEAST = 20, RATE_LEAST = 24 };

void phase_init(struct phase *phase, const char *name, struct phase_length length, bool is_timed,
                const _Atomic uint64_t *done)
{
    *phase = (struct phase){.name = name, .done = done, .length = length, .start_ns = figures_now_ns()};
    phase->done_before = atomic_load(done);
    if (is_timed) {
        figures_times_init(&phase->times, TIMES_MAX);
    }
}

static void begin(struct phase *phase)
{
    figures_tell("{\"begin\":\"%s\"}", phase->name);
    phase->is_measured = true;
    phase->done_before = atomic_load(phase->done);
    phase->start_ns = phase->last_ns = figures_now_ns();
}

static void end(struct phase *phase, uint64_t count, uint64_t took_ns)
{
    double rate = (double)count * FIGURES_NS_PER_S / (double)took_ns;
    if (phase->times.count > 0) {
        struct figures_quantiles times = figures_times_quantiles(&phase->times);
        figures_tell("{\"end\":\"%s\",\"count\":%" PRIu64 ",\"rate\":%.6g,\"p50\":%.6g,\"p99\":%.6g}", phase->name,
                     count, rate, times.p50_us, times.p99_us);
    } else {
        figures_tell("{\"end\":\"%s\",\"count\":%" PRIu64 ",\"rate\":%.6g}", phase->name, count, rate);
    }
    figures_times_fini(&phase->times);
}

bool phase_goes_on(struct phase *phase)
{
    uint64_t now_ns = figures_now_ns();
    uint64_t count = atomic_load(phase->done) - phase->done_before;
    uint64_t took_ns = now_ns - phase->start_ns;
    uint64_t wanted_ns = (uint64_t)(phase->length.seconds * FIGURES_NS_PER_S);
    if (!phase->is_measured) {
        if (count >= phase->length.warm_up &&
            took_ns >= (uint64_t)(phase->length.warm_up_seconds * FIGURES_NS_PER_S)) {
            begin(phase);
        }
        return true;
    }
    if (phase->times.capacity > 0) {
        figures_times_add(&phase->times, now_ns - phase->last_ns);
        phase->last_ns = now_ns;
    }
    bool is_enough = took_ns >= wanted_ns && count >= phase->length.least;
    if (count == 0 || (!is_enough && took_ns < LIMIT_NS)) {
        return true;
    }
    end(phase, count, took_ns);
    return false;
}

/* Each process has to have seen all of a dozen large blocks before none of their pages is new to it: that takes longer
 * than what follows. */
static double warm_up_of(size_t payload_size, double seconds)
{
    return payload_size < LARGE_SIZE ? seconds / 5 : 3 * seconds;
}

struct phase_length phase_of_trips(size_t payload_size, double seconds)
{
    return (struct phase_length){.warm_up = PHASE_UNDER_WAY,
                                 .warm_up_seconds = warm_up_of(payload_size, seconds),
                                 .least = payload_size < LARGE_SIZE ? TRIPS_LEAST : LARGE_TRIPS_LEAST,
                                 .seconds = seconds};
}

struct phase_length phase_of_rate(size_t payload_size, double seconds)
{
    return (struct phase_length){.warm_up = 2 * PHASE_UNDER_WAY,
                                 .warm_up_seconds = warm_up_of(payload_size, seconds),
                                 .least = RATE_LEAST,
                                 .seconds = seconds};
}
