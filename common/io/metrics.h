/* metrics.h — counters, gauges and histograms in Prometheus' text format.
 *
 * For     /metrics on the operator port. Series are made at start with their labels, so the set is bounded.
 * Owns    the registry owns its series; they live as long as it.
 * Threads making a series, rendering: any; one at a time, by a mutex. Adding, observing, setting: any thread, lock-free.
 * Fails   never.
 */
#ifndef IO_METRICS_H
#define IO_METRICS_H

#include <stdint.h>

#include "base/buf.h"

struct metrics;
struct counter; /* only grows */
struct gauge;
struct histogram;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
/* labels: `route="/orders",method="POST"` or "" */
struct counter *metrics_counter(struct metrics *m, const char *name, const char *help, const char *labels);
struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *help, const char *labels);
/* Asked at each scrape, on the scraping thread. */
void metrics_gauge_fn(struct metrics *m, const char *name, const char *help, const char *labels,
                      double (*read)(void *arg), void *arg);
/* Where the set of series changes while we run: `tell` calls metrics_tell for each there is, at each scrape, on the scraping
 * thread. It must see to it that the set is bounded, and must not make series. */
struct metrics_told;
void metrics_gauges_fn(struct metrics *m, const char *name, const char *help,
                       void (*tell)(void *arg, struct metrics_told *told), void *arg);
void metrics_tell(struct metrics_told *told, const char *labels, double value);
/* bounds ascending, at most 20. HISTOGRAM_SECONDS: 0.0005 … 10 s */
struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *help, const char *labels,
                                    const double *bounds, int n_bounds);
extern const double HISTOGRAM_SECONDS[13];
extern const double HISTOGRAM_SIZES[10]; /* 1, 2, 5 … 500, 1000 */

void counter_add(struct counter *c, uint64_t n);
void gauge_set(struct gauge *g, double v);
void histogram_observe(struct histogram *h, double v);
void metrics_render(struct metrics *m, struct buf *out);

#endif
