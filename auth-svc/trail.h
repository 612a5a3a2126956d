/* trail.h — the trail of security events: who did what to whom, from where and when.
 *
 * For     every command of auth-svc: trail_add in `decide`, and the row is committed with what it tells of.
 * Owns    entries live in the batch's arena; those read in the call's.
 * Threads the lane's.
 */
#ifndef AUTH_SVC_TRAIL_H
#define AUTH_SVC_TRAIL_H

#include "svc/lane.h"

/* clang-format off */
/*    name                   what                      told when */
#define TRAIL_TYPES_OF(X) \
    X(TRAIL_LOGIN_OK,        "login.succeeded")     /* a session began */ \
    X(TRAIL_LOGIN_FAILED,    "login.failed")        /* unknown, disabled, wrong password */ \
    X(TRAIL_LOGIN_DELAYED,   "login.delayed")       /* too many failures: turned away unheard */ \
    X(TRAIL_REFRESHED,       "session.refreshed") \
    X(TRAIL_REUSED,          "session.reused")      /* a used refresh token came again; session.revoked follows */ \
    X(TRAIL_REVOKED,         "session.revoked")     /* detail: the reason, and how many */ \
    X(TRAIL_PASSWORD,        "password.changed") \
    X(TRAIL_PASSWORD_FAILED, "password.refused")    /* the current one given was wrong */ \
    X(TRAIL_REHASHED,        "password.rehashed")   /* at today's cost */ \
    X(TRAIL_REGISTERED,      "user.registered") \
    X(TRAIL_CREATED,         "user.created")        /* by an admin, or the first admin by us */ \
    X(TRAIL_STATUS,          "user.status_changed") \
    X(TRAIL_ROLE,            "user.role_changed") \
    X(TRAIL_KEYS,            "keys.changed")        /* the public keys that verify tokens are others */ \
    X(TRAIL_BREAKER,         "breaker.forced")      /* told by the gateway */
enum trail_type {
#define X(name, what) name,
    TRAIL_TYPES_OF(X)
#undef X
    TRAIL_TYPE_COUNT
};
/* clang-format on */
extern const char *const TRAIL_TYPES[]; /* by enum trail_type, NULL-ended */

enum { TRAIL_DETAIL_MAX = 300 /* bytes */ };

struct trail_entry {
    enum trail_type type;
    int64_t customer_id;    /* whom; 0: nobody we know */
    struct uuid session_id; /* nil: none */
    const char *actor;      /* NULL: whoever's token the item's call has; SYSTEM for an item without a call */
    const char *detail;     /* never a secret; NULL: none */
    /* trail_add's */
    struct uuid id;
    time_us_t at;
    const char *address, *request_id;
};
void trail_add(struct batch *b, const struct lane_item *it, const struct trail_entry *e);
/* "ADMIN:1", in the arena. */
const char *trail_actor(struct arena *arena, enum token_role role, int64_t customer_id);

#endif
