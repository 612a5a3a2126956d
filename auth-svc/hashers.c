#include "hashers.h"

#include <pthread.h>

#include "base/queue.h"

struct hashers {
    struct queue queue;
    struct counter *expired;
    struct histogram *seconds;
    pthread_t threads[HASHERS_MAX];
    int count;
};

struct job {
    struct queue_link link; /* first */
    struct call *call;
    http_handler *work;
};

enum err hashers_submit(struct hashers *h, struct call *call, http_handler *work)
{
    struct job *job = ARENA_NEW(&call->arena, struct job);
    *job = (struct job){.call = call, .work = work};
    if (queue_put(&h->queue, &job->link))
        return ERR_OK;
    return fault_set(&call->fault, ERR_BUSY, "%d calls wait to be hashed already", HASHERS_QUEUE_MAX);
}

static enum err do_work(struct hashers *h, const struct job *job, mono_ns_t now)
{
    if (now <= job->call->deadline)
        return job->work(job->call);
    counter_add(h->expired, 1);
    return fault_set(&job->call->fault, ERR_BUSY, "the time was up before the hash's turn");
}

static void run(struct hashers *h, const struct job *job)
{
    struct call *call = job->call; /* the job lies in the call's arena: who was handed it may have ended it */
    mono_ns_t started = clock_mono_ns();
    enum err e = do_work(h, job, started);
    if (e != ERR_OK)
        call_finish(call, e);
    histogram_observe(h->seconds, (double)(clock_mono_ns() - started) / (double)NS_PER_S);
}

static void *hasher_main(void *arg)
{
    struct hashers *h = arg;
    struct queue_link *item;
    while (queue_take(&h->queue, 1, -1, &item) > 0)
        run(h, (const struct job *)(const void *)item);
    return NULL;
}

static double waiting(void *arg)
{
    return (double)queue_count(&((struct hashers *)arg)->queue);
}

enum err hashers_open(int threads, struct metrics *m, struct hashers **ret, struct fault *fault)
{
    if (threads < 1 || threads > HASHERS_MAX)
        return fault_set(fault, ERR_CONF, "%d threads for hashing: must be 1 to %d", threads, HASHERS_MAX);

    struct hashers *h = mem_alloc(sizeof *h);
    queue_init(&h->queue, HASHERS_QUEUE_MAX);
    h->expired = metrics_counter(m, "hashers_expired_total", "Calls whose time was up before their turn.", "");
    h->seconds = metrics_histogram(m, "hashers_seconds", "Hashing and signing for one call, without its wait.", "",
                                   HISTOGRAM_SECONDS, sizeof HISTOGRAM_SECONDS / sizeof HISTOGRAM_SECONDS[0]);
    metrics_gauge_fn(m, "hashers_waiting", "Calls that wait to be hashed.", "", waiting, h);
    for (; h->count < threads; h->count++) {
        if (pthread_create(&h->threads[h->count], NULL, hasher_main, h) != 0) {
            hashers_close(h);
            return fault_set(fault, ERR_BUG, "a thread for hashing could not be started");
        }
    }
    *ret = h;
    return ERR_OK;
}

void hashers_close(struct hashers *h)
{
    if (h == NULL)
        return;
    queue_close(&h->queue);
    for (int i = 0; i < h->count; i++)
        pthread_join(h->threads[i], NULL);
    queue_done(&h->queue);
    mem_free(h);
}
