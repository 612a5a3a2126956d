/* http.h — the HTTP/1.1 server of every process: libmicrohttpd in external mode, a loop a thread.
 *
 * For     services (JSON handlers) and the gateway (which forwards). A request is a `struct call`; a handler answers at
 *         once, or defers it and somebody finishes it later from any thread. The frame around handlers does request
 *         hygiene (http_hygiene.h), limits and deadlines for headers and bodies, routes,
 *         405/404/406/415, token and role, problem documents, common headers, the access log and metrics: no handler
 *         writes an error body.
 * Owns    a call owns its request and its arena until it has been answered; the server owns calls.
 * Threads a handler runs on its loop's thread and must not block. call_finish: any thread, exactly once a deferred call.
 *         While deferred, the call belongs to whoever will finish it.
 *         A call that a drain cut off still belongs to whoever will finish it: call_finish then only frees it. He must not
 *         look at its headers, its loop or the server any more, which are gone.
 * Fails   http_server_open with a reason (a taken port is named).
 */
#ifndef IO_HTTP_H
#define IO_HTTP_H

#include "base/mem.h"
#include "io/fields.h"
#include "io/log.h"
#include "io/loop.h"
#include "io/metrics.h"
#include "io/networks.h"
#include "io/spans.h"
#include "io/token.h"
#include "io/trace.h"

enum {
    HTTP_HEADERS_MAX = 16 * 1024, /* request line and headers → 431, target alone 8 KiB → 414 */
    HTTP_TARGET_MAX = 8 * 1024,
    HTTP_BODY_MAX = 64 * 1024, /* → 413 before it is read */
    HTTP_PATH_PARAMS_MAX = 2,
    HTTP_REPLY_HEADERS_MAX = 24,
    HTTP_REQUEST_ID_MAX = 65,
};
enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_HEAD, HTTP_OPTIONS, HTTP_OTHER };
const char *http_method_name(enum http_method m);

enum http_who {
    WHO_ANYONE,
    WHO_USER,
    WHO_ADMIN,
    WHO_SIGNED_IN, /* a user, or a newcomer, who is let in nowhere else */
};
enum {
    ROUTE_IDEMPOTENT = 1,    /* honours Idempotency-Key (read and checked by the frame) */
    ROUTE_NO_BODY = 2,       /* a body is refused, 400 */
    ROUTE_CSV = 4,           /* may answer text/csv as well as JSON */
    ROUTE_OPTIONAL_BODY = 8, /* POST whose body may be absent */
    ROUTE_OWN_ACCEPT = 16,   /* the handler itself minds what the client accepts */
};

struct call;
/* ERR_OK: answered (call_reply…) or deferred (call_defer). Anything else: the frame answers the problem. */
typedef enum err http_handler(struct call *call);

struct http_route {
    enum http_method method;
    const char *path; /* "/api/v1/orders/{id}": segments in braces are parameters */
    enum http_who who;
    http_handler *handle;
    unsigned flags;
};

struct header {
    const char *name, *value;
};

struct call {
    /* -- the request; const for handlers -- */
    enum http_method method;
    const struct http_route *route;
    const char *path;                        /* canonical, as routed */
    struct str query;                        /* raw, after '?' */
    struct str params[HTTP_PATH_PARAMS_MAX]; /* percent-decoded, in the path's order */
    struct str body;
    const struct header *headers; /* hygienic: nothing hop-by-hop, no X-User-*, no X-Forwarded-*, nothing with a '_' */
    size_t header_count;
    char request_id[HTTP_REQUEST_ID_MAX];
    struct trace trace;
    char peer[ADDRESS_TEXT_MAX];   /* address without port */
    char client[ADDRESS_TEXT_MAX]; /* for whom the peer asks: he himself, unless he is one of conf.trusted_proxies */
    mono_ns_t started;
    mono_ns_t deadline; /* X-Request-Deadline-Ms, capped; default 5 s after started */
    int wait_ms; /* how long a write may wait for its saga: Prefer, deadline and 3 s considered; 0: respond-async */
    bool prefer_async;
    const char *idempotency_key; /* unquoted, NULL when absent */
    bool has_token;
    struct token_claims claims;
    bool wants_csv;
    struct arena arena; /* lives until the answer is sent */
    void *app;          /* http_server_conf.app */
    void *state;        /* the handler's own, in the arena */

    /* -- why it failed, when it does -- */
    struct fault fault;
    struct field_errors errors;
    struct buf problem_members; /* extra members of the problem, written by a json_out; "" when none */
    int retry_after_s;          /* 0: none; 503 gets 1 by itself */

    /* -- the answer -- */
    int status;
    struct buf out;
    const char *content_type; /* constant or arena; default application/json */
    struct header reply_headers[HTTP_REPLY_HEADERS_MAX];
    size_t reply_header_count;
    bool close; /* close the connection after the answer */

    /* -- for the access log -- */
    struct buf log_members;    /* ,"upstream":"…" and the like; "" when none */
    struct call_private *priv; /* http.c's */
};

