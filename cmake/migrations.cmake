# What is SQL in files of its own and embedded in the programs.
#
# add_migrations(<folder> <ret_sources>)
#   <folder>/migrations/NNNN_name.sql. Generates `<last part of folder>/migrations.h`, which declares
#   `extern const struct migration <NAME>_MIGRATIONS[]` (ORDER_SVC_MIGRATIONS; SVC_MIGRATIONS for common/svc), and its .c.
#   The array ends with a row of zeros; struct migration comes from "io/migrate.h".
# add_checks(<folder> <ret_sources>)
#   <folder>/checks/name.sql, the checks by which a service answers for its own books: `<last part of folder>/checks.h` with
#   `extern const struct audit_check <NAME>_CHECKS[]`, which ends with a NULL name; struct audit_check: "svc/audit_check.h".
# No .sql files: nothing is generated.
function(embed_sql folder kind ret_sources)
    set(${ret_sources} "" PARENT_SCOPE)
    file(GLOB files CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${folder}/${kind}/*.sql")
    if(NOT files)
        return()
    endif()
    list(SORT files)
    get_filename_component(name "${folder}" NAME)
    set(out "${CMAKE_BINARY_DIR}/generated/${name}")
    set(script "${CMAKE_SOURCE_DIR}/cmake/embed_${kind}.cmake")
    # The list goes by a file that changes only with it, so that a removed .sql makes the table anew too.
    file(CONFIGURE OUTPUT "${out}/${kind}.list" CONTENT "${files}" @ONLY)
    add_custom_command(
        OUTPUT "${out}/${kind}.c" "${out}/${kind}.h"
        COMMAND "${CMAKE_COMMAND}" "-DNAME=${name}" "-DOUT=${out}" -P "${script}"
        DEPENDS ${files} "${script}" "${CMAKE_SOURCE_DIR}/cmake/embed_text.cmake" "${out}/${kind}.list"
        COMMENT "embed ${folder}/${kind}"
        VERBATIM)
    set_property(GLOBAL APPEND PROPERTY GENERATED_FILES "${out}/${kind}.c" "${out}/${kind}.h")
    set(${ret_sources} "${out}/${kind}.c" "${out}/${kind}.h" PARENT_SCOPE)
endfunction()

function(add_migrations folder ret_sources)
    embed_sql("${folder}" migrations sources)
    set(${ret_sources} ${sources} PARENT_SCOPE)
endfunction()

function(add_checks folder ret_sources)
    embed_sql("${folder}" checks sources)
    set(${ret_sources} ${sources} PARENT_SCOPE)
endfunction()
