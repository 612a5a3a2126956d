#include "gateway/upstream.h"

#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"

enum { PORT_TEXT_MAX = 6, LABELS_MAX = 192 };

/* One "host:port" of the config file, and the addresses that it has. */
struct upstream_target {
    char host[UPSTREAM_HOST_MAX], port[PORT_TEXT_MAX];
    bool is_name; /* to be asked for again and again */
    bool fails;   /* the last time, it did */
    struct address found[UPSTREAM_INSTANCES_MAX];
    size_t found_count;
};

/* ---- what the config file says ---- */

/* "[::1]:8080" and "host:8080" in two. */
static bool split_target(const char *target, char ret_host[UPSTREAM_HOST_MAX], const char **ret_port)
{
    const char *colon = strrchr(target, ':');
    if (colon == NULL || colon == target || colon[1] == '\0')
        return false;
    struct str host = {target, (size_t)(colon - target)};
    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = (struct str){host.data + 1, host.len - 2};
    *ret_port = colon + 1;
    return str_copy(ret_host, UPSTREAM_HOST_MAX, host);
}

static bool is_host(const char *host)
{
    static const char CHARS[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%";
    return host[0] != '\0' && host[strspn(host, CHARS)] == '\0';
}

enum err upstream_conf_add(struct upstream_conf *u, const char *target, struct fault *fault)
{
    char host[UPSTREAM_HOST_MAX];
    const char *port;
    int64_t number;
    if (u->target_count == UPSTREAM_TARGETS_MAX)
        return fault_set(fault, ERR_CONF, "more than %d instances", UPSTREAM_TARGETS_MAX);
    if (!split_target(target, host, &port) || !is_host(host) || !str_to_i64(str_of(port), &number) || number < 1 ||
        number > UINT16_MAX)
        return fault_set(fault, ERR_CONF, "\"%s\" must be host:port with a port from 1 to 65535", target);
    u->targets[u->target_count++] = target;
    return ERR_OK;
}

/* ---- addresses ---- */

static bool look_up(const char *host, const char *port, int flags, struct address *ret, size_t max, size_t *ret_count,
                    const char **ret_why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags}, *found;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        *ret_why = gai_strerror(rc);
        return false;
    }
    size_t count = 0;
    for (const struct addrinfo *a = found; a != NULL && count < max; a = a->ai_next) {
        struct address *to = &ret[count++];
        memset(to, 0, sizeof(*to));
        memcpy(&to->sock, a->ai_addr, a->ai_addrlen);
        to->len = a->ai_addrlen;
    }
    freeaddrinfo(found);
    *ret_count = count;
    return true;
}

static bool look_up_name(const char *host, const char *port, struct address *ret, size_t max, size_t *ret_count,
                         const char **ret_why)
{
    return look_up(host, port, 0, ret, max, ret_count, ret_why);
}

static bool address_eq(const struct address *a, const struct address *b)
{
    return a->len == b->len && memcmp(&a->sock, &b->sock, a->len) == 0;
}

/* "10.0.0.7:8082", "[::1]:8082" */
static void format_address(const struct address *a, char ret[INSTANCE_NAME_MAX])
{
    char host[INSTANCE_NAME_MAX - PORT_TEXT_MAX - 3], port[PORT_TEXT_MAX];
    bool six = a->sock.ss_family == AF_INET6;
    int rc = getnameinfo((const struct sockaddr *)&a->sock, a->len, host, sizeof(host), port, sizeof(port),
                         NI_NUMERICHOST | NI_NUMERICSERV);
    if (rc != 0)
        snprintf(ret, INSTANCE_NAME_MAX, "?");
    else
        snprintf(ret, INSTANCE_NAME_MAX, six ? "[%s]:%s" : "%s:%s", host, port);
}

/* ---- breakers tell ---- */

static void log_change(struct log *log, const char *what, const char *of, const struct breaker_change *c)
{
    bool bad = c->to == BREAKER_OPEN || c->to == BREAKER_FORCED_OPEN;
    if (log != NULL)
        log_msg(log, bad ? LOG_WARN : LOG_INFO, NULL, "%s %s: %s to %s (%u calls, %u failed, %u slow)", what, of,
                breaker_state_name(c->from), breaker_state_name(c->to), c->calls, c->failed, c->slow);
}

