/* Words and how often each was seen, in an open hash table; as text, "word count" lines in the order of strcmp. */
#ifndef WORD_TABLE_H
#define WORD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct word {
    const char *text; /* borrowed, not terminated; NULL: a free place */
    size_t size;      /* bytes */
    uint64_t count;
};

/* Zero-initialized is empty and valid. */
struct word_table {
    struct word *places; /* `capacity`, a power of two */
    size_t capacity;
    size_t count; /* words */
};

/* The text stays the caller's and must outlive the table. False when out of memory. */
bool word_table_add(struct word_table *table, const char *text, size_t size, uint64_t count);

/* Adds the words of a text: runs of ASCII letters and bytes above 127. */
bool word_table_add_text(struct word_table *table, const char *text, size_t size);

/* Adds the lines that word_table_print made. False also when they are malformed. */
bool word_table_add_lines(struct word_table *table, const char *lines, size_t size);

/* Packs the words to the front of `places`, in order; nothing may be added afterwards. */
void word_table_sort(struct word_table *table);

/* Bytes that word_table_print may take at most. */
size_t word_table_print_size(const struct word_table *table);

/* Prints the sorted table; returns the bytes taken. */
size_t word_table_print(const struct word_table *table, char *out);

void word_table_fini(struct word_table *table);

#endif
