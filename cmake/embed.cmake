# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT, a C file that holds other files: cmake -DOUTPUT=x.c "-DASSETS=name=path|name=path" -P embed.cmake
string(REPLACE "|" ";" assets "${ASSETS}")
set(text "#include \"report/html_assets.h\"\n")
foreach(asset IN LISTS assets)
  string(REGEX MATCH "^([a-z_]+)=(.+)$" _ "${asset}")
  set(name ${CMAKE_MATCH_1})
  file(READ "${CMAKE_MATCH_2}" hex HEX)
  string(LENGTH "${hex}" size)
  math(EXPR size "${size} / 2")
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
  string(APPEND text "static const unsigned char ${name}_bytes[] = {\n${hex}0};\n"
                     "const struct html_asset ${name} = {${name}_bytes, ${size}};\n")
endforeach()
file(WRITE "${OUTPUT}" "${text}")
