/* exchange.h — one sending of a request to a service, and its answer.
 *
 * For     delivery.c, which decides what an end means and whether to send again. Our own HTTP/1.1 client: each loop has a pool of
 *         keep-alive connections to each instance, watched while idle so that a dead one is not picked, and closed after
 *         UPSTREAM_IDLE_S, before the services do it (15 s). A request is sent by one call and read by one in the usual case; a
 *         connection is registered with epoll once in its life. Nothing is sent twice here.
 *         On its way an exchange passes, in this order: the bulkhead (so many requests to an instance, over all loops; beyond, it
 *         waits up to UPSTREAM_QUEUE_MS), the service's breaker, the choice of an instance (balance.h), that instance's breaker.
 *         When all instances are left out by theirs, one is taken all the same: the service's breaker is there for that.
 * Owns    an exchange and all it points to: the caller's, untouched until `done`.
 * Threads all of one pools' functions: its loop's thread.
 * Fails   by exchange->end with `why`, a constant phrase.
 */
#ifndef GATEWAY_EXCHANGE_H
#define GATEWAY_EXCHANGE_H

#include <sys/queue.h>

#include "gateway/response.h"
#include "gateway/upstream.h"
#include "io/loop.h"

enum {
    UPSTREAM_CONNECT_MS = 250,
    UPSTREAM_QUEUE_MS = 250,     /* for room in the bulkhead; then EXCHANGE_BUSY */
    UPSTREAM_QUEUE_FACTOR = 4,   /* so many may wait for each request that the bulkhead lets through */
    UPSTREAM_QUEUE_LOOK_MS = 10, /* how soon a loop sees that another loop's request made room */
    UPSTREAM_IDLE_S = 10,
    UPSTREAM_INTERIM_MAX = 8, /* 1xx answers before the real one */
};

struct upstream_pools; /* one loop's */
struct upstream_pools *upstream_pools_open(struct upstreams *us, struct loop *loop);
/* Ends every exchange under way as EXCHANGE_CUT. The loop need not run any more. */
void upstream_pools_close(struct upstream_pools *p);
struct upstream *upstream_of(struct upstream_pools *p, size_t index);
uint64_t *upstream_random(struct upstream_pools *p); /* of this loop; for balance_random */
size_t upstream_instance_count(struct upstream_pools *p, size_t index);

/* Where an exchange is. */
enum exchange_place { EXCHANGE_NOWHERE, EXCHANGE_DELAYED, EXCHANGE_WAITING, EXCHANGE_CONNECTED, EXCHANGE_ENDING };

struct exchange {
    /* -- asked -- */
    size_t upstream; /* index */
    bool fresh;      /* not on a connection that was used before */
    uint32_t avoid;  /* the id of an instance to leave alone if there is another; 0: none */
    struct str head, request_body;
    mono_ns_t started; /* now */
    mono_ns_t deadline;
    bool deadline_is_ours; /* not a client's who is in a hurry: the service is to blame for missing it */
    mono_ns_t slow_after;  /* 0: never slow */
    struct buf *body;      /* the answer's goes here */
    /* The answer's head; what is to be kept must be copied. */
    void (*on_head)(struct exchange *x, const struct response *r);
    /* Once, and never from inside exchange_start. May start another exchange, also with the same struct. */
    void (*done)(struct exchange *x);

    /* -- told -- */
    enum exchange_end end;
    const char *why;
    int status;                       /* of the answer; 0: its head did not come */
    char instance[INSTANCE_NAME_MAX]; /* "": none was chosen */
    uint32_t instance_id;
    bool reused; /* the connection had carried another request before */
    bool wrote;  /* at least one byte of the request is on its way */
    bool heard;  /* at least one byte of an answer came */
    mono_ns_t took;
    mono_ns_t wait; /* EXCHANGE_OPEN: how long not to ask again */

    /* -- exchange.c's -- */
    enum exchange_place place;
    struct view *view;
    struct instance *counted; /* whose in_flight it is counted in */
    bool has_permit, has_instance_permit;
    uint32_t permit, instance_permit; /* generations */
    mono_ns_t admitted, queued_until;
    struct connection *connection;
    struct loop_timer timer;
    TAILQ_ENTRY(exchange) link;
};
/* `at`: when to begin, before the deadline; 0: now. */
void exchange_start(struct upstream_pools *p, struct exchange *x, mono_ns_t at);
/* Ends it as EXCHANGE_CANCELED, calling `done` before it returns; the service sees its connection closed. Nothing if it has ended. */
void exchange_cancel(struct exchange *x);

#endif
