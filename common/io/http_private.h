/* http_private.h — what the parts of the HTTP server tell each other; nobody else includes it but their tests.
 *
 * For     http.c (connections, threads, the only user of libmicrohttpd), http_frame.c (what happens around a handler),
 *         http_problem.c (error bodies), http_account.c (access log and metrics), http_call.c, http_generation.c, http_listen.c.
 * Owns    see http.h.
 * Threads a call belongs to its loop's thread, or while deferred to whoever will finish it.
 */
#ifndef IO_HTTP_PRIVATE_H
#define IO_HTTP_PRIVATE_H

#include <stdatomic.h>
#include <stddef.h>

#include "io/http.h"
#include "io/http_hygiene.h"
#include "io/http_route.h"

enum {
    HTTP_DEADLINE_MAX_MS = 5000,  /* a request's, from its first line */
    HTTP_DEADLINE_SPARE_MS = 500, /* of it, what a waiting write leaves for the answer */
    HTTP_WAIT_MAX_MS = 3000,
    HTTP_BODY_RATE = 1024, /* bytes a second that a client must keep up on average */
};

/* How long a client may take. Tests shorten them. */
struct http_limits {
    int header_ms; /* from accept, or from a later request's first line, to the head's end */
    int body_ms;   /* from there to the body's end, and a second more for each HTTP_BODY_RATE bytes that have come */
    int idle_ms;   /* from an answer's end to the next request's first line */
    int answer_ms; /* to fetch an answer */
    int linger_ms; /* when draining: how long idle connections may still send a last request */
};
extern const struct http_limits HTTP_LIMITS;
MUST_CHECK enum err http_server_open_with(const struct http_server_conf *conf, const struct http_limits *limits,
                                          struct http_server **ret, struct fault *fault);

/* What all threads of a server read and none writes. */
struct http_shared {
    struct http_server_conf conf; /* routes and app: of the first generation */
    struct http_limits limits;
};

/* Routes, and what goes with them, between two swaps. A call belongs to the one that it began in. */
enum { HTTP_THREADS_MAX = 64 };
struct http_metrics;
struct http_generation {
    struct route_table *table;
    struct http_metrics *metrics; /* NULL when conf.metrics is */
    void *app;
    void (*released)(void *app); /* when no call has it any more; may be NULL */
    atomic_int threads;          /* that have it, or calls of it */
    int calls[HTTP_THREADS_MAX]; /* under way; each thread's own number */
    struct http_generation *next;
};

enum call_state {
    CALL_MINE,     /* the loop's thread has it */
    CALL_DEFERRED, /* somebody will finish it */
    CALL_FINISHED, /* he has; a task is on its way to the loop */
    CALL_CUT_OFF,  /* the server ended first; whoever finishes it only frees it */
};

struct conn;
struct http_thread;
struct call_private {
    const struct http_shared *shared;
    struct http_generation *generation;
    struct http_thread *thread;
    struct conn *conn;
    struct call *prev, *next; /* among the thread's calls under way, or in its free list */
    _Atomic int state;
    struct loop_task finish;
    void (*gone)(struct call *call); /* NULL: nobody wants to know that the client went away */
    enum err outcome;                /* what call_finish was given, or why the call was refused before its handler */
    bool refused;                    /* outcome is a refusal: the body is read and dropped, the handler not called */
    bool answered;
    bool had_token;  /* Authorization came with the request */
    enum err failed; /* the error that was answered, for the log */
    struct buf body;
    struct str target; /* raw; what the log shows of a request that has no canonical path */
    const char *target_at;
    size_t target_len;
    struct http_head head;
    const char *allow;
};

#define OWNER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* ---- http_call.c: a thread's calls, used again with their memory ---- */

struct call_pool {
    struct call *under_way, *free;
    size_t free_count;
};
struct call *call_take(struct call_pool *pool); /* empty but for app, priv->shared, thread and conn: the caller's */
void call_put_back(struct call_pool *pool, struct call *call);
void call_link(struct call_pool *pool, struct call *call);
void call_unlink(struct call_pool *pool, struct call *call); /* it is nobody's then: call_free */
void call_free(struct call *call);
void call_pool_done(struct call_pool *pool);

/* ---- http_listen.c ---- */

/* So many sockets that listen on one address; the kernel shares the connections out among them. On failure those that
 * were opened are in ret_fds all the same. */
MUST_CHECK enum err http_listen(const char *listen_text, int count, int *ret_fds, int *ret_port, struct fault *fault);

/* ---- http_generation.c ---- */

/* Of conf's routes and app. ERR_BUG: as route_table_new. */
MUST_CHECK enum err generation_new(const struct http_server_conf *conf, struct http_generation **ret,
                                   struct fault *fault);
void generation_free(struct http_generation *g); /* calls released */

/* ---- http_frame.c ---- */

/* All that can be judged before the body is read, in the order of http.h. */
MUST_CHECK enum err frame_admit(struct call *call);
/* Runs the handler (unless the call was refused); afterwards the call is deferred or ready to be sent. */
void frame_handle(struct call *call);
/* Makes status, body and headers of a finished call: those of its handler, or a problem. */
void frame_answer(struct call *call, enum err e);

/* ---- http_problem.c ---- */

/* Turns the call's answer into the problem document for `e` (RFC 9457). */
void problem_answer(struct call *call, enum err e);
/* The same where there is no call to speak of. */
void problem_bare(struct buf *out, enum err e);

/* ---- http_account.c ---- */

struct http_metrics *account_open(struct metrics *m, const struct http_route *routes);
void account_close(struct http_metrics *m);
/* An answered call, or one whose client went away first. Uses `line` as scratch. */
void account_call(const struct call *call, bool aborted, struct buf *line);

#endif
