#include "store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define uthash_malloc(size) arena_alloc(b->arena, size) /* tables live and die with the batch's arena */
#define uthash_free(pointer, size) ((void)0)
#include <uthash.h>

#define BOOK_COLUMNS \
    "o.order_id, o.customer_id, o.asset, o.side, o.price, o.size, o.matched, o.status, o.version, o.create_date, " \
    "o.matched_value, o.told_at"
#define MATCH_COLUMNS \
    "m.match_id, m.asset, m.state, m.reached, m.legs, m.legs_open, m.actor, m.create_date, m.complete_date"
#define LEG_COLUMNS "l.match_id, l.order_id, l.position, l.state, l.settled, l.outcome, l.code, l.size, l.price"

static const struct db_stmt LOAD_ORDERS = {
    "book_load",
    "SELECT " BOOK_COLUMNS " FROM book_order o WHERE o.order_id = ANY ($1::uuid[])",
};
/* Locked in key order, so that two lanes never wait for each other in a ring. */
static const struct db_stmt LOCK_MATCHES = {
    "match_lock",
    "SELECT " MATCH_COLUMNS " FROM match m WHERE m.match_id = ANY ($1::uuid[]) ORDER BY m.match_id FOR UPDATE",
};
static const struct db_stmt LOCK_LEGS = {
    "match_lock_legs",
    "SELECT " LEG_COLUMNS
    " FROM match_leg l WHERE (l.match_id, l.order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) "
    "ORDER BY l.match_id, l.order_id FOR UPDATE OF l",
};
static const struct db_stmt LOCK_WAITING = {
    "match_lock_waiting",
    "SELECT " MATCH_COLUMNS " FROM match m WHERE m.state = 'BARRIER' ORDER BY m.match_id FOR UPDATE",
};
static const struct db_stmt LOAD_MARKS = {
    "match_load_marks",
    "SELECT k.match_id, k.lane, k.partition, k.part_seq FROM match m JOIN match_mark k ON k.match_id = m.match_id "
    "WHERE m.state = 'BARRIER'",
};
static const struct db_stmt LOAD_PENDING = {
    "book_load_pending",
    "SELECT " BOOK_COLUMNS " FROM book_order o WHERE o.status = 'PENDING' "
    "AND EXISTS (SELECT FROM match m WHERE m.state = 'BARRIER' AND m.reached AND (m.asset IS NULL OR m.asset = "
    "o.asset)) "
    "ORDER BY o.create_date, o.order_id LIMIT $1",
};
static const struct db_stmt SAVE_ORDERS = {
    "book_save",
    "INSERT INTO book_order (order_id, customer_id, asset, side, price, size, matched, status, version, create_date, "
    "matched_value, told_at) "
    "SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::numeric[], $6::numeric[], "
    "$7::numeric[], $8::text[], $9::bigint[], $10::timestamptz[], $11::numeric[], $12::timestamptz[]) "
    "ON CONFLICT (order_id) DO UPDATE SET matched = excluded.matched, status = excluded.status, version = "
    "excluded.version, matched_value = excluded.matched_value, told_at = excluded.told_at "
    "WHERE book_order.version < excluded.version",
};
static const struct db_stmt INSERT_MATCHES = {
    "match_insert",
    "INSERT INTO match (match_id, mode, asset, state, reached, legs, legs_open, actor, create_date, complete_date) "
    "SELECT g.match_id, 'HOUSE', g.asset, g.state, g.reached, g.legs, g.legs_open, g.actor, g.create_date, "
    "g.complete_date "
    "FROM unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[], $5::integer[], $6::integer[], $7::text[], "
    "$8::timestamptz[], $9::timestamptz[]) "
    "AS g (match_id, asset, state, reached, legs, legs_open, actor, create_date, complete_date)",
};
static const struct db_stmt UPDATE_MATCHES = {
    "match_update",
    "UPDATE match m SET state = g.state, reached = g.reached, legs = g.legs, legs_open = g.legs_open, "
    "complete_date = g.complete_date "
    "FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::integer[], $5::integer[], $6::timestamptz[]) "
    "AS g (match_id, state, reached, legs, legs_open, complete_date) WHERE m.match_id = g.match_id",
};
static const struct db_stmt INSERT_LEGS = {
    "match_insert_legs",
    "INSERT INTO match_leg (match_id, order_id, position, state, settled) "
    "SELECT g.match_id, g.order_id, g.position, 'REQUESTED', false "
    "FROM unnest($1::uuid[], $2::uuid[], $3::integer[]) AS g (match_id, order_id, position)",
};
static const struct db_stmt UPDATE_LEGS = {
    "match_update_legs",
    "UPDATE match_leg l SET state = g.state, settled = g.settled, outcome = g.outcome, code = g.code, size = g.size, "
    "price = g.price "
    "FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::boolean[], $5::text[], $6::text[], $7::numeric[], "
    "$8::numeric[]) "
    "AS g (match_id, order_id, state, settled, outcome, code, size, price) "
    "WHERE l.match_id = g.match_id AND l.order_id = g.order_id",
};
static const struct db_stmt INSERT_MARKS = {
    "match_insert_marks",
    "INSERT INTO match_mark (match_id, lane, partition, part_seq) "
    "SELECT * FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::bigint[]) ON CONFLICT DO NOTHING",
};
static const struct db_stmt READ_MATCH = {
    "match_read",
    "SELECT " MATCH_COLUMNS " FROM match m WHERE m.match_id = $1",
};
static const struct db_stmt READ_LEGS = {
    "match_read_legs",
    "SELECT " LEG_COLUMNS " FROM match_leg l WHERE l.match_id = $1 ORDER BY l.position",
};
static const struct db_stmt READ_MATCHES = {
    "match_list",
    "SELECT " MATCH_COLUMNS " FROM match m "
    "WHERE ($1::timestamptz IS NULL OR (m.create_date, m.match_id) < ($1::timestamptz, $2::uuid)) "
    "ORDER BY m.create_date DESC, m.match_id DESC LIMIT $3",
};
static const struct db_stmt READ_DONE = {
    "match_read_done",
    "SELECT " MATCH_COLUMNS " FROM match m WHERE m.match_id = ANY ($1::uuid[]) AND m.state = 'DONE'",
};
static const struct db_stmt READ_PENDING = {
    "book_read_pending",
    "SELECT " BOOK_COLUMNS " FROM book_order o WHERE o.status = 'PENDING' AND ($1::text IS NULL OR o.asset = $1) "
    "ORDER BY o.create_date, o.order_id LIMIT $2",
};
static const struct db_stmt MEASURE = {
    "match_measure",
    "SELECT count(*), min(create_date) FROM match WHERE state <> 'DONE'",
};

