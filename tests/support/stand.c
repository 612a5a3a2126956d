#include "support/stand.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "io/migrate.h"
#include "support/need_env.h"
#include "svc/lane_private.h"
#include "svc/migrations.h"
#include "unit/unit.h"

enum { PATIENCE_MS = 20000, STEP_MS = 100, ANSWER_MAX = 256 * 1024, SQL_MAX = 2048, SIGNS_AFTER_S = 90 };

/* The key pair of RFC 7515, appendix A.3. */
static const char JWKS[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"alg\":\"ES256\",\"kid\":\"k1\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
static const char PEM[] = "-----BEGIN PRIVATE KEY-----\n"
                          "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n"
                          "H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n"
                          "7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\n"
                          "-----END PRIVATE KEY-----\n";
static const char EPOCH[] = "6f1c2b9e-8d0e-4b7e-9a51-0b9f4f0f6a11";

/* ---- the database ---- */

int64_t stand_number(struct stand *st, const char *sql, ...)
{
    char text[SQL_MAX];
    va_list args;
    va_start(args, sql);
    assert_true(vsnprintf(text, sizeof text, sql, args) < (int)sizeof text);
    va_end(args);
    return scratch_number(&st->s, text);
}

void stand_run(struct stand *st, const char *sql, ...)
{
    char text[SQL_MAX];
    va_list args;
    va_start(args, sql);
    assert_true(vsnprintf(text, sizeof text, sql, args) < (int)sizeof text);
    va_end(args);
    scratch_run(&st->s, text);
}

/* On a connection of its own, as scratch_number. */
const char *stand_text(struct stand *st, const char *sql, ...)
{
    char text[SQL_MAX];
    va_list args;
    va_start(args, sql);
    assert_true(vsnprintf(text, sizeof text, sql, args) < (int)sizeof text);
    va_end(args);

    const struct db_conf conf = scratch_conf(&st->s, DB_PLAN_OWNER, "test");
    const struct db_stmt stmt = {"stand_text", text};
    const struct db_args none = {.count = 0};
    struct fault fault = {.err = ERR_OK};
    struct db *db = NULL;
    CLEANUP_ROWS struct db_rows *rows = NULL;
    if (db_open(&conf, PATIENCE_MS, &db, &fault) != ERR_OK || db_query(db, &stmt, &none, &rows, &fault) != ERR_OK)
        fail_msg("%s: %s", text, fault.why);
    db_close(db);
    return db_count(rows) == 0 ? "" : arena_strdup(&st->arena, db_text(rows, 0, 0));
}

/* As scripts/sql/schema.sql does it. The service's own role is a member of the real one, with a password of this run. */
static void make_roles(struct stand *st, const char *schema, const char *role)
{
    char id[UUID_TEXT_MAX];
    uuid_format(uuid_random(), id);
    snprintf(st->app_password, sizeof st->app_password, "%s", id);
    stand_run(st, "CREATE SCHEMA %s AUTHORIZATION %s_owner", schema, role);
    stand_run(st, "GRANT USAGE ON SCHEMA %s TO %s_app", schema, role);
    stand_run(st, "ALTER DEFAULT PRIVILEGES FOR ROLE %s_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC", role);
    stand_run(st,
              "ALTER DEFAULT PRIVILEGES FOR ROLE %s_owner IN SCHEMA %s GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES "
              "TO %s_app",
              role, schema, role);
    stand_run(st, "ALTER DEFAULT PRIVILEGES FOR ROLE %s_owner IN SCHEMA %s GRANT USAGE, SELECT ON SEQUENCES TO %s_app",
              role, schema, role);
    stand_run(st, "ALTER DEFAULT PRIVILEGES FOR ROLE %s_owner IN SCHEMA %s GRANT EXECUTE ON FUNCTIONS TO %s_app", role,
              schema, role);
    stand_run(
        st,
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'test_%s') THEN CREATE ROLE test_%s; END IF; "
        "END $$",
        role, role);
    stand_run(st, "GRANT %s_app TO test_%s", role, role);
    stand_run(st, "ALTER ROLE test_%s LOGIN PASSWORD '%s'", role, st->app_password);
    stand_run(st, "SET ROLE %s_owner", role);
}

