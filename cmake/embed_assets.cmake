# Run as `cmake -DOUT=<folder> -P`: turns the files named in OUT/assets.list into OUT/assets.c. The assembler takes their bytes in as they
# are: a megabyte as a C array takes seconds to compile.
cmake_minimum_required(VERSION 3.25)
file(READ "${OUT}/assets.list" files)

set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_json "application/json")
set(type_png "image/png")

set(texts "")
set(rows "")
set(number 0)
foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME)
    string(REGEX REPLACE ".*\\." "" ending "${name}")
    if(NOT type_${ending})
        message(FATAL_ERROR "${file}: no content type is known for .${ending}")
    endif()
    file(SIZE "${file}" size)
    file(SHA256 "${file}" hash)
    string(SUBSTRING "${hash}" 0 32 tag)
    string(APPEND texts
        "__asm__(\".section .rodata\\n.global asset_${number}\\n.hidden asset_${number}\\n.balign 16\\nasset_${number}:\\n.incbin \\\"${file}\\\"\\n.previous\\n\");\n"
        "extern const char asset_${number}[];\n")
    string(APPEND rows "    {\"${name}\", \"${type_${ending}}\", \"\\\"${tag}\\\"\", {asset_${number}, ${size}}},\n")
    math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUT}/assets.c"
    "/* Made by cmake/embed_assets.cmake. */\n#include \"gateway/assets.h\"\n\n${texts}\n"
    "const struct asset GATEWAY_ASSETS[] = {\n${rows}    {.name = 0},\n};\n")
