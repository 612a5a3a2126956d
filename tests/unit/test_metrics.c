#include "io/metrics.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "unit.h"

static void expect_page(struct metrics *m, const char *page)
{
    struct buf out;
    buf_init(&out);
    metrics_render(m, &out);
    assert_string_equal(buf_cstr(&out), page);
    buf_done(&out);
    metrics_free(m);
}

static void nothing_is_an_empty_page(void **state)
{
    (void)state;
    metrics_free(NULL);
    expect_page(metrics_new(), "");
}

static void series_of_a_name_stand_together_under_one_help_and_type(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct counter *orders = metrics_counter(m, "requests_total", "Requests.", "route=\"/orders\",method=\"POST\"");
    gauge_set(metrics_gauge(m, "lanes", "Lanes held.", ""), 2);
    struct counter *assets = metrics_counter(m, "requests_total", "Requests.", "route=\"/assets\",method=\"GET\"");
    counter_add(orders, 3);
    counter_add(assets, 1);
    expect_page(m, "# HELP requests_total Requests.\n"
                   "# TYPE requests_total counter\n"
                   "requests_total{route=\"/orders\",method=\"POST\"} 3\n"
                   "requests_total{route=\"/assets\",method=\"GET\"} 1\n"
                   "# HELP lanes Lanes held.\n"
                   "# TYPE lanes gauge\n"
                   "lanes 2\n");
}

static void a_series_asked_for_twice_is_one(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct counter *a = metrics_counter(m, "x_total", "X.", "");
    assert_ptr_equal(a, metrics_counter(m, "x_total", "X.", ""));
    assert_ptr_not_equal(a, metrics_counter(m, "x_total", "X.", "k=\"v\""));
    metrics_free(m);
}

static void tell_two(void *arg, struct metrics_told *told)
{
    const double *values = arg;
    metrics_tell(told, "instance=\"a\"", values[0]);
    metrics_tell(told, "instance=\"b\"", values[1]);
}

static void gauges_that_are_told_are_those_of_the_moment(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    double values[] = {1, 0};
    metrics_gauges_fn(m, "up", "Up.", tell_two, values);
    metrics_gauges_fn(m, "up", "Up.", tell_two, values); /* again is once */
    values[1] = 2;
    expect_page(m, "# HELP up Up.\n# TYPE up gauge\nup{instance=\"a\"} 1\nup{instance=\"b\"} 2\n");
}

static void help_is_escaped(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    metrics_counter(m, "x_total", "a\\b\nc", "");
    expect_page(m, "# HELP x_total a\\\\b\\nc\n# TYPE x_total counter\nx_total 0\n");
}

static double answer(void *arg)
{
    return *(double *)arg;
}

static void numbers_are_the_shortest_that_read_back(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } ROWS[] = {
        {0, "0"},           {-1.5, "-1.5"},      {0.1, "0.1"}, {1e300, "1e+300"}, {0.1 + 0.2, "0.30000000000000004"},
        {INFINITY, "+Inf"}, {-INFINITY, "-Inf"}, {NAN, "NaN"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct metrics *m = metrics_new();
        double value = ROWS[i].value;
        metrics_gauge_fn(m, "g", "G.", "", answer, &value);
        struct buf page;
        buf_init(&page);
        buf_printf(&page, "# HELP g G.\n# TYPE g gauge\ng %s\n", ROWS[i].text);
        expect_page(m, buf_cstr(&page));
        buf_done(&page);
    }
}

static void a_histogram_s_buckets_are_cumulative_and_le_is_inclusive(void **state)
{
    (void)state;
    static const double BOUNDS[] = {0.5, 1, 2.5};
    struct metrics *m = metrics_new();
    struct histogram *h = metrics_histogram(m, "wait_seconds", "Wait.", "step=\"save\"", BOUNDS, 3);
    static const double SEEN[] = {0.25, 0.5, 0.75, 1, 2.5, 3};
    for (size_t i = 0; i < LENGTH_OF(SEEN); i++)
        histogram_observe(h, SEEN[i]);
    expect_page(m, "# HELP wait_seconds Wait.\n"
                   "# TYPE wait_seconds histogram\n"
                   "wait_seconds_bucket{step=\"save\",le=\"0.5\"} 2\n"
                   "wait_seconds_bucket{step=\"save\",le=\"1\"} 4\n"
                   "wait_seconds_bucket{step=\"save\",le=\"2.5\"} 5\n"
                   "wait_seconds_bucket{step=\"save\",le=\"+Inf\"} 6\n"
                   "wait_seconds_sum{step=\"save\"} 8\n"
                   "wait_seconds_count{step=\"save\"} 6\n");
}

static void a_histogram_without_labels_has_le_alone(void **state)
{
    (void)state;
    static const double BOUNDS[] = {1};
    struct metrics *m = metrics_new();
    (void)metrics_histogram(m, "h", "H.", "", BOUNDS, 1);
    expect_page(m, "# HELP h H.\n# TYPE h histogram\n"
                   "h_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n");
}

static void ready_made_bounds_ascend(void **state)
{
    (void)state;
    for (size_t i = 1; i < LENGTH_OF(HISTOGRAM_SECONDS); i++)
        assert_true(HISTOGRAM_SECONDS[i - 1] < HISTOGRAM_SECONDS[i]);
    for (size_t i = 1; i < LENGTH_OF(HISTOGRAM_SIZES); i++)
        assert_true(HISTOGRAM_SIZES[i - 1] < HISTOGRAM_SIZES[i]);
}

enum { THREADS = 4, TIMES = 20000 };

struct shared {
    struct counter *counter;
    struct histogram *histogram;
};

static void *add_many(void *arg)
{
    struct shared *s = arg;
    for (int i = 0; i < TIMES; i++) {
        counter_add(s->counter, 1);
        histogram_observe(s->histogram, 0.5);
    }
    return NULL;
}

static void threads_lose_no_count_and_no_sum(void **state)
{
    (void)state;
    static const double BOUNDS[] = {1};
    struct metrics *m = metrics_new();
    struct shared s = {metrics_counter(m, "c_total", "C.", ""), metrics_histogram(m, "h", "H.", "", BOUNDS, 1)};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &s), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    expect_page(m, "# HELP c_total C.\n# TYPE c_total counter\nc_total 80000\n"
                   "# HELP h H.\n# TYPE h histogram\n"
                   "h_bucket{le=\"1\"} 80000\nh_bucket{le=\"+Inf\"} 80000\nh_sum 40000\nh_count 80000\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_an_empty_page),
        cmocka_unit_test(series_of_a_name_stand_together_under_one_help_and_type),
        cmocka_unit_test(a_series_asked_for_twice_is_one),
        cmocka_unit_test(gauges_that_are_told_are_those_of_the_moment),
        cmocka_unit_test(help_is_escaped),
        cmocka_unit_test(numbers_are_the_shortest_that_read_back),
        cmocka_unit_test(a_histogram_s_buckets_are_cumulative_and_le_is_inclusive),
        cmocka_unit_test(a_histogram_without_labels_has_le_alone),
        cmocka_unit_test(ready_made_bounds_ascend),
        cmocka_unit_test(threads_lose_no_count_and_no_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
