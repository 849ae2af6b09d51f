# The worker by itself, with the test as its broker.
add_library(test_module_faults MODULE ${PROJECT_SOURCE_DIR}/tests/modules/faults.c)
target_link_libraries(test_module_faults PRIVATE np_flags)
target_include_directories(test_module_faults PRIVATE ${PROJECT_SOURCE_DIR}/common ${PROJECT_SOURCE_DIR}/worker)
set_target_properties(test_module_faults PROPERTIES OUTPUT_NAME faults PREFIX ""
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

# netpool_worker_test(NAME [TIMEOUT seconds]): test_NAME.c with the fake broker.
function(netpool_worker_test name)
  cmake_parse_arguments(WORKER "" "TIMEOUT" "" ${ARGN})
  netpool_test(${name} LABEL system TIMEOUT ${WORKER_TIMEOUT} SOURCES test_${name}.c
    ${PROJECT_SOURCE_DIR}/tests/support/fake_broker.c ${PROJECT_SOURCE_DIR}/tests/support/process.c LINKS np_worker)
  set_target_properties(test_${name} PROPERTIES ENABLE_EXPORTS ON) # modules find netpool_* in the program
  target_compile_definitions(test_${name} PRIVATE FAULTS_MODULE="$<TARGET_FILE:test_module_faults>")
  add_dependencies(test_${name} test_module_faults)
endfunction()

netpool_worker_test(worker TIMEOUT 400)
netpool_worker_test(worker_faults TIMEOUT 400)

# Crashes are built without sanitizers, which would report them in their own way. One module has debug information, one
# has not even names.
add_library(test_crash_functions OBJECT ${PROJECT_SOURCE_DIR}/tests/support/crash_functions.c)
target_compile_options(test_crash_functions PRIVATE -Wall -Wextra -g -O2)
target_compile_definitions(test_crash_functions PRIVATE _GNU_SOURCE)
target_include_directories(test_crash_functions PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/common
  ${PROJECT_SOURCE_DIR}/worker)
add_library(test_module_crashes MODULE $<TARGET_OBJECTS:test_crash_functions>)
add_library(test_module_crashes_stripped MODULE $<TARGET_OBJECTS:test_crash_functions>)
target_link_options(test_module_crashes_stripped PRIVATE -s)
foreach(name crashes crashes_stripped)
  set_target_properties(test_module_${name} PROPERTIES OUTPUT_NAME ${name} PREFIX ""
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests LINKER_LANGUAGE C)
endforeach()
netpool_worker_test(crash_stack TIMEOUT 400)
target_compile_definitions(test_crash_stack PRIVATE CRASHES_MODULE="$<TARGET_FILE:test_module_crashes>"
  CRASHES_STRIPPED_MODULE="$<TARGET_FILE:test_module_crashes_stripped>"
  CRASHES_SOURCE="${PROJECT_SOURCE_DIR}/tests/support/crash_functions.c")
add_dependencies(test_crash_stack test_module_crashes test_module_crashes_stripped)
netpool_worker_test(worker_sessions TIMEOUT 400)

# Not a test: prints how fast the worker is. Built on demand.
add_executable(worker_speed EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/support/worker_speed.c
  ${PROJECT_SOURCE_DIR}/tests/support/fake_broker.c ${PROJECT_SOURCE_DIR}/tests/support/process.c)
target_link_libraries(worker_speed PRIVATE np_flags np_worker PkgConfig::CMOCKA)
set_target_properties(worker_speed PROPERTIES ENABLE_EXPORTS ON RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_compile_definitions(worker_speed PRIVATE FAULTS_MODULE="$<TARGET_FILE:test_module_faults>")
add_dependencies(worker_speed test_module_faults)

netpool_test(worker_program LABEL system SOURCES test_worker_program.c)
target_compile_definitions(test_worker_program PRIVATE WORKER_PROGRAM="$<TARGET_FILE:netpool-worker>")
add_dependencies(test_worker_program netpool-worker)
