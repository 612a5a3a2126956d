/* transfer.h — a deposit or a withdrawal: its states, and how its IBAN is shown.
 *
 * For     txn-svc's decisions. Pure: no I/O, no clock, no allocation.
 * Owns    nothing; a transfer belongs to the batch that loaded it.
 * Always  PENDING → COMPLETED | REJECTED, once.
 */
#ifndef TXN_SVC_TRANSFER_H
#define TXN_SVC_TRANSFER_H

#include "base/clock.h"
#include "events/transfer_event.h"

enum transfer_status { TRANSFER_PENDING, TRANSFER_COMPLETED, TRANSFER_REJECTED };
extern const char *const TRANSFER_STATUSES[]; /* "PENDING", "COMPLETED", "REJECTED", NULL */

struct transfer {
    struct uuid id;
    int64_t customer_id;
    enum transfer_type type;
    decimal_t amount;
    const char *iban; /* normalised; NULL for a deposit */
    enum transfer_status status;
    const char *status_reason;  /* NULL: none */
    decimal_t required, usable; /* REJECTED */
    time_us_t create_date, update_date;
    const char *actor;
};

/* The books' word. false: it was answered before: nothing changes. */
bool transfer_complete(struct transfer *t, time_us_t now);
bool transfer_reject(struct transfer *t, decimal_t required, decimal_t usable, time_us_t now);

enum { IBAN_MASKED_MAX = 40 };
/* "TR** **** 1326": the country and the last four. */
void transfer_mask_iban(const char *iban, char ret[IBAN_MASKED_MAX]);

#endif
