/* The function of the pipeline: bytes in, a gzip member (RFC 1952) of them out. */
#include <string.h>

#include <netpool_function.h>
#include <zlib.h>

enum { GZIP_FORMAT = 16, MEMORY_LEVEL = 8 }; /* see zlib.h, deflateInit2 */

static netpool_status gzip_block(netpool_call *call, netpool_bytes input)
{
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + GZIP_FORMAT, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        return netpool_fail(call, "gzip_block: %s", stream.msg != NULL ? stream.msg : "zlib cannot start");
    }
    size_t room = deflateBound(&stream, (uLong)input.size);
    unsigned char *output = netpool_return_buffer(call, room);
    if (output == NULL) {
        (void)deflateEnd(&stream);
        return netpool_fail(call, "gzip_block: no room for %zu bytes", room);
    }
    stream.next_in = (Bytef *)(uintptr_t)input.data; /* zlib only reads it */
    stream.avail_in = (uInt)input.size;
    stream.next_out = output;
    stream.avail_out = (uInt)room;
    int result = deflate(&stream, Z_FINISH);
    size_t size = room - stream.avail_out;
    (void)deflateEnd(&stream);
    if (result != Z_STREAM_END) {
        return netpool_fail(call, "gzip_block: zlib says %d", result);
    }
    return netpool_return(call, output, size);
}

NETPOOL_MODULE(gzip, NETPOOL_FUNCTION(gzip_block, "a gzip member of the input"))
