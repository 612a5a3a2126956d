/* response.h — reads a service's HTTP/1.1 answer, strictly (RFC 9112).
 *
 * For     upstream.c. What two readers could read differently is refused: a connection is used again, so a wrong border between
 *         two answers would give one customer another's. Refused are bare CR and LF, folded headers, blanks before a colon,
 *         Content-Length with Transfer-Encoding, doubled framing headers, codings other than chunked.
 * Owns    nothing: names and values point into the caller's bytes.
 * Threads any; pure: no I/O, no clock.
 * Fails   RESPONSE_WRONG with a constant phrase. Bytes that came so far never turn from wrong to right by more of them.
 */
#ifndef GATEWAY_RESPONSE_H
#define GATEWAY_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum {
    RESPONSE_HEAD_MAX = 16 * 1024,
    RESPONSE_HEADERS_MAX = 64,
    RESPONSE_BODY_MAX = 8 * 1024 * 1024,
    RESPONSE_BETWEEN_MAX = 4 * 1024, /* between two chunks: a size line with its extensions; and all trailers */
};

enum response_state { RESPONSE_MORE, RESPONSE_WHOLE, RESPONSE_WRONG };
enum response_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

struct response_header {
    struct str name, value;
};
struct response {
    int status;      /* 100..599; below 200 another head follows */
    bool keep_alive; /* the connection may carry another request */
    enum response_framing framing;
    int64_t content_length; /* FRAMING_LENGTH */
    struct response_header headers[RESPONSE_HEADERS_MAX];
    size_t header_count;
};

/* `bytes` is all that came from the head's beginning on. WHOLE: *ret is set and its head has *ret_used bytes. The request must not
 * have been HEAD or CONNECT. */
MUST_CHECK enum response_state response_head(struct str bytes, struct response *ret, size_t *ret_used,
                                             const char **ret_why);

struct response_body {
    enum response_framing framing;
    int64_t left; /* of the body, or of the chunk */
    size_t total; /* decoded so far */
    size_t between;
    int chunk; /* enum chunk, response.c */
};
void response_body_init(struct response_body *b, const struct response *r);
/* Appends what it decodes to `out`. WHOLE: the body ends after *ret_used bytes; what follows is no part of this answer. */
MUST_CHECK enum response_state response_body_feed(struct response_body *b, struct str bytes, struct buf *out,
                                                  size_t *ret_used, const char **ret_why);
/* The service closed the connection: is that the body's end? */
bool response_body_ends_by_close(const struct response_body *b);

#endif
