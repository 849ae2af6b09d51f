/* The certificate authority of `netpool up` and what it issued: made when missing, renewed before it expires. */
#ifndef CLI_CREDENTIALS_H
#define CLI_CREDENTIALS_H

#include "common/netpool_status.h"

#define CREDENTIALS_PATH_MAX 1024

struct credential {
    char cert[CREDENTIALS_PATH_MAX];
    char key[CREDENTIALS_PATH_MAX];
};

struct credentials {
    char directory[CREDENTIALS_PATH_MAX]; /* of the authority */
    char ca[CREDENTIALS_PATH_MAX];
    struct credential broker; /* for 127.0.0.1, ::1 and localhost */
    struct credential client;
};

/* In STATE/ca. Safe against another `netpool up` that does the same at the same time. */
NETPOOL_MUST_CHECK netpool_status credentials_prepare(struct credentials *credentials, const char *state,
                                                      netpool_error *error);

/* That of worker `number`, so that each worker is known by a name of its own. */
NETPOOL_MUST_CHECK netpool_status credentials_worker(const struct credentials *credentials, unsigned number,
                                                     struct credential *out, netpool_error *error);

#endif
