#include "store.h"

#include <assert.h>
#include <string.h>

#define uthash_malloc(size) arena_alloc(b->arena, size) /* tables live and die with the batch's arena */
#define uthash_free(pointer, size) ((void)0)
#include <uthash.h>

/* Accounts are opened on demand, in key order; only those that are missing cost an insert. Whom only an admin has named gets
 * one if he is a customer: a command that is refused leaves no row behind. */
static const struct db_stmt OPEN_ACCOUNTS = {
    "assets_open_accounts",
    "INSERT INTO account (owner, asset) "
    "SELECT DISTINCT g.owner, g.asset FROM unnest($1::bigint[], $2::text[], $3::boolean[]) AS g (owner, asset, named) "
    "WHERE NOT EXISTS (SELECT FROM account a WHERE a.owner = g.owner AND a.asset = g.asset) "
    "AND (NOT g.named OR EXISTS (SELECT FROM customer c WHERE c.customer_id = g.owner)) ORDER BY 1, 2 "
    "ON CONFLICT DO NOTHING",
};
/* Locked in key order, so that two lanes never wait for each other in a ring. */
static const struct db_stmt LOCK_ACCOUNTS = {
    "assets_lock_accounts",
    "SELECT a.owner, a.asset, a.size, a.usable, a.version FROM account a "
    "WHERE (a.owner, a.asset) IN (SELECT * FROM unnest($1::bigint[], $2::text[])) ORDER BY a.owner, a.asset FOR UPDATE "
    "OF a",
};
static const struct db_stmt LOCK_RESERVATIONS = {
    "assets_lock_reservations",
    "SELECT order_id, customer_id, asset, state, reserved, house_size, house_value, clearing_size, clearing_value, "
    "version, "
    "required, usable FROM reservation WHERE order_id = ANY ($1::uuid[]) ORDER BY order_id FOR UPDATE",
};
static const struct db_stmt LOAD_TRANSFERS = {
    "assets_load_transfers",
    "SELECT transfer_id, booked, required, usable FROM booked_transfer WHERE transfer_id = ANY ($1::uuid[])",
};
/* The version in the WHERE backs up the lock: a balance never moves twice from one state. */
static const struct db_stmt UPDATE_ACCOUNTS = {
    "assets_update_accounts",
    "WITH moved AS (UPDATE account a SET size = g.size, usable = g.usable, version = g.version "
    "FROM unnest($1::bigint[], $2::text[], $3::numeric[], $4::numeric[], $5::bigint[], $6::bigint[]) "
    "AS g (owner, asset, size, usable, version, old_version) "
    "WHERE a.owner = g.owner AND a.asset = g.asset AND a.version = g.old_version RETURNING 1) "
    "SELECT must_be((SELECT count(*) FROM moved) = cardinality($1::bigint[]), 'XX000', 'a balance has moved under its "
    "lock')",
};
static const struct db_stmt INSERT_JOURNAL = {
    "assets_insert_journal",
    "INSERT INTO journal (owner, asset, version, entry_id, at, type, amount, usable_amount, size_before, "
    "usable_before, size, "
    "usable, cause_type, cause_id, actor) "
    "SELECT g.owner, g.asset, g.version, g.entry_id, $1, g.type, g.amount, g.usable_amount, g.size - g.amount, "
    "g.usable - g.usable_amount, g.size, g.usable, g.cause_type, g.cause_id, g.actor "
    "FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::uuid[], $6::text[], $7::numeric[], $8::numeric[], "
    "$9::numeric[], "
    "$10::numeric[], $11::text[], $12::uuid[], $13::text[]) "
    "AS g (owner, asset, version, entry_id, type, amount, usable_amount, size, usable, cause_type, cause_id, actor)",
};
static const struct db_stmt SAVE_RESERVATIONS = {
    "assets_save_reservations",
    "INSERT INTO reservation (order_id, customer_id, asset, state, reserved, house_size, house_value, clearing_size, "
    "clearing_value, version, required, usable) "
    "SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::numeric[], $6::numeric[], "
    "$7::numeric[], "
    "$8::numeric[], $9::numeric[], $10::bigint[], $11::numeric[], $12::numeric[]) "
    "ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, reserved = excluded.reserved, "
    "house_size = excluded.house_size, house_value = excluded.house_value, clearing_size = excluded.clearing_size, "
    "clearing_value = excluded.clearing_value, version = excluded.version, required = excluded.required, "
    "usable = excluded.usable",
};
static const struct db_stmt INSERT_TRANSFERS = {
    "assets_insert_transfers",
    "INSERT INTO booked_transfer (transfer_id, booked, required, usable) "
    "SELECT * FROM unnest($1::uuid[], $2::boolean[], $3::numeric[], $4::numeric[])",
};
static const struct db_stmt READ_ASSETS = {
    "assets_list",
    "SELECT owner, asset, size, usable, version FROM account WHERE owner > 0 AND ($1::bigint IS NULL OR owner = $1) "
    "AND ($2::text IS NULL OR asset = $2) AND (NOT $3 OR size <> 0) "
    "AND ($4::bigint IS NULL OR (owner, asset) > ($4, $5)) ORDER BY owner, asset LIMIT $6",
};
static const struct db_stmt READ_ASSET = {
    "assets_get",
    "SELECT owner, asset, size, usable, version FROM account WHERE owner = $1 AND asset = $2",
};
static const struct db_stmt READ_CUSTOMER = {
    "assets_customer",
    "SELECT EXISTS (SELECT FROM customer WHERE customer_id = $1)",
};
static const struct db_stmt READ_STATEMENT = {
    "assets_statement",
    "SELECT entry_id, cause_id, at, version, type, cause_type, amount, usable_amount, size, usable FROM journal "
    "WHERE owner = $1 AND asset = $2 AND ($3::bigint IS NULL OR version < $3) ORDER BY version DESC LIMIT $4",
};

