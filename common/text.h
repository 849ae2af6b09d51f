/* Text that people and logs read: bounded, one line, without control characters. */
#ifndef NP_TEXT_H
#define NP_TEXT_H

#include <stddef.h>

/* Copies `text` into out[size], cut to fit and NUL-terminated. Returns false when it was cut. */
_Bool np_text_copy(char *out, size_t size, const char *text);

/* Replaces bytes below 0x20 and 0x7f by '?', in place: a peer's words cannot forge a log line. */
void np_text_clean(char *text);

#endif
