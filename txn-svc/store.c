#include "store.h"

#include <string.h>

#define uthash_malloc(size) arena_alloc(b->arena, size) /* tables live and die with the batch's arena */
#define uthash_free(pointer, size) ((void)0)
#include <uthash.h>

#define TRANSFER_COLUMNS \
    "t.id, t.customer_id, t.type, t.amount, t.iban, t.status, t.status_reason, t.required, t.usable, " \
    "t.create_date, t.update_date, t.actor"

static const struct db_stmt LOCK_TRANSFERS = {
    "transfers_lock",
    "SELECT " TRANSFER_COLUMNS " FROM transfer t WHERE t.id = ANY ($1::uuid[]) ORDER BY t.id FOR UPDATE",
};
static const struct db_stmt INSERT_TRANSFERS = {
    "transfers_insert",
    "INSERT INTO transfer (id, customer_id, type, amount, iban, status, create_date, update_date, actor) "
    "SELECT g.id, g.customer_id, g.type, g.amount, g.iban, 'PENDING', $1, $1, g.actor "
    "FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::numeric[], $6::text[], $7::text[]) "
    "AS g (id, customer_id, type, amount, iban, actor)",
};
/* PENDING in the WHERE backs up the lock: a transfer is answered once. */
static const struct db_stmt UPDATE_TRANSFERS = {
    "transfers_update",
    "WITH moved AS (UPDATE transfer t SET status = g.status, status_reason = g.reason, required = g.required, "
    "usable = g.usable, update_date = g.update_date "
    "FROM unnest($1::uuid[], $2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::timestamptz[]) "
    "AS g (id, status, reason, required, usable, update_date) WHERE t.id = g.id AND t.status = 'PENDING' RETURNING 1) "
    "SELECT must_be((SELECT count(*) FROM moved) = cardinality($1::uuid[]), 'XX000', 'a transfer has moved under its "
    "lock')",
};
static const struct db_stmt READ_TRANSFER = {
    "transfers_read",
    "SELECT " TRANSFER_COLUMNS " FROM transfer t WHERE t.id = $1 AND ($2::bigint IS NULL OR t.customer_id = $2)",
};
static const struct db_stmt READ_BY_ID = {
    "transfers_read_by_id",
    "SELECT " TRANSFER_COLUMNS " FROM transfer t WHERE t.id = ANY ($1::uuid[])",
};
static const struct db_stmt READ_TRANSFERS = {
    "transfers_list",
    "SELECT " TRANSFER_COLUMNS " FROM transfer t WHERE ($1::bigint IS NULL OR t.customer_id = $1) "
    "AND ($2::text IS NULL OR t.type = $2) AND ($3::text[] IS NULL OR t.status = ANY ($3::text[])) "
    "AND ($4::timestamptz IS NULL OR t.create_date >= $4) AND ($5::timestamptz IS NULL OR t.create_date < $5) "
    "AND ($6::timestamptz IS NULL OR (t.create_date, t.id) < ($6::timestamptz, $7::uuid)) "
    "ORDER BY t.create_date DESC, t.id DESC LIMIT $8",
};
static const struct db_stmt MEASURE = {
    "transfers_measure",
    "SELECT count(*), min(create_date) FROM transfer WHERE status = 'PENDING'",
};

/* ---- rows ---- */

static void read_row(struct arena *arena, const struct db_rows *rows, int r, struct transfer *ret)
{
    *ret = (struct transfer){
        .id = db_uuid(rows, r, 0),
        .customer_id = db_i64(rows, r, 1),
        .type = (enum transfer_type)db_choice(rows, r, 2, TRANSFER_TYPES),
        .amount = db_decimal(rows, r, 3),
        .iban = db_text_copy(rows, r, 4, arena),
        .status = (enum transfer_status)db_choice(rows, r, 5, TRANSFER_STATUSES),
        .status_reason = db_text_copy(rows, r, 6, arena),
        .required = db_decimal(rows, r, 7),
        .usable = db_decimal(rows, r, 8),
        .create_date = db_time(rows, r, 9),
        .update_date = db_time(rows, r, 10),
        .actor = arena_strdup(arena, db_text(rows, r, 11)),
    };
}

/* ---- a batch ---- */

struct batch_transfer {
    struct transfer transfer; /* first: a struct transfer * of ours is a struct batch_transfer * */
    bool is_new, is_changed;
    UT_hash_handle hh;
};

static struct transfers_batch *state_of(struct batch *b)
{
    struct transfers_batch *s = b->state;
    if (!s->ready) {
        s->ready = true;
        db_array_init(&s->ids);
    }
    return s;
}

void store_want_transfer(struct batch *b, struct uuid id)
{
    db_array_uuid(&state_of(b)->ids, id);
}

static void keep(struct batch *b, struct batch_transfer *t)
{
    HASH_ADD(hh, state_of(b)->transfers, transfer.id, sizeof t->transfer.id, t);
}

static void on_transfers(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct batch_transfer *t = ARENA_NEW(b->arena, struct batch_transfer);
        read_row(b->arena, rows, r, &t->transfer);
        keep(b, t);
    }
}

void store_load_batch(struct batch *b)
{
    struct transfers_batch *s = state_of(b);
    if (s->ids.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &s->ids);
        db_enqueue(b->db, &LOCK_TRANSFERS, &args, on_transfers, b);
    }
    db_array_done(&s->ids);
}

struct transfer *store_transfer(struct batch *b, struct uuid id)
{
    struct batch_transfer *t;
    HASH_FIND(hh, state_of(b)->transfers, &id, sizeof id, t);
    return t ? &t->transfer : NULL;
}

