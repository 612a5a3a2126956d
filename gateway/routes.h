/* routes.h — the gateway's config file: which paths there are, who may ask for them, and which service answers.
 *
 * For     main. What is not in the file does not exist (404): nothing is allowed by default, and every route says who may.
 * Owns    all of it lives in the caller's arena; the upstreams are upstream.h's.
 * Threads main; const afterwards.
 * Fails   ERR_CONF with every complaint, a line each.
 *
 *     {"upstreams": {"order": ["127.0.0.1:8082"]},
 *      "routes": [{"path": "/api/v1/orders", "methods": ["GET", "POST"], "upstream": "order", "who": "user",
 *                  "timeoutMs": 5000, "tryMs": 4000, "slowMs": 4500, "idempotent": true, "csv": false}]}
 *
 * An upstream is a list of "host:port", or a text with commas between them; a host may be a name with many addresses.
 * Without "tryMs" a GET has a second for each sending, another method four fifths of "timeoutMs".
 *
 * In place of "upstream" a route may have "aggregate", the name of one (aggregate.h), or "own": what the gateway answers itself.
 *
 * A route's "limits" and "cost", and the table "policies", are as policies.h says.
 */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include "gateway/aggregate.h"
#include "gateway/policies.h"
#include "gateway/upstream.h"
#include "io/http.h"

enum { ROUTES_MAX = 256, ROUTES_FILE_MAX = 256 * 1024, ROUTE_TIMEOUT_MAX_MS = 5000 };

/* What the gateway answers itself: a route names its handler by "own". */
struct own_handler {
    const char *name;
    http_handler *handle;
    unsigned flags; /* more of the route's */
};
/* Who serves which route. */
struct route_handlers {
    http_handler *forward;         /* those with an "upstream" */
    http_handler *aggregate;       /* those with an "aggregate" */
    const struct own_handler *own; /* those with an "own"; ends with a NULL name. NULL: there are none */
};
/* What the gateway knows of a route beside what the HTTP server does. */
struct forward {
    size_t upstream; /* index: in `services`, and after routes_adopt in `upstreams`; 0 where there is none */
    const struct aggregate *aggregate; /* NULL: the route has none */
    int timeout_ms; /* from the request's first line to the answer, all sendings to the service together */
    int try_ms;     /* one of them */
    int slow_ms;    /* a slower answer counts as slow for the breakers */
};
struct routes {
    struct upstreams_conf services; /* as the file has them */
    struct upstreams *upstreams;    /* NULL before routes_adopt */
    struct http_route *http;        /* ends with a NULL path */
    struct forward *forward;        /* of http[i] */
    struct route_limits *limits;    /* the same */
    struct aggregates aggregates;
    struct policies policies;
    struct limiter *limiter; /* the process's; set by main */
    size_t count;
};

/* Reads the members "upstreams", "policies", "aggregates" and "routes"; others are settings. */
MUST_CHECK enum err routes_read(struct arena *arena, const char *path, const struct route_handlers *handlers,
                                struct routes *ret, struct buf *ret_complaints);
/* The same from text. */
MUST_CHECK enum err routes_parse(struct arena *arena, struct str text, const struct route_handlers *handlers,
                                 struct routes *ret, struct buf *ret_complaints);

/* Makes the file's services those of `us`, and the routes theirs: at start, and before the routes take the place of others. */
MUST_CHECK enum err routes_adopt(struct routes *rs, struct upstreams *us, struct fault *fault);

#endif
