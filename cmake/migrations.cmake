# add_migrations(<folder> <ret_sources>)
#
# Embeds <folder>/migrations/NNNN_name.sql. Generates `<last part of folder>/migrations.h`, which declares
# `extern const struct migration <NAME>_MIGRATIONS[]` (ORDER_SVC_MIGRATIONS; SVC_MIGRATIONS for common/svc), and its .c.
# The array ends with a row of zeros; struct migration comes from "io/migrate.h". No .sql files: nothing is generated.
function(add_migrations folder ret_sources)
    set(${ret_sources} "" PARENT_SCOPE)
    file(GLOB files CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${folder}/migrations/*.sql")
    if(NOT files)
        return()
    endif()
    list(SORT files)
    get_filename_component(name "${folder}" NAME)
    set(out "${CMAKE_BINARY_DIR}/generated/${name}")
    set(script "${CMAKE_SOURCE_DIR}/cmake/embed_migrations.cmake")
    # The list goes by a file that changes only with it, so that a removed .sql makes the table anew too.
    file(CONFIGURE OUTPUT "${out}/migrations.list" CONTENT "${files}" @ONLY)
    add_custom_command(
        OUTPUT "${out}/migrations.c" "${out}/migrations.h"
        COMMAND "${CMAKE_COMMAND}" "-DNAME=${name}" "-DOUT=${out}" -P "${script}"
        DEPENDS ${files} "${script}" "${out}/migrations.list"
        COMMENT "embed ${folder}/migrations"
        VERBATIM)
    set_property(GLOBAL APPEND PROPERTY GENERATED_FILES "${out}/migrations.c" "${out}/migrations.h")
    set(${ret_sources} "${out}/migrations.c" "${out}/migrations.h" PARENT_SCOPE)
endfunction()
