#include "store_private.h"

static const struct db_stmt INSERT_TRAIL = {
    "trail_insert",
    "INSERT INTO audit_log (id, at, type, actor, customer_id, session_id, address, request_id, detail) "
    "SELECT g.id, $1, g.type, g.actor, g.customer_id, g.session_id, g.address, g.request_id, g.detail "
    "FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::uuid[], $7::text[], $8::text[], $9::text[]) "
    "AS g (id, type, actor, customer_id, session_id, address, request_id, detail)",
};

static const struct db_stmt LOAD_LAST_KEYS = {
    "trail_last_keys",
    "SELECT detail FROM audit_log WHERE type = 'keys.changed' ORDER BY at DESC, id DESC LIMIT 1",
};
static const struct db_stmt READ_TRAIL = {
    "trail_list",
    "SELECT a.id, a.at, a.type, a.actor, a.customer_id, a.session_id, a.address, a.request_id, a.detail "
    "FROM audit_log a WHERE ($1::text IS NULL OR a.type = $1) AND ($2::bigint IS NULL OR a.customer_id = $2) "
    "AND ($3::timestamptz IS NULL OR a.at >= $3) AND ($4::timestamptz IS NULL OR a.at < $4) "
    "AND ($5::timestamptz IS NULL OR (a.at, a.id) < ($5::timestamptz, $6::uuid)) "
    "ORDER BY a.at DESC, a.id DESC LIMIT $7",
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

void store_want_last_keys(struct batch *b)
{
    store_state(b)->keys_wanted = true;
}

static void on_last_keys(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    if (db_count(rows) > 0)
        store_state(b)->last_keys = arena_strdup(b->arena, db_text(rows, 0, 0));
}

void store_load_trail(struct batch *b)
{
    if (store_state(b)->keys_wanted)
        db_enqueue(b->db, &LOAD_LAST_KEYS, &(struct db_args){.count = 0}, on_last_keys, b);
}

const char *store_last_keys(struct batch *b)
{
    const char *keys = store_state(b)->last_keys;
    return keys ? keys : "";
}

void store_set_last_keys(struct batch *b, const char *keys)
{
    store_state(b)->last_keys = keys;
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

/* ---- reads ---- */

static void arg_time_or_null(struct db_args *args, time_us_t t)
{
    if (t)
        db_arg_time(args, t);
    else
        db_arg_null(args);
}

static struct trail_row read_row(struct arena *arena, const struct db_rows *rows, int r)
{
    return (struct trail_row){
        .id = db_uuid(rows, r, 0),
        .at = db_time(rows, r, 1),
        .type = arena_strdup(arena, db_text(rows, r, 2)),
        .actor = store_text_or_null(arena, rows, r, 3),
        .customer_id = db_null(rows, r, 4) ? 0 : db_i64(rows, r, 4),
        .session_id = db_uuid(rows, r, 5),
        .address = store_text_or_null(arena, rows, r, 6),
        .request_id = store_text_or_null(arena, rows, r, 7),
        .detail = store_text_or_null(arena, rows, r, 8),
    };
}

enum err store_read_trail(struct db *db, struct arena *arena, const struct trail_filter *f, struct trail_list *ret,
                          struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_text(&args, f->type < 0 ? NULL : TRAIL_TYPES[f->type]);
    if (f->customer_id)
        db_arg_i64(&args, f->customer_id);
    else
        db_arg_null(&args);
    arg_time_or_null(&args, f->from);
    arg_time_or_null(&args, f->to);
    store_arg_cursor(&args, &f->after);
    db_arg_i64(&args, f->limit + 1);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_TRAIL, &args, &rows, fault);
    if (e)
        return e;

    size_t found = (size_t)db_count(rows);
    ret->more = found > (size_t)f->limit;
    ret->count = ret->more ? (size_t)f->limit : found;
    ret->items = ARENA_ARRAY(arena, struct trail_row, found + 1);
    for (size_t r = 0; r < ret->count; r++)
        ret->items[r] = read_row(arena, rows, (int)r);
    return ERR_OK;
}
