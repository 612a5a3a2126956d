#include "gateway/breaker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#define MS NS_PER_MS
#define S NS_PER_S

enum { TRIALS = 100 };
static const mono_ns_t BEGIN = 1000 * S; /* any whole second */
static const mono_ns_t SLOW = 1000 * MS;

/* One test's breaker and clock; what it tells goes into a list. */
enum { CHANGES_MAX = 64 };
struct bench {
    struct breaker b;
    mono_ns_t now;
    struct breaker_change changes[CHANGES_MAX];
    size_t change_count;
};

static void on_change(void *arg, const struct breaker_change *change)
{
    struct bench *t = arg;
    assert_true(t->change_count < CHANGES_MAX);
    t->changes[t->change_count++] = *change;
}

static struct breaker_conf exact(void)
{
    struct breaker_conf conf = BREAKER_SERVICE;
    conf.jitter_percent = 0;
    return conf;
}

static void begin(struct bench *t, const struct breaker_conf *conf)
{
    memset(t, 0, sizeof(*t));
    t->now = BEGIN;
    breaker_init(&t->b, conf, 7, on_change, t, t->now);
}

static void begin_exact(struct bench *t)
{
    struct breaker_conf conf = exact();
    begin(t, &conf);
}

static uint32_t acquire(struct bench *t)
{
    uint32_t generation = 0;
    mono_ns_t wait = 0;
    assert_true(breaker_acquire(&t->b, t->now, &generation, &wait));
    return generation;
}

/* How long to wait. */
static mono_ns_t refused(struct bench *t)
{
    uint32_t generation = 0;
    mono_ns_t wait = 0;
    assert_false(breaker_acquire(&t->b, t->now, &generation, &wait));
    assert_true(wait > 0);
    return wait;
}

static void report(struct bench *t, uint32_t generation, enum breaker_outcome outcome)
{
    breaker_report(&t->b, generation, (struct breaker_result){outcome, MS, SLOW}, t->now);
}

static void report_slow(struct bench *t, uint32_t generation, enum breaker_outcome outcome)
{
    breaker_report(&t->b, generation, (struct breaker_result){outcome, SLOW + 1, SLOW}, t->now);
}

static void call(struct bench *t, enum breaker_outcome outcome)
{
    report(t, acquire(t), outcome);
}

static void calls(struct bench *t, int count, enum breaker_outcome outcome)
{
    for (int i = 0; i < count; i++)
        call(t, outcome);
}

static struct breaker_view look(struct bench *t)
{
    struct breaker_view v;
    breaker_look(&t->b, t->now, &v);
    return v;
}

static void assert_state(struct bench *t, enum breaker_state expected)
{
    assert_string_equal(breaker_state_name(look(t).state), breaker_state_name(expected));
    assert_int_equal(breaker_peek(&t->b), look(t).state);
}

static void open_it(struct bench *t)
{
    calls(t, t->b.conf.min_calls, BREAKER_FAILURE);
    assert_state(t, BREAKER_OPEN);
}

static void half_open_it(struct bench *t)
{
    open_it(t);
    t->now = t->b.open_until;
    breaker_tick(&t->b, t->now);
    assert_state(t, BREAKER_HALF_OPEN);
}

/* ---- CLOSED ---- */

static void nineteen_failures_of_nineteen_say_too_little_and_the_twentieth_opens(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    calls(&t, 19, BREAKER_FAILURE);
    assert_state(&t, BREAKER_CLOSED);
    call(&t, BREAKER_FAILURE);
    assert_state(&t, BREAKER_OPEN);
    assert_int_equal(t.change_count, 1);
    assert_int_equal(t.changes[0].failed, 20);
    breaker_done(&t.b);
}

static void half_of_the_calls_failing_opens_and_one_less_does_not(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    calls(&t, 11, BREAKER_SUCCESS);
    calls(&t, 9, BREAKER_FAILURE);
    assert_state(&t, BREAKER_CLOSED);
    breaker_done(&t.b);

    begin_exact(&t);
    calls(&t, 10, BREAKER_SUCCESS);
    calls(&t, 9, BREAKER_FAILURE);
    assert_state(&t, BREAKER_CLOSED);
    call(&t, BREAKER_FAILURE);
    assert_state(&t, BREAKER_OPEN);
    breaker_done(&t.b);
}

