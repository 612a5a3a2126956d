#include "sessions.h"

#include "events.h"
#include "events/session_event.h"

struct ending {
    struct batch *b;
    const struct lane_item *item;
    const struct sessions_end *which;
    struct uuid sids[SESSION_REVOKED_SIDS_MAX]; /* ended and not told yet */
    size_t count, total;
};

static void tell(struct ending *x)
{
    if (x->count == 0)
        return;
    events_emit_revoked(x->b, &(struct session_revoked){.customer_id = x->which->customer_id,
                                                        .sids = x->sids,
                                                        .sid_count = x->count,
                                                        .reason = x->which->reason,
                                                        .at = x->b->now});
    trail_add(x->b, x->item,
              &(struct trail_entry){.type = TRAIL_REVOKED,
                                    .customer_id = x->which->customer_id,
                                    .session_id = x->count == 1 ? x->sids[0] : (struct uuid){{0}},
                                    .actor = x->which->actor,
                                    .detail = arena_printf(x->b->arena, "%s, %zu", x->which->reason, x->count)});
    x->count = 0;
}

static bool end_one(void *arg, struct session *s)
{
    struct ending *x = arg;
    bool is_meant = uuid_is_nil(x->which->only) || uuid_eq(x->which->only, s->id);
    if (!is_meant || (!uuid_is_nil(x->which->except) && uuid_eq(x->which->except, s->id)))
        return true;
    s->revoke_date = x->b->now;
    s->end_reason = x->which->reason;
    store_touch_session(x->b, s);
    x->sids[x->count++] = s->id;
    x->total++;
    if (x->count ==
        SESSION_REVOKED_SIDS_MAX) /* more than there can be; but there may be older ones, from before the limit */
        tell(x);
    return true;
}

size_t sessions_end(struct batch *b, const struct lane_item *it, const struct sessions_end *which)
{
    struct ending x = {.b = b, .item = it, .which = which};
    store_each_session(b, which->customer_id, end_one, &x);
    tell(&x);
    return x.total;
}

struct census {
    size_t count;
    struct uuid oldest;
};

static bool count_one(void *arg, struct session *s)
{
    struct census *c = arg;
    if (c->count++ == 0)
        c->oldest = s->id;
    return true;
}

void sessions_begin(struct batch *b, const struct lane_item *it, const struct session *session,
                    const char *refresh_hash, const char *actor)
{
    struct census live = {.count = 0};
    store_each_session(b, session->customer_id, count_one, &live);
    if (live.count >= SESSIONS_MAX)
        (void)sessions_end(
            b, it,
            &(struct sessions_end){
                .customer_id = session->customer_id, .only = live.oldest, .reason = "limit", .actor = actor});
    struct session s = *session;
    session_begin(&s, b->now);
    store_add_session(b, &s);
    store_add_token(b, s.id, refresh_hash);
}
