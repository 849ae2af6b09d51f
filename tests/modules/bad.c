/* Modules that must be refused, one a way: built with BAD set to abi, name, duplicate, empty or symbol. */
#include "worker/netpool_function.h"

#define IS_abi 1
#define IS_name 2
#define IS_duplicate 3
#define IS_empty 4
#define IS_symbol 5
#define IS_(bad) IS_##bad
#define IS(bad) IS_(bad)

netpool_status does_nothing(netpool_call *call, netpool_bytes input);
netpool_status no_such_symbol_anywhere(netpool_call *call, netpool_bytes input);

netpool_status does_nothing(netpool_call *call, netpool_bytes input)
{
    (void)input;
    return netpool_return(call, "", 0);
}

#if IS(BAD) == IS_abi
static const netpool_function_entry entries[] = {NETPOOL_FUNCTION(does_nothing, "")};
static netpool_module module = {NETPOOL_MODULE_ABI + 41, 1, "bad", entries, NULL};
__attribute__((constructor)) static void load(void)
{
    netpool_register(&module);
}
#elif IS(BAD) == IS_name
NETPOOL_MODULE(bad, {"a name with spaces", does_nothing, ""})
#elif IS(BAD) == IS_duplicate
NETPOOL_MODULE(bad, NETPOOL_FUNCTION(does_nothing, ""), NETPOOL_FUNCTION(does_nothing, "again"))
#elif IS(BAD) == IS_symbol
NETPOOL_MODULE(bad, NETPOOL_FUNCTION(no_such_symbol_anywhere, ""))
#endif
