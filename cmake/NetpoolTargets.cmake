# What every target of the project shares: warnings, sanitizers, and how the parts become libraries and programs.

add_library(np_flags INTERFACE)
target_include_directories(np_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(np_flags INTERFACE _GNU_SOURCE)
target_compile_options(np_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes
  -Wmissing-prototypes -Wformat=2 -fno-common -fno-omit-frame-pointer
  # GNU extensions that the code uses on purpose: statement attributes and variadic macros are fine in C17, these are not.
  $<$<BOOL:${NETPOOL_WERROR}>:-Werror>)

if(NETPOOL_SANITIZE STREQUAL "address")
  target_compile_options(np_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
  target_link_options(np_flags INTERFACE -fsanitize=address,undefined)
elseif(NETPOOL_SANITIZE STREQUAL "thread")
  target_compile_options(np_flags INTERFACE -fsanitize=thread)
  target_link_options(np_flags INTERFACE -fsanitize=thread)
elseif(NOT NETPOOL_SANITIZE STREQUAL "")
  message(FATAL_ERROR "NETPOOL_SANITIZE is '${NETPOOL_SANITIZE}': use address, thread or nothing")
endif()
if(NETPOOL_FUZZ)
  target_compile_options(np_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# netpool_part(NAME SOURCES ... LINKS ...): one layer of the project, as the static library np_NAME.
function(netpool_part name)
  cmake_parse_arguments(PART "" "" "SOURCES;LINKS" ${ARGN})
  add_library(np_${name} STATIC ${PART_SOURCES})
  target_link_libraries(np_${name} PRIVATE np_flags PUBLIC ${PART_LINKS})
  target_include_directories(np_${name} PUBLIC ${PROJECT_SOURCE_DIR})
endfunction()

# netpool_test(NAME LABEL ... SOURCES ... LINKS ... [TIMEOUT seconds] [ARGS ...]): a cmocka program that is one ctest.
function(netpool_test name)
  cmake_parse_arguments(TEST "" "LABEL;TIMEOUT" "SOURCES;LINKS;ARGS" ${ARGN})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 300) # for what hangs; a slow machine under a sanitizer takes a minute for what takes seconds
  endif()
  add_executable(test_${name} ${TEST_SOURCES})
  target_link_libraries(test_${name} PRIVATE np_flags ${TEST_LINKS} PkgConfig::CMOCKA)
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${TEST_LABEL}.${name} COMMAND test_${name} ${TEST_ARGS})
  set_tests_properties(${TEST_LABEL}.${name} PROPERTIES LABELS ${TEST_LABEL} TIMEOUT ${TEST_TIMEOUT}
    SKIP_RETURN_CODE 77)
  if(NETPOOL_SANITIZE STREQUAL "thread")
    set_tests_properties(${TEST_LABEL}.${name} PROPERTIES
      ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp")
  endif()
endfunction()
