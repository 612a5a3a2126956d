#include <string.h>

#include "svc/lane_private.h"

/* The table lives and dies with the batch's arena. */
#define uthash_malloc(size) arena_alloc(b->arena, size)
#define uthash_free(pointer, size) ((void)0)
#include <uthash.h>

struct idempotency_row {
    struct idempotency_row *next; /* in made, newest first */
    const char *scope;            /* "17 POST /api/v1/orders key": the hash key */
    int64_t customer_id;
    const char *route, *key, *meaning;
    struct uuid resource_id;
    UT_hash_handle hh;
};

/* The keys of the batch, by primary key. */
static const struct db_stmt LOAD_KEYS = {
    "idempotency_load",
    "SELECT i.customer_id, i.route, i.key, i.meaning, i.resource_id "
    "FROM unnest($1::bigint[], $2::text[], $3::text[]) AS g (customer_id, route, key) "
    "JOIN idempotency i ON i.customer_id = g.customer_id AND i.route = g.route AND i.key = g.key",
};
static const struct db_stmt SAVE_KEYS = {
    "idempotency_save",
    "INSERT INTO idempotency (customer_id, route, key, meaning, resource_id, created_at) "
    "SELECT g.customer_id, g.route, g.key, g.meaning, g.resource_id, $1 "
    "FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::uuid[]) "
    "AS g (customer_id, route, key, meaning, resource_id)",
};
static const struct db_stmt FORGET_KEYS = {
    "idempotency_forget",
    "DELETE FROM idempotency WHERE resource_id = ANY ($1::uuid[])",
};

static char *scope_of(struct arena *arena, int64_t customer_id, const char *route, const char *key)
{
    return arena_printf(arena, "%lld %s %s", (long long)customer_id, route, key);
}

static void remember(struct batch *b, struct idempotency_row *row)
{
    row->scope = scope_of(b->arena, row->customer_id, row->route, row->key);
    struct idempotency *keys = &b->lane->keys;
    struct idempotency_row *old;
    HASH_FIND_STR(keys->known, row->scope, old);
    if (!old)
        HASH_ADD_KEYPTR(hh, keys->known, row->scope, strlen(row->scope), row);
}

static void on_keys(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++) {
        struct idempotency_row *row = ARENA_NEW(b->arena, struct idempotency_row);
        row->customer_id = db_i64(rows, r, 0);
        row->route = arena_strdup(b->arena, db_text(rows, r, 1));
        row->key = arena_strdup(b->arena, db_text(rows, r, 2));
        row->meaning = arena_strdup(b->arena, db_text(rows, r, 3));
        row->resource_id = db_uuid(rows, r, 4);
        remember(b, row);
    }
}

void idempotency_load(struct batch *b)
{
    struct idempotency *keys = &b->lane->keys;
    *keys = (struct idempotency){.forgotten = NULL};

    struct db_array customer, route, key;
    db_array_init(&customer);
    db_array_init(&route);
    db_array_init(&key);
    for (size_t i = 0; i < b->count; i++) {
        const struct lane_item *it = b->items[i];
        if (!it->key)
            continue;
        db_array_i64(&customer, it->customer_id);
        db_array_text(&route, it->route);
        db_array_text(&key, it->key);
    }
    if (customer.count) {
        struct db_args args = db_args(b->arena);
        db_arg_array(&args, &customer);
        db_arg_array(&args, &route);
        db_arg_array(&args, &key);
        db_enqueue(b->db, &LOAD_KEYS, &args, on_keys, b);
    }
    db_array_done(&customer);
    db_array_done(&route);
    db_array_done(&key);
}

bool idempotency_admits(struct batch *b, struct lane_item *it)
{
    if (!it->key)
        return true;

    const char *scope = scope_of(b->arena, it->customer_id, it->route, it->key);
    struct idempotency_row *row;
    HASH_FIND_STR(b->lane->keys.known, scope, row);
    if (!row)
        return true;

    if (strcmp(row->meaning, it->meaning) != 0) {
        it->err = fault_set(&it->fault, ERR_IDEMPOTENCY_KEY_REUSED,
                            "this Idempotency-Key was used for a request with another meaning");
        return false;
    }
    it->replayed = true;
    it->resource_id = row->resource_id;
    return false;
}

void idempotency_claim(struct batch *b, struct lane_item *it)
{
    if (!it->key)
        return;

    struct idempotency_row *row = ARENA_NEW(b->arena, struct idempotency_row);
    row->customer_id = it->customer_id;
    row->route = it->route;
    row->key = it->key;
    row->meaning = it->meaning;
    row->resource_id = it->resource_id;
    row->next = b->lane->keys.made;
    b->lane->keys.made = row;
    remember(b, row);
}

void batch_forget_key(struct batch *b, struct uuid resource_id)
{
    struct idempotency *keys = &b->lane->keys;
    if (!keys->forgotten)
        keys->forgotten = ARENA_ARRAY(b->arena, struct uuid, b->count);
    if (keys->forgotten_count < b->count)
        keys->forgotten[keys->forgotten_count++] = resource_id;
}

static void save_made(struct batch *b, const struct idempotency *keys)
{
    struct db_array customer, route, key, meaning, resource;
    struct db_array *all[] = {&customer, &route, &key, &meaning, &resource};
    enum { COLUMNS = sizeof all / sizeof all[0] };
    for (size_t i = 0; i < COLUMNS; i++)
        db_array_init(all[i]);
    for (const struct idempotency_row *r = keys->made; r; r = r->next) {
        db_array_i64(&customer, r->customer_id);
        db_array_text(&route, r->route);
        db_array_text(&key, r->key);
        db_array_text(&meaning, r->meaning);
        db_array_uuid(&resource, r->resource_id);
    }

    struct db_args args = db_args(b->arena);
    db_arg_time(&args, b->now);
    for (size_t i = 0; i < COLUMNS; i++) {
        db_arg_array(&args, all[i]);
        db_array_done(all[i]);
    }
    db_enqueue(b->db, &SAVE_KEYS, &args, NULL, NULL);
}

void idempotency_save(struct batch *b)
{
    const struct idempotency *keys = &b->lane->keys;
    if (keys->made)
        save_made(b, keys);
    if (!keys->forgotten_count)
        return;

    struct db_array ids;
    db_array_init(&ids);
    for (size_t i = 0; i < keys->forgotten_count; i++)
        db_array_uuid(&ids, keys->forgotten[i]);
    struct db_args args = db_args(b->arena);
    db_arg_array(&args, &ids);
    db_array_done(&ids);
    db_enqueue(b->db, &FORGET_KEYS, &args, NULL, NULL);
}
