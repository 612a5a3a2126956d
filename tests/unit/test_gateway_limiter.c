#include "gateway/limiter.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#define S NS_PER_S

static const mono_ns_t BEGIN = 1000 * S;

/* Under ThreadSanitizer, which is for the threads below, everything takes thirty times as long. */
#ifdef __SANITIZE_THREAD__
enum { FEWER = 20 };
#else
enum { FEWER = 1 };
#endif

static struct limit_policy policy(const char *name, int64_t limit, int64_t period_s, int64_t burst)
{
    struct limit_policy p;
    assert_true(limit_policy_init(&p, name, limit, period_s, burst));
    return p;
}

static struct limit_ask ask_of(const struct limit_policy *p, const char *key, int64_t cost)
{
    return (struct limit_ask){.policy = p, .key = str_of(key), .cost = cost};
}

static bool ask(struct limiter *l, const struct limit_policy *p, const char *key, int64_t cost, mono_ns_t now)
{
    struct limit_ask a = ask_of(p, key, cost);
    return limiter_ask(l, &a, 1, true, now);
}

/* How long until the same would be allowed. */
static mono_ns_t refused(struct limiter *l, const struct limit_policy *p, const char *key, int64_t cost, mono_ns_t now)
{
    struct limit_ask a = ask_of(p, key, cost);
    assert_false(limiter_ask(l, &a, 1, true, now));
    assert_true(a.wait > 0);
    return a.wait;
}

static void burst(struct limiter *l, const struct limit_policy *p, const char *key, mono_ns_t now)
{
    for (int64_t i = 0; i < p->burst; i++)
        assert_true(ask(l, p, key, 1, now));
}

/* ---- the algorithm ---- */

static void the_burst_passes_then_nothing_and_the_next_after_one_interval_exactly(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("order", 10, 1, 20);
    burst(l, &p, "17", BEGIN);
    assert_int_equal(refused(l, &p, "17", 1, BEGIN), S / 10);
    refused(l, &p, "17", 1, BEGIN + S / 10 - 1);
    assert_true(ask(l, &p, "17", 1, BEGIN + S / 10));
    refused(l, &p, "17", 1, BEGIN + S / 10);
    assert_true(ask(l, &p, "18", 1, BEGIN)); /* another key has its own */
    limiter_free(l);
}

static void over_a_million_seconds_the_rate_is_the_limit(void **state)
{
    (void)state;
    static const struct {
        int64_t limit, period_s, burst, step_ms;
    } ROWS[] = {{3, 1, 1, 250}, {5, 60, 5, 1000}, {1, 1, 1, 400}, {7, 10, 3, 500}};
    for (size_t r = 0; r < LENGTH_OF(ROWS); r++) {
        struct limiter *l = limiter_new();
        struct limit_policy p = policy("rate", ROWS[r].limit, ROWS[r].period_s, ROWS[r].burst);
        const int64_t seconds = 1000000 / FEWER;
        int64_t allowed = 0, expected = seconds * ROWS[r].limit / ROWS[r].period_s;
        mono_ns_t step = ROWS[r].step_ms * NS_PER_MS, now = BEGIN;
        /* asks until refused, then waits as long as it was told; the burst is spent before the clock starts */
        burst(l, &p, "k", now);
        for (now += step; now <= BEGIN + seconds * S;) {
            struct limit_ask a = ask_of(&p, "k", 1);
            if (limiter_ask(l, &a, 1, true, now))
                allowed++;
            else
                now += a.wait;
        }
        assert_in_range(allowed, expected - 1, expected + 1);
        limiter_free(l);
    }
}

static uint32_t roll(uint64_t *random, uint32_t sides)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33) % sides;
}

/* N requests allowed within a window of W: N <= B + W/T. So no window as long as it takes to earn a burst sees two of them. */
static void no_window_has_more_than_a_burst_and_what_it_earns(void **state)
{
    (void)state;
    enum { RUNS = 200, ASKS = 400 };
    uint64_t random = 1;
    for (int run = 0; run < RUNS; run++) {
        struct limiter *l = limiter_new();
        struct limit_policy p = policy("w", 1 + roll(&random, 50), 1 + roll(&random, 5), 1 + roll(&random, 20));
        mono_ns_t now = BEGIN, at[ASKS];
        size_t n = 0;
        for (int i = 0; i < ASKS; i++) {
            now += roll(&random, 3) == 0 ? (mono_ns_t)roll(&random, 1000) * p.interval / 100 : 0;
            if (ask(l, &p, "k", 1, now))
                at[n++] = now;
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = i; j < n; j++)
                assert_true((int64_t)(j - i + 1) <= p.burst + (at[j] - at[i]) / p.interval);
        limiter_free(l);
    }
}

