/* waiters.h — calls that wait for their saga's end.
 *
 * For     handlers of writes. A call is registered under its resource's id before the lane gets the command; after each
 *         COMMIT the service offers the resources that changed; a call whose resource is settled is answered, one whose
 *         time is up is answered 202 (or whatever `late` says). Another replica's COMMIT is noticed by LISTEN, and every
 *         200 ms, by reading awaited rows again.
 * Owns    a registered call is the waiters' until answered. The service answers through the callbacks.
 * Threads add/offer/move/drop: any. Callbacks run on the offering thread or the waiters' own; never for one call at once.
 * Fails   waiters_add: ERR_BUSY past WAITERS_MAX.
 */
#ifndef SVC_WAITERS_H
#define SVC_WAITERS_H

#include "io/db.h"
#include "io/http.h"

enum { WAITERS_MAX = 20000, WAITERS_REREAD_MS = 200 };

struct waiter {
    struct call *call; /* deferred */
    struct uuid id;    /* the resource */
    void *state;       /* the handler's */
    bool replayed;     /* found by its idempotency key: answer adds Idempotency-Replayed */
    /* Looks at the resource; true: answered (call_finish was called). */
    bool (*settled)(struct waiter *w, const void *resource);
    /* Time is up: answers (202 and Location, or 504). */
    void (*late)(struct waiter *w);
    /* waiters.c's */
    struct waiter *next_of_id;
    mono_ns_t deadline;
    bool armed;
};

/* Reads awaited resources from the database and offers each; called on the waiters' thread. Runs at most 500 ids. */
typedef enum err waiters_reread(void *app, struct db *db, const struct uuid *ids, size_t count, struct fault *fault);

struct waiters;
struct waiters_conf {
    struct db_conf db;     /* DB_PLAN_READS */
    const char *channel;   /* NOTIFY channel: the schema's name */
    waiters_reread *reread;
    void *app;
    struct log *log;
    struct metrics *metrics;
};
MUST_CHECK enum err waiters_open(const struct waiters_conf *conf, struct waiters **ret, struct fault *fault);
void waiters_close(struct waiters *ws); /* answers all that wait as late */
/* The call waits until call->wait_ms has passed since now (0: `late` runs at waiters_arm). The waiter struct lives in the call's arena. */
MUST_CHECK enum err waiters_add(struct waiters *ws, struct waiter *w);
/* The command is committed: from now on `late` may run. A waiter that is not armed is never late (the lane answers it). */
void waiters_arm(struct waiters *ws, struct waiter *w);
/* The command was refused before any resource came to be: forgets the waiter; the caller answers the call. false: it was answered already. */
bool waiters_drop(struct waiters *ws, struct waiter *w);
/* The resource is another one (idempotent replay): wait for that, read it again at once, and arm. */
void waiters_move(struct waiters *ws, struct waiter *w, struct uuid id);
/* A resource changed (or was read): offers it to those that wait for it. */
void waiters_offer(struct waiters *ws, struct uuid id, const void *resource);
size_t waiters_count(struct waiters *ws);

#endif
