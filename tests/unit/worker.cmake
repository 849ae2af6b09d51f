# The worker's parts.
netpool_test(ring LABEL unit SOURCES test_ring.c LINKS np_worker)
netpool_test(parts LABEL unit SOURCES test_parts.c LINKS np_worker)
netpool_test(call LABEL unit SOURCES test_call.c LINKS np_worker)
netpool_test(preparation LABEL unit SOURCES test_preparation.c LINKS np_worker)
netpool_test(modules LABEL unit SOURCES test_modules.c $<TARGET_OBJECTS:np_worker> LINKS np_transport ${CMAKE_DL_LIBS})
target_include_directories(test_modules PRIVATE ${PROJECT_SOURCE_DIR}/common ${PROJECT_SOURCE_DIR}/worker)
set_target_properties(test_modules PROPERTIES ENABLE_EXPORTS ON) # modules find netpool_* in the program
target_compile_definitions(test_modules PRIVATE MODULE_DIRECTORY="${CMAKE_BINARY_DIR}/tests")
add_dependencies(test_modules test_module_faults)
foreach(bad abi name duplicate empty symbol)
  add_library(test_module_bad_${bad} MODULE ${PROJECT_SOURCE_DIR}/tests/modules/bad.c)
  target_link_libraries(test_module_bad_${bad} PRIVATE np_flags)
  target_compile_definitions(test_module_bad_${bad} PRIVATE BAD=${bad})
  target_include_directories(test_module_bad_${bad} PRIVATE ${PROJECT_SOURCE_DIR}/common ${PROJECT_SOURCE_DIR}/worker)
  set_target_properties(test_module_bad_${bad} PROPERTIES OUTPUT_NAME bad_${bad} PREFIX ""
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_dependencies(test_modules test_module_bad_${bad})
endforeach()
