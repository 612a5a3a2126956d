/* waiters.h without a database: offers, deadlines, and that nobody is answered twice or after his end. What is read again
 * is in tests/integration/test_rereads.c. */
#include "svc/waiters.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

enum { LONG_MS = 10000, PATIENCE_MS = 5000 };

/* One call that waits. It is freed as soon as it was answered, as the HTTP server would do, so that a sanitizer sees whoever
 * still looks at it. */
struct wait {
    struct call call;
    struct waiter waiter;
    struct tally *tally;
    int number;
};

struct tally {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int asked, settled, late;
    int late_order[8];
    int settles_at; /* the resource, a number, settles those who are offered at least this */
};

static void tally_init(struct tally *t)
{
    *t = (struct tally){.settles_at = 1};
    pthread_mutex_init(&t->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void tally_done(struct tally *t)
{
    pthread_mutex_destroy(&t->mutex);
    pthread_cond_destroy(&t->changed);
}

/* Until `count` calls were answered, one way or the other. */
static void await_answers(struct tally *t, int count)
{
    mono_ns_t until = clock_mono_ns() + PATIENCE_MS * NS_PER_MS;
    struct timespec at = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};
    pthread_mutex_lock(&t->mutex);
    while (t->settled + t->late < count)
        if (pthread_cond_timedwait(&t->changed, &t->mutex, &at) != 0)
            break;
    int answered = t->settled + t->late;
    pthread_mutex_unlock(&t->mutex);
    assert_int_equal(answered, count);
}

static void wait_free(struct wait *w)
{
    mem_free(w);
}

static bool settled(struct waiter *waiter, const void *resource)
{
    struct wait *w = waiter->state;
    struct tally *t = w->tally;
    pthread_mutex_lock(&t->mutex);
    t->asked++;
    bool yes = *(const int *)resource >= t->settles_at;
    if (yes)
        t->settled++;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->mutex);
    if (yes)
        wait_free(w);
    return yes;
}

static void late(struct waiter *waiter)
{
    struct wait *w = waiter->state;
    struct tally *t = w->tally;
    pthread_mutex_lock(&t->mutex);
    if (t->late < (int)LENGTH_OF(t->late_order))
        t->late_order[t->late] = w->number;
    t->late++;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->mutex);
    wait_free(w);
}

static struct waiter *new_waiter(struct tally *t, struct uuid id, int wait_ms)
{
    struct wait *w = mem_alloc(sizeof *w);
    w->tally = t;
    w->call.wait_ms = wait_ms;
    w->waiter = (struct waiter){.call = &w->call, .id = id, .state = w, .settled = settled, .late = late};
    return &w->waiter;
}

/* ---- the waiters, with a database that is away ---- */

struct fixture {
    struct waiters *ws;
    struct log *log;
    struct metrics *metrics;
    struct tally tally;
    int log_fd;
};

static enum err never_reread(void *app, struct db *db, const struct uuid *ids, size_t count, struct fault *fault)
{
    (void)app, (void)db, (void)ids, (void)count;
    return fault_set(fault, ERR_BUG, "there is no database here");
}

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);
    struct fault fault;
    tally_init(&f->tally);
    f->log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    f->log = log_open("test", LOG_ERROR, f->log_fd);
    f->metrics = metrics_new();
    const struct waiters_conf conf = {
        .db = {.url = "postgresql://nobody@127.0.0.1:1/none", .plan = DB_PLAN_READS, .application_name = "test"},
        .channel = "test",
        .reread = never_reread,
        .log = f->log,
        .metrics = f->metrics,
    };
    assert_int_equal(waiters_open(&conf, &f->ws, &fault), ERR_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    waiters_close(f->ws);
    metrics_free(f->metrics);
    log_close(f->log);
    close(f->log_fd);
    tally_done(&f->tally);
    mem_free(f);
    return 0;
}

static void add(struct fixture *f, struct waiter *w)
{
    assert_int_equal(waiters_add(f->ws, w), ERR_OK);
}

/* Added and armed. */
static void wait_for(struct fixture *f, struct uuid id, int wait_ms)
{
    struct waiter *w = new_waiter(&f->tally, id, wait_ms);
    add(f, w);
    waiters_arm(f->ws, w);
}

