/* The functions of the images example: libgd does the work, each call on one picture.
 *
 *   paint    u64 number -> a picture, the same for the same number: PNG for even, JPEG for odd numbers
 *   resize   struct images_request and a PNG or JPEG file -> the picture resized and filtered, in its own format
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <gd.h>
#include <netpool_function.h>

#include "images.h"

enum { PAINTED_WIDTH = 640, PAINTED_HEIGHT = 420, JPEG_QUALITY = 85 };

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016). */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static int below(uint64_t *state, int limit)
{
    return (int)(next_random(state) >> 33) % limit;
}

static netpool_status give_picture(netpool_call *call, gdImagePtr picture, bool is_png)
{
    int size = 0;
    void *bytes = is_png ? gdImagePngPtr(picture, &size) : gdImageJpegPtr(picture, &size, JPEG_QUALITY);
    gdImageDestroy(picture);
    if (bytes == NULL) {
        return netpool_fail(call, "the result cannot be encoded");
    }
    netpool_status status = netpool_return(call, bytes, (size_t)size);
    gdFree(bytes);
    return status;
}

/* Hills under an evening sky. */
static void paint_landscape(gdImagePtr picture, uint64_t *random)
{
    int hue = below(random, 90);
    for (int y = 0; y < PAINTED_HEIGHT; y++) {
        int light = 255 - y * 120 / PAINTED_HEIGHT;
        int color = gdImageColorAllocate(picture, light, light - hue - y * 60 / PAINTED_HEIGHT, 120 + hue);
        gdImageLine(picture, 0, y, PAINTED_WIDTH, y, color);
    }
    int sun = 50 + below(random, 60);
    gdImageFilledEllipse(picture, below(random, PAINTED_WIDTH), 60 + below(random, 120), sun, sun,
                         gdImageColorAllocate(picture, 255, 240, 200));
    for (int hill = 0; hill < 4; hill++) {
        int color = gdImageColorAllocate(picture, 90 - hill * 20, 110 - hill * 20, 100 - hill * 18);
        double phase = below(random, 628) / 100.0;
        double length = 60.0 + below(random, 120);
        int height = 30 + below(random, 50);
        int base = PAINTED_HEIGHT - 180 + hill * 50;
        for (int x = 0; x < PAINTED_WIDTH; x++) {
            int top = base - (int)(height * sin(phase + x / length)) - (int)(height / 3.0 * sin(3 * x / length));
            gdImageLine(picture, x, top, x, PAINTED_HEIGHT, color);
        }
    }
}

static netpool_status paint(netpool_call *call, netpool_bytes input)
{
    uint64_t number = 0;
    if (input.size != sizeof number) {
        return netpool_fail(call, "paint: expected %zu bytes, got %zu", sizeof number, input.size);
    }
    memcpy(&number, input.data, sizeof number);
    gdImagePtr picture = gdImageCreateTrueColor(PAINTED_WIDTH, PAINTED_HEIGHT);
    if (picture == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    uint64_t random = number * 0x9e3779b97f4a7c15U + 1;
    (void)next_random(&random);
    paint_landscape(picture, &random);
    return give_picture(call, picture, number % 2 == 0);
}

static gdImagePtr scaled(gdImagePtr picture, unsigned longest)
{
    unsigned width = (unsigned)gdImageSX(picture);
    unsigned height = (unsigned)gdImageSY(picture);
    unsigned long side = width > height ? width : height;
    unsigned new_width = (unsigned)((width * (unsigned long)longest + side / 2) / side);
    unsigned new_height = (unsigned)((height * (unsigned long)longest + side / 2) / side);
    gdImageSetInterpolationMethod(picture, GD_BILINEAR_FIXED);
    return gdImageScale(picture, new_width > 0 ? new_width : 1, new_height > 0 ? new_height : 1);
}

static bool apply_filter(gdImagePtr picture, uint32_t filter)
{
    switch (filter) {
    case FILTER_NONE:
        return true;
    case FILTER_BLUR:
        return gdImageGaussianBlur(picture) != 0;
    case FILTER_SHARPEN:
        gdImageSharpen(picture, 80);
        return true;
    case FILTER_GRAY:
        return gdImageGrayScale(picture) != 0;
    case FILTER_EDGES:
        return gdImageEdgeDetectQuick(picture) != 0;
    default:
        return false;
    }
}

static netpool_status resize(netpool_call *call, netpool_bytes input)
{
    static const uint8_t png_magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    struct images_request request;
    if (input.size < sizeof request + sizeof png_magic) {
        return netpool_fail(call, "resize: %zu bytes are no picture", input.size);
    }
    memcpy(&request, input.data, sizeof request);
    if (request.longest < 1 || request.longest > 10000) {
        return netpool_fail(call, "resize: a size of %u pixels is not between 1 and 10000", request.longest);
    }
    void *file = (uint8_t *)(uintptr_t)input.data + sizeof request; /* libgd only reads it */
    int size = (int)(input.size - sizeof request);
    bool is_png = memcmp(file, png_magic, sizeof png_magic) == 0;
    gdImagePtr picture = is_png ? gdImageCreateFromPngPtr(size, file) : gdImageCreateFromJpegPtr(size, file);
    if (picture == NULL) {
        return netpool_fail(call, "resize: neither a PNG nor a JPEG picture");
    }
    gdImagePtr result = scaled(picture, request.longest);
    gdImageDestroy(picture);
    if (result == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    if (!apply_filter(result, request.filter)) {
        gdImageDestroy(result);
        return netpool_fail(call, "resize: filter %u failed", request.filter);
    }
    return give_picture(call, result, is_png);
}

NETPOOL_MODULE(images, NETPOOL_FUNCTION(paint, "a generated picture"),
               NETPOOL_FUNCTION(resize, "a picture resized and filtered"))
