/* http_hygiene.h — what a request's head must look like before anything else looks at it.
 *
 * For     http.c: libmicrohttpd 0.9.75 accepts much that a proxy and a server could read differently (request smuggling), so
 *         whatever is doubtful is refused here (RFC 9110, RFC 9112).
 * Owns    nothing: names and values stay in the parser's memory; what must be rewritten goes into the caller's arena.
 * Threads any. Pure: no I/O, no clock.
 * Fails   ERR_MALFORMED_REQUEST, ERR_URI_TOO_LONG or ERR_HEADERS_TOO_LARGE with a reason that is safe to show.
 */
#ifndef IO_HTTP_HYGIENE_H
#define IO_HTTP_HYGIENE_H

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/http.h"

enum { HTTP_HEADER_COUNT_MAX = 100 };

/* Headers that the frame reads itself. */
enum http_known {
    KNOWN_NONE,
    KNOWN_HOST,
    KNOWN_CONTENT_LENGTH,
    KNOWN_TRANSFER_ENCODING,
    KNOWN_CONNECTION,
    KNOWN_EXPECT,
    KNOWN_AUTHORIZATION,
    KNOWN_ACCEPT,
    KNOWN_CONTENT_TYPE,
    KNOWN_CONTENT_ENCODING,
    KNOWN_PREFER,
    KNOWN_IDEMPOTENCY_KEY,
    KNOWN_REQUEST_ID,
    KNOWN_TRACEPARENT,
    KNOWN_DEADLINE,
    KNOWN_FORWARDED_FOR,
    KNOWN_COUNT
};

struct raw_header {
    struct str name, value; /* NUL-terminated, as they came */
};

/* A head as the parser left it. Its lines lie one behind the other in one piece of memory from `method` on: the parser
 * wrote NULs over the line ends, and over the colons. */
struct raw_head {
    const char *method;    /* NUL-terminated, as are target and version */
    struct str target;     /* a copy, up to HTTP_TARGET_MAX + 1 bytes */
    const char *target_at; /* where the target stood; only its address is used */
    size_t target_len;     /* of the whole */
    const char *version;
    size_t size; /* method's first byte to the empty line's last; 0: not known */
    const struct raw_header *headers;
    size_t header_count; /* may be more than HTTP_HEADER_COUNT_MAX, of which only so many are in `headers` */
};

struct http_head {
    enum http_method method;
    char *path;                    /* canonical, in the arena */
    struct str query;              /* as it came, in the arena */
    struct str known[KNOWN_COUNT]; /* without blanks around; data is NULL when absent; lists joined by commas */
    struct header *headers;        /* what handlers may see */
    size_t header_count;
    bool is_chunked;
    int64_t content_length; /* 0 when absent or chunked */
};

/* Checks everything and fills *ret. On failure only ret->method can be relied upon. */
MUST_CHECK enum err hygiene_check(const struct raw_head *raw, struct arena *arena, struct http_head *ret,
                                  struct fault *fault);

/* The lines must lie where lines lie that end with CRLF and are not continued. A NUL or a bare LF inside a line, a folded
 * header and doubled blanks in the request line move them, and can't be seen otherwise. */
MUST_CHECK enum err hygiene_layout(const struct raw_head *raw, struct fault *fault);

/* The one path that is routed, authorised and forwarded. Writes at most raw.len + 1 bytes. Decodes what need not be encoded, and
 * refuses dot segments, empty segments, encoded slashes, dots and control bytes, and bytes that RFC 3986 has no place for. */
MUST_CHECK enum err hygiene_path(struct str raw, char *ret_path, struct fault *fault);

/* The decoded text of a canonical path's segment, in the arena or in place; false when it is not UTF-8. */
MUST_CHECK bool hygiene_decode(struct str segment, struct arena *arena, struct str *ret_text);

#endif