static void a_storm_of_refused_requests_does_not_extend_the_wait(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("login", 5, 60, 5);
    burst(l, &p, "eve", BEGIN);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(refused(l, &p, "eve", 1, BEGIN + i), 12 * S - i);
    assert_true(ask(l, &p, "eve", 1, BEGIN + 12 * S));
    limiter_free(l);
}

static void a_request_may_cost_more_and_one_that_costs_more_than_the_burst_never_passes(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("read", 10, 1, 10);
    assert_true(ask(l, &p, "k", 7, BEGIN));
    assert_int_equal(refused(l, &p, "k", 5, BEGIN), S / 5); /* two more are needed */
    assert_true(ask(l, &p, "k", 3, BEGIN));
    assert_true(ask(l, &p, "k", 5, BEGIN + S / 2));
    assert_true(refused(l, &p, "fresh", 11, BEGIN) == LIMIT_NEVER);
    assert_true(ask(l, &p, "fresh", 10, BEGIN));
    limiter_free(l);
}

static void if_one_policy_refuses_none_is_spent(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy address = policy("address", 20, 1, 40), name = policy("name", 5, 60, 1);
    assert_true(ask(l, &name, "ann", 1, BEGIN));
    for (int i = 0; i < 100; i++) {
        struct limit_ask asks[] = {ask_of(&address, "10.0.0.1", 1), ask_of(&name, "ann", 1)};
        assert_false(limiter_ask(l, asks, 2, true, BEGIN));
        assert_true(asks[0].allowed);
        assert_false(asks[1].allowed);
        assert_int_equal(asks[0].remaining, 40);
    }
    struct limit_ask asks[] = {ask_of(&address, "10.0.0.1", 1), ask_of(&name, "bob", 1)};
    assert_true(limiter_ask(l, asks, 2, true, BEGIN));
    assert_int_equal(asks[0].remaining, 39);
    assert_int_equal(asks[1].remaining, 0);
    limiter_free(l);
}

static void asking_without_spending_spends_nothing(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("p", 1, 1, 1);
    struct limit_ask a = ask_of(&p, "k", 1);
    for (int i = 0; i < 10; i++)
        assert_true(limiter_ask(l, &a, 1, false, BEGIN));
    assert_true(ask(l, &p, "k", 1, BEGIN));
    assert_false(limiter_ask(l, &a, 1, false, BEGIN));
    limiter_free(l);
}

static void what_is_told_is_monotone_and_waiting_so_long_is_enough(void **state)
{
    (void)state;
    enum { RUNS = 500 };
    uint64_t random = 7;
    for (int run = 0; run < RUNS; run++) {
        struct limiter *l = limiter_new();
        struct limit_policy p = policy("p", 1 + roll(&random, 50), 1 + roll(&random, 60), 5 + roll(&random, 20));
        mono_ns_t now = BEGIN + roll(&random, 1000000);
        int64_t remaining = p.burst, cost = 1 + roll(&random, 5);
        struct limit_ask a = ask_of(&p, "k", cost);
        while (limiter_ask(l, &a, 1, true, now)) {
            assert_int_equal(a.remaining, remaining - cost);
            assert_int_equal(a.wait, p.interval); /* of requests at one moment */
            remaining = a.remaining;
        }
        assert_false(ask(l, &p, "k", cost, now + a.wait - 1));
        assert_true(ask(l, &p, "k", cost, now + a.wait));
        limiter_free(l);
    }
}

static void the_wait_of_an_allowed_request_is_until_one_more_is_there(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("p", 1, 10, 3);
    struct limit_ask a = ask_of(&p, "k", 1);
    assert_true(limiter_ask(l, &a, 1, true, BEGIN));
    assert_int_equal(a.remaining, 2);
    assert_true(limiter_ask(l, &a, 1, false, BEGIN + 4 * S));
    assert_int_equal(a.remaining, 2);
    assert_int_equal(a.wait, 6 * S);
    assert_true(limiter_ask(l, &a, 1, false, BEGIN + 10 * S));
    assert_int_equal(a.remaining, 3);
    assert_int_equal(a.wait, 0);
    limiter_free(l);
}

