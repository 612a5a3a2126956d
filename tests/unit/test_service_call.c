/* What handlers of writes share (service.h), as far as it needs no lane: whose resource is meant, and who acts. The rest is in
 * tests/integration/test_service.c. */
#include <string.h>

#include "svc/service.h"
#include "unit.h"

struct caller {
    enum token_role role;
    int64_t customer_id;
};
static const struct caller CUSTOMER = {ROLE_CUSTOMER, 17}, ADMIN = {ROLE_ADMIN, 1};

static struct call *call_by(const struct caller *caller)
{
    struct call *call = mem_alloc(sizeof *call);
    arena_init(&call->arena);
    call->claims.role = caller->role;
    call->claims.customer_id = caller->customer_id;
    return call;
}

static void call_end(struct call *call)
{
    arena_done(&call->arena);
    mem_free(call);
}

static void whose_resource_is_meant(void **state)
{
    (void)state;
    static const struct {
        const struct caller *caller;
        int64_t named;
        enum err err;
        int64_t meant;
        const char *why;
    } ROWS[] = {
        {&CUSTOMER, 18, ERR_NOT_FOUND, 0, "another customer's: as if it weren't there"},
        {&CUSTOMER, 1, ERR_NOT_FOUND, 0, "an admin's neither"},
        {&ADMIN, 0, ERR_INVALID, 0, "an admin must say for whom"},
        {&CUSTOMER, 0, ERR_OK, 17, "his own, unnamed"},
        {&CUSTOMER, 17, ERR_OK, 17, "his own, named"},
        {&ADMIN, 17, ERR_OK, 17, "a customer's, by an admin"},
        {&ADMIN, 1, ERR_OK, 1, "an admin's own, named"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct call *call = call_by(ROWS[i].caller);
        int64_t meant = 0;
        ROW_CHECK(call_customer(call, ROWS[i].named, "/customerId", &meant) == ROWS[i].err, ROWS[i].why);
        ROW_CHECK(meant == ROWS[i].meant, ROWS[i].why);
        ROW_CHECK(call->errors.count == (ROWS[i].err == ERR_INVALID ? 1 : 0), ROWS[i].why);
        if (ROWS[i].err == ERR_INVALID)
            assert_string_equal(call->errors.items[0].pointer, "/customerId");
        call_end(call);
    }
}

static void the_actor_is_the_role_and_the_number(void **state)
{
    (void)state;
    struct call *customer = call_by(&CUSTOMER), *admin = call_by(&ADMIN);
    assert_string_equal(service_actor(customer), "CUSTOMER:17");
    assert_string_equal(service_actor(admin), "ADMIN:1");
    call_end(customer);
    call_end(admin);
}

/* The route is the template: a key is one for a route, and its meaning must tell resources in the path apart. */
static void a_command_carries_its_key_and_route(void **state)
{
    (void)state;
    static const struct http_route ROUTE = {HTTP_POST, "/api/v1/orders/{id}/match", WHO_ADMIN, NULL, ROUTE_IDEMPOTENT};
    static const struct lane_verb VERB = {.name = "match"};
    struct call *call = call_by(&ADMIN);
    struct uuid id = uuid_v7();
    int args = 0;
    call->method = HTTP_POST;
    call->route = &ROUTE;
    call->path = "/api/v1/orders/0197a000-0000-7000-8000-000000000001/match";
    call->idempotency_key = "abcdefgh";

    const struct lane_item *item = service_command(call, &VERB, &args, 17, id, "HOUSE");
    assert_ptr_equal(item->verb, &VERB);
    assert_ptr_equal(item->args, &args);
    assert_ptr_equal(item->call, call);
    assert_string_equal(item->key, "abcdefgh");
    assert_string_equal(item->route, "POST /api/v1/orders/{id}/match");
    assert_string_equal(item->meaning, "HOUSE");
    assert_int_equal(item->customer_id, 17);
    assert_true(uuid_eq(item->resource_id, id));
    assert_null(item->event);
    call_end(call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_resource_is_meant),
        cmocka_unit_test(the_actor_is_the_role_and_the_number),
        cmocka_unit_test(a_command_carries_its_key_and_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
