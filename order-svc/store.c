#include "store.h"

#include <string.h>

#define uthash_malloc(size) arena_alloc(b->arena, size) /* tables live and die with the batch's arena */
#define uthash_free(pointer, size) ((void)0)
#include <uthash.h>

#define ORDER_COLUMNS \
    "o.id, o.customer_id, o.client_order_id, o.asset, o.side, o.size, o.price, o.status, o.status_reason, " \
    "o.house_size, o.house_value, o.clearing_size, o.clearing_value, o.version, o.books_version, o.required, " \
    "o.usable, " \
    "o.create_date, o.update_date, o.actor"

/* Locked in key order, so that two lanes never wait for each other in a ring. */
static const struct db_stmt LOCK_ORDERS = {
    "orders_lock",
    "SELECT " ORDER_COLUMNS " FROM orders o WHERE o.id = ANY ($1::uuid[]) ORDER BY o.id FOR UPDATE",
};
static const struct db_stmt LOCK_OPEN = {
    "orders_lock_open",
    "SELECT " ORDER_COLUMNS " FROM orders o WHERE o.customer_id = $1 AND o.status IN ('NEW', 'PENDING') "
    "AND ($2::text IS NULL OR o.asset = $2) AND ($3::text IS NULL OR o.side = $3) ORDER BY o.id LIMIT $4 FOR UPDATE",
};
static const struct db_stmt LOAD_CLIENT_KEYS = {
    "orders_client_keys",
    "SELECT o.customer_id, o.client_key FROM unnest($1::bigint[], $2::text[]) AS g (customer_id, client_key) "
    "JOIN orders o ON o.customer_id = g.customer_id AND o.client_key = g.client_key",
};
static const struct db_stmt INSERT_ORDERS = {
    "orders_insert",
    "INSERT INTO orders (id, customer_id, client_order_id, client_key, asset, side, size, price, status, version, "
    "create_date, update_date, actor) "
    "SELECT g.id, g.customer_id, g.client_order_id, g.client_order_id, g.asset, g.side, g.size, g.price, 'NEW', 1, $1, "
    "$1, "
    "g.actor "
    "FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::numeric[], "
    "$9::text[]) "
    "AS g (id, customer_id, client_order_id, asset, side, size, price, actor)",
};
/* The version in the WHERE backs up the lock: an order never moves twice from one state. */
static const struct db_stmt UPDATE_ORDERS = {
    "orders_update",
    "WITH moved AS (UPDATE orders o SET status = g.status, status_reason = g.reason, "
    "client_key = CASE WHEN g.status = 'REJECTED' THEN NULL ELSE o.client_key END, house_size = g.house_size, "
    "house_value = g.house_value, clearing_size = g.clearing_size, clearing_value = g.clearing_value, version = "
    "g.version, "
    "books_version = g.books_version, required = g.required, usable = g.usable, update_date = g.update_date, "
    "actor = g.actor "
    "FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::numeric[], $6::numeric[], $7::numeric[], "
    "$8::numeric[], $9::bigint[], $10::bigint[], $11::numeric[], $12::numeric[], $13::timestamptz[], $14::text[]) "
    "AS g (id, old_version, status, reason, house_size, house_value, clearing_size, clearing_value, version, "
    "books_version, "
    "required, usable, update_date, actor) "
    "WHERE o.id = g.id AND o.version = g.old_version RETURNING 1) "
    "SELECT must_be((SELECT count(*) FROM moved) = cardinality($1::uuid[]), 'XX000', 'an order has moved under its "
    "lock')",
};
static const struct db_stmt INSERT_HISTORY = {
    "orders_history_insert",
    "INSERT INTO order_history (order_id, version, status, at, reason, actor) "
    "SELECT g.id, g.version, g.status, g.at, g.reason, g.actor "
    "FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::timestamptz[], $5::text[], $6::text[]) "
    "AS g (id, version, status, at, reason, actor)",
};
static const struct db_stmt READ_ORDER = {
    "orders_read",
    "SELECT " ORDER_COLUMNS " FROM orders o WHERE o.id = $1 AND ($2::bigint IS NULL OR o.customer_id = $2)",
};
static const struct db_stmt READ_BY_ID = {
    "orders_read_by_id",
    "SELECT " ORDER_COLUMNS " FROM orders o WHERE o.id = ANY ($1::uuid[])",
};
static const struct db_stmt READ_ORDERS = {
    "orders_list",
    "SELECT " ORDER_COLUMNS " FROM orders o WHERE ($1::bigint IS NULL OR o.customer_id = $1) "
    "AND ($2::text[] IS NULL OR o.status = ANY ($2::text[])) AND ($3::text IS NULL OR o.asset = $3) "
    "AND ($4::text IS NULL OR o.client_order_id = $4) AND ($5::text IS NULL OR o.side = $5) "
    "AND ($6::timestamptz IS NULL OR o.create_date >= $6) AND ($7::timestamptz IS NULL OR o.create_date < $7) "
    "AND ($8::timestamptz IS NULL OR (o.create_date, o.id) < ($8::timestamptz, $9::uuid)) "
    "ORDER BY o.create_date DESC, o.id DESC LIMIT $10",
};
static const struct db_stmt READ_HISTORY = {
    "orders_history",
    "SELECT version, status, reason, actor, at FROM order_history WHERE order_id = $1 ORDER BY version",
};
static const struct db_stmt MEASURE = {
    "orders_measure",
    "SELECT count(*), min(create_date) FROM orders WHERE status = 'NEW'",
};

