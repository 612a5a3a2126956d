#include "svc/service.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "svc/migrations.h"

enum {
    TOKENS_REMEMBERED = 4096,
    CLIENTS_MAX = 4096,
    OWNER_CONNECT_TIMEOUT_MS = 2000,
    WAIT_FIRST_MS = 100,
    WAIT_MAX_MS = 1000,
    /* The end, within 10 s: calls may wait 3 s for their saga, for which lane, relay and subscriber still run. */
    STOP_MS = 9500,
    DRAIN_CALLS_MS = 4500,
    DRAIN_RELAY_MS = 2000,
    ENVIRONMENT_MAX = 16,
    CHECKS_MAX = 8,
};
/* Columns are NUMERIC(20,6): whoever changes the scale changes the schemas. */
_Static_assert(DECIMAL_SCALE == 6, "the schemas' NUMERIC(20,6)");

struct running {
    struct service service;
    struct arena arena; /* settings */
    struct service_settings *settings;
    struct networks trusted_proxies;
    enum log_level level;
    struct process_check checks[CHECKS_MAX];
    struct process *process;
    bool keys_failed; /* and it was logged */
};

/* ---- settings ---- */

/* clang-format off */
#define AT(member) offsetof(struct service_settings, member)
static const struct conf_setting SETTINGS[] = {
    {.name = "LISTEN", .kind = CONF_ADDRESS, .offset = AT(listen), .fallback = "127.0.0.1:8080", .what = "where the gateway reaches this service"},
    {.name = "OPERATOR_LISTEN", .kind = CONF_ADDRESS, .offset = AT(operator_listen), .fallback = "127.0.0.1:9080", .what = "/livez, /readyz, /metrics"},
    {.name = "DB_URL", .kind = CONF_URL, .offset = AT(db_url), .flags = CONF_REQUIRED, .what = "the database, as the role that runs"},
    {.name = "DB_PASSWORD", .kind = CONF_SECRET, .offset = AT(db_password), .what = "that role's password"},
    {.name = "DB_OWNER_URL", .kind = CONF_URL, .offset = AT(db_owner_url), .flags = CONF_REQUIRED, .what = "the database, as the role that migrates"},
    {.name = "DB_OWNER_PASSWORD", .kind = CONF_SECRET, .offset = AT(db_owner_password), .what = "that role's password"},
    {.name = "DB_READ_URL", .kind = CONF_URL, .offset = AT(db_read_url), .what = "a replica for queries; else DB_URL"},
    {.name = "KAFKA_BROKERS", .kind = CONF_TEXT, .offset = AT(kafka_brokers), .flags = CONF_REQUIRED, .what = "host:port, comma separated"},
    {.name = "JWKS_FILE", .kind = CONF_FILE, .offset = AT(jwks_file), .flags = CONF_REQUIRED, .what = "the public keys of access tokens"},
    {.name = "ENVIRONMENT", .kind = CONF_TEXT, .offset = AT(environment), .fallback = "dev", .what = "keeps transactional ids apart: [a-z0-9-]{1,16}"},
    {.name = "TRUSTED_PROXIES", .kind = CONF_TEXT, .offset = AT(trusted_proxies), .fallback = "127.0.0.0/8,::1", .what = "addresses or networks of the gateways: whose X-Forwarded-For is believed"},
    {.name = "OTLP_ENDPOINT", .kind = CONF_TEXT, .offset = AT(otlp_endpoint), .what = "http://host:4318, a collector of traces; off if not given"},
    {.name = "LOG_LEVEL", .kind = CONF_TEXT, .offset = AT(log_level), .fallback = "info", .what = "debug, info, warn or error"},
    {.name = "HTTP_THREADS", .kind = CONF_INT, .offset = AT(http_threads), .fallback = "1", .min = 1, .max = 64, .what = "loops that serve calls"},
    {.name = "READER_THREADS", .kind = CONF_INT, .offset = AT(reader_threads), .fallback = "2", .min = 1, .max = READERS_MAX, .what = "connections for queries"},
    {.name = "TOPIC_PARTITIONS", .kind = CONF_INT, .offset = AT(topic_partitions), .fallback = "6", .min = 1, .max = 64, .what = "of a topic that is new"},
    {.name = "OUTBOX_KEEP_S", .kind = CONF_INT, .offset = AT(outbox_keep_s), .fallback = "86400", .min = 60, .max = 31536000, .what = "how long published events stay for rewinding"},
};
#undef AT
/* clang-format on */
enum { SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0] };

/* Ours, then the service's own, then the row that ends a table. */
static const struct conf_setting *join_settings(struct running *r, const struct conf_setting *own)
{
    size_t count = 0;
    while (own != NULL && own[count].name != NULL)
        count++;
    struct conf_setting *all = ARENA_ARRAY(&r->arena, struct conf_setting, SETTINGS_COUNT + count + 1);
    memcpy(all, SETTINGS, sizeof SETTINGS);
    if (count > 0)
        memcpy(all + SETTINGS_COUNT, own, count * sizeof *own);
    return all;
}

