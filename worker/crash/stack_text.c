#include "worker/crash/stack_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_SIZE = 512 }; /* bytes of one frame */

void stack_text_init(struct stack_text *text)
{
    text->size = 0;
    text->is_full = false;
    text->bytes[0] = '\0';
}

__attribute__((format(printf, 2, 3))) static void add_line(struct stack_text *text, const char *format, ...)
{
    char line[LINE_MAX_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size_t size = strlen(line);
    size_t newline = text->size > 0 ? 1 : 0;
    if (text->is_full || text->size + newline + size > NP_STACK_MAX) {
        text->is_full = true;
        return;
    }
    if (newline > 0) {
        text->bytes[text->size++] = '\n';
    }
    memcpy(text->bytes + text->size, line, size + 1);
    text->size += size;
}

void stack_text_add_source(struct stack_text *text, const char *function, const char *file, int line)
{
    const char *slash = strrchr(file, '/');
    add_line(text, "%.200s at %.200s:%d", function, slash != NULL ? slash + 1 : file, line);
}

void stack_text_add_address(struct stack_text *text, const char *function, const char *module, size_t module_size,
                            uint64_t offset)
{
    const char *slash = module != NULL ? memrchr(module, '/', module_size) : NULL;
    if (slash != NULL) {
        module_size -= (size_t)(slash + 1 - module);
        module = slash + 1;
    }
    int shown = module_size < 200 ? (int)module_size : 200;
    if (module == NULL || module_size == 0) {
        add_line(text, "0x%" PRIx64, offset);
    } else if (function != NULL) {
        add_line(text, "%.200s+0x%" PRIx64 " in %.*s", function, offset, shown, module);
    } else {
        add_line(text, "%.*s+0x%" PRIx64, shown, module, offset);
    }
}

void stack_text_clean(char *bytes, size_t size)
{
    if (size > NP_STACK_MAX) {
        size = NP_STACK_MAX;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if ((c < 0x20 && c != '\n') || c == 0x7f) {
            bytes[i] = '?';
        }
    }
    while (size > 0 && bytes[size - 1] == '\n') {
        size--;
    }
    bytes[size] = '\0';
}
