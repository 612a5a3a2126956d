#include "base/queue.h"

#include <stdint.h>
#include <unistd.h>

#include "base/clock.h"
#include "unit.h"

struct item {
    struct queue_link link; /* first, as queue.h wants it */
    int producer, number;
};

static struct item *item_of(struct queue_link *link)
{
    return (struct item *)link;
}

static void a_full_queue_refuses_and_the_caller_keeps_the_item(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 2);
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    assert_true(queue_put(&q, &items[0].link));
    assert_true(queue_put(&q, &items[1].link));
    assert_false(queue_put(&q, &items[2].link));
    assert_int_equal(queue_count(&q), 2);

    struct queue_link *taken;
    assert_int_equal(queue_take(&q, 1, 0, &taken), 1);
    assert_int_equal(item_of(taken)->number, 0);
    assert_true(queue_put(&q, &items[2].link));
    queue_done(&q);
}

static void a_closed_queue_refuses_and_hands_out_what_is_left(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 8);
    struct item first = {.number = 1}, late = {.number = 2};
    assert_true(queue_put(&q, &first.link));
    assert_false(queue_is_closed(&q));
    queue_close(&q);
    queue_close(&q);
    assert_true(queue_is_closed(&q));
    assert_false(queue_put(&q, &late.link));
    assert_false(queue_put_wait(&q, &late.link, 10000)); /* at once, not after ten seconds */

    struct queue_link *taken;
    assert_int_equal(queue_take(&q, 8, -1, &taken), 1);
    assert_ptr_equal(taken, &first.link);
    assert_int_equal(queue_take(&q, 8, -1, &taken), 0);
    assert_null(taken);
    queue_done(&q);
}

static void waiting_ends_at_its_time(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 1);
    struct queue_link *taken;
    mono_ns_t start = clock_mono_ns();
    assert_int_equal(queue_take(&q, 1, 30, &taken), 0);
    assert_true(clock_mono_ns() - start >= 30 * NS_PER_MS);
    assert_null(taken);

    struct item items[2] = {0};
    assert_true(queue_put_wait(&q, &items[0].link, 0));
    start = clock_mono_ns();
    assert_false(queue_put_wait(&q, &items[1].link, 30));
    assert_true(clock_mono_ns() - start >= 30 * NS_PER_MS);
    assert_false(queue_put_wait(&q, &items[1].link, 0));
    queue_done(&q);
}

static void items_come_out_oldest_first_in_lists_of_at_most_max(void **state)
{
    (void)state;
    enum { ITEMS = 10 };
    struct queue q;
    queue_init(&q, ITEMS);
    struct item items[ITEMS];
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct item){.number = i};
        assert_true(queue_put(&q, &items[i].link));
    }
    static const size_t SIZES[] = {4, 4, 2};
    int next = 0;
    for (size_t i = 0; i < LENGTH_OF(SIZES); i++) {
        struct queue_link *taken;
        assert_int_equal(queue_take(&q, 4, 0, &taken), SIZES[i]);
        size_t length = 0;
        for (struct queue_link *link = taken; link != NULL; link = link->next, length++)
            assert_int_equal(item_of(link)->number, next++);
        assert_int_equal(length, SIZES[i]);
    }
    assert_int_equal(queue_count(&q), 0);
    assert_true(queue_put(&q, &items[0].link)); /* an emptied queue goes on */
    queue_done(&q);
}

struct waiter {
    struct queue *queue;
    size_t count;
    bool put;
    struct item item;
};

static void *take_for_ever(void *arg)
{
    struct waiter *w = arg;
    struct queue_link *taken;
    w->count = queue_take(w->queue, 8, -1, &taken);
    return NULL;
}

static void *put_patiently(void *arg)
{
    struct waiter *w = arg;
    w->put = queue_put_wait(w->queue, &w->item.link, 60000);
    return NULL;
}

static void let_it_fall_asleep(void)
{
    usleep(20000); /* there is nothing to wait for; awake, it would pass just the same */
}

static void a_sleeping_taker_wakes_for_an_item_and_for_the_end(void **state)
{
    (void)state;
    for (int close = 0; close < 2; close++) {
        struct queue q;
        queue_init(&q, 8);
        struct waiter w = {.queue = &q, .count = 77};
        struct item item = {0};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, take_for_ever, &w), 0);
        let_it_fall_asleep();
        if (close == 1)
            queue_close(&q);
        else
            assert_true(queue_put(&q, &item.link));
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(w.count, close == 1 ? 0 : 1);
        queue_done(&q);
    }
}