/* ---- a batch ---- */

struct account_key {
    int64_t owner;
    char asset[16]; /* zero-filled: the whole struct is the key */
};
struct batch_account {
    struct holding holding; /* first: a struct holding * of ours is a struct batch_account * */
    struct account_key key;
    int64_t loaded_version;
    UT_hash_handle hh;
};
struct batch_reservation {
    struct reservation reservation; /* first */
    bool changed;
    UT_hash_handle hh;
};
struct batch_transfer {
    struct uuid id;
    struct transfer_result result;
    bool added;
    UT_hash_handle hh;
};
struct journal_line {
    struct journal_line *next;
    struct uuid entry_id;
    enum entry_type type;
    struct posting posting;
    struct holding after;
    struct cause cause;
};

static struct assets_batch *state_of(struct batch *b)
{
    struct assets_batch *s = b->state;
    if (s->ready)
        return s;
    s->ready = true;
    s->journal_end = &s->journal;
    db_array_init(&s->owners);
    db_array_init(&s->assets);
    db_array_init(&s->named);
    db_array_init(&s->orders);
    db_array_init(&s->transfer_ids);
    return s;
}

static void want_account(struct batch *b, int64_t owner, const char *asset, bool named)
{
    struct assets_batch *s = state_of(b);
    db_array_i64(&s->owners, owner);
    db_array_text(&s->assets, asset);
    db_array_bool(&s->named, named);
}

void store_want_account(struct batch *b, int64_t owner, const char *asset)
{
    want_account(b, owner, asset, false);
}

void store_want_account_of(struct batch *b, int64_t named_customer, const char *asset)
{
    want_account(b, named_customer, asset, true);
}

void store_want_reservation(struct batch *b, struct uuid order_id)
{
    db_array_uuid(&state_of(b)->orders, order_id);
}

void store_want_transfer(struct batch *b, struct uuid transfer_id)
{
    db_array_uuid(&state_of(b)->transfer_ids, transfer_id);
}

static struct account_key key_of(int64_t owner, const char *asset)
{
    struct account_key key = {.owner = owner};
    bool fits = str_copy(key.asset, sizeof key.asset, str_of(asset));
    assert(fits);
    return key;
}

static void on_accounts(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct batch_account *a = ARENA_NEW(b->arena, struct batch_account);
        a->holding = (struct holding){db_i64(rows, r, 0), arena_strdup(b->arena, db_text(rows, r, 1)),
                                      db_decimal(rows, r, 2), db_decimal(rows, r, 3), db_i64(rows, r, 4)};
        a->loaded_version = a->holding.version;
        a->key = key_of(a->holding.owner, a->holding.asset);
        HASH_ADD(hh, state_of(b)->accounts, key, sizeof a->key, a);
    }
}

