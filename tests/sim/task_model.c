#include "tests/sim/task_model.h"

#include "tests/sim/world.h"

const char *const function_names[WORLD_FUNCTIONS] = {"quick", "brief", "slow", "rare", "nowhere"};

uint64_t task_id(uint64_t client_key, uint64_t seq)
{
    return world_hash(client_key, seq);
}

/* Of workers and of retries. Something that no worker has is asked for only by tasks that expire. */
static void add_wishes(uint64_t client_key, uint64_t seq, struct task_options *options)
{
    static const char *const labels[16] = {"even", "w=1", "w", "never"};
    uint64_t bits = task_id(client_key, seq / 16 + (UINT64_C(1) << 41));
    options->slots = 1;
    options->retry_delay_ms = bits % 4 == 0 ? 1 + (uint32_t)(bits >> 8) % 200 : 0;
    options->retry_failures = (bits >> 16) % 2 == 0;
    if (options->function >= 3) {
        return; /* one worker or none has these */
    }
    options->label = labels[(bits >> 20) % 16];
    options->slots = (bits >> 24) % 5 == 0 ? 2 + (unsigned)(bits >> 28) % 2 : 1;
    if (options->label == labels[3]) {
        options->expiry_ms = 200 + (bits >> 32) % 1000;
    }
}

struct task_options options_of(uint64_t client_key, uint64_t seq)
{
    uint64_t bits = task_id(client_key, seq / 16 + (UINT64_C(1) << 40));
    struct task_options options = {.function = bits % 97 == 0 ? WORLD_FUNCTIONS - 1 : (unsigned)(bits >> 8) % 4,
                                   .priority = (int)((bits >> 16) % 3) - 1,
                                   .max_attempts = (bits >> 20) % 8 == 0   ? 1
                                                   : (bits >> 20) % 8 == 1 ? 5
                                                                           : 0,
                                   .expiry_ms = (bits >> 28) % 16 == 0 ? 200 + (bits >> 32) % 3000 : 0,
                                   .at_most_once = (bits >> 40) % 8 == 0};
    add_wishes(client_key, seq, &options);
    return options;
}

uint64_t lane_of(uint64_t client_key, uint64_t seq)
{
    uint64_t bits = task_id(client_key, seq + (UINT64_C(1) << 42));
    return bits % 4 == 0 ? 1 + (bits >> 8) % 5 : 0;
}

uint32_t payload_size(uint64_t client_key, uint64_t seq)
{
    uint64_t bits = task_id(client_key, seq) >> 7;
    return bits % 1009 == 0 ? 70000 : bits % 13 == 0 ? 300 : 8 + (uint32_t)(bits % 20);
}

enum task_nature nature_of(uint64_t task)
{
    uint64_t draw = (task >> 20) % 100;
    return draw < 3    ? NATURE_FAILS
           : draw < 6  ? NATURE_FAILS_ONCE
           : draw < 8  ? NATURE_CRASHES
           : draw < 11 ? NATURE_CRASHES_ONCE
                       : NATURE_FINE;
}

netpool_status failure_status_of(uint64_t task)
{
    return (task >> 50) % 3 == 0 ? NETPOOL_DEADLINE : NETPOOL_FAILED;
}

uint32_t result_of(uint64_t task, uint8_t *out, size_t capacity)
{
    uint64_t bits = task >> 33;
    uint32_t size = bits % 1511 == 0 ? RESULT_MAX : bits % 17 == 0 ? 0 : (uint32_t)(bits % 60);
    for (uint32_t i = 0; i < size && i < capacity; i++) {
        out[i] = (uint8_t)(task >> (i % 8 * 8)) ^ (uint8_t)i;
    }
    return size;
}
