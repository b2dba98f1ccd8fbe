# Caffe's programs, which are qaffe under other names, and a folder laid out like a built Caffe checkout, for
# scripts that ask where Caffe is: `qaffe caffe-home` prints where it is.
set(caffe_tools caffe convert_imageset compute_image_mean extract_features
  upgrade_net_proto_text upgrade_net_proto_binary upgrade_solver_proto_text
  convert_annoset create_annoset get_image_size)
set(caffe_links)
foreach(tool ${caffe_tools})
  list(APPEND caffe_links tools/${tool} tools/${tool}.bin)
endforeach()
foreach(example mnist/convert_mnist_data siamese/convert_mnist_siamese_data cifar10/convert_cifar_data)
  list(APPEND caffe_links examples/${example} examples/${example}.bin)
endforeach()

set(home ${CMAKE_CURRENT_BINARY_DIR}/caffe-home)
set(commands)
foreach(link ${caffe_links})
  cmake_path(GET link PARENT_PATH folder)
  list(APPEND commands COMMAND ${CMAKE_COMMAND} -E make_directory ${home}/build/${folder}
    COMMAND ${CMAKE_COMMAND} -E create_symlink $<TARGET_FILE:qaffe> ${home}/build/${link})
endforeach()
add_custom_command(OUTPUT ${home}/complete ${commands} COMMAND ${CMAKE_COMMAND} -E touch ${home}/complete
  DEPENDS qaffe VERBATIM)
add_custom_target(qaffe_caffe_home ALL DEPENDS ${home}/complete)

install(CODE "
  set(root \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\")
  foreach(link ${caffe_links})
    cmake_path(GET link PARENT_PATH folder)
    cmake_path(GET link FILENAME name)
    file(MAKE_DIRECTORY \"\${root}/share/qaffe/caffe-home/build/\${folder}\")
    file(RELATIVE_PATH target \"/share/qaffe/caffe-home/build/\${folder}\" /${CMAKE_INSTALL_BINDIR}/qaffe)
    file(CREATE_LINK \"\${target}\"
      \"\${root}/share/qaffe/caffe-home/build/\${link}\" SYMBOLIC)
    if(NOT name MATCHES \"bin$\")
      file(CREATE_LINK qaffe \"\${root}/${CMAKE_INSTALL_BINDIR}/\${name}\" SYMBOLIC)
      file(CREATE_LINK qaffe \"\${root}/${CMAKE_INSTALL_DATADIR}/bash-completion/completions/\${name}\" SYMBOLIC)
      file(CREATE_LINK qaffe.fish
        \"\${root}/${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d/\${name}.fish\" SYMBOLIC)
    endif()
  endforeach()")