/* ---- rows ---- */

static void read_row(struct arena *arena, const struct db_rows *rows, int r, struct order *ret)
{
    struct order_state *s = &ret->state;
    s->id = db_uuid(rows, r, 0);
    s->customer_id = db_i64(rows, r, 1);
    s->client_order_id = db_text_copy(rows, r, 2, arena);
    s->asset = arena_strdup(arena, db_text(rows, r, 3));
    s->side = (enum order_side)db_choice(rows, r, 4, ORDER_SIDES);
    s->size = db_decimal(rows, r, 5);
    s->price = db_decimal(rows, r, 6);
    s->status = (enum order_status)db_choice(rows, r, 7, ORDER_STATUSES);
    s->status_reason = db_text_copy(rows, r, 8, arena);
    s->house = (struct order_fill){db_decimal(rows, r, 9), db_decimal(rows, r, 10)};
    s->clearing = (struct order_fill){db_decimal(rows, r, 11), db_decimal(rows, r, 12)};
    s->version = db_i64(rows, r, 13);
    ret->books_version = db_i64(rows, r, 14);
    ret->required = db_null(rows, r, 15) ? 0 : db_decimal(rows, r, 15);
    ret->usable = db_null(rows, r, 16) ? 0 : db_decimal(rows, r, 16);
    s->create_date = db_time(rows, r, 17);
    s->update_date = db_time(rows, r, 18);
    s->actor = arena_strdup(arena, db_text(rows, r, 19));
}

/* ---- a batch ---- */

struct batch_order {
    struct order order;     /* first: a struct order * of ours is a struct batch_order * */
    int64_t loaded_version; /* 0: new in this batch */
    bool is_changed;
    struct batch_order *next_changed;
    UT_hash_handle hh;
};
struct history_line {
    struct history_line *next;
    struct uuid id;
    struct order_change change;
};
struct client_key {
    const char *scope;
    UT_hash_handle hh;
};
struct wanted_open {
    struct wanted_open *next;
    int64_t customer_id;
    const char *asset;
    int side;
};

static struct orders_batch *state_of(struct batch *b)
{
    struct orders_batch *s = b->state;
    if (!s->ready) {
        s->ready = true;
        s->changed_end = &s->changed;
        s->history_end = &s->history;
        db_array_init(&s->ids);
        db_array_init(&s->client_customers);
        db_array_init(&s->client_ids);
    }
    return s;
}

void store_want_order(struct batch *b, struct uuid id)
{
    db_array_uuid(&state_of(b)->ids, id);
}

void store_want_client_id(struct batch *b, int64_t customer_id, const char *client_order_id)
{
    db_array_i64(&state_of(b)->client_customers, customer_id);
    db_array_text(&state_of(b)->client_ids, client_order_id);
}

void store_want_open(struct batch *b, int64_t customer_id, const char *asset, int side)
{
    struct wanted_open *w = ARENA_NEW(b->arena, struct wanted_open);
    *w = (struct wanted_open){state_of(b)->open, customer_id, asset, side};
    state_of(b)->open = w;
}

static struct batch_order *find(struct batch *b, struct uuid id)
{
    struct batch_order *o;
    HASH_FIND(hh, state_of(b)->orders, &id, sizeof id, o);
    return o;
}

