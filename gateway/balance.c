#include "gateway/balance.h"

#include <assert.h>

/* xorshift64: no secret depends on it. */
uint64_t balance_random(uint64_t *random)
{
    assert(*random != 0);
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

int balance_share(mono_ns_t since, mono_ns_t now)
{
    mono_ns_t here = now - since, ramp = BALANCE_RAMP_S * NS_PER_S;
    if (since == 0 || here >= ramp)
        return BALANCE_WHOLE;
    if (here < 0)
        return BALANCE_LEAST;
    return BALANCE_LEAST + (int)((BALANCE_WHOLE - BALANCE_LEAST) * here / ramp);
}

/* The nth of those that are possible and as wanted. */
static size_t nth(const struct balance_choice *choices, size_t count, bool last_resort, size_t n)
{
    for (size_t i = 0; i < count; i++)
        if (choices[i].possible && choices[i].last_resort == last_resort && n-- == 0)
            return i;
    return BALANCE_NONE;
}

static size_t count_of(const struct balance_choice *choices, size_t count, bool last_resort)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += choices[i].possible && choices[i].last_resort == last_resort;
    return n;
}

/* Is it its turn, with the share that it has? */
static bool is_up(const struct balance_choice *c, uint64_t *random)
{
    return c->share >= BALANCE_WHOLE || (int)(balance_random(random) % BALANCE_WHOLE) < c->share;
}

static size_t better(const struct balance_choice *choices, size_t a, size_t b, uint64_t *random)
{
    bool a_up = is_up(&choices[a], random), b_up = is_up(&choices[b], random);
    if (a_up != b_up)
        return a_up ? a : b;
    return choices[b].in_flight < choices[a].in_flight ? b : a;
}

size_t balance_choose(const struct balance_choice *choices, size_t count, uint64_t *random)
{
    bool last_resort = false;
    size_t n = count_of(choices, count, last_resort);
    if (n == 0) {
        last_resort = true;
        n = count_of(choices, count, last_resort);
    }
    if (n <= 1)
        return nth(choices, count, last_resort, 0);

    size_t first = balance_random(random) % n, second = balance_random(random) % (n - 1);
    second += second >= first; /* another than the first */
    return better(choices, nth(choices, count, last_resort, first), nth(choices, count, last_resort, second), random);
}