static void on_service_change(void *arg, const struct breaker_change *change)
{
    const struct upstream *u = arg;
    log_change(u->of->settings.log, "circuit of", u->name, change);
}

static void on_instance_change(void *arg, const struct breaker_change *change)
{
    struct instance *i = arg;
    if (change->to == BREAKER_CLOSED)
        atomic_store(&i->since, clock_mono_ns());
    log_change(i->upstream->of->settings.log, "instance", i->name, change);
}

static uint64_t random_seed(void)
{
    uint64_t seed;
    id_random_bytes(&seed, sizeof(seed));
    return seed;
}

/* ---- instances ---- */

static struct instance *instance_new(struct upstream *u, const struct address *address, mono_ns_t since)
{
    struct instance *i = mem_alloc(sizeof(*i));
    i->id = atomic_fetch_add(&u->of->last_instance_id, 1) + 1;
    i->address = *address;
    i->upstream = u;
    format_address(address, i->name);
    atomic_store(&i->since, since);
    atomic_store(&i->refs, 1);
    breaker_init(&i->breaker, &BREAKER_INSTANCE, random_seed(), on_instance_change, i, clock_mono_ns());
    return i;
}

void instance_put(struct instance *i)
{
    if (atomic_fetch_sub(&i->refs, 1) > 1)
        return;
    breaker_done(&i->breaker);
    mem_free(i);
}

static struct instance *take_known(struct upstream *u, const struct address *address)
{
    for (size_t i = 0; i < u->instance_count; i++) {
        struct instance *known = u->instances[i];
        if (known == NULL || !address_eq(&known->address, address))
            continue;
        u->instances[i] = NULL;
        return known;
    }
    return NULL;
}

static bool has_address(struct instance *const *instances, size_t count, const struct address *address)
{
    for (size_t i = 0; i < count; i++)
        if (address_eq(&instances[i]->address, address))
            return true;
    return false;
}

/* With the mutex held. The list becomes the targets' addresses, each once; those that it had already keep their state. The first
 * ones have nobody to leave the work to meanwhile, and so don't start slowly. */
static void list_instances(struct upstream *u)
{
    struct instance *next[UPSTREAM_INSTANCES_MAX];
    size_t count = 0, fresh = 0, before = u->instance_count;
    for (size_t t = 0; t < u->target_count; t++) {
        const struct upstream_target *target = &u->targets[t];
        for (size_t i = 0; i < target->found_count && count < UPSTREAM_INSTANCES_MAX; i++) {
            if (has_address(next, count, &target->found[i]))
                continue;
            struct instance *known = take_known(u, &target->found[i]);
            fresh += known == NULL;
            next[count++] = known != NULL ? known
                                          : instance_new(u, &target->found[i], before == 0 ? 0 : clock_mono_ns());
        }
    }
    for (size_t i = 0; i < before; i++)
        if (u->instances[i] != NULL)
            instance_put(u->instances[i]);
    memcpy(u->instances, next, count * sizeof(next[0]));
    u->instance_count = count;
    if (fresh == 0 && count == before)
        return; /* the same ones, if perhaps in another order */
    atomic_fetch_add(&u->generation, 1);
    if (u->of->settings.log != NULL)
        log_info(u->of->settings.log, "upstream %s has %zu instances", u->name, count);
}

size_t upstream_take(struct upstream *u, struct instance *ret[UPSTREAM_INSTANCES_MAX], uint32_t *ret_generation)
{
    pthread_mutex_lock(&u->mutex);
    size_t count = u->instance_count;
    for (size_t i = 0; i < count; i++) {
        ret[i] = u->instances[i];
        atomic_fetch_add(&ret[i]->refs, 1);
    }
    *ret_generation = atomic_load(&u->generation);
    pthread_mutex_unlock(&u->mutex);
    return count;
}

size_t upstream_look(struct upstream *u, struct instance_view ret[UPSTREAM_INSTANCES_MAX])
{
    pthread_mutex_lock(&u->mutex);
    size_t count = u->instance_count;
    for (size_t i = 0; i < count; i++) {
        ret[i].in_flight = atomic_load(&u->instances[i]->in_flight);
        ret[i].state = breaker_peek(&u->instances[i]->breaker);
        memcpy(ret[i].name, u->instances[i]->name, sizeof(ret[i].name));
    }
    pthread_mutex_unlock(&u->mutex);
    return count;
}

