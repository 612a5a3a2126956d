/* auth-svc's schema and SQL on a real PostgreSQL, in the rights of its own role. Its stories are told end to end (tests/e2e). */
#include <stdlib.h>

#include "auth-svc/checks.h"
#include "auth-svc/commands.h"
#include "auth-svc/events.h"
#include "auth-svc/migrations.h"
#include "support/audit.h"
#include "support/schema.h"
#include "svc/audit.h"
#include "unit/unit.h"

/* ---- what it answers for ---- */

static const struct planted PLANTED[] = {
    {"auth_sessions_are_of_one_user",
     "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, create_date, "
     "update_date) VALUES (7, 'name7', 'N', 'CUSTOMER', 'ACTIVE', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', true, now(), "
     "now()); INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, "
     "create_date, update_date) VALUES (8, 'name8', 'N', 'CUSTOMER', 'ACTIVE', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', "
     "true, now(), now()); INSERT INTO session (id, family, customer_id, refresh_hash, peer, create_date, expire_date) "
     "VALUES ('01890000-0000-7000-8000-000000000001', '01890000-0000-7000-8000-000000000001', 7, lpad('1', 64, 'a'), "
     "'::1', now(), now() + interval '1 day'); INSERT INTO session (id, family, customer_id, refresh_hash, peer, "
     "create_date, expire_date) VALUES ('01890000-0000-7000-8000-000000000002', "
     "'01890000-0000-7000-8000-000000000001', 8, lpad('2', 64, 'a'), '::1', now(), now() + interval '1 day')",
     "01890000-0000-7000-8000-000000000001 2"},
    {"auth_users_are_opened",
     "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, create_date, "
     "update_date) VALUES (7, 'name7', 'N', 'CUSTOMER', 'ACTIVE', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', false, now() "
     "- interval '31 s', now())",
     "7 20"},
    {"auth_an_admin_is_active",
     "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, create_date, "
     "update_date) VALUES (7, 'name7', 'N', 'ADMIN', 'DISABLED', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', true, now(), "
     "now()); INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, "
     "create_date, update_date) VALUES (8, 'name8', 'N', 'ADMIN', 'DISABLED', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', "
     "true, now(), now())",
     "2"},
    {NULL, NULL, NULL},
};

static const struct http_route ROUTES[] = {AUDIT_ROUTE, {HTTP_GET, NULL, WHO_ANYONE, NULL, 0}};
static void every_statement_can_be_run_the_migrations_add_up_and_each_check_finds_what_it_is_for(void **state)
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
        .routes = ROUTES,
        .migrations = AUTH_SVC_MIGRATIONS,
        .checks = AUTH_SVC_CHECKS,
    };
    struct stand *st = mem_alloc(sizeof *st);
    stand_open(st, &spec, "auth", "auth");
    assert_statements_are_sound(st, "auth-svc", NULL);
    assert_migrations_add_up(st);
    assert_checks_find(st, PLANTED);
    stand_close(st);
    mem_free(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statement_can_be_run_the_migrations_add_up_and_each_check_finds_what_it_is_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
