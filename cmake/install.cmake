# What `cmake --install` installs: libraries, header, command, man pages, completion, package files.
install(TARGETS qaffe_shared qaffe_static EXPORT qaffe_targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS qaffe RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# cmake/python.cmake puts AMCT's program in its place.
install(CODE "file(CREATE_LINK qaffe \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/amct_caffe\" SYMBOLIC)")
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
# Completion of Caffe's programs is loaded by their names: bash's and fish's (cmake/caffe_home.cmake links them).
install(FILES ${documentation}/qaffe.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
  RENAME qaffe)
install(FILES ${documentation}/_qaffe DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${documentation}/qaffe.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

# pkg-config: the prefix is found from where the file lies, so that `cmake --install --prefix` and moved folders work.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
  BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig OUTPUT_VARIABLE QAFFE_PC_TO_PREFIX)
# What a static link needs stands in Libs.private: Requires.private would make even --cflags ask for the .pc files of
# these libraries, which who links libqaffe.so need not have.
foreach(library PROTOBUFC JANSSON EXPAT LMDB JPEG PNG ZLIB HDF5 NETTLE)
  list(APPEND private_libraries ${${library}_LDFLAGS})
endforeach()
list(APPEND private_libraries ${LAPACK_LIBRARIES})
list(REMOVE_DUPLICATES private_libraries)
list(JOIN private_libraries " " QAFFE_PC_PRIVATE)
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
