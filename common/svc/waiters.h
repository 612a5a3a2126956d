/* waiters.h — calls that wait for their saga's end.
 *
 * For     handlers of writes. waiters_add comes before the lane gets the command, waiters_arm (or _move) once it is
 *         committed; after each COMMIT the service offers the resources that changed; a call whose resource is settled
 *         is answered, one whose time is up is answered 202 (or whatever `late` says). Another replica's COMMIT is
 *         noticed by LISTEN, and every 200 ms, by reading awaited rows again.
 *         A waiter is in no table before it is armed, so a command that is refused has nothing to undo. What was offered
 *         between add and arm is not lost: each offer moves a stamp, and a waiter armed under another stamp than it was
 *         added under is read again at once. So offer what may settle somebody, and not every change: an order that is
 *         NEW settles nobody, and offering it costs a read.
 * Owns    an armed waiter is the waiters' until it was answered; answering ends the call, whose arena holds it. So don't
 *         touch a waiter, its call or its item after arming it.
 * Threads any may call. `settled` and `late` run on the offering, the arming or the waiters' own threads, one at a time
 *         and under a lock: they encode and call call_finish, and must not call waiters_… nor wait for anything.
 * Fails   waiters_add: ERR_BUSY past WAITERS_MAX. With the database away `late` still comes in time.
 */
#ifndef SVC_WAITERS_H
#define SVC_WAITERS_H

#include <sys/queue.h>

#include "io/db.h"
#include "io/http.h"

enum {
    WAITERS_MAX = 20000,       /* armed ones; those that the lane still has (LANE_INBOX_MAX) come on top */
    WAITERS_REREAD_MS = 200,   /* between two looks at one waiter */
    WAITERS_LAST_LOOK_MS = 50, /* before its deadline: the last look */
    WAITERS_NOTIFY_GAP_MS = 5, /* between two looks at everything, however often others notify */
    WAITERS_REREAD_MAX = 500,  /* ids a query */
};

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
    struct waiter *next_in_bucket;
    TAILQ_ENTRY(waiter) by_deadline, by_look;
    mono_ns_t deadline, look_at;
    uint32_t stamp;
};

/* Reads awaited resources from the database and offers each; called on the waiters' thread with at most
 * WAITERS_REREAD_MAX ids, which may repeat. */
typedef enum err waiters_reread(void *app, struct db *db, const struct uuid *ids, size_t count, struct fault *fault);

struct waiters;
struct waiters_conf {
    struct db_conf db;   /* DB_PLAN_READS; the writer itself: a standby lags behind and can't LISTEN */
    const char *channel; /* NOTIFY channel: the schema's name */
    waiters_reread *reread;
    void *app;
    struct log *log;
    struct metrics *metrics;
};
MUST_CHECK enum err waiters_open(const struct waiters_conf *conf, struct waiters **ret, struct fault *fault);
void waiters_close(struct waiters *ws); /* answers all that wait as late; NULL is fine */
/* The call will wait until call->wait_ms has passed since now. */
MUST_CHECK enum err waiters_add(struct waiters *ws, struct waiter *w);
/* The command is committed: from now on it can be answered. Time is up already (wait_ms is 0): `late` runs here. */
void waiters_arm(struct waiters *ws, struct waiter *w);
/* The resource is another one (idempotent replay): wait for that, read it again at once, and arm. */
void waiters_move(struct waiters *ws, struct waiter *w, struct uuid id);
/* A resource changed (or was read): offers it to those that wait for it. */
void waiters_offer(struct waiters *ws, struct uuid id, const void *resource);
size_t waiters_count(struct waiters *ws);

#endif
