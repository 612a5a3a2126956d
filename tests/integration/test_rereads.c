/* waiters.h against a real PostgreSQL: when awaited resources are read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "support/need_env.h"
#include "support/scratch.h"
#include "svc/waiters.h"

enum { LONG_MS = 20000, PATIENCE_MS = 5000, SOON_MS = 150 /* before WAITERS_REREAD_MS */, TRIES = 5, MANY = 1200 };

struct fixture {
    struct scratch scratch;
    struct waiters *ws;
    struct arena arena;
    atomic_int reads, read_ids, most_ids; /* queries, the ids in them, the most in one */
    atomic_int settled, late;
    atomic_bool settles; /* what is read is what they wait for */
    atomic_llong last_read;
};

static struct fixture *fixture_of(struct waiter *w)
{
    return w->state;
}

static bool settled(struct waiter *w, const void *resource)
{
    struct fixture *f = fixture_of(w);
    (void)resource;
    if (!atomic_load(&f->settles))
        return false;
    atomic_fetch_add(&f->settled, 1);
    return true;
}

static void late(struct waiter *w)
{
    atomic_fetch_add(&fixture_of(w)->late, 1);
}

static const struct db_stmt READ = {"rereads_read", "SELECT id FROM unnest($1::uuid[]) AS x (id)"};

/* "Reads" them all through the connection that it was given, and offers each. */
static enum err reread(void *app, struct db *db, const struct uuid *ids, size_t count, struct fault *fault)
{
    struct fixture *f = app;
    struct arena arena;
    struct db_array array;
    arena_init(&arena);
    db_array_init(&array);
    for (size_t i = 0; i < count; i++)
        db_array_uuid(&array, ids[i]);
    struct db_args args = db_args(&arena);
    db_arg_array(&args, &array);
    db_array_done(&array);

    CLEANUP_ROWS struct db_rows *rows = NULL;
    enum err e = db_query(db, &READ, &args, &rows, fault);
    for (int r = 0; e == ERR_OK && r < db_count(rows); r++)
        waiters_offer(f->ws, db_uuid(rows, r, 0), f);
    arena_done(&arena);
    if (e != ERR_OK)
        return e;
    atomic_fetch_add(&f->reads, 1);
    atomic_fetch_add(&f->read_ids, (int)count);
    if ((int)count > atomic_load(&f->most_ids))
        atomic_store(&f->most_ids, (int)count);
    atomic_store(&f->last_read, clock_mono_ns());
    return ERR_OK;
}

static bool listens(void *arg)
{
    struct fixture *f = arg;
    return scratch_number(&f->scratch, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                                       "application_name = 'rereads' AND query LIKE 'LISTEN%' AND state = 'idle'") == 1;
}

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);
    struct fault fault;
    scratch_open(&f->scratch, "rereads");
    arena_init(&f->arena);
    const struct waiters_conf conf = {
        .db = scratch_conf(&f->scratch, DB_PLAN_READS, "rereads"),
        .channel = "rereads",
        .reread = reread,
        .app = f,
        .log = f->scratch.log,
        .metrics = f->scratch.metrics,
    };
    assert_int_equal(waiters_open(&conf, &f->ws, &fault), ERR_OK);
    assert_true(scratch_await(listens, f, PATIENCE_MS));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    waiters_close(f->ws);
    arena_done(&f->arena);
    scratch_close(&f->scratch);
    mem_free(f);
    return 0;
}

static struct waiter *added(struct fixture *f, struct uuid id, int wait_ms)
{
    struct call *call = ARENA_NEW(&f->arena, struct call);
    struct waiter *w = ARENA_NEW(&f->arena, struct waiter);
    call->wait_ms = wait_ms;
    *w = (struct waiter){.call = call, .id = id, .state = f, .settled = settled, .late = late};
    assert_int_equal(waiters_add(f->ws, w), ERR_OK);
    return w;
}

static void wait_for(struct fixture *f, struct uuid id, int wait_ms)
{
    waiters_arm(f->ws, added(f, id, wait_ms));
}

static bool all_answered(void *arg)
{
    return waiters_count(((struct fixture *)arg)->ws) == 0;
}

static bool was_read(void *arg)
{
    return atomic_load(&((struct fixture *)arg)->reads) > 0;
}

static void notify(struct fixture *f)
{
    scratch_run(&f->scratch, "NOTIFY rereads");
}

/* ---- the connection goes ---- */

static const char KILL_SESSION[] =
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'rereads'";

static void a_lost_connection_is_opened_again_and_all_is_read_again(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 10; i++)
        wait_for(f, uuid_of_int(i), LONG_MS);
    scratch_run(&f->scratch,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rereads'");
    atomic_store(&f->settles, true);
    assert_true(scratch_await(all_answered, f, PATIENCE_MS));
    assert_int_equal(atomic_load(&f->settled), 10);
}

/* Only from another database can one say who may connect. */
static void allow_connections(bool allow)
{
    const struct db_conf conf = {.url = need_env("TEST_DB_URL"),
                                 .password = getenv("TEST_DB_PASSWORD"),
                                 .plan = DB_PLAN_OWNER,
                                 .application_name = "test"};
    struct db *db;
    struct fault fault = {.err = ERR_OK};
    assert_int_equal(db_open(&conf, PATIENCE_MS, &db, &fault), ERR_OK);
    const char *sql = allow ? "ALTER DATABASE test_rereads ALLOW_CONNECTIONS true"
                            : "ALTER DATABASE test_rereads ALLOW_CONNECTIONS false";
    assert_int_equal(db_run(db, sql, &fault), ERR_OK);
    db_close(db);
}