static enum reservation_state reservation_state_of(const char *name)
{
    int i = 0;
    while (strcmp(RESERVATION_STATES[i], name) != 0) {
        i++;
        assert(RESERVATION_STATES[i]); /* a CHECK of the schema names the states */
    }
    return (enum reservation_state)i;
}

static void keep_reservation(struct batch *b, struct batch_reservation *r)
{
    HASH_ADD(hh, state_of(b)->reservations, reservation.order_id, sizeof r->reservation.order_id, r);
}

static void on_reservations(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct batch_reservation *x = ARENA_NEW(b->arena, struct batch_reservation);
        x->reservation = (struct reservation){
            .order_id = db_uuid(rows, r, 0),
            .customer_id = db_i64(rows, r, 1),
            .asset = arena_strdup(b->arena, db_text(rows, r, 2)),
            .state = reservation_state_of(db_text(rows, r, 3)),
            .reserved = db_decimal(rows, r, 4),
            .house = {db_decimal(rows, r, 5), db_decimal(rows, r, 6)},
            .clearing = {db_decimal(rows, r, 7), db_decimal(rows, r, 8)},
            .version = db_i64(rows, r, 9),
            .required = db_decimal(rows, r, 10),
            .usable = db_decimal(rows, r, 11),
        };
        keep_reservation(b, x);
    }
}

static void keep_transfer(struct batch *b, struct batch_transfer *t)
{
    HASH_ADD(hh, state_of(b)->transfers, id, sizeof t->id, t);
}

static void on_transfers(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct batch_transfer *t = ARENA_NEW(b->arena, struct batch_transfer);
        t->id = db_uuid(rows, r, 0);
        t->result = (struct transfer_result){db_bool(rows, r, 1), db_decimal(rows, r, 2), db_decimal(rows, r, 3)};
        keep_transfer(b, t);
    }
}

void store_load_batch(struct batch *b)
{
    struct assets_batch *s = state_of(b);
    if (s->owners.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &s->owners);
        db_arg_array(&args, &s->assets);
        struct db_args keys = args;
        db_arg_array(&args, &s->named);
        db_enqueue(b->db, &OPEN_ACCOUNTS, &args, NULL, NULL);
        db_enqueue(b->db, &LOCK_ACCOUNTS, &keys, on_accounts, b);
    }
    if (s->orders.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &s->orders);
        db_enqueue(b->db, &LOCK_RESERVATIONS, &args, on_reservations, b);
    }
    if (s->transfer_ids.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &s->transfer_ids);
        db_enqueue(b->db, &LOAD_TRANSFERS, &args, on_transfers, b);
    }
    db_array_done(&s->owners);
    db_array_done(&s->assets);
    db_array_done(&s->named);
    db_array_done(&s->orders);
    db_array_done(&s->transfer_ids);
}

struct holding *store_account_of(struct batch *b, int64_t named_customer, const char *asset)
{
    struct account_key key = key_of(named_customer, asset);
    struct batch_account *a;
    HASH_FIND(hh, state_of(b)->accounts, &key, sizeof key, a);
    return a ? &a->holding : NULL;
}

struct holding *store_account(struct batch *b, int64_t owner, const char *asset)
{
    struct holding *h = store_account_of(b, owner, asset);
    assert(h); /* `want` named it, and the load opened it */
    return h;
}

struct reservation *store_reservation(struct batch *b, struct uuid order_id)
{
    struct batch_reservation *r;
    HASH_FIND(hh, state_of(b)->reservations, &order_id, sizeof order_id, r);
    if (!r) {
        r = ARENA_NEW(b->arena, struct batch_reservation);
        r->reservation.order_id = order_id;
        keep_reservation(b, r);
    }
    return &r->reservation;
}

void store_touch_reservation(struct batch *b, struct reservation *r)
{
    (void)b;
    ((struct batch_reservation *)r)->changed = true;
}

const struct transfer_result *store_transfer(struct batch *b, struct uuid transfer_id)
{
    struct batch_transfer *t;
    HASH_FIND(hh, state_of(b)->transfers, &transfer_id, sizeof transfer_id, t);
    return t ? &t->result : NULL;
}

