# Reads every #include: a layer includes only itself and what is under it, a service nothing of another service, and each outside
# library stands in one module. (The link can't see a macro, a type or an inline function of the layer above.)
cmake_minimum_required(VERSION 3.25)
set(base_may base)
set(io_may base io)
set(events_may base io events)
set(svc_may base io events svc)

# header pattern -> the one file that may include it
set(outside
    "microhttpd\\.h" "common/io/http[a-z_]*\\.[ch]"
    "gnutls/.*" "common/io/http[a-z_]*\\.[ch]"
    "jansson\\.h" "common/io/(json|token)[a-z_]*\\.[ch]" # token's claims: integers only, duplicates refused (architecture.md 9)
    "libpq-fe\\.h|libpq/.*" "common/io/db[a-z_]*\\.[ch]"
    "librdkafka/.*" "common/io/kafka[a-z_]*\\.[ch]"
    "jwt\\.h" "common/io/token[a-z_]*\\.[ch]"
    "sodium.*\\.h" "auth-svc/.*")
set(services gateway order-svc asset-svc txn-svc auth-svc admin-svc)
set(wrong "")

foreach(folder common ${services})
    file(GLOB_RECURSE files RELATIVE "${ROOT}" "${ROOT}/${folder}/*.c" "${ROOT}/${folder}/*.h")
    foreach(file IN LISTS files)
        file(STRINGS "${ROOT}/${file}" lines REGEX "^[ \t]*#[ \t]*include")
        foreach(line IN LISTS lines)
            if(NOT line MATCHES "[<\"]([^>\"]+)[>\"]")
                continue()
            endif()
            set(header "${CMAKE_MATCH_1}")
            string(REGEX REPLACE "/.*" "" room "${header}")
            if(line MATCHES "\"" AND header MATCHES "/" AND file MATCHES "^common/([a-z]+)/")
                set(layer "${CMAKE_MATCH_1}")
                if(NOT room IN_LIST ${layer}_may)
                    string(APPEND wrong "  ${file} includes ${header}: ${layer} may use ${${layer}_may}\n")
                endif()
            endif()
            if(room IN_LIST services AND NOT file MATCHES "^${room}/")
                string(APPEND wrong "  ${file} includes ${header}: a room of another service\n")
            endif()
            set(pairs ${outside})
            while(pairs)
                list(POP_FRONT pairs pattern owner)
                if(header MATCHES "^(${pattern})$" AND NOT file MATCHES "^(${owner})$")
                    string(APPEND wrong "  ${file} includes ${header}: only ${owner} may\n")
                endif()
            endwhile()
        endforeach()
    endforeach()
endforeach()

if(wrong)
    message(FATAL_ERROR "includes that cross the layers:\n${wrong}")
endif()
