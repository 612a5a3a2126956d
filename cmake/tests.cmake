# Tests and benches. What a test links follows from its name:
#
#   tests/unit/test_decimal.c       common/base/decimal.c exists: links that layer and what is under it
#   tests/unit/test_order_fill.c    starts with a service's word: links order-svc-core; #include "order-svc/order.h"
#   tests/unit/test_json_depth.c    its first word is a module of common/: as the first
#   anything else                   links svc
#
# Integration tests always link svc, tests/support/*.c, and a service's core by the same word. ctest labels: unit, integration.
set(TEST_ENVIRONMENT
    "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/support/lsan.supp:print_suppressions=0"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=${CMAKE_SOURCE_DIR}/tests/support/tsan.supp")

# Kernels with much address randomisation (vm.mmap_rnd_bits=32) stop older TSan runtimes at start; setarch -R turns it off.
set(TEST_LAUNCHER "")
if(BROKERAGE_SANITIZE MATCHES "thread")
    execute_process(COMMAND setarch -R true RESULT_VARIABLE setarch_fails OUTPUT_QUIET ERROR_QUIET)
    if(NOT setarch_fails)
        set(TEST_LAUNCHER setarch -R)
    endif()
endif()

# The layer of common/ that has a module of this name, or none.
function(find_layer module ret_layer)
    set(${ret_layer} "" PARENT_SCOPE)
    foreach(layer base io events svc)
        if(EXISTS "${CMAKE_SOURCE_DIR}/common/${layer}/${module}.c")
            set(${ret_layer} ${layer} PARENT_SCOPE)
        endif()
    endforeach()
endfunction()

# The libraries that a test or fuzz target named `subject` links (see above).
function(find_subject subject ret_libraries)
    string(REGEX REPLACE "_.*" "" word "${subject}")
    find_layer("${subject}" layer)
    find_service_core("${subject}" core)
    if(NOT layer AND NOT core)
        find_layer("${word}" layer)
    endif()
    if(NOT layer)
        set(layer ${core} svc)
    endif()
    set(${ret_libraries} ${layer} PARENT_SCOPE)
endfunction()

function(find_service_core subject ret_core)
    set(${ret_core} "" PARENT_SCOPE)
    string(REGEX REPLACE "_.*" "" word "${subject}")
    foreach(core ${word}-svc-core ${word}-core)
        if(TARGET ${core})
            set(${ret_core} ${core} PARENT_SCOPE)
        endif()
    endforeach()
endfunction()

function(register_test name label timeout_s)
    add_test(NAME ${name} COMMAND ${TEST_LAUNCHER} ${ARGN} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
    set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${timeout_s} ENVIRONMENT "${TEST_ENVIRONMENT}")
endfunction()

file(GLOB support_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/support/*.c")
if(support_sources)
    add_library(test-support STATIC ${support_sources})
    target_include_directories(test-support PUBLIC "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/tests")
    target_link_libraries(test-support PUBLIC svc PkgConfig::CMOCKA)
endif()

function(add_test_programs label timeout_s)
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/${label}/test_*.c")
    foreach(source IN LISTS sources)
        get_filename_component(name "${source}" NAME_WE)
        string(REGEX REPLACE "^test_" "" subject "${name}")
        add_executable(${name} "${source}")
        set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
        target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/tests")
        if(label STREQUAL "integration")
            find_service_core("${subject}" libraries)
            if(TARGET test-support)
                list(PREPEND libraries test-support)
            endif()
            list(APPEND libraries svc)
        else()
            find_subject("${subject}" libraries)
        endif()
        target_link_libraries(${name} PRIVATE ${libraries} PkgConfig::CMOCKA)
        register_test(${name} ${label} ${timeout_s} $<TARGET_FILE:${name}>)
    endforeach()
endfunction()

add_test_programs(unit 120)
add_test_programs(integration 300)

# tests/fuzz/fuzz_<name>.c defines LLVMFuzzerTestOneInput. Everywhere it becomes replay_<name>, which runs the files of
# tests/fuzz/corpus/<name>/ as a unit test; with the preset fuzz also fuzz_<name>, a libFuzzer program.
file(GLOB fuzz_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c")
foreach(source IN LISTS fuzz_sources)
    get_filename_component(program "${source}" NAME_WE)
    string(REGEX REPLACE "^fuzz_" "" subject "${program}")
    find_subject("${subject}" libraries)
    add_executable(replay_${subject} "${source}" "${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c")
    set(programs replay_${subject})
    if(BROKERAGE_FUZZ)
        add_executable(${program} "${source}")
        target_link_options(${program} PRIVATE -fsanitize=fuzzer)
        list(APPEND programs ${program})
    endif()
    foreach(target IN LISTS programs)
        set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzz")
        target_compile_options(${target} PRIVATE -Wno-missing-prototypes) # LLVMFuzzerTestOneInput has no header
        target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}")
        target_link_libraries(${target} PRIVATE ${libraries})
    endforeach()
    register_test(replay_${subject} unit 120 $<TARGET_FILE:replay_${subject}> "${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${subject}")
endforeach()

file(GLOB bench_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/bench/*.c")
foreach(source IN LISTS bench_sources)
    get_filename_component(name "${source}" NAME_WE)
    add_executable(bench-${name} "${source}")
    set_target_properties(bench-${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bench")
    target_include_directories(bench-${name} PRIVATE "${CMAKE_SOURCE_DIR}")
    target_link_libraries(bench-${name} PRIVATE svc)
endforeach()

if(NOT BROKERAGE_SANITIZE AND TARGET base-alone)
    add_test(NAME layers_refuse_a_call_up
        COMMAND "${CMAKE_COMMAND}" "-DCC=${CMAKE_C_COMPILER}" "-DFLAGS=${LAYER_ALONE_LINK_FLAGS}" "-DINCLUDE=${CMAKE_SOURCE_DIR}/common"
            "-DBASE=$<TARGET_FILE:base>" "-DOUT=${CMAKE_BINARY_DIR}/layers_test" -P "${CMAKE_SOURCE_DIR}/cmake/layers_test.cmake")
    set_tests_properties(layers_refuse_a_call_up PROPERTIES LABELS unit)
endif()
add_test(NAME layers_include_downwards
    COMMAND "${CMAKE_COMMAND}" "-DROOT=${CMAKE_SOURCE_DIR}" -P "${CMAKE_SOURCE_DIR}/cmake/includes_test.cmake")
set_tests_properties(layers_include_downwards PROPERTIES LABELS unit)
