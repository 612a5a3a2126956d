#include "events/transfer_event.h"

#include "events/members.h"

const char *const TRANSFER_TYPES[] = {
    [TRANSFER_DEPOSIT] = "DEPOSIT",
    [TRANSFER_WITHDRAWAL] = "WITHDRAWAL",
    [TRANSFER_WITHDRAWAL + 1] = NULL,
};

static const struct member REQUESTED[] = {
    MEMBER("transferId", UUID, struct transfer_requested, transfer_id),
    MEMBER("customerId", ID, struct transfer_requested, customer_id),
    MEMBER_WORD("type", struct transfer_requested, type, TRANSFER_TYPES),
    MEMBER("amount", AMOUNT, struct transfer_requested, amount),
    MEMBER("actor", TEXT, struct transfer_requested, actor),
    MEMBER_END,
};

void transfer_requested_encode(struct buf *out, const struct transfer_requested *e)
{
    members_encode(out, REQUESTED, e);
}

enum err transfer_requested_decode(const struct json *data, struct arena *arena, struct transfer_requested *ret,
                                   struct fault *fault)
{
    return members_get(data, "", REQUESTED, arena, ret, fault);
}
