#include "broker/core/hello.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/state.h"

static bool has_common_version(struct core *core, struct peer *peer, const Np__Hello *hello)
{
    if (hello->version_min <= NP_PROTOCOL_VERSION_MAX && hello->version_max >= NP_PROTOCOL_VERSION_MIN &&
        hello->version_min <= hello->version_max) {
        return true;
    }
    peer_close(core, peer, NETPOOL_REFUSED,
               "no common protocol version: the peer speaks %u to %u, this broker %u to %u", hello->version_min,
               hello->version_max, NP_PROTOCOL_VERSION_MIN, NP_PROTOCOL_VERSION_MAX);
    return false;
}

static bool has_role(struct core *core, struct peer *peer, const Np__Hello *hello)
{
    if (hello->role != NP__ROLE__WORKER && hello->role != NP__ROLE__CLIENT && hello->role != NP__ROLE__ADMIN) {
        peer_close(core, peer, NETPOOL_REFUSED, "a broker does not serve the role %s", np_role_name(hello->role));
        return false;
    }
    if (peer->role != NP__ROLE__NONE && peer->role != hello->role) {
        peer_close(core, peer, NETPOOL_REFUSED, "the certificate is for the role %s, HELLO says %s",
                   np_role_name(peer->role), np_role_name(hello->role));
        return false;
    }
    peer->role = hello->role;
    return true;
}

/* The link of before is replaced by the new one; what it stood for is settled at once. */
static void replace(struct core *core, struct peer *old, int64_t now)
{
    peer_close(core, old, NETPOOL_CLOSED, "replaced by a newer link of the same session");
    peer_settle(core, old, now);
}

static uint64_t key_of(const uint8_t *id)
{
    uint64_t key;
    memcpy(&key, id, sizeof key);
    return key;
}

static void welcome_worker(struct core *core, struct peer *peer, const Np__Hello *hello, int64_t now)
{
    struct worker *old = np_table_find(&core->worker_ids, key_of(hello->session.data));
    if (old != NULL) {
        if (memcmp(old->id, hello->session.data, NP_SESSION_SIZE) != 0 ||
            strcmp(old->origin->name, peer->name) != 0) {
            peer_close(core, peer, NETPOOL_REFUSED, "the session is in use by the worker %s", old->origin->name);
            return;
        }
        replace(core, old->peer, now);
    }
    struct worker *worker = worker_new(core, peer, hello);
    if (worker == NULL) {
        peer_close(core, peer, NETPOOL_NO_MEMORY, "no memory for another worker");
        return;
    }
    peer->worker = worker;
    peer->welcome_due = true;
    if (np_table_put(&core->worker_ids, key_of(worker->id), worker) != NETPOOL_OK) {
        peer_close(core, peer, NETPOOL_NO_MEMORY, "no memory for another worker");
    }
}

/* May the client have the session that is known by its id? Closes the peer otherwise. */
static bool may_resume(struct core *core, struct peer *peer, const struct session *session, const Np__Hello *hello)
{
    if (session->is_ending) {
        peer_close(core, peer, NETPOOL_TIMEOUT, "the session is over and being ended; try again");
        return false;
    }
    if (session->is_awaited) {
        return true;
    }
    if (strcmp(session->name, peer->name) != 0) {
        peer_close(core, peer, NETPOOL_REFUSED, "the session is in use by the client %s", session->name);
        return false;
    }
    if (!hello->resume && session->received_seq > 0) {
        peer_close(core, peer, NETPOOL_PROTOCOL, "the session exists and HELLO does not resume it");
        return false;
    }
    return true;
}

static void attach(struct peer *peer, struct session *session)
{
    peer->session = session;
    session->max_payload = peer->max_payload;
    session->peer = peer;
    np_list_remove(&session->detached_node);
    memcpy(session->name, peer->name, sizeof session->name);
    memcpy(session->host, peer->host, sizeof session->host);
    memcpy(session->address, peer->address, sizeof session->address);
    peer->welcome_due = true;
}

static void welcome_client(struct core *core, struct peer *peer, const Np__Hello *hello, int64_t now)
{
    struct session *session = session_find(core, hello->session.data);
    if (session != NULL && !may_resume(core, peer, session, hello)) {
        return;
    }
    bool is_known = session != NULL && !session->is_awaited;
    if (session == NULL) {
        session = session_new(core, hello->session.data);
        if (session == NULL) {
            peer_close(core, peer, NETPOOL_NO_MEMORY, "no memory for another client");
            return;
        }
    }
    if (!is_known) {
        core->stats.clients++;
        session->is_awaited = false;
        session->is_carried_over = hello->resume;
    } else if (session->peer != NULL) {
        replace(core, session->peer, now);
    }
    attach(peer, session);
    peer->resumed = is_known && hello->resume;
    if (is_known) {
        session_resend(core, session);
    }
}

void hello_receive(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    const Np__Hello *hello = message->envelope->hello;
    np_list_remove(&peer->new_node);
    if (core->is_shut) {
        peer_close(core, peer, NETPOOL_CLOSED, "the broker is going down");
        return;
    }
    if (!has_common_version(core, peer, hello) || !has_role(core, peer, hello)) {
        return;
    }
    if (peer->name[0] == '\0') {
        snprintf(peer->name, sizeof peer->name, "%s", hello->name);
    }
    snprintf(peer->host, sizeof peer->host, "%s", hello->host);
    peer->max_payload = hello->max_payload > 0 && hello->max_payload < core->config.max_payload
                            ? hello->max_payload
                            : core->config.max_payload;
    if (peer->role != NP__ROLE__ADMIN && hello->session.len != NP_SESSION_SIZE) {
        peer_close(core, peer, NETPOOL_PROTOCOL, "HELLO without a session");
        return;
    }
    if (peer->role == NP__ROLE__WORKER) {
        welcome_worker(core, peer, hello, now);
    } else if (peer->role == NP__ROLE__CLIENT) {
        welcome_client(core, peer, hello, now);
    } else {
        peer->welcome_due = true;
    }
    core_touch(core, peer);
}
