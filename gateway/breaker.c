#include "gateway/breaker.h"

#include <assert.h>
#include <string.h>

enum { JITTER_STEPS = 1000 };

/* min_calls: fewer say little. conn_fails: a service with few calls would never reach them. Probes under way are few, since a
 * service that hangs would hold each of them. An instance is left out sooner and asked again sooner: others are there. With
 * two of them, one that fails must be out before half of the service's min_calls have failed, or all of it would be. */
const struct breaker_conf BREAKER_SERVICE = {
    .min_calls = 20,
    .failure_percent = 50,
    .slow_percent = 80,
    .conn_fails = 5,
    .wait_ms = 5000,
    .wait_max_ms = 60000,
    .jitter_percent = 20,
    .probes = 5,
    .probes_at_once = 2,
    .half_open_max_ms = 10000,
};
const struct breaker_conf BREAKER_INSTANCE = {
    .min_calls = 5,
    .failure_percent = 50,
    .slow_percent = 80,
    .conn_fails = 3,
    .wait_ms = 2000,
    .wait_max_ms = 30000,
    .jitter_percent = 20,
    .probes = 3,
    .probes_at_once = 1,
    .half_open_max_ms = 10000,
};

const char *breaker_state_name(enum breaker_state s)
{
    static const char *const NAMES[BREAKER_STATE_COUNT] = {
        [BREAKER_CLOSED] = "CLOSED",           [BREAKER_OPEN] = "OPEN",         [BREAKER_HALF_OPEN] = "HALF_OPEN",
        [BREAKER_FORCED_OPEN] = "FORCED_OPEN", [BREAKER_DISABLED] = "DISABLED",
    };
    return NAMES[s];
}

/* 501 is a service that knows what it doesn't do; 4xx, 429 too, is the client's. */
enum breaker_outcome breaker_outcome_of(int status)
{
    bool failed = status == 500 || status == 502 || status == 503 || status == 504;
    return failed ? BREAKER_FAILURE : BREAKER_SUCCESS;
}

/* ---- the window ---- */

static void add(struct breaker_counts *sum, struct breaker_counts c)
{
    sum->calls += c.calls;
    sum->failed += c.failed;
    sum->slow += c.slow;
}

static void subtract(struct breaker_counts *sum, struct breaker_counts c)
{
    sum->calls -= c.calls;
    sum->failed -= c.failed;
    sum->slow -= c.slow;
}

static void window_clear(struct breaker *b)
{
    memset(b->buckets, 0, sizeof(b->buckets));
    b->window = (struct breaker_counts){0};
}

/* Another thread's `now` may be a little older than the newest: it counts as that. */
static void window_slide(struct breaker *b, mono_ns_t now)
{
    int64_t second = now / NS_PER_S;
    if (second - b->second >= BREAKER_WINDOW_S) {
        window_clear(b);
        b->second = second;
    }
    while (b->second < second) {
        struct breaker_counts *oldest = &b->buckets[++b->second % BREAKER_WINDOW_S];
        subtract(&b->window, *oldest);
        *oldest = (struct breaker_counts){0};
    }
}

static void window_add(struct breaker *b, struct breaker_counts c, mono_ns_t now)
{
    window_slide(b, now);
    add(&b->buckets[b->second % BREAKER_WINDOW_S], c);
    add(&b->window, c);
}

/* ---- transitions, with the mutex held ---- */

static uint32_t next_random(struct breaker *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return (uint32_t)(b->random >> 32);
}

/* wait * 2^open_count within its maximum, and a jitter, so that many gateways don't probe at once. */
static mono_ns_t next_wait(struct breaker *b)
{
    const struct breaker_conf *c = &b->conf;
    int64_t ms = c->wait_ms;
    for (int k = 0; k < b->open_count && ms < c->wait_max_ms; k++)
        ms *= 2;
    ms = ms < c->wait_max_ms ? ms : c->wait_max_ms;
    mono_ns_t wait = ms * NS_PER_MS, span = wait / 100 * c->jitter_percent;
    return wait - span + 2 * span / JITTER_STEPS * (next_random(b) % (JITTER_STEPS + 1));
}

static void enter(struct breaker *b, enum breaker_state to, mono_ns_t now)
{
    b->state = to;
    b->generation++;
    b->since = now;
    b->entered_total[to]++;
    b->conn_fails = 0;
    b->probes = (struct breaker_counts){0};
    b->probes_given = b->probes_under_way = 0;
    if (to == BREAKER_CLOSED || to == BREAKER_DISABLED) {
        window_clear(b);
        b->open_count = 0;
    }
    if (to == BREAKER_OPEN) {
        b->open_until = now + next_wait(b);
        b->open_count++;
    }
    atomic_store_explicit(&b->gate, (uint64_t)to << 32 | b->generation, memory_order_release);
}

