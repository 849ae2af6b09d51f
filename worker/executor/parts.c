#include "worker/executor/parts.h"

#include <endian.h>
#include <string.h>

enum { ALIGNMENT = 16 };

struct head {
    uint64_t magic;
    uint64_t count;
};

struct entry {
    uint64_t offset;
    uint64_t size;
};

static size_t padded(size_t size)
{
    return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

size_t parts_size(const netpool_bytes *parts, size_t count)
{
    size_t size;
    if (__builtin_mul_overflow(count, sizeof(struct entry), &size) ||
        __builtin_add_overflow(size, sizeof(struct head), &size)) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size > SIZE_MAX - ALIGNMENT || __builtin_add_overflow(size, padded(parts[i].size), &size)) {
            return 0;
        }
    }
    return size;
}

void parts_pack(void *out, const netpool_bytes *parts, size_t count)
{
    unsigned char *bytes = out;
    const struct head head = {.magic = htole64(PARTS_MAGIC), .count = htole64(count)};
    size_t offset = sizeof head + count * sizeof(struct entry);
    memcpy(bytes, &head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        const struct entry entry = {.offset = htole64(offset), .size = htole64(parts[i].size)};
        size_t space = padded(parts[i].size);
        memcpy(bytes + sizeof head + i * sizeof entry, &entry, sizeof entry);
        if (parts[i].size > 0) {
            memcpy(bytes + offset, parts[i].data, parts[i].size);
            memset(bytes + offset + parts[i].size, 0, space - parts[i].size);
        }
        offset += space;
    }
}

/* The count that the head claims, as far as the table has room in the input; 0: there is no head. */
static size_t claimed_count(netpool_bytes input)
{
    struct head head;
    if (input.size < sizeof head) {
        return 0;
    }
    memcpy(&head, input.data, sizeof head);
    uint64_t room = (input.size - sizeof head) / sizeof(struct entry);
    uint64_t count = le64toh(head.count);
    return le64toh(head.magic) == PARTS_MAGIC && count <= room ? (size_t)count : 0;
}

/* Both numbers as the table has them, wherever they point. */
static struct entry entry_at(netpool_bytes input, size_t index)
{
    struct entry entry;
    memcpy(&entry, (const unsigned char *)input.data + sizeof(struct head) + index * sizeof entry, sizeof entry);
    return (struct entry){.offset = le64toh(entry.offset), .size = le64toh(entry.size)};
}

size_t netpool_part_count(netpool_bytes input)
{
    size_t count = claimed_count(input);
    uint64_t offset = sizeof(struct head) + count * sizeof(struct entry);
    for (size_t i = 0; i < count; i++) {
        struct entry entry = entry_at(input, i);
        uint64_t room = input.size - offset;
        if (entry.offset != offset || entry.size > room || padded((size_t)entry.size) > room) {
            return 0;
        }
        offset += padded((size_t)entry.size);
    }
    return offset == input.size ? count : 0;
}

netpool_bytes netpool_part(netpool_bytes input, size_t index)
{
    const netpool_bytes none = {0};
    if (index >= claimed_count(input)) {
        return none;
    }
    struct entry entry = entry_at(input, index);
    if (entry.offset > input.size || entry.size > input.size - entry.offset || entry.offset % ALIGNMENT != 0) {
        return none;
    }
    return (netpool_bytes){.data = (const unsigned char *)input.data + entry.offset, .size = (size_t)entry.size};
}