/* ---- clocks and sizes ---- */

static void a_clock_that_jumps_back_does_no_harm(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("p", 10, 1, 5);
    burst(l, &p, "k", BEGIN);
    assert_int_equal(refused(l, &p, "k", 1, BEGIN - 900 * S), S / 10); /* not a quarter of an hour */
    assert_true(ask(l, &p, "k", 1, BEGIN - 900 * S + S / 10));
    refused(l, &p, "k", 1, BEGIN - 900 * S + S / 10);
    limiter_free(l);
}

static void slow_and_fast_policies_work_far_in_the_future(void **state)
{
    (void)state;
    static const struct {
        int64_t limit, period_s, burst;
    } ROWS[] = {{1, 86400, 1}, {1, 86400, 300}, {1000000, 1, 1}, {1000000, 1, 1000000}};
    const mono_ns_t now = INT64_MAX - 2 * 366 * 86400 * S; /* 290 years after start */
    for (size_t r = 0; r < LENGTH_OF(ROWS); r++) {
        struct limiter *l = limiter_new();
        struct limit_policy p = policy("p", ROWS[r].limit, ROWS[r].period_s, ROWS[r].burst);
        for (int64_t i = 0; i < p.burst; i++)
            assert_true(ask(l, &p, "k", 1, now));
        assert_int_equal(refused(l, &p, "k", 1, now), p.interval);
        assert_true(ask(l, &p, "k", 1, now + p.interval));
        limiter_free(l);
    }
    struct limit_policy p;
    assert_false(limit_policy_init(&p, "p", 0, 1, 1));
    assert_false(limit_policy_init(&p, "p", 1, 0, 1));
    assert_false(limit_policy_init(&p, "p", 1, 1, 0));
    assert_false(limit_policy_init(&p, "p", 1000000001, 1, 1));
    assert_false(limit_policy_init(&p, "p", 1, 86400, 367));
    assert_false(limit_policy_init(&p, "p", INT64_MAX, 1, INT64_MAX));
}

enum { THREADS = 8, ASKS_OF_EACH = 5000 };

struct crowd {
    struct limiter *l;
    struct limit_policy p, q;
    atomic_int allowed;
    pthread_barrier_t barrier;
};

static void *ask_much(void *arg)
{
    struct crowd *c = arg;
    pthread_barrier_wait(&c->barrier);
    for (int i = 0; i < ASKS_OF_EACH; i++) {
        struct limit_ask asks[] = {ask_of(&c->p, "k", 1), ask_of(&c->q, "k", 1)};
        if (i % 2 == 0) { /* the order they are asked in must not matter */
            asks[0] = ask_of(&c->q, "k", 1);
            asks[1] = ask_of(&c->p, "k", 1);
        }
        if (limiter_ask(c->l, asks, 2, true, BEGIN))
            atomic_fetch_add(&c->allowed, 1);
    }
    return NULL;
}

static void eight_threads_on_one_key_get_exactly_the_burst(void **state)
{
    (void)state;
    static struct crowd c;
    pthread_t ids[THREADS];
    c.l = limiter_new();
    c.p = policy("p", 1, 1, 1234);
    c.q = policy("q", 1, 1, 2000);
    pthread_barrier_init(&c.barrier, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, ask_much, &c), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&c.barrier);
    assert_int_equal(atomic_load(&c.allowed), 1234);
    struct limit_ask a = ask_of(&c.q, "k", 1);
    assert_true(limiter_ask(c.l, &a, 1, false, BEGIN));
    assert_int_equal(a.remaining, 2000 - 1234);
    limiter_free(c.l);
}

/* ---- the table ---- */

static void a_flood_of_keys_does_not_free_one_that_is_limited(void **state)
{
    (void)state;
    enum { KEYS = 10000000 / FEWER };
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("anonymous", 20, 1, 40);
    burst(l, &p, "attacker", BEGIN);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct limit_ask a = {.policy = &p, .key = {(const char *)&i, sizeof(i)}, .cost = 1};
        assert_true(limiter_ask(l, &a, 1, true, BEGIN));
        if (i % 100000 == 0)
            refused(l, &p, "attacker", 1, BEGIN);
    }
    refused(l, &p, "attacker", 1, BEGIN);
    assert_true(limiter_evictions(l) > KEYS - LIMIT_SLOTS - 1);
    limiter_free(l);
}

