/* holding.h — what one account has of one asset, and the one way by which it changes.
 *
 * For     asset-svc's decisions. Pure: no I/O, no clock, no allocation.
 * Owns    nothing; a holding belongs to the batch that loaded it.
 * Always  customers: 0 <= usable <= size. The firm's accounts may go below zero and have usable == size. A move that would
 *         break this is refused and changes nothing.
 */
#ifndef ASSET_SVC_HOLDING_H
#define ASSET_SVC_HOLDING_H

#include <stdbool.h>

#include "base/decimal.h"
#include "base/err.h"

enum firm_account { FIRM_HOUSE = 1, FIRM_CLEARING = 2, FIRM_EXTERNAL = 3 };

struct holding {
    int64_t owner;     /* a customer's id, or holding_firm_owner() */
    const char *asset; /* "TRY", "ASELS" */
    decimal_t size;    /* owned */
    decimal_t usable;  /* owned and not set aside for an order */
    int64_t version;   /* grows by one at each change: the journal's number */
};

int64_t holding_firm_owner(enum firm_account account, int lane);

/* Changes size by `amount` and usable by `usable_amount`. ERR_INSUFFICIENT: less than nothing would be usable; ERR_BUG: the
 * numbers overflow, or more would be usable than owned. */
MUST_CHECK enum err holding_move(struct holding *h, decimal_t amount, decimal_t usable_amount);

#endif
