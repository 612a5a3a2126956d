# add_assets(<ret_sources>)
#
# The files that the gateway serves from its own memory: the contract as JSON, and the page for /docs. Generates
# gateway/assets.c, which defines GATEWAY_ASSETS (gateway/assets.h): a row a file, with its bytes, its type and its ETag.
find_program(PYTHON3 python3 HINTS /usr/bin NO_CMAKE_PATH REQUIRED)

function(add_assets ret_sources)
    set(out "${CMAKE_BINARY_DIR}/generated/gateway")
    set(ui "${CMAKE_SOURCE_DIR}/gateway/docs-ui")
    # Put there by scripts/docs-ui, if it could.
    file(GLOB swagger CONFIGURE_DEPENDS
        "${CMAKE_SOURCE_DIR}/build/docs-ui/node_modules/swagger-ui-dist/swagger-ui.css"
        "${CMAKE_SOURCE_DIR}/build/docs-ui/node_modules/swagger-ui-dist/swagger-ui-bundle.js"
        "${CMAKE_SOURCE_DIR}/build/docs-ui/node_modules/swagger-ui-dist/favicon-32x32.png")
    if(swagger)
        set(page "${ui}/index.html" "${ui}/start.js" ${swagger})
    else()
        set(page "${ui}/plain.html")
    endif()
    set(files "${out}/openapi.json" "${ui}/page.css" ${page})

    set(to_json "${CMAKE_SOURCE_DIR}/cmake/openapi_json.py")
    set(script "${CMAKE_SOURCE_DIR}/cmake/embed_assets.cmake")
    file(MAKE_DIRECTORY "${out}")
    file(CONFIGURE OUTPUT "${out}/assets.list" CONTENT "${files}" @ONLY)
    add_custom_command(
        OUTPUT "${out}/openapi.json"
        COMMAND "${PYTHON3}" "${to_json}" "${CMAKE_SOURCE_DIR}/api/openapi.yaml" "${out}/openapi.json"
        DEPENDS "${CMAKE_SOURCE_DIR}/api/openapi.yaml" "${to_json}"
        COMMENT "api/openapi.yaml as JSON"
        VERBATIM)
    add_custom_command(
        OUTPUT "${out}/assets.c"
        COMMAND "${CMAKE_COMMAND}" "-DOUT=${out}" -P "${script}"
        DEPENDS ${files} "${script}" "${out}/assets.list"
        COMMENT "embed what the gateway serves itself"
        VERBATIM)
    # The bytes come in by the assembler, which tells nobody.
    set_source_files_properties("${out}/assets.c" PROPERTIES OBJECT_DEPENDS "${files}")
    set_property(GLOBAL APPEND PROPERTY GENERATED_FILES "${out}/assets.c")
    set(${ret_sources} "${out}/assets.c" PARENT_SCOPE)
endfunction()