void store_add_transfer(struct batch *b, struct uuid transfer_id, struct transfer_result result)
{
    struct batch_transfer *t = ARENA_NEW(b->arena, struct batch_transfer);
    *t = (struct batch_transfer){.id = transfer_id, .result = result, .added = true};
    keep_transfer(b, t);
}

void store_journal(struct batch *b, const struct entry *entry, struct cause cause)
{
    struct uuid entry_id = uuid_v7();
    for (size_t i = 0; i < entry->count; i++) {
        struct journal_line *line = ARENA_NEW(b->arena, struct journal_line);
        *line = (struct journal_line){NULL, entry_id, entry->type, entry->postings[i], *entry->postings[i].holding,
                                      cause};
        *state_of(b)->journal_end = line;
        state_of(b)->journal_end = &line->next;
    }
}

/* ---- saves ---- */

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static void save_accounts(struct batch *b, const struct assets_batch *s)
{
    struct db_array owner, asset, size, usable, version, old_version;
    struct db_array *columns[] = {&owner, &asset, &size, &usable, &version, &old_version};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_account *a = s->accounts; a; a = a->hh.next) {
        if (a->holding.version == a->loaded_version)
            continue;
        db_array_i64(&owner, a->holding.owner);
        db_array_text(&asset, a->holding.asset);
        db_array_decimal(&size, a->holding.size);
        db_array_decimal(&usable, a->holding.usable);
        db_array_i64(&version, a->holding.version);
        db_array_i64(&old_version, a->loaded_version);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &UPDATE_ACCOUNTS, &args, columns, COUNT_OF(columns));
}

static void save_journal(struct batch *b, const struct assets_batch *s)
{
    struct db_array owner, asset, version, entry_id, type, amount, usable_amount, size, usable, cause_type, cause_id,
        actor;
    struct db_array *columns[] = {&owner,         &asset, &version, &entry_id,   &type,     &amount,
                                  &usable_amount, &size,  &usable,  &cause_type, &cause_id, &actor};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct journal_line *line = s->journal; line; line = line->next) {
        db_array_i64(&owner, line->after.owner);
        db_array_text(&asset, line->after.asset);
        db_array_i64(&version, line->after.version);
        db_array_uuid(&entry_id, line->entry_id);
        db_array_text(&type, ENTRY_TYPES[line->type]);
        db_array_decimal(&amount, line->posting.amount);
        db_array_decimal(&usable_amount, line->posting.usable_amount);
        db_array_decimal(&size, line->after.size);
        db_array_decimal(&usable, line->after.usable);
        db_array_text(&cause_type, line->cause.type);
        db_array_uuid(&cause_id, line->cause.id);
        db_array_text(&actor, line->cause.actor);
    }
    struct db_args args = db_args(b->arena);
    db_arg_time(&args, b->now);
    db_enqueue_arrays(b->db, &INSERT_JOURNAL, &args, columns, COUNT_OF(columns));
}

static void save_reservations(struct batch *b, const struct assets_batch *s)
{
    struct db_array order, customer, asset, state, reserved, house_size, house_value, clearing_size, clearing_value,
        version, required, usable;
    struct db_array *columns[] = {&order,       &customer,      &asset,          &state,   &reserved, &house_size,
                                  &house_value, &clearing_size, &clearing_value, &version, &required, &usable};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_reservation *x = s->reservations; x; x = x->hh.next) {
        if (!x->changed)
            continue;
        const struct reservation *r = &x->reservation;
        db_array_uuid(&order, r->order_id);
        db_array_i64(&customer, r->customer_id);
        db_array_text(&asset, r->asset);
        db_array_text(&state, RESERVATION_STATES[r->state]);
        db_array_decimal(&reserved, r->reserved);
        db_array_decimal(&house_size, r->house.size);
        db_array_decimal(&house_value, r->house.value);
        db_array_decimal(&clearing_size, r->clearing.size);
        db_array_decimal(&clearing_value, r->clearing.value);
        db_array_i64(&version, r->version);
        db_array_decimal(&required, r->required);
        db_array_decimal(&usable, r->usable);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &SAVE_RESERVATIONS, &args, columns, COUNT_OF(columns));
}

