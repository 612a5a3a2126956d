#include "io/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

static struct loop *open_loop(void)
{
    struct loop *l;
    assert_int_equal(loop_open(&l, NULL), ERR_OK);
    return l;
}

/* ---- timers ---- */

enum { TIMERS = 200 };
struct timed {
    struct loop_timer timer;
    struct loop *loop;
    mono_ns_t *last;
    int *left;
    bool cleared;
};

static void check_order(struct loop_timer *t)
{
    struct timed *me = (struct timed *)t;
    assert_false(me->cleared);
    assert_true(t->at >= *me->last);
    assert_true(t->at <= clock_mono_ns());
    *me->last = t->at;
    if (--*me->left == 0)
        loop_stop(me->loop);
}

static void timers_fire_in_their_order_and_never_early_and_cleared_ones_not_at_all(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    static struct timed timed[TIMERS];
    mono_ns_t last = 0, now = clock_mono_ns();
    int left = 0;
    for (int i = 0; i < TIMERS; i++) {
        timed[i] = (struct timed){.timer.fire = check_order, .loop = l, .last = &last, .left = &left};
        loop_timer_set(l, &timed[i].timer, now + (i * 7919 % TIMERS) * NS_PER_MS / 4);
    }
    for (int i = 0; i < TIMERS; i += 3) { /* moved there and back, past others */
        loop_timer_set(l, &timed[i].timer, now);
        loop_timer_set(l, &timed[i].timer, now + (i * 104729 % TIMERS) * NS_PER_MS / 4);
    }
    for (int i = 0; i < TIMERS; i++) {
        timed[i].cleared = i % 4 == 1;
        if (timed[i].cleared)
            loop_timer_clear(l, &timed[i].timer);
        left += !timed[i].cleared;
    }
    loop_timer_clear(l, &timed[1].timer); /* fine when not set */
    loop_run(l);
    assert_int_equal(left, 0);
    loop_close(l);
}

struct eager {
    struct loop_timer timer;
    struct loop *loop;
    int fired;
};

static void set_in_the_past(struct loop_timer *t)
{
    struct eager *me = (struct eager *)t;
    me->fired++;
    loop_timer_set(me->loop, t, 0);
}

struct stopper {
    struct loop_task task;
    struct loop *loop;
};
static void stop_it(struct loop_task *t)
{
    loop_stop(((struct stopper *)t)->loop);
}

static void a_timer_that_sets_itself_to_the_past_does_not_hold_the_loop(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct eager eager = {.timer.fire = set_in_the_past, .loop = l};
    struct stopper stopper = {{.run = stop_it}, l};
    loop_timer_set(l, &eager.timer, 0);
    loop_post(l, &stopper.task);
    loop_run(l);
    assert_int_equal(eager.fired, 1);
    loop_close(l);
}

/* ---- watches ---- */

struct pair {
    struct loop_watch watch;
    struct loop *loop;
    struct pair *other;
    int peer, seen;
};

static void pair_open(struct pair *p, struct loop *l, void (*ready)(struct loop_watch *, uint32_t))
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    *p = (struct pair){.watch = {ready, fds[0]}, .loop = l, .peer = fds[1]};
    assert_int_equal(loop_watch_add(l, &p->watch, EPOLLIN, NULL), ERR_OK);
    assert_int_equal(write(p->peer, "x", 1), 1);
}

static void pair_close(struct pair *p)
{
    close(p->watch.fd);
    close(p->peer);
}

static void delete_both(struct loop_watch *w, uint32_t events)
{
    struct pair *me = (struct pair *)w;
    assert_true(events & EPOLLIN);
    me->seen++;
    loop_watch_del(me->loop, w);
    loop_watch_del(me->loop, &me->other->watch);
    loop_stop(me->loop);
}

static void a_watch_deleted_by_another_of_the_same_round_is_not_called(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct pair a, b;
    pair_open(&a, l, delete_both);
    pair_open(&b, l, delete_both);
    a.other = &b;
    b.other = &a;
    loop_run(l);
    assert_int_equal(a.seen + b.seen, 1);
    pair_close(&a);
    pair_close(&b);
    loop_close(l);
}