static bool is_environment(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len >= 1 && len <= ENVIRONMENT_MAX && text[len] == '\0';
}

/* What the table's kinds can't say. */
static void check_words(struct running *r, struct buf *complaints)
{
    const struct service_settings *s = r->settings;
    if (s->environment != NULL && !is_environment(s->environment))
        buf_printf(complaints, "ENVIRONMENT: must be 1 to %d of a-z, 0-9 and -, not \"%s\"\n", ENVIRONMENT_MAX,
                   s->environment);
    if (s->log_level != NULL && !log_level_parse(s->log_level, &r->level))
        buf_printf(complaints, "LOG_LEVEL: must be debug, info, warn or error, not \"%s\"\n", s->log_level);
    struct fault fault;
    if (s->trusted_proxies != NULL && networks_parse(s->trusted_proxies, &r->trusted_proxies, &fault) != ERR_OK)
        buf_printf(complaints, "TRUSTED_PROXIES: %s\n", fault.why);
}

static bool read_settings(struct running *r, const struct service_spec *spec, int argc, char **argv)
{
    struct buf complaints;
    buf_init(&complaints);
    r->settings = arena_alloc(&r->arena, spec->settings_size);
    r->service.settings = r->settings;
    enum err e = conf_read(join_settings(r, spec->settings), argc, argv, &r->arena, r->settings, &complaints);
    check_words(r, &complaints);
    bool fine = e == ERR_OK && complaints.len == 0;
    if (!fine)
        fprintf(stderr, "%s: wrong settings:\n%s", spec->name, buf_cstr(&complaints));
    buf_done(&complaints);
    return fine;
}

/* ---- what /readyz asks ---- */

static bool ask_postgres(void *arg, char *ret_state, size_t cap)
{
    const struct service *s = arg;
    bool up = readers_are_up(s->readers);
    snprintf(ret_state, cap, "%s", up ? "" : "away");
    return up;
}

static bool ask_lane(void *arg, char *ret_state, size_t cap)
{
    const struct service *s = arg;
    int number = lane_number(s->lane);
    if (number != 0)
        snprintf(ret_state, cap, "%d", number);
    return number != 0;
}

/* Migrations come before anything that is asked. */
static bool ask_schema(void *arg, char *ret_state, size_t cap)
{
    const struct service *s = arg;
    snprintf(ret_state, cap, "%s", s->spec->schema);
    return true;
}

static bool ask_keys(void *arg, char *ret_state, size_t cap)
{
    const struct service *s = arg;
    size_t count = token_key_count(s->verifier);
    snprintf(ret_state, cap, "%zu", count);
    return count > 0;
}

static bool ask_relay(void *arg, char *ret_state, size_t cap)
{
    const struct service *s = arg;
    relay_state(s->relay, ret_state, cap);
    return str_starts(ret_state, "publishing");
}

static bool ask_subscriber(void *arg, char *ret_state, size_t cap)
{
    const struct service *s = arg;
    subscriber_state(s->subscriber, ret_state, cap);
    return !str_starts(ret_state, "away");
}

static void make_checks(struct running *r)
{
    const struct process_check checks[CHECKS_MAX] = {
        {"postgres", true, ask_postgres, &r->service},
        {"lane", true, ask_lane, &r->service},
        {"schema", true, ask_schema, &r->service},
        {"keys", true, ask_keys, &r->service},
        {"relay", false, ask_relay, &r->service},
        {"subscriber", false, ask_subscriber, &r->service},
        {"revocations", false, revocations_state, r->service.revocations},
        {.name = NULL},
    };
    memcpy(r->checks, checks, sizeof checks);
}

/* ---- keys ---- */

static void refresh_keys(void *arg)
{
    struct running *r = arg;
    struct fault fault;
    bool failed = token_keys_refresh(r->service.verifier, &fault) != ERR_OK;
    if (failed && !r->keys_failed)
        log_warn(r->service.log, "the keys stay as they were: %s", fault.why);
    r->keys_failed = failed;
}

/* ---- start ---- */

static struct db_conf db_of(const struct running *r, const char *url, enum db_plan plan)
{
    return (struct db_conf){
        .url = url, .password = r->settings->db_password, .plan = plan, .application_name = r->service.spec->name};
}

static enum err open_spans(struct running *r, struct fault *fault)
{
    struct service *s = &r->service;
    const struct spans_conf conf = {
        .endpoint = r->settings->otlp_endpoint, .service = s->spec->name, .metrics = s->metrics};
    return conf.endpoint == NULL ? ERR_OK : spans_open(&conf, &s->spans, fault);
}

