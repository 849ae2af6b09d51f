# `cmake --install`: programs (installed by their own directories), both libraries, headers, and what finds them.
include(CMakePackageConfigHelpers)

install(TARGETS netpool netpool_static
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(netpool_package_directory ${CMAKE_INSTALL_LIBDIR}/cmake/netpool)
configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/netpoolConfig.cmake.in ${PROJECT_BINARY_DIR}/package/netpoolConfig.cmake
  INSTALL_DESTINATION ${netpool_package_directory}
  PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/netpoolConfigVersion.cmake
  COMPATIBILITY SameMinorVersion) # until 1.0 a minor version may break
install(FILES ${PROJECT_BINARY_DIR}/package/netpoolConfig.cmake ${PROJECT_BINARY_DIR}/package/netpoolConfigVersion.cmake
  DESTINATION ${netpool_package_directory})

# Below the prefix the paths follow it, so that `pkg-config --define-prefix` and DESTDIR both work.
foreach(kind LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE ${CMAKE_INSTALL_${kind}})
    set(NETPOOL_PC_${kind} ${CMAKE_INSTALL_${kind}})
  else()
    set(NETPOOL_PC_${kind} \${prefix}/${CMAKE_INSTALL_${kind}})
  endif()
endforeach()
# The prefix is that of the moment of installing (`cmake --install DIR --prefix P`), so the file is written then.
install(CODE "
  set(NETPOOL_PC_PREFIX \"\${CMAKE_INSTALL_PREFIX}\")
  set(NETPOOL_PC_LIBDIR [[${NETPOOL_PC_LIBDIR}]])
  set(NETPOOL_PC_INCLUDEDIR [[${NETPOOL_PC_INCLUDEDIR}]])
  set(PROJECT_VERSION ${PROJECT_VERSION})
  set(PROJECT_DESCRIPTION [[${PROJECT_DESCRIPTION}]])
  configure_file(\"${CMAKE_CURRENT_LIST_DIR}/netpool.pc.in\" \"${PROJECT_BINARY_DIR}/package/netpool.pc\" @ONLY)")
install(FILES ${PROJECT_BINARY_DIR}/package/netpool.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
