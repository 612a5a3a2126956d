#include "events/asset_event.h"

#include "events/members.h"

static const struct member OUTCOME[] = {
    MEMBER("orderId", UUID, struct asset_outcome, order_id),
    MEMBER("customerId", ID, struct asset_outcome, customer_id),
    MEMBER("version", ID, struct asset_outcome, version),
    MEMBER("matchId", UUID_OR_NULL, struct asset_outcome, match_id),
    MEMBER("assetName", TEXT, struct asset_outcome, asset),
    MEMBER("reserved", DECIMAL, struct asset_outcome, reserved),
    MEMBER("required", DECIMAL, struct asset_outcome, required),
    MEMBER("usable", DECIMAL, struct asset_outcome, usable),
    MEMBER("matchedSize", DECIMAL_OR_NULL, struct asset_outcome, matched_size),
    MEMBER("matchedValue", DECIMAL_OR_NULL, struct asset_outcome, matched_value),
    MEMBER("askedLane", SEQUENCE_OR_NULL, struct asset_outcome, asked_lane),
    MEMBER("askedPartition", SEQUENCE_OR_NULL, struct asset_outcome, asked_partition),
    MEMBER("askedPartSeq", SEQUENCE_OR_NULL, struct asset_outcome, asked_part_seq),
    MEMBER_END,
};

void asset_outcome_encode(struct buf *out, const struct asset_outcome *e)
{
    members_encode(out, OUTCOME, e);
}

enum err asset_outcome_decode(const struct json *data, struct arena *arena, struct asset_outcome *ret,
                              struct fault *fault)
{
    return members_get(data, "", OUTCOME, arena, ret, fault);
}

static const struct member TRANSFER[] = {
    MEMBER("transferId", UUID, struct transfer_outcome, transfer_id),
    MEMBER("customerId", ID, struct transfer_outcome, customer_id),
    MEMBER("required", DECIMAL, struct transfer_outcome, required),
    MEMBER("usable", DECIMAL, struct transfer_outcome, usable),
    MEMBER_END,
};

void transfer_outcome_encode(struct buf *out, const struct transfer_outcome *e)
{
    members_encode(out, TRANSFER, e);
}

enum err transfer_outcome_decode(const struct json *data, struct arena *arena, struct transfer_outcome *ret,
                                 struct fault *fault)
{
    return members_get(data, "", TRANSFER, arena, ret, fault);
}

static const struct member ACCOUNT[] = {
    MEMBER("customerId", ID, struct account_change, customer_id),
    MEMBER("assetName", TEXT, struct account_change, asset),
    MEMBER("size", DECIMAL, struct account_change, size),
    MEMBER_END,
};

void account_change_encode(struct buf *out, const struct account_change *e)
{
    members_encode(out, ACCOUNT, e);
}

enum err account_change_decode(const struct json *data, struct arena *arena, struct account_change *ret,
                               struct fault *fault)
{
    return members_get(data, "", ACCOUNT, arena, ret, fault);
}
