#include <string.h>

#include "io/http_private.h"

enum {
    FREE_CALLS_MAX = 256,     /* kept a thread; about 7 KiB each */
    KEPT_BUF_MAX = 64 * 1024, /* of a free call's buffers */
};

struct call_slot {
    struct call call;
    struct call_private priv;
};

void call_free(struct call *call)
{
    arena_done(&call->arena);
    buf_done(&call->out);
    buf_done(&call->problem_members);
    buf_done(&call->log_members);
    buf_done(&call->priv->body);
    mem_free(OWNER_OF(call, struct call_slot, call));
}

static void buf_empty(struct buf *b)
{
    if (b->cap > KEPT_BUF_MAX)
        buf_done(b);
    buf_reset(b);
}

/* Clears all but what is kept for the next request (memory), and the list of field errors but for its count: it is long. */
static void call_reset(struct call *call)
{
    struct call_private *priv = call->priv;
    struct arena arena = call->arena;
    struct buf out = call->out, problem = call->problem_members, log = call->log_members, body = priv->body;
    arena_reset(&arena);
    buf_empty(&out);
    buf_empty(&problem);
    buf_empty(&log);
    buf_empty(&body);

    size_t before = offsetof(struct call, errors), after = offsetof(struct call, problem_members);
    memset(call, 0, before);
    memset((char *)call + after, 0, sizeof *call - after);
    call->errors.count = 0;
    memset(priv, 0, sizeof *priv);
    call->arena = arena;
    call->out = out;
    call->problem_members = problem;
    call->log_members = log;
    call->priv = priv;
    priv->body = body;
}

static struct call *call_new(void)
{
    struct call_slot *slot = mem_alloc(sizeof *slot);
    slot->call.priv = &slot->priv;
    arena_init(&slot->call.arena);
    return &slot->call;
}

void call_link(struct call_pool *pool, struct call *call)
{
    call->priv->prev = NULL;
    call->priv->next = pool->under_way;
    if (pool->under_way != NULL)
        pool->under_way->priv->prev = call;
    pool->under_way = call;
}

void call_unlink(struct call_pool *pool, struct call *call)
{
    struct call_private *priv = call->priv;
    if (priv->prev != NULL)
        priv->prev->priv->next = priv->next;
    else
        pool->under_way = priv->next;
    if (priv->next != NULL)
        priv->next->priv->prev = priv->prev;
}

struct call *call_take(struct call_pool *pool)
{
    struct call *call = pool->free;
    if (call == NULL) {
        call = call_new();
    } else {
        pool->free = call->priv->next;
        pool->free_count--;
        call_reset(call);
    }
    call_link(pool, call);
    return call;
}

void call_put_back(struct call_pool *pool, struct call *call)
{
    call_unlink(pool, call);
    if (pool->free_count == FREE_CALLS_MAX) {
        call_free(call);
        return;
    }
    call->priv->next = pool->free;
    pool->free = call;
    pool->free_count++;
}

void call_pool_done(struct call_pool *pool)
{
    struct call *call;
    while ((call = pool->free) != NULL) {
        pool->free = call->priv->next;
        call_free(call);
    }
}