static void offer(struct fixture *f, struct uuid id, int resource)
{
    waiters_offer(f->ws, id, &resource);
}

/* ---- failures first ---- */

static void no_more_than_the_maximum_wait(void **state)
{
    struct fixture *f = *state;
    for (int i = 1; i <= WAITERS_MAX; i++)
        wait_for(f, uuid_of_int(i), LONG_MS);
    struct waiter *w = new_waiter(&f->tally, uuid_of_int(0), LONG_MS);
    assert_int_equal(waiters_add(f->ws, w), ERR_BUSY);
    assert_string_equal(w->call->fault.why, "20000 calls wait already");

    offer(f, uuid_of_int(7), 1);
    assert_int_equal(waiters_count(f->ws), WAITERS_MAX - 1);
    assert_int_equal(waiters_add(f->ws, w), ERR_OK);
    wait_free(w->state);
}

static void an_offer_of_another_resource_answers_nobody(void **state)
{
    struct fixture *f = *state;
    wait_for(f, uuid_of_int(1), LONG_MS);
    for (int i = 2; i < 10000; i++) /* every bucket, its own too */
        offer(f, uuid_of_int(i), 1);
    assert_int_equal(f->tally.asked, 0);
    assert_int_equal(waiters_count(f->ws), 1);
}

static void who_is_not_armed_is_neither_asked_nor_late(void **state)
{
    struct fixture *f = *state;
    struct waiter *w = new_waiter(&f->tally, uuid_of_int(1), 1);
    add(f, w);
    offer(f, uuid_of_int(1), 1);
    wait_for(f, uuid_of_int(2), 30); /* whose end comes well after the other's */
    await_answers(&f->tally, 1);
    assert_int_equal(f->tally.late, 1);
    assert_int_equal(f->tally.asked, 0);
    assert_int_equal(waiters_count(f->ws), 0);
    wait_free(w->state); /* refused: nothing has to be undone */
}

/* ---- offers ---- */

static void who_is_not_settled_yet_is_asked_again(void **state)
{
    struct fixture *f = *state;
    f->tally.settles_at = 3;
    wait_for(f, uuid_of_int(1), LONG_MS);
    offer(f, uuid_of_int(1), 1);
    offer(f, uuid_of_int(1), 2);
    assert_int_equal(f->tally.settled, 0);
    assert_int_equal(waiters_count(f->ws), 1);
    offer(f, uuid_of_int(1), 3);
    assert_int_equal(f->tally.settled, 1);
    assert_int_equal(f->tally.asked, 3);
    assert_int_equal(waiters_count(f->ws), 0);
    offer(f, uuid_of_int(1), 3);
    assert_int_equal(f->tally.asked, 3);
}

static void all_who_wait_for_one_resource_are_answered_and_no_others(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        wait_for(f, uuid_of_int(1), LONG_MS);
        wait_for(f, uuid_of_int(2), LONG_MS);
    }
    offer(f, uuid_of_int(1), 1);
    assert_int_equal(f->tally.settled, 5);
    assert_int_equal(waiters_count(f->ws), 5);
}

static void who_moved_waits_for_the_other_resource(void **state)
{
    struct fixture *f = *state;
    struct waiter *w = new_waiter(&f->tally, uuid_of_int(1), LONG_MS);
    add(f, w);
    waiters_move(f->ws, w, uuid_of_int(2));
    offer(f, uuid_of_int(1), 1);
    assert_int_equal(f->tally.asked, 0);
    offer(f, uuid_of_int(2), 1);
    assert_int_equal(f->tally.settled, 1);
}

/* ---- deadlines ---- */

static void who_does_not_want_to_wait_is_answered_when_armed(void **state)
{
    struct fixture *f = *state;
    wait_for(f, uuid_of_int(1), 0);
    assert_int_equal(f->tally.late, 1);
    struct waiter *w = new_waiter(&f->tally, uuid_of_int(1), 0);
    add(f, w);
    waiters_move(f->ws, w, uuid_of_int(2));
    assert_int_equal(f->tally.late, 2);
    assert_int_equal(waiters_count(f->ws), 0);
}

