#include "io/token_denied.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "unit.h"

enum { NOW_S = 1000, UNTIL_S = NOW_S + 630, ISSUED_S = NOW_S - 5 };

static void nobody_is_denied_at_first(void **state)
{
    (void)state;
    struct denied *d = denied_new();
    assert_false(denied_has(d, uuid_v7(), ISSUED_S, NOW_S));
    assert_false(denied_has(d, (struct uuid){{0}}, ISSUED_S, NOW_S));
    assert_int_equal(denied_floor(d), 0);
    denied_free(d);
    denied_free(NULL);
}

static void a_session_is_denied_until_its_time_and_no_other_is(void **state)
{
    (void)state;
    struct denied *d = denied_new();
    struct uuid sid = uuid_v7(), other = uuid_v7();
    denied_add(d, sid, UNTIL_S, NOW_S);
    assert_true(denied_has(d, sid, ISSUED_S, NOW_S));
    assert_true(denied_has(d, sid, ISSUED_S, UNTIL_S - 1));
    assert_false(denied_has(d, sid, ISSUED_S, UNTIL_S));
    assert_false(denied_has(d, other, ISSUED_S, NOW_S));
    denied_free(d);
}

static void the_later_time_of_a_session_counts(void **state)
{
    (void)state;
    struct denied *d = denied_new();
    struct uuid sid = uuid_v7();
    denied_add(d, sid, UNTIL_S, NOW_S);
    denied_add(d, sid, UNTIL_S - 100, NOW_S);
    assert_true(denied_has(d, sid, ISSUED_S, UNTIL_S - 1));
    denied_add(d, sid, UNTIL_S + 100, NOW_S);
    assert_true(denied_has(d, sid, ISSUED_S, UNTIL_S + 99));
    assert_false(denied_has(d, sid, ISSUED_S, UNTIL_S + 100));
    denied_free(d);
}

static void what_is_over_already_is_not_taken(void **state)
{
    (void)state;
    struct denied *d = denied_new();
    struct uuid sid = uuid_v7();
    denied_add(d, sid, NOW_S, NOW_S);
    assert_false(denied_has(d, sid, ISSUED_S, NOW_S - 1));
    denied_free(d);
}

/* Two rows to choose from fill the table evenly: half of it long before any row is full. */
static void half_of_the_places_are_filled_without_a_session_lost(void **state)
{
    (void)state;
    enum { COUNT = DENIED_MAX / 2 };
    struct denied *d = denied_new();
    struct uuid *sids = mem_alloc(COUNT * sizeof *sids);
    for (int i = 0; i < COUNT; i++) {
        sids[i] = uuid_v7();
        denied_add(d, sids[i], UNTIL_S, NOW_S);
    }
    assert_int_equal(denied_floor(d), 0);
    for (int i = 0; i < COUNT; i++)
        assert_true(denied_has(d, sids[i], ISSUED_S, NOW_S));
    for (int i = 0; i < COUNT; i++)
        assert_false(denied_has(d, uuid_v7(), ISSUED_S, NOW_S));
    mem_free(sids);
    denied_free(d);
}

static void without_room_all_that_was_issued_so_far_is_denied_and_nobody_slips_through(void **state)
{
    (void)state;
    struct denied *d = denied_new();
    struct uuid last;
    for (int i = 0; i < 2 * DENIED_MAX; i++) {
        last = uuid_v7();
        denied_add(d, last, UNTIL_S, NOW_S);
        assert_true(denied_has(d, last, ISSUED_S, NOW_S));
    }
    assert_int_equal(denied_floor(d), NOW_S);
    assert_true(denied_has(d, uuid_v7(), NOW_S, NOW_S));      /* a stranger's, of before */
    assert_false(denied_has(d, uuid_v7(), NOW_S + 1, NOW_S)); /* renewed */
    denied_free(d);
}

static void places_are_used_again_when_their_time_is_over(void **state)
{
    (void)state;
    struct denied *d = denied_new();
    for (int round = 0; round < 4; round++) {
        int64_t now_s = NOW_S + round * 1000;
        struct uuid sid = uuid_v7();
        denied_add(d, sid, now_s + 630, now_s);
        for (int i = 0; i < DENIED_MAX / 2; i++)
            denied_add(d, uuid_v7(), now_s + 630, now_s);
        assert_true(denied_has(d, sid, now_s, now_s));
    }
    assert_int_equal(denied_floor(d), 0);
    denied_free(d);
}

/* ---- who asks while others add ---- */

struct sharing {
    struct denied *denied;
    struct uuid sid;
    atomic_bool done;
    atomic_int missed;
};

static void *ask_often(void *arg)
{
    struct sharing *s = arg;
    while (!atomic_load(&s->done))
        if (!denied_has(s->denied, s->sid, ISSUED_S, NOW_S))
            atomic_fetch_add(&s->missed, 1);
    return NULL;
}

static void a_denied_session_stays_so_while_others_come_and_go(void **state)
{
    (void)state;
    struct sharing s = {.denied = denied_new(), .sid = uuid_v7()};
    pthread_t threads[2];
    denied_add(s.denied, s.sid, INT64_MAX, NOW_S);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &s), 0);
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < DENIED_MAX / 2; i++)
            denied_add(s.denied, uuid_v7(), NOW_S + round + 2, NOW_S + round * 2);
    atomic_store(&s.done, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(s.missed, 0);
    assert_int_equal(denied_floor(s.denied), 0);
    denied_free(s.denied);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_denied_at_first),
        cmocka_unit_test(a_session_is_denied_until_its_time_and_no_other_is),
        cmocka_unit_test(the_later_time_of_a_session_counts),
        cmocka_unit_test(what_is_over_already_is_not_taken),
        cmocka_unit_test(half_of_the_places_are_filled_without_a_session_lost),
        cmocka_unit_test(without_room_all_that_was_issued_so_far_is_denied_and_nobody_slips_through),
        cmocka_unit_test(places_are_used_again_when_their_time_is_over),
        cmocka_unit_test(a_denied_session_stays_so_while_others_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
