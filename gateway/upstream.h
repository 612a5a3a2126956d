/* upstream.h — the services behind the gateway, and the instances of each.
 *
 * For     what all loops share of a service: who its instances are at the moment, how many requests each has, the breakers
 *         (one a service; one an instance, which leaves it out), the retry budget. exchange.h is what a loop does with it.
 *         An instance comes from the config file as "host:port", where host is an address, or a name with one or more
 *         addresses that is asked for again (resolver.h). A name that can't be resolved keeps the addresses it had.
 * Owns    struct upstreams: main's, for the life of the process; so are its upstreams: a reload changes their instances, and one
 *         that the file no longer names keeps its place, without any. An instance lives as long as somebody counts on it.
 * Threads upstreams_adopt: main. upstreams_resolve: main before the resolver's thread starts, then only that one. The rest: any.
 *         A loop sees by `generation`, at its next request, that the instances changed.
 * Fails   as each line says.
 */
#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "gateway/breaker.h"
#include "gateway/budget.h"
#include "io/log.h"
#include "io/metrics.h"

enum {
    UPSTREAMS_MAX = 16, /* with those that a reload took away */
    UPSTREAM_TARGETS_MAX = 16,
    UPSTREAM_INSTANCES_MAX = 16,
    UPSTREAM_NAME_LEN_MAX = 32,
    UPSTREAM_HOST_MAX = 256,
    INSTANCE_NAME_MAX = 64,
};

/* How an exchange ends (exchange.h). The label is the metric's `reason`. */
#define EXCHANGE_ENDS(X) \
    X(EXCHANGE_ANSWERED, "none")     /* on_head was called, the body is in *body */ \
    X(EXCHANGE_REFUSED, "connect")   /* no connection: nothing was sent */ \
    X(EXCHANGE_BUSY, "busy")         /* the bulkhead is full, and too many or too long waiting: nothing was sent */ \
    X(EXCHANGE_OPEN, "circuit_open") /* the breaker lets nothing pass: nothing was sent */ \
    X(EXCHANGE_LOST, "lost")         /* the connection broke: see wrote and heard */ \
    X(EXCHANGE_BAD, "bad_answer")    /* not HTTP as response.h wants it */ \
    X(EXCHANGE_LATE, "deadline") \
    X(EXCHANGE_CANCELED, "canceled") /* by exchange_cancel */ \
    X(EXCHANGE_CUT, "shutdown")      /* the pools are being closed */
enum exchange_end {
#define X(name, label) name,
    EXCHANGE_ENDS(X)
#undef X
        EXCHANGE_END_COUNT
};

/* Why a request is sent again; the label is the metric's `reason`. */
#define RETRY_REASONS(X) \
    X(RETRY_CONNECT, "connect") \
    X(RETRY_LOST, "lost") \
    X(RETRY_LATE, "deadline") \
    X(RETRY_STATUS, "status")
enum retry_reason {
#define X(name, label) name,
    RETRY_REASONS(X)
#undef X
        RETRY_REASON_COUNT
};

struct address {
    struct sockaddr_storage sock;
    socklen_t len;
};

struct upstream;
struct instance {
    uint32_t id;                  /* of no other, ever */
    char name[INSTANCE_NAME_MAX]; /* "10.0.0.7:8082" */
    struct address address;
    struct upstream *upstream;
    struct breaker breaker;
    _Atomic int64_t in_flight; /* requests, on all loops */
    _Atomic mono_ns_t since;   /* when it came or came back; 0: it was there from the beginning */
    atomic_int refs;
};

struct upstream_target;
struct upstream {
    char name[UPSTREAM_NAME_LEN_MAX + 1]; /* "order" */
    struct upstreams *of;
    struct breaker breaker;
    struct budget budget;
    _Atomic uint32_t generation;          /* of the list of instances */
    _Atomic int64_t connections, waiting; /* on all loops */
    struct histogram *seconds;            /* of an exchange; NULL: not measured */
    struct counter *errors[EXCHANGE_END_COUNT], *retries[RETRY_REASON_COUNT];

    pthread_mutex_t mutex; /* for what follows */
    struct upstream_target *targets;
    size_t target_count; /* 0: the config file does not name it any more */
    uint64_t targets_version;
    struct instance *instances[UPSTREAM_INSTANCES_MAX];
    size_t instance_count;
};

/* Writes at most `max` addresses; ret_why on failure is a constant. */
typedef bool upstream_lookup(const char *host, const char *port, struct address *ret, size_t max, size_t *ret_count,
                             const char **ret_why);
struct upstreams_settings {
    int in_flight_max;       /* the bulkhead: requests to an instance at the same time, of all loops */
    upstream_lookup *lookup; /* NULL: the system's resolver */
    struct log *log;         /* of changes; or NULL */
    struct metrics *metrics; /* or NULL */
    struct spans *spans;     /* or NULL */
};
struct upstreams {
    struct upstreams_settings settings;
    struct upstream *items[UPSTREAMS_MAX];
    _Atomic size_t count;
    atomic_uint last_instance_id;
};

/* ---- what the config file says ---- */

struct upstream_conf {
    const char *name;
    const char *targets[UPSTREAM_TARGETS_MAX]; /* "host:port", checked */
    size_t target_count;
};
struct upstreams_conf {
    struct upstream_conf items[UPSTREAMS_MAX];
    size_t count;
};
/* Checks "host:port" ("[::1]:8080" too) and adds it. ERR_CONF with the reason. */
MUST_CHECK enum err upstream_conf_add(struct upstream_conf *u, const char *target, struct fault *fault);

/* ---- life ---- */

struct upstreams *upstreams_new(const struct upstreams_settings *settings);
void upstreams_free(struct upstreams *us); /* when no loop runs any more; NULL is fine */
/* Makes the services those of `conf`, at start and at each reload: instances whose address stays keep their state. Addresses are
 * there at once, names after the next upstreams_resolve. ret_index[i] is conf->items[i]'s place in us->items, which never
 * changes. ERR_CONF, and nothing changed: more than UPSTREAMS_MAX names since the process started. */
MUST_CHECK enum err upstreams_adopt(struct upstreams *us, const struct upstreams_conf *conf,
                                    size_t ret_index[UPSTREAMS_MAX], struct fault *fault);
MUST_CHECK bool upstreams_find(const struct upstreams *us, const char *name, size_t *ret_index);
/* Asks for every name's addresses, which may take seconds. */
void upstreams_resolve(struct upstreams *us);
/* Once a second or so: what time alone changes in the breakers is then seen and logged without traffic. */
void upstreams_tick(struct upstreams *us, mono_ns_t now);

/* ---- instances ---- */

/* The instances of the moment, each counted on until instance_put. */
size_t upstream_take(struct upstream *u, struct instance *ret[UPSTREAM_INSTANCES_MAX], uint32_t *ret_generation);
void instance_put(struct instance *i);

struct instance_view {
    char name[INSTANCE_NAME_MAX];
    int64_t in_flight;
    enum breaker_state state;
};
size_t upstream_look(struct upstream *u, struct instance_view ret[UPSTREAM_INSTANCES_MAX]);

#endif
