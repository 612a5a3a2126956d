#include "events/match_event.h"

#include "events/members.h"

static const struct member REQUESTED[] = {
    MEMBER("matchId", UUID, struct match_requested, match_id),
    MEMBER("orderId", UUID, struct match_requested, order_id),
    MEMBER("size", DECIMAL, struct match_requested, size),
    MEMBER("actor", TEXT, struct match_requested, actor),
    MEMBER_END,
};

void match_requested_encode(struct buf *out, const struct match_requested *e)
{
    members_encode(out, REQUESTED, e);
}

enum err match_requested_decode(const struct json *data, struct arena *arena, struct match_requested *ret,
                                struct fault *fault)
{
    return members_get(data, "", REQUESTED, arena, ret, fault);
}

static const struct member BARRIER[] = {
    MEMBER("barrierId", UUID, struct barrier_requested, barrier_id),
    MEMBER_END,
};

void barrier_requested_encode(struct buf *out, const struct barrier_requested *e)
{
    members_encode(out, BARRIER, e);
}

enum err barrier_requested_decode(const struct json *data, struct arena *arena, struct barrier_requested *ret,
                                  struct fault *fault)
{
    return members_get(data, "", BARRIER, arena, ret, fault);
}
