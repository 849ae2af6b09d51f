# The client library on every kind of pool.
set(pool_functions ${PROJECT_SOURCE_DIR}/tests/support/pool_functions.c
  ${PROJECT_SOURCE_DIR}/examples/arguments/arguments_functions.c
  ${PROJECT_SOURCE_DIR}/tests/support/reduce_functions.c ${PROJECT_SOURCE_DIR}/tests/support/executor_functions.c
  ${PROJECT_SOURCE_DIR}/tests/support/contract_functions.c ${PROJECT_SOURCE_DIR}/tests/support/large_functions.c
  $<TARGET_OBJECTS:test_crash_functions>)
add_library(test_module_pool_functions MODULE ${pool_functions})
target_link_libraries(test_module_pool_functions PRIVATE np_flags arguments_messages m)
target_include_directories(test_module_pool_functions PRIVATE ${PROJECT_SOURCE_DIR}/common ${PROJECT_SOURCE_DIR}/worker
  ${PROJECT_SOURCE_DIR}/client)
set_target_properties(test_module_pool_functions PROPERTIES OUTPUT_NAME pool_functions PREFIX ""
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

# A real broker and workers, for any test: link np_test_cluster.
if(NOT TARGET np_ca)
  add_subdirectory(${PROJECT_SOURCE_DIR}/cli/ca ${CMAKE_BINARY_DIR}/cli/ca)
endif()
add_library(np_test_cluster STATIC ${PROJECT_SOURCE_DIR}/tests/support/cluster.c)
target_compile_definitions(np_test_cluster PRIVATE NETPOOL_BROKER="${CMAKE_BINARY_DIR}/bin/netpool-broker"
  NETPOOL_WORKER="${CMAKE_BINARY_DIR}/bin/netpool-worker")
target_link_libraries(np_test_cluster PRIVATE np_flags PkgConfig::CMOCKA PUBLIC np_client np_ca)
foreach(program netpool-broker netpool-worker)
  if(TARGET ${program})
    add_dependencies(np_test_cluster ${program})
  endif()
endforeach()

set(pool_sources)
foreach(source test_pool.c tally.c gates.c argument_cases.c callback_cases.c contract_cases.c control_cases.c crash_cases.c
        executor_cases.c fault_cases.c large_cases.c life_cases.c map_cases.c order_cases.c profile_cases.c reduce_cases.c schedule_cases.c
        set_cases.c stream_cases.c task_cases.c typed_cases.c watch_cases.c)
  list(APPEND pool_sources pool/${source})
endforeach()
add_executable(test_pool ${pool_sources} ${pool_functions} ${PROJECT_SOURCE_DIR}/tests/support/large_payloads.c)
target_link_libraries(test_pool PRIVATE np_flags np_test_cluster np_client arguments_messages m PkgConfig::CMOCKA)
target_compile_definitions(test_pool PRIVATE POOL_MODULE="$<TARGET_FILE:test_module_pool_functions>"
  CRASHES_SOURCE="${PROJECT_SOURCE_DIR}/tests/support/crash_functions.c")
add_dependencies(test_pool test_module_pool_functions)
set_target_properties(test_pool PROPERTIES ENABLE_EXPORTS ON RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
foreach(kind threads:1 threads:4 local:1 local:4 ipc tls)
  string(REPLACE ":" "_" name ${kind})
  add_test(NAME system.pool_${name} COMMAND test_pool ${kind})
  set_tests_properties(system.pool_${name} PROPERTIES LABELS system TIMEOUT 600)
  if(NETPOOL_SANITIZE STREQUAL "thread")
    set_tests_properties(system.pool_${name} PROPERTIES
      ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp")
  endif()
endforeach()

netpool_test(pool_open LABEL system TIMEOUT 600 SOURCES pool/test_pool_open.c
  ${PROJECT_SOURCE_DIR}/tests/support/pool_functions.c LINKS np_test_cluster np_client)
target_compile_definitions(test_pool_open PRIVATE POOL_MODULE="$<TARGET_FILE:test_module_pool_functions>"
  NETPOOL_WORKER="${CMAKE_BINARY_DIR}/bin/netpool-worker")
set_target_properties(test_pool_open PROPERTIES ENABLE_EXPORTS ON)
add_dependencies(test_pool_open test_module_pool_functions)

netpool_test(pool_ends LABEL system TIMEOUT 600 SOURCES pool/test_pool_ends.c
  ${PROJECT_SOURCE_DIR}/tests/support/pool_functions.c ${PROJECT_SOURCE_DIR}/tests/support/process.c
  LINKS np_test_cluster np_client)
target_compile_definitions(test_pool_ends PRIVATE POOL_MODULE="$<TARGET_FILE:test_module_pool_functions>")
set_target_properties(test_pool_ends PROPERTIES ENABLE_EXPORTS ON)
add_dependencies(test_pool_ends test_module_pool_functions)

netpool_test(pool_heap LABEL system TIMEOUT 300 SOURCES pool/test_pool_heap.c
  ${PROJECT_SOURCE_DIR}/tests/support/large_payloads.c ${PROJECT_SOURCE_DIR}/tests/support/large_functions.c
  ${PROJECT_SOURCE_DIR}/tests/support/pool_functions.c LINKS np_client)

netpool_test(pool_memory LABEL system TIMEOUT 240 SOURCES pool/test_pool_memory.c
  ${PROJECT_SOURCE_DIR}/tests/support/pool_functions.c LINKS np_client)
target_link_options(test_pool_memory PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc)

# No leak in the program's process; its children are other programs' affair.
add_executable(test_pool_leaks pool/test_pool_leaks.c ${PROJECT_SOURCE_DIR}/tests/support/pool_functions.c)
target_link_libraries(test_pool_leaks PRIVATE np_flags netpool_static)
set_target_properties(test_pool_leaks PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
find_program(VALGRIND valgrind)
if(VALGRIND AND NETPOOL_SANITIZE STREQUAL "")
  foreach(kind threads:2 local:2)
    string(REPLACE ":" "_" name ${kind})
    add_test(NAME system.pool_leaks_${name} COMMAND ${VALGRIND} --quiet --leak-check=full --error-exitcode=9
      --child-silent-after-fork=yes $<TARGET_FILE:test_pool_leaks> ${kind})
    set_tests_properties(system.pool_leaks_${name} PROPERTIES LABELS system TIMEOUT 600)
  endforeach()
endif()
