/* session.h — a log-in and what becomes of it: renewed by its refresh token, ended, found to be in two hands.
 *
 * For     auth-svc's decisions. Pure: no I/O, no clock, no allocation.
 * Owns    nothing; sessions and tokens belong to the batch or the call that has them.
 * Always  one unused refresh token a live session. A used one that comes again, when it can't be the same request, means
 *         that two have it (RFC 9700 section 4.14.2): then the session ends. See docs/adr/0014.
 */
#ifndef AUTH_SVC_SESSION_H
#define AUTH_SVC_SESSION_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/id.h"

enum {
    SESSION_LIFE_S = 7 * 24 * 3600, /* then one logs in again */
    SESSION_IDLE_S = 24 * 3600,     /* without a renewal */
    SESSIONS_MAX = 64,              /* live ones a customer; a further log-in ends the oldest */
    REFRESH_GATHER_MS = 300,        /* an answer is held so long: who asks meanwhile asks at the same time */
    REFRESH_REPEAT_S = 10,          /* so long the same Idempotency-Key is the same request */
};

struct session {
    struct uuid id; /* the access tokens' sid */
    int64_t customer_id;
    const char *peer; /* from where it was begun */
    time_us_t create_date;
    time_us_t refresh_date; /* when it was last renewed, or begun */
    time_us_t idle_date;    /* by when it must be renewed again */
    time_us_t expire_date;
    time_us_t revoke_date;  /* 0: it was not ended */
    const char *end_reason; /* the event's; NULL: it was not ended */
};
struct refresh_token {
    const char *hash; /* password.h, as the next two */
    const char *successor;
    const char *repeat_key;
    struct uuid session_id;
    time_us_t used_date; /* 0: it is the session's latest */
};

void session_begin(struct session *s, time_us_t now);
void session_renew(struct session *s, time_us_t now);
bool session_is_live(const struct session *s, time_us_t now);

enum refresh_verdict {
    REFRESH_RENEW,  /* the latest: goes on with a new one */
    REFRESH_REPEAT, /* the request that used it comes once more, or others with it: the same successor is given */
    REFRESH_REUSED,
};
/* What it means that `t`, a token of the live session `s`, came at `arrived` with that key (hashed; NULL: none). */
enum refresh_verdict refresh_judge(const struct refresh_token *t, const struct session *s, time_us_t arrived,
                                   const char *repeat_key);
/* Until when the answer to a use of `t` is held. */
time_us_t refresh_answer_date(const struct refresh_token *t);

#endif