static void slow_is_longer_than_the_limit_and_sixteen_of_twenty_open(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    for (int i = 0; i < 40; i++) /* exactly the limit is not slow, however often */
        breaker_report(&t.b, acquire(&t), (struct breaker_result){BREAKER_SUCCESS, SLOW, SLOW}, t.now);
    for (int i = 0; i < 40; i++) /* and where waiting is right nothing is */
        breaker_report(&t.b, acquire(&t), (struct breaker_result){BREAKER_SUCCESS, 60 * S, 0}, t.now);
    assert_int_equal(look(&t).slow_total, 0);
    breaker_done(&t.b);

    begin_exact(&t);
    calls(&t, 4, BREAKER_SUCCESS);
    for (int i = 0; i < 15; i++)
        report_slow(&t, acquire(&t), BREAKER_SUCCESS);
    assert_state(&t, BREAKER_CLOSED);
    report_slow(&t, acquire(&t), BREAKER_SUCCESS);
    assert_state(&t, BREAKER_OPEN);
    breaker_done(&t.b);

    begin_exact(&t);
    report_slow(&t, acquire(&t), BREAKER_FAILURE);
    call(&t, BREAKER_LATE);
    assert_int_equal(look(&t).window.calls, 2);
    assert_int_equal(look(&t).window.failed, 2);
    assert_int_equal(look(&t).window.slow, 2);
    breaker_done(&t.b);
}

static void the_window_forgets_after_ten_seconds_and_not_before(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    calls(&t, 10, BREAKER_SUCCESS);
    calls(&t, 9, BREAKER_FAILURE);
    t.now = BEGIN + 9990 * MS;
    assert_int_equal(look(&t).window.calls, 19);
    t.now = BEGIN + 10 * S;
    assert_int_equal(look(&t).window.calls, 0);
    assert_false(look(&t).has_rates);
    breaker_done(&t.b);

    begin_exact(&t);
    for (int i = 0; i < BREAKER_WINDOW_S; i++, t.now += S)
        call(&t, BREAKER_SUCCESS);
    assert_int_equal(look(&t).window.calls, 9); /* the first second just went */
    t.now += 3600 * S;
    assert_int_equal(look(&t).window.calls, 0);
    for (int i = 0; i < BREAKER_WINDOW_S; i++)
        assert_int_equal(t.b.buckets[i].calls, 0);
    breaker_done(&t.b);
}

static void a_thread_whose_clock_reading_is_older_counts_as_now(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    call(&t, BREAKER_SUCCESS);
    uint32_t generation = acquire(&t);
    breaker_report(&t.b, generation, (struct breaker_result){BREAKER_FAILURE, MS, SLOW}, t.now - 5 * S);
    assert_int_equal(look(&t).window.calls, 2);
    assert_int_equal(look(&t).window.failed, 1);
    breaker_done(&t.b);
}

static void five_calls_in_a_row_that_met_nobody_open_at_once(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    calls(&t, 4, BREAKER_NOT_CONNECTED);
    call(&t, BREAKER_SUCCESS); /* somebody is there */
    calls(&t, 4, BREAKER_NOT_CONNECTED);
    assert_state(&t, BREAKER_CLOSED);
    call(&t, BREAKER_NOT_CONNECTED);
    assert_state(&t, BREAKER_OPEN);
    breaker_done(&t.b);

    begin_exact(&t);
    calls(&t, 5, BREAKER_NOT_CONNECTED);
    assert_state(&t, BREAKER_OPEN);
    breaker_done(&t.b);
}

static void what_the_client_did_wrong_never_opens(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    static const int STATUSES[] = {200, 202, 304, 400, 401, 403, 404, 409, 422, 429, 501};
    for (size_t s = 0; s < sizeof(STATUSES) / sizeof(STATUSES[0]); s++)
        calls(&t, 100, breaker_outcome_of(STATUSES[s]));
    calls(&t, 1000, BREAKER_CANCELED);
    assert_state(&t, BREAKER_CLOSED);
    assert_int_equal(look(&t).ignored_total, 1000);
    assert_int_equal(look(&t).window.failed, 0);

    static const int FAILURES[] = {500, 502, 503, 504};
    for (size_t s = 0; s < sizeof(FAILURES) / sizeof(FAILURES[0]); s++)
        assert_int_equal(breaker_outcome_of(FAILURES[s]), BREAKER_FAILURE);
    breaker_done(&t.b);
}

