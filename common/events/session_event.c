#include "events/session_event.h"

#include <assert.h>

#include "events/members.h"

static const struct member REVOKED[] = {
    MEMBER("customerId", ID, struct session_revoked, customer_id),
    MEMBER("reason", TEXT, struct session_revoked, reason),
    MEMBER("at", TIME, struct session_revoked, at),
    MEMBER_END,
};

void session_revoked_encode(struct buf *out, const struct session_revoked *e)
{
    assert(e->sid_count >= 1 && e->sid_count <= SESSION_REVOKED_SIDS_MAX);
    struct json_out o = json_out(out);
    json_open(&o, NULL, '{');
    members_put(&o, REVOKED, e);
    json_open(&o, "sids", '[');
    for (size_t i = 0; i < e->sid_count; i++)
        json_put_uuid(&o, NULL, e->sids[i]);
    json_close(&o, ']');
    json_close(&o, '}');
}

static enum err sids_get(const struct json *list, struct uuid *ret_sids, size_t count, struct fault *fault)
{
    for (size_t i = 0; i < count; i++)
        if (!uuid_parse(json_text(json_at(list, i)), &ret_sids[i]) || uuid_is_nil(ret_sids[i]))
            return fault_set(fault, ERR_INVALID, "sids[%zu]: must be a UUID", i);
    return ERR_OK;
}

enum err session_revoked_decode(const struct json *data, struct arena *arena, struct session_revoked *ret,
                                struct fault *fault)
{
    enum err e = members_get(data, "", REVOKED, arena, ret, fault);
    if (e != ERR_OK)
        return e;

    const struct json *list = json_get(data, "sids");
    size_t count = list != NULL && json_type(list) == JSON_ARRAY ? json_count(list) : 0;
    if (count < 1 || count > SESSION_REVOKED_SIDS_MAX)
        return fault_set(fault, ERR_INVALID, "sids: must be a list of 1 to %d", SESSION_REVOKED_SIDS_MAX);
    struct uuid *sids = ARENA_ARRAY(arena, struct uuid, count);
    ret->sids = sids;
    ret->sid_count = count;
    return sids_get(list, sids, count, fault);
}
