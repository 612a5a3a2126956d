/* session_event.h — what auth-svc tells everybody who takes tokens (topic auth-events, key: the customer): session.revoked.
 *
 * For     ends sessions before their tokens do. A token's sid is its session's family; from `at` on none is issued for these,
 *         so whoever reads this need remember it only as long as a token can live (token.h).
 * Owns    decoded text and sids live in the arena.  Threads: any.
 * Fails   decode: ERR_INVALID with the member that is wrong.
 */
#ifndef EVENTS_SESSION_EVENT_H
#define EVENTS_SESSION_EVENT_H

#include "base/mem.h"
#include "io/json.h"

enum { SESSION_REVOKED_SIDS_MAX = 64 }; /* at least one */

struct session_revoked {
    int64_t customer_id;
    const struct uuid *sids;
    size_t sid_count;
    const char *reason; /* "logout", "reuse", "password", "disabled", "role", "admin" or "limit" */
    time_us_t at;
};
void session_revoked_encode(struct buf *out, const struct session_revoked *e);
MUST_CHECK enum err session_revoked_decode(const struct json *data, struct arena *arena, struct session_revoked *ret,
                                           struct fault *fault);

#endif
