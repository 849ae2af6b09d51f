#include "cli/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

/* Size of the UTF-8 sequence at text, 0 when it is none (RFC 3629: no surrogates, no overlong forms). */
static size_t sequence_size(const unsigned char *text)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t size;
    } forms[] = {
        {0x00, 0x7f, 0x00, 0xff, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (text[0] < forms[i].first_low || text[0] > forms[i].first_high) {
            continue;
        }
        if (forms[i].size > 1 && (text[1] < forms[i].second_low || text[1] > forms[i].second_high)) {
            return 0;
        }
        for (size_t byte = 2; byte < forms[i].size; byte++) {
            if (text[byte] < 0x80 || text[byte] > 0xbf) {
                return 0; /* the NUL at the end, too */
            }
        }
        return forms[i].size;
    }
    return 0;
}

static void write_string(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *next = (const unsigned char *)text; *next != '\0';) {
        size_t size = sequence_size(next);
        if (size == 0) {
            fputs("\\ufffd", out);
            size = 1;
        } else if (*next == '"' || *next == '\\') {
            fprintf(out, "\\%c", *next);
        } else if (*next < 0x20 || *next == 0x7f) {
            fprintf(out, "\\u%04x", (unsigned)*next);
        } else {
            fwrite(next, 1, size, out);
        }
        next += size;
    }
    putc('"', out);
}

static void begin_element(struct json *json, const char *name)
{
    if (json->depth > 0) {
        if (json->has_element[json->depth - 1]) {
            fputs(", ", json->out);
        }
        json->has_element[json->depth - 1] = true;
    }
    if (name != NULL) {
        write_string(json->out, name);
        fputs(": ", json->out);
    }
}

void json_open(struct json *json, const char *name, char bracket)
{
    assert(json->depth < JSON_DEPTH_MAX);
    begin_element(json, name);
    putc(bracket, json->out);
    json->has_element[json->depth++] = false;
}

void json_close(struct json *json, char bracket)
{
    assert(json->depth > 0);
    json->depth--;
    putc(bracket, json->out);
}

void json_text(struct json *json, const char *name, const char *text)
{
    begin_element(json, name);
    write_string(json->out, text);
}

void json_number(struct json *json, const char *name, uint64_t number)
{
    begin_element(json, name);
    fprintf(json->out, "%" PRIu64, number);
}

void json_bool(struct json *json, const char *name, bool value)
{
    begin_element(json, name);
    fputs(value ? "true" : "false", json->out);
}
