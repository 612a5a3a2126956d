/* transfer_event.h — what txn-svc tells the others (topic txn-events): transfer.requested. No IBAN ever stands in an event.
 *
 * Owns    decoded text lives in the arena.  Threads: any.  Fails: decode: ERR_INVALID with the member that is wrong.
 */
#ifndef EVENTS_TRANSFER_EVENT_H
#define EVENTS_TRANSFER_EVENT_H

#include "base/mem.h"
#include "io/json.h"

enum transfer_type { TRANSFER_DEPOSIT, TRANSFER_WITHDRAWAL };
extern const char *const TRANSFER_TYPES[]; /* "DEPOSIT", "WITHDRAWAL", NULL */

struct transfer_requested {
    struct uuid transfer_id;
    int64_t customer_id;
    enum transfer_type type;
    decimal_t amount; /* TRY, > 0 */
    const char *actor;
};
void transfer_requested_encode(struct buf *out, const struct transfer_requested *e);
MUST_CHECK enum err transfer_requested_decode(const struct json *data, struct arena *arena,
                                              struct transfer_requested *ret, struct fault *fault);

#endif