static void a_sleeping_putter_wakes_for_room_and_for_the_end(void **state)
{
    (void)state;
    for (int close = 0; close < 2; close++) {
        struct queue q;
        queue_init(&q, 1);
        struct item first = {0};
        assert_true(queue_put(&q, &first.link));
        struct waiter w = {.queue = &q};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, put_patiently, &w), 0);
        let_it_fall_asleep();
        struct queue_link *taken;
        if (close == 1)
            queue_close(&q);
        else
            assert_int_equal(queue_take(&q, 1, 0, &taken), 1);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(w.put, close == 0);
        queue_done(&q);
    }
}

enum { PRODUCERS = 4, TAKERS = 3, ITEMS_PER_PRODUCER = 20000, SMALL_CAP = 64 };

struct crowd {
    struct queue queue;
    struct item items[PRODUCERS][ITEMS_PER_PRODUCER];
};

struct worker {
    struct crowd *crowd;
    int number;
    bool seen[PRODUCERS][ITEMS_PER_PRODUCER]; /* a taker's own */
    bool out_of_order;
};

static void *produce(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < ITEMS_PER_PRODUCER; i++) {
        struct item *item = &w->crowd->items[w->number][i];
        item->producer = w->number;
        item->number = i;
        /* Both ways in, as HTTP threads and the subscriber use them. */
        if (queue_put(&w->crowd->queue, &item->link))
            continue;
        if (!queue_put_wait(&w->crowd->queue, &item->link, 60000))
            return w;
    }
    return NULL;
}

static void *take_all(void *arg)
{
    struct worker *w = arg;
    int last[PRODUCERS] = {-1, -1, -1, -1};
    for (;;) {
        struct queue_link *taken;
        size_t n = queue_take(&w->crowd->queue, 7, -1, &taken);
        if (n == 0)
            return NULL;
        for (struct queue_link *link = taken; link != NULL; link = link->next) {
            struct item *item = item_of(link);
            w->out_of_order |= item->number <= last[item->producer];
            last[item->producer] = item->number;
            w->seen[item->producer][item->number] = true;
        }
    }
}

static void many_threads_lose_nothing_double_nothing_and_keep_each_producers_order(void **state)
{
    (void)state;
    static struct crowd crowd;
    static struct worker producers[PRODUCERS], takers[TAKERS];
    pthread_t producer_threads[PRODUCERS], taker_threads[TAKERS];
    queue_init(&crowd.queue, SMALL_CAP);
    for (int i = 0; i < TAKERS; i++) {
        takers[i] = (struct worker){.crowd = &crowd, .number = i};
        assert_int_equal(pthread_create(&taker_threads[i], NULL, take_all, &takers[i]), 0);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct worker){.crowd = &crowd, .number = i};
        assert_int_equal(pthread_create(&producer_threads[i], NULL, produce, &producers[i]), 0);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        void *failed;
        assert_int_equal(pthread_join(producer_threads[i], &failed), 0);
        assert_null(failed);
    }
    queue_close(&crowd.queue);
    for (int i = 0; i < TAKERS; i++)
        assert_int_equal(pthread_join(taker_threads[i], NULL), 0);

    for (int p = 0; p < PRODUCERS; p++) {
        for (int i = 0; i < ITEMS_PER_PRODUCER; i++) {
            int times = 0;
            for (int t = 0; t < TAKERS; t++)
                times += takers[t].seen[p][i] ? 1 : 0;
            assert_int_equal(times, 1);
        }
    }
    for (int t = 0; t < TAKERS; t++)
        assert_false(takers[t].out_of_order);
    queue_done(&crowd.queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_queue_refuses_and_the_caller_keeps_the_item),
        cmocka_unit_test(a_closed_queue_refuses_and_hands_out_what_is_left),
        cmocka_unit_test(waiting_ends_at_its_time),
        cmocka_unit_test(items_come_out_oldest_first_in_lists_of_at_most_max),
        cmocka_unit_test(a_sleeping_taker_wakes_for_an_item_and_for_the_end),
        cmocka_unit_test(a_sleeping_putter_wakes_for_room_and_for_the_end),
        cmocka_unit_test(many_threads_lose_nothing_double_nothing_and_keep_each_producers_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
