# netpool-broker as a process, spoken to by the test itself.
add_library(np_test_broker STATIC broker_fixture.c ../support/broker_process.c ../support/protocol_peer.c)
target_compile_definitions(np_test_broker PRIVATE NETPOOL_BROKER="$<TARGET_FILE:netpool-broker>")
target_link_libraries(np_test_broker PRIVATE np_flags PkgConfig::CMOCKA PUBLIC np_transport np_ca)
add_dependencies(np_test_broker netpool-broker)

netpool_test(broker_tasks LABEL system SOURCES test_broker_tasks.c LINKS np_test_broker)
netpool_test(broker_faults LABEL system SOURCES test_broker_faults.c LINKS np_test_broker)
netpool_test(broker_pressure LABEL system SOURCES test_broker_pressure.c LINKS np_test_broker)
netpool_test(broker_start LABEL system SOURCES test_broker_start.c LINKS np_test_broker)
netpool_test(broker_tls LABEL system SOURCES test_broker_tls.c LINKS np_test_broker np_test_certificates)