static bool at_or_above(uint32_t part, int percent, uint32_t whole)
{
    return (uint64_t)part * 100 >= (uint64_t)percent * whole;
}

/* CLOSED: is it enough? */
static bool has_tripped(const struct breaker *b)
{
    const struct breaker_counts *w = &b->window;
    const struct breaker_conf *c = &b->conf;
    if (b->conn_fails >= c->conn_fails)
        return true;
    return w->calls >= (uint32_t)c->min_calls &&
           (at_or_above(w->failed, c->failure_percent, w->calls) || at_or_above(w->slow, c->slow_percent, w->calls));
}

/* HALF_OPEN: what the probes say so far, as soon as those that are missing can't change it. */
static enum breaker_state verdict(const struct breaker *b)
{
    const struct breaker_conf *c = &b->conf;
    const struct breaker_counts *p = &b->probes;
    uint32_t all = (uint32_t)c->probes, left = all - p->calls;
    if (at_or_above(p->failed, c->failure_percent, all) || at_or_above(p->slow, c->slow_percent, all))
        return BREAKER_OPEN;
    if (at_or_above(p->failed + left, c->failure_percent, all) || at_or_above(p->slow + left, c->slow_percent, all))
        return BREAKER_HALF_OPEN;
    return BREAKER_CLOSED;
}

/* What time alone does. Probes under way for too long are lost: their permits must not be missed for ever. */
static void let_time_pass(struct breaker *b, mono_ns_t now)
{
    if (b->state == BREAKER_OPEN && now >= b->open_until)
        enter(b, BREAKER_HALF_OPEN, now);
    else if (b->state == BREAKER_HALF_OPEN && b->probes_under_way > 0 && now >= b->probes_until)
        enter(b, BREAKER_OPEN, now);
}

/* ---- the door ---- */

/* What a change is told with: the state as it was when the mutex was taken. */
struct before {
    enum breaker_state state;
    struct breaker_counts decided;
};

static struct before enter_mutex(struct breaker *b)
{
    pthread_mutex_lock(&b->mutex);
    return (struct before){b->state, b->state == BREAKER_HALF_OPEN ? b->probes : b->window};
}

static void leave_mutex(struct breaker *b, struct before before)
{
    struct breaker_change change = {
        .from = before.state,
        .to = b->state,
        .generation = b->generation,
        .calls = before.decided.calls,
        .failed = before.decided.failed,
        .slow = before.decided.slow,
    };
    pthread_mutex_unlock(&b->mutex);
    if (change.from != change.to && b->changed != NULL)
        b->changed(b->arg, &change);
}

void breaker_init(struct breaker *b, const struct breaker_conf *conf, uint64_t seed, breaker_changed *changed,
                  void *arg, mono_ns_t now)
{
    assert(conf->min_calls > 0 && conf->probes > 0 && conf->probes_at_once > 0 && conf->wait_ms > 0 &&
           conf->half_open_max_ms > 0 && conf->jitter_percent >= 0 && conf->jitter_percent <= 100);
    memset(b, 0, sizeof(*b));
    b->conf = *conf;
    b->changed = changed;
    b->arg = arg;
    b->since = now;
    b->second = now / NS_PER_S;
    b->random = seed | 1;
    pthread_mutex_init(&b->mutex, NULL);
    atomic_init(&b->gate, (uint64_t)BREAKER_CLOSED << 32);
}

void breaker_done(struct breaker *b)
{
    pthread_mutex_destroy(&b->mutex);
}

/* How long not to ask; 0: a permit may be given. */
static mono_ns_t wait_of(const struct breaker *b, mono_ns_t now)
{
    switch (b->state) {
    case BREAKER_OPEN:
        return b->open_until - now;
    case BREAKER_HALF_OPEN:
        return b->probes_given < b->conf.probes && b->probes_under_way < b->conf.probes_at_once ? 0 : NS_PER_S;
    case BREAKER_FORCED_OPEN:
        return b->conf.wait_ms * NS_PER_MS;
    case BREAKER_CLOSED:
    case BREAKER_DISABLED:
    case BREAKER_STATE_COUNT:
        break;
    }
    return 0;
}

static void give_probe(struct breaker *b, mono_ns_t now)
{
    if (b->probes_under_way == 0) /* those before it have all come back */
        b->probes_until = now + b->conf.half_open_max_ms * NS_PER_MS;
    b->probes_given++;
    b->probes_under_way++;
}

