#include "store_said.h"

#define uthash_malloc(size) arena_alloc(b->arena, size) /* tables live and die with the batch's arena */
#define uthash_free(pointer, size) ((void)0)
#include <uthash.h>

static const char *const KINDS[] = {[SAID_TRANSFER] = "TRANSFER", [SAID_ACCOUNT] = "ACCOUNT"};

static const struct db_stmt SAVE_POSTED = {
    "said_save_posted",
    "INSERT INTO posted_order (order_id, customer_id, version, reserved, matched_size, matched_value, asked_lane, "
    "asked_partition, asked_part_seq, told_at) "
    "SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::numeric[], $5::numeric[], $6::numeric[], "
    "$7::integer[], $8::integer[], $9::bigint[], $10::timestamptz[]) "
    "ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, reserved = excluded.reserved, "
    "matched_size = excluded.matched_size, matched_value = excluded.matched_value, asked_lane = excluded.asked_lane, "
    "asked_partition = excluded.asked_partition, asked_part_seq = excluded.asked_part_seq, told_at = excluded.told_at "
    "WHERE posted_order.version <= excluded.version",
};
/* In key order: question and answer come by two topics, and may be two lanes'. */
static const struct db_stmt SAVE_EXCHANGES = {
    "said_save_exchanges",
    "INSERT INTO exchange AS x (kind, id, customer_id, asked, done, refused, amount, required, asked_at, answered_at) "
    "SELECT g.* FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::integer[], $5::integer[], $6::integer[], "
    "$7::numeric[], $8::numeric[], $9::timestamptz[], $10::timestamptz[]) "
    "AS g (kind, id, customer_id, asked, done, refused, amount, required, asked_at, answered_at) ORDER BY g.kind, g.id "
    "ON CONFLICT (kind, id) DO UPDATE SET asked = x.asked + excluded.asked, done = x.done + excluded.done, "
    "refused = x.refused + excluded.refused, amount = coalesce(x.amount, excluded.amount), "
    "required = coalesce(x.required, excluded.required), asked_at = least(x.asked_at, excluded.asked_at), "
    "answered_at = least(x.answered_at, excluded.answered_at)",
};

struct said_order {
    struct uuid order_id;
    struct asset_outcome outcome;
    time_us_t at;
    UT_hash_handle hh;
};
struct exchange_key {
    struct uuid id;
    int64_t kind; /* as wide as its place, so that no padding is hashed */
};
struct said_exchange {
    struct exchange_key key;
    int64_t customer_id;
    int asked, done, refused;
    decimal_t amount, required;
    time_us_t asked_at, answered_at; /* 0: not in this batch */
    UT_hash_handle hh;
};

void said_posted(struct batch *b, struct said *s, const struct asset_outcome *outcome, time_us_t at)
{
    struct said_order *o;
    HASH_FIND(hh, s->orders, &outcome->order_id, sizeof outcome->order_id, o);
    if (o && outcome->version < o->outcome.version)
        return;
    if (!o) {
        o = ARENA_NEW(b->arena, struct said_order);
        o->order_id = outcome->order_id;
        HASH_ADD(hh, s->orders, order_id, sizeof o->order_id, o);
    }
    o->outcome = *outcome;
    o->at = at;
}

static struct said_exchange *exchange_of(struct batch *b, struct said *s, enum said_kind kind, struct uuid id,
                                         int64_t customer_id)
{
    const struct exchange_key key = {id, kind};
    struct said_exchange *x;
    HASH_FIND(hh, s->exchanges, &key, sizeof key, x);
    if (x)
        return x;
    x = ARENA_NEW(b->arena, struct said_exchange);
    x->key = key;
    x->customer_id = customer_id;
    x->amount = x->required = -1;
    HASH_ADD(hh, s->exchanges, key, sizeof x->key, x);
    return x;
}

void said_asked(struct batch *b, struct said *s, enum said_kind kind, struct uuid id, int64_t customer_id,
                decimal_t amount, time_us_t at)
{
    struct said_exchange *x = exchange_of(b, s, kind, id, customer_id);
    x->asked++;
    x->amount = amount;
    x->asked_at = at;
}

void said_answered(struct batch *b, struct said *s, enum said_kind kind, struct uuid id, int64_t customer_id, bool done,
                   decimal_t required, time_us_t at)
{
    struct said_exchange *x = exchange_of(b, s, kind, id, customer_id);
    x->done += done;
    x->refused += !done;
    x->required = required;
    x->answered_at = at;
}

/* ---- saves ---- */

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* Negative: it was not said. */
static void decimal_or_null(struct db_array *array, decimal_t value)
{
    if (value >= 0)
        db_array_decimal(array, value);
    else
        db_array_null(array);
}

static void save_posted(struct batch *b, const struct said *s)
{
    struct db_array order, customer, version, reserved, size, value, lane, partition, part_seq, at;
    struct db_array *columns[] = {&order, &customer, &version,   &reserved, &size,
                                  &value, &lane,     &partition, &part_seq, &at};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct said_order *o = s->orders; o; o = o->hh.next) {
        const struct asset_outcome *x = &o->outcome;
        db_array_uuid(&order, o->order_id);
        db_array_i64(&customer, x->customer_id);
        db_array_i64(&version, x->version);
        db_array_decimal(&reserved, x->reserved);
        decimal_or_null(&size, x->matched_size);
        decimal_or_null(&value, x->matched_value);
        db_array_i64(&lane, x->asked_lane);
        db_array_i64(&partition, x->asked_partition);
        db_array_i64(&part_seq, x->asked_part_seq);
        db_array_time(&at, o->at);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &SAVE_POSTED, &args, columns, COUNT_OF(columns));
}

static void save_exchanges(struct batch *b, const struct said *s)
{
    struct db_array kind, id, customer, asked, done, refused, amount, required, asked_at, answered_at;
    struct db_array *columns[] = {&kind,    &id,     &customer, &asked,    &done,
                                  &refused, &amount, &required, &asked_at, &answered_at};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct said_exchange *x = s->exchanges; x; x = x->hh.next) {
        db_array_text(&kind, KINDS[x->key.kind]);
        db_array_uuid(&id, x->key.id);
        db_array_i64(&customer, x->customer_id);
        db_array_i64(&asked, x->asked);
        db_array_i64(&done, x->done);
        db_array_i64(&refused, x->refused);
        decimal_or_null(&amount, x->amount);
        decimal_or_null(&required, x->required);
        db_array_time_or_null(&asked_at, x->asked_at);
        db_array_time_or_null(&answered_at, x->answered_at);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &SAVE_EXCHANGES, &args, columns, COUNT_OF(columns));
}

void said_save(struct batch *b, const struct said *s)
{
    save_posted(b, s);
    save_exchanges(b, s);
}
