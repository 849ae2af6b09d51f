/* Writes one JSON value to a stdio stream, commas and escapes included. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 8

/* Zero-initialized but for `out`. */
struct json {
    FILE *out;
    unsigned depth;
    bool has_element[JSON_DEPTH_MAX];
};

/* name NULL: an element of a list, or the outermost value. bracket is '{' or '['. */
void json_open(struct json *json, const char *name, char bracket);
void json_close(struct json *json, char bracket);
/* Bytes that are no UTF-8 become U+FFFD. */
void json_text(struct json *json, const char *name, const char *text);
void json_number(struct json *json, const char *name, uint64_t number);
void json_bool(struct json *json, const char *name, bool value);

#endif
