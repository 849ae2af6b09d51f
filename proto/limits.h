/* The caps of the protocol. Every size that a peer names is checked against one of these before memory is taken. */
#ifndef NP_LIMITS_H
#define NP_LIMITS_H

#include <stdint.h>

#define NP_PROTOCOL_VERSION_MIN 1
#define NP_PROTOCOL_VERSION_MAX 1

#define NP_FRAME_PREFIX_SIZE 8                   /* u32 header size, u32 body size, little-endian */
#define NP_FRAME_HEADER_MAX (256U * 1024)        /* bytes */
#define NP_FRAME_BODY_MAX (64U * 1024)           /* bytes; larger bodies travel in chunks */
#define NP_PAYLOAD_DEFAULT (64ULL * 1024 * 1024) /* bytes; largest payload or result unless configured */
#define NP_PAYLOAD_MAX (1024ULL * 1024 * 1024)   /* bytes; largest that can be configured */
#define NP_ARENA_FACTOR 8                        /* decoded header may take this many times its size ... */
#define NP_ARENA_BASE (64U * 1024)               /* ... plus this many bytes */

#define NP_BATCH_TASKS_MAX 4096  /* tasks in one batch */
#define NP_BATCH_FAILURES_MAX 64 /* failures in one Results */
#define NP_ATTEMPTS_MAX 64       /* attempts a task can be given, and Attempt records sent */
#define NP_FUNCTIONS_MAX 4096    /* functions of one worker */
#define NP_LABELS_MAX 256        /* labels of one worker */
#define NP_REQUIRED_MAX 16       /* labels that a task may require */
#define NP_PREPARE_MAX 65536     /* bytes of an initializer's input */
#define NP_STATUS_ROWS_MAX 1024  /* rows of each list in Status */
#define NP_SLOTS_MAX 4096        /* executors of one worker */

#define NP_NAME_MAX 128          /* bytes of a function, peer or host name */
#define NP_MESSAGE_MAX 1024      /* bytes of a failure message or a goodbye's reason */
#define NP_STACK_MAX 4096        /* bytes of a stack text */
#define NP_ERROR_OUTPUT_MAX 4096 /* bytes of captured output */
#define NP_SESSION_SIZE 16       /* bytes */

#define NP_HEARTBEAT_MS 2000         /* an idle side speaks this often */
#define NP_TIMEOUT_MS 8000           /* a peer silent for longer is gone */
#define NP_HANDSHAKE_TIMEOUT_MS 5000 /* TCP accept to TLS done */
#define NP_HELLO_TIMEOUT_MS 5000     /* TLS done to HELLO received, and HELLO sent to WELCOME */

#endif
