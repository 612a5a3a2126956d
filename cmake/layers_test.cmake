# Proves that a layer which calls up does not link: links a little layer over base alone, as cmake/layers.cmake links the real
# ones, once calling down (must link) and once calling a function of the layer above (must not).
file(MAKE_DIRECTORY "${OUT}")
file(WRITE "${OUT}/down.c" "#include \"base/err.h\"\nint probe(void);\nint probe(void)\n{\n    return err_status(ERR_OK);\n}\n")
file(WRITE "${OUT}/up.c" "int lane_of_the_layer_above(void);\nint probe(void);\nint probe(void)\n{\n    return lane_of_the_layer_above();\n}\n")

function(link_alone name ret_result ret_output)
    execute_process(
        COMMAND ${CC} -shared -fPIC -I "${INCLUDE}" "${OUT}/${name}.c" "${BASE}" ${FLAGS} -o "${OUT}/${name}.so"
        RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    set(${ret_result} "${result}" PARENT_SCOPE)
    set(${ret_output} "${output}" PARENT_SCOPE)
endfunction()

link_alone(down result output)
if(result)
    message(FATAL_ERROR "a call down the layers must link:\n${output}")
endif()
link_alone(up result output)
if(NOT result OR NOT output MATCHES "undefined reference to .lane_of_the_layer_above")
    message(FATAL_ERROR "a call up the layers must not link, but ended with ${result}:\n${output}")
endif()