/* ---- metrics: what is asked at a scrape ---- */

static void tell_each(const struct upstreams *us, struct metrics_told *told, double (*read)(struct upstream *u))
{
    char labels[LABELS_MAX];
    for (size_t i = 0; i < atomic_load(&us->count); i++) {
        snprintf(labels, sizeof(labels), "upstream=\"%s\"", us->items[i]->name);
        metrics_tell(told, labels, read(us->items[i]));
    }
}

static double read_connections(struct upstream *u)
{
    return (double)atomic_load_explicit(&u->connections, memory_order_relaxed);
}

static double read_in_flight(struct upstream *u)
{
    struct instance_view views[UPSTREAM_INSTANCES_MAX];
    int64_t sum = 0;
    for (size_t i = 0, count = upstream_look(u, views); i < count; i++)
        sum += views[i].in_flight;
    return (double)sum;
}

static double read_limit(struct upstream *u)
{
    struct instance_view views[UPSTREAM_INSTANCES_MAX];
    return (double)(int64_t)upstream_look(u, views) * u->of->settings.in_flight_max;
}

static double read_denied(struct upstream *u)
{
    return (double)budget_denied(&u->budget);
}

static void tell_connections(void *arg, struct metrics_told *told)
{
    tell_each(arg, told, read_connections);
}

static void tell_in_flight(void *arg, struct metrics_told *told)
{
    tell_each(arg, told, read_in_flight);
}

static void tell_limit(void *arg, struct metrics_told *told)
{
    tell_each(arg, told, read_limit);
}

static void tell_denied(void *arg, struct metrics_told *told)
{
    tell_each(arg, told, read_denied);
}

static void tell_up(void *arg, struct metrics_told *told)
{
    const struct upstreams *us = arg;
    struct instance_view views[UPSTREAM_INSTANCES_MAX];
    char labels[LABELS_MAX];
    for (size_t i = 0; i < atomic_load(&us->count); i++) {
        size_t count = upstream_look(us->items[i], views);
        for (size_t k = 0; k < count; k++) {
            snprintf(labels, sizeof(labels), "upstream=\"%s\",instance=\"%.*s\"", us->items[i]->name,
                     INSTANCE_NAME_MAX - 1, views[k].name);
            metrics_tell(told, labels, views[k].state == BREAKER_CLOSED || views[k].state == BREAKER_DISABLED);
        }
    }
}

/* 1 for the state that it is in, 0 for the others. */
static void tell_breakers(void *arg, struct metrics_told *told)
{
    const struct upstreams *us = arg;
    char labels[LABELS_MAX];
    for (size_t i = 0; i < atomic_load(&us->count); i++) {
        enum breaker_state now = breaker_peek(&us->items[i]->breaker);
        for (enum breaker_state s = BREAKER_CLOSED; s < BREAKER_STATE_COUNT; s++) {
            snprintf(labels, sizeof(labels), "name=\"%s\",state=\"%s\"", us->items[i]->name, breaker_state_name(s));
            metrics_tell(told, labels, s == now ? 1 : 0);
        }
    }
}

static void measure_all(struct upstreams *us, struct metrics *m)
{
    static const struct {
        const char *name, *help;
        void (*tell)(void *arg, struct metrics_told *told);
    } GAUGES[] = {
        {"gateway_upstream_connections", "Open connections to a service", tell_connections},
        {"gateway_bulkhead_inflight", "Requests under way at a service", tell_in_flight},
        {"gateway_bulkhead_limit", "How many there may be", tell_limit},
        {"gateway_upstream_retries_denied", "Since the start, by the retry budget", tell_denied},
        {"gateway_circuitbreaker_state", "1: the breaker is in this state", tell_breakers},
        {"gateway_upstream_up", "1: the instance gets its share of requests; 0: it is left out", tell_up},
    };
    for (size_t i = 0; i < sizeof(GAUGES) / sizeof(GAUGES[0]); i++)
        metrics_gauges_fn(m, GAUGES[i].name, GAUGES[i].help, GAUGES[i].tell, us);
}