const char *call_header(const struct call *call, const char *name); /* case-insensitive; NULL: absent */
/* Decodes the JSON body by a table; ERR_MALFORMED_JSON or ERR_INVALID with every field named in call->errors. */
MUST_CHECK enum err call_body(struct call *call, const struct field *table, void *ret);
MUST_CHECK enum err call_query(struct call *call, const struct field *table, void *ret);
/* Path parameter as UUID: ERR_NOT_FOUND when it is none, or the nil one, which is nothing's id. */
MUST_CHECK enum err call_param_uuid(struct call *call, int i, struct uuid *ret);

/* Whose resource is meant: a customer's own (naming another: ERR_NOT_FOUND); an admin must name one (else ERR_INVALID at
 * pointer). named is 0 when absent. */
MUST_CHECK enum err call_customer(struct call *call, int64_t named, const char *pointer, int64_t *ret_customer_id);

void call_reply(struct call *call, int status);                                 /* call->out holds the body */
void call_reply_header(struct call *call, const char *name, const char *value); /* value: constant or arena */
/* Sets a member of the problem document that an error returned later will carry. */
struct json_out call_problem(struct call *call);

/* The caller will see to it that call_finish comes, once; call this before handing the call to another thread. */
void call_defer(struct call *call);
/* ERR_OK: call->status/out are set. Any other: answered as a problem. Posts to the call's loop. */
void call_finish(struct call *call, enum err e);
/* From the handler, on the loop's thread. Should the client hang up while the call is deferred, `gone` is told so on that thread,
 * once, some 20 ms after the call began or later. call_finish must come all the same. */
void call_on_gone(struct call *call, void (*gone)(struct call *call));
struct loop *call_loop(struct call *call);

/* Where a request has come to, when `admit` is asked. */
enum http_stage {
    HTTP_ROUTED,          /* its route is known, and no more */
    HTTP_UNAUTHENTICATED, /* it needs a token and has no valid one: told only, the answer is 401 */
    HTTP_ADMITTED,        /* its token and role are right */
    HTTP_WHOLE,           /* its body is there; the handler is next */
};

/* A line a route on standard output, "GET /api/v1/orders user": what --routes prints. */
void http_routes_print(const struct http_route *routes);

struct http_server_conf {
    const char *listen;        /* "127.0.0.1:8080" */
    const char *tls_cert_file; /* PEM, the chain after it; with its key: this server speaks HTTPS and nothing else */
    const char *tls_key_file;
    int threads;                     /* loops; 1..64 */
    const struct http_route *routes; /* ends with a NULL path */
    struct token_verifier *verifier; /* NULL: routes of WHO_ANYONE only */
    struct log *log;
    struct metrics *metrics;
    struct spans *spans; /* NULL: nobody is told */
    void *app;
    bool access_log;
    bool trust_request_id;                  /* services take the gateway's X-Request-Id; the gateway makes its own */
    const struct networks *trusted_proxies; /* whose X-Forwarded-For is believed; NULL: nobody's */
    int connections_max;                    /* a process, shared evenly by the threads; 0: 4096 */
    enum err (*admit)(struct call *call, enum http_stage stage); /* may refuse with an error; NULL: nobody is asked */
    int requests_max; /* on one connection, which is then closed; 0: no cap */
    int per_ip_max;   /* connections of one address on each thread; 0: no cap (LIMITS=off) */
    /* Runs on each loop's thread when it starts and ends; *ret_local is what call_local() gives there. May be NULL. */
    void *(*thread_start)(void *app, struct loop *loop);
    void (*thread_stop)(void *app, void *local);
};
struct http_server;
MUST_CHECK enum err http_server_open(const struct http_server_conf *conf, struct http_server **ret,
                                     struct fault *fault);
/* From now on every answer says Connection: close, while new connections are still taken: for the time between "not ready" and
 * the drain, in which those who share requests out look elsewhere. */
void http_server_lame(struct http_server *s);
/* Stops accepting, answers what is in flight with Connection: close, waits up to timeout_ms for calls to end, then ends
 * the threads. Returns the number of calls that were cut off. */
int http_server_drain(struct http_server *s, int timeout_ms);
void http_server_close(struct http_server *s);
/* Reads the certificate and key again, for connections made from now on; any thread. What is wrong with them leaves the ones
 * before. ERR_OK, too, when it speaks plain HTTP. */
MUST_CHECK enum err http_server_reload_tls(struct http_server *s, struct fault *fault);
/* From its return on, new calls go by `routes` and have `app`; calls under way end with what they began with. `released` is called
 * for the `app` given here when no call has it any more: on a loop's thread, or by http_server_close. From the thread that opened
 * the server. ERR_BUG: a route is wrong; nothing has changed. */
MUST_CHECK enum err http_server_swap(struct http_server *s, const struct http_route *routes, void *app,
                                     void (*released)(void *app), struct fault *fault);
int http_server_port(const struct http_server *s); /* the bound port; for tests that listen on :0 */
void *call_local(struct call *call);
int http_calls_in_flight(struct http_server *s);

#endif
