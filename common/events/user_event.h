/* user_event.h — what auth-svc tells the others (topic auth-events): user.registered.
 *
 * Owns    decoded text lives in the arena.  Threads: any.  Fails: decode: ERR_INVALID with the member that is wrong.
 */
#ifndef EVENTS_USER_EVENT_H
#define EVENTS_USER_EVENT_H

#include "base/mem.h"
#include "io/json.h"

struct user_registered {
    int64_t customer_id;
    const char *username, *full_name;
    const char *role; /* "CUSTOMER" or "ADMIN" */
};
void user_registered_encode(struct buf *out, const struct user_registered *e);
MUST_CHECK enum err user_registered_decode(const struct json *data, struct arena *arena, struct user_registered *ret,
                                           struct fault *fault);

#endif
