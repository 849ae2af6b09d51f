/* Functions of several arguments: messages one by one and as an array, then the same with structs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"

enum { ORDERS = 3, TRIANGLES = 4 };

/* A single order: submitted, waited for, unpacked. */
static bool price_one(netpool *pool)
{
    char item[] = "bolt M8";
    uint32_t pieces[] = {100, 50};
    Demo__Order order = DEMO__ORDER__INIT;
    order.item = item;
    order.pieces = pieces;
    order.n_pieces = 2;
    order.each = 0.25;
    netpool_future *future = NULL;
    netpool_result result;
    Demo__Quote *quote = NULL;
    netpool_error error = {0};
    bool done = price_submit(pool, &order, NULL, &future) == NETPOOL_OK &&
                netpool_wait(future, -1, &result) == NETPOOL_OK &&
                demo__quote__result(&result, &quote, &error) == NETPOOL_OK;
    if (done) {
        printf("%-20s %10.2f\n", quote->text, quote->price);
        demo__quote__free_unpacked(quote, NULL);
    } else {
        fprintf(stderr, "arguments: %s\n", error.message[0] != '\0' ? error.message : netpool_last_error());
    }
    netpool_future_free(&future);
    return done;
}

static bool price_many(netpool *pool)
{
    static char names[ORDERS][8] = {"nut M8", "nut M10", "washer"};
    uint32_t pieces[ORDERS] = {10, 20, 3000};
    Demo__Order orders[ORDERS];
    const Demo__Order *in[ORDERS];
    Demo__Quote *out[ORDERS];
    netpool_error error;
    for (size_t i = 0; i < ORDERS; i++) {
        demo__order__init(&orders[i]);
        orders[i].item = names[i];
        orders[i].pieces = &pieces[i];
        orders[i].n_pieces = 1;
        orders[i].each = 0.125;
        in[i] = &orders[i];
    }
    if (price_map(pool, in, ORDERS, out, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "arguments: %s\n", error.message);
        return false;
    }
    for (size_t i = 0; i < ORDERS; i++) {
        printf("%-20s %10.2f\n", out[i]->text, out[i]->price);
        demo__quote__free_unpacked(out[i], NULL);
    }
    return true;
}

static bool measure_many(netpool *pool)
{
    const struct triangle in[TRIANGLES] = {{3, 4, 5}, {5, 12, 13}, {8, 15, 17}, {1, 1, 1}};
    struct measures out[TRIANGLES];
    netpool_error error;
    if (measure_map(pool, in, TRIANGLES, out, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "arguments: %s\n", error.message);
        return false;
    }
    for (size_t i = 0; i < TRIANGLES; i++) {
        printf("sides %2g, %2g, %2g: circumference %3g, area %.3f\n", in[i].a, in[i].b, in[i].c, out[i].circumference,
               out[i].area);
    }
    return true;
}

/* What goes wrong in a function comes back in words. */
static bool measure_nonsense(netpool *pool)
{
    const struct triangle none = {1, 1, 5};
    struct measures measures;
    netpool_future *future = NULL;
    netpool_result result;
    netpool_error error = {0};
    if (measure_submit(pool, &none, NULL, &future) != NETPOOL_OK) {
        fprintf(stderr, "arguments: %s\n", netpool_last_error());
        return false;
    }
    (void)netpool_wait(future, -1, &result);
    netpool_status status = measures_result(&result, &measures, &error);
    printf("%s: %s\n", netpool_status_name(status), error.message);
    netpool_future_free(&future);
    return status == NETPOOL_FAILED;
}

int main(int argc, char **argv)
{
    NETPOOL_SCOPED netpool *pool = NULL;
    netpool_error error;
    const bool has_url = argc == 3 && strcmp(argv[1], "--url") == 0;
    if (argc > 1 && !has_url) {
        fprintf(stderr, "usage: arguments [--url URL]\n");
        return 2;
    }
    if (netpool_open(&pool, has_url ? argv[2] : NULL, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "arguments: %s\n", error.message);
        return EXIT_FAILURE;
    }
    return price_one(pool) && price_many(pool) && measure_many(pool) && measure_nonsense(pool) ? EXIT_SUCCESS
                                                                                               : EXIT_FAILURE;
}
