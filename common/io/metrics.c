#include "io/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { BOUNDS_MAX = 20, NUMBER_TEXT_MAX = 32 };

/* 3 s is how long a write may wait for its saga's end. */
const double HISTOGRAM_SECONDS[13] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10};
const double HISTOGRAM_SIZES[10] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};

struct counter {
    _Atomic uint64_t count;
};
struct gauge {
    _Atomic double value;
};
struct histogram {
    int n_bounds;
    double bounds[BOUNDS_MAX];
    _Atomic uint64_t buckets[BOUNDS_MAX + 1]; /* each its own count; added up when rendered */
    _Atomic double sum;
};

enum kind { COUNTER, GAUGE, GAUGE_FN, GAUGES_FN, HISTOGRAM };

struct series {
    struct series *next;
    char *labels;
    union {
        struct counter counter;
        struct gauge gauge;
        struct histogram histogram;
        struct {
            double (*read)(void *arg);
            void *arg;
        } asked;
        struct {
            void (*tell)(void *arg, struct metrics_told *told);
            void *arg;
        } teller;
    } as;
};

struct family {
    struct family *next;
    enum kind kind;
    char *name, *help;
    struct series *series, **last;
};

struct metrics {
    pthread_mutex_t mutex; /* for the lists; values are atomic */
    struct family *families, **last;
};

struct metrics_told {
    struct buf *out;
    const char *name;
};

struct metrics *metrics_new(void)
{
    struct metrics *m = mem_alloc(sizeof(*m));
    m->last = &m->families;
    pthread_mutex_init(&m->mutex, NULL);
    return m;
}

static void family_free(struct family *f)
{
    for (struct series *s = f->series, *next; s != NULL; s = next) {
        next = s->next;
        mem_free(s->labels);
        mem_free(s);
    }
    mem_free(f->name);
    mem_free(f->help);
    mem_free(f);
}

void metrics_free(struct metrics *m)
{
    if (m == NULL)
        return;
    for (struct family *f = m->families, *next; f != NULL; f = next) {
        next = f->next;
        family_free(f);
    }
    pthread_mutex_destroy(&m->mutex);
    mem_free(m);
}

/* Series of one name stand together under one HELP and TYPE, whenever they were made. */
static struct family *family_of(struct metrics *m, enum kind kind, const char *name, const char *help)
{
    for (struct family *f = m->families; f != NULL; f = f->next) {
        if (strcmp(f->name, name) != 0)
            continue;
        assert(f->kind == kind);
        return f;
    }

    struct family *f = mem_alloc(sizeof(*f));
    f->kind = kind;
    f->name = mem_strdup(name);
    f->help = mem_strdup(help);
    f->last = &f->series;
    *m->last = f;
    m->last = &f->next;
    return f;
}

/* Asked for again, a series is the one that is there: a scrape with two of the same name would be refused whole. With the
 * mutex held. */
static struct series *find_series(struct metrics *m, enum kind kind, const char *name, const char *help,
                                  const char *labels)
{
    struct family *f = family_of(m, kind, name, help);
    for (struct series *s = f->series; s != NULL; s = s->next)
        if (strcmp(s->labels, labels) == 0)
            return s;

    struct series *s = mem_alloc(sizeof(*s));
    s->labels = mem_strdup(labels);
    *f->last = s;
    f->last = &s->next;
    return s;
}

static struct series *series_of(struct metrics *m, enum kind kind, const char *name, const char *help,
                                const char *labels)
{
    pthread_mutex_lock(&m->mutex);
    struct series *s = find_series(m, kind, name, help, labels);
    pthread_mutex_unlock(&m->mutex);
    return s;
}

struct counter *metrics_counter(struct metrics *m, const char *name, const char *help, const char *labels)
{
    return &series_of(m, COUNTER, name, help, labels)->as.counter;
}

struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *help, const char *labels)
{
    return &series_of(m, GAUGE, name, help, labels)->as.gauge;
}

void metrics_gauge_fn(struct metrics *m, const char *name, const char *help, const char *labels,
                      double (*read)(void *arg), void *arg)
{
    pthread_mutex_lock(&m->mutex);
    struct series *s = find_series(m, GAUGE_FN, name, help, labels);
    s->as.asked.read = read;
    s->as.asked.arg = arg;
    pthread_mutex_unlock(&m->mutex);
}

void metrics_gauges_fn(struct metrics *m, const char *name, const char *help,
                       void (*tell)(void *arg, struct metrics_told *told), void *arg)
{
    pthread_mutex_lock(&m->mutex);
    struct series *s = find_series(m, GAUGES_FN, name, help, "");
    s->as.teller.tell = tell;
    s->as.teller.arg = arg;
    pthread_mutex_unlock(&m->mutex);
}

struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *help, const char *labels,
                                    const double *bounds, int n_bounds)
{
    assert(n_bounds >= 1 && n_bounds <= BOUNDS_MAX);
    pthread_mutex_lock(&m->mutex);
    struct histogram *h = &find_series(m, HISTOGRAM, name, help, labels)->as.histogram;
    if (h->n_bounds == 0) { /* new: nobody observes it yet */
        h->n_bounds = n_bounds;
        memcpy(h->bounds, bounds, sizeof(*bounds) * (size_t)n_bounds);
    }
    pthread_mutex_unlock(&m->mutex);
    return h;
}

void counter_add(struct counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->count, n, memory_order_relaxed);
}

void gauge_set(struct gauge *g, double v)
{
    atomic_store_explicit(&g->value, v, memory_order_relaxed);
}

void histogram_observe(struct histogram *h, double v)
{
    int i = 0;
    while (i < h->n_bounds && v > h->bounds[i])
        i++;
    atomic_fetch_add_explicit(&h->buckets[i], 1, memory_order_relaxed);

    double sum = atomic_load_explicit(&h->sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&h->sum, &sum, sum + v, memory_order_relaxed, memory_order_relaxed))
        continue;
}

/* ---- rendering: text format 0.0.4 ---- */

/* The shortest of 15 or 17 digits that reads back as the same number: 0.0005, not 0.00050000000000000001. */
static void format_number(double v, char ret_text[NUMBER_TEXT_MAX])
{
    if (isnan(v) || isinf(v)) {
        snprintf(ret_text, NUMBER_TEXT_MAX, "%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return;
    }
    snprintf(ret_text, NUMBER_TEXT_MAX, "%.15g", v);
    if (strtod(ret_text, NULL) < v || strtod(ret_text, NULL) > v)
        snprintf(ret_text, NUMBER_TEXT_MAX, "%.17g", v);
}

static void render_number(struct buf *out, double v)
{
    char text[NUMBER_TEXT_MAX];
    format_number(v, text);
    buf_str(out, text);
    buf_char(out, '\n');
}

static void render_name(struct buf *out, const char *name, const char *suffix, const char *labels)
{
    if (labels[0] == '\0')
        buf_printf(out, "%s%s ", name, suffix);
    else
        buf_printf(out, "%s%s{%s} ", name, suffix, labels);
}

static void render_bucket(struct buf *out, const char *name, const char *labels, const char *le, uint64_t count)
{
    buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", name, labels, labels[0] == '\0' ? "" : ",", le,
               (unsigned long long)count);
}

static void render_histogram(struct buf *out, const char *name, const char *labels, struct histogram *h)
{
    uint64_t count = 0;
    for (int i = 0; i <= h->n_bounds; i++) {
        char le[NUMBER_TEXT_MAX];
        format_number(i < h->n_bounds ? h->bounds[i] : (double)INFINITY, le);
        count += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        render_bucket(out, name, labels, le, count);
    }
    render_name(out, name, "_sum", labels);
    render_number(out, atomic_load_explicit(&h->sum, memory_order_relaxed));
    render_name(out, name, "_count", labels);
    buf_printf(out, "%llu\n", (unsigned long long)count);
}

void metrics_tell(struct metrics_told *told, const char *labels, double value)
{
    render_name(told->out, told->name, "", labels);
    render_number(told->out, value);
}

static void render_series(struct buf *out, const struct family *f, struct series *s)
{
    struct metrics_told told = {.out = out, .name = f->name};
    if (f->kind == GAUGES_FN) {
        s->as.teller.tell(s->as.teller.arg, &told);
        return;
    }
    if (f->kind == HISTOGRAM) {
        render_histogram(out, f->name, s->labels, &s->as.histogram);
        return;
    }
    render_name(out, f->name, "", s->labels);
    if (f->kind == COUNTER)
        buf_printf(out, "%llu\n", (unsigned long long)atomic_load_explicit(&s->as.counter.count, memory_order_relaxed));
    else if (f->kind == GAUGE)
        render_number(out, atomic_load_explicit(&s->as.gauge.value, memory_order_relaxed));
    else
        render_number(out, s->as.asked.read(s->as.asked.arg));
}

static void render_help(struct buf *out, const struct family *f)
{
    static const char *const TYPES[] = {[COUNTER] = "counter",
                                        [GAUGE] = "gauge",
                                        [GAUGE_FN] = "gauge",
                                        [GAUGES_FN] = "gauge",
                                        [HISTOGRAM] = "histogram"};
    buf_printf(out, "# HELP %s ", f->name);
    for (const char *c = f->help; *c != '\0'; c++) {
        if (*c == '\\' || *c == '\n')
            buf_str(out, *c == '\n' ? "\\n" : "\\\\");
        else
            buf_char(out, *c);
    }
    buf_printf(out, "\n# TYPE %s %s\n", f->name, TYPES[f->kind]);
}

void metrics_render(struct metrics *m, struct buf *out)
{
    pthread_mutex_lock(&m->mutex);
    for (struct family *f = m->families; f != NULL; f = f->next) {
        render_help(out, f);
        for (struct series *s = f->series; s != NULL; s = s->next)
            render_series(out, f, s);
    }
    pthread_mutex_unlock(&m->mutex);
}
