#include "trail.h"

#include "store.h"
#include "user.h"

const char *const TRAIL_TYPES[] = {
#define X(name, what) [name] = (what),
    TRAIL_TYPES_OF(X)
#undef X
        [TRAIL_TYPE_COUNT] = NULL,
};

const char *trail_actor(struct arena *arena, enum token_role role, int64_t customer_id)
{
    return arena_printf(arena, "%s:%lld", role == ROLE_CUSTOMER ? "CUSTOMER" : "ADMIN", (long long)customer_id);
}

static const char *actor_of(struct batch *b, const struct call *call)
{
    if (call == NULL)
        return "SYSTEM";
    return call->has_token ? trail_actor(b->arena, call->claims.role, call->claims.customer_id) : NULL;
}

void trail_add(struct batch *b, const struct lane_item *it, const struct trail_entry *e)
{
    struct trail_entry *added = ARENA_NEW(b->arena, struct trail_entry);
    *added = *e;
    added->id = uuid_v7();
    added->at = b->now;
    if (added->actor == NULL)
        added->actor = actor_of(b, it->call);
    added->address = it->call != NULL ? it->call->client : NULL;
    added->request_id = it->call != NULL ? it->call->request_id : NULL;
    store_add_trail(b, added);
}
