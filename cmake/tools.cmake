# ninja format         formats every C file as .clang-format says
# ninja format-check   fails and names the lines that are not (CI)
# ninja tidy           clang-tidy over every file compiled here, as .clang-tidy says but for the analyzer; in a build by clang,
#                      since gcc's flags would confuse it: cmake --preset clang && ninja -C build/clang tidy (CI; builds
#                      nothing but generated files)
# ninja analyze        the same with the analyzer: minutes
find_program(CLANG_FORMAT NAMES clang-format-14 clang-format)
find_program(CLANG_TIDY NAMES clang-tidy-14 clang-tidy)
find_program(RUN_CLANG_TIDY NAMES run-clang-tidy-14 run-clang-tidy)
mark_as_advanced(CLANG_FORMAT CLANG_TIDY RUN_CLANG_TIDY)

set(c_folders common gateway order-svc asset-svc txn-svc auth-svc admin-svc tests bench)
set(c_globs "")
foreach(folder IN LISTS c_folders)
    list(APPEND c_globs "${CMAKE_SOURCE_DIR}/${folder}/*.c" "${CMAKE_SOURCE_DIR}/${folder}/*.h")
endforeach()
file(GLOB_RECURSE c_files RELATIVE "${CMAKE_SOURCE_DIR}" CONFIGURE_DEPENDS ${c_globs})

if(CLANG_FORMAT)
    add_custom_target(format COMMAND "${CLANG_FORMAT}" -i ${c_files} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}" VERBATIM)
    add_custom_target(format-check COMMAND "${CLANG_FORMAT}" --dry-run --Werror ${c_files}
        WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}" VERBATIM)
endif()
if(CLANG_TIDY AND RUN_CLANG_TIDY AND CMAKE_C_COMPILER_ID MATCHES "Clang")
    get_property(generated_files GLOBAL PROPERTY GENERATED_FILES)
    list(JOIN c_folders "|" tidy_folders)
    # The analyzer takes ten times as long as all other checks together: it has a target of its own.
    foreach(target tidy analyze)
        if(target STREQUAL tidy)
            set(checks "-checks=-clang-analyzer-*")
        else()
            set(checks)
        endif()
        add_custom_target(${target}
            COMMAND "${RUN_CLANG_TIDY}" -quiet ${checks} -clang-tidy-binary "${CLANG_TIDY}" -p "${CMAKE_BINARY_DIR}"
                "^${CMAKE_SOURCE_DIR}/(${tidy_folders})/"
            DEPENDS ${generated_files} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}" VERBATIM USES_TERMINAL)
    endforeach()
endif()