/* ---- rows ---- */

static struct book_order read_order(struct arena *arena, const struct db_rows *rows, int r)
{
    return (struct book_order){.id = db_uuid(rows, r, 0),
                               .customer_id = db_i64(rows, r, 1),
                               .asset = arena_strdup(arena, db_text(rows, r, 2)),
                               .side = (enum order_side)db_choice(rows, r, 3, ORDER_SIDES),
                               .price = db_decimal(rows, r, 4),
                               .size = db_decimal(rows, r, 5),
                               .matched = db_decimal(rows, r, 6),
                               .status = (enum order_status)db_choice(rows, r, 7, ORDER_STATUSES),
                               .version = db_i64(rows, r, 8),
                               .create_date = db_time(rows, r, 9),
                               .matched_value = db_null(rows, r, 10) ? 0 : db_decimal(rows, r, 10),
                               .told_at = db_null(rows, r, 11) ? 0 : db_time(rows, r, 11)};
}

static struct match read_match(struct arena *arena, const struct db_rows *rows, int r)
{
    return (struct match){.id = db_uuid(rows, r, 0),
                          .asset = db_text_copy(rows, r, 1, arena),
                          .state = (enum match_state)db_choice(rows, r, 2, MATCH_STATES),
                          .reached = db_bool(rows, r, 3),
                          .legs = (int)db_i64(rows, r, 4),
                          .legs_open = (int)db_i64(rows, r, 5),
                          .actor = arena_strdup(arena, db_text(rows, r, 6)),
                          .create_date = db_time(rows, r, 7),
                          .complete_date = db_null(rows, r, 8) ? 0 : db_time(rows, r, 8)};
}