static void clients_that_leave_a_hanging_service_count_as_slow(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    for (int i = 0; i < 20; i++)
        report_slow(&t, acquire(&t), BREAKER_CANCELED);
    assert_state(&t, BREAKER_OPEN);
    assert_int_equal(t.changes[0].failed, 0);
    assert_int_equal(t.changes[0].slow, 20);
    breaker_done(&t.b);
}

/* ---- OPEN ---- */

static void open_refuses_until_its_time_exactly_and_says_how_long(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    open_it(&t);
    assert_int_equal(refused(&t), 5 * S);
    t.now = BEGIN + 1;
    assert_int_equal(refused(&t), 5 * S - 1);
    t.now = BEGIN + 5 * S - 1;
    assert_int_equal(refused(&t), 1);
    assert_int_equal(look(&t).not_permitted_total, 3);
    t.now = BEGIN + 5 * S;
    acquire(&t);
    assert_state(&t, BREAKER_HALF_OPEN);
    breaker_done(&t.b);
}

static void time_alone_moves_open_to_half_open(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    open_it(&t);
    t.now = BEGIN + 5 * S - 1;
    breaker_tick(&t.b, t.now);
    assert_int_equal(breaker_peek(&t.b), BREAKER_OPEN);
    breaker_tick(&t.b, ++t.now);
    assert_int_equal(breaker_peek(&t.b), BREAKER_HALF_OPEN);
    assert_int_equal(t.change_count, 2);
    breaker_done(&t.b);
}

/* Fails whatever is tried until `opened` times it was opened; the waits go into ret. */
static void open_again_and_again(struct bench *t, size_t times, mono_ns_t *ret_waits)
{
    open_it(t);
    for (size_t i = 0; i < times; i++) {
        ret_waits[i] = t->b.open_until - t->now;
        t->now = t->b.open_until;
        calls(t, 3, BREAKER_FAILURE);
        assert_state(t, BREAKER_OPEN);
    }
}

static void the_wait_doubles_up_to_its_maximum_and_is_forgotten_once_closed(void **state)
{
    (void)state;
    static const int64_t EXPECTED[] = {5, 10, 20, 40, 60, 60};
    enum { COUNT = sizeof(EXPECTED) / sizeof(EXPECTED[0]) };
    mono_ns_t waits[COUNT];
    struct bench t;
    begin_exact(&t);
    open_again_and_again(&t, COUNT, waits);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(waits[i], EXPECTED[i] * S);
    t.now = t.b.open_until;
    calls(&t, 3, BREAKER_SUCCESS);
    assert_state(&t, BREAKER_CLOSED);
    open_it(&t);
    assert_int_equal(t.b.open_until - t.now, 5 * S);
    breaker_done(&t.b);
}

static void the_jitter_keeps_within_its_share_and_differs(void **state)
{
    (void)state;
    bool differs = false;
    for (uint64_t seed = 1; seed <= TRIALS; seed++) {
        static const int64_t EXPECTED[] = {5, 10, 20, 40, 60, 60};
        enum { COUNT = sizeof(EXPECTED) / sizeof(EXPECTED[0]) };
        mono_ns_t waits[COUNT];
        struct bench t;
        memset(&t, 0, sizeof(t));
        t.now = BEGIN;
        breaker_init(&t.b, &BREAKER_SERVICE, seed * 0x9e3779b97f4a7c15, on_change, &t, t.now);
        open_again_and_again(&t, COUNT, waits);
        for (size_t i = 0; i < COUNT; i++) {
            assert_in_range(waits[i], EXPECTED[i] * S * 8 / 10, EXPECTED[i] * S * 12 / 10);
            differs = differs || llabs(waits[i] - EXPECTED[i] * S) > EXPECTED[i] * S / 10;
        }
        breaker_done(&t.b);
    }
    assert_true(differs);
}

/* ---- HALF_OPEN ---- */

static void half_open_gives_out_so_many_probes_and_no_more(void **state)
{
    (void)state;
    struct breaker_conf conf = exact();
    conf.probes_at_once = 5;
    struct bench t;
    begin(&t, &conf);
    half_open_it(&t);
    for (int i = 0; i < 5; i++)
        acquire(&t);
    assert_int_equal(refused(&t), S);
    breaker_done(&t.b);

    begin_exact(&t);
    half_open_it(&t);
    acquire(&t);
    acquire(&t);
    assert_int_equal(refused(&t), S); /* two are under way */
    breaker_done(&t.b);
}