static void late_comes_in_time_though_the_database_is_away(void **state)
{
    struct fixture *f = *state;
    mono_ns_t began = clock_mono_ns();
    wait_for(f, uuid_of_int(1), 60);
    await_answers(&f->tally, 1);
    mono_ns_t took = clock_mono_ns() - began;
    assert_int_equal(f->tally.late, 1);
    assert_true(took >= 60 * NS_PER_MS);
    assert_true(took < 2000 * NS_PER_MS);
    offer(f, uuid_of_int(1), 1);
    assert_int_equal(f->tally.asked, 0);
}

static void deadlines_come_in_their_own_order(void **state)
{
    struct fixture *f = *state;
    static const int WAITS_MS[] = {90, 30, 120, 60, 0}, ORDER[] = {4, 1, 3, 0, 2};
    for (int i = 0; i < (int)LENGTH_OF(WAITS_MS); i++) {
        struct waiter *w = new_waiter(&f->tally, uuid_of_int(i), WAITS_MS[i]);
        ((struct wait *)w->state)->number = i;
        add(f, w);
        waiters_arm(f->ws, w);
    }
    await_answers(&f->tally, (int)LENGTH_OF(WAITS_MS));
    assert_memory_equal(f->tally.late_order, ORDER, sizeof ORDER);
}

static void an_offer_that_does_not_settle_moves_no_deadline(void **state)
{
    struct fixture *f = *state;
    static const int ORDER[] = {0, 1, 2};
    f->tally.settles_at = 9;
    for (int i = 0; i < 3; i++) {
        struct waiter *w = new_waiter(&f->tally, uuid_of_int(i), 40 + 30 * i);
        ((struct wait *)w->state)->number = i;
        add(f, w);
        waiters_arm(f->ws, w);
    }
    for (int i = 2; i >= 0; i--)
        offer(f, uuid_of_int(i), 1);
    await_answers(&f->tally, 3);
    assert_memory_equal(f->tally.late_order, ORDER, sizeof ORDER);
}

static void closing_answers_all_as_late(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++)
        wait_for(f, uuid_of_int(i % 7), LONG_MS);
    waiters_close(f->ws);
    f->ws = NULL;
    assert_int_equal(f->tally.late, 100);
    assert_int_equal(f->tally.settled, 0);
}

/* ---- many threads: each is answered once ---- */

enum { THREADS = 4, ROUNDS = 3000, IDS = 32 };

struct storm {
    struct fixture *f;
    int number;
};

/* Some never settle, some are settled while they are being armed, some are late: all at once. */
static void *storm_main(void *arg)
{
    const struct storm *s = arg;
    uint32_t dice = (uint32_t)s->number * 2654435761U + 1;
    for (int i = 0; i < ROUNDS; i++) {
        dice = dice * 1664525U + 1013904223U;
        struct uuid id = uuid_of_int((int64_t)(dice >> 8) % IDS);
        struct waiter *w = new_waiter(&s->f->tally, id, (int)(dice >> 28) % 3);
        bool added = waiters_add(s->f->ws, w) == ERR_OK;
        assert_true(added);
        if (dice & 0x80)
            waiters_arm(s->f->ws, w);
        else
            waiters_move(s->f->ws, w, uuid_of_int(i % IDS));
        int resource = i % 3;
        waiters_offer(s->f->ws, uuid_of_int((int64_t)(dice >> 16) % IDS), &resource);
    }
    return NULL;
}

static void many_threads_answer_each_call_once(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    struct storm storms[THREADS];
    for (int i = 0; i < THREADS; i++) {
        storms[i] = (struct storm){.f = f, .number = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, storm_main, &storms[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    await_answers(&f->tally, THREADS * ROUNDS);
    assert_int_equal(waiters_count(f->ws), 0);
    assert_true(f->tally.settled > 0);
    assert_true(f->tally.late > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_more_than_the_maximum_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_offer_of_another_resource_answers_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_not_armed_is_neither_asked_nor_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_not_settled_yet_is_asked_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_who_wait_for_one_resource_are_answered_and_no_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_moved_waits_for_the_other_resource, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_want_to_wait_is_answered_when_armed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(late_comes_in_time_though_the_database_is_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deadlines_come_in_their_own_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_offer_that_does_not_settle_moves_no_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_answers_all_as_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_threads_answer_each_call_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