/* "postgresql://user@host:port/db": with another user, another address, or as it is. */
static void make_app_url(struct stand *st, const char *role, const char *address)
{
    const char *user = strstr(st->s.url, "://") + 3, *at = strrchr(st->s.url, '@'), *path = strrchr(st->s.url, '/');
    assert_true(at != NULL && path > at);
    char name[64], place[64];
    snprintf(name, sizeof name, "%.*s", (int)(at - user), user);
    snprintf(place, sizeof place, "%.*s", (int)(path - at - 1), at + 1);
    if (role != NULL)
        snprintf(name, sizeof name, "test_%s", role);
    snprintf(st->app_url, sizeof st->app_url, "postgresql://%s@%s%s?sslmode=disable", name,
             address != NULL ? address : place, path);
}

static void make_database(struct stand *st, const char *name, const char *role, const char *address)
{
    const struct service_spec *spec = st->service.spec;
    scratch_open(&st->s, name);
    make_app_url(st, role, address);
    if (role != NULL) {
        make_roles(st, spec->schema, role);
    } else {
        snprintf(st->app_password, sizeof st->app_password, "%s", need_env("TEST_DB_PASSWORD"));
        stand_run(st, "CREATE SCHEMA %s", spec->schema);
    }
    struct fault fault = {.err = ERR_OK};
    if (migrate_apply(st->s.db, spec->schema, SVC_MIGRATIONS, spec->migrations, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    stand_run(st, "RESET ROLE");
    stand_run(st, "ALTER DATABASE test_%s SET search_path = %s", name, spec->schema);
}

/* ---- keys ---- */

static void write_file(struct stand *st, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", st->folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
    const struct timespec old = {.tv_sec = time(NULL) - 2 * SIGNS_AFTER_S};
    const struct timespec times[] = {old, old};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void open_keys(struct stand *st)
{
    char path[128];
    struct fault fault = {.err = ERR_OK};
    strcpy(st->folder, "/tmp/test_stand.XXXXXX");
    assert_non_null(mkdtemp(st->folder));
    write_file(st, "jwks.json", JWKS);
    write_file(st, "k1.pem", PEM);
    snprintf(path, sizeof path, "%s/jwks.json", st->folder);
    if (token_verifier_open(path, 64, &st->service.verifier, &fault) != ERR_OK ||
        token_signer_open(st->folder, &st->signer, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static void close_keys(struct stand *st)
{
    static const char *const FILES[] = {"jwks.json", "k1.pem"};
    char path[128];
    token_signer_close(st->signer);
    token_verifier_close(st->service.verifier);
    for (size_t i = 0; i < LENGTH_OF(FILES); i++) {
        snprintf(path, sizeof path, "%s/%s", st->folder, FILES[i]);
        (void)unlink(path);
    }
    (void)rmdir(st->folder);
}

/* ---- the service ---- */

static struct db_conf app_conf(const struct stand *st, enum db_plan plan)
{
    return (struct db_conf){
        .url = st->app_url, .password = st->app_password, .plan = plan, .application_name = st->service.spec->name};
}

static enum err open_parts(struct stand *st, struct fault *fault)
{
    struct service *s = &st->service;
    const struct lane_conf lane = {.service = s->spec->name,
                                   .schema = s->spec->schema,
                                   .topic = s->spec->topic,
                                   .consumes = s->spec->consumes,
                                   .partitions = STAND_PARTITIONS,
                                   .db = app_conf(st, DB_PLAN_KEYS),
                                   .ops = s->spec->ops,
                                   .app = s,
                                   .log = s->log,
                                   .metrics = s->metrics,
                                   .outbox_keep_s = 3600};
    const struct db_conf reads = app_conf(st, DB_PLAN_READS);
    const struct waiters_conf waiters = {.db = reads,
                                         .channel = s->spec->schema,
                                         .reread = s->spec->reread,
                                         .app = s,
                                         .log = s->log,
                                         .metrics = s->metrics};
    const struct http_server_conf http = {.listen = "127.0.0.1:0",
                                          .threads = 1,
                                          .routes = s->spec->routes,
                                          .verifier = s->verifier,
                                          .log = s->log,
                                          .metrics = s->metrics,
                                          .app = s};
    enum err e = lane_open(&lane, &s->lane, fault);
    if (e == ERR_OK && s->spec->open != NULL)
        e = s->spec->open(s, fault);
    if (e == ERR_OK)
        e = readers_open(&reads, 2, s->log, s->metrics, s, &s->readers, fault);
    if (e == ERR_OK && waiters.reread != NULL)
        e = waiters_open(&waiters, &s->waiters, fault);
    if (e != ERR_OK)
        return e;
    lane_start(s->lane, NULL, NULL);
    return http_server_open(&http, &s->server, fault);
}

static void start(struct stand *st)
{
    struct fault fault = {.err = ERR_OK};
    st->service.log = st->s.log;
    st->service.metrics = st->s.metrics;
    st->service.settings = &st->settings;
    pthread_mutex_init(&st->mutex, NULL);
    pthread_cond_init(&st->changed, NULL);
    arena_init(&st->arena);
    open_keys(st);
    if (open_parts(st, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    st->port = http_server_port(st->service.server);
    stand_settle(st);
}

void stand_open_by(struct stand *st, const struct service_spec *spec, const char *name, const char *role,
                   const char *address)
{
    *st = (struct stand){.service.spec = spec};
    make_database(st, name, role, address);
    start(st);
}

void stand_open(struct stand *st, const struct service_spec *spec, const char *name, const char *role)
{
    stand_open_by(st, spec, name, role, NULL);
}

void stand_join(struct stand *st, struct stand *first)
{
    first->shares = true;
    *st = (struct stand){.service.spec = first->service.spec, .shares = true};
    scratch_open_kafka(&st->s);
    memcpy(st->s.url, first->s.url, sizeof st->s.url);
    memcpy(st->app_url, first->app_url, sizeof st->app_url);
    memcpy(st->app_password, first->app_password, sizeof st->app_password);
    start(st);
}

void stand_close(struct stand *st)
{
    struct service *s = &st->service;
    (void)http_server_drain(s->server, PATIENCE_MS);
    lane_stop(s->lane);
    waiters_close(s->waiters);
    readers_close(s->readers);
    if (s->spec->close != NULL)
        s->spec->close(s);
    lane_close(s->lane);
    http_server_close(s->server);
    close_keys(st);
    arena_done(&st->arena);
    pthread_cond_destroy(&st->changed);
    pthread_mutex_destroy(&st->mutex);
    scratch_close(&st->s);
}

/* ---- requests ---- */

static const char *token_of(struct stand *st, const struct ask *ask)
{
    int64_t now = clock_now_us() / US_PER_S;
    const struct token_claims claims = {.customer_id = ask->customer_id,
                                        .role = ask->admin ? ROLE_ADMIN : ROLE_CUSTOMER,
                                        .sid = uuid_v7(),
                                        .iat = now,
                                        .exp = now + TOKEN_LIFE_S};
    struct fault fault = {.err = ERR_OK};
    char *token = NULL;
    if (token_sign(st->signer, &claims, &st->arena, &token, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return token;
}

int stand_send(struct stand *st, const struct ask *ask)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: stand\r\nConnection: close\r\n", ask->method, ask->path);
    if (ask->token != NULL || ask->customer_id != 0)
        buf_printf(&text, "Authorization: Bearer %s\r\n", ask->token != NULL ? ask->token : token_of(st, ask));
    if (ask->key != NULL)
        buf_printf(&text, "Idempotency-Key: \"%s\"\r\n", ask->key);
    if (ask->body != NULL)
        buf_printf(&text, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(ask->body));
    buf_printf(&text, "\r\n%s", ask->body != NULL ? ask->body : "");

    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)st->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(send(fd, text.data, text.len, MSG_NOSIGNAL), (ssize_t)text.len);
    buf_done(&text);
    return fd;
}

struct answer stand_hear(struct stand *st, int socket)
{
    static char text[ANSWER_MAX];
    size_t len = 0;
    for (ssize_t n; (n = recv(socket, text + len, sizeof text - 1 - len, 0)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    close(socket);

    struct answer answer = {.status = 0};
    const char *body = strstr(text, "\r\n\r\n");
    if (sscanf(text, "HTTP/1.1 %d", &answer.status) != 1 || body == NULL)
        fail_msg("no answer came, but \"%s\"", text);
    const char *replayed = strstr(text, "Idempotency-Replayed: true");
    answer.replayed = replayed != NULL && replayed < body;
    answer.body = arena_strdup(&st->arena, body + 4);
    return answer;
}

struct answer stand_ask(struct stand *st, const struct ask *ask)
{
    return stand_hear(st, stand_send(st, ask));
}

const char *stand_member(struct stand *st, const char *body, const char *name)
{
    char mark[64];
    snprintf(mark, sizeof mark, "\"%s\":\"", name);
    const char *from = strstr(body, mark);
    if (from == NULL)
        return "";
    from += strlen(mark);
    return arena_strndup(&st->arena, from, strcspn(from, "\""));
}

/* ---- batches ---- */

static struct timespec in_ms(int ms)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (ms % 1000) * NS_PER_MS;
    if (t.tv_nsec >= NS_PER_S) {
        t.tv_nsec -= NS_PER_S;
        t.tv_sec++;
    }
    return t;
}

/* Refused, so that it costs no commit. */
static void leave_no_trace(struct lane_item *it)
{
    it->err = fault_set(&it->fault, ERR_CONFLICT, "the test's");
}

static void decide_hold(struct batch *b, struct lane_item *it)
{
    struct stand *st = it->args;
    (void)b;
    leave_no_trace(it);
    const struct timespec end = in_ms(STAND_INBOX_MS);
    pthread_mutex_lock(&st->mutex);
    st->holding++;
    pthread_cond_broadcast(&st->changed);
    while (st->released < st->holding && pthread_cond_timedwait(&st->changed, &st->mutex, &end) == 0)
        continue;
    pthread_mutex_unlock(&st->mutex);
}

static struct stand_place place_of(const struct position *at)
{
    struct stand_place place = {
        .held = at->held && at->next_offset >= 0, .generation = at->generation, .next_offset = at->next_offset};
    for (size_t i = 0; i < at->sequence_count; i++)
        if (at->sequences[i].lane <= STAND_SOURCE_LANES)
            place.part_seq[at->sequences[i].lane] = at->sequences[i].part_seq;
    return place;
}

struct look {
    struct stand *stand;
    long ticket;
};

static void decide_look(struct batch *b, struct lane_item *it)
{
    const struct look *look = it->args;
    struct stand *st = look->stand;
    const struct positions *p = &b->lane->positions;
    leave_no_trace(it);
    pthread_mutex_lock(&st->mutex);
    for (size_t i = 0; i < p->count; i++)
        st->seen_places[i / STAND_PARTITIONS][i % STAND_PARTITIONS] = place_of(&p->all[i]);
    st->seen = look->ticket > st->seen ? look->ticket : st->seen;
    pthread_cond_broadcast(&st->changed);
    pthread_mutex_unlock(&st->mutex);
}

static const struct lane_verb HOLD = {.name = "hold", .decide = decide_hold};
static const struct lane_verb LOOK = {.name = "look", .decide = decide_look};

void stand_hold(struct stand *st)
{
    struct lane_item *item = lane_item_new(false);
    item->verb = &HOLD;
    item->args = st;
    pthread_mutex_lock(&st->mutex);
    int before = st->holding;
    pthread_mutex_unlock(&st->mutex);
    assert_int_equal(lane_submit(st->service.lane, item), ERR_OK);

    const struct timespec end = in_ms(PATIENCE_MS);
    int waited = 0;
    pthread_mutex_lock(&st->mutex);
    while (st->holding == before && waited == 0)
        waited = pthread_cond_timedwait(&st->changed, &st->mutex, &end);
    pthread_mutex_unlock(&st->mutex);
    assert_int_equal(waited, 0);
}

void stand_release(struct stand *st)
{
    pthread_mutex_lock(&st->mutex);
    st->released = st->holding;
    pthread_cond_broadcast(&st->changed);
    pthread_mutex_unlock(&st->mutex);
}

struct inbox_wait {
    struct stand *stand;
    size_t count;
};

static bool inbox_has(void *arg)
{
    const struct inbox_wait *w = arg;
    return queue_count(&w->stand->service.lane->inbox) >= w->count;
}

void stand_await_inbox(struct stand *st, size_t count)
{
    struct inbox_wait w = {st, count};
    assert_true(scratch_await(inbox_has, &w, STAND_INBOX_MS));
}

/* false: the lane is away, or was while it waited. */
static bool look(struct stand *st)
{
    struct lane_item *item = lane_item_new(false);
    struct look *look = ARENA_NEW(&item->own_arena, struct look);
    *look = (struct look){st, ++st->asked};
    item->verb = &LOOK;
    item->args = look;
    if (lane_submit(st->service.lane, item) != ERR_OK) {
        lane_item_free(item);
        nanosleep(&(struct timespec){.tv_nsec = 10 * NS_PER_MS}, NULL); /* it tries again to take a lane now and then */
        return false;
    }
    const struct timespec end = in_ms(STEP_MS);
    pthread_mutex_lock(&st->mutex);
    while (st->seen < st->asked && pthread_cond_timedwait(&st->changed, &st->mutex, &end) == 0)
        continue;
    bool seen = st->seen == st->asked;
    memcpy(st->places, st->seen_places, sizeof st->places);
    pthread_mutex_unlock(&st->mutex);
    return seen;
}

static bool all_held(const struct stand *st)
{
    for (size_t t = 0; st->service.spec->consumes[t] != NULL; t++)
        for (size_t p = 0; p < STAND_PARTITIONS; p++)
            if (!st->places[t][p].held)
                return false;
    return true;
}

/* The first look may be in the batch of what came before it; when the second is seen, that batch has ended. */
static bool look_twice(struct stand *st)
{
    bool seen = look(st);
    return seen && look(st);
}

void stand_settle(struct stand *st)
{
    mono_ns_t deadline = clock_mono_ns() + PATIENCE_MS * NS_PER_MS;
    while (!look_twice(st) || (!st->shares && !all_held(st)))
        if (clock_mono_ns() > deadline)
            fail_msg("the lane does not come back, or does not hold its partitions");
}

/* ---- events ---- */

int stand_partition(int64_t customer_id)
{
    char key[24];
    int len = snprintf(key, sizeof key, "%lld", (long long)customer_id);
    return hash_partition(key, (size_t)len, STAND_PARTITIONS);
}

static size_t topic_index(const struct stand *st, const char *topic)
{
    size_t t = 0;
    while (strcmp(st->service.spec->consumes[t], topic) != 0)
        t++;
    return t;
}

struct stand_place *stand_place(struct stand *st, const char *topic, int64_t customer_id)
{
    return &st->places[topic_index(st, topic)][stand_partition(customer_id)];
}

/* "order-events" are order-svc's. */
static void set_source(struct event *e, const char *topic)
{
    size_t len = strlen(topic) - strlen("-events");
    snprintf(e->source, sizeof e->source, "%.*s-svc", (int)len, topic);
}

static void encode_raw(struct lane_item *item, const struct feed *feed, int64_t part_seq)
{
    struct event out = {.id = uuid_v7(),
                        .subject = STR("s"),
                        .time = clock_now_us(),
                        .lane = feed->lane != 0 ? feed->lane : 1,
                        .partition = stand_partition(feed->customer_id),
                        .part_seq = part_seq,
                        .epoch = feed->epoch};
    if (uuid_is_nil(out.epoch))
        assert_true(uuid_parse(str_of(EPOCH), &out.epoch));
    set_source(&out, feed->topic);
    snprintf(out.type, sizeof out.type, "%s", feed->type);
    struct buf text;
    buf_init(&text);
    event_encode(&text, &out, str_of(feed->data));
    item->event->raw = (struct str){arena_strndup(&item->own_arena, text.data, text.len), text.len};
    buf_done(&text);
}

/* As the subscriber does it. */
static void decode(const struct stand *st, struct lane_item *item)
{
    struct fault fault = {.err = ERR_OK};
    if (event_decode(item->event, &fault) != ERR_OK) {
        item->unreadable = arena_strdup(&item->own_arena, fault.why);
        return;
    }
    const struct event_kind *kind = st->service.spec->kinds;
    while (kind->type != NULL && strcmp(kind->type, item->event->type) != 0)
        kind++;
    if (kind->type == NULL)
        return;
    item->verb = kind->verb;
    if (kind->decode(item->event, &item->own_arena, &item->args, &item->customer_id, &fault) == ERR_OK)
        return;
    item->unreadable = arena_strdup(&item->own_arena, fault.why);
    item->verb = NULL;
}

void stand_feed(struct stand *st, const struct feed *feed)
{
    struct stand_place *place = stand_place(st, feed->topic, feed->customer_id);
    int64_t *last = &place->part_seq[feed->lane != 0 ? feed->lane : 1];
    int64_t part_seq = feed->part_seq != 0 ? feed->part_seq : *last + 1;
    if (feed->raw == NULL && part_seq == *last + 1)
        *last = part_seq;

    struct lane_item *item = lane_item_new(true);
    struct event *e = item->event;
    item->generation = place->generation;
    e->topic = st->service.spec->consumes[topic_index(st, feed->topic)];
    e->partition = stand_partition(feed->customer_id);
    e->offset = place->next_offset++;
    snprintf(e->key, sizeof e->key, "%lld", (long long)feed->customer_id);
    if (feed->raw != NULL)
        e->raw = str_of(arena_strdup(&item->own_arena, feed->raw));
    else
        encode_raw(item, feed, part_seq);
    decode(st, item);
    assert_true(lane_submit_event(st->service.lane, item));
}
