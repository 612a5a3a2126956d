#include "gateway/budget.h"

#include <string.h>

void budget_init(struct budget *b)
{
    memset(b, 0, sizeof(*b));
    pthread_mutex_init(&b->mutex, NULL);
}

void budget_done(struct budget *b)
{
    pthread_mutex_destroy(&b->mutex);
}

/* The bucket of `now`, after those that have grown too old are emptied. */
static struct budget_bucket *bucket_of(struct budget *b, mono_ns_t now)
{
    int64_t second = now / NS_PER_S;
    if (second - b->second >= BUDGET_WINDOW_S) {
        memset(b->buckets, 0, sizeof(b->buckets));
        b->second = second;
    }
    while (b->second < second)
        b->buckets[++b->second % BUDGET_WINDOW_S] = (struct budget_bucket){0};
    return &b->buckets[b->second % BUDGET_WINDOW_S];
}

static bool within(uint64_t part, uint64_t whole, unsigned percent, unsigned least)
{
    return part < least || part * 100 < whole * percent;
}

static bool window_allows(const struct budget *b)
{
    uint64_t requests = 0, retries = 0;
    for (int i = 0; i < BUDGET_WINDOW_S; i++) {
        requests += b->buckets[i].requests;
        retries += b->buckets[i].retries;
    }
    return within(retries, requests, BUDGET_WINDOW_PERCENT, BUDGET_WINDOW_MIN);
}

void budget_enter(struct budget *b, mono_ns_t now)
{
    pthread_mutex_lock(&b->mutex);
    b->active++;
    bucket_of(b, now)->requests++;
    pthread_mutex_unlock(&b->mutex);
}

bool budget_retry(struct budget *b, mono_ns_t now)
{
    pthread_mutex_lock(&b->mutex);
    struct budget_bucket *bucket = bucket_of(b, now);
    bool allowed = window_allows(b) &&
                   within((uint64_t)b->retrying, (uint64_t)b->active, BUDGET_ACTIVE_PERCENT, BUDGET_ACTIVE_MIN);
    b->retrying += allowed;
    bucket->retries += allowed;
    b->denied_total += !allowed;
    pthread_mutex_unlock(&b->mutex);
    return allowed;
}

void budget_retried(struct budget *b)
{
    pthread_mutex_lock(&b->mutex);
    b->retrying--;
    pthread_mutex_unlock(&b->mutex);
}

void budget_leave(struct budget *b)
{
    pthread_mutex_lock(&b->mutex);
    b->active--;
    pthread_mutex_unlock(&b->mutex);
}

uint64_t budget_denied(struct budget *b)
{
    pthread_mutex_lock(&b->mutex);
    uint64_t denied = b->denied_total;
    pthread_mutex_unlock(&b->mutex);
    return denied;
}
