#include "broker/core/task.h"

static const uint8_t rules[TASK_STATES][TASK_EVENTS] = {
    [TASK_RECOVERING] = {[TASK_ASSIGN] = TASK_NEVER,
                         [TASK_RESULT] = TASK_DROPPED,
                         [TASK_LOST] = TASK_NEVER,
                         [TASK_RETURN] = TASK_DROPPED,
                         [TASK_CANCEL] = TASK_TO_FINISHED_CANCELLED,
                         [TASK_EXPIRE] = TASK_TO_FINISHED_DEADLINE,
                         [TASK_HOLD] = TASK_TO_LEASED,
                         [TASK_RECOVER] = TASK_TO_QUEUED_OR_FINISHED,
                         [TASK_UNSERVED] = TASK_NEVER,
                         [TASK_CANCEL_UNSTARTED] = TASK_MARKED,
                         [TASK_BREAK] = TASK_TO_FINISHED},
    [TASK_QUEUED] = {[TASK_ASSIGN] = TASK_TO_LEASED,
                     [TASK_RESULT] = TASK_DROPPED,
                     [TASK_LOST] = TASK_NEVER,
                     [TASK_RETURN] = TASK_DROPPED,
                     [TASK_CANCEL] = TASK_TO_FINISHED_CANCELLED,
                     [TASK_EXPIRE] = TASK_TO_FINISHED_DEADLINE,
                     [TASK_HOLD] = TASK_TO_LEASED,
                     [TASK_RECOVER] = TASK_NEVER,
                     [TASK_UNSERVED] = TASK_TO_FINISHED,
                     [TASK_CANCEL_UNSTARTED] = TASK_TO_FINISHED_CANCELLED,
                     [TASK_BREAK] = TASK_TO_FINISHED},
    [TASK_LEASED] = {[TASK_ASSIGN] = TASK_NEVER,
                     [TASK_RESULT] = TASK_TO_QUEUED_OR_FINISHED,
                     [TASK_LOST] = TASK_TO_QUEUED_OR_FINISHED,
                     [TASK_RETURN] = TASK_TO_QUEUED,
                     [TASK_CANCEL] = TASK_TO_CANCELLING,
                     [TASK_EXPIRE] = TASK_TO_CANCELLING,
                     [TASK_HOLD] = TASK_DROPPED,
                     [TASK_RECOVER] = TASK_NEVER,
                     [TASK_UNSERVED] = TASK_NEVER,
                     [TASK_CANCEL_UNSTARTED] = TASK_MARKED,
                     [TASK_BREAK] = TASK_IGNORED},
    [TASK_CANCELLING] = {[TASK_ASSIGN] = TASK_NEVER,
                         [TASK_RESULT] = TASK_TO_FINISHED,
                         [TASK_LOST] = TASK_TO_FINISHED_CANCELLED,
                         [TASK_RETURN] = TASK_TO_FINISHED_CANCELLED,
                         [TASK_CANCEL] = TASK_IGNORED,
                         [TASK_EXPIRE] = TASK_NEVER,
                         [TASK_HOLD] = TASK_DROPPED,
                         [TASK_RECOVER] = TASK_NEVER,
                         [TASK_UNSERVED] = TASK_NEVER,
                         [TASK_CANCEL_UNSTARTED] = TASK_IGNORED,
                         [TASK_BREAK] = TASK_IGNORED},
    [TASK_FINISHED] = {[TASK_ASSIGN] = TASK_NEVER,
                       [TASK_RESULT] = TASK_DROPPED,
                       [TASK_LOST] = TASK_NEVER,
                       [TASK_RETURN] = TASK_DROPPED,
                       [TASK_CANCEL] = TASK_IGNORED,
                       [TASK_EXPIRE] = TASK_NEVER,
                       [TASK_HOLD] = TASK_DROPPED,
                       [TASK_RECOVER] = TASK_NEVER,
                       [TASK_UNSERVED] = TASK_NEVER,
                       [TASK_CANCEL_UNSTARTED] = TASK_IGNORED,
                       [TASK_BREAK] = TASK_IGNORED},
};

enum task_rule task_rule(enum task_state state, enum task_event event)
{
    return (enum task_rule)rules[state][event];
}

const char *task_state_name(enum task_state state)
{
    static const char *const names[TASK_STATES] = {"recovering", "queued", "leased", "cancelling", "finished"};
    return names[state];
}

const char *task_event_name(enum task_event event)
{
    static const char *const names[TASK_EVENTS] = {"on assign",
                                                   "on result",
                                                   "on worker lost",
                                                   "on returned",
                                                   "on cancel",
                                                   "on expiry",
                                                   "on held",
                                                   "on recovery over",
                                                   "on no function",
                                                   "on cancel unstarted",
                                                   "on failed initializer"};
    return names[event];
}

const char *task_rule_text(enum task_rule rule)
{
    static const char *const texts[] = {
        [TASK_NEVER] = "-",
        [TASK_IGNORED] = "ignored",
        [TASK_DROPPED] = "dropped",
        [TASK_MARKED] = "marked",
        [TASK_TO_LEASED] = "leased",
        [TASK_TO_QUEUED] = "queued",
        [TASK_TO_CANCELLING] = "cancelling",
        [TASK_TO_FINISHED] = "finished",
        [TASK_TO_FINISHED_CANCELLED] = "finished (CANCELLED)",
        [TASK_TO_FINISHED_DEADLINE] = "finished (DEADLINE)",
        [TASK_TO_QUEUED_OR_FINISHED] = "queued, or finished",
    };
    return texts[rule];
}