static void the_verdict_falls_at_the_third_of_a_kind(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    half_open_it(&t);
    calls(&t, 2, BREAKER_FAILURE);
    assert_state(&t, BREAKER_HALF_OPEN);
    call(&t, BREAKER_FAILURE);
    assert_state(&t, BREAKER_OPEN);

    t.now = t.b.open_until;
    calls(&t, 2, BREAKER_SUCCESS);
    calls(&t, 2, BREAKER_FAILURE);
    assert_state(&t, BREAKER_HALF_OPEN);
    call(&t, BREAKER_SUCCESS);
    assert_state(&t, BREAKER_CLOSED);
    breaker_done(&t.b);
}

static void probes_that_are_slow_open_it_again(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    half_open_it(&t);
    for (int i = 0; i < 3; i++)
        report_slow(&t, acquire(&t), BREAKER_SUCCESS);
    assert_state(&t, BREAKER_HALF_OPEN);
    report_slow(&t, acquire(&t), BREAKER_SUCCESS);
    assert_state(&t, BREAKER_OPEN);
    breaker_done(&t.b);
}

static void a_canceled_probe_gives_its_permit_back(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    half_open_it(&t);
    for (int i = 0; i < 20; i++)
        call(&t, BREAKER_CANCELED);
    assert_state(&t, BREAKER_HALF_OPEN);
    calls(&t, 3, BREAKER_SUCCESS);
    assert_state(&t, BREAKER_CLOSED);
    breaker_done(&t.b);
}

static void a_lost_probe_opens_it_again_and_it_recovers_later(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    half_open_it(&t);
    uint32_t lost = acquire(&t);
    call(&t, BREAKER_SUCCESS);
    mono_ns_t until = t.now + 10 * S;
    t.now = until - 1;
    breaker_tick(&t.b, t.now);
    assert_int_equal(breaker_peek(&t.b), BREAKER_HALF_OPEN);
    breaker_tick(&t.b, ++t.now);
    assert_int_equal(breaker_peek(&t.b), BREAKER_OPEN);

    t.now = t.b.open_until;
    calls(&t, 2, BREAKER_SUCCESS);
    report(&t, lost, BREAKER_FAILURE);
    call(&t, BREAKER_SUCCESS);
    assert_state(&t, BREAKER_CLOSED);
    assert_int_equal(look(&t).stale_total, 1);
    breaker_done(&t.b);
}

static void half_open_waits_for_its_first_probe_however_long(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    half_open_it(&t);
    t.now += 3600 * S;
    assert_state(&t, BREAKER_HALF_OPEN);
    calls(&t, 3, BREAKER_SUCCESS);
    assert_state(&t, BREAKER_CLOSED);
    breaker_done(&t.b);
}

static void a_report_from_an_earlier_state_changes_nothing_but_its_count(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    uint32_t old[100];
    for (size_t i = 0; i < 100; i++)
        old[i] = acquire(&t);
    open_it(&t);
    report(&t, old[0], BREAKER_SUCCESS);
    t.now = t.b.open_until;
    breaker_tick(&t.b, t.now);
    for (size_t i = 1; i < 10; i++) /* neither success … */
        report(&t, old[i], BREAKER_SUCCESS);
    for (size_t i = 10; i < 20; i++) /* … nor failure, nor leaving is a probe's */
        report(&t, old[i], i % 2 == 0 ? BREAKER_FAILURE : BREAKER_CANCELED);
    assert_state(&t, BREAKER_HALF_OPEN);
    assert_int_equal(look(&t).probes.calls, 0);
    calls(&t, 3, BREAKER_SUCCESS);
    for (size_t i = 20; i < 100; i++) /* the next CLOSED is not the one they began in */
        report(&t, old[i], BREAKER_NOT_CONNECTED);
    assert_state(&t, BREAKER_CLOSED);
    assert_int_equal(look(&t).window.calls, 0);
    assert_int_equal(look(&t).stale_total, 100);
    breaker_done(&t.b);
}

/* ---- an admin's word ---- */