static struct leg read_leg(struct arena *arena, const struct db_rows *rows, int r)
{
    return (struct leg){.match_id = db_uuid(rows, r, 0),
                        .order_id = db_uuid(rows, r, 1),
                        .position = (int)db_i64(rows, r, 2),
                        .state = (enum leg_state)db_choice(rows, r, 3, LEG_STATES),
                        .settled = db_bool(rows, r, 4),
                        .outcome = (enum outcome)db_choice(rows, r, 5, OUTCOMES),
                        .code = db_text_copy(rows, r, 6, arena),
                        .size = db_decimal(rows, r, 7),
                        .price = db_decimal(rows, r, 8)};
}

/* ---- a batch ---- */

struct batch_order {
    struct book_order order; /* first */
    bool learned;
    UT_hash_handle hh;
};
struct batch_match {
    struct match match; /* first */
    bool is_new, touched;
    UT_hash_handle hh;
};
struct leg_key {
    struct uuid match_id, order_id;
};
struct batch_leg {
    struct leg leg; /* first; its first two members are the key */
    bool is_new, touched;
    UT_hash_handle hh;
};
struct batch_mark {
    struct batch_mark *next;
    struct uuid match_id;
    struct lane_mark mark;
    bool is_new;
};

static struct matching_batch *state_of(struct batch *b)
{
    struct matching_batch *s = b->state;
    if (s->ready)
        return s;
    s->ready = true;
    db_array_init(&s->order_ids);
    db_array_init(&s->match_ids);
    db_array_init(&s->leg_matches);
    db_array_init(&s->leg_orders);
    return s;
}

struct said *store_said(struct batch *b)
{
    return &state_of(b)->said;
}

void store_want_order(struct batch *b, struct uuid order_id)
{
    db_array_uuid(&state_of(b)->order_ids, order_id);
}

void store_want_match(struct batch *b, struct uuid match_id)
{
    db_array_uuid(&state_of(b)->match_ids, match_id);
}

void store_want_leg(struct batch *b, struct uuid match_id, struct uuid order_id)
{
    store_want_match(b, match_id);
    db_array_uuid(&state_of(b)->leg_matches, match_id);
    db_array_uuid(&state_of(b)->leg_orders, order_id);
}

void store_want_waiting(struct batch *b)
{
    state_of(b)->wants_waiting = true;
}

static struct batch_order *keep_order(struct batch *b, const struct book_order *order)
{
    struct batch_order *o;
    HASH_FIND(hh, state_of(b)->orders, &order->id, sizeof order->id, o);
    if (o)
        return o;
    o = ARENA_NEW(b->arena, struct batch_order);
    o->order = *order;
    HASH_ADD(hh, state_of(b)->orders, order.id, sizeof o->order.id, o);
    return o;
}

static struct batch_match *keep_match(struct batch *b, const struct match *match)
{
    struct batch_match *m;
    HASH_FIND(hh, state_of(b)->matches, &match->id, sizeof match->id, m);
    if (m)
        return m;
    m = ARENA_NEW(b->arena, struct batch_match);
    m->match = *match;
    HASH_ADD(hh, state_of(b)->matches, match.id, sizeof m->match.id, m);
    return m;
}

static struct batch_leg *find_leg(struct batch *b, struct uuid match_id, struct uuid order_id)
{
    struct leg_key key = {match_id, order_id};
    struct batch_leg *l;
    HASH_FIND(hh, state_of(b)->legs, &key, sizeof key, l);
    return l;
}

