/* Text that people and logs read: bounded, one line, without control characters. */
#ifndef NP_TEXT_H
#define NP_TEXT_H

#include <stdarg.h>
#include <stddef.h>

#include "common/netpool_status.h"

/* Copies `text` into out[size], cut to fit (never inside a UTF-8 character) and NUL-terminated. Returns false when it
 * was cut. */
_Bool np_text_copy(char *out, size_t size, const char *text);

/* Formats into out[size], cut likewise. */
void np_text_format(char *out, size_t size, const char *format, ...) NETPOOL_PRINTF(3, 4);
void np_text_format_list(char *out, size_t size, const char *format, va_list arguments) NETPOOL_PRINTF(3, 0);

/* The size of the longest beginning of text[size] that does not end inside a UTF-8 character. What is not UTF-8 is
 * left as it is. */
size_t np_text_whole(const char *text, size_t size);

/* Replaces bytes below 0x20 and 0x7f by '?', in place: a peer's words cannot forge a log line. */
void np_text_clean(char *text);

#endif