static struct batch_order *keep(struct batch *b, struct batch_order *o)
{
    HASH_ADD(hh, state_of(b)->orders, order.state.id, sizeof o->order.state.id, o);
    return o;
}

static void on_orders(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        if (find(b, db_uuid(rows, r, 0)))
            continue;
        struct batch_order *o = ARENA_NEW(b->arena, struct batch_order);
        read_row(b->arena, rows, r, &o->order);
        o->loaded_version = o->order.state.version;
        keep(b, o);
    }
}

static const char *client_scope(struct batch *b, int64_t customer_id, const char *client_order_id)
{
    return arena_printf(b->arena, "%lld %s", (long long)customer_id, client_order_id);
}

static void take_client_id(struct batch *b, int64_t customer_id, const char *client_order_id)
{
    struct client_key *key = ARENA_NEW(b->arena, struct client_key);
    key->scope = client_scope(b, customer_id, client_order_id);
    HASH_ADD_KEYPTR(hh, state_of(b)->client_keys, key->scope, strlen(key->scope), key);
}

static void on_client_keys(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++)
        take_client_id(b, db_i64(rows, r, 0), db_text(rows, r, 1));
}

void store_load_batch(struct batch *b)
{
    struct orders_batch *s = state_of(b);
    if (s->ids.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &s->ids);
        db_enqueue(b->db, &LOCK_ORDERS, &args, on_orders, b);
    }
    if (s->client_ids.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &s->client_customers);
        db_arg_array(&args, &s->client_ids);
        db_enqueue(b->db, &LOAD_CLIENT_KEYS, &args, on_client_keys, b);
    }
    for (const struct wanted_open *w = s->open; w; w = w->next) {
        struct db_args args = db_args(b->arena);
        db_arg_i64(&args, w->customer_id);
        db_arg_text(&args, w->asset);
        db_arg_text(&args, w->side < 0 ? NULL : ORDER_SIDES[w->side]);
        db_arg_i64(&args, STORE_OPEN_MAX);
        db_enqueue(b->db, &LOCK_OPEN, &args, on_orders, b);
    }
    db_array_done(&s->ids);
    db_array_done(&s->client_customers);
    db_array_done(&s->client_ids);
}

struct order *store_order(struct batch *b, struct uuid id)
{
    struct batch_order *o = find(b, id);
    return o ? &o->order : NULL;
}

bool store_client_id_taken(struct batch *b, int64_t customer_id, const char *client_order_id)
{
    const char *scope = client_scope(b, customer_id, client_order_id);
    struct client_key *key;
    HASH_FIND_STR(state_of(b)->client_keys, scope, key);
    return key != NULL;
}

static bool matches(const struct order *o, int64_t customer_id, const char *asset, int side)
{
    return o->state.customer_id == customer_id && order_is_open(o) && (!asset || strcmp(asset, o->state.asset) == 0) &&
           (side < 0 || o->state.side == (enum order_side)side);
}

static int older_first(const void *a, const void *b)
{
    const struct order *const *x = a, *const *y = b;
    return uuid_cmp((*x)->state.id, (*y)->state.id);
}

size_t store_open(struct batch *b, int64_t customer_id, const char *asset, int side, struct order ***ret_orders)
{
    struct orders_batch *s = state_of(b);
    struct order **list = ARENA_ARRAY(b->arena, struct order *, HASH_COUNT(s->orders) + 1);
    size_t count = 0;
    struct batch_order *o, *next;
    HASH_ITER(hh, s->orders, o, next)
    if (matches(&o->order, customer_id, asset, side))
        list[count++] = &o->order;
    qsort(list, count, sizeof *list, older_first);
    *ret_orders = list;
    return count;
}

static void mark_changed(struct batch *b, struct batch_order *o)
{
    if (o->is_changed)
        return;
    o->is_changed = true;
    *state_of(b)->changed_end = o;
    state_of(b)->changed_end = &o->next_changed;
}

static void note_history(struct batch *b, const struct order_state *o)
{
    struct history_line *line = ARENA_NEW(b->arena, struct history_line);
    line->id = o->id;
    line->change = (struct order_change){o->version, ORDER_STATUSES[o->status], o->status_reason, o->actor,
                                         o->update_date};
    *state_of(b)->history_end = line;
    state_of(b)->history_end = &line->next;
}