static struct batch_leg *keep_leg(struct batch *b, const struct leg *leg)
{
    _Static_assert(offsetof(struct leg, order_id) == sizeof(struct uuid), "the two ids are the key");
    struct batch_leg *l = ARENA_NEW(b->arena, struct batch_leg);
    l->leg = *leg;
    HASH_ADD(hh, state_of(b)->legs, leg.match_id, sizeof(struct leg_key), l);
    return l;
}

static struct batch_mark *keep_mark(struct batch *b, struct uuid match_id, struct lane_mark mark)
{
    struct batch_mark *k = ARENA_NEW(b->arena, struct batch_mark);
    *k = (struct batch_mark){state_of(b)->marks, match_id, mark, false};
    state_of(b)->marks = k;
    return k;
}

static void on_orders(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct book_order o = read_order(b->arena, rows, r);
        keep_order(b, &o);
    }
}

static void on_matches(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct match m = read_match(b->arena, rows, r);
        keep_match(b, &m);
    }
}

static void on_legs(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct leg l = read_leg(b->arena, rows, r);
        keep_leg(b, &l);
    }
}

static void on_marks(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++)
        keep_mark(b, db_uuid(rows, r, 0),
                  (struct lane_mark){(int)db_i64(rows, r, 1), (int)db_i64(rows, r, 2), db_i64(rows, r, 3)});
}

static void load_by(struct batch *b, const struct db_stmt *stmt, struct db_array *ids, db_on_rows *on_rows)
{
    if (ids->count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, ids);
        db_enqueue(b->db, stmt, &args, on_rows, b);
    }
    db_array_done(ids);
}

void store_load_batch(struct batch *b)
{
    struct matching_batch *s = state_of(b);
    load_by(b, &LOAD_ORDERS, &s->order_ids, on_orders);
    load_by(b, &LOCK_MATCHES, &s->match_ids, on_matches);
    if (s->leg_matches.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &s->leg_matches);
        db_arg_array(&args, &s->leg_orders);
        db_enqueue(b->db, &LOCK_LEGS, &args, on_legs, b);
    }
    db_array_done(&s->leg_matches);
    db_array_done(&s->leg_orders);
    if (!s->wants_waiting)
        return;
    struct db_args none = {.count = 0};
    db_enqueue(b->db, &LOCK_WAITING, &none, on_matches, b);
    db_enqueue(b->db, &LOAD_MARKS, &none, on_marks, b);
    struct db_args args = db_args(b->arena);
    db_arg_i64(&args, MATCH_LEGS_MAX);
    db_enqueue(b->db, &LOAD_PENDING, &args, on_orders, b);
}

struct book_order *store_order(struct batch *b, struct uuid order_id)
{
    struct batch_order *o;
    HASH_FIND(hh, state_of(b)->orders, &order_id, sizeof order_id, o);
    return o ? &o->order : NULL;
}

struct match *store_match(struct batch *b, struct uuid match_id)
{
    struct batch_match *m;
    HASH_FIND(hh, state_of(b)->matches, &match_id, sizeof match_id, m);
    return m ? &m->match : NULL;
}

struct leg *store_leg(struct batch *b, struct uuid match_id, struct uuid order_id)
{
    struct batch_leg *l = find_leg(b, match_id, order_id);
    return l ? &l->leg : NULL;
}

void store_learn(struct batch *b, const struct book_order *order)
{
    struct batch_order *o = keep_order(b, order);
    if (order->version < o->order.version)
        return;
    o->order = *order;
    o->learned = true;
}

void store_add_match(struct batch *b, const struct match *m)
{
    keep_match(b, m)->is_new = true;
}

void store_touch_match(struct batch *b, struct match *m)
{
    (void)b;
    ((struct batch_match *)m)->touched = true;
}

void store_add_leg(struct batch *b, const struct leg *leg)
{
    keep_leg(b, leg)->is_new = true;
}

void store_touch_leg(struct batch *b, struct leg *leg)
{
    (void)b;
    ((struct batch_leg *)leg)->touched = true;
}

