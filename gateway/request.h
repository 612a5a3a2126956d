/* request.h — the head of a request to a service, made from a client's.
 *
 * For     proxy.c, which forwards a request as it is, aggregate.c, which asks several services for parts of one answer, and
 *         breakers.c, which has auth-svc write down what an admin did here.
 *         By now the HTTP server has checked the request's form, its token and its role, and has dropped what a client must
 *         not say (http.h). What goes on is a short list of its headers, plus our own: X-Request-Id, traceparent,
 *         X-Request-Deadline-Ms (what is left), X-Forwarded-For (the client).
 * Owns    nothing: the text is in the call's arena.
 * Threads the call's loop.
 * Fails   never.
 */
#ifndef GATEWAY_REQUEST_H
#define GATEWAY_REQUEST_H

#include "gateway/upstream.h"
#include "io/http.h"

/* The head but for its end, in memory that was measured before. */
struct request_head {
    char *begin, *at, *end;
    struct trace trace; /* what the service is told: its span's parent */
};
struct request_line {
    const char *method;
    const char *path;
    struct str query;       /* raw; data NULL: none */
    const struct str *body; /* that goes with it; NULL: none */
};
struct request_head request_head_begin(struct call *call, const struct request_line *line, const struct upstream *u);
/* Each attempt ends it anew, by what is left of its deadline. */
struct str request_head_end(struct request_head head, mono_ns_t left);

#endif
