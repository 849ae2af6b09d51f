#include "common/text.h"

#include <string.h>

_Bool np_text_copy(char *out, size_t size, const char *text)
{
    size_t length = strlen(text);
    size_t kept = length < size ? length : size - 1;
    memcpy(out, text, kept);
    out[kept] = '\0';
    return kept == length;
}

void np_text_clean(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
}
