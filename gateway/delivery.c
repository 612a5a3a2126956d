#include "gateway/delivery.h"

#include <stdio.h>
#include <string.h>

#include "gateway/balance.h"

enum { RETRY_AFTER_MAX_S = 60 };

#define OWNER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

static struct upstream *service_of(const struct delivery *d)
{
    return upstream_of(d->pools, d->upstream);
}

/* ---- what an end means ---- */

/* Of the last sending alone: may the service have done something? */
static bool may_have_acted(const struct delivery *d)
{
    return d->exchange.wrote && !d->only_reads;
}

enum err delivery_error(const struct delivery *d)
{
    if (d->in_doubt)
        return ERR_OUTCOME_UNKNOWN;
    switch (d->exchange.end) {
    case EXCHANGE_BUSY:
        return ERR_BUSY;
    case EXCHANGE_OPEN:
        return ERR_CIRCUIT_OPEN;
    case EXCHANGE_LATE:
        return ERR_UPSTREAM_TIMEOUT;
    case EXCHANGE_ANSWERED: /* with what is no answer */
    case EXCHANGE_CANCELED:
    case EXCHANGE_REFUSED:
    case EXCHANGE_LOST:
    case EXCHANGE_BAD:
    case EXCHANGE_CUT:
    case EXCHANGE_END_COUNT:
        break;
    }
    return may_have_acted(d) ? ERR_OUTCOME_UNKNOWN : ERR_UPSTREAM;
}

/* ---- sending again ---- */

static bool twice_does_no_harm(const struct delivery *d)
{
    return d->only_reads || d->repeatable;
}

/* A service that says 502 or 503 says that it did nothing. False: its end gives no reason. */
static bool find_reason(const struct delivery *d, enum retry_reason *ret)
{
    const struct exchange *x = &d->exchange;
    bool safe = !x->wrote || twice_does_no_harm(d);
    bool away = x->end == EXCHANGE_ANSWERED && (x->status == 502 || x->status == 503);
    *ret = x->end == EXCHANGE_REFUSED ? RETRY_CONNECT
           : x->end == EXCHANGE_LOST  ? RETRY_LOST
           : x->end == EXCHANGE_LATE  ? RETRY_LATE
                                      : RETRY_STATUS;
    return safe && (*ret != RETRY_STATUS || away);
}

static bool is_stale_connection(const struct exchange *x)
{
    return x->end == EXCHANGE_LOST && x->reused && !x->heard;
}

/* Full jitter: those that failed together don't come back together. */
static mono_ns_t backoff(struct delivery *d)
{
    int64_t most_ms = (int64_t)DELIVERY_BACKOFF_MS << (d->attempts - 1);
    if (most_ms > DELIVERY_BACKOFF_MAX_MS)
        most_ms = DELIVERY_BACKOFF_MAX_MS;
    return (mono_ns_t)(balance_random(upstream_random(d->pools)) % (uint64_t)(most_ms * NS_PER_MS));
}

/* Another instance has not asked us to wait. */
static mono_ns_t wait_before_next(struct delivery *d)
{
    if (is_stale_connection(&d->exchange))
        return 0;
    mono_ns_t wait = backoff(d);
    bool alone = upstream_instance_count(d->pools, d->upstream) <= 1;
    mono_ns_t asked = alone && d->asked_to_wait_s > 0 ? d->asked_to_wait_s * NS_PER_S : 0;
    return wait > asked ? wait : asked;
}

static void send_at(struct delivery *d, mono_ns_t now, mono_ns_t at);

/* False: it stays as it is. */
static bool send_again(struct delivery *d)
{
    struct upstream *u = service_of(d);
    enum retry_reason reason;
    if (d->canceled || d->attempts >= (d->only_reads ? DELIVERY_READS_MAX : DELIVERY_WRITES_MAX) ||
        !find_reason(d, &reason))
        return false;
    mono_ns_t now = clock_mono_ns(), wait = wait_before_next(d);
    if (now + wait + DELIVERY_LEFT_MIN_MS * NS_PER_MS > d->deadline || !budget_retry(&u->budget, now))
        return false;

    d->is_retry = true;
    bool answered = d->exchange.end == EXCHANGE_ANSWERED;
    d->in_doubt = d->in_doubt || (may_have_acted(d) && !answered);
    d->exchange.fresh = true;
    d->exchange.avoid = d->exchange.instance_id;
    if (u->retries[reason] != NULL)
        counter_add(u->retries[reason], 1);
    send_at(d, now, now + wait);
    return true;
}

