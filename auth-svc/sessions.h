/* sessions.h — what a batch does to sessions: begins them, goes on with them, ends them and says so.
 *
 * For     every command that touches sessions. Whoever calls has wanted the user's sessions.
 * Owns    nothing.  Threads: the lane's, in `decide`.
 * Always  an end is told (session.revoked) and written down in its transaction; at most SESSIONS_MAX live ones a customer.
 */
#ifndef AUTH_SVC_SESSIONS_H
#define AUTH_SVC_SESSIONS_H

#include "store.h"

/* Which of a customer's live sessions end, and why. */
struct sessions_end {
    int64_t customer_id;
    struct uuid only, except; /* nil: all; none */
    const char *reason;       /* the event's: "logout", "reuse", "password", "disabled", "role", "admin", "limit" */
    const char *actor;        /* as trail_entry's */
};

/* Begins it with its first refresh token (hashed); the oldest ends when there are too many. */
void sessions_begin(struct batch *b, const struct lane_item *it, const struct session *s, const char *refresh_hash,
                    const char *actor);
/* Returns how many ended. */
size_t sessions_end(struct batch *b, const struct lane_item *it, const struct sessions_end *which);

#endif
