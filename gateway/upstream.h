/* upstream.h — the services behind the gateway, and one request and answer with one of them.
 *
 * For     proxy.c. Our own HTTP/1.1 client: each loop has a pool of keep-alive connections to each instance, watched while idle
 *         so that a dead one is not picked, and closed after UPSTREAM_IDLE_S, before the services do it (15 s). A request is
 *         sent by one call and read by one in the usual case; a connection is registered with epoll once in its life.
 *         Nothing is sent twice here: what an end means for the request is the caller's to decide.
 * Owns    struct upstreams: main's, const once served. Pools: their loop's. An exchange and all it points to: the caller's,
 *         untouched until `done`.
 * Threads all of one pools' functions: its loop's thread.
 * Fails   by exchange->end with `why`, a constant phrase.
 *
 * Room for what comes: a breaker and a limit an upstream are asked in exchange_start before an instance is chosen; balancing
 * replaces the choice itself (pick).
 */
#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "gateway/response.h"
#include "io/loop.h"
#include "io/metrics.h"

enum {
    UPSTREAMS_MAX = 16,
    UPSTREAM_INSTANCES_MAX = 16,
    UPSTREAM_CONNECT_MS = 250,
    UPSTREAM_QUEUE_MS = 250, /* for a connection to become free, beyond UPSTREAM_CONNECTIONS_MAX; then EXCHANGE_BUSY */
    UPSTREAM_QUEUE_FACTOR = 4, /* so many may wait for each connection there can be */
    UPSTREAM_IDLE_S = 10,
    UPSTREAM_INTERIM_MAX = 8, /* 1xx answers before the real one */
};

/* How an exchange ends. The label is the metric's `reason`. */
#define EXCHANGE_ENDS(X) \
    X(EXCHANGE_ANSWERED, "none")   /* on_head was called, the body is in *body */ \
    X(EXCHANGE_REFUSED, "connect") /* no connection: nothing was sent */ \
    X(EXCHANGE_BUSY, "busy")       /* all connections in use, and too many or too long waiting: nothing was sent */ \
    X(EXCHANGE_LOST, "lost")       /* the connection broke: see wrote and heard */ \
    X(EXCHANGE_BAD, "bad_answer")  /* not HTTP as response.h wants it */ \
    X(EXCHANGE_LATE, "deadline") \
    X(EXCHANGE_CUT, "shutdown") /* the pools are being closed */
enum exchange_end {
#define X(name, label) name,
    EXCHANGE_ENDS(X)
#undef X
        EXCHANGE_END_COUNT
};

struct instance {
    const char *name; /* "127.0.0.1:8082" */
    struct sockaddr_storage address;
    socklen_t address_len;
};
struct upstream {
    const char *name; /* "order" */
    struct instance instances[UPSTREAM_INSTANCES_MAX];
    size_t instance_count;
    _Atomic int64_t connections; /* open, on all loops */
    struct histogram *seconds;   /* of an exchange; NULL: not measured */
    struct counter *errors[EXCHANGE_END_COUNT];
};
struct upstreams {
    struct upstream items[UPSTREAMS_MAX];
    size_t count;
    int connections_max; /* an instance and loop, idle ones included */
};

/* Adds an instance by "host:port" ("[::1]:8080" too). ERR_CONF: no such address, or too many. Asks the resolver: for main. */
MUST_CHECK enum err upstream_add_instance(struct upstream *u, const char *name, struct fault *fault);
void upstreams_measure(struct upstreams *us, struct metrics *m);

struct upstream_pools; /* one loop's */
struct upstream_pools *upstream_pools_open(struct upstreams *us, struct loop *loop);
/* Ends every exchange under way as EXCHANGE_CUT. The loop need not run any more. */
void upstream_pools_close(struct upstream_pools *p);

struct exchange {
    /* -- asked -- */
    size_t upstream; /* index */
    bool fresh;      /* not on a connection that was used before */
    struct str head, request_body;
    mono_ns_t started; /* now */
    mono_ns_t deadline;
    struct buf *body; /* the answer's goes here */
    /* The answer's head; what is to be kept must be copied. */
    void (*on_head)(struct exchange *x, const struct response *r);
    /* Once, and never from inside exchange_start. May start another exchange, also with the same struct. */
    void (*done)(struct exchange *x);

    /* -- told -- */
    enum exchange_end end;
    const char *why;
    const struct instance *instance;
    bool reused; /* the connection had carried another request before */
    bool wrote;  /* at least one byte of the request is on its way */
    bool heard;  /* at least one byte of an answer came */
    mono_ns_t took;

    /* -- upstream.c's -- */
    struct pool *pool;
    struct connection *connection; /* NULL: waiting, or about to end */
    struct loop_timer timer;
    TAILQ_ENTRY(exchange) link;
    bool is_waiting;
};
void exchange_start(struct upstream_pools *p, struct exchange *x);

#endif
