#include "transport/link.h"

#include <string.h>

size_t link_parts_size(const struct iovec *parts, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    return size;
}

void link_parts_copy(const struct iovec *parts, size_t from, uint8_t *out, size_t size)
{
    for (; size > 0; parts++) {
        size_t skipped = from < parts->iov_len ? from : parts->iov_len;
        size_t copied = parts->iov_len - skipped < size ? parts->iov_len - skipped : size;
        if (copied > 0) {
            memcpy(out, (const uint8_t *)parts->iov_base + skipped, copied);
        }
        from -= skipped;
        out += copied;
        size -= copied;
    }
}
