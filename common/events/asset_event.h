/* asset_event.h — what asset-svc tells the others (topic asset-events).
 *
 * For     asset-svc encodes; order-svc, txn-svc, auth-svc, admin-svc decode.
 *         asset.reserved, asset.refused (answers to order.placed), asset.released (to order.canceled, order.rejected),
 *         asset.settled (to order.filled); transfer.booked, transfer.refused (to transfer.requested);
 *         account.opened (to user.registered); asset.deposited (shares brought in by an admin).
 * Owns    decoded text lives in the arena.  Threads: any.  Fails: decode: ERR_INVALID with the member that is wrong.
 */
#ifndef EVENTS_ASSET_EVENT_H
#define EVENTS_ASSET_EVENT_H

#include "base/mem.h"
#include "io/json.h"

/* About an order: every order event is answered, stale ones too. */
struct asset_outcome {
    struct uuid order_id;
    int64_t customer_id;
    int64_t version;            /* the order version that the books now stand at; ≥ the one that was asked about */
    struct uuid match_id;       /* echoed; nil when none */
    const char *asset;          /* what is set aside: TRY for a BUY */
    decimal_t reserved;         /* still set aside */
    decimal_t required, usable; /* asset.refused: what was needed, what there was */
    /* What the books have posted for the order so far; -1: the sender was too old to say. */
    decimal_t matched_size, matched_value;
    /* The order event that this answers: its place in order-events. lane 0: the sender was too old to say. */
    int64_t asked_lane, asked_partition, asked_part_seq;
};
void asset_outcome_encode(struct buf *out, const struct asset_outcome *e);
MUST_CHECK enum err asset_outcome_decode(const struct json *data, struct arena *arena, struct asset_outcome *ret,
                                         struct fault *fault);

struct transfer_outcome {
    struct uuid transfer_id;
    int64_t customer_id;
    decimal_t required, usable; /* transfer.refused */
};
void transfer_outcome_encode(struct buf *out, const struct transfer_outcome *e);
MUST_CHECK enum err transfer_outcome_decode(const struct json *data, struct arena *arena, struct transfer_outcome *ret,
                                            struct fault *fault);

/* account.opened: customer_id; asset.deposited: all of it. */
struct account_change {
    int64_t customer_id;
    const char *asset;
    decimal_t size; /* brought in; 0 for account.opened */
};
void account_change_encode(struct buf *out, const struct account_change *e);
MUST_CHECK enum err account_change_decode(const struct json *data, struct arena *arena, struct account_change *ret,
                                          struct fault *fault);

#endif
