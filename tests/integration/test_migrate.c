/* migrate.h against a real PostgreSQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "io/migrate.h"
#include "support/need_env.h"

enum { OPEN_MS = 5000, REPLICAS = 6 };
#define SCHEMA "test_migrate"

static const struct migration COMMON[] = {
    {1, "pipeline", "CREATE TABLE lane (n int); CREATE TABLE outbox (n int)"},
    {0},
};
static const struct migration OWN_1[] = {
    {1, "orders", "CREATE TABLE orders (n int)"},
    {0},
};
static const struct migration OWN_3[] = {
    {1, "orders", "CREATE TABLE orders (n int)"},
    {2, "kind", "ALTER TABLE orders ADD kind text; INSERT INTO orders VALUES (1, 'a')"},
    {4, "later", "CREATE FUNCTION half() RETURNS text LANGUAGE sql AS $$ SELECT 'a; b' $$"},
    {0},
};

static struct db *open_db(void)
{
    struct db_conf conf = {.url = need_env("TEST_DB_URL"),
                           .password = getenv("TEST_DB_PASSWORD"),
                           .plan = DB_PLAN_OWNER,
                           .application_name = "test_migrate"};
    struct fault fault = {0};
    struct db *db = NULL;
    if (db_open(&conf, OPEN_MS, &db, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return db;
}

static void run(struct db *db, const char *sql)
{
    struct fault fault = {0};
    if (db_run(db, sql, &fault) != ERR_OK)
        fail_msg("%s: %s", sql, fault.why);
}

static void apply(struct db *db, const struct migration *own)
{
    struct fault fault = {0};
    if (migrate_apply(db, SCHEMA, COMMON, own, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

/* "common/1 test_migrate/1 …", as recorded. */
static void assert_recorded(struct db *db, const char *wanted)
{
    static const struct db_stmt RECORDED = {
        "test_recorded", "SELECT coalesce(string_agg(series || '/' || version, ' ' ORDER BY series, version), '')"
                         " FROM " SCHEMA ".schema_migration"};
    CLEANUP_ROWS struct db_rows *rows = NULL;
    assert_int_equal(db_query(db, &RECORDED, NULL, &rows, NULL), ERR_OK);
    assert_string_equal(db_text(rows, 0, 0), wanted);
}

static int set_up(void **state)
{
    struct db *db = open_db();
    run(db, "DROP SCHEMA IF EXISTS " SCHEMA " CASCADE; CREATE SCHEMA " SCHEMA);
    *state = db;
    return 0;
}

static int tear_down(void **state)
{
    run(*state, "DROP SCHEMA IF EXISTS " SCHEMA " CASCADE");
    db_close(*state);
    return 0;
}

static void a_schema_that_is_not_there_is_a_wrong_setting(void **state)
{
    struct fault fault = {0};
    assert_int_equal(migrate_apply(*state, "no\"such", COMMON, OWN_1, &fault), ERR_CONF);
    assert_non_null(strstr(fault.why, "no schema \"no\"such\""));
}

static void a_name_that_differs_is_refused_and_nothing_is_applied(void **state)
{
    static const struct {
        const struct migration own[4];
        const char *why;
    } CASES[] = {
        {{{1, "ordres", "SELECT 1"}, {2, "more", "CREATE TABLE more (n int)"}, {0}}, "another name"},
        {{{2, "orders", "SELECT 1"}, {3, "more", "CREATE TABLE more (n int)"}, {0}}, "another number"},
        {{{1, "orders", "SELECT 1"}, {2, "kind", "SELECT 1"}, {3, "between", "SELECT 1"}, {0}}, "put in between"},
    };
    struct db *db = *state;
    apply(db, OWN_3);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct fault fault = {0};
        assert_int_equal(migrate_apply(db, SCHEMA, COMMON, CASES[i].own, &fault), ERR_CONF);
        assert_non_null(strstr(fault.why, "where this program has"));
        assert_recorded(db, "common/1 " SCHEMA "/1 " SCHEMA "/2 " SCHEMA "/4");
    }
}

static void a_file_that_fails_leaves_nothing_of_itself_and_all_before_it(void **state)
{
    static const struct migration WRONG[] = {
        {1, "orders", "CREATE TABLE orders (n int)"},
        {2, "half", "CREATE TABLE half (n int); CREATE TABLE orders (n int)"},
        {3, "after", "CREATE TABLE after (n int)"},
        {0},
    };
    struct db *db = *state;
    struct fault fault = {0};
    assert_int_equal(migrate_apply(db, SCHEMA, COMMON, WRONG, &fault), ERR_BUG);
    assert_non_null(strstr(fault.why, "0002_half"));
    assert_non_null(strstr(fault.why, "already exists"));
    assert_recorded(db, "common/1 " SCHEMA "/1");

    /* Put right, it goes on from there, on the same connection: no lock and no transaction was left. */
    apply(db, OWN_3);
    assert_recorded(db, "common/1 " SCHEMA "/1 " SCHEMA "/2 " SCHEMA "/4");
}

static void an_empty_schema_gets_all_and_a_second_run_nothing(void **state)
{
    struct db *db = *state;
    apply(db, OWN_1);
    assert_recorded(db, "common/1 " SCHEMA "/1");
    apply(db, OWN_3);
    apply(db, OWN_3);
    assert_recorded(db, "common/1 " SCHEMA "/1 " SCHEMA "/2 " SCHEMA "/4");
}

static void an_older_program_lives_with_a_newer_schema(void **state)
{
    struct db *db = *state;
    apply(db, OWN_3);
    apply(db, OWN_1);
    assert_recorded(db, "common/1 " SCHEMA "/1 " SCHEMA "/2 " SCHEMA "/4");
}

static void *replica(void *arg)
{
    struct db *db = open_db();
    struct fault fault = {0};
    *(enum err *)arg = migrate_apply(db, SCHEMA, COMMON, OWN_3, &fault);
    db_close(db);
    return NULL;
}

static void replicas_that_start_together_apply_each_file_once(void **state)
{
    pthread_t threads[REPLICAS];
    enum err results[REPLICAS];
    for (int i = 0; i < REPLICAS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, replica, &results[i]), 0);
    for (int i = 0; i < REPLICAS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(results[i], ERR_OK);
    }
    assert_recorded(*state, "common/1 " SCHEMA "/1 " SCHEMA "/2 " SCHEMA "/4");
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORY(a_schema_that_is_not_there_is_a_wrong_setting),
        STORY(a_name_that_differs_is_refused_and_nothing_is_applied),
        STORY(a_file_that_fails_leaves_nothing_of_itself_and_all_before_it),
        STORY(an_empty_schema_gets_all_and_a_second_run_nothing),
        STORY(an_older_program_lives_with_a_newer_schema),
        STORY(replicas_that_start_together_apply_each_file_once),
    };
    return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
