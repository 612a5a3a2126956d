#include "svc/customers.h"

#include "events/user_event.h"
#include "svc/lane_private.h"

static const struct db_stmt LOAD_CUSTOMERS = {
    "customers_load",
    "SELECT customer_id FROM customer WHERE customer_id = ANY ($1::bigint[])",
};
static const struct db_stmt SAVE_CUSTOMERS = {
    "customers_save",
    "INSERT INTO customer (customer_id, registered_at) SELECT c.id, $1 FROM unnest($2::bigint[]) AS c (id) "
    "ON CONFLICT DO NOTHING",
};

static void push(struct batch *b, struct customer_ids *ids, int64_t id)
{
    struct customer_id *x = ARENA_NEW(b->arena, struct customer_id);
    *x = (struct customer_id){.next = ids->first, .id = id};
    ids->first = x;
}

static bool has(const struct customer_ids *ids, int64_t id)
{
    for (const struct customer_id *x = ids->first; x; x = x->next)
        if (x->id == id)
            return true;
    return false;
}

void customers_want(struct batch *b, int64_t customer_id)
{
    push(b, &b->lane->customers.wanted, customer_id);
}

bool customers_known(struct batch *b, int64_t customer_id)
{
    return has(&b->lane->customers.known, customer_id) || has(&b->lane->customers.added, customer_id);
}

void customers_add(struct batch *b, int64_t customer_id)
{
    push(b, &b->lane->customers.added, customer_id);
}

static void on_customers(void *arg, const struct db_rows *rows)
{
    struct batch *b = arg;
    for (int r = 0; r < db_count(rows); r++)
        push(b, &b->lane->customers.known, db_i64(rows, r, 0));
}

static void id_array(struct db_array *array, const struct customer_ids *ids)
{
    db_array_init(array);
    for (const struct customer_id *x = ids->first; x; x = x->next)
        db_array_i64(array, x->id);
}

void customers_load(struct batch *b)
{
    const struct customers *c = &b->lane->customers;
    if (!c->wanted.first)
        return;
    struct db_array ids;
    id_array(&ids, &c->wanted);
    struct db_args args = db_args(b->arena);
    db_arg_array(&args, &ids);
    db_array_done(&ids);
    db_enqueue(b->db, &LOAD_CUSTOMERS, &args, on_customers, b);
}

void customers_save(struct batch *b)
{
    const struct customers *c = &b->lane->customers;
    if (!c->added.first)
        return;
    struct db_array ids;
    id_array(&ids, &c->added);
    struct db_args args = db_args(b->arena);
    db_arg_time(&args, b->now);
    db_arg_array(&args, &ids);
    db_array_done(&ids);
    db_enqueue(b->db, &SAVE_CUSTOMERS, &args, NULL, NULL);
}

enum err customers_check(struct batch *b, struct lane_item *it, int64_t customer_id)
{
    bool by_admin = it->call && it->call->has_token && it->call->claims.customer_id != customer_id;
    if (!by_admin || customers_known(b, customer_id))
        return ERR_OK;
    return fault_set(&it->fault, ERR_NOT_FOUND, "there is no customer %lld", (long long)customer_id);
}

enum err customers_decode(const struct event *e, struct arena *arena, void **ret_args, int64_t *ret_customer_id,
                          struct fault *fault)
{
    struct user_registered *user = ARENA_NEW(arena, struct user_registered);
    enum err err = user_registered_decode(e->data, arena, user, fault);
    if (err)
        return err;
    *ret_args = user;
    *ret_customer_id = user->customer_id;
    return ERR_OK;
}

static void decide_registered(struct batch *b, struct lane_item *it)
{
    const struct user_registered *user = it->args;
    customers_add(b, user->customer_id);
}

const struct lane_verb CUSTOMERS_REGISTERED = {.name = "user.registered", .decide = decide_registered};