static void an_entry_whose_time_has_come_is_used_again_and_nothing_is_lost(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("p", 1000, 1, 1);
    mono_ns_t now = BEGIN;
    for (uint32_t i = 0; i < 20 * LIMIT_SLOTS; i++, now += p.interval) {
        struct limit_ask a = {.policy = &p, .key = {(const char *)&i, sizeof(i)}, .cost = 1};
        assert_true(limiter_ask(l, &a, 1, true, now));
    }
    assert_int_equal(limiter_evictions(l), 0);
    limiter_free(l);
}

static void a_changed_policy_keeps_what_was_used_and_an_unchanged_one_all(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("p", 10, 1, 20), twice = policy("p", 20, 1, 20), small = policy("p", 10, 1, 5),
                        other = policy("o", 10, 1, 20);
    assert_false(limit_policy_eq(&p, &twice));
    for (int i = 0; i < 15; i++) {
        assert_true(ask(l, &p, "k", 1, BEGIN));
        assert_true(ask(l, &other, "k", 1, BEGIN));
    }
    limiter_rescale(l, &p, &twice, BEGIN);
    struct limit_ask a = ask_of(&twice, "k", 1), o = ask_of(&other, "k", 1);
    assert_true(limiter_ask(l, &a, 1, false, BEGIN));
    assert_int_equal(a.remaining, 5);
    assert_true(limiter_ask(l, &o, 1, false, BEGIN));
    assert_int_equal(o.remaining, 5);
    assert_true(limiter_ask(l, &a, 1, false, BEGIN + S / 2));
    assert_int_equal(a.remaining, 15); /* at twice the rate */

    limiter_rescale(l, &twice, &small, BEGIN);
    assert_int_equal(refused(l, &small, "k", 1, BEGIN), S / 10); /* its whole burst, and no more */
    limiter_free(l);
}

static void long_keys_that_differ_within_what_counts_are_two(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct limit_policy p = policy("p", 1, 1, 1);
    char a[LIMIT_KEY_MAX + 100], b[sizeof(a)];
    memset(a, 'x', sizeof(a));
    memcpy(b, a, sizeof(a));
    a[sizeof(a) - 1] = b[sizeof(b) - 1] = '\0';
    b[LIMIT_KEY_MAX - 1] = 'y';
    assert_true(ask(l, &p, a, 1, BEGIN));
    assert_true(ask(l, &p, b, 1, BEGIN));
    b[LIMIT_KEY_MAX - 1] = 'x';
    b[LIMIT_KEY_MAX] = 'y'; /* beyond it nothing counts, so that a longer name is no way out */
    refused(l, &p, b, 1, BEGIN);
    assert_true(ask(l, &p, "", 1, BEGIN));
    limiter_free(l);
}

/* ---- the fields ---- */

/* RFC 8941: a list of strings with integer parameters, no more than we use. Returns false where the grammar is broken. */
struct item {
    char name[LIMIT_NAME_MAX + 1];
    char keys[4];
    int64_t values[4];
    size_t params;
};

static bool parse_item(const char **at, struct item *ret)
{
    const char *c = *at;
    size_t len = 0;
    if (*c++ != '"')
        return false;
    for (; *c >= 0x20 && *c < 0x7f && *c != '"' && *c != '\\'; c++)
        if (len < LIMIT_NAME_MAX)
            ret->name[len++] = *c;
    ret->name[len] = '\0';
    if (*c++ != '"')
        return false;
    for (ret->params = 0; *c == ';' && ret->params < 4; ret->params++) {
        char *end;
        if (c[1] < 'a' || c[1] > 'z' || c[2] != '=' || c[3] < '0' || c[3] > '9')
            return false;
        ret->keys[ret->params] = c[1];
        ret->values[ret->params] = strtoll(c + 3, &end, 10);
        if (end - (c + 3) > 15)
            return false;
        c = end;
    }
    *at = c;
    return true;
}

static size_t parse_list(const char *text, struct item *ret, size_t max)
{
    size_t count = 0;
    for (;;) {
        assert_true(count < max);
        assert_true(parse_item(&text, &ret[count]));
        count++;
        if (*text == '\0')
            return count;
        assert_int_equal(*text++, ',');
        while (*text == ' ' || *text == '\t')
            text++;
    }
}