struct order *store_add(struct batch *b, const struct order *order)
{
    struct batch_order *o = ARENA_NEW(b->arena, struct batch_order);
    o->order = *order;
    keep(b, o);
    if (order->state.client_order_id)
        take_client_id(b, order->state.customer_id, order->state.client_order_id);
    mark_changed(b, o);
    note_history(b, &order->state);
    return &o->order;
}

void store_touch(struct batch *b, struct order *order)
{
    struct batch_order *o = (struct batch_order *)order;
    mark_changed(b, o);
    note_history(b, &order->state);
}

void store_touch_books(struct batch *b, struct order *order)
{
    mark_changed(b, (struct batch_order *)order);
}

/* A new order that nothing happened to yet is all in its INSERT. */
static bool needs_update(const struct batch_order *o)
{
    return o->loaded_version || o->order.state.version > 1;
}

void store_each_changed(struct batch *b, void (*changed)(void *arg, const struct order *o), void *arg)
{
    for (const struct batch_order *o = state_of(b)->changed; o; o = o->next_changed)
        if (needs_update(o))
            changed(arg, &o->order);
}

static void save_new(struct batch *b, const struct orders_batch *s)
{
    struct db_array id, customer, client_id, asset, side, size, price, actor;
    struct db_array *all[] = {&id, &customer, &client_id, &asset, &side, &size, &price, &actor};
    enum { COUNT = sizeof all / sizeof all[0] };
    db_arrays_init(all, COUNT);
    for (const struct batch_order *o = s->changed; o; o = o->next_changed) {
        if (o->loaded_version)
            continue;
        const struct order_state *x = &o->order.state;
        db_array_uuid(&id, x->id);
        db_array_i64(&customer, x->customer_id);
        db_array_text(&client_id, x->client_order_id);
        db_array_text(&asset, x->asset);
        db_array_text(&side, ORDER_SIDES[x->side]);
        db_array_decimal(&size, x->size);
        db_array_decimal(&price, x->price);
        db_array_text(&actor, x->actor);
    }

    struct db_args args = db_args(b->arena);
    db_arg_time(&args, b->now);
    db_enqueue_arrays(b->db, &INSERT_ORDERS, &args, all, COUNT);
}

static void save_moved(struct batch *b, const struct orders_batch *s)
{
    struct db_array id, old_version, status, reason, house_size, house_value, clearing_size, clearing_value, version,
        books_version, required, usable, update_date, actor;
    struct db_array *all[] = {&id,          &old_version,   &status,         &reason,  &house_size,
                              &house_value, &clearing_size, &clearing_value, &version, &books_version,
                              &required,    &usable,        &update_date,    &actor};
    enum { COUNT = sizeof all / sizeof all[0] };
    db_arrays_init(all, COUNT);
    for (const struct batch_order *o = s->changed; o; o = o->next_changed) {
        if (!needs_update(o))
            continue;
        const struct order_state *x = &o->order.state;
        db_array_uuid(&id, x->id);
        db_array_i64(&old_version, o->loaded_version ? o->loaded_version : 1);
        db_array_text(&status, ORDER_STATUSES[x->status]);
        db_array_text(&reason, x->status_reason);
        db_array_decimal(&house_size, x->house.size);
        db_array_decimal(&house_value, x->house.value);
        db_array_decimal(&clearing_size, x->clearing.size);
        db_array_decimal(&clearing_value, x->clearing.value);
        db_array_i64(&version, x->version);
        db_array_i64(&books_version, o->order.books_version);
        db_array_decimal(&required, o->order.required);
        db_array_decimal(&usable, o->order.usable);
        db_array_time(&update_date, x->update_date);
        db_array_text(&actor, x->actor);
    }

    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &UPDATE_ORDERS, &args, all, COUNT);
}

static void save_history(struct batch *b, const struct orders_batch *s)
{
    struct db_array id, version, status, at, reason, actor;
    struct db_array *all[] = {&id, &version, &status, &at, &reason, &actor};
    enum { COUNT = sizeof all / sizeof all[0] };
    db_arrays_init(all, COUNT);
    for (const struct history_line *line = s->history; line; line = line->next) {
        db_array_uuid(&id, line->id);
        db_array_i64(&version, line->change.version);
        db_array_text(&status, line->change.status);
        db_array_time(&at, line->change.at);
        db_array_text(&reason, line->change.reason);
        db_array_text(&actor, line->change.actor);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &INSERT_HISTORY, &args, all, COUNT);
}

