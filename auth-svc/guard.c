#include "guard.h"

/* Account: ten, then 4 s, 8 s … a quarter of an hour, in which one is forgotten: about 100 guesses a day and no more (NIST SP
 * 800-63B-4 section 3.2.2 allows 100 in a row). Address: an office may share one. All: far above what people mistype. */
const struct guard_policy GUARD_POLICIES[GUARD_KINDS] = {
    [GUARD_ACCOUNT] = {.free = 10, .leak_ms = 900000, .wait_first_s = 4, .wait_max_s = 900},
    [GUARD_ADDRESS] = {.free = 50, .leak_ms = 30000, .wait_first_s = 1, .wait_max_s = 60},
    [GUARD_ALL] = {.free = 1000, .leak_ms = 100, .wait_first_s = 1, .wait_max_s = 1},
};

bool bucket_is_open(const struct bucket *b, time_us_t now)
{
    return now >= b->open_date;
}

int bucket_wait_s(const struct bucket *b, time_us_t now)
{
    int64_t left_us = b->open_date - now;
    return left_us <= US_PER_S ? 1 : (int)((left_us + US_PER_S - 1) / US_PER_S);
}

static int64_t leak_us(const struct guard_policy *p)
{
    return (int64_t)p->leak_ms * 1000;
}

/* Rounded up: what is partly forgotten still counts. */
static int64_t failures(const struct bucket *b, const struct guard_policy *p, time_us_t now)
{
    return b->empty_date <= now ? 0 : (b->empty_date - now + leak_us(p) - 1) / leak_us(p);
}

static int64_t wait_s(const struct guard_policy *p, int64_t beyond)
{
    int64_t wait = p->wait_first_s;
    for (; beyond > 0 && wait < p->wait_max_s; beyond--)
        wait *= 2;
    return wait < p->wait_max_s ? wait : p->wait_max_s;
}

bool bucket_count(struct bucket *b, const struct guard_policy *p, time_us_t now)
{
    b->empty_date = (b->empty_date > now ? b->empty_date : now) + leak_us(p);
    int64_t beyond = failures(b, p, now) - p->free;
    if (beyond < 0)
        return false;
    b->open_date = now + wait_s(p, beyond) * US_PER_S;
    return true;
}

void bucket_uncount(struct bucket *b, const struct guard_policy *p, time_us_t now)
{
    b->empty_date -= leak_us(p);
    if (b->empty_date <= now)
        bucket_empty(b);
}

void bucket_empty(struct bucket *b)
{
    *b = (struct bucket){.empty_date = 0};
}