static void forced_open_refuses_and_disabled_lets_all_pass_until_told_otherwise(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    uint32_t before = acquire(&t);
    breaker_force(&t.b, BREAKER_FORCED_OPEN, t.now);
    refused(&t);
    t.now += 3600 * S;
    breaker_tick(&t.b, t.now);
    refused(&t);
    report(&t, before, BREAKER_SUCCESS);
    assert_int_equal(look(&t).stale_total, 1);

    breaker_force(&t.b, BREAKER_DISABLED, t.now);
    calls(&t, 100, BREAKER_NOT_CONNECTED);
    assert_state(&t, BREAKER_DISABLED);
    assert_int_equal(look(&t).window.failed, 100);

    breaker_force(&t.b, BREAKER_CLOSED, t.now);
    assert_int_equal(look(&t).window.calls, 0);
    calls(&t, 4, BREAKER_NOT_CONNECTED);
    assert_state(&t, BREAKER_CLOSED);
    breaker_force(&t.b, BREAKER_CLOSED, t.now); /* said twice, nothing is forgotten */
    call(&t, BREAKER_NOT_CONNECTED);
    assert_state(&t, BREAKER_OPEN);
    breaker_force(&t.b, BREAKER_CLOSED, t.now);
    acquire(&t);
    breaker_done(&t.b);
}

/* ---- many threads ---- */

enum { THREADS = 8, FAILURES_OF_EACH = 1250, PROBE_ROUNDS = 400 };

struct crowd {
    struct breaker b;
    pthread_barrier_t barrier;
    atomic_int opened, under_way, most, given;
};

static void count_opening(void *arg, const struct breaker_change *change)
{
    struct crowd *c = arg;
    if (change->from == BREAKER_CLOSED && change->to == BREAKER_OPEN)
        atomic_fetch_add(&c->opened, 1);
}

static void *fail_much(void *arg)
{
    struct crowd *c = arg;
    pthread_barrier_wait(&c->barrier);
    for (int i = 0; i < FAILURES_OF_EACH; i++) /* of generation 0: all were admitted before */
        breaker_report(&c->b, 0, (struct breaker_result){BREAKER_FAILURE, MS, SLOW}, BEGIN);
    return NULL;
}

static void join_all(struct crowd *c, void *(*run)(void *))
{
    pthread_t ids[THREADS];
    pthread_barrier_init(&c->barrier, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, run, c), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&c->barrier);
}

static void ten_thousand_failures_at_once_open_it_once(void **state)
{
    (void)state;
    static struct crowd c;
    struct breaker_conf conf = exact();
    breaker_init(&c.b, &conf, 1, count_opening, &c, BEGIN);
    join_all(&c, fail_much);
    struct breaker_view v;
    breaker_look(&c.b, BEGIN, &v);
    assert_int_equal(atomic_load(&c.opened), 1);
    assert_int_equal(v.entered_total[BREAKER_OPEN], 1);
    assert_int_equal(v.failed_total, 20);
    assert_int_equal(v.stale_total, THREADS * FAILURES_OF_EACH - 20);
    breaker_done(&c.b);
}

/* A probe's end is a cancel, so there is always another to be had. */
static void *probe_much(void *arg)
{
    struct crowd *c = arg;
    pthread_barrier_wait(&c->barrier);
    for (int i = 0; i < PROBE_ROUNDS; i++) {
        uint32_t generation;
        mono_ns_t wait;
        if (!breaker_acquire(&c->b, BEGIN + 5 * S, &generation, &wait))
            continue;
        int now = atomic_fetch_add(&c->under_way, 1) + 1, most = atomic_load(&c->most);
        while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now))
            continue;
        atomic_fetch_add(&c->given, 1);
        sched_yield();
        atomic_fetch_sub(&c->under_way, 1);
        breaker_report(&c->b, generation, (struct breaker_result){BREAKER_CANCELED, MS, SLOW}, BEGIN + 5 * S);
    }
    return NULL;
}

static void never_more_than_two_probes_are_under_way(void **state)
{
    (void)state;
    static struct crowd c;
    struct breaker_conf conf = exact();
    breaker_init(&c.b, &conf, 1, NULL, NULL, BEGIN);
    for (int i = 0; i < 20; i++)
        breaker_report(&c.b, 0, (struct breaker_result){BREAKER_FAILURE, MS, SLOW}, BEGIN);
    join_all(&c, probe_much);
    assert_in_range(atomic_load(&c.most), 1, 2);
    assert_true(atomic_load(&c.given) > 2);
    assert_int_equal(breaker_peek(&c.b), BREAKER_HALF_OPEN);
    breaker_done(&c.b);
}

