/* What program and functions agree on. */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include <netpool_protobuf.h>
#include <netpool_struct.h>
#include <stdint.h>

#include "prices.pb-c.h"

/* The way with messages: several arguments of any kind and size, and fields that may be added later. */
NETPOOL_PROTOBUF_TYPE(Demo__Order, demo__order)
NETPOOL_PROTOBUF_TYPE(Demo__Quote, demo__quote)
NETPOOL_PROTOBUF_FUNCTION(price, Demo__Order, demo__order, Demo__Quote, demo__quote)

/* The way with structs: no generator, no copying, fixed sizes, the same layout on both sides. */
struct triangle {
    double a, b, c; /* sides */
};

struct measures {
    double circumference;
    double area;
};

NETPOOL_STRUCT_TYPE(struct triangle, triangle)
NETPOOL_STRUCT_TYPE(struct measures, measures)
NETPOOL_STRUCT_FUNCTION(measure, struct triangle, struct measures)

#endif
