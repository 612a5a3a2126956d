# Run as `cmake -DNAME=order-svc -DOUT=<folder> -P`: turns the .sql files named in OUT/checks.list into OUT/checks.{c,h}.
cmake_minimum_required(VERSION 3.25)
include("${CMAKE_CURRENT_LIST_DIR}/embed_text.cmake")
file(READ "${OUT}/checks.list" files)
string(TOUPPER "${NAME}_CHECKS" array)
string(REPLACE "-" "_" array "${array}")

set(texts "")
set(rows "")
foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME_WE)
    file(STRINGS "${file}" first LIMIT_COUNT 1)
    if(NOT name MATCHES "^[a-z0-9_]+$" OR NOT first MATCHES "^-- what: ([^\"\\;]+)$")
        message(FATAL_ERROR "${file}: a check is called by a-z, 0-9, _ and begins with a line \"-- what: …\" without quotes and semicolons")
    endif()
    set(what "${CMAKE_MATCH_1}")
    string(TOUPPER "SQL_${name}" constant)
    embed_text("${file}" ${constant} text)
    string(APPEND texts "${text}")
    string(APPEND rows "    {.name = \"${name}\", .what = \"${what}\", .stmt = {\"audit_${name}\", ${constant}}},\n")
endforeach()

set(note "/* Made by cmake/embed_checks.cmake. */")
file(WRITE "${OUT}/checks.h.new"
    "${note}\n#pragma once\n#include \"svc/audit_check.h\"\n\nextern const struct audit_check ${array}[];\n")
file(WRITE "${OUT}/checks.c"
    "${note}\n#include \"${NAME}/checks.h\"\n\n${texts}const struct audit_check ${array}[] = {\n${rows}    {.name = NULL},\n};\n")
file(COPY_FILE "${OUT}/checks.h.new" "${OUT}/checks.h" ONLY_IF_DIFFERENT)