static void save_transfers(struct batch *b, const struct assets_batch *s)
{
    struct db_array id, booked, required, usable;
    struct db_array *columns[] = {&id, &booked, &required, &usable};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_transfer *t = s->transfers; t; t = t->hh.next) {
        if (!t->added)
            continue;
        db_array_uuid(&id, t->id);
        db_array_bool(&booked, t->result.booked);
        db_array_decimal(&required, t->result.required);
        db_array_decimal(&usable, t->result.usable);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &INSERT_TRANSFERS, &args, columns, COUNT_OF(columns));
}

void store_save_batch(struct batch *b)
{
    const struct assets_batch *s = state_of(b);
    save_accounts(b, s);
    save_journal(b, s);
    save_reservations(b, s);
    save_transfers(b, s);
}

/* ---- reads ---- */

static struct holding read_holding(struct arena *arena, const struct db_rows *rows, int r)
{
    return (struct holding){db_i64(rows, r, 0), arena_strdup(arena, db_text(rows, r, 1)), db_decimal(rows, r, 2),
                            db_decimal(rows, r, 3), db_i64(rows, r, 4)};
}

static void arg_i64_or_null(struct db_args *args, int64_t v)
{
    if (v)
        db_arg_i64(args, v);
    else
        db_arg_null(args);
}

enum err store_read_assets(struct db *db, struct arena *arena, const struct asset_filter *f, struct holding_list *ret,
                           struct fault *fault)
{
    struct db_args args = db_args(arena);
    arg_i64_or_null(&args, f->customer_id);
    db_arg_text(&args, f->asset);
    db_arg_bool(&args, f->non_zero_only);
    arg_i64_or_null(&args, f->after_customer);
    db_arg_text(&args, f->after_asset);
    db_arg_i64(&args, f->limit + 1); /* one more tells whether there is a next page */

    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_ASSETS, &args, &rows, fault);
    if (e)
        return e;
    size_t count = (size_t)db_count(rows);
    ret->items = ARENA_ARRAY(arena, struct holding, count + 1);
    for (size_t i = 0; i < count; i++)
        ret->items[i] = read_holding(arena, rows, (int)i);
    ret->more = count > (size_t)f->limit;
    ret->count = ret->more ? count - 1 : count;
    return ERR_OK;
}

enum err store_read_asset(struct db *db, struct arena *arena, int64_t customer_id, const char *asset,
                          struct holding *ret, struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_i64(&args, customer_id);
    db_arg_text(&args, asset);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_ASSET, &args, &rows, fault);
    if (e)
        return e;
    if (db_count(rows) == 0)
        return fault_set(fault, ERR_NOT_FOUND, "the customer has no %s", asset);
    *ret = read_holding(arena, rows, 0);
    return ERR_OK;
}

enum err store_read_customer_known(struct db *db, struct arena *arena, int64_t customer_id, bool *ret_known,
                                   struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_i64(&args, customer_id);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_CUSTOMER, &args, &rows, fault);
    if (!e)
        *ret_known = db_bool(rows, 0, 0);
    return e;
}

enum err store_read_statement(struct db *db, struct arena *arena, int64_t customer_id, const char *asset,
                              int64_t before_version, int64_t limit, struct statement *ret, struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_i64(&args, customer_id);
    db_arg_text(&args, asset);
    arg_i64_or_null(&args, before_version);
    db_arg_i64(&args, limit + 1);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_STATEMENT, &args, &rows, fault);
    if (e)
        return e;

    size_t count = (size_t)db_count(rows);
    ret->items = ARENA_ARRAY(arena, struct statement_line, count + 1);
    for (size_t i = 0; i < count; i++) {
        int r = (int)i;
        ret->items[i] = (struct statement_line){
            .id = db_uuid(rows, r, 0),
            .cause_id = db_uuid(rows, r, 1),
            .at = db_time(rows, r, 2),
            .version = db_i64(rows, r, 3),
            .type = arena_strdup(arena, db_text(rows, r, 4)),
            .cause_type = arena_strdup(arena, db_text(rows, r, 5)),
            .amount = db_decimal(rows, r, 6),
            .usable_amount = db_decimal(rows, r, 7),
            .size = db_decimal(rows, r, 8),
            .usable = db_decimal(rows, r, 9),
        };
    }
    ret->more = count > (size_t)limit;
    ret->count = ret->more ? count - 1 : count;
    return ERR_OK;
}
