#include "base/queue.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

#include "base/clock.h"

/* None of these calls fails but for a bug of ours. */
static void must(int rc)
{
    assert(rc == 0);
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    must(pthread_condattr_init(&attr));
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    must(pthread_cond_init(cond, &attr));
    must(pthread_condattr_destroy(&attr));
}

void queue_init(struct queue *q, size_t cap)
{
    assert(cap > 0);
    *q = (struct queue){.cap = cap};
    must(pthread_mutex_init(&q->mutex, NULL));
    cond_init(&q->filled);
    cond_init(&q->drained);
}

void queue_done(struct queue *q)
{
    must(pthread_cond_destroy(&q->drained));
    must(pthread_cond_destroy(&q->filled));
    must(pthread_mutex_destroy(&q->mutex));
}

/* Waits on `cond` until signalled or `deadline` (NULL: for ever). false: the deadline is over. */
static bool wait_until(struct queue *q, pthread_cond_t *cond, const struct timespec *deadline)
{
    int rc = deadline != NULL ? pthread_cond_timedwait(cond, &q->mutex, deadline) : pthread_cond_wait(cond, &q->mutex);
    assert(rc == 0 || rc == ETIMEDOUT);
    return rc == 0;
}

static struct timespec deadline_in(int timeout_ms)
{
    mono_ns_t at = clock_mono_ns() + timeout_ms * NS_PER_MS;
    return (struct timespec){.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
}

/* The mutex is held. */
static bool append(struct queue *q, struct queue_link *item)
{
    if (q->closed || q->count == q->cap)
        return false;

    item->next = NULL;
    if (q->tail != NULL)
        q->tail->next = item;
    else
        q->head = item;
    q->tail = item;
    q->count++;
    /* At every put, not only the first: another taker may sleep while the first one takes fewer than there are. */
    must(pthread_cond_signal(&q->filled));
    return true;
}

bool queue_put(struct queue *q, struct queue_link *item)
{
    must(pthread_mutex_lock(&q->mutex));
    bool put = append(q, item);
    must(pthread_mutex_unlock(&q->mutex));
    return put;
}

bool queue_put_wait(struct queue *q, struct queue_link *item, int timeout_ms)
{
    assert(timeout_ms >= 0);
    struct timespec deadline = deadline_in(timeout_ms);
    must(pthread_mutex_lock(&q->mutex));
    while (!q->closed && q->count == q->cap) {
        if (!wait_until(q, &q->drained, &deadline))
            break;
    }
    bool put = append(q, item);
    must(pthread_mutex_unlock(&q->mutex));
    return put;
}

/* Cuts the first `n` (1..count) items off; the mutex is held. */
static struct queue_link *cut(struct queue *q, size_t n)
{
    struct queue_link *first = q->head, *last = q->head;
    for (size_t i = 1; i < n; i++)
        last = last->next;

    if (q->count == q->cap)
        must(pthread_cond_broadcast(&q->drained));
    q->head = last->next;
    if (q->head == NULL)
        q->tail = NULL;
    last->next = NULL;
    q->count -= n;
    return first;
}

size_t queue_take(struct queue *q, size_t max, int timeout_ms, struct queue_link **ret_items)
{
    assert(max > 0);
    struct timespec deadline = deadline_in(timeout_ms < 0 ? 0 : timeout_ms);
    *ret_items = NULL;

    must(pthread_mutex_lock(&q->mutex));
    while (q->count == 0 && !q->closed) {
        if (!wait_until(q, &q->filled, timeout_ms < 0 ? NULL : &deadline))
            break;
    }
    size_t n = q->count < max ? q->count : max;
    if (n > 0)
        *ret_items = cut(q, n);
    must(pthread_mutex_unlock(&q->mutex));
    return n;
}

size_t queue_count(struct queue *q)
{
    must(pthread_mutex_lock(&q->mutex));
    size_t count = q->count;
    must(pthread_mutex_unlock(&q->mutex));
    return count;
}

void queue_close(struct queue *q)
{
    must(pthread_mutex_lock(&q->mutex));
    q->closed = true;
    must(pthread_cond_broadcast(&q->filled));
    must(pthread_cond_broadcast(&q->drained));
    must(pthread_mutex_unlock(&q->mutex));
}

bool queue_is_closed(struct queue *q)
{
    must(pthread_mutex_lock(&q->mutex));
    bool closed = q->closed;
    must(pthread_mutex_unlock(&q->mutex));
    return closed;
}
