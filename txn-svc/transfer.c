#include "transfer.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

const char *const TRANSFER_STATUSES[] = {"PENDING", "COMPLETED", "REJECTED", NULL};

bool transfer_complete(struct transfer *t, time_us_t now)
{
    if (t->status != TRANSFER_PENDING)
        return false;
    t->status = TRANSFER_COMPLETED;
    t->update_date = now;
    return true;
}

bool transfer_reject(struct transfer *t, decimal_t required, decimal_t usable, time_us_t now)
{
    if (t->status != TRANSFER_PENDING)
        return false;
    t->status = TRANSFER_REJECTED;
    t->status_reason = err_code(t->type == TRANSFER_WITHDRAWAL ? ERR_INSUFFICIENT : ERR_CONFLICT);
    t->required = required;
    t->usable = usable;
    t->update_date = now;
    return true;
}

void transfer_mask_iban(const char *iban, char ret[IBAN_MASKED_MAX])
{
    size_t len = strlen(iban);
    const char *tail = len > 4 ? iban + len - 4 : "";
    snprintf(ret, IBAN_MASKED_MAX, "%.2s** **** %s", iban, tail);
}
