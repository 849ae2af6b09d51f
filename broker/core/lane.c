#include "broker/core/lane.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/core/session.h"

netpool_status lane_join(struct core *core, struct session *session, struct task *task, uint64_t number)
{
    if (number == 0) {
        return NETPOOL_OK;
    }
    struct task_extra *extra = task_need_extra(task);
    if (extra == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    struct lane *lane = np_table_find(&session->lanes, number);
    if (lane == NULL) {
        lane = calloc(1, sizeof *lane);
        if (lane == NULL || np_table_put(&session->lanes, number, lane) != NETPOOL_OK) {
            free(lane);
            return NETPOOL_NO_MEMORY;
        }
        lane->session = session;
        lane->number = number;
        np_list_init(&lane->members);
        session_add_kind_bytes(core, session, LANE_BYTES);
    }
    extra->lane = lane;
    np_list_push_back(&lane->members, &extra->lane_node);
    return NETPOOL_OK;
}

struct lane *lane_leave(struct core *core, struct task *task)
{
    struct lane *lane = lane_of(task);
    assert(lane != NULL && lane->leased != task);
    np_list_remove(&task->extra->lane_node);
    task->extra->lane = NULL;
    if (!np_list_is_empty(&lane->members)) {
        return lane;
    }
    session_add_kind_bytes(core, lane->session, -(int64_t)LANE_BYTES);
    np_table_take(&lane->session->lanes, lane->number);
    free(lane);
    return NULL;
}

struct task *lane_first(const struct lane *lane)
{
    return NP_CONTAINER(lane->members.next, struct task_extra, lane_node)->task;
}

bool lane_admits(const struct task *task)
{
    const struct lane *lane = lane_of(task);
    return lane == NULL || (lane->leased == NULL && lane_first(lane) == task);
}
