#include "common/netpool_status.h"

const char *netpool_status_name(netpool_status status)
{
    switch (status) {
#define NAME(name, number, text) \
    case NETPOOL_##name:         \
        return #name;
        NETPOOL_STATUS_LIST(NAME)
#undef NAME
    }
    return "UNKNOWN";
}

const char *netpool_status_text(netpool_status status)
{
    switch (status) {
#define TEXT(name, number, text) \
    case NETPOOL_##name:         \
        return text;
        NETPOOL_STATUS_LIST(TEXT)
#undef TEXT
    }
    return "unknown status";
}
