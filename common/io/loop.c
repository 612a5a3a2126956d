#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    EVENTS_MAX = 64,      /* taken by one epoll_wait; the rest come with the next */
    TIMERS_MAX = 1 << 20, /* more is a leak */
    TIMERS_FIRST = 64,
    WAIT_MAX_MS = 60 * 1000, /* so that no sum overflows an int */
};

struct loop {
    int epoll_fd, wake_fd;
    atomic_bool stopping;

    pthread_mutex_t task_mutex; /* held over the write to wake_fd too: see loop_post */
    struct loop_task *task_head, *task_tail;

    struct loop_timer **timers; /* a binary heap, earliest first */
    size_t timer_count, timer_cap;

    struct {
        int (*before_wait)(void *arg);
        void *arg;
    } hooks[LOOP_HOOKS_MAX];
    size_t hook_count;

    struct epoll_event events[EVENTS_MAX]; /* of the current round; a deleted watch is wiped from it */
    int event_count;
};

static _Thread_local const struct loop *running;

enum err loop_open(struct loop **ret, struct fault *fault)
{
    struct loop *l = mem_alloc(sizeof *l);
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&l->task_mutex, NULL);
    if (l->epoll_fd < 0 || l->wake_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &wake) != 0) {
        int reason = errno;
        loop_close(l);
        return fault_set(fault, ERR_BUSY, "open an event loop: %s", strerror(reason));
    }
    *ret = l;
    return ERR_OK;
}

void loop_close(struct loop *l)
{
    if (l == NULL)
        return;
    pthread_mutex_destroy(&l->task_mutex);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    mem_free(l->timers);
    mem_free(l);
}

bool loop_is_mine(const struct loop *l)
{
    return running == l;
}

static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t ignored = write(l->wake_fd, &one, sizeof one); /* full means that it is awake anyway */
    (void)ignored;
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stopping, true);
    wake(l);
}

/* ---- watches ---- */

enum err loop_watch_add(struct loop *l, struct loop_watch *w, uint32_t epoll_events, struct fault *fault)
{
    struct epoll_event ev = {.events = epoll_events, .data.ptr = w};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) != 0)
        return fault_set(fault, ERR_BUSY, "watch descriptor %d: %s", w->fd, strerror(errno));
    return ERR_OK;
}

void loop_watch_mod(struct loop *l, struct loop_watch *w, uint32_t epoll_events)
{
    struct epoll_event ev = {.events = epoll_events, .data.ptr = w};
    int rc = epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev);
    assert(rc == 0);
    (void)rc;
}

void loop_watch_del(struct loop *l, struct loop_watch *w)
{
    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    /* Its owner may free it now, but this round may already hold an event for it. */
    for (int i = 0; i < l->event_count; i++)
        if (l->events[i].data.ptr == w)
            l->events[i].events = 0;
}

static void run_watches(struct loop *l)
{
    for (int i = 0; i < l->event_count; i++) {
        struct loop_watch *w = l->events[i].data.ptr;
        if (w == NULL) {
            uint64_t count;
            ssize_t ignored = read(l->wake_fd, &count, sizeof count);
            (void)ignored;
        } else if (l->events[i].events != 0) {
            w->ready(w, l->events[i].events);
        }
    }
    l->event_count = 0;
}

/* ---- timers ---- */

static void timer_put(struct loop *l, size_t i, struct loop_timer *t)
{
    l->timers[i] = t;
    t->slot = (uint32_t)i + 1;
}

