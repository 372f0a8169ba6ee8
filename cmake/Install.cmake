# `find_package(cairn)` gives the target `cairn::cairn`. `pkg-config cairn` gives the same to other build systems.
include(CMakePackageConfigHelpers)

install(TARGETS cairn cairn_cli EXPORT cairn-targets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/cairn DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT cairn-targets NAMESPACE cairn:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cairn)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/cairn-config.cmake.in ${PROJECT_BINARY_DIR}/cairn-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cairn)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cairn-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cairn-config.cmake ${PROJECT_BINARY_DIR}/cairn-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cairn)

# The prefix is relative to the file, so that the installed tree may be moved. The user of a static library links the
# libraries that it needs.
file(RELATIVE_PATH CAIRN_PREFIX_FROM_PC ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
set(CAIRN_PC_REQUIRES "nlohmann_json")
set(CAIRN_PC_NEEDS "fmt, simdjson, sqlite3, libzstd, libxxhash")
get_target_property(cairn_type cairn TYPE)
if(cairn_type STREQUAL "STATIC_LIBRARY")
  string(APPEND CAIRN_PC_REQUIRES ", ${CAIRN_PC_NEEDS}")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/cairn.pc.in ${PROJECT_BINARY_DIR}/cairn.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cairn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The manual page and the shell completions that the program prints (src/cli/CMakeLists.txt).
set(described ${PROJECT_BINARY_DIR}/described)
install(FILES ${described}/cairn.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${described}/cairn DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${described}/_cairn DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${described}/cairn.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