bool breaker_acquire(struct breaker *b, mono_ns_t now, uint32_t *ret_generation, mono_ns_t *ret_wait)
{
    uint64_t gate = atomic_load_explicit(&b->gate, memory_order_acquire);
    if (gate >> 32 == BREAKER_CLOSED || gate >> 32 == BREAKER_DISABLED) {
        *ret_generation = (uint32_t)gate;
        return true;
    }

    struct before before = enter_mutex(b);
    let_time_pass(b, now);
    mono_ns_t wait = wait_of(b, now);
    if (wait > 0) {
        b->not_permitted_total++;
        *ret_wait = wait;
    } else {
        *ret_generation = b->generation;
        if (b->state == BREAKER_HALF_OPEN)
            give_probe(b, now);
    }
    leave_mutex(b, before);
    return wait == 0;
}

static void count_total(struct breaker *b, struct breaker_counts c)
{
    b->successful_total += c.calls - c.failed;
    b->failed_total += c.failed;
    b->slow_total += c.slow;
}

static void report_closed(struct breaker *b, struct breaker_counts c, bool met_nobody, struct before *before,
                          mono_ns_t now)
{
    b->conn_fails = met_nobody ? b->conn_fails + 1 : 0;
    window_add(b, c, now);
    before->decided = b->window;
    if (b->state == BREAKER_CLOSED && has_tripped(b))
        enter(b, BREAKER_OPEN, now);
}

static void report_probe(struct breaker *b, struct breaker_counts c, struct before *before, mono_ns_t now)
{
    b->probes_under_way--;
    add(&b->probes, c);
    before->decided = b->probes;
    enum breaker_state to = verdict(b);
    if (to != BREAKER_HALF_OPEN)
        enter(b, to, now);
}

/* The permit goes back as if it had not been given. */
static void cancel(struct breaker *b)
{
    b->ignored_total++;
    if (b->state != BREAKER_HALF_OPEN)
        return;
    b->probes_under_way--;
    b->probes_given--;
}

void breaker_report(struct breaker *b, uint32_t generation, struct breaker_result r, mono_ns_t now)
{
    bool slow = r.outcome == BREAKER_LATE || (r.slow_after > 0 && r.took > r.slow_after);
    bool failed = r.outcome != BREAKER_SUCCESS && r.outcome != BREAKER_CANCELED;
    struct breaker_counts counts = {.calls = 1, .failed = failed, .slow = slow};

    struct before before = enter_mutex(b);
    let_time_pass(b, now);
    if (generation != b->generation) {
        b->stale_total++;
    } else if (r.outcome == BREAKER_CANCELED && !slow) {
        cancel(b);
    } else {
        count_total(b, counts);
        if (b->state == BREAKER_HALF_OPEN)
            report_probe(b, counts, &before, now);
        else
            report_closed(b, counts, r.outcome == BREAKER_NOT_CONNECTED, &before, now);
    }
    leave_mutex(b, before);
}

void breaker_tick(struct breaker *b, mono_ns_t now)
{
    struct before before = enter_mutex(b);
    let_time_pass(b, now);
    leave_mutex(b, before);
}

void breaker_force(struct breaker *b, enum breaker_state to, mono_ns_t now)
{
    assert(to == BREAKER_FORCED_OPEN || to == BREAKER_DISABLED || to == BREAKER_CLOSED);
    struct before before = enter_mutex(b);
    if (b->state != to)
        enter(b, to, now);
    leave_mutex(b, before);
}

void breaker_look(struct breaker *b, mono_ns_t now, struct breaker_view *ret)
{
    struct before before = enter_mutex(b);
    let_time_pass(b, now);
    if (b->state == BREAKER_CLOSED || b->state == BREAKER_DISABLED)
        window_slide(b, now);
    *ret = (struct breaker_view){
        .state = b->state,
        .generation = b->generation,
        .window = b->window,
        .probes = b->probes,
        .in_state_ms = (now - b->since) / NS_PER_MS,
        .retry_after_ms = b->state == BREAKER_OPEN ? (b->open_until - now + NS_PER_MS - 1) / NS_PER_MS : 0,
        .has_rates = b->window.calls >= (uint32_t)b->conf.min_calls,
        .failure_rate = -1,
        .slow_rate = -1,
        .successful_total = b->successful_total,
        .failed_total = b->failed_total,
        .slow_total = b->slow_total,
        .ignored_total = b->ignored_total,
        .stale_total = b->stale_total,
        .not_permitted_total = b->not_permitted_total,
    };
    if (ret->has_rates) {
        ret->failure_rate = 100.0 * b->window.failed / b->window.calls;
        ret->slow_rate = 100.0 * b->window.slow / b->window.calls;
    }
    memcpy(ret->entered_total, b->entered_total, sizeof(ret->entered_total));
    leave_mutex(b, before);
}

enum breaker_state breaker_peek(const struct breaker *b)
{
    return (enum breaker_state)(atomic_load_explicit(&b->gate, memory_order_acquire) >> 32);
}
