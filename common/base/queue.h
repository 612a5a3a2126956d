/* queue.h — a bounded queue of linked items between threads: many put, one takes all that waits.
 *
 * For     the lane's inbox, reader threads, the relay's wake-ups. Items are intrusive: the first member of an item
 *         is its struct queue_link.
 * Owns    nothing; an item belongs to whoever took it.
 * Threads any may put; queue_take may be called by several threads.
 * Fails   queue_put says false when full or closed: the caller still owns the item.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct queue_link {
    struct queue_link *next;
};

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled, drained; /* CLOCK_MONOTONIC */
    struct queue_link *head, *tail;
    size_t count, cap;
    bool closed;
};

void queue_init(struct queue *q, size_t cap);
void queue_done(struct queue *q);
MUST_CHECK bool queue_put(struct queue *q, struct queue_link *item);
/* Waits for room, up to timeout_ms. For producers that can wait (the subscriber), never for an HTTP thread. */
MUST_CHECK bool queue_put_wait(struct queue *q, struct queue_link *item, int timeout_ms);
/* Up to max items, oldest first, as a list. Waits up to timeout_ms (-1: for ever) for the first one.
 * Returns the number; 0: nothing came, or the queue is closed and empty. */
size_t queue_take(struct queue *q, size_t max, int timeout_ms, struct queue_link **ret_items);
size_t queue_count(struct queue *q);
void queue_close(struct queue *q); /* no more puts; takers drain what is there */
bool queue_is_closed(struct queue *q);

#endif