void store_add_mark(struct batch *b, struct uuid match_id, struct lane_mark mark)
{
    keep_mark(b, match_id, mark)->is_new = true;
}

size_t store_waiting(struct batch *b, struct match ***ret_matches)
{
    struct matching_batch *s = state_of(b);
    struct match **list = ARENA_ARRAY(b->arena, struct match *, HASH_COUNT(s->matches) + 1);
    size_t count = 0;
    for (struct batch_match *m = s->matches; m; m = m->hh.next)
        if (m->match.state == MATCH_BARRIER)
            list[count++] = &m->match;
    *ret_matches = list;
    return count;
}

size_t store_marks(struct batch *b, struct uuid match_id, struct lane_mark **ret_marks)
{
    size_t count = 0;
    for (const struct batch_mark *k = state_of(b)->marks; k; k = k->next)
        count += uuid_eq(k->match_id, match_id);
    struct lane_mark *marks = ARENA_ARRAY(b->arena, struct lane_mark, count + 1);
    size_t n = 0;
    for (const struct batch_mark *k = state_of(b)->marks; k; k = k->next)
        if (uuid_eq(k->match_id, match_id))
            marks[n++] = k->mark;
    *ret_marks = marks;
    return count;
}

static int oldest_first(const void *a, const void *b)
{
    const struct book_order *const *x = a, *const *y = b;
    if ((*x)->create_date != (*y)->create_date)
        return (*x)->create_date < (*y)->create_date ? -1 : 1;
    return uuid_cmp((*x)->id, (*y)->id);
}

size_t store_pending(struct batch *b, const char *asset, struct book_order ***ret_orders)
{
    struct matching_batch *s = state_of(b);
    struct book_order **list = ARENA_ARRAY(b->arena, struct book_order *, HASH_COUNT(s->orders) + 1);
    size_t count = 0;
    for (struct batch_order *o = s->orders; o; o = o->hh.next)
        if (o->order.status == ORDER_PENDING && (!asset || strcmp(asset, o->order.asset) == 0))
            list[count++] = &o->order;
    qsort(list, count, sizeof *list, oldest_first);
    *ret_orders = list;
    return count < MATCH_LEGS_MAX ? count : MATCH_LEGS_MAX;
}

void store_each_done(struct batch *b, void (*done)(void *arg, const struct match *m), void *arg)
{
    for (const struct batch_match *m = state_of(b)->matches; m; m = m->hh.next)
        if ((m->touched || m->is_new) && m->match.state == MATCH_DONE)
            done(arg, &m->match);
}

/* ---- saves ---- */

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static void save_orders(struct batch *b, const struct matching_batch *s)
{
    struct db_array id, customer, asset, side, price, size, matched, status, version, create_date, value, told_at;
    struct db_array *columns[] = {&id,      &customer, &asset,   &side,        &price, &size,
                                  &matched, &status,   &version, &create_date, &value, &told_at};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_order *o = s->orders; o; o = o->hh.next) {
        if (!o->learned)
            continue;
        db_array_uuid(&id, o->order.id);
        db_array_i64(&customer, o->order.customer_id);
        db_array_text(&asset, o->order.asset);
        db_array_text(&side, ORDER_SIDES[o->order.side]);
        db_array_decimal(&price, o->order.price);
        db_array_decimal(&size, o->order.size);
        db_array_decimal(&matched, o->order.matched);
        db_array_text(&status, ORDER_STATUSES[o->order.status]);
        db_array_i64(&version, o->order.version);
        db_array_time(&create_date, o->order.create_date);
        db_array_decimal(&value, o->order.matched_value);
        db_array_time(&told_at, o->order.told_at);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &SAVE_ORDERS, &args, columns, COUNT_OF(columns));
}