static void measure(struct upstream *u, struct metrics *m)
{
    static const char *const ENDS[] = {
#define X(name, label) label,
        EXCHANGE_ENDS(X)
#undef X
    };
    static const char *const REASONS[] = {
#define X(name, label) label,
        RETRY_REASONS(X)
#undef X
    };
    char labels[LABELS_MAX];
    snprintf(labels, sizeof(labels), "upstream=\"%s\"", u->name);
    u->seconds = metrics_histogram(m, "http_client_request_duration_seconds", "From request to whole answer", labels,
                                   HISTOGRAM_SECONDS, sizeof(HISTOGRAM_SECONDS) / sizeof(HISTOGRAM_SECONDS[0]));
    for (int end = EXCHANGE_ANSWERED + 1; end < EXCHANGE_END_COUNT; end++) {
        snprintf(labels, sizeof(labels), "upstream=\"%s\",reason=\"%s\"", u->name, ENDS[end]);
        u->errors[end] = metrics_counter(m, "gateway_upstream_errors_total", "Exchanges that ended without an answer",
                                         labels);
    }
    for (int reason = 0; reason < RETRY_REASON_COUNT; reason++) {
        snprintf(labels, sizeof(labels), "upstream=\"%s\",reason=\"%s\"", u->name, REASONS[reason]);
        u->retries[reason] = metrics_counter(m, "gateway_upstream_retries_total", "Requests sent again, by why",
                                             labels);
    }
}

/* ---- life ---- */

struct upstreams *upstreams_new(const struct upstreams_settings *settings)
{
    struct upstreams *us = mem_alloc(sizeof(*us));
    assert(settings->in_flight_max > 0);
    us->settings = *settings;
    if (us->settings.lookup == NULL)
        us->settings.lookup = look_up_name;
    if (settings->metrics != NULL)
        measure_all(us, settings->metrics);
    return us;
}

static struct upstream *upstream_new(struct upstreams *us, const char *name)
{
    struct upstream *u = mem_alloc(sizeof(*u));
    bool fits = str_copy(u->name, sizeof(u->name), str_of(name));
    assert(fits);
    (void)fits;
    u->of = us;
    breaker_init(&u->breaker, &BREAKER_SERVICE, random_seed(), on_service_change, u, clock_mono_ns());
    budget_init(&u->budget);
    pthread_mutex_init(&u->mutex, NULL);
    if (us->settings.metrics != NULL)
        measure(u, us->settings.metrics);
    return u;
}

static void upstream_free(struct upstream *u)
{
    for (size_t i = 0; i < u->instance_count; i++)
        instance_put(u->instances[i]);
    mem_free(u->targets);
    pthread_mutex_destroy(&u->mutex);
    budget_done(&u->budget);
    breaker_done(&u->breaker);
    mem_free(u);
}

void upstreams_free(struct upstreams *us)
{
    if (us == NULL)
        return;
    for (size_t i = 0; i < atomic_load(&us->count); i++)
        upstream_free(us->items[i]);
    mem_free(us);
}

bool upstreams_find(const struct upstreams *us, const char *name, size_t *ret_index)
{
    for (size_t i = 0; i < atomic_load(&us->count); i++) {
        if (strcmp(us->items[i]->name, name) != 0)
            continue;
        *ret_index = i;
        return true;
    }
    return false;
}

/* ---- targets ---- */

static void target_init(struct upstream_target *t, const char *text)
{
    const char *port = NULL, *why;
    bool well_formed = split_target(text, t->host, &port); /* upstream_conf_add saw to it */
    assert(well_formed && strlen(port) < PORT_TEXT_MAX);
    (void)well_formed;
    memcpy(t->port, port, strlen(port) + 1);
    t->is_name = !look_up(t->host, t->port, AI_NUMERICHOST, t->found, 1, &t->found_count, &why);
}

/* A name that was there before has its addresses until it is asked for again. */
static void keep_found(struct upstream_target *to, const struct upstream_target *from, size_t count)
{
    for (size_t i = 0; i < count && to->is_name; i++) {
        if (strcmp(to->host, from[i].host) != 0 || strcmp(to->port, from[i].port) != 0)
            continue;
        memcpy(to->found, from[i].found, sizeof(to->found));
        to->found_count = from[i].found_count;
    }
}