static void the_fields_are_structured_and_the_strictest_comes_first(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct arena arena;
    struct item items[4];
    struct limit_policy address = policy("address", 20, 1, 40), login = policy("login-name", 5, 60, 5);
    arena_init(&arena);
    for (int i = 0; i < 2; i++) {
        struct limit_ask asks[] = {ask_of(&address, "10.0.0.1", 1), ask_of(&login, "ann", 1)};
        assert_true(limiter_ask(l, asks, 2, true, BEGIN));
        struct limit_fields f = limit_fields_of(asks, 2, &arena);
        assert_string_equal(f.policy, "\"login-name\";q=5;w=60, \"address\";q=20;w=1");
        assert_int_equal(parse_list(f.policy, items, 4), 2);
        assert_int_equal(parse_list(f.limit, items, 4), 2);
        assert_string_equal(items[0].name, "login-name");
        assert_memory_equal(items[0].keys, "rt", 2);
        assert_int_equal(items[0].values[0], 4 - i);
        assert_int_equal(items[0].values[1], 12);
        assert_int_equal(items[1].values[0], 39 - i);
        assert_int_equal(items[1].values[1], 1);
        assert_int_equal(f.retry_after_s, 0);
    }
    arena_done(&arena);
    limiter_free(l);
}

static void retry_after_is_enough_for_all_that_refuse_and_never_before_t(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    struct arena arena;
    struct item items[4];
    struct limit_policy fast = policy("fast", 50, 1, 1), slow = policy("slow", 5, 60, 1),
                        calm = policy("calm", 1, 1, 9);
    arena_init(&arena);
    struct limit_ask asks[] = {ask_of(&calm, "k", 1), ask_of(&fast, "k", 1), ask_of(&slow, "k", 1)};
    assert_true(limiter_ask(l, asks, 3, true, BEGIN));
    assert_false(limiter_ask(l, asks, 3, true, BEGIN + 1));
    struct limit_fields f = limit_fields_of(asks, 3, &arena);
    assert_int_equal(parse_list(f.limit, items, 4), 3);
    assert_string_equal(items[0].name, "slow");
    assert_string_equal(items[1].name, "fast");
    assert_int_equal(f.retry_after_s, 12);
    for (size_t i = 0; i < 2; i++)
        assert_true(items[i].values[1] >= 1 && items[i].values[1] <= f.retry_after_s);
    assert_true(limiter_ask(l, asks, 3, true, BEGIN + 1 + f.retry_after_s * S));
    arena_done(&arena);
    limiter_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_burst_passes_then_nothing_and_the_next_after_one_interval_exactly),
        cmocka_unit_test(over_a_million_seconds_the_rate_is_the_limit),
        cmocka_unit_test(no_window_has_more_than_a_burst_and_what_it_earns),
        cmocka_unit_test(a_storm_of_refused_requests_does_not_extend_the_wait),
        cmocka_unit_test(a_request_may_cost_more_and_one_that_costs_more_than_the_burst_never_passes),
        cmocka_unit_test(if_one_policy_refuses_none_is_spent),
        cmocka_unit_test(asking_without_spending_spends_nothing),
        cmocka_unit_test(what_is_told_is_monotone_and_waiting_so_long_is_enough),
        cmocka_unit_test(the_wait_of_an_allowed_request_is_until_one_more_is_there),
        cmocka_unit_test(a_clock_that_jumps_back_does_no_harm),
        cmocka_unit_test(slow_and_fast_policies_work_far_in_the_future),
        cmocka_unit_test(eight_threads_on_one_key_get_exactly_the_burst),
        cmocka_unit_test(a_flood_of_keys_does_not_free_one_that_is_limited),
        cmocka_unit_test(an_entry_whose_time_has_come_is_used_again_and_nothing_is_lost),
        cmocka_unit_test(a_changed_policy_keeps_what_was_used_and_an_unchanged_one_all),
        cmocka_unit_test(long_keys_that_differ_within_what_counts_are_two),
        cmocka_unit_test(the_fields_are_structured_and_the_strictest_comes_first),
        cmocka_unit_test(retry_after_is_enough_for_all_that_refuse_and_never_before_t),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