static void save_new_matches(struct batch *b, const struct matching_batch *s)
{
    struct db_array id, asset, state, reached, legs, legs_open, actor, create_date, complete_date;
    struct db_array *columns[] = {&id,        &asset, &state,       &reached,      &legs,
                                  &legs_open, &actor, &create_date, &complete_date};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_match *m = s->matches; m; m = m->hh.next) {
        if (!m->is_new)
            continue;
        db_array_uuid(&id, m->match.id);
        db_array_text(&asset, m->match.asset);
        db_array_text(&state, MATCH_STATES[m->match.state]);
        db_array_bool(&reached, m->match.reached);
        db_array_i64(&legs, m->match.legs);
        db_array_i64(&legs_open, m->match.legs_open);
        db_array_text(&actor, m->match.actor);
        db_array_time(&create_date, m->match.create_date);
        db_array_time_or_null(&complete_date, m->match.complete_date);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &INSERT_MATCHES, &args, columns, COUNT_OF(columns));
}

static void save_touched_matches(struct batch *b, const struct matching_batch *s)
{
    struct db_array id, state, reached, legs, legs_open, complete_date;
    struct db_array *columns[] = {&id, &state, &reached, &legs, &legs_open, &complete_date};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_match *m = s->matches; m; m = m->hh.next) {
        if (!m->touched || m->is_new)
            continue;
        db_array_uuid(&id, m->match.id);
        db_array_text(&state, MATCH_STATES[m->match.state]);
        db_array_bool(&reached, m->match.reached);
        db_array_i64(&legs, m->match.legs);
        db_array_i64(&legs_open, m->match.legs_open);
        db_array_time_or_null(&complete_date, m->match.complete_date);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &UPDATE_MATCHES, &args, columns, COUNT_OF(columns));
}

static void save_new_legs(struct batch *b, const struct matching_batch *s)
{
    struct db_array match, order, position;
    struct db_array *columns[] = {&match, &order, &position};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_leg *l = s->legs; l; l = l->hh.next) {
        if (!l->is_new)
            continue;
        db_array_uuid(&match, l->leg.match_id);
        db_array_uuid(&order, l->leg.order_id);
        db_array_i64(&position, l->leg.position);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &INSERT_LEGS, &args, columns, COUNT_OF(columns));
}

static void save_touched_legs(struct batch *b, const struct matching_batch *s)
{
    struct db_array match, order, state, settled, outcome, code, size, price;
    struct db_array *columns[] = {&match, &order, &state, &settled, &outcome, &code, &size, &price};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_leg *l = s->legs; l; l = l->hh.next) {
        if (!l->touched)
            continue;
        db_array_uuid(&match, l->leg.match_id);
        db_array_uuid(&order, l->leg.order_id);
        db_array_text(&state, LEG_STATES[l->leg.state]);
        db_array_bool(&settled, l->leg.settled);
        db_array_text(&outcome, OUTCOMES[l->leg.outcome]);
        db_array_text(&code, l->leg.code);
        db_array_decimal(&size, l->leg.size);
        db_array_decimal(&price, l->leg.price);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &UPDATE_LEGS, &args, columns, COUNT_OF(columns));
}

static void save_marks(struct batch *b, const struct matching_batch *s)
{
    struct db_array match, lane, partition, part_seq;
    struct db_array *columns[] = {&match, &lane, &partition, &part_seq};
    db_arrays_init(columns, COUNT_OF(columns));
    for (const struct batch_mark *k = s->marks; k; k = k->next) {
        if (!k->is_new)
            continue;
        db_array_uuid(&match, k->match_id);
        db_array_i64(&lane, k->mark.lane);
        db_array_i64(&partition, k->mark.partition);
        db_array_i64(&part_seq, k->mark.part_seq);
    }
    struct db_args args = db_args(b->arena);
    db_enqueue_arrays(b->db, &INSERT_MARKS, &args, columns, COUNT_OF(columns));
}

void store_save_batch(struct batch *b)
{
    const struct matching_batch *s = state_of(b);
    save_orders(b, s);
    save_new_matches(b, s);
    save_touched_matches(b, s);
    save_new_legs(b, s);
    save_touched_legs(b, s);
    save_marks(b, s);
    said_save(b, &s->said);
}

/* ---- reads ---- */

