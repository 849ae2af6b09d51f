#include "common/text.h"

#include <stdio.h>
#include <string.h>

size_t np_text_whole(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t trailing = 0; /* continuation bytes at the end */
    while (trailing < 3 && trailing < size && (bytes[size - 1 - trailing] & 0xc0) == 0x80) {
        trailing++;
    }
    if (trailing == size) {
        return size;
    }
    unsigned char lead = bytes[size - 1 - trailing];
    size_t wanted = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    return trailing < wanted ? size - 1 - trailing : size;
}

_Bool np_text_copy(char *out, size_t size, const char *text)
{
    size_t length = strlen(text);
    size_t kept = length < size ? length : np_text_whole(text, size - 1);
    memcpy(out, text, kept);
    out[kept] = '\0';
    return kept == length;
}

void np_text_format_list(char *out, size_t size, const char *format, va_list arguments)
{
    int length = vsnprintf(out, size, format, arguments);
    if (length < 0) {
        out[0] = '\0';
    } else if ((size_t)length >= size) {
        out[np_text_whole(out, size - 1)] = '\0';
    }
}

void np_text_format(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    np_text_format_list(out, size, format, arguments);
    va_end(arguments);
}

void np_text_clean(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
}
