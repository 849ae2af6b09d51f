#include "worker/slots/preparation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/executor/initializer.h"
#include "worker/fatal.h"
#include "worker/slots/batch.h"

void preparations_init(struct preparations *preparations, unsigned slots)
{
    *preparations = (struct preparations){.slots = slots};
    for (size_t i = 0; i < PREPARATION_BUCKETS; i++) {
        np_list_init(&preparations->buckets[i]);
    }
}

static void destroy(struct preparation *preparation)
{
    free(preparation->input);
    free(preparation->failure);
    free(preparation->by_slot);
    free(preparation);
}

static void drop(struct preparations *preparations, struct preparation *preparation)
{
    np_list_remove(&preparation->node);
    preparation->is_known = false;
    preparations->count--;
    if (preparation->users == 0) {
        destroy(preparation);
    }
}

void preparations_fini(struct preparations *preparations)
{
    for (size_t i = 0; i < PREPARATION_BUCKETS; i++) {
        NP_LIST_EACH(node, &preparations->buckets[i]) {
            drop(preparations, NP_CONTAINER(node, struct preparation, node));
        }
    }
}

struct preparation *preparations_find(struct preparations *preparations, const uint8_t *session)
{
    if (preparations->count == 0) {
        return NULL;
    }
    NP_LIST_EACH(node, &preparations->buckets[session[0]]) {
        struct preparation *preparation = NP_CONTAINER(node, struct preparation, node);
        if (memcmp(preparation->session, session, NP_SESSION_SIZE) == 0) {
            return preparation;
        }
    }
    return NULL;
}

bool preparation_is(const struct preparation *preparation, const struct preparation_order *order)
{
    return strcmp(preparation->initializer, order->initializer) == 0 && preparation->max_tasks == order->max_tasks &&
           preparation->input_size == order->input_size &&
           (order->input_size == 0 || memcmp(preparation->input, order->input, order->input_size) == 0);
}

/* A broker says anew on each link what it still wants: what is older and unused is of no use to anybody. */
static bool make_room(struct preparations *preparations, uint32_t link)
{
    for (size_t i = 0; i < PREPARATION_BUCKETS && preparations->count >= PREPARATIONS_MAX; i++) {
        NP_LIST_EACH(node, &preparations->buckets[i]) {
            struct preparation *preparation = NP_CONTAINER(node, struct preparation, node);
            if (preparation->link != link && preparation->users == 0) {
                drop(preparations, preparation);
            }
        }
    }
    return preparations->count < PREPARATIONS_MAX;
}

static void renew(struct preparation *preparation, const struct preparation_order *order)
{
    preparation->link = order->link;
    free(preparation->failure);
    preparation->failure = NULL;
    if (order->initializer[0] != '\0' && order->function == TASK_NO_FUNCTION) {
        char text[NP_MESSAGE_MAX + 1];
        initializer_failed(text, order->initializer, "this worker does not have that function");
        preparation_fail(preparation, text);
    }
}

bool preparations_put(struct preparations *preparations, const struct preparation_order *order)
{
    struct preparation *preparation = preparations_find(preparations, order->session);
    if (preparation != NULL && preparation_is(preparation, order)) {
        renew(preparation, order);
        return true;
    }
    if (preparation != NULL) {
        drop(preparations, preparation);
    }
    if (!make_room(preparations, order->link)) {
        return false;
    }
    preparation = fatal_if_null(calloc(1, sizeof *preparation));
    preparation->by_slot = fatal_if_null(calloc(preparations->slots, sizeof(struct prepared)));
    preparation->input = fatal_if_null(malloc(order->input_size + 1));
    if (order->input_size > 0) {
        memcpy(preparation->input, order->input, order->input_size);
    }
    memcpy(preparation->session, order->session, NP_SESSION_SIZE);
    (void)np_text_copy(preparation->initializer, sizeof preparation->initializer, order->initializer);
    preparation->input_size = order->input_size;
    preparation->function = order->function;
    preparation->max_tasks = order->max_tasks;
    preparation->is_known = true;
    np_list_push_back(&preparations->buckets[order->session[0]], &preparation->node);
    preparations->count++;
    renew(preparation, order);
    return true;
}

void preparations_forget(struct preparations *preparations, const uint8_t *session)
{
    struct preparation *preparation = preparations_find(preparations, session);
    if (preparation != NULL) {
        drop(preparations, preparation);
    }
}

void preparation_use(struct preparation *preparation)
{
    if (preparation != NULL) {
        preparation->users++;
    }
}

void preparation_release(struct preparation *preparation)
{
    if (preparation == NULL) {
        return;
    }
    assert(preparation->users > 0);
    preparation->users--;
    if (preparation->users == 0 && !preparation->is_known) {
        destroy(preparation);
    }
}

struct prepared *preparation_of(struct preparation *preparation, unsigned slot, uint64_t executor)
{
    struct prepared *prepared = &preparation->by_slot[slot];
    if (prepared->executor != executor) {
        *prepared = (struct prepared){.executor = executor};
    }
    return prepared;
}

void preparation_fail(struct preparation *preparation, const char *text)
{
    free(preparation->failure);
    preparation->failure = fatal_if_null(strdup(text));
}
