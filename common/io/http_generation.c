#include "io/http_private.h"

enum err generation_new(const struct http_server_conf *conf, struct http_generation **ret, struct fault *fault)
{
    struct http_generation *g = mem_alloc(sizeof *g);
    enum err e = route_table_new(conf->routes, &g->table, fault);
    if (e != ERR_OK) {
        mem_free(g);
        return e;
    }
    g->app = conf->app;
    g->metrics = account_open(conf->metrics, conf->routes);
    atomic_store(&g->threads, conf->threads);
    *ret = g;
    return ERR_OK;
}

void generation_free(struct http_generation *g)
{
    route_table_free(g->table);
    account_close(g->metrics);
    if (g->released != NULL)
        g->released(g->app);
    mem_free(g);
}