static void set_targets(struct upstream *u, const char *const *targets, size_t count)
{
    struct upstream_target *next = mem_alloc((count == 0 ? 1 : count) * sizeof(*next));
    for (size_t i = 0; i < count; i++)
        target_init(&next[i], targets[i]);

    pthread_mutex_lock(&u->mutex);
    for (size_t i = 0; i < count; i++)
        keep_found(&next[i], u->targets, u->target_count);
    mem_free(u->targets);
    u->targets = next;
    u->target_count = count;
    u->targets_version++;
    list_instances(u);
    pthread_mutex_unlock(&u->mutex);
}

static bool is_in(const struct upstreams_conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->count; i++)
        if (strcmp(conf->items[i].name, name) == 0)
            return true;
    return false;
}

enum err upstreams_adopt(struct upstreams *us, const struct upstreams_conf *conf, size_t ret_index[UPSTREAMS_MAX],
                         struct fault *fault)
{
    size_t count = atomic_load(&us->count), fresh = 0, ignored;
    for (size_t i = 0; i < conf->count; i++)
        fresh += !upstreams_find(us, conf->items[i].name, &ignored);
    if (count + fresh > UPSTREAMS_MAX)
        return fault_set(fault, ERR_CONF, "more than %d upstreams since the start, with those that are gone",
                         UPSTREAMS_MAX);

    for (size_t i = 0; i < count; i++)
        if (!is_in(conf, us->items[i]->name))
            set_targets(us->items[i], NULL, 0);
    for (size_t i = 0; i < conf->count; i++) {
        if (!upstreams_find(us, conf->items[i].name, &ret_index[i])) {
            us->items[count] = upstream_new(us, conf->items[i].name);
            ret_index[i] = count++;
            atomic_store(&us->count, count);
        }
        set_targets(us->items[ret_index[i]], conf->items[i].targets, conf->items[i].target_count);
    }
    return ERR_OK;
}

/* What a lookup is made of and for: the target may be another one when it comes back. */
struct question {
    char host[UPSTREAM_HOST_MAX], port[PORT_TEXT_MAX];
    uint64_t version;
};

static bool next_question(struct upstream *u, size_t target, struct question *ret)
{
    pthread_mutex_lock(&u->mutex);
    bool asks = target < u->target_count && u->targets[target].is_name;
    if (asks) {
        memcpy(ret->host, u->targets[target].host, sizeof(ret->host));
        memcpy(ret->port, u->targets[target].port, sizeof(ret->port));
        ret->version = u->targets_version;
    }
    pthread_mutex_unlock(&u->mutex);
    return asks;
}

static void resolve_target(struct upstream *u, size_t index, const struct question *q)
{
    struct address found[UPSTREAM_INSTANCES_MAX];
    const struct upstreams_settings *s = &u->of->settings;
    const char *why = "it has no address";
    size_t count = 0;
    bool done = s->lookup(q->host, q->port, found, UPSTREAM_INSTANCES_MAX, &count, &why) && count > 0;

    pthread_mutex_lock(&u->mutex);
    struct upstream_target *t = q->version == u->targets_version ? &u->targets[index] : NULL;
    bool news = t != NULL && done == t->fails;
    if (t != NULL)
        t->fails = !done;
    if (t != NULL && done) {
        memcpy(t->found, found, count * sizeof(found[0]));
        t->found_count = count;
        list_instances(u);
    }
    pthread_mutex_unlock(&u->mutex);
    if (news && !done && s->log != NULL)
        log_warn(s->log, "upstream %s: \"%s\" can't be resolved, what it had stays: %s", u->name, q->host, why);
}

void upstreams_resolve(struct upstreams *us)
{
    struct question q;
    for (size_t i = 0; i < atomic_load(&us->count); i++)
        for (size_t t = 0; t < UPSTREAM_TARGETS_MAX; t++)
            if (next_question(us->items[i], t, &q))
                resolve_target(us->items[i], t, &q);
}

void upstreams_tick(struct upstreams *us, mono_ns_t now)
{
    struct instance *instances[UPSTREAM_INSTANCES_MAX];
    uint32_t generation;
    for (size_t i = 0; i < atomic_load(&us->count); i++) {
        breaker_tick(&us->items[i]->breaker, now);
        size_t count = upstream_take(us->items[i], instances, &generation);
        for (size_t k = 0; k < count; k++) {
            breaker_tick(&instances[k]->breaker, now);
            instance_put(instances[k]);
        }
    }
}
