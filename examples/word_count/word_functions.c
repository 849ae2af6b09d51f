/* The functions of the word count. A table of counts travels as text: "word count" lines in order.
 *
 *   count_words    a piece of text -> the counts of its words
 *   merge_counts   parts, each the counts of some pieces -> the counts of all
 */
#include <netpool_function.h>

#include "word_table.h"

static netpool_status give_counts(netpool_call *call, struct word_table *table)
{
    word_table_sort(table);
    char *out = netpool_return_buffer(call, word_table_print_size(table));
    if (out == NULL) {
        return netpool_fail(call, "no room for the counts of %zu words", table->count);
    }
    return netpool_return(call, out, word_table_print(table, out));
}

static netpool_status count_words(netpool_call *call, netpool_bytes input)
{
    struct word_table table = {0};
    netpool_status status = NETPOOL_NO_MEMORY;
    if (word_table_add_text(&table, input.data, input.size)) {
        status = give_counts(call, &table);
    }
    word_table_fini(&table);
    return status;
}

static netpool_status merge_counts(netpool_call *call, netpool_bytes input)
{
    struct word_table table = {0};
    size_t count = netpool_part_count(input);
    netpool_status status = count > 0 ? NETPOOL_OK : netpool_fail(call, "merge_counts: the input has no parts");
    for (size_t i = 0; i < count && status == NETPOOL_OK; i++) {
        netpool_bytes part = netpool_part(input, i);
        if (!word_table_add_lines(&table, part.data, part.size)) {
            status = netpool_fail(call, "merge_counts: part %zu is malformed, or there is no memory for it", i);
        }
    }
    if (status == NETPOOL_OK) {
        status = give_counts(call, &table);
    }
    word_table_fini(&table);
    return status;
}

NETPOOL_MODULE(words, NETPOOL_FUNCTION(count_words, "how often each word stands in a text"),
               NETPOOL_FUNCTION(merge_counts, "several counts as one"))
