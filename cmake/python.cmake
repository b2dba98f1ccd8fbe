# The Python packages caffe, amct_caffe and qaffe: complete in the build tree (PYTHONPATH=build/python), and
# installed for the system's Python, or into a wheel (scikit-build-core sets SKBUILD).
find_program(PROTOC protoc)
find_package(Python3 3.9 COMPONENTS Interpreter)
if(NOT PROTOC OR NOT Python3_FOUND)
  message(STATUS "The Python packages need protoc and Python: not built")
  return()
endif()

# caffe_pb2 from the library's schema, without what only protobuf-c understands.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS src/model/caffe.proto)
file(READ src/model/caffe.proto schema)
string(REGEX REPLACE "[^\n]*(pb_c|protobuf-c)[^\n]*\n" "" schema "${schema}")
file(CONFIGURE OUTPUT python_schema/caffe.proto CONTENT "${schema}" @ONLY)

set(packages ${CMAKE_CURRENT_BINARY_DIR}/python)
file(GLOB_RECURSE python_sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/python python/*.py)
list(FILTER python_sources EXCLUDE REGEX "^tests/|_pb2.py$")
foreach(source ${python_sources})
  add_custom_command(
    OUTPUT ${packages}/${source}
    COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_SOURCE_DIR}/python/${source} ${packages}/${source}
    DEPENDS python/${source}
    VERBATIM)
  list(APPEND copies ${packages}/${source})
endforeach()
add_custom_command(
  OUTPUT ${packages}/caffe/proto/caffe_pb2.py
  COMMAND ${CMAKE_COMMAND} -E make_directory ${packages}/caffe/proto
  COMMAND ${PROTOC} --python_out=${packages}/caffe/proto -I${CMAKE_CURRENT_BINARY_DIR}/python_schema caffe.proto
  DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/python_schema/caffe.proto
  VERBATIM)

# The schemas of simplified configurations under AMCT's names: each is a part of the library's.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS src/model/amct.proto)
file(READ src/model/amct.proto schema)
set(title "// ---- simplified configuration of")
string(FIND "${schema}" "${title} retraining" retraining)
string(FIND "${schema}" "${title} calibration" calibration)
math(EXPR length "${calibration} - ${retraining}")
string(SUBSTRING "${schema}" ${retraining} ${length} retraining)
string(SUBSTRING "${schema}" ${calibration} -1 calibration)
set(head "// Part of qaffe's src/model/amct.proto.\nsyntax = \"proto2\";\npackage amct;\n\n")
file(CONFIGURE OUTPUT ${packages}/amct_caffe/proto/retrain_config_caffe.proto CONTENT "${head}${retraining}" @ONLY)
file(CONFIGURE OUTPUT ${packages}/amct_caffe/proto/calibration_config_caffe.proto CONTENT "${head}${calibration}" @ONLY)

add_custom_target(qaffe_python ALL DEPENDS ${copies} ${packages}/caffe/proto/caffe_pb2.py
  COMMAND ${CMAKE_COMMAND} -E create_symlink $<TARGET_FILE:qaffe_shared> ${packages}/qaffe/libqaffe.so)
add_dependencies(qaffe_python qaffe_shared)

# Scripts look for python/caffe in Caffe's checkout (cmake/caffe_home.cmake).
add_custom_target(qaffe_caffe_home_python ALL
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/caffe-home
  COMMAND ${CMAKE_COMMAND} -E create_symlink ${packages} ${CMAKE_CURRENT_BINARY_DIR}/caffe-home/python)
add_dependencies(qaffe_caffe_home_python qaffe_python)

set(installed_packages caffe amct_caffe qaffe)
if(SKBUILD)
  foreach(package ${installed_packages})
    install(DIRECTORY ${packages}/${package} DESTINATION . FILES_MATCHING PATTERN "*.py" PATTERN "*.proto")
  endforeach()
  # The command, which qaffe/_command.py starts, asks for the library by the name that has the version.
  install(FILES $<TARGET_FILE:qaffe_shared> DESTINATION qaffe RENAME $<TARGET_SONAME_FILE_NAME:qaffe_shared>)
  set_target_properties(qaffe PROPERTIES INSTALL_RPATH "$ORIGIN/..")
  install(TARGETS qaffe RUNTIME DESTINATION qaffe/bin)
  return()
endif()

# Debian's Python looks in lib/python3/dist-packages below /usr, and in its version's folder elsewhere.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(python_folder lib/python3/dist-packages)
else()
  set(python_folder lib/python${Python3_VERSION_MAJOR}.${Python3_VERSION_MINOR}/dist-packages)
endif()
set(QAFFE_PYTHON_DIR ${python_folder} CACHE STRING "where to install the Python packages, below the prefix")
foreach(package ${installed_packages})
  install(DIRECTORY ${packages}/${package} DESTINATION ${QAFFE_PYTHON_DIR} FILES_MATCHING PATTERN "*.py" PATTERN "*.proto")
endforeach()
install(CODE "
  set(root \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\")
  file(MAKE_DIRECTORY \"\${root}/share/qaffe/caffe-home\")
  file(RELATIVE_PATH library \"/${QAFFE_PYTHON_DIR}/qaffe\" \"/${CMAKE_INSTALL_LIBDIR}/libqaffe.so\")
  file(CREATE_LINK \"\${library}\" \"\${root}/${QAFFE_PYTHON_DIR}/qaffe/libqaffe.so\" SYMBOLIC)
  file(RELATIVE_PATH packages /share/qaffe/caffe-home \"/${QAFFE_PYTHON_DIR}\")
  file(CREATE_LINK \"\${packages}\" \"\${root}/share/qaffe/caffe-home/python\" SYMBOLIC)")

# AMCT's program, which finds the packages that were installed with it; qaffe under its name has the steps of retraining only.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_FULL_BINDIR} OUTPUT_VARIABLE bin_to_prefix)
file(CONFIGURE OUTPUT amct_caffe CONTENT "#!${Python3_EXECUTABLE}
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '${bin_to_prefix}', '${QAFFE_PYTHON_DIR}'))
from qaffe._command import amct

sys.exit(amct())
" @ONLY)
install(CODE "file(REMOVE \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/amct_caffe\")") # not through the link
install(PROGRAMS ${CMAKE_CURRENT_BINARY_DIR}/amct_caffe DESTINATION ${CMAKE_INSTALL_BINDIR})

if(NOT QAFFE_SANITIZE AND NOT CMAKE_CROSSCOMPILING) # the packages run here
  set(page ${CMAKE_CURRENT_BINARY_DIR}/documentation/amct_caffe.1) # cmake/install.cmake installs it
  add_custom_command(OUTPUT ${page}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/documentation
    COMMAND ${CMAKE_COMMAND} -E env PYTHONPATH=${packages} PYTHONDONTWRITEBYTECODE=1
      ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/scripts/amct_man_page.py ${page}
    DEPENDS qaffe_python ${copies} scripts/amct_man_page.py
    VERBATIM)
  add_custom_target(qaffe_amct_documentation ALL DEPENDS ${page})
endif()
