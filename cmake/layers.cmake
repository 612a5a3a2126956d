# A layer of common/ is a static library `<name>` of common/<name>/*.c. The same objects are also linked alone, as a shared
# library that nobody uses, against only what the layer may use: a call up the layers is then an undefined reference and
# fails the build (cmake/layers_test.cmake proves it).
set(LAYER_ALONE_LINK_FLAGS -Wl,--no-undefined)

# add_layer(<name> MAY_USE <layer>... [HIDES <library>...])
# MAY_USE: its headers may be used by whoever uses this layer. HIDES: linked, but for this layer's eyes only.
function(add_layer name)
    cmake_parse_arguments(PARSE_ARGV 1 layer "" "" "MAY_USE;HIDES")
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/common/${name}/*.c")
    add_migrations("common/${name}" migrations)
    add_checks("common/${name}" checks)
    list(APPEND sources ${migrations} ${checks})

    if(NOT sources)
        add_library(${name} INTERFACE)
        target_include_directories(${name} INTERFACE "${CMAKE_SOURCE_DIR}/common" "${CMAKE_BINARY_DIR}/generated")
        target_link_libraries(${name} INTERFACE ${layer_MAY_USE} ${layer_HIDES})
        return()
    endif()

    add_library(${name}-objects OBJECT ${sources})
    target_include_directories(${name}-objects PUBLIC "${CMAKE_SOURCE_DIR}/common" "${CMAKE_BINARY_DIR}/generated")
    target_link_libraries(${name}-objects PRIVATE ${layer_MAY_USE} ${layer_HIDES})

    add_library(${name} STATIC $<TARGET_OBJECTS:${name}-objects>)
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE C OUTPUT_NAME brokerage-${name})
    target_include_directories(${name} PUBLIC "${CMAKE_SOURCE_DIR}/common" "${CMAKE_BINARY_DIR}/generated")
    target_link_libraries(${name} PUBLIC ${layer_MAY_USE} PRIVATE ${layer_HIDES})

    if(NOT BROKERAGE_SANITIZE) # clang leaves the sanitizer's own symbols undefined in a shared library
        add_library(${name}-alone SHARED $<TARGET_OBJECTS:${name}-objects>)
        set_target_properties(${name}-alone PROPERTIES LINKER_LANGUAGE C LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/alone")
        target_link_options(${name}-alone PRIVATE ${LAYER_ALONE_LINK_FLAGS})
        target_link_libraries(${name}-alone PRIVATE ${layer_MAY_USE} ${layer_HIDES})
    endif()
endfunction()
