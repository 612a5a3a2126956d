/* loop.h — one thread's event loop: descriptors, timers, and work posted by other threads.
 *
 * For     the HTTP server's threads, which also drive the gateway's upstream side. epoll, level-triggered unless asked.
 * Owns    nothing it is given: watches, timers and tasks live in their owner's structs.
 * Threads everything but loop_post and loop_stop: the loop's own thread.
 * Fails   never, once open.
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

struct loop;

struct loop_watch { /* embed it; container_of gives the owner */
    void (*ready)(struct loop_watch *w, uint32_t epoll_events);
    int fd;
};
struct loop_timer {
    void (*fire)(struct loop_timer *t);
    mono_ns_t at;
    uint32_t slot; /* heap index + 1; 0: not set */
};
struct loop_task {
    void (*run)(struct loop_task *t);
    struct loop_task *next;
};

MUST_CHECK enum err loop_open(struct loop **ret, struct fault *fault);
void loop_close(struct loop *l);
void loop_run(struct loop *l);  /* until loop_stop */
void loop_stop(struct loop *l); /* any thread, signal-safe */
bool loop_is_mine(const struct loop *l);

MUST_CHECK enum err loop_watch_add(struct loop *l, struct loop_watch *w, uint32_t epoll_events, struct fault *fault);
void loop_watch_mod(struct loop *l, struct loop_watch *w, uint32_t epoll_events);
void loop_watch_del(struct loop *l, struct loop_watch *w); /* safe from inside any callback of this loop */

void loop_timer_set(struct loop *l, struct loop_timer *t, mono_ns_t at); /* sets or moves */
void loop_timer_clear(struct loop *l, struct loop_timer *t);             /* fine when not set */
void loop_post(struct loop *l, struct loop_task *t); /* any thread; runs once on the loop's thread */
/* Called after every wake-up's callbacks, before waiting again; returns how long to wait at most (ms; -1: for ever). The
 * HTTP server runs MHD here. At most LOOP_HOOKS_MAX. */
enum { LOOP_HOOKS_MAX = 4 };
void loop_hook(struct loop *l, int (*before_wait)(void *arg), void *arg);

#endif
