#include "word_table.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 1024, DIGITS_MAX = 20 };

/* FNV-1a: Fowler, Noll, Vo. */
static uint64_t hash_of(const char *text, size_t size)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (uint8_t)text[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

static struct word *find_place(const struct word_table *table, const char *text, size_t size)
{
    size_t i = hash_of(text, size) & (table->capacity - 1);
    while (table->places[i].text != NULL &&
           (table->places[i].size != size || memcmp(table->places[i].text, text, size) != 0)) {
        i = (i + 1) & (table->capacity - 1);
    }
    return &table->places[i];
}

static bool grow(struct word_table *table)
{
    struct word_table larger = {.capacity = table->capacity == 0 ? CAPACITY_FIRST : 2 * table->capacity,
                                .count = table->count};
    larger.places = calloc(larger.capacity, sizeof *larger.places);
    if (larger.places == NULL) {
        return false;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->places[i].text != NULL) {
            *find_place(&larger, table->places[i].text, table->places[i].size) = table->places[i];
        }
    }
    free(table->places);
    *table = larger;
    return true;
}

bool word_table_add(struct word_table *table, const char *text, size_t size, uint64_t count)
{
    if (4 * (table->count + 1) > 3 * table->capacity && !grow(table)) {
        return false;
    }
    struct word *place = find_place(table, text, size);
    if (place->text == NULL) {
        *place = (struct word){.text = text, .size = size};
        table->count++;
    }
    place->count += count;
    return true;
}

static bool is_letter(char c)
{
    unsigned char byte = (unsigned char)c;
    return (byte | 0x20U) - 'a' < 26U || byte > 127;
}

bool word_table_add_text(struct word_table *table, const char *text, size_t size)
{
    for (size_t begin = 0, end; begin < size; begin = end + 1) {
        end = begin;
        while (end < size && is_letter(text[end])) {
            end++;
        }
        if (end > begin && !word_table_add(table, text + begin, end - begin, 1)) {
            return false;
        }
    }
    return true;
}

bool word_table_add_lines(struct word_table *table, const char *lines, size_t size)
{
    const char *end = lines + size;
    while (lines < end) {
        const char *space = memchr(lines, ' ', (size_t)(end - lines));
        if (space == NULL) {
            return false;
        }
        uint64_t count = 0;
        const char *digit = space + 1;
        for (; digit < end && *digit >= '0' && *digit <= '9'; digit++) {
            count = 10 * count + (uint64_t)(*digit - '0');
        }
        if (digit == end || *digit != '\n' || !word_table_add(table, lines, (size_t)(space - lines), count)) {
            return false;
        }
        lines = digit + 1;
    }
    return true;
}

static int compare_words(const void *a, const void *b)
{
    const struct word *left = a;
    const struct word *right = b;
    size_t common = left->size < right->size ? left->size : right->size;
    int order = memcmp(left->text, right->text, common);
    return order != 0 ? order : (left->size > right->size) - (left->size < right->size);
}

void word_table_sort(struct word_table *table)
{
    size_t packed = 0;
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->places[i].text != NULL) {
            table->places[packed++] = table->places[i];
        }
    }
    if (packed > 0) {
        qsort(table->places, packed, sizeof *table->places, compare_words);
    }
}

size_t word_table_print_size(const struct word_table *table)
{
    size_t size = 0;
    for (size_t i = 0; i < table->count; i++) {
        size += table->places[i].size + DIGITS_MAX + 2;
    }
    return size;
}

size_t word_table_print(const struct word_table *table, char *out)
{
    char *begin = out;
    for (size_t i = 0; i < table->count; i++) {
        char digits[DIGITS_MAX];
        size_t used = 0;
        memcpy(out, table->places[i].text, table->places[i].size);
        out += table->places[i].size;
        *out++ = ' ';
        for (uint64_t rest = table->places[i].count; rest > 0 || used == 0; rest /= 10) {
            digits[used++] = (char)('0' + rest % 10);
        }
        while (used > 0) {
            *out++ = digits[--used];
        }
        *out++ = '\n';
    }
    return (size_t)(out - begin);
}

void word_table_fini(struct word_table *table)
{
    free(table->places);
    *table = (struct word_table){0};
}
