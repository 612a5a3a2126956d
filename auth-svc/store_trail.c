#include "store_private.h"

static const struct db_stmt INSERT_TRAIL = {
    "trail_insert",
    "INSERT INTO audit_log (id, at, type, actor, customer_id, session_id, address, request_id, detail) "
    "SELECT g.id, $1, g.type, g.actor, g.customer_id, g.session_id, g.address, g.request_id, g.detail "
    "FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::uuid[], $7::text[], $8::text[], $9::text[]) "
    "AS g (id, type, actor, customer_id, session_id, address, request_id, detail)",
};

struct batch_trail {
    struct trail_entry *entry;
    struct batch_trail *next;
};

void store_add_trail(struct batch *b, struct trail_entry *e)
{
    struct users_batch *s = store_state(b);
    struct batch_trail *x = ARENA_NEW(b->arena, struct batch_trail);
    x->entry = e;
    *s->trail_end = x;
    s->trail_end = &x->next;
}

void store_save_trail(struct batch *b)
{
    struct db_array id, type, actor, customer, session, address, request, detail;
    struct db_array *all[] = {&id, &type, &actor, &customer, &session, &address, &request, &detail};
    enum { COUNT = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COUNT; i++)
        db_array_init(all[i]);
    for (const struct batch_trail *x = store_state(b)->trail; x; x = x->next) {
        const struct trail_entry *e = x->entry;
        db_array_uuid(&id, e->id);
        db_array_text(&type, TRAIL_TYPES[e->type]);
        db_array_text(&actor, e->actor);
        if (e->customer_id)
            db_array_i64(&customer, e->customer_id);
        else
            db_array_null(&customer);
        if (uuid_is_nil(e->session_id))
            db_array_null(&session);
        else
            db_array_uuid(&session, e->session_id);
        db_array_text(&address, e->address);
        db_array_text(&request, e->request_id);
        db_array_text(&detail, e->detail);
    }
    store_save_arrays(b, &INSERT_TRAIL, &b->now, all, COUNT);
}
