# embed_text(<file> <constant> <ret_text>): the file as the C text of a `static const char <constant>[]`. An array of bytes: no
# quoting to get wrong, no limit on a literal's length.
function(embed_text file constant ret_text)
    file(READ "${file}" hex HEX)
    string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${hex}")
    if(bytes MATCHES "x00'")
        message(FATAL_ERROR "${file}: has a NUL byte")
    endif()
    string(REPEAT "......." 16 line) # one byte is seven characters here
    string(REGEX REPLACE "(${line})" "\\1\n    " bytes "${bytes}")
    set(${ret_text} "static const char ${constant}[] = {\n    ${bytes}0\n};\n\n" PARENT_SCOPE)
endfunction()
