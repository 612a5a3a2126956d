# Run as `cmake -DNAME=order-svc -DOUT=<folder> -P`: turns the .sql files named in OUT/migrations.list into OUT/migrations.{c,h}.
cmake_minimum_required(VERSION 3.25)
include("${CMAKE_CURRENT_LIST_DIR}/embed_text.cmake")
file(READ "${OUT}/migrations.list" files)
string(TOUPPER "${NAME}_MIGRATIONS" array)
string(REPLACE "-" "_" array "${array}")

set(texts "")
set(rows "")
set(last 0)
foreach(file IN LISTS files)
    get_filename_component(base "${file}" NAME)
    if(NOT base MATCHES "^([0-9][0-9][0-9][0-9])_([a-z0-9_]+)\\.sql$")
        message(FATAL_ERROR "${file}: a migration is called NNNN_name.sql (digits, then a-z, 0-9, _)")
    endif()
    set(digits "${CMAKE_MATCH_1}")
    set(title "${CMAKE_MATCH_2}")
    math(EXPR version "1${digits} - 10000")
    if(NOT version GREATER last)
        message(FATAL_ERROR "${file}: version ${version} is there twice")
    endif()
    set(last ${version})

    embed_text("${file}" SQL_${digits} text)
    string(APPEND texts "${text}")
    string(APPEND rows "    {.version = ${version}, .name = \"${title}\", .sql = SQL_${digits}},\n")
endforeach()

set(note "/* Made by cmake/embed_migrations.cmake. */")
file(WRITE "${OUT}/migrations.h.new"
    "${note}\n#pragma once\n#include \"io/migrate.h\"\n\nextern const struct migration ${array}[];\n")
file(WRITE "${OUT}/migrations.c"
    "${note}\n#include \"${NAME}/migrations.h\"\n\n${texts}const struct migration ${array}[] = {\n${rows}    {0},\n};\n")
# The header rarely changes: leave it alone then, so that its users aren't compiled again.
file(COPY_FILE "${OUT}/migrations.h.new" "${OUT}/migrations.h" ONLY_IF_DIFFERENT)