enum err store_read_match(struct db *db, struct arena *arena, struct uuid id, struct match *ret, struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_uuid(&args, id);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_MATCH, &args, &rows, fault);
    if (e)
        return e;
    if (db_count(rows) == 0)
        return fault_set(fault, ERR_NOT_FOUND, "there is no such match");
    *ret = read_match(arena, rows, 0);
    return ERR_OK;
}

enum err store_read_legs(struct db *db, struct arena *arena, struct uuid id, struct leg **ret, size_t *ret_count,
                         struct fault *fault)
{
    struct db_args args = db_args(arena);
    db_arg_uuid(&args, id);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_LEGS, &args, &rows, fault);
    if (e)
        return e;
    *ret_count = (size_t)db_count(rows);
    *ret = ARENA_ARRAY(arena, struct leg, *ret_count + 1);
    for (int r = 0; r < db_count(rows); r++)
        (*ret)[r] = read_leg(arena, rows, r);
    return ERR_OK;
}

static void read_matches(struct arena *arena, const struct db_rows *rows, struct match_list *ret)
{
    *ret = (struct match_list){.count = (size_t)db_count(rows)};
    ret->items = ARENA_ARRAY(arena, struct match, ret->count + 1);
    for (int r = 0; r < db_count(rows); r++)
        ret->items[r] = read_match(arena, rows, r);
}

enum err store_read_matches(struct db *db, struct arena *arena, const struct cursor *after, int64_t limit,
                            struct match_list *ret, struct fault *fault)
{
    struct db_args args = db_args(arena);
    if (after->present)
        db_arg_time(&args, after->at);
    else
        db_arg_null(&args);
    db_arg_uuid(&args, after->id);
    db_arg_i64(&args, limit + 1); /* one more tells whether there is a next page */
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_MATCHES, &args, &rows, fault);
    if (e)
        return e;
    read_matches(arena, rows, ret);
    ret->more = ret->count > (size_t)limit;
    if (ret->more)
        ret->count--;
    return ERR_OK;
}

static void arg_ids(struct db_args *args, const struct uuid *ids, size_t count)
{
    struct db_array array;
    db_array_init(&array);
    for (size_t i = 0; i < count; i++)
        db_array_uuid(&array, ids[i]);
    db_arg_array(args, &array);
    db_array_done(&array);
}

enum err store_read_done(struct db *db, struct arena *arena, const struct uuid *ids, size_t count,
                         struct match_list *ret, struct fault *fault)
{
    struct db_args args = db_args(arena);
    arg_ids(&args, ids, count);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ_DONE, &args, &rows, fault);
    if (!e)
        read_matches(arena, rows, ret);
    return e;
}

enum err store_read_book(struct db *db, struct arena *arena, const struct uuid *ids, size_t count, const char *asset,
                         struct book_order **ret, size_t *ret_count, struct fault *fault)
{
    struct db_args args = db_args(arena);
    if (ids) {
        arg_ids(&args, ids, count);
    } else {
        db_arg_text(&args, asset);
        db_arg_i64(&args, MATCH_LEGS_MAX);
    }
    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, ids ? &LOAD_ORDERS : &READ_PENDING, &args, &rows, fault);
    if (e)
        return e;
    *ret_count = (size_t)db_count(rows);
    *ret = ARENA_ARRAY(arena, struct book_order, *ret_count + 1);
    for (int r = 0; r < db_count(rows); r++)
        (*ret)[r] = read_order(arena, rows, r);
    return ERR_OK;
}

void store_measure(struct db *db, int64_t *ret_open, time_us_t *ret_oldest)
{
    CLEANUP_ROWS struct db_rows *rows = NULL;
    struct fault fault;
    if (db_query(db, &MEASURE, &(struct db_args){.count = 0}, &rows, &fault))
        return; /* the lane finds out by itself that its session is lost */
    *ret_open = db_i64(rows, 0, 0);
    *ret_oldest = db_null(rows, 0, 1) ? 0 : db_time(rows, 0, 1);
}
