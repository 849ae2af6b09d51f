/* The ring that executors and supervisor share, under every wrap and partial condition, with two threads, and against
 * a liar at the other end. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/random.h"
#include "tests/support/cmocka_all.h"
#include "worker/slots/ring.h"

enum { CAPACITY = 64 };

struct pair {
    struct ring_positions positions;
    uint8_t bytes[CAPACITY];
    struct ring writer;
    struct ring reader;
};

static void make(struct pair *pair)
{
    memset(pair, 0, sizeof *pair);
    ring_init(&pair->writer, &pair->positions, pair->bytes, CAPACITY);
    ring_init(&pair->reader, &pair->positions, pair->bytes, CAPACITY);
}

static void ring_carries_every_size_from_every_offset(void **state)
{
    (void)state;
    uint8_t data[CAPACITY];
    uint8_t back[CAPACITY];
    for (size_t offset = 0; offset < CAPACITY; offset++) {
        for (size_t size = 0; size <= CAPACITY; size++) {
            struct pair pair;
            make(&pair);
            ring_skip(&pair.writer, offset);
            ring_publish_written(&pair.writer);
            ring_skip(&pair.reader, offset);
            ring_publish_read(&pair.reader);
            for (size_t i = 0; i < size; i++) {
                data[i] = (uint8_t)(i + offset + 1);
            }
            assert_int_equal(ring_room(&pair.writer, CAPACITY), CAPACITY);
            ring_write(&pair.writer, data, size);
            assert_int_equal(ring_available(&pair.reader), 0); /* not published yet */
            ring_publish_written(&pair.writer);
            assert_int_equal(ring_available(&pair.reader), size);
            const uint8_t *place = ring_peek(&pair.reader, size);
            assert_int_equal(place != NULL, CAPACITY - offset >= size);
            if (place != NULL) {
                assert_memory_equal(place, data, size);
            }
            ring_read(&pair.reader, back, size);
            assert_memory_equal(back, data, size);
            assert_int_equal(ring_room(&pair.writer, CAPACITY), CAPACITY - size);
            ring_publish_read(&pair.reader);
            assert_int_equal(ring_room(&pair.writer, CAPACITY), CAPACITY);
        }
    }
}

static void room_is_looked_up_anew_only_when_more_is_wanted(void **state)
{
    (void)state;
    struct pair pair;
    make(&pair);
    ring_skip(&pair.writer, 40);
    ring_publish_written(&pair.writer);
    assert_int_equal(ring_available(&pair.reader), 40);
    ring_skip(&pair.reader, 40);
    ring_publish_read(&pair.reader);
    assert_int_equal(ring_room(&pair.writer, 24), 24);
    assert_int_equal(ring_room(&pair.writer, 25), CAPACITY);
}

static void positions_that_cannot_be_break_the_ring(void **state)
{
    (void)state;
    struct pair pair;
    make(&pair);
    atomic_store(&pair.positions.written, CAPACITY + 1);
    assert_int_equal(ring_available(&pair.reader), 0);
    assert_true(pair.reader.is_broken);
    make(&pair);
    ring_skip(&pair.writer, 10);
    ring_publish_written(&pair.writer);
    assert_int_equal(ring_available(&pair.reader), 10);
    ring_skip(&pair.reader, 10);
    atomic_store(&pair.positions.written, 9); /* backwards */
    assert_int_equal(ring_available(&pair.reader), 0);
    assert_true(pair.reader.is_broken);
    atomic_store(&pair.positions.read, 11); /* read what was never written */
    assert_int_equal(ring_room(&pair.writer, CAPACITY), 0);
    assert_true(pair.writer.is_broken);
    atomic_store(&pair.positions.read, 10);
    assert_int_equal(ring_room(&pair.writer, CAPACITY), 0); /* broken for good */
}

enum { STREAM = 4 * 1024 * 1024, STREAM_CAPACITY = 4096 };

struct stream {
    struct ring_positions positions;
    uint8_t bytes[STREAM_CAPACITY];
};

static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 0x9e3779b97f4a7c15U >> 56);
}

static void *write_stream(void *context)
{
    struct stream *stream = context;
    struct ring ring;
    struct np_random random = {.state = 1};
    uint8_t piece[STREAM_CAPACITY];
    ring_init(&ring, &stream->positions, stream->bytes, STREAM_CAPACITY);
    for (uint64_t sent = 0; sent < STREAM;) {
        size_t size = (size_t)np_random_below(&random, STREAM_CAPACITY) + 1;
        size = size < STREAM - sent ? size : (size_t)(STREAM - sent);
        size_t room = ring_room(&ring, size);
        size = size < room ? size : room;
        for (size_t i = 0; i < size; i++) {
            piece[i] = byte_at(sent + i);
        }
        ring_write(&ring, piece, size);
        ring_publish_written(&ring);
        sent += size;
    }
    return NULL;
}

static void two_threads_see_one_stream_of_bytes(void **state)
{
    (void)state;
    struct stream *stream = aligned_alloc(64, (sizeof *stream + 63) / 64 * 64);
    memset(stream, 0, sizeof *stream);
    struct ring ring;
    struct np_random random = {.state = 2};
    uint8_t piece[STREAM_CAPACITY];
    pthread_t writer;
    ring_init(&ring, &stream->positions, stream->bytes, STREAM_CAPACITY);
    assert_int_equal(pthread_create(&writer, NULL, write_stream, stream), 0);
    bool is_right = true;
    for (uint64_t received = 0; received < STREAM;) {
        size_t size = (size_t)np_random_below(&random, STREAM_CAPACITY) + 1;
        size_t available = ring_available(&ring);
        size = size < available ? size : available;
        ring_read(&ring, piece, size);
        ring_publish_read(&ring);
        for (size_t i = 0; i < size; i++) {
            is_right = is_right && piece[i] == byte_at(received + i);
        }
        received += size;
    }
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_true(is_right);
    assert_false(ring.is_broken);
    free(stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring_carries_every_size_from_every_offset),
        cmocka_unit_test(room_is_looked_up_anew_only_when_more_is_wanted),
        cmocka_unit_test(positions_that_cannot_be_break_the_ring),
        cmocka_unit_test(two_threads_see_one_stream_of_bytes),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
