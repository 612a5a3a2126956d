# Compiler and linker flags for every target. Each flag is probed, so that older compilers do without and newer ones get
# what gcc 12 and clang 14 don't know yet.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)
include(CheckPIESupported)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
check_pie_supported(LANGUAGES C)

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()

# CMake's own sets carry -DNDEBUG; our asserts stay on.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g3")

find_program(CCACHE ccache)
mark_as_advanced(CCACHE)
if(CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER "${CCACHE}")
endif()

function(add_flags)
    foreach(flag IN LISTS ARGN)
        string(MAKE_C_IDENTIFIER "HAS${flag}" known)
        check_c_compiler_flag("${flag}" ${known})
        if(${known})
            add_compile_options("${flag}")
        endif()
    endforeach()
endfunction()

function(add_linker_flags)
    foreach(flag IN LISTS ARGN)
        string(MAKE_C_IDENTIFIER "HAS${flag}" known)
        check_linker_flag(C "${flag}" ${known})
        if(${known})
            add_link_options("${flag}")
        endif()
    endforeach()
endfunction()

set(CMAKE_REQUIRED_QUIET ON)
add_compile_definitions(_GNU_SOURCE)

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror=format-security)
add_flags(
    -Wformat=2 -Wsign-conversion -Wtrampolines -Wbidi-chars=any -Wvla -Wlogical-op -Wduplicated-cond
    -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wpointer-arith -Wwrite-strings
    -Werror=implicit -Werror=incompatible-pointer-types -Werror=int-conversion)

# A compiler that nobody here has tried may warn of things that nobody here has seen: there a warning stays a warning.
if((CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 15)
   OR (CMAKE_C_COMPILER_ID MATCHES "Clang" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 20))
    add_compile_options(-Werror)
endif()
# These follow the data flow through inlined code and are wrong often enough, differently in each version (and with each
# sanitizer), that they may only warn outside the baseline.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND (BROKERAGE_SANITIZE OR NOT CMAKE_C_COMPILER_VERSION VERSION_LESS 13))
    add_flags(-Wno-error=maybe-uninitialized -Wno-error=stringop-overflow -Wno-error=stringop-overread
        -Wno-error=stringop-truncation -Wno-error=array-bounds -Wno-error=dangling-pointer -Wno-error=use-after-free
        -Wno-error=free-nonheap-object -Wno-error=format-truncation -Wno-error=format-overflow -Wno-error=restrict
        -Wno-error=null-dereference -Wno-error=nonnull -Wno-error=alloc-size -Wno-error=calloc-transposed-args)
endif()

# The same bytes from any folder. Names are left as seen from the source folder: run gdb and perf from there. (gcc lets the later
# of two maps win, clang 14 the shorter, which would leave the folder of compilation at build/<preset>; hence its own flag.)
add_flags("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=" "-ffile-prefix-map=${CMAKE_BINARY_DIR}=." -ffile-compilation-dir=.)

add_flags(-fno-common -fvisibility=hidden -fexceptions -fno-omit-frame-pointer)
add_linker_flags(-Wl,--as-needed -Wl,--no-copy-dt-needed-entries)

if(BROKERAGE_SANITIZE)
    # Sanitizers must see what the hardening would define away: -fno-strict-overflow, for one, makes an overflow legal.
    set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
    add_compile_options(-fsanitize=${BROKERAGE_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${BROKERAGE_SANITIZE})
else()
    add_flags(
        -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero
        -fzero-call-used-regs=used-gpr -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing
        -fstrict-flex-arrays=3)
    add_linker_flags(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code)
    if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug") # glibc wants optimisation with it
        add_flags(-Wnull-dereference)
        add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
    endif()
endif()

if(BROKERAGE_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "libFuzzer comes with clang: use the preset fuzz, or -DCMAKE_C_COMPILER=clang")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
unset(CMAKE_REQUIRED_QUIET)
