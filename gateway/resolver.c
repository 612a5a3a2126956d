#include "gateway/resolver.h"

#include <errno.h>
#include <string.h>

struct resolver {
    struct upstreams *upstreams;
    mono_ns_t every;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* CLOCK_MONOTONIC */
    bool woken, ending;
};

/* Until the next round is due; false: none is. */
static bool wait_for_round(struct resolver *r)
{
    mono_ns_t at = clock_mono_ns() + r->every;
    struct timespec until = {.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
    int rc = 0;
    pthread_mutex_lock(&r->mutex);
    while (!r->ending && !r->woken && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&r->changed, &r->mutex, &until);
    r->woken = false;
    bool goes_on = !r->ending;
    pthread_mutex_unlock(&r->mutex);
    return goes_on;
}

static void *run(void *arg)
{
    struct resolver *r = arg;
    while (wait_for_round(r))
        upstreams_resolve(r->upstreams);
    return NULL;
}

static void resolver_free(struct resolver *r)
{
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->mutex);
    mem_free(r);
}

enum err resolver_open(struct upstreams *us, int every_s, struct resolver **ret, struct fault *fault)
{
    struct resolver *r = mem_alloc(sizeof(*r));
    pthread_condattr_t monotonic;
    r->upstreams = us;
    r->every = every_s * NS_PER_S;
    pthread_mutex_init(&r->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);

    upstreams_resolve(us);
    int rc = pthread_create(&r->thread, NULL, run, r);
    if (rc != 0) {
        resolver_free(r);
        return fault_set(fault, ERR_BUSY, "start the resolver's thread: %s", strerror(rc));
    }
    *ret = r;
    return ERR_OK;
}

void resolver_wake(struct resolver *r)
{
    pthread_mutex_lock(&r->mutex);
    r->woken = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

void resolver_close(struct resolver *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->mutex);
    r->ending = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    pthread_join(r->thread, NULL);
    resolver_free(r);
}
