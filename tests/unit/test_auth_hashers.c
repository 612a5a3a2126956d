#include "auth-svc/hashers.h"

#include <semaphore.h>
#include <string.h>

#include "unit.h"

/* What a call's work does here: it waits to be let through, and counts. Its call was handed on, so nobody finishes it. */
struct gate {
    sem_t entered, open;
};

static enum err wait_at_gate(struct call *call)
{
    struct gate *gate = call->state;
    sem_post(&gate->entered);
    sem_wait(&gate->open);
    return ERR_OK;
}

enum { CALLS = 1 + HASHERS_QUEUE_MAX + 1 };

static struct call *calls_at(struct gate *gate)
{
    struct call *calls = mem_alloc(CALLS * sizeof *calls);
    for (int i = 0; i < CALLS; i++) {
        arena_init(&calls[i].arena);
        calls[i].state = gate;
        calls[i].deadline = clock_mono_ns() + 60 * NS_PER_S;
    }
    return calls;
}

static void calls_done(struct call *calls)
{
    for (int i = 0; i < CALLS; i++)
        arena_done(&calls[i].arena);
    mem_free(calls);
}

static void gate_open(struct gate *gate)
{
    sem_init(&gate->entered, 0, 0);
    sem_init(&gate->open, 0, 0);
}

static void too_many_threads_and_none_are_refused(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct hashers *h;
    assert_int_equal(hashers_open(0, m, &h, NULL), ERR_CONF);
    assert_int_equal(hashers_open(HASHERS_MAX + 1, m, &h, NULL), ERR_CONF);
    metrics_free(m);
}

static void a_full_queue_is_busy_and_all_that_were_let_in_are_served(void **state)
{
    (void)state;
    struct gate gate;
    gate_open(&gate);
    struct call *calls = calls_at(&gate);
    struct metrics *m = metrics_new();
    struct hashers *h;
    assert_int_equal(hashers_open(1, m, &h, NULL), ERR_OK);

    assert_int_equal(hashers_submit(h, &calls[0], wait_at_gate), ERR_OK);
    sem_wait(&gate.entered); /* the one thread has it: from here on calls wait */
    for (int i = 1; i <= HASHERS_QUEUE_MAX; i++)
        assert_int_equal(hashers_submit(h, &calls[i], wait_at_gate), ERR_OK);
    assert_int_equal(hashers_submit(h, &calls[CALLS - 1], wait_at_gate), ERR_BUSY);

    for (int i = 0; i < 1 + HASHERS_QUEUE_MAX; i++)
        sem_post(&gate.open);
    hashers_close(h);
    for (int i = 1; i <= HASHERS_QUEUE_MAX; i++)
        assert_int_equal(sem_trywait(&gate.entered), 0);
    assert_int_equal(sem_trywait(&gate.entered), -1); /* and nobody else */
    calls_done(calls);
    metrics_free(m);
}

static void as_many_work_at_once_as_there_are_threads(void **state)
{
    (void)state;
    struct gate gate;
    gate_open(&gate);
    struct call *calls = calls_at(&gate);
    struct metrics *m = metrics_new();
    struct hashers *h;
    assert_int_equal(hashers_open(3, m, &h, NULL), ERR_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(hashers_submit(h, &calls[i], wait_at_gate), ERR_OK);
    for (int i = 0; i < 3; i++)
        sem_wait(&gate.entered);
    assert_int_equal(sem_trywait(&gate.entered), -1);
    for (int i = 0; i < 4; i++)
        sem_post(&gate.open);
    hashers_close(h);
    calls_done(calls);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many_threads_and_none_are_refused),
        cmocka_unit_test(a_full_queue_is_busy_and_all_that_were_let_in_are_served),
        cmocka_unit_test(as_many_work_at_once_as_there_are_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
