/* The functions this process knows: those registered by the program itself and by shared objects loaded here. */
#ifndef NP_MODULES_H
#define NP_MODULES_H

#include <stddef.h>

#include "common/netpool_status.h"
#include "worker/netpool_function.h"

/* Loads a shared object; one that is loaded already is left as it is. NETPOOL_BAD_MODULE: the loader's words, no
 * NETPOOL_MODULE inside, wrong ABI, bad or duplicate function name; the message names the file. */
NETPOOL_MUST_CHECK netpool_status modules_load(const char *path, netpool_error *error);

/* Checks the modules that the program itself was linked with, which nobody loaded. NETPOOL_BAD_MODULE. */
NETPOOL_MUST_CHECK netpool_status modules_check(netpool_error *error);

/* NULL when unknown. */
netpool_function *modules_find(const char *name);

/* Number of functions, and the i-th one's entry in order of registration. */
size_t modules_count(void);
const netpool_function_entry *modules_at(size_t index);

#endif
