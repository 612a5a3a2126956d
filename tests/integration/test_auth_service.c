/* auth-svc's schema and SQL on a real PostgreSQL, in the rights of its own role. Its stories are told end to end (tests/e2e). */
#include <stdlib.h>

#include "auth-svc/commands.h"
#include "auth-svc/events.h"
#include "auth-svc/migrations.h"
#include "support/schema.h"
#include "unit/unit.h"

static const struct http_route NO_ROUTES[] = {{HTTP_GET, NULL, WHO_ANYONE, NULL, 0}};
static void every_statement_can_be_run_and_the_migrations_add_up(void **state)
{
    (void)state;
    struct lane_ops ops = AUTH_SVC_OPS;
    ops.measure = NULL; /* it wants the whole service */
    const struct service_spec spec = {
        .name = "auth-svc",
        .schema = "auth",
        .topic = "auth-events",
        .consumes = AUTH_SVC_CONSUMES,
        .kinds = AUTH_SVC_KINDS,
        .ops = &ops,
        .routes = NO_ROUTES,
        .migrations = AUTH_SVC_MIGRATIONS,
    };
    struct stand *st = mem_alloc(sizeof *st);
    stand_open(st, &spec, "auth", "auth");
    assert_statements_are_sound(st, "auth-svc", NULL);
    assert_migrations_add_up(st);
    stand_close(st);
    mem_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statement_can_be_run_and_the_migrations_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
