# The command line and the examples, as a user meets them: each test is one function of a Python program.
function(netpool_cli_tests program)
  cmake_parse_arguments(CLI "" "TIMEOUT;PREFIX" "TESTS" ${ARGN})
  set(environment NETPOOL_SOURCE=${PROJECT_SOURCE_DIR} NETPOOL_CC=${CMAKE_C_COMPILER} NETPOOL_SANITIZE=${NETPOOL_SANITIZE})
  if(NETPOOL_SANITIZE STREQUAL "thread")
    list(APPEND environment TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp)
  endif()
  foreach(test ${CLI_TESTS})
    add_test(NAME system.${test} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/${program}
      ${CMAKE_BINARY_DIR} ${test})
    set_tests_properties(system.${test} PROPERTIES LABELS system TIMEOUT ${CLI_TIMEOUT} SKIP_RETURN_CODE 77
      ENVIRONMENT "${environment}")
  endforeach()
endfunction()

netpool_cli_tests(test_cli_map.py TIMEOUT 400 TESTS
  cli_map_prints_results_in_input_order
  cli_map_unordered_prints_every_result_once
  cli_map_of_empty_input_prints_nothing
  cli_map_of_a_million_lines_is_right
  cli_map_keeps_memory_constant_on_endless_input
  cli_map_prints_each_result_before_the_next_line_comes
  cli_map_takes_lines_of_10_mb
  cli_map_keeps_carriage_returns_and_empty_lines_and_a_last_line_without_newline
  cli_map_chunks_give_the_same_bytes
  cli_map_reports_failures_with_their_line_numbers
  cli_map_b24_line_over_the_limit_fails_alone_and_names_line_and_limit
  cli_map_b32_unknown_function_is_said_once
  cli_map_b32_module_that_does_not_load_is_one_clear_line
  cli_map_wrong_usage_is_one_clear_line_and_status_2
  cli_map_closed_standard_streams_are_said
  cli_map_unreachable_pool_is_one_clear_line_and_status_3
  cli_map_dies_silently_of_a_reader_that_leaves
  cli_map_ctrl_c_takes_the_pool_down
  cli_map_full_disk_is_said_once
  cli_map_a25_profile_says_where_the_time_went_and_what_to_do
  cli_map_a16_a17_labels_attempts_deadlines_and_priorities_reach_the_tasks
  cli_map_a13_crash_is_told_with_its_stack
  cli_map_a24_progress_counts_the_parts_of_running_tasks
  cli_map_draws_progress_on_a_terminal_only)
netpool_cli_tests(test_cli_pool.py TIMEOUT 400 TESTS
  cli_help_of_every_verb_is_complete
  cli_up_runs_a_command_on_a_tls_pool_and_returns_its_status
  cli_up_prints_an_environment_that_works
  cli_up_keeps_its_certificates_and_its_directory_private
  cli_up_takes_everything_down_when_it_is_killed
  cli_up_says_why_a_worker_does_not_start
  cli_up_says_that_the_port_is_in_use
  cli_up_ends_when_its_broker_dies
  cli_up_passes_signals_to_a_command_that_outlives_the_pool
  cli_broker_gives_no_socket_the_number_of_a_closed_standard_stream
  cli_ca_says_what_an_option_takes
  cli_status_shows_workers_and_counts
  cli_status_why_names_the_label_that_no_worker_has
  cli_status_b25_refusal_names_the_reason)
netpool_cli_tests(test_cli_primes.py TIMEOUT 400 TESTS
  primes_on_local_are_those_of_factor
  primes_on_one_process_are_those_of_factor
  primes_on_eight_processes_are_those_of_factor
  primes_on_threads_are_those_of_factor
  primes_on_ipc_are_those_of_factor
  primes_on_tls_are_those_of_factor
  primes_of_64_bit_numbers_are_those_of_factor
  primes_refuses_what_is_no_number
  primes_readme_example_compiles_and_runs)
netpool_cli_tests(test_stream_memory.py TIMEOUT 600 TESTS
  a6_ten_million_items_through_local_keep_memory_flat
  a6_a_million_items_through_tls_keep_memory_flat)
netpool_cli_tests(test_examples.py TIMEOUT 600 TESTS
  example_images_resizes_a_folder_alike_on_every_pool
  example_images_reports_what_is_no_picture_and_does_the_rest
  example_pipeline_is_a_gzip_on_every_pool
  example_word_count_is_that_of_sort_and_uniq_on_every_pool
  example_parallel_sum_has_the_same_bits_on_every_pool
  example_arguments_prints_what_its_readme_says_on_every_pool
  example_arguments_of_a_wrong_type_do_not_compile)
netpool_cli_tests(test_cli_install.py TIMEOUT 600 TESTS
  install_serves_a_cmake_project_and_a_makefile_outside_the_tree)

add_library(test_module_cli MODULE ${PROJECT_SOURCE_DIR}/tests/modules/cli.c)
target_link_libraries(test_module_cli PRIVATE np_flags)
target_include_directories(test_module_cli PRIVATE ${PROJECT_SOURCE_DIR}/common ${PROJECT_SOURCE_DIR}/worker)
set_target_properties(test_module_cli PROPERTIES OUTPUT_NAME cli PREFIX ""
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

# Long streams, for the memory they take.
add_executable(test_stream_feed ${PROJECT_SOURCE_DIR}/tests/support/stream_feed.c
  ${PROJECT_SOURCE_DIR}/tests/support/pool_functions.c)
target_link_libraries(test_stream_feed PRIVATE np_flags np_client)
set_target_properties(test_stream_feed PROPERTIES ENABLE_EXPORTS ON OUTPUT_NAME stream_feed
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
