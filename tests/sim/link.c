#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"
#include "tests/support/block_of.h"

/* A message on its way, in wire format: nothing is shared between the two ends but a body that nobody writes to. */
struct parcel {
    struct np_list node;
    int64_t arrival;
    bool is_goodbye;
    size_t header_size;
    size_t body_size;
    void *body; /* a block */
    uint8_t header[];
};

static struct parcel *parcel_new(const Np__Envelope *envelope, const void *body, size_t body_size)
{
    size_t header_size = np__envelope__get_packed_size(envelope);
    struct parcel *parcel = malloc(sizeof *parcel + header_size);
    if (parcel == NULL) {
        abort();
    }
    memset(parcel, 0, sizeof *parcel);
    parcel->header_size = header_size;
    parcel->body_size = body_size;
    parcel->body = block_of(body, body_size);
    np__envelope__pack(envelope, parcel->header);
    return parcel;
}

static void parcel_free(struct parcel *parcel)
{
    np_block_free(parcel->body);
    free(parcel);
}

static void drop_all(struct np_list *list)
{
    struct np_list *node;
    while ((node = np_list_pop_front(list)) != NULL) {
        parcel_free(NP_CONTAINER(node, struct parcel, node));
    }
}

void link_init(struct sim_link *link, void *model)
{
    memset(link, 0, sizeof *link);
    np_list_init(&link->to_broker);
    np_list_init(&link->to_model);
    link->model = model;
}

/* In order, after 20 to 500 us. */
static int64_t arrival(struct world *world, int64_t *last)
{
    int64_t time = world->now + 20000 + (int64_t)world_below(world, 480000);
    *last = time > *last ? time : *last;
    return *last;
}

static void deliver_to_broker(struct world *world, void *who)
{
    struct sim_link *link = who;
    while (!np_list_is_empty(&link->to_broker)) {
        struct parcel *parcel = NP_CONTAINER(np_list_front(&link->to_broker), struct parcel, node);
        if (parcel->arrival > world->now) {
            break;
        }
        np_list_remove(&parcel->node);
        if (parcel->is_goodbye) {
            link->is_vouched = false;
            link->carries = false;
            parcel_free(parcel);
            core_disconnect(world->core, link->id, true, world->now);
            drop_all(&link->to_model);
            return;
        }
        Np__Envelope *envelope = np__envelope__unpack(NULL, parcel->header_size, parcel->header);
        WORLD_EXPECT(world, envelope != NULL);
        netpool_error error;
        if (np_message_check(envelope, parcel->body_size, &error) != NETPOOL_OK) {
            world_fail(world, "a model sent a wrong message: %s", error.message);
        }
        struct np_message message = {.envelope = envelope, .body = parcel->body, .body_size = parcel->body_size};
        core_receive(world->core, link->id, &message, world->now);
        np__envelope__free_unpacked(envelope, NULL);
        parcel_free(parcel);
    }
}

static void deliver_to_model(struct world *world, void *who)
{
    struct sim_link *link = who;
    uint64_t generation = link->generation;
    while (link->generation == generation && link->is_up && !np_list_is_empty(&link->to_model)) {
        struct parcel *parcel = NP_CONTAINER(np_list_front(&link->to_model), struct parcel, node);
        if (parcel->arrival > world->now) {
            break;
        }
        np_list_remove(&parcel->node);
        if (parcel->is_goodbye) {
            parcel_free(parcel);
            link->is_up = false;
            link->lost(world, link->model);
            break;
        }
        Np__Envelope *envelope = np__envelope__unpack(NULL, parcel->header_size, parcel->header);
        WORLD_EXPECT(world, envelope != NULL);
        netpool_error error;
        if (np_message_check(envelope, parcel->body_size, &error) != NETPOOL_OK) {
            world_fail(world, "the core sent a wrong message: %s", error.message);
        }
        link->received(world, link->model, envelope, parcel->body, parcel->body_size);
        np__envelope__free_unpacked(envelope, NULL);
        parcel_free(parcel);
    }
}

static void push(struct world *world, struct sim_link *link, struct parcel *parcel, bool to_broker)
{
    parcel->arrival = arrival(world, to_broker ? &link->last_to_broker : &link->last_to_model);
    np_list_push_back(to_broker ? &link->to_broker : &link->to_model, &parcel->node);
    world_at(world, parcel->arrival, to_broker ? deliver_to_broker : deliver_to_model, link, &link->generation);
}

static void tell_lost(struct world *world, void *who)
{
    struct sim_link *link = who;
    if (link->is_up) {
        link->is_up = false;
        link->lost(world, link->model);
    }
}

static void tell_opened(struct world *world, void *who)
{
    struct sim_link *link = who;
    link->opened(world, link->model);
}

