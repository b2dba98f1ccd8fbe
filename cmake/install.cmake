# What `cmake --install` installs: libraries, header, command, man pages, completion, package files.
install(TARGETS qaffe_shared qaffe_static EXPORT qaffe_targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS qaffe RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES include/qaffe/qaffe.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/qaffe)
install(FILES LICENSE CHANGELOG.md README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Man pages and shell completion come from the same tables as --help.
set(documentation ${CMAKE_CURRENT_BINARY_DIR}/documentation)
add_custom_command(
  OUTPUT ${documentation}/qaffe.1
  COMMAND ${CMAKE_COMMAND} -E make_directory ${documentation}
  COMMAND qaffe documentation --out ${documentation}
  DEPENDS qaffe
  VERBATIM)
add_custom_target(qaffe_documentation ALL DEPENDS ${documentation}/qaffe.1)
install(DIRECTORY ${documentation}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 FILES_MATCHING PATTERN "*.1")
# Completion of Caffe's programs is loaded by their names (cmake/caffe_home.cmake links them).
install(FILES ${documentation}/qaffe.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
  RENAME qaffe)

# pkg-config
configure_file(cmake/qaffe.pc.in ${CMAKE_CURRENT_BINARY_DIR}/qaffe.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/qaffe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# find_package(qaffe)
install(EXPORT qaffe_targets NAMESPACE qaffe:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qaffe)
configure_package_config_file(cmake/qaffeConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/qaffeConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qaffe)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/qaffeConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/qaffeConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/qaffeConfigVersion.cmake
  cmake/FindOneDNN.cmake cmake/FindLevelDB.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qaffe)