static void while_the_database_refuses_late_still_comes_and_then_all_is_well_again(void **state)
{
    struct fixture *f = *state;
    allow_connections(false);
    scratch_run(&f->scratch, KILL_SESSION);
    wait_for(f, uuid_of_int(1), 300);
    assert_true(scratch_await(all_answered, f, PATIENCE_MS));
    assert_int_equal(atomic_load(&f->late), 1);
    assert_int_equal(atomic_load(&f->reads), 0);

    wait_for(f, uuid_of_int(2), LONG_MS);
    atomic_store(&f->settles, true);
    allow_connections(true);
    assert_true(scratch_await(all_answered, f, PATIENCE_MS));
    assert_int_equal(atomic_load(&f->settled), 1);
}

/* ---- when it is read ---- */

/* How long it took from `began` until all were read and answered, in ms. */
static int64_t until_read_ms(struct fixture *f, mono_ns_t began)
{
    assert_true(scratch_await(all_answered, f, PATIENCE_MS));
    return (atomic_load(&f->last_read) - began) / NS_PER_MS;
}

static int64_t offered_before_arming(struct fixture *f)
{
    atomic_store(&f->settles, false);
    struct waiter *w = added(f, uuid_of_int(1), LONG_MS);
    waiters_offer(f->ws, uuid_of_int(1), f); /* nobody is armed: nobody is asked */
    atomic_store(&f->settles, true);
    mono_ns_t armed = clock_mono_ns();
    waiters_arm(f->ws, w);
    return until_read_ms(f, armed);
}

static int64_t moved_to_another(struct fixture *f)
{
    atomic_store(&f->settles, true);
    struct waiter *w = added(f, uuid_of_int(1), LONG_MS);
    mono_ns_t moved = clock_mono_ns();
    waiters_move(f->ws, w, uuid_of_int(2));
    return until_read_ms(f, moved);
}

static int64_t told_by_another_replica(struct fixture *f)
{
    atomic_store(&f->settles, false);
    for (int i = 0; i < MANY; i++)
        wait_for(f, uuid_of_int(i), LONG_MS);
    atomic_store(&f->settles, true);
    mono_ns_t told = clock_mono_ns();
    notify(f);
    return until_read_ms(f, told);
}

/* The best of several, since a busy machine may hold one up; what only waits for its next look takes 200 ms each time. */
static void assert_soon(struct fixture *f, int64_t (*took_ms)(struct fixture *f))
{
    for (int tries = 0; tries < TRIES; tries++)
        if (took_ms(f) < SOON_MS)
            return;
    fail_msg("not once in %d tries within %d ms", TRIES, SOON_MS);
}

/* The saga's end may be committed, and offered, before the command's answer arms the waiter. */
static void what_was_offered_before_arming_is_read_at_once(void **state)
{
    assert_soon(*state, offered_before_arming);
}

static void a_replay_is_read_at_once(void **state)
{
    assert_soon(*state, moved_to_another);
}

static void another_replicas_notice_makes_all_be_read_at_once(void **state)
{
    struct fixture *f = *state;
    assert_soon(f, told_by_another_replica);
    assert_int_equal(atomic_load(&f->late), 0);
    assert_int_equal(atomic_load(&f->settled) % MANY, 0);
    assert_int_equal(atomic_load(&f->most_ids), WAITERS_REREAD_MAX);
}

static void without_any_notice_it_is_read_every_200_ms(void **state)
{
    struct fixture *f = *state;
    wait_for(f, uuid_of_int(1), 1100);
    assert_true(scratch_await(all_answered, f, PATIENCE_MS));
    assert_int_equal(atomic_load(&f->late), 1);
    assert_in_range(atomic_load(&f->reads), 2, 7); /* at 200, 400 … 1,000, 1,050 when nothing holds it up */
}

static void the_last_look_comes_just_before_the_deadline(void **state)
{
    struct fixture *f = *state;
    wait_for(f, uuid_of_int(1), 120); /* shorter than WAITERS_REREAD_MS */
    assert_true(scratch_await(was_read, f, PATIENCE_MS));
    assert_true(scratch_await(all_answered, f, PATIENCE_MS));
    assert_int_equal(atomic_load(&f->reads), 1);
}

static bool no_more_is_read(struct fixture *f)
{
    int before = atomic_load(&f->reads);
    for (int i = 0; i < 5; i++)
        notify(f);
    scratch_number(&f->scratch, "SELECT 1 FROM pg_sleep(0.3)");
    return atomic_load(&f->reads) == before;
}

static void nothing_is_read_while_nobody_waits(void **state)
{
    assert_true(no_more_is_read(*state));
}

/* Under load every batch of every replica notifies. */
static void a_storm_of_notices_is_read_in_steps(void **state)
{
    struct fixture *f = *state;
    wait_for(f, uuid_of_int(1), LONG_MS);
    mono_ns_t began = clock_mono_ns();
    for (int i = 0; i < 300; i++)
        notify(f);
    int64_t took_ms = (clock_mono_ns() - began) / NS_PER_MS;
    assert_true(atomic_load(&f->reads) >= 1);
    assert_true(atomic_load(&f->reads) <= took_ms / WAITERS_NOTIFY_GAP_MS + 2);
    atomic_store(&f->settles, true);
    assert_true(scratch_await(all_answered, f, PATIENCE_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lost_connection_is_opened_again_and_all_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_the_database_refuses_late_still_comes_and_then_all_is_well_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_offered_before_arming_is_read_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replay_is_read_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_replicas_notice_makes_all_be_read_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_any_notice_it_is_read_every_200_ms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_look_comes_just_before_the_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_read_while_nobody_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_storm_of_notices_is_read_in_steps, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