static void timer_up(struct loop *l, size_t i, struct loop_timer *t)
{
    while (i > 0 && l->timers[(i - 1) / 2]->at > t->at) {
        timer_put(l, i, l->timers[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    timer_put(l, i, t);
}

static void timer_down(struct loop *l, size_t i, struct loop_timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= l->timer_count)
            break;
        if (child + 1 < l->timer_count && l->timers[child + 1]->at < l->timers[child]->at)
            child++;
        if (l->timers[child]->at >= t->at)
            break;
        timer_put(l, i, l->timers[child]);
        i = child;
    }
    timer_put(l, i, t);
}

static void timer_place(struct loop *l, size_t i, struct loop_timer *t)
{
    if (i > 0 && l->timers[(i - 1) / 2]->at > t->at)
        timer_up(l, i, t);
    else
        timer_down(l, i, t);
}

void loop_timer_set(struct loop *l, struct loop_timer *t, mono_ns_t at)
{
    t->at = at;
    if (t->slot != 0) {
        timer_place(l, t->slot - 1, t);
        return;
    }
    assert(l->timer_count < TIMERS_MAX);
    if (l->timer_count == l->timer_cap) {
        l->timer_cap = l->timer_cap == 0 ? TIMERS_FIRST : 2 * l->timer_cap;
        l->timers = mem_realloc(l->timers, l->timer_cap * sizeof(struct loop_timer *));
    }
    l->timer_count++;
    timer_up(l, l->timer_count - 1, t);
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    if (t->slot == 0)
        return;
    size_t hole = t->slot - 1;
    struct loop_timer *last = l->timers[--l->timer_count];
    t->slot = 0;
    if (last != t)
        timer_place(l, hole, last);
}

static void run_timers(struct loop *l)
{
    if (l->timer_count == 0)
        return;
    mono_ns_t now = clock_mono_ns();
    /* A timer that sets itself to a time in the past fires again in the next round, not for ever in this one. */
    for (size_t most = l->timer_count; most > 0 && l->timer_count > 0 && l->timers[0]->at <= now; most--) {
        struct loop_timer *t = l->timers[0];
        loop_timer_clear(l, t);
        t->fire(t);
    }
}

/* ---- tasks ---- */

/* The lock is held over the wake-up: a loop may be closed as soon as its last task has run, and it can't take that task before
 * we let go. */
void loop_post(struct loop *l, struct loop_task *t)
{
    t->next = NULL;
    pthread_mutex_lock(&l->task_mutex);
    bool first = l->task_head == NULL;
    if (first)
        l->task_head = t;
    else
        l->task_tail->next = t;
    l->task_tail = t;
    if (first && !loop_is_mine(l))
        wake(l);
    pthread_mutex_unlock(&l->task_mutex);
}

static void run_tasks(struct loop *l)
{
    pthread_mutex_lock(&l->task_mutex);
    struct loop_task *t = l->task_head;
    l->task_head = l->task_tail = NULL;
    pthread_mutex_unlock(&l->task_mutex);

    while (t != NULL) {
        struct loop_task *next = t->next; /* running it may free it */
        t->run(t);
        t = next;
    }
}

static bool tasks_wait(struct loop *l)
{
    pthread_mutex_lock(&l->task_mutex);
    bool some = l->task_head != NULL;
    pthread_mutex_unlock(&l->task_mutex);
    return some;
}

/* ---- the round ---- */

void loop_hook(struct loop *l, int (*before_wait)(void *arg), void *arg)
{
    assert(l->hook_count < LOOP_HOOKS_MAX);
    l->hooks[l->hook_count].before_wait = before_wait;
    l->hooks[l->hook_count++].arg = arg;
}

static int sooner(int a_ms, int b_ms)
{
    if (a_ms < 0)
        return b_ms;
    return b_ms >= 0 && b_ms < a_ms ? b_ms : a_ms;
}

static int timers_wait(const struct loop *l)
{
    if (l->timer_count == 0)
        return -1;
    mono_ns_t left = l->timers[0]->at - clock_mono_ns();
    if (left <= 0)
        return 0;
    if (left > WAIT_MAX_MS * NS_PER_MS)
        return WAIT_MAX_MS;
    return (int)((left + NS_PER_MS - 1) / NS_PER_MS);
}

static int next_wait(struct loop *l)
{
    int wait_ms = -1;
    for (size_t i = 0; i < l->hook_count; i++)
        wait_ms = sooner(wait_ms, l->hooks[i].before_wait(l->hooks[i].arg));
    if (tasks_wait(l)) /* posted by this thread, in a hook */
        return 0;
    return sooner(wait_ms, timers_wait(l));
}

void loop_run(struct loop *l)
{
    int wait_ms = 0;
    running = l;
    while (!atomic_load(&l->stopping)) {
        int n = epoll_wait(l->epoll_fd, l->events, EVENTS_MAX, wait_ms);
        l->event_count = n > 0 ? n : 0;
        run_watches(l);
        run_timers(l);
        run_tasks(l);
        wait_ms = next_wait(l);
    }
    running = NULL;
}
