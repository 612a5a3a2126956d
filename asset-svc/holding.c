#include "holding.h"

int64_t holding_firm_owner(enum firm_account account, int lane)
{
    return -((int64_t)lane * 10 + (int64_t)account);
}

enum err holding_move(struct holding *h, decimal_t amount, decimal_t usable_amount)
{
    decimal_t size, usable;
    if (!decimal_add(h->size, amount, &size) || !decimal_add(h->usable, usable_amount, &usable))
        return ERR_BUG;
    bool is_customer = h->owner > 0;
    if (is_customer && usable < 0)
        return ERR_INSUFFICIENT;
    if (is_customer ? usable > size : usable != size)
        return ERR_BUG;

    h->size = size;
    h->usable = usable;
    h->version++;
    return ERR_OK;
}
