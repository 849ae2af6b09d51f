/* The functions: linked into the program for its local pools, and a module for workers. */
#include <math.h>
#include <stdio.h>

#include "arguments.h"

static netpool_status price(netpool_call *call, netpool_bytes input)
{
    Demo__Order *order = demo__order__argument(call, input);
    if (order == NULL) {
        return NETPOOL_FAILED; /* the message is set */
    }
    Demo__Quote quote = DEMO__QUOTE__INIT;
    char text[200];
    uint64_t pieces = 0;
    for (size_t i = 0; i < order->n_pieces; i++) {
        pieces += order->pieces[i];
    }
    (void)snprintf(text, sizeof text, "%llu x %.100s", (unsigned long long)pieces, order->item);
    quote.text = text;
    quote.price = (double)pieces * order->each;
    netpool_status status = demo__quote__return(call, &quote);
    demo__order__free_unpacked(order, NULL);
    return status;
}

static netpool_status measure(netpool_call *call, netpool_bytes input)
{
    const struct triangle *t = triangle_argument(call, input);
    if (t == NULL) {
        return NETPOOL_FAILED;
    }
    const double half = (t->a + t->b + t->c) / 2;
    const double square = half * (half - t->a) * (half - t->b) * (half - t->c); /* Heron */
    if (!(square >= 0)) {
        return netpool_fail(call, "there is no triangle with sides %g, %g, %g", t->a, t->b, t->c);
    }
    const struct measures measures = {.circumference = 2 * half, .area = sqrt(square)};
    return measures_return(call, &measures);
}

NETPOOL_MODULE(arguments, NETPOOL_FUNCTION(price, "demo.Order -> demo.Quote: what it costs"),
               NETPOOL_FUNCTION(measure, "struct triangle -> struct measures"))
