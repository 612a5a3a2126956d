/* audit.h on a real PostgreSQL: what becomes of a check that can't be asked, or not in time, and of what there is too much of. */
#include "svc/audit.h"

#include <string.h>

#include "support/scratch.h"
#include "unit/unit.h"

enum { OPEN_MS = 5000, SOON_MS = 300 };

struct world {
    struct scratch s;
    struct db *db;
    struct arena arena;
    struct audit_report report;
};

static const struct audit_check CHECKS[] = {
    {"first", "one is one", {"test_audit_first", "SELECT 1 WHERE 1 <> 1"}},
    {"slow", "it takes its time", {"test_audit_slow", "SELECT pg_sleep(60) WHERE $1::timestamptz IS NOT NULL"}},
    {"absent", "it can be asked", {"test_audit_absent", "SELECT * FROM there_is_no_such_table"}},
    {"many",
     "there are none",
     {"test_audit_many", "SELECT s AS id, repeat('x', 100) AS name FROM generate_series(1, 20) s"}},
    {"since", "nothing is since then", {"test_audit_since", "SELECT $1::timestamptz AS since, NULL AS nothing"}},
    {.name = NULL},
};
static const struct audit_check MORE[] = {
    {"last", "two is two", {"test_audit_last", "SELECT 1 WHERE 2 <> 2"}},
    {.name = NULL},
};
enum { FIRST, SLOW, ABSENT, MANY, SINCE, LAST, COUNT };

static int open_world(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    scratch_open(&w->s, "audit");
    const struct db_conf conf = scratch_conf(&w->s, DB_PLAN_READS, "test");
    struct fault fault = {.err = ERR_OK};
    if (db_open(&conf, OPEN_MS, &w->db, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    arena_init(&w->arena);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    arena_done(&w->arena);
    db_close(w->db);
    scratch_close(&w->s);
    mem_free(w);
    return 0;
}

static void run(struct world *w, const struct audit_scope *scope)
{
    struct fault fault = {.err = ERR_OK};
    if (audit_run(w->db, CHECKS, MORE, scope, &w->arena, &w->report, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static void assert_detail(const struct world *w, int i, bool asked, bool ok, const char *begins)
{
    const struct audit_finding *found = &w->report.findings[i];
    if (found->asked != asked || found->ok != ok || !str_starts(found->detail, begins))
        fail_msg("%s: asked %d, ok %d, %s", found->check->name, found->asked, found->ok, found->detail);
}

static void a_check_that_is_slow_or_broken_is_told_of_and_the_others_are_asked(void **state)
{
    struct world *w = *state;
    run(w, &AUDIT_WHOLE);
    assert_int_equal(w->report.count, COUNT);
    assert_int_equal(w->report.wrong, 4);
    assert_detail(w, FIRST, true, true, "one is one");
    assert_detail(w, SLOW, false, false, "not looked at to its end, it takes too long: it takes its time");
    assert_detail(w, ABSENT, false, false, "could not be looked at (SQLSTATE 42P01): it can be asked");
    assert_detail(w, MANY, true, false, "not so: there are none; id=1 name=xxx");
    assert_detail(w, SINCE, true, false, "not so: nothing is since then; since=1970-01-01 00:00:00+00 nothing=null");
    assert_detail(w, LAST, true, true, "two is two");
}

static void a_detail_has_an_end_and_says_how_many_rows_it_left_out(void **state)
{
    struct world *w = *state;
    run(w, &AUDIT_WHOLE);
    const char *detail = w->report.findings[MANY].detail;
    assert_true(strlen(detail) < AUDIT_DETAIL_MAX + sizeof "; and 20 more");
    assert_string_equal(detail + strlen(detail) - strlen("; and 12 more"), "; and 12 more");
}

static void when_the_time_is_up_nothing_more_is_asked(void **state)
{
    struct world *w = *state;
    struct audit_scope scope = AUDIT_WHOLE;
    scope.until = clock_mono_ns() + SOON_MS * NS_PER_MS;
    run(w, &scope);
    assert_true(clock_mono_ns() < scope.until + AUDIT_CHECK_MS * NS_PER_MS);
    assert_detail(w, FIRST, true, true, "one is one");
    assert_detail(w, SLOW, false, false, "not looked at to its end");
    assert_detail(w, LAST, false, false, "not looked at, the time was up: two is two");
}

static void a_look_at_what_changed_passes_over_what_is_asked_of_all(void **state)
{
    struct world *w = *state;
    const struct audit_scope scope = {
        .since = 1700000000 * US_PER_S, .changed_only = true, .until = clock_mono_ns() + 60 * NS_PER_S};
    run(w, &scope);
    assert_int_equal(w->report.count, 2);
    assert_string_equal(w->report.findings[1].detail,
                        "not so: nothing is since then; since=2023-11-14 22:13:20+00 nothing=null");
}

/* The snapshot is ended, whatever came in it. */
static void the_connection_is_free_afterwards(void **state)
{
    struct world *w = *state;
    run(w, &AUDIT_WHOLE);
    assert_int_equal(scratch_number(&w->s, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test' AND "
                                           "state LIKE 'idle in transaction%'"),
                     0);
    run(w, &AUDIT_WHOLE);
    assert_int_equal(w->report.count, COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_check_that_is_slow_or_broken_is_told_of_and_the_others_are_asked),
        cmocka_unit_test(a_detail_has_an_end_and_says_how_many_rows_it_left_out),
        cmocka_unit_test(when_the_time_is_up_nothing_more_is_asked),
        cmocka_unit_test(a_look_at_what_changed_passes_over_what_is_asked_of_all),
        cmocka_unit_test(the_connection_is_free_afterwards),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