/* ---- the model: all that ever happened, counted anew at each step ---- */

enum { SEEDS = 100000, STEPS = 80, PERMITS_MAX = 16 };

struct model {
    const struct breaker_conf *conf;
    enum breaker_state state;
    uint32_t generation, stale;
    struct event {
        mono_ns_t at;
        bool failed, slow, nobody;
    } events[STEPS]; /* of this CLOSED, or this HALF_OPEN's */
    size_t event_count;
    int given, under_way, open_count;
    mono_ns_t open_until, round_began;
};

struct permit {
    uint32_t generation;
    bool taken;
};

static void model_enter(struct model *m, enum breaker_state to, mono_ns_t now)
{
    m->state = to;
    m->generation++;
    m->event_count = 0;
    m->given = m->under_way = 0;
    if (to == BREAKER_OPEN) {
        int64_t ms = m->conf->wait_ms;
        for (int k = 0; k < m->open_count; k++)
            ms = ms * 2 > m->conf->wait_max_ms ? m->conf->wait_max_ms : ms * 2;
        m->open_until = now + ms * MS;
        m->open_count++;
    }
    if (to == BREAKER_CLOSED || to == BREAKER_DISABLED)
        m->open_count = 0;
}

static void model_time(struct model *m, mono_ns_t now)
{
    if (m->state == BREAKER_OPEN && now >= m->open_until)
        model_enter(m, BREAKER_HALF_OPEN, now);
    else if (m->state == BREAKER_HALF_OPEN && m->under_way > 0 &&
             now >= m->round_began + m->conf->half_open_max_ms * MS)
        model_enter(m, BREAKER_OPEN, now);
}

static bool model_acquire(struct model *m, mono_ns_t now)
{
    model_time(m, now);
    if (m->state == BREAKER_CLOSED || m->state == BREAKER_DISABLED)
        return true;
    if (m->state != BREAKER_HALF_OPEN || m->given == m->conf->probes || m->under_way == m->conf->probes_at_once)
        return false;
    if (m->under_way == 0)
        m->round_began = now;
    m->given++;
    m->under_way++;
    return true;
}

static bool model_is_in_window(mono_ns_t at, mono_ns_t now)
{
    return now / S - at / S < BREAKER_WINDOW_S;
}

static void model_judge_closed(struct model *m, mono_ns_t now)
{
    int all = 0, failed = 0, slow = 0, nobody = 0;
    for (size_t i = 0; i < m->event_count; i++) {
        const struct event *e = &m->events[i];
        nobody = e->nobody ? nobody + 1 : 0;
        if (!model_is_in_window(e->at, now))
            continue;
        all++;
        failed += e->failed;
        slow += e->slow;
    }
    bool enough = all >= m->conf->min_calls;
    if (nobody >= m->conf->conn_fails || (enough && failed * 100 >= m->conf->failure_percent * all) ||
        (enough && slow * 100 >= m->conf->slow_percent * all))
        model_enter(m, BREAKER_OPEN, now);
}

/* By every way that the missing probes may still end. */
static void model_judge_probes(struct model *m, mono_ns_t now)
{
    int failed = 0, slow = 0, all = m->conf->probes, left = all - (int)m->event_count;
    bool may_open = false, may_close = false;
    for (size_t i = 0; i < m->event_count; i++) {
        failed += m->events[i].failed;
        slow += m->events[i].slow;
    }
    for (int f = 0; f <= left; f++)
        for (int s = 0; s <= left; s++) {
            bool opens = (failed + f) * 100 >= m->conf->failure_percent * all ||
                         (slow + s) * 100 >= m->conf->slow_percent * all;
            may_open = may_open || opens;
            may_close = may_close || !opens;
        }
    if (may_open != may_close)
        model_enter(m, may_open ? BREAKER_OPEN : BREAKER_CLOSED, now);
}