static enum err open_process(struct running *r, struct fault *fault)
{
    struct service *s = &r->service;
    enum err e = open_spans(r, fault);
    if (e != ERR_OK)
        return e;
    e = token_verifier_open(r->settings->jwks_file, TOKENS_REMEMBERED, &s->verifier, fault);
    if (e != ERR_OK)
        return e;
    const struct revocations_conf revocations = {
        .kafka = {.brokers = r->settings->kafka_brokers, .client_id = s->spec->name},
        .topic = REVOCATIONS_TOPIC,
        .verifier = s->verifier,
        .log = s->log,
        .metrics = s->metrics,
    };
    e = revocations_open(&revocations, &s->revocations, fault);
    if (e != ERR_OK)
        return e;
    make_checks(r);
    const struct process_conf conf = {
        .name = s->spec->name,
        .operator_listen = r->settings->operator_listen,
        .checks = r->checks,
        .log = s->log,
        .metrics = s->metrics,
        .on_hangup = refresh_keys,
        .arg = r,
    };
    return process_open(&conf, &r->process, fault);
}

/* One attempt. ERR_DB: the database is away, try again. */
static enum err migrate_once(struct running *r, struct fault *fault)
{
    struct db_conf conf = db_of(r, r->settings->db_owner_url, DB_PLAN_OWNER);
    conf.password = r->settings->db_owner_password;
    struct db *owner;
    enum err e = db_open(&conf, OWNER_CONNECT_TIMEOUT_MS, &owner, fault);
    if (e != ERR_OK)
        return e;
    const struct service_spec *spec = r->service.spec;
    e = migrate_apply(owner, spec->schema, SVC_MIGRATIONS, spec->migrations, fault);
    if (e == ERR_DB && db_is_open(owner) && db_trouble(owner) != DB_AWAY)
        e = ERR_CONF; /* it is there and refuses: waiting won't help */
    db_close(owner);
    return e;
}

/* A database that is away is waited for: restarting would not bring it back sooner. *ret_stop: told to end meanwhile. */
static enum err migrate(struct running *r, bool *ret_stop, struct fault *fault)
{
    char told[FAULT_WHY_MAX] = "";
    for (int pause_ms = WAIT_FIRST_MS;; pause_ms = pause_ms * 2 < WAIT_MAX_MS ? pause_ms * 2 : WAIT_MAX_MS) {
        enum err e = migrate_once(r, fault);
        if (e != ERR_DB)
            return e;
        if (strcmp(told, fault->why) != 0)
            log_warn(r->service.log, "waiting for the database: %s", fault->why);
        (void)!str_copy(told, sizeof told, str_of(fault->why));
        *ret_stop = !process_pause(r->process, pause_ms);
        if (*ret_stop)
            return ERR_OK;
    }
}

static enum err open_pipeline(struct running *r, struct fault *fault)
{
    struct service *s = &r->service;
    const struct service_spec *spec = s->spec;
    const struct kafka_conf kafka = {.brokers = r->settings->kafka_brokers, .client_id = spec->name};
    const struct lane_conf lane = {
        .service = spec->name,
        .schema = spec->schema,
        .topic = spec->topic,
        .consumes = spec->consumes,
        .unawaited = spec->unawaited,
        .partitions = (int)r->settings->topic_partitions,
        .db = db_of(r, r->settings->db_url, DB_PLAN_KEYS),
        .ops = spec->ops,
        .app = s,
        .log = s->log,
        .metrics = s->metrics,
        .spans = s->spans,
        .outbox_keep_s = r->settings->outbox_keep_s,
    };
    const struct relay_conf relay = {
        .service = spec->name,
        .environment = r->settings->environment,
        .topic = spec->topic,
        .consumes = spec->consumes,
        .db = lane.db,
        .kafka = kafka,
        .partitions = lane.partitions,
        .log = s->log,
        .metrics = s->metrics,
    };
    const struct subscriber_conf subscriber = {
        .service = spec->name,
        .kafka = kafka,
        .consumes = spec->consumes,
        .kinds = spec->kinds,
        .log = s->log,
        .metrics = s->metrics,
    };
    enum err e = lane_open(&lane, &s->lane, fault);
    if (e == ERR_OK)
        e = relay_open(&relay, s->lane, &s->relay, fault);
    if (e == ERR_OK)
        e = subscriber_open(&subscriber, s->lane, &s->subscriber, fault);
    return e;
}