static void stop_at_three(struct loop_watch *w, uint32_t events)
{
    struct pair *me = (struct pair *)w;
    (void)events;
    if (++me->seen == 3)
        loop_stop(me->loop);
}

static void a_watch_is_level_triggered(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct pair a;
    pair_open(&a, l, stop_at_three); /* which never reads */
    loop_run(l);
    assert_int_equal(a.seen, 3);
    loop_watch_mod(l, &a.watch, 0);
    loop_watch_del(l, &a.watch);
    pair_close(&a);
    loop_close(l);
}

static void a_closed_descriptor_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct loop_watch w = {.fd = -1};
    struct fault fault = {0};
    assert_int_equal(loop_watch_add(l, &w, EPOLLIN, &fault), ERR_BUSY);
    assert_string_not_equal(fault.why, "");
    loop_close(l);
}

/* ---- tasks ---- */

enum { POSTERS = 4, POSTS = 5000 };
struct counted {
    struct loop_task task;
    struct loop *loop;
    int *count; /* the loop's thread only */
};
struct poster {
    struct counted tasks[POSTS];
    struct loop *loop;
    int *count;
};

static void count_one(struct loop_task *t)
{
    struct counted *me = (struct counted *)t;
    assert_true(loop_is_mine(me->loop));
    if (++*me->count == POSTERS * POSTS)
        loop_stop(me->loop);
}

static void *post_all(void *arg)
{
    struct poster *p = arg;
    assert_false(loop_is_mine(p->loop));
    for (int i = 0; i < POSTS; i++) {
        p->tasks[i] = (struct counted){{.run = count_one}, p->loop, p->count};
        loop_post(p->loop, &p->tasks[i].task);
    }
    return NULL;
}

static void tasks_of_many_threads_run_once_each_on_the_loops_thread(void **state)
{
    (void)state;
    static struct poster posters[POSTERS];
    pthread_t ids[POSTERS];
    int count = 0;
    struct loop *l = open_loop();
    for (int i = 0; i < POSTERS; i++) {
        posters[i].loop = l;
        posters[i].count = &count;
        assert_int_equal(pthread_create(&ids[i], NULL, post_all, &posters[i]), 0);
    }
    loop_run(l);
    loop_close(l); /* at once: the poster of the last task may still be in loop_post */
    for (int i = 0; i < POSTERS; i++)
        pthread_join(ids[i], NULL);
    assert_int_equal(count, POSTERS * POSTS);
}

struct hooked {
    struct stopper stopper;
    int runs;
};

static int post_in_hook(void *arg)
{
    struct hooked *h = arg;
    if (h->runs++ == 0)
        loop_post(h->stopper.loop, &h->stopper.task);
    return -1; /* for ever, if nothing had been posted */
}

static void a_task_posted_in_a_hook_is_not_slept_over(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct hooked h = {.stopper = {{.run = stop_it}, l}};
    loop_hook(l, post_in_hook, &h);
    loop_run(l);
    assert_true(h.runs >= 1);
    loop_close(l);
}

static int stop_on_third(void *arg)
{
    struct hooked *h = arg;
    if (++h->runs == 3)
        loop_stop(h->stopper.loop);
    return 1;
}

static void a_hook_says_how_long_to_wait_at_most(void **state)
{
    (void)state;
    struct loop *l = open_loop();
    struct hooked h = {.stopper.loop = l};
    loop_hook(l, stop_on_third, &h);
    loop_run(l);
    assert_int_equal(h.runs, 3);
    loop_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_descriptor_is_refused_with_a_reason),
        cmocka_unit_test(a_watch_deleted_by_another_of_the_same_round_is_not_called),
        cmocka_unit_test(a_watch_is_level_triggered),
        cmocka_unit_test(timers_fire_in_their_order_and_never_early_and_cleared_ones_not_at_all),
        cmocka_unit_test(a_timer_that_sets_itself_to_the_past_does_not_hold_the_loop),
        cmocka_unit_test(tasks_of_many_threads_run_once_each_on_the_loops_thread),
        cmocka_unit_test(a_task_posted_in_a_hook_is_not_slept_over),
        cmocka_unit_test(a_hook_says_how_long_to_wait_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
