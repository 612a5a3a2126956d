/* service.h — a service from its parts: settings in, a running process out. The five mains call service_main.
 *
 * For     main.c: name the parts in a struct service_spec, return service_main(&spec, argc, argv).
 *         Start: settings (all wrong ones named) → log → keys, revocations → migrations as owner → lane, relay, subscriber, readers,
 *         waiters → HTTP. Stop (SIGTERM): /readyz 503 → HTTP drained → subscriber → lane → relay → close, within 10 s.
 * Owns    everything below; parts are valid between spec.open and spec.close.
 * Threads see each part.
 * Fails   exit 1 with every reason on standard error; exit 0 after a clean stop.
 */
#ifndef SVC_SERVICE_H
#define SVC_SERVICE_H

#include <stdatomic.h>

#include "io/conf.h"
#include "io/migrate.h"
#include "svc/audit_check.h"
#include "svc/lane.h"
#include "svc/process.h"
#include "svc/readers.h"
#include "svc/relay.h"
#include "svc/revocations.h"
#include "svc/subscriber.h"
#include "svc/waiters.h"

/* The settings that every service has; first member of a service's own settings struct. */
struct service_settings {
    const char *listen, *operator_listen;
    const char *db_url, *db_password, *db_owner_url, *db_owner_password, *db_read_url;
    const char *kafka_brokers, *jwks_file, *environment, *log_level, *trusted_proxies, *otlp_endpoint;
    int64_t http_threads, reader_threads, topic_partitions, outbox_keep_s;
};

struct service {
    const struct service_spec *spec;
    const struct service_settings *settings;
    struct log *log;
    struct metrics *metrics;
    struct spans *spans; /* NULL: off */
    struct token_verifier *verifier;
    struct revocations *revocations;
    struct lane *lane;
    struct relay *relay;
    struct subscriber *subscriber;
    struct waiters *waiters;
    struct readers *readers;
    struct http_server *server;
    atomic_bool auditing; /* GET /admin/audit is under way */
    void *app;            /* what spec.open made; NULL without it */
};
/* call->app is the struct service in every handler; this is what spec.open made. */
static inline struct service *call_service(const struct call *call)
{
    return call->app;
}

struct service_spec {
    const char *name;               /* "order-svc" */
    const char *schema;             /* "orders" */
    const char *topic;              /* "order-events" */
    const char *const *consumes;    /* NULL-ended */
    const struct event_kind *kinds; /* ends with a NULL type */
    /* Types of events for which no client's answer waits anywhere: the relay may let them wait for company. NULL-ended, or NULL */
    const char *const *unawaited;
    const struct lane_ops *ops;
    const struct http_route *routes; /* ends with a NULL path */
    const struct migration *migrations;
    const struct audit_check *checks; /* what it answers for in GET /admin/audit; ends with a NULL name; may be NULL */
    waiters_reread *reread;           /* app argument: the struct service */
    const struct conf_setting *settings; /* the service's own, ended by a NULL name; NULL: none */
    size_t settings_size;                /* of the struct that begins with struct service_settings */
    /* After migrations and before the lane starts: makes service->app (lane_ops' batch->app is the struct service). May be NULL. */
    enum err (*open)(struct service *s, struct fault *fault);
    void (*tick)(struct service *s); /* every second, on the process thread; may be NULL */
    void (*close)(struct service *s);
};

int service_main(const struct service_spec *spec, int argc, char **argv);

/* ---- what handlers of writes share ---- */

/* Fills an item for this call: key, route, scope; the item and its waiter live in the call's arena. */
struct lane_item *service_command(struct call *call, const struct lane_verb *verb, void *args, int64_t customer_id,
                                  struct uuid resource_id, const char *meaning);
/* Adds the waiter (may be NULL: the verb's answer finishes the call), defers the call, hands the item to the lane. The waiter
 * waits for waiter->id, or where that is nil for the item's resource. After ERR_OK the call, and all in its arena, is
 * somebody else's. */
MUST_CHECK enum err service_submit(struct call *call, struct lane_item *item, struct waiter *waiter);
/* Usual `answer` of a verb with a waiter: arms it, or moves it to the first request's resource when replayed. The item may be
 * gone afterwards. */
void service_await(struct lane_item *item);
/* 202 with Location (path + "/" + id) and Preference-Applied when async was preferred; finishes the call. */
void service_accepted(struct waiter *w, const char *path);
/* "CUSTOMER:17" or "ADMIN:1": the actor, recorded with every change; in the call's arena. */
const char *service_actor(struct call *call);

#endif