struct transfer *store_add(struct batch *b, const struct transfer *transfer)
{
    struct batch_transfer *t = ARENA_NEW(b->arena, struct batch_transfer);
    t->transfer = *transfer;
    t->is_new = true;
    keep(b, t);
    return &t->transfer;
}

void store_touch(struct batch *b, struct transfer *transfer)
{
    (void)b;
    ((struct batch_transfer *)transfer)->is_changed = true;
}

void store_each_changed(struct batch *b, void (*changed)(void *arg, const struct transfer *t), void *arg)
{
    for (const struct batch_transfer *t = state_of(b)->transfers; t; t = t->hh.next)
        if (t->is_changed)
            changed(arg, &t->transfer);
}

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static void save_new(struct batch *b, const struct transfers_batch *s)
{
    struct db_array id, customer, type, amount, iban, actor;
    struct db_array *columns[] = {&id, &customer, &type, &amount, &iban, &actor};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_transfer *t = s->transfers; t; t = t->hh.next) {
        if (!t->is_new)
            continue;
        db_array_uuid(&id, t->transfer.id);
        db_array_i64(&customer, t->transfer.customer_id);
        db_array_text(&type, TRANSFER_TYPES[t->transfer.type]);
        db_array_decimal(&amount, t->transfer.amount);
        db_array_text(&iban, t->transfer.iban);
        db_array_text(&actor, t->transfer.actor);
    }
    struct db_args args = db_args(b->arena);
    db_arg_time(&args, b->now);
    db_enqueue_arrays(b->db, &INSERT_TRANSFERS, &args, columns, COUNT_OF(columns));
}

static void save_answered(struct batch *b, const struct transfers_batch *s)
{
    struct db_array id, status, reason, required, usable, update_date;
    struct db_array *columns[] = {&id, &status, &reason, &required, &usable, &update_date};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_transfer *t = s->transfers; t; t = t->hh.next) {
        if (!t->is_changed)
            continue;
        db_array_uuid(&id, t->transfer.id);
        db_array_text(&status, TRANSFER_STATUSES[t->transfer.status]);
        db_array_text(&reason, t->transfer.status_reason);
        db_array_decimal(&required, t->transfer.required);
        db_array_decimal(&usable, t->transfer.usable);
        db_array_time(&update_date, t->transfer.update_date);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &UPDATE_TRANSFERS, &args, columns, COUNT_OF(columns));
}

void store_save_batch(struct batch *b)
{
    const struct transfers_batch *s = state_of(b);
    save_new(b, s);
    save_answered(b, s);
}

/* ---- reads ---- */

static void read_list(struct arena *arena, const struct db_rows *rows, struct transfer_list *ret)
{
    ret->count = (size_t)db_count(rows);
    ret->items = ARENA_ARRAY(arena, struct transfer, ret->count + 1);
    ret->more = false;
    for (size_t i = 0; i < ret->count; i++)
        read_row(arena, rows, (int)i, &ret->items[i]);
}

enum err store_read_transfer(struct db *db, struct arena *arena, struct uuid id, int64_t customer_id,
                             struct transfer *ret, struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_uuid(&args, id);
    if (customer_id)
        db_arg_i64(&args, customer_id);
    else
        db_arg_null(&args);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_TRANSFER, &args, &rows, fault);
    if (e)
        return e;
    if (db_count(rows) == 0)
        return fault_set(fault, ERR_NOT_FOUND, "there is no such transaction");
    read_row(arena, rows, 0, ret);
    return ERR_OK;
}

enum err store_read_transfers_by_id(struct db *db, struct arena *arena, const struct uuid *ids, size_t count,
                                    struct transfer_list *ret, struct fault *fault)
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
    if (!e)
        read_list(arena, rows, ret);
    return e;
}

static void arg_statuses(struct db_args *args, unsigned statuses)
{
    if (!statuses) {
        db_arg_null(args);
        return;
    }
    struct db_array names;
    db_array_init(&names);
    for (int i = 0; TRANSFER_STATUSES[i]; i++)
        if (statuses & (1u << i))
            db_array_text(&names, TRANSFER_STATUSES[i]);
    db_arg_array(args, &names);
    db_array_done(&names);
}

enum err store_read_transfers(struct db *db, struct arena *arena, const struct transfer_filter *f,
                              struct transfer_list *ret, struct fault *fault)
{
    struct db_args args = db_args(arena);
    if (f->customer_id)
        db_arg_i64(&args, f->customer_id);
    else
        db_arg_null(&args);
    db_arg_text(&args, f->type < 0 ? NULL : TRANSFER_TYPES[f->type]);
    arg_statuses(&args, f->statuses);
    db_arg_time_or_null(&args, f->from);
    db_arg_time_or_null(&args, f->to);
    db_arg_time_or_null(&args, f->after.present ? f->after.at : 0);
    db_arg_uuid(&args, f->after.id);
    db_arg_i64(&args, f->limit + 1); /* one more tells whether there is a next page */

    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_TRANSFERS, &args, &rows, fault);
    if (e)
        return e;
    read_list(arena, rows, ret);
    ret->more = ret->count > (size_t)f->limit;
    if (ret->more)
        ret->count--;
    return ERR_OK;
}

void store_measure(struct db *db, int64_t *ret_pending, time_us_t *ret_oldest)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    struct fault fault;
    if (db_query(db, &MEASURE, &(struct db_args){.count = 0}, &rows, &fault))
        return; /* the lane finds out by itself that its session is lost */
    *ret_pending = db_i64(rows, 0, 0);
    *ret_oldest = db_null(rows, 0, 1) ? 0 : db_time(rows, 0, 1);
}