/* Owns `who`: the number of a link that its model has given up. */
static void notice_dead(struct world *world, void *who)
{
    uint64_t *peer = who;
    if (world->core != NULL) {
        core_disconnect(world->core, *peer, false, world->now);
    }
    free(peer);
}

void link_connect(struct world *world, struct sim_link *link)
{
    drop_all(&link->to_broker);
    drop_all(&link->to_model);
    if (link->is_vouched) {
        /* The broker has not noticed yet that the older link is dead; it will learn so later, or from the session. */
        uint64_t *dead = malloc(sizeof *dead);
        if (dead == NULL) {
            abort();
        }
        *dead = link->id;
        world_give(world, world->now + (int64_t)world_below(world, 3 * NP_NS_PER_S), notice_dead, dead);
    }
    link->generation++;
    link->last_to_broker = link->last_to_model = 0;
    link->is_up = true;
    link->is_vouched = false;
    link->carries = false;
    if (world->core == NULL) {
        world_at(world, world->now + NP_NS_PER_MS, tell_lost, link, &link->generation);
        return;
    }
    link->carries = true;
    link->is_vouched = true;
    link->id = ++world->next_peer;
    core_connect(world->core, link->id, &(struct core_peer){.name = "", .address = "sim"}, world->now);
    world_at(world, world->now + 100000, tell_opened, link, &link->generation);
}

void link_send(struct world *world, struct sim_link *link, Np__Envelope *envelope, const void *body, size_t body_size)
{
    if (link->is_up && link->carries) {
        push(world, link, parcel_new(envelope, body, body_size), true);
    }
}

static struct sim_link *find(struct world *world, uint64_t peer)
{
    for (size_t i = 0; i < WORLD_CLIENTS + WORLD_WORKERS; i++) {
        if (world->links[i] != NULL && world->links[i]->is_vouched && world->links[i]->id == peer) {
            return world->links[i];
        }
    }
    return NULL; /* a link that only the broker still believes in */
}

void link_from_core(struct world *world, uint64_t peer, const Np__Envelope *envelope, const void *body,
                    size_t body_size)
{
    struct sim_link *link = find(world, peer);
    if (link != NULL && link->carries) {
        push(world, link, parcel_new(envelope, body, body_size), false);
    }
}

static void broker_notices(struct world *world, void *who)
{
    struct sim_link *link = who;
    if (link->is_vouched && world->core != NULL) {
        link->is_vouched = false;
        core_disconnect(world->core, link->id, false, world->now);
    }
}

void link_break(struct world *world, struct sim_link *link)
{
    if (!link->carries) {
        return;
    }
    link->carries = false;
    drop_all(&link->to_broker);
    drop_all(&link->to_model);
    world->breaks++;
    int64_t longest = world_chance(world, 4) ? 8 * NP_NS_PER_S : 20 * NP_NS_PER_MS;
    world_at(world, world->now + (int64_t)world_below(world, (uint64_t)longest), broker_notices, link,
             &link->generation);
    world_at(world, world->now + (int64_t)world_below(world, (uint64_t)longest), tell_lost, link, &link->generation);
}

void link_goodbye(struct world *world, struct sim_link *link)
{
    if (link->is_up && link->carries) {
        struct parcel *parcel = calloc(1, sizeof *parcel);
        if (parcel == NULL) {
            abort();
        }
        parcel->is_goodbye = true;
        push(world, link, parcel, true);
    }
}

void link_closed_by_core(struct world *world, uint64_t peer, netpool_status status, const char *reason)
{
    struct sim_link *link = find(world, peer);
    if (status == NETPOOL_PROTOCOL || status == NETPOOL_REFUSED || status == NETPOOL_NO_MEMORY) {
        world_fail(world, "the core closed peer %llu with %s: %s", (unsigned long long)peer,
                   netpool_status_name(status), reason);
    }
    if (link == NULL) {
        return;
    }
    link->is_vouched = false;
    if (link->carries) {
        struct parcel *parcel = calloc(1, sizeof *parcel);
        if (parcel == NULL) {
            abort();
        }
        parcel->is_goodbye = true;
        push(world, link, parcel, false);
        link->carries = false;
        drop_all(&link->to_broker);
    }
}

void link_all_lost(struct world *world)
{
    for (size_t i = 0; i < WORLD_CLIENTS + WORLD_WORKERS; i++) {
        struct sim_link *link = world->links[i];
        link->is_vouched = false;
        link->carries = false;
        drop_all(&link->to_broker);
        drop_all(&link->to_model);
        world_at(world, world->now + (int64_t)world_below(world, 50 * NP_NS_PER_MS), tell_lost, link,
                 &link->generation);
    }
}
