#include "worker/executor/modules.h"

#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "proto/limits.h"

/* Filled by constructors before main and inside dlopen, so it has to be one list a process. */
static netpool_module *registered;

void netpool_register(netpool_module *module)
{
    netpool_module **end = &registered;
    while (*end != NULL) {
        if (*end == module) {
            return;
        }
        end = &(*end)->next;
    }
    module->next = NULL;
    *end = module;
}

static void unregister(netpool_module *module)
{
    for (netpool_module **at = &registered; *at != NULL; at = &(*at)->next) {
        if (*at == module) {
            *at = module->next;
            return;
        }
    }
}

static bool is_name(const char *name)
{
    if (name == NULL || name[0] == '\0' || strlen(name) > NP_NAME_MAX) {
        return false;
    }
    for (const char *at = name; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~') {
            return false;
        }
    }
    return true;
}

/* How many functions of this name the modules up to and including `last` have. */
static size_t count_name(const char *name, const netpool_module *last)
{
    size_t count = 0;
    for (const netpool_module *module = registered; module != NULL; module = module->next) {
        for (uint32_t i = 0; i < module->count; i++) {
            count += strcmp(module->functions[i].name, name) == 0;
        }
        if (module == last) {
            break;
        }
    }
    return count;
}

/* `file` is what the message names. All modules before this one are good. */
static netpool_status check_module(const netpool_module *module, const char *file, netpool_error *error)
{
    if (module->abi != NETPOOL_MODULE_ABI) {
        return np_error_set(error, NETPOOL_BAD_MODULE, "%s: built for module ABI %u, this netpool has %u", file,
                            (unsigned)module->abi, (unsigned)NETPOOL_MODULE_ABI);
    }
    for (uint32_t i = 0; i < module->count; i++) {
        const netpool_function_entry *entry = &module->functions[i];
        if (!is_name(entry->name) || entry->function == NULL) {
            return np_error_set(error, NETPOOL_BAD_MODULE,
                                "%s: function %u has no usable name (1 to %u printable characters without spaces)",
                                file, (unsigned)i + 1, (unsigned)NP_NAME_MAX);
        }
    }
    for (uint32_t i = 0; i < module->count; i++) {
        if (count_name(module->functions[i].name, module) > 1) {
            return np_error_set(error, NETPOOL_BAD_MODULE, "%s: a function \"%s\" exists already", file,
                                module->functions[i].name);
        }
    }
    if (modules_count() > NP_FUNCTIONS_MAX) {
        return np_error_set(error, NETPOOL_BAD_MODULE, "%s: more than %u functions in all", file,
                            (unsigned)NP_FUNCTIONS_MAX);
    }
    return NETPOOL_OK;
}

static bool lies_in(const netpool_module *module, const struct link_map *object)
{
    Dl_info info;
    struct link_map *home = NULL;
    return dladdr1(module, &info, (void **)&home, RTLD_DL_LINKMAP) != 0 && home == object;
}

static netpool_module *next_inside(netpool_module *module, const struct link_map *object)
{
    while (module != NULL && !lies_in(module, object)) {
        module = module->next;
    }
    return module;
}

static void forget_inside(const struct link_map *object)
{
    netpool_module *module = next_inside(registered, object);
    while (module != NULL) {
        netpool_module *next = next_inside(module->next, object);
        unregister(module);
        module = next;
    }
}

netpool_status modules_load(const char *path, netpool_error *error)
{
    /* dlopen searches the library path for a name without a slash; a module is always a file. */
    char file[4096];
    int length = snprintf(file, sizeof file, "%s%s", strchr(path, '/') == NULL ? "./" : "", path);
    if (length < 0 || (size_t)length >= sizeof file) {
        return np_error_set(error, NETPOOL_BAD_MODULE, "%.100s...: the path is too long", path);
    }
    void *known = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    if (known != NULL) {
        (void)dlclose(known);
    }
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *words = dlerror();
        bool names_it = strstr(words, path) != NULL;
        return np_error_set(error, NETPOOL_BAD_MODULE, "%s%s%s", names_it ? "" : path, names_it ? "" : ": ", words);
    }
    struct link_map *object = NULL;
    netpool_status status = NETPOOL_OK;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &object) != 0) {
        status = np_error_set(error, NETPOOL_BAD_MODULE, "%s: %s", path, dlerror());
        goto cleanup;
    }
    netpool_module *module = next_inside(registered, object);
    if (module == NULL) {
        status = np_error_set(error, NETPOOL_BAD_MODULE, "%s: has no NETPOOL_MODULE inside", path);
        goto cleanup;
    }
    for (; known == NULL && module != NULL && status == NETPOOL_OK; module = next_inside(module->next, object)) {
        status = check_module(module, path, error);
    }
cleanup:
    if (status != NETPOOL_OK || known != NULL) {
        if (known == NULL && object != NULL) {
            forget_inside(object);
        }
        (void)dlclose(handle);
    }
    return status;
}

netpool_status modules_check(netpool_error *error)
{
    netpool_status status = NETPOOL_OK;
    for (const netpool_module *module = registered; module != NULL && status == NETPOOL_OK; module = module->next) {
        status = check_module(module, module->name != NULL ? module->name : "module", error);
    }
    return status;
}

netpool_function *modules_find(const char *name)
{
    for (const netpool_module *module = registered; module != NULL; module = module->next) {
        for (uint32_t i = 0; i < module->count; i++) {
            if (strcmp(module->functions[i].name, name) == 0) {
                return module->functions[i].function;
            }
        }
    }
    return NULL;
}

size_t modules_count(void)
{
    size_t count = 0;
    for (const netpool_module *module = registered; module != NULL; module = module->next) {
        count += module->count;
    }
    return count;
}

const netpool_function_entry *modules_at(size_t index)
{
    for (const netpool_module *module = registered; module != NULL; module = module->next) {
        if (index < module->count) {
            return &module->functions[index];
        }
        index -= module->count;
    }
    return NULL;
}
