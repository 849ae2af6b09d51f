# Faults, hosts and deployments: each test is one function of a Python program, run in a process of its own. Exit status 77
# means that this machine lacks what it needs, and says what.
find_package(Python3 3.9 COMPONENTS Interpreter REQUIRED)

# The job that these tests run, and the module whose function it calls.
add_executable(test_job ${PROJECT_SOURCE_DIR}/tests/support/job.c)
target_link_libraries(test_job PRIVATE np_flags np_client)
set_target_properties(test_job PROPERTIES ENABLE_EXPORTS ON OUTPUT_NAME job RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_library(test_module_ledger MODULE ${PROJECT_SOURCE_DIR}/tests/modules/ledger.c)
target_link_libraries(test_module_ledger PRIVATE np_flags)
target_include_directories(test_module_ledger PRIVATE ${PROJECT_SOURCE_DIR}/common ${PROJECT_SOURCE_DIR}/worker)
set_target_properties(test_module_ledger PROPERTIES OUTPUT_NAME ledger PREFIX ""
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

# What makes the wall clock of a program jump.
add_library(test_clock_jump MODULE ${PROJECT_SOURCE_DIR}/tests/support/clock_jump.c)
target_link_libraries(test_clock_jump PRIVATE np_flags)
set_target_properties(test_clock_jump PROPERTIES OUTPUT_NAME clock_jump PREFIX ""
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

# netpool_fault_tests(PROGRAM.py TIMEOUT seconds TESTS ...)
function(netpool_fault_tests program)
  cmake_parse_arguments(FAULT "" "TIMEOUT;ARGUMENT" "TESTS" ${ARGN})
  if(NOT FAULT_ARGUMENT)
    set(FAULT_ARGUMENT ${CMAKE_BINARY_DIR})
  endif()
  foreach(test ${FAULT_TESTS})
    add_test(NAME system.${test} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/${program}
      ${FAULT_ARGUMENT} ${test})
    set_tests_properties(system.${test} PROPERTIES LABELS system TIMEOUT ${FAULT_TIMEOUT} SKIP_RETURN_CODE 77
      PROCESSORS 2) # they measure time: nothing else beside them
    set(environment NETPOOL_SANITIZE=${NETPOOL_SANITIZE})
    if(NETPOOL_SANITIZE STREQUAL "thread")
      list(APPEND environment TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp)
    endif()
    set_tests_properties(system.${test} PROPERTIES ENVIRONMENT "${environment}")
  endforeach()
endfunction()

netpool_fault_tests(test_fault_broker.py TIMEOUT 400 TESTS
  b4_broker_killed_in_the_middle_of_a_map_over_tls_is_only_a_pause
  b4_broker_killed_in_the_middle_of_a_stream_over_tls_is_only_a_pause
  b4_broker_killed_in_the_middle_of_a_map_over_ipc_is_only_a_pause
  b4_broker_killed_in_the_middle_of_a_stream_over_ipc_is_only_a_pause
  b4_broker_killed_while_one_long_task_runs_lets_it_finish_once
  b5_broker_gone_for_good_ends_every_future_as_unreachable
  b31_broker_told_to_stop_says_so_and_a_new_one_takes_over)
netpool_fault_tests(test_fault_peers.py TIMEOUT 400 TESTS
  b6_killed_program_leaves_neither_tasks_nor_memory
  b7_worker_stopped_past_its_lease_has_its_tasks_retried_and_its_late_results_dropped
  b30_worker_told_to_stop_under_load_loses_nothing_and_repeats_nothing
  b30_worker_told_to_stop_gives_back_what_it_has_not_started_and_finishes_what_runs)
netpool_fault_tests(test_fault_executors.py TIMEOUT 600 TESTS
  b2_executors_killed_at_random_in_a_local_pool_cost_attempts_and_no_task
  b2_executors_killed_at_random_on_a_tls_cluster_cost_attempts_and_no_task)
netpool_fault_tests(test_contract.py TIMEOUT 400 TESTS
  a23_ten_tasks_of_one_program_wait_for_few_of_the_million_of_another
  b16_all_workers_come_back_at_once_and_the_job_goes_on
  b37_wall_clock_that_jumps_an_hour_has_no_effect)
netpool_fault_tests(hosts/test_hosts.py TIMEOUT 600 TESTS
  b1_b7_b12_job_survives_a_dead_host_a_cut_cable_and_a_stopped_worker
  b12_one_way_partition_is_noticed_on_both_sides
  b12_program_cut_off_from_its_broker_comes_back_to_all_its_results)
netpool_fault_tests(deploy/test_compose.py TIMEOUT 900 ARGUMENT ${PROJECT_SOURCE_DIR} TESTS
  deploy_compose_runs_scales_and_survives_a_killed_worker)
netpool_fault_tests(deploy/test_units.py TIMEOUT 120 ARGUMENT ${PROJECT_SOURCE_DIR} TESTS
  deploy_systemd_units_are_valid)
