# Files as arrays of C: cmake -DOUT=… -DFILES=a;b -P embed.cmake. The array of report.css is report_css, with a NUL
# at its end.
set(text "/* Made by cmake/embed.cmake. */\n")
foreach(file ${FILES})
  get_filename_component(name ${file} NAME)
  string(MAKE_C_IDENTIFIER ${name} name)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND text "static const unsigned char ${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