void store_save_batch(struct batch *b)
{
    const struct orders_batch *s = state_of(b);
    save_new(b, s);
    save_moved(b, s);
    save_history(b, s);
}

/* ---- reads ---- */

static void read_list(struct arena *arena, const struct db_rows *rows, struct order_list *ret)
{
    ret->count = (size_t)db_count(rows);
    ret->items = ARENA_ARRAY(arena, struct order, ret->count + 1);
    ret->more = false;
    for (size_t i = 0; i < ret->count; i++)
        read_row(arena, rows, (int)i, &ret->items[i]);
}

enum err store_read_order(struct db *db, struct arena *arena, struct uuid id, int64_t customer_id, struct order *ret,
                          struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_uuid(&args, id);
    if (customer_id)
        db_arg_i64(&args, customer_id);
    else
        db_arg_null(&args);

    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_ORDER, &args, &rows, fault);
    if (e)
        return e;
    if (db_count(rows) == 0)
        return fault_set(fault, ERR_ORDER_NOT_FOUND, "there is no such order");
    read_row(arena, rows, 0, ret);
    return ERR_OK;
}

enum err store_read_orders_by_id(struct db *db, struct arena *arena, const struct uuid *ids, size_t count,
                                 struct order_list *ret, struct fault *fault)
{
    struct db_array array;
    db_array_init(&array);
    for (size_t i = 0; i < count; i++)
        db_array_uuid(&array, ids[i]);
    struct db_args args = db_args(arena);
    db_arg_array(&args, &array);
    db_array_done(&array);

    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_BY_ID, &args, &rows, fault);
    if (e)
        return e;
    read_list(arena, rows, ret);
    return ERR_OK;
}

static void arg_statuses(struct db_args *args, unsigned statuses)
{
    if (!statuses) {
        db_arg_null(args);
        return;
    }
    struct db_array names;
    db_array_init(&names);
    for (int i = 0; ORDER_STATUSES[i]; i++)
        if (statuses & (1u << i))
            db_array_text(&names, ORDER_STATUSES[i]);
    db_arg_array(args, &names);
    db_array_done(&names);
}

enum err store_read_orders(struct db *db, struct arena *arena, const struct order_filter *f, struct order_list *ret,
                           struct fault *fault)
{
    struct db_args args = db_args(arena);
    if (f->customer_id)
        db_arg_i64(&args, f->customer_id);
    else
        db_arg_null(&args);
    arg_statuses(&args, f->statuses);
    db_arg_text(&args, f->asset);
    db_arg_text(&args, f->client_order_id);
    db_arg_text(&args, f->side < 0 ? NULL : ORDER_SIDES[f->side]);
    db_arg_time_or_null(&args, f->from);
    db_arg_time_or_null(&args, f->to);
    db_arg_time_or_null(&args, f->after.present ? f->after.at : 0);
    db_arg_uuid(&args, f->after.id);
    db_arg_i64(&args, f->limit + 1); /* one more tells whether there is a next page */

    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_ORDERS, &args, &rows, fault);
    if (e)
        return e;
    read_list(arena, rows, ret);
    ret->more = ret->count > (size_t)f->limit;
    if (ret->more)
        ret->count--;
    return ERR_OK;
}

enum err store_read_history(struct db *db, struct arena *arena, struct uuid id, struct order_change **ret,
                            size_t *ret_count, struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_uuid(&args, id);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_HISTORY, &args, &rows, fault);
    if (e)
        return e;

    *ret_count = (size_t)db_count(rows);
    *ret = ARENA_ARRAY(arena, struct order_change, *ret_count + 1);
    for (int r = 0; r < db_count(rows); r++)
        (*ret)[r] = (struct order_change){db_i64(rows, r, 0), arena_strdup(arena, db_text(rows, r, 1)),
                                          db_text_copy(rows, r, 2, arena), arena_strdup(arena, db_text(rows, r, 3)),
                                          db_time(rows, r, 4)};
    return ERR_OK;
}

void store_measure(struct db *db, int64_t *ret_new, time_us_t *ret_oldest)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    struct fault fault;
    if (db_query(db, &MEASURE, &(struct db_args){.count = 0}, &rows, &fault))
        return; /* the lane finds out by itself that its session is lost */
    *ret_new = db_i64(rows, 0, 0);
    *ret_oldest = db_null(rows, 0, 1) ? 0 : db_time(rows, 0, 1);
}