static enum err open_reading(struct running *r, struct fault *fault)
{
    struct service *s = &r->service;
    const char *url = r->settings->db_read_url != NULL ? r->settings->db_read_url : r->settings->db_url;
    const struct db_conf reads = db_of(r, url, DB_PLAN_READS);
    const struct waiters_conf waiters = {
        .db = db_of(r, r->settings->db_url, DB_PLAN_READS),
        .channel = s->spec->schema,
        .reread = s->spec->reread,
        .app = s,
        .log = s->log,
        .metrics = s->metrics,
    };
    enum err e = readers_open(&reads, (int)r->settings->reader_threads, s->log, s->metrics, s, &s->readers, fault);
    if (e == ERR_OK && waiters.reread != NULL)
        e = waiters_open(&waiters, &s->waiters, fault);
    return e;
}

static enum err open_http(struct running *r, struct fault *fault)
{
    struct service *s = &r->service;
    const struct http_server_conf conf = {
        .listen = r->settings->listen,
        .threads = (int)r->settings->http_threads,
        .routes = s->spec->routes,
        .verifier = s->verifier,
        .log = s->log,
        .metrics = s->metrics,
        .spans = s->spans,
        .app = s,
        .access_log = r->level == LOG_DEBUG, /* the gateway has the line of each request */
        .trust_request_id = true,
        .trusted_proxies = &r->trusted_proxies,
        .connections_max = CLIENTS_MAX,
        .per_ip_max = 0, /* all calls come from the gateways */
    };
    return http_server_open(&conf, &s->server, fault);
}

static enum err open_all(struct running *r, struct fault *fault)
{
    struct service *s = &r->service;
    enum err e = open_pipeline(r, fault);
    if (e == ERR_OK && s->spec->open != NULL)
        e = s->spec->open(s, fault);
    if (e == ERR_OK)
        e = open_reading(r, fault);
    if (e != ERR_OK)
        return e;

    lane_start(s->lane, s->relay, s->subscriber);
    subscriber_start(s->subscriber);
    if (!revocations_await(s->revocations, REVOCATIONS_AWAIT_MS))
        log_warn(s->log, "serving though sessions that ended may not be known yet: see revocations in /readyz?verbose");
    e = open_http(r, fault);
    if (e == ERR_OK)
        process_started(r->process);
    return e;
}

/* ---- run and stop ---- */

static void tick(void *arg)
{
    struct running *r = arg;
    refresh_keys(r);
    if (r->service.spec->tick != NULL)
        r->service.spec->tick(&r->service);
}

/* In this order, so that calls in flight see their saga's end, and what is committed is published. */
static void stop(struct running *r)
{
    struct service *s = &r->service;
    log_info(s->log, "stopping");
    process_end_within(r->process, STOP_MS);
    int cut_off = http_server_drain(s->server, DRAIN_CALLS_MS);
    if (cut_off > 0)
        log_warn(s->log, "%d calls were cut off", cut_off);
    subscriber_stop(s->subscriber);
    lane_stop(s->lane);
    if (!relay_drain(s->relay, DRAIN_RELAY_MS))
        log_info(s->log, "some events are published when this starts again, or by another replica");

    waiters_close(s->waiters);
    readers_close(s->readers);
    if (s->spec->close != NULL)
        s->spec->close(s);
    subscriber_close(s->subscriber);
    relay_close(s->relay);
    lane_close(s->lane);
    http_server_close(s->server);
    revocations_close(s->revocations);
    spans_close(s->spans);
    process_close(r->process);
    log_info(s->log, "stopped");
}

static enum err run(struct running *r, struct fault *fault)
{
    bool told_to_stop = false;
    enum err e = process_reserve_files(CLIENTS_MAX, fault);
    if (e == ERR_OK)
        e = open_process(r, fault);
    if (e == ERR_OK)
        e = migrate(r, &told_to_stop, fault);
    if (e != ERR_OK || told_to_stop)
        return e;
    e = open_all(r, fault);
    if (e != ERR_OK)
        return e;

    log_info(r->service.log, "started: calls on %s, operators on %s", r->settings->listen,
             r->settings->operator_listen);
    process_wait(r->process, tick, r);
    stop(r);
    return ERR_OK;
}

/* Ends without exit's handlers: librdkafka may still be taking its handles down on threads of its own (its close can hang), and
 * libraries that clean up under it would crash. What matters is committed, published and written by now. */
int service_main(const struct service_spec *spec, int argc, char **argv)
{
    struct running r = {.service.spec = spec, .level = LOG_INFO};
    struct fault fault = {.err = ERR_OK};
    if (conf_has_argument(argc, argv, "--routes")) {
        http_routes_print(spec->routes);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    process_signals_block();
    arena_init(&r.arena);
    if (!read_settings(&r, spec, argc, argv))
        return 1;

    r.service.log = log_open(spec->name, r.level, STDOUT_FILENO);
    r.service.metrics = metrics_new();
    enum err e = run(&r, &fault);
    if (e != ERR_OK)
        fprintf(stderr, "%s: can't start: %s\n", spec->name, fault.why);
    _exit(e == ERR_OK ? 0 : 1);
}