/* ---- the end ---- */

static int seconds_up(mono_ns_t wait)
{
    int64_t s = (wait + NS_PER_S - 1) / NS_PER_S;
    return s < 1 ? 1 : (int)s;
}

/* One for all its sendings: the service is told one parent, and the access log counts them. */
static void tell_span(const struct delivery *d)
{
    const struct upstream *u = service_of(d);
    struct span span = span_since(&d->head.trace, SPAN_CLIENT, d->started);
    snprintf(span.name, sizeof span.name, "%s", u->name);
    snprintf(span.service, sizeof span.service, "%s", u->name);
    span.status = d->status;
    span.failed = d->err != ERR_OK || d->status >= 500;
    spans_add(u->of->settings.spans, &span);
}

static void finish(struct delivery *d, enum err e, const char *why)
{
    d->err = e;
    d->why = why;
    if (service_of(d)->of->settings.spans != NULL)
        tell_span(d);
    budget_leave(&service_of(d)->budget);
    d->done(d);
}

static void on_done(struct exchange *x)
{
    struct delivery *d = OWNER_OF(x, struct delivery, exchange);
    d->upstream_took += x->took;
    d->status = x->status;
    if (d->is_retry)
        budget_retried(&service_of(d)->budget);
    d->is_retry = false;
    if (d->canceled) {
        finish(d, delivery_error(d), "the client went away");
        return;
    }
    if (send_again(d))
        return;

    d->circuit_open = x->end == EXCHANGE_OPEN;
    d->retry_after_s = d->circuit_open ? seconds_up(x->wait) : 0;
    if (x->end != EXCHANGE_ANSWERED)
        finish(d, delivery_error(d), x->why);
    else if (d->in_doubt && x->status >= 500) /* true of this sending, not of the one before */
        finish(d, ERR_OUTCOME_UNKNOWN, "it failed, after a sending that it may have heard");
    else
        finish(d, ERR_OK, NULL);
}

/* ---- the beginning ---- */

/* Seconds; a date, or anything else, is none (-1). */
static int64_t retry_after_of(const struct response *r)
{
    int64_t seconds;
    for (size_t i = 0; i < r->header_count; i++)
        if (str_eq_nocase(r->headers[i].name, "Retry-After") && str_to_i64(r->headers[i].value, &seconds) &&
            seconds >= 0 && seconds <= RETRY_AFTER_MAX_S)
            return seconds;
    return -1;
}

static void on_head(struct exchange *x, const struct response *r)
{
    struct delivery *d = OWNER_OF(x, struct delivery, exchange);
    d->asked_to_wait_s = retry_after_of(r);
    d->on_head(d, r);
}

static mono_ns_t earlier(mono_ns_t a, mono_ns_t b)
{
    return a < b ? a : b;
}

/* The service is told how long we wait for this sending, which is what it can use. */
static void send_at(struct delivery *d, mono_ns_t now, mono_ns_t at)
{
    struct exchange *x = &d->exchange;
    /* What must not be sent twice has all the time for its only sending. */
    mono_ns_t of_try = twice_does_no_harm(d) ? at + d->try_ms * NS_PER_MS : d->deadline;
    d->attempts++;
    d->asked_to_wait_s = -1;
    buf_reset(d->out);
    x->started = at;
    x->deadline = earlier(of_try, d->deadline);
    x->deadline_is_ours = of_try <= d->deadline || (d->deadline_is_ours && d->attempts == 1);
    x->head = request_head_end(d->head, x->deadline - at);
    exchange_start(d->pools, x, at > now ? at : 0);
}

void delivery_start(struct delivery *d)
{
    mono_ns_t now = clock_mono_ns();
    d->started = now;
    d->exchange.upstream = d->upstream;
    d->exchange.slow_after = d->slow_ms * NS_PER_MS;
    d->exchange.request_body = d->body;
    d->exchange.body = d->out;
    d->exchange.on_head = on_head;
    d->exchange.done = on_done;
    budget_enter(&service_of(d)->budget, now);
    send_at(d, now, now);
}

void delivery_cancel(struct delivery *d)
{
    d->canceled = true;
    exchange_cancel(&d->exchange);
}