static void model_report(struct model *m, uint32_t generation, enum breaker_outcome outcome, bool slow, mono_ns_t now)
{
    model_time(m, now);
    slow = slow || outcome == BREAKER_LATE;
    if (generation != m->generation) {
        m->stale++;
        return;
    }
    bool canceled = outcome == BREAKER_CANCELED && !slow;
    if (m->state == BREAKER_HALF_OPEN) {
        m->under_way--;
        m->given -= canceled;
    }
    if (canceled)
        return;
    m->events[m->event_count++] = (struct event){
        .at = now,
        .failed = outcome != BREAKER_SUCCESS && outcome != BREAKER_CANCELED,
        .slow = slow,
        .nobody = outcome == BREAKER_NOT_CONNECTED,
    };
    if (m->state == BREAKER_HALF_OPEN)
        model_judge_probes(m, now);
    else if (m->state == BREAKER_CLOSED)
        model_judge_closed(m, now);
}

static uint32_t roll(uint64_t *random, uint32_t sides)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33) % sides;
}

static mono_ns_t step_time(uint64_t *random)
{
    static const mono_ns_t STEPS_OF_TIME[] = {0, 0, 0, MS, 300 * MS, S, 2 * S, 11 * S};
    return STEPS_OF_TIME[roll(random, sizeof(STEPS_OF_TIME) / sizeof(STEPS_OF_TIME[0]))];
}

struct run {
    struct breaker b;
    struct model m;
    struct permit permits[PERMITS_MAX];
    mono_ns_t now;
    uint64_t random;
    uint32_t bad_percent; /* of this run's calls */
};

static void step_acquire(struct run *r, struct permit *p)
{
    mono_ns_t wait = 0;
    p->taken = breaker_acquire(&r->b, r->now, &p->generation, &wait);
    assert_int_equal(p->taken, model_acquire(&r->m, r->now));
    assert_true(p->taken || wait > 0);
    if (!p->taken && r->m.state == BREAKER_OPEN)
        assert_int_equal(wait, r->m.open_until - r->now);
}

static void step_report(struct run *r, struct permit *p)
{
    static const enum breaker_outcome BAD[] = {BREAKER_FAILURE, BREAKER_NOT_CONNECTED, BREAKER_LATE, BREAKER_CANCELED};
    bool bad = roll(&r->random, 100) < r->bad_percent, slow = roll(&r->random, 100) < r->bad_percent / 2;
    enum breaker_outcome outcome = bad ? BAD[roll(&r->random, 4)] : BREAKER_SUCCESS;
    breaker_report(&r->b, p->generation, (struct breaker_result){outcome, SLOW + (slow ? 1 : 0), SLOW}, r->now);
    model_report(&r->m, p->generation, outcome, slow, r->now);
    p->taken = false;
}

static void step(struct run *r)
{
    static const enum breaker_state FORCED[] = {BREAKER_FORCED_OPEN, BREAKER_DISABLED, BREAKER_CLOSED, BREAKER_CLOSED};
    struct permit *p = &r->permits[roll(&r->random, PERMITS_MAX)];
    r->now += step_time(&r->random);
    if (roll(&r->random, 60) == 0) {
        enum breaker_state to = FORCED[roll(&r->random, 4)];
        breaker_force(&r->b, to, r->now);
        if (r->m.state != to)
            model_enter(&r->m, to, r->now);
    } else if (roll(&r->random, 10) == 0) {
        breaker_tick(&r->b, r->now);
        model_time(&r->m, r->now);
    } else if (!p->taken) {
        step_acquire(r, p);
    } else if (roll(&r->random, 12) == 0) {
        p->taken = false; /* lost: never reported */
    } else {
        step_report(r, p);
    }
    assert_int_equal(r->b.state, r->m.state);
    assert_int_equal(r->b.generation, r->m.generation);
    assert_int_equal(r->b.stale_total, r->m.stale);
}

static void any_sequence_ends_where_a_plain_model_ends(void **state)
{
    (void)state;
    struct breaker_conf conf = exact();
    conf.min_calls = 6;
    conf.conn_fails = 3;
    conf.wait_max_ms = 20000;
    uint64_t seen[BREAKER_STATE_COUNT] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static struct run r;
        memset(&r, 0, sizeof(r));
        r.random = seed;
        r.now = BEGIN + (mono_ns_t)roll(&r.random, 1000) * MS;
        r.bad_percent = roll(&r.random, 101);
        r.m.conf = &conf;
        breaker_init(&r.b, &conf, seed, NULL, NULL, r.now);
        for (int i = 0; i < STEPS; i++)
            step(&r);
        for (size_t s = 0; s < BREAKER_STATE_COUNT; s++)
            seen[s] += r.b.entered_total[s];
        breaker_done(&r.b);
    }
    for (size_t s = 0; s < BREAKER_STATE_COUNT; s++) /* the sequences went everywhere, often */
        assert_true(seen[s] > SEEDS / 10);
}

/* ---- what is shown ---- */

static void what_is_shown_agrees_with_the_changes_that_were_told(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    open_it(&t);
    for (int i = 0; i < 3; i++) {
        t.now = t.b.open_until;
        calls(&t, 3, BREAKER_FAILURE);
    }
    t.now = t.b.open_until;
    calls(&t, 3, BREAKER_SUCCESS);

    uint64_t entered[BREAKER_STATE_COUNT] = {0};
    enum breaker_state at = BREAKER_CLOSED;
    for (size_t i = 0; i < t.change_count; i++) {
        assert_int_equal(t.changes[i].from, at);
        assert_int_equal(t.changes[i].generation, i + 1);
        at = t.changes[i].to;
        entered[at]++;
    }
    struct breaker_view v = look(&t);
    assert_int_equal(v.state, at);
    assert_memory_equal(v.entered_total, entered, sizeof(entered));
    assert_int_equal(v.failed_total, 20 + 9);
    assert_int_equal(v.successful_total, 3);
    breaker_done(&t.b);
}

static void rates_are_shown_once_there_are_calls_enough(void **state)
{
    (void)state;
    struct bench t;
    begin_exact(&t);
    calls(&t, 19, BREAKER_SUCCESS);
    assert_true(look(&t).failure_rate < 0);
    call(&t, BREAKER_FAILURE);
    assert_true(look(&t).has_rates);
    assert_int_equal((int)look(&t).failure_rate, 5);
    assert_int_equal((int)look(&t).slow_rate, 0);
    breaker_done(&t.b);

    begin_exact(&t);
    open_it(&t);
    t.now += 1;
    assert_int_equal(look(&t).retry_after_ms, 5000); /* never less than is true */
    assert_int_equal(look(&t).window.failed, 20);
    breaker_done(&t.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nineteen_failures_of_nineteen_say_too_little_and_the_twentieth_opens),
        cmocka_unit_test(half_of_the_calls_failing_opens_and_one_less_does_not),
        cmocka_unit_test(slow_is_longer_than_the_limit_and_sixteen_of_twenty_open),
        cmocka_unit_test(the_window_forgets_after_ten_seconds_and_not_before),
        cmocka_unit_test(a_thread_whose_clock_reading_is_older_counts_as_now),
        cmocka_unit_test(five_calls_in_a_row_that_met_nobody_open_at_once),
        cmocka_unit_test(what_the_client_did_wrong_never_opens),
        cmocka_unit_test(clients_that_leave_a_hanging_service_count_as_slow),
        cmocka_unit_test(open_refuses_until_its_time_exactly_and_says_how_long),
        cmocka_unit_test(time_alone_moves_open_to_half_open),
        cmocka_unit_test(the_wait_doubles_up_to_its_maximum_and_is_forgotten_once_closed),
        cmocka_unit_test(the_jitter_keeps_within_its_share_and_differs),
        cmocka_unit_test(half_open_gives_out_so_many_probes_and_no_more),
        cmocka_unit_test(the_verdict_falls_at_the_third_of_a_kind),
        cmocka_unit_test(probes_that_are_slow_open_it_again),
        cmocka_unit_test(a_canceled_probe_gives_its_permit_back),
        cmocka_unit_test(a_lost_probe_opens_it_again_and_it_recovers_later),
        cmocka_unit_test(half_open_waits_for_its_first_probe_however_long),
        cmocka_unit_test(a_report_from_an_earlier_state_changes_nothing_but_its_count),
        cmocka_unit_test(forced_open_refuses_and_disabled_lets_all_pass_until_told_otherwise),
        cmocka_unit_test(ten_thousand_failures_at_once_open_it_once),
        cmocka_unit_test(never_more_than_two_probes_are_under_way),
        cmocka_unit_test(any_sequence_ends_where_a_plain_model_ends),
        cmocka_unit_test(what_is_shown_agrees_with_the_changes_that_were_told),
        cmocka_unit_test(rates_are_shown_once_there_are_calls_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
