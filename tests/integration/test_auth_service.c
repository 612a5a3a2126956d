/* auth-svc on a real PostgreSQL, in the rights of its own role: sessions and users by HTTP, at once and with lost commits. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth-svc/api.h"
#include "auth-svc/auth.h"
#include "auth-svc/checks.h"
#include "auth-svc/commands.h"
#include "auth-svc/conf.h"
#include "auth-svc/events.h"
#include "auth-svc/migrations.h"
#include "support/audit.h"
#include "support/cutter.h"
#include "support/need_env.h"
#include "support/schema.h"
#include "svc/audit.h"
#include "unit/unit.h"

#define PATH "/api/v1/auth"
#define PASSWORD "tall-green-kettle-7"
#define NEW_PASSWORD "broad-brown-bottle-8"
enum { MANY = 50 };

struct world {
    struct stand st; /* first */
    struct auth_settings settings;
    struct cutter *cutter;
    int64_t customer;
    char name[32], jwks[128];
};

/* The stand has the keys and the settings that every service has; the rest is made here. */
static enum err open_auth(struct service *s, struct fault *fault)
{
    struct world *w = (struct world *)((char *)s - offsetof(struct stand, service));
    snprintf(w->jwks, sizeof w->jwks, "%s/jwks.json", w->st.folder);
    w->settings = (struct auth_settings){.service = w->st.settings,
                                         .signing_keys_dir = w->st.folder,
                                         .password_memory_kib = 19456,
                                         .password_ops = 2,
                                         .password_workers = 2};
    w->settings.service.jwks_file = w->jwks;
    s->settings = &w->settings.service;
    return auth_open(s, fault);
}

static const struct service_spec SPEC = {
    .name = "auth-svc",
    .schema = "auth",
    .topic = "auth-events",
    .consumes = AUTH_SVC_CONSUMES,
    .kinds = AUTH_SVC_KINDS,
    .ops = &AUTH_SVC_OPS,
    .routes = AUTH_SVC_ROUTES,
    .migrations = AUTH_SVC_MIGRATIONS,
    .reread = api_reread,
    .open = open_auth,
    .close = auth_close,
};

/* ---- a world, and somebody new for each story ---- */

static int open_world(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    const char *url = need_env("TEST_DB_URL"), *at = strrchr(url, '@'), *path = strrchr(url, '/');
    char server[64];
    assert_true(at != NULL && path > at);
    snprintf(server, sizeof server, "%.*s", (int)(path - at - 1), at + 1);
    w->cutter = cutter_new(server);
    stand_open_by(&w->st, &SPEC, "auth", "auth", cutter_address(w->cutter));
    w->customer = 100;
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    stand_close(&w->st);
    cutter_free(w->cutter);
    mem_free(w);
    return 0;
}

static void add_user(struct world *w, int64_t customer_id, const char *name, const char *role)
{
    struct password_cost cost = {19456, 2};
    char hash[PASSWORD_HASH_MAX];
    struct fault fault;
    assert_int_equal(password_hash(cost, PASSWORD, hash, &fault), ERR_OK);
    stand_run(
        &w->st,
        "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, create_date, "
        "update_date) VALUES (%" PRId64 ", '%s', 'Somebody', '%s', 'ACTIVE', '%s', true, now(), now())",
        customer_id, name, role, hash);
}

static int next_customer(void **state)
{
    struct world *w = *state;
    w->customer++;
    snprintf(w->name, sizeof w->name, "user-%" PRId64, w->customer);
    add_user(w, w->customer, w->name, "CUSTOMER");
    return 0;
}

/* What is true after every story: a live session has one unused token, no end goes untold, and no secret is written down. */
static int assert_sessions_are_sound(void **state)
{
    struct stand *st = *state;
    assert_int_equal(stand_number(st, "SELECT count(*) FROM (SELECT s.id FROM session s LEFT JOIN refresh_token t ON "
                                      "t.session_id = s.id AND t.used_date IS NULL WHERE s.revoke_date IS NULL "
                                      "GROUP BY s.id HAVING count(t.hash) <> 1) x"),
                     0);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM session s FULL JOIN (SELECT "
                                      "jsonb_array_elements_text(payload::jsonb->'data'->'sids')::uuid AS id FROM "
                                      "outbox WHERE type = 'session.revoked') o ON o.id = s.id WHERE "
                                      "(s.revoke_date IS NULL) <> (o.id IS NULL)"),
                     0);
    assert_int_equal(
        stand_number(st, "SELECT count(*) FROM audit_log a WHERE a::text ~ 'kettle|bottle|argon|[0-9a-f]{64}'"), 0);
    return 0;
}

/* ---- what is asked ---- */

struct tokens {
    int status;
    const char *access, *refresh;
};

static struct tokens tokens_of(struct world *w, struct answer answer)
{
    return (struct tokens){.status = answer.status,
                           .access = stand_member(&w->st, answer.body, "accessToken"),
                           .refresh = stand_member(&w->st, answer.body, "refreshToken")};
}

static struct tokens log_in_as(struct world *w, const char *name, const char *password)
{
    char body[192];
    snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\"}", name, password);
    return tokens_of(w, stand_ask(&w->st, &(struct ask){.method = "POST", .path = PATH "/login", .body = body}));
}

static struct tokens log_in(struct world *w)
{
    struct tokens t = log_in_as(w, w->name, PASSWORD);
    assert_int_equal(t.status, 200);
    return t;
}

static int send_refresh(struct world *w, const char *token, const char *key)
{
    char body[128];
    snprintf(body, sizeof body, "{\"refreshToken\":\"%s\"}", token);
    return stand_send(&w->st, &(struct ask){.method = "POST", .path = PATH "/refresh", .body = body, .key = key});
}

static struct tokens refresh_with(struct world *w, const char *token, const char *key)
{
    return tokens_of(w, stand_hear(&w->st, send_refresh(w, token, key)));
}

static struct tokens refresh(struct world *w, const char *token)
{
    return refresh_with(w, token, NULL);
}

static int ask(struct world *w, const char *token, const char *method, const char *path, const char *body)
{
    return stand_ask(&w->st, &(struct ask){.method = method, .path = path, .body = body, .token = token}).status;
}

static int64_t live_tips(struct world *w)
{
    return stand_number(&w->st,
                        "SELECT count(*) FROM refresh_token t JOIN session s ON s.id = t.session_id "
                        "WHERE s.customer_id = %" PRId64 " AND s.revoke_date IS NULL AND t.used_date IS NULL",
                        w->customer);
}

static int64_t told(struct world *w, const char *reason)
{
    return stand_number(
        &w->st,
        "SELECT coalesce(sum(jsonb_array_length(payload::jsonb->'data'->'sids')), 0) FROM outbox WHERE type = "
        "'session.revoked' AND payload::jsonb->'data'->>'reason' = '%s' AND "
        "(payload::jsonb->'data'->>'customerId')::bigint = %" PRId64,
        reason, w->customer);
}

static int64_t written(struct world *w, const char *type)
{
    return stand_number(&w->st, "SELECT count(*) FROM audit_log WHERE type = '%s' AND customer_id = %" PRId64, type,
                        w->customer);
}

/* ---- refresh ---- */

static void a_refresh_token_is_good_once_and_its_second_use_ends_the_session(void **state)
{
    struct world *w = *state;
    struct tokens first = log_in(w), other = log_in(w);
    struct tokens second = refresh(w, first.refresh);
    assert_int_equal(second.status, 200);
    assert_string_not_equal(second.refresh, first.refresh);

    assert_int_equal(refresh(w, first.refresh).status, 401);
    assert_int_equal(refresh(w, second.refresh).status, 401);
    assert_int_equal(told(w, "reuse"), 1);
    assert_int_equal(written(w, "session.reused"), 1);
    assert_int_equal(refresh(w, other.refresh).status, 200); /* another session of his goes on */
}

static void every_renewal_gives_another_token_and_all_before_it_are_used(void **state)
{
    enum { RENEWALS = 4 };
    struct world *w = *state;
    struct tokens t = log_in(w);
    const char *oldest = t.refresh;
    for (int i = 0; i < RENEWALS; i++) {
        t = refresh(w, t.refresh);
        assert_int_equal(t.status, 200);
        assert_int_equal(live_tips(w), 1);
    }
    assert_int_equal(written(w, "session.refreshed"), RENEWALS);
    assert_int_equal(refresh(w, oldest).status, 401);
    assert_int_equal(live_tips(w), 0);
}

static void assert_one_tip(struct world *w, const int sockets[MANY])
{
    const char *next = NULL;
    for (int i = 0; i < MANY; i++) {
        struct tokens t = tokens_of(w, stand_hear(&w->st, sockets[i]));
        assert_int_equal(t.status, 200);
        if (next != NULL)
            assert_string_equal(t.refresh, next);
        next = t.refresh;
    }
    assert_int_equal(live_tips(w), 1);
    assert_int_equal(told(w, "reuse"), 0);
    assert_int_equal(refresh(w, next).status, 200);
}

static void fifty_refreshes_in_one_batch_leave_one_live_tip(void **state)
{
    struct world *w = *state;
    struct tokens t = log_in(w);
    int sockets[MANY];
    stand_hold(&w->st);
    for (int i = 0; i < MANY; i++)
        sockets[i] = send_refresh(w, t.refresh, NULL);
    stand_await_inbox(&w->st, MANY);
    stand_release(&w->st);
    assert_one_tip(w, sockets);
}

static void fifty_refreshes_at_once_leave_one_live_tip(void **state)
{
    struct world *w = *state;
    struct tokens t = log_in(w);
    int sockets[MANY];
    for (int i = 0; i < MANY; i++)
        sockets[i] = send_refresh(w, t.refresh, NULL);
    assert_one_tip(w, sockets);
}

static void the_same_key_gives_the_same_successor_again_until_it_is_used(void **state)
{
    struct world *w = *state;
    struct tokens first = log_in(w);
    struct tokens second = refresh_with(w, first.refresh, "key-0001");
    struct tokens again = refresh_with(w, first.refresh, "key-0001");
    assert_int_equal(again.status, 200);
    assert_string_equal(again.refresh, second.refresh);
    assert_int_equal(refresh(w, second.refresh).status, 200);
    assert_int_equal(refresh_with(w, first.refresh, "key-0001").status, 401);
    assert_int_equal(told(w, "reuse"), 1);

    first = log_in(w);
    assert_int_equal(refresh_with(w, first.refresh, "key-0002").status, 200);
    assert_int_equal(refresh_with(w, first.refresh, "key-0003").status, 401);
    assert_int_equal(told(w, "reuse"), 2);
}

static void what_is_no_live_refresh_token_is_refused_and_changes_nothing(void **state)
{
    static const struct {
        const char *set, *why;
    } ROWS[] = {
        {"UPDATE session SET idle_date = now() - interval '1 s' WHERE customer_id = ", "it was not renewed in time"},
        {"UPDATE session SET create_date = now() - interval '7 d', idle_date = now(), expire_date = now() WHERE "
         "customer_id = ",
         "its life is over"},
        {"UPDATE app_user SET status = 'DISABLED' WHERE customer_id = ", "he was disabled"},
    };
    struct world *w = *state;
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        assert_int_equal(next_customer(state), 0);
        struct tokens t = log_in(w);
        stand_run(&w->st, "%s%" PRId64, ROWS[i].set, w->customer);
        ROW_CHECK(refresh(w, t.refresh).status == 401, ROWS[i].why);
        ROW_CHECK(live_tips(w) == 1, ROWS[i].why);
        ROW_CHECK(written(w, "session.refreshed") == 0, ROWS[i].why);
    }
    assert_int_equal(refresh(w, "x").status, 401);
    assert_int_equal(refresh(w, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").status, 401);
}

static void a_refresh_whose_commit_is_lost_gives_one_true_answer(void **state)
{
    static const struct {
        enum cut cut;
        int status;
        const char *why;
    } CUTS[] = {
        {CUT_BEFORE, 200, "the lane row says that it is out: it is decided again"},
        {CUT_AFTER, 200, "the lane row says that it is in"},
        {CUT_BLIND, 200, "nobody knows, and the lane row tells"},
        {CUT_AFTER_HUNG, 504, "nobody learns in time; the same request again gets what it made"},
    };
    struct world *w = *state;
    struct tokens t = log_in(w);
    for (size_t i = 0; i < LENGTH_OF(CUTS); i++) {
        stand_settle(&w->st);
        cutter_arm(w->cutter, CUTS[i].cut);
        struct tokens next = refresh_with(w, t.refresh, "key-of-cuts");
        ROW_CHECK(next.status == CUTS[i].status, CUTS[i].why);
        if (next.status == 504) {
            stand_settle(&w->st);
            stand_run(&w->st,
                      "UPDATE refresh_token t SET used_date = now() FROM session s WHERE s.id = t.session_id AND "
                      "s.refresh_date = t.used_date AND s.customer_id = %" PRId64,
                      w->customer); /* as if no ten seconds had passed, however long the lane was away */
            stand_run(&w->st,
                      "UPDATE session s SET refresh_date = (SELECT max(used_date) FROM refresh_token t WHERE "
                      "t.session_id = s.id) WHERE customer_id = %" PRId64,
                      w->customer);
            next = refresh_with(w, t.refresh, "key-of-cuts");
            ROW_CHECK(next.status == 200, CUTS[i].why);
        }
        ROW_CHECK(live_tips(w) == 1, CUTS[i].why);
        t = next;
    }
    assert_int_equal(told(w, "reuse"), 0);
    assert_int_equal(refresh(w, t.refresh).status, 200);
}

/* ---- the end of sessions ---- */

static void logging_out_ends_this_session_and_no_other(void **state)
{
    struct world *w = *state;
    struct tokens here = log_in(w), there = log_in(w);
    assert_int_equal(ask(w, here.access, "POST", PATH "/logout", NULL), 204);
    assert_int_equal(ask(w, here.access, "POST", PATH "/logout", NULL), 401); /* at once: he is out */
    assert_int_equal(refresh(w, here.refresh).status, 401);
    assert_int_equal(refresh(w, there.refresh).status, 200);
    assert_int_equal(told(w, "logout"), 1);
}

static void a_session_is_ended_by_whose_it_is_and_by_nobody_else(void **state)
{
    struct world *w = *state;
    struct tokens his = log_in(w);
    char path[96];
    snprintf(path, sizeof path, PATH "/sessions/%s",
             stand_text(&w->st, "SELECT id FROM session WHERE customer_id = %" PRId64, w->customer));
    assert_int_equal(next_customer(state), 0);
    struct tokens other = log_in(w);
    assert_int_equal(ask(w, other.access, "DELETE", path, NULL), 404);
    assert_int_equal(ask(w, other.access, "DELETE", PATH "/sessions/none", NULL), 404);
    assert_int_equal(ask(w, his.access, "DELETE", path, NULL), 204);
    assert_int_equal(ask(w, his.access, "DELETE", path, NULL), 401); /* it was this very one */
    assert_int_equal(refresh(w, his.refresh).status, 401);
    assert_int_equal(refresh(w, other.refresh).status, 200);
}

static void a_new_password_ends_all_other_sessions(void **state)
{
    static const char GOOD[] = "{\"currentPassword\":\"" PASSWORD "\",\"newPassword\":\"" NEW_PASSWORD "\"}";
    struct world *w = *state;
    struct tokens here = log_in(w), there = log_in(w);
    assert_int_equal(ask(w, here.access, "POST", PATH "/password",
                         "{\"currentPassword\":\"not-" PASSWORD "\",\"newPassword\":\"" NEW_PASSWORD "\"}"),
                     401);
    assert_int_equal(ask(w, here.access, "POST", PATH "/password",
                         "{\"currentPassword\":\"" PASSWORD "\",\"newPassword\":\"" PASSWORD "\"}"),
                     400);
    assert_int_equal(ask(w, here.access, "POST", PATH "/password",
                         "{\"currentPassword\":\"" PASSWORD "\",\"newPassword\":\"short\"}"),
                     400);
    assert_int_equal(told(w, "password"), 0);

    assert_int_equal(ask(w, here.access, "POST", PATH "/password", GOOD), 204);
    assert_int_equal(refresh(w, here.refresh).status, 200);
    assert_int_equal(refresh(w, there.refresh).status, 401);
    assert_int_equal(told(w, "password"), 1);
    assert_int_equal(log_in_as(w, w->name, PASSWORD).status, 401);
    assert_int_equal(log_in_as(w, w->name, NEW_PASSWORD).status, 200);
    assert_int_equal(written(w, "password.changed"), 1);
    assert_int_equal(written(w, "password.refused"), 1);
    assert_int_equal(written(w, "login.failed"), 1);
}

static void a_log_in_too_many_ends_the_oldest_session(void **state)
{
    struct world *w = *state;
    struct tokens oldest = log_in(w);
    stand_run(
        &w->st,
        "WITH s AS (INSERT INTO session (id, customer_id, peer, create_date, refresh_date, idle_date, expire_date) "
        "SELECT gen_random_uuid(), %" PRId64 ", 'x', now(), now(), now() + interval '1 h', now() + interval '1 h' "
        "FROM generate_series(2, %d) RETURNING id) INSERT INTO refresh_token (hash, session_id, create_date) "
        "SELECT encode(sha256(id::text::bytea), 'hex'), id, now() FROM s",
        w->customer, SESSIONS_MAX);
    assert_int_equal(live_tips(w), SESSIONS_MAX);
    (void)log_in(w);
    assert_int_equal(live_tips(w), SESSIONS_MAX);
    assert_int_equal(told(w, "limit"), 1);
    assert_int_equal(refresh(w, oldest.refresh).status, 401);
}

/* ---- passwords and the trail ---- */

static void a_log_in_hashes_a_cheap_password_anew_and_ends_no_session(void **state)
{
    struct world *w = *state;
    struct auth *a = auth_of(&w->st.service);
    struct tokens before = log_in(w);
    a->cost.passes = 3;
    struct tokens then = log_in(w);
    (void)log_in(w);
    a->cost.passes = 2;
    assert_int_equal(stand_number(&w->st,
                                  "SELECT count(*) FROM app_user WHERE customer_id = %" PRId64
                                  " AND password_hash LIKE '%%t=3,%%'",
                                  w->customer),
                     1);
    assert_int_equal(written(w, "password.rehashed"), 1);
    assert_int_equal(refresh(w, before.refresh).status, 200);
    assert_int_equal(refresh(w, then.refresh).status, 200);
    (void)log_in(w); /* and a dearer hash than today's is left alone */
    assert_int_equal(written(w, "password.rehashed"), 1);
}

static void the_trail_says_who_and_can_not_be_changed(void **state)
{
    struct world *w = *state;
    (void)log_in(w);
    assert_int_equal(log_in_as(w, "nobody-here", PASSWORD).status, 401);
    assert_int_equal(
        stand_number(&w->st,
                     "SELECT count(*) FROM audit_log WHERE type = 'login.succeeded' AND actor = 'CUSTOMER:%" PRId64
                     "' AND customer_id = %" PRId64 " AND address = '127.0.0.1' AND session_id IS "
                     "NOT NULL AND request_id <> ''",
                     w->customer, w->customer),
        1);
    assert_true(stand_number(&w->st, "SELECT count(*) FROM audit_log WHERE type = 'login.failed' AND actor IS NULL AND "
                                     "customer_id IS NULL") > 0);
    assert_int_equal(stand_number(&w->st,
                                  "SELECT count(*) FROM information_schema.role_table_grants WHERE table_name = "
                                  "'audit_log' AND grantee = 'auth_app' AND privilege_type NOT IN ('SELECT', "
                                  "'INSERT')"),
                     0);
}

/* ---- users, by admins ---- */

static int64_t admins(struct world *w)
{
    return stand_number(&w->st, "SELECT count(*) FROM app_user WHERE role = 'ADMIN' AND status = 'ACTIVE'");
}

/* Two admins and nobody else who is one; the customer of this story is the first. */
static void make_two_admins(struct world *w, struct tokens ret[2])
{
    char name[2][32];
    stand_run(&w->st, "UPDATE app_user SET role = 'CUSTOMER' WHERE role = 'ADMIN'");
    for (int i = 0; i < 2; i++) {
        snprintf(name[i], sizeof name[i], "admin-%" PRId64 "-%d", w->customer, i);
        add_user(w, 100000 + 2 * w->customer + i, name[i], "ADMIN");
        ret[i] = log_in_as(w, name[i], PASSWORD);
        assert_int_equal(ret[i].status, 200);
    }
}

static int64_t admin_id(const struct world *w, int i)
{
    return 100000 + 2 * w->customer + i;
}

static int send_change(struct stand *st, const char *token, int64_t customer_id, const char *body)
{
    char path[64];
    snprintf(path, sizeof path, PATH "/users/%" PRId64, customer_id);
    return stand_send(st, &(struct ask){.method = "PATCH", .path = path, .body = body, .token = token});
}

static struct answer change(struct world *w, const char *token, int64_t customer_id, const char *body)
{
    return stand_hear(&w->st, send_change(&w->st, token, customer_id, body));
}

static void who_is_disabled_or_gets_another_role_is_out_at_once(void **state)
{
    static const struct {
        const char *body, *reason, *trail;
    } ROWS[] = {
        {"{\"status\":\"DISABLED\"}", "disabled", "user.status_changed"},
        {"{\"role\":\"ADMIN\"}", "role", "user.role_changed"},
        {"{\"role\":\"ADMIN\",\"status\":\"DISABLED\"}", "disabled", "user.role_changed"},
    };
    struct world *w = *state;
    struct tokens admin[2];
    make_two_admins(w, admin);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        assert_int_equal(next_customer(state), 0);
        struct tokens his[] = {log_in(w), log_in(w)};
        ROW_CHECK(change(w, admin[0].access, w->customer, ROWS[i].body).status == 200, ROWS[i].body);
        ROW_CHECK(told(w, ROWS[i].reason) == 2, ROWS[i].body);
        ROW_CHECK(written(w, ROWS[i].trail) == 1, ROWS[i].body);
        ROW_CHECK(refresh(w, his[0].refresh).status == 401, ROWS[i].body);
        ROW_CHECK(refresh(w, his[1].refresh).status == 401, ROWS[i].body);
        ROW_CHECK(change(w, admin[0].access, w->customer, ROWS[i].body).status == 200, "it is so already");
        ROW_CHECK(written(w, ROWS[i].trail) == 1, "and nothing is told again");
    }
    assert_int_equal(change(w, admin[0].access, w->customer, "{\"status\":\"ACTIVE\",\"role\":\"CUSTOMER\"}").status,
                     200);
    assert_int_equal(log_in_as(w, w->name, PASSWORD).status, 200);
}

static void what_is_no_change_is_refused(void **state)
{
    static const struct {
        const char *body;
        int status;
    } ROWS[] = {
        {"{}", 400},
        {"{\"role\":\"BOSS\"}", 400},
        {"{\"status\":null}", 400},
        {"{\"status\":\"ACTIVE\",\"username\":\"x\"}", 400},
    };
    struct world *w = *state;
    struct tokens admin[2], his = log_in(w);
    make_two_admins(w, admin);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        ROW_CHECK(change(w, admin[0].access, w->customer, ROWS[i].body).status == ROWS[i].status, ROWS[i].body);
    assert_int_equal(change(w, admin[0].access, 999999, "{\"role\":\"ADMIN\"}").status, 404);
    assert_int_equal(change(w, his.access, w->customer, "{\"role\":\"ADMIN\"}").status, 403);
    stand_run(&w->st, "UPDATE app_user SET role = 'CUSTOMER' WHERE customer_id = %" PRId64, admin_id(w, 1));
    assert_int_equal(change(w, admin[1].access, w->customer, "{\"role\":\"ADMIN\"}").status,
                     403); /* he is none any more */
}

static void the_last_active_admin_stays_one(void **state)
{
    struct world *w = *state;
    struct tokens admin[2];
    make_two_admins(w, admin);
    assert_int_equal(change(w, admin[0].access, admin_id(w, 1), "{\"status\":\"DISABLED\"}").status, 200);
    struct answer answer = change(w, admin[0].access, admin_id(w, 0), "{\"status\":\"DISABLED\"}");
    assert_int_equal(answer.status, 409);
    assert_string_equal(stand_member(&w->st, answer.body, "code"), "last_admin");
    assert_int_equal(change(w, admin[0].access, admin_id(w, 0), "{\"role\":\"CUSTOMER\"}").status, 409);
    assert_int_equal(admins(w), 1);
    assert_int_equal(change(w, admin[0].access, admin_id(w, 1), "{\"status\":\"ACTIVE\"}").status, 200);
    assert_int_equal(change(w, admin[0].access, admin_id(w, 0), "{\"role\":\"CUSTOMER\"}").status, 200);
    assert_int_equal(admins(w), 1);
}

/* Whoever is second finds that he is no admin any more (403), or that nobody else would be (409). */
static void assert_one_is_left(struct world *w, struct answer first, struct answer second)
{
    assert_int_equal(first.status == 200 ? 1 : 0, second.status == 200 ? 0 : 1);
    int refused = first.status == 200 ? second.status : first.status;
    assert_true(refused == 403 || refused == 409);
    assert_int_equal(admins(w), 1);
}

static void two_admins_who_demote_each_other_in_one_batch_leave_one(void **state)
{
    struct world *w = *state;
    struct tokens admin[2];
    make_two_admins(w, admin);
    stand_hold(&w->st);
    int a = send_change(&w->st, admin[0].access, admin_id(w, 1), "{\"role\":\"CUSTOMER\"}");
    int b = send_change(&w->st, admin[1].access, admin_id(w, 0), "{\"status\":\"DISABLED\"}");
    stand_await_inbox(&w->st, 2);
    stand_release(&w->st);
    struct answer first = stand_hear(&w->st, a), second = stand_hear(&w->st, b);
    assert_one_is_left(w, first, second);
}

static void two_admins_who_demote_each_other_by_two_processes_leave_one(void **state)
{
    enum { ROUNDS = 10 };
    struct world *w = *state;
    struct world *other = mem_alloc(sizeof *other);
    stand_join(&other->st, &w->st);
    for (int i = 0; i < ROUNDS; i++) {
        struct tokens admin[2];
        assert_int_equal(next_customer(state), 0);
        make_two_admins(w, admin);
        int a = send_change(&w->st, admin[0].access, admin_id(w, 1), "{\"role\":\"CUSTOMER\"}");
        int b = send_change(&other->st, admin[1].access, admin_id(w, 0), "{\"role\":\"CUSTOMER\"}");
        struct answer first = stand_hear(&w->st, a), second = stand_hear(&other->st, b);
        assert_one_is_left(w, first, second);
    }
    stand_close(&other->st);
    mem_free(other);
}

static void an_admin_makes_users_lists_them_and_ends_their_sessions(void **state)
{
    struct world *w = *state;
    struct tokens admin[2], his = log_in(w);
    char path[96], body[192];
    make_two_admins(w, admin);
    snprintf(body, sizeof body,
             "{\"username\":\"made-%" PRId64 "\",\"password\":\"" NEW_PASSWORD
             "\",\"fullName\":\"M\",\"role\":\"ADMIN\"}",
             w->customer);
    struct ask make = {.method = "POST", .path = PATH "/users", .body = body, .token = admin[0].access};
    int socket = stand_send(&w->st, &make);
    assert_int_equal(stand_hear(&w->st, socket).status, 202); /* nobody opens accounts here */
    assert_int_equal(stand_ask(&w->st, &make).status, 409);
    make.token = his.access;
    assert_int_equal(stand_ask(&w->st, &make).status, 403);
    assert_int_equal(
        stand_number(&w->st,
                     "SELECT count(*) FROM app_user u JOIN audit_log a USING (customer_id) WHERE u.username = "
                     "'made-%" PRId64 "' AND u.role = 'ADMIN' AND a.type = 'user.created' AND a.actor = "
                     "'ADMIN:%" PRId64 "' AND a.detail = 'ADMIN'",
                     w->customer, admin_id(w, 0)),
        1);

    struct answer list = stand_ask(
        &w->st, &(struct ask){.method = "GET", .path = PATH "/users?role=ADMIN&limit=1", .token = admin[0].access});
    assert_int_equal(list.status, 200);
    assert_non_null(strstr(list.body, "\"username\":\"made-"));
    assert_null(strstr(list.body, "argon"));
    snprintf(path, sizeof path, PATH "/users?role=ADMIN&limit=1&cursor=%s",
             stand_member(&w->st, list.body, "nextCursor"));
    list = stand_ask(&w->st, &(struct ask){.method = "GET", .path = path, .token = admin[0].access});
    snprintf(path, sizeof path, "\"customerId\":%" PRId64 ",", admin_id(w, 1));
    assert_non_null(strstr(list.body, path));

    snprintf(path, sizeof path, PATH "/users/%" PRId64 "/sessions", w->customer);
    assert_int_equal(ask(w, his.access, "DELETE", path, NULL), 403);
    assert_int_equal(ask(w, admin[0].access, "DELETE", path, NULL), 204);
    assert_int_equal(told(w, "admin"), 1);
    assert_int_equal(refresh(w, his.refresh).status, 401);
    assert_int_equal(ask(w, admin[0].access, "DELETE", PATH "/users/999999/sessions", NULL), 404);
}

static void a_newcomer_may_set_a_password_and_no_more_until_he_has(void **state)
{
    struct world *w = *state;
    struct tokens admin[2];
    make_two_admins(w, admin);
    stand_run(&w->st, "UPDATE app_user SET role = 'ADMIN', must_change_password = true WHERE customer_id = %" PRId64,
              w->customer);
    struct tokens his = log_in(w);
    assert_int_equal(ask(w, his.access, "GET", PATH "/me", NULL), 200);
    assert_int_equal(ask(w, his.access, "GET", PATH "/users", NULL), 403);
    struct answer answer = stand_ask(&w->st,
                                     &(struct ask){.method = "GET", .path = PATH "/sessions", .token = his.access});
    assert_string_equal(stand_member(&w->st, answer.body, "code"), "password_change_required");
    his = refresh(w, his.refresh); /* nothing is won by that */
    assert_int_equal(ask(w, his.access, "GET", PATH "/users", NULL), 403);

    assert_int_equal(ask(w, his.access, "POST", PATH "/password",
                         "{\"currentPassword\":\"" PASSWORD "\",\"newPassword\":\"" NEW_PASSWORD "\"}"),
                     204);
    his = refresh(w, his.refresh);
    assert_int_equal(ask(w, his.access, "GET", PATH "/users", NULL), 200);
}

static void admins_read_the_trail_and_the_gateway_writes_into_it(void **state)
{
    static const char TRAIL[] = "/api/v1/admin/audit-log";
    struct world *w = *state;
    struct tokens admin[2], his = log_in(w);
    char path[160];
    make_two_admins(w, admin);
    (void)refresh(w, his.refresh);
    assert_int_equal(ask(w, his.access, "GET", TRAIL, NULL), 403);
    snprintf(path, sizeof path, "%s?customerId=%" PRId64 "&limit=1", TRAIL, w->customer);
    struct answer page = stand_ask(&w->st, &(struct ask){.method = "GET", .path = path, .token = admin[0].access});
    assert_string_equal(stand_member(&w->st, page.body, "type"), "session.refreshed");
    snprintf(path, sizeof path, "%s?customerId=%" PRId64 "&limit=1&cursor=%s", TRAIL, w->customer,
             stand_member(&w->st, page.body, "nextCursor"));
    page = stand_ask(&w->st, &(struct ask){.method = "GET", .path = path, .token = admin[0].access});
    assert_string_equal(stand_member(&w->st, page.body, "type"), "login.succeeded");
    assert_non_null(strstr(page.body, "\"nextCursor\":null"));

    static const char TELL[] = "{\"type\":\"breaker.forced\",\"detail\":\"orders: forced open\"}";
    assert_int_equal(ask(w, his.access, "POST", TRAIL, TELL), 403);
    assert_int_equal(ask(w, admin[0].access, "POST", TRAIL, "{\"type\":\"login.succeeded\",\"detail\":\"me\"}"), 400);
    assert_int_equal(ask(w, admin[0].access, "POST", TRAIL, TELL), 204);
    page = stand_ask(&w->st, &(struct ask){.method = "GET",
                                           .path = "/api/v1/admin/audit-log?type=breaker.forced&limit=1",
                                           .token = admin[0].access});
    snprintf(path, sizeof path, "ADMIN:%" PRId64, admin_id(w, 0));
    assert_string_equal(stand_member(&w->st, page.body, "actor"), path);
    assert_string_equal(stand_member(&w->st, page.body, "detail"), "orders: forced open");
    assert_int_equal(ask(w, admin[0].access, "GET", "/api/v1/admin/audit-log?type=nothing", NULL), 400);
    assert_int_equal(ask(w, admin[0].access, "GET",
                         "/api/v1/admin/audit-log?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", NULL),
                     400);
}

static void see_keys(struct world *w, const char *names)
{
    struct lane_item *item = lane_item_new(false);
    struct trail_entry *entry = ARENA_NEW(&item->own_arena, struct trail_entry);
    *entry = (struct trail_entry){.type = TRAIL_KEYS, .detail = arena_strdup(&item->own_arena, names)};
    item->verb = &AUTH_KEYS;
    item->args = entry;
    assert_int_equal(lane_submit(w->st.service.lane, item), ERR_OK);
    stand_settle(&w->st);
}

static void keys_are_written_down_when_they_are_others(void **state)
{
    struct world *w = *state;
    static const char *const SEEN[] = {"k1", "k1", "k1 k2", "k1 k2", "k2", "k1"};
    for (size_t i = 0; i < LENGTH_OF(SEEN); i++)
        see_keys(w, SEEN[i]);
    assert_string_equal(stand_text(&w->st, "SELECT string_agg(detail, ', ' ORDER BY at) FROM audit_log WHERE type = "
                                           "'keys.changed' AND actor = 'SYSTEM'"),
                        "k1, k1 k2, k2, k1");
}

static void sessions_that_are_long_over_are_forgotten(void **state)
{
    struct world *w = *state;
    struct tokens old = log_in(w);
    (void)log_in(w);
    (void)refresh(w, old.refresh);
    stand_run(
        &w->st,
        "UPDATE session SET create_date = now() - interval '9 d', idle_date = now() - interval '2 d', expire_date = "
        "now() - interval '2 d' WHERE id IN (SELECT session_id FROM refresh_token WHERE used_date IS NOT NULL) AND "
        "customer_id = %" PRId64,
        w->customer);
    struct lane_item *item = lane_item_new(false);
    item->verb = &AUTH_PRUNE;
    assert_int_equal(lane_submit(w->st.service.lane, item), ERR_OK);
    stand_settle(&w->st);
    assert_int_equal(stand_number(&w->st, "SELECT count(*) FROM session WHERE customer_id = %" PRId64, w->customer), 1);
    assert_int_equal(live_tips(w), 1);
}

/* ---- what it answers for ---- */

static const struct planted PLANTED[] = {
    {"auth_sessions_have_one_tip",
     "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, create_date, "
     "update_date) VALUES (7, 'name7', 'N', 'CUSTOMER', 'ACTIVE', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', true, now(), "
     "now()); INSERT INTO session (id, customer_id, peer, create_date, refresh_date, idle_date, expire_date) VALUES "
     "('01890000-0000-7000-8000-000000000001', 7, '::1', now(), now(), now() + interval '1 h', now() + interval '1 "
     "h'); "
     "INSERT INTO refresh_token (hash, session_id, create_date) VALUES "
     "(lpad('1', 64, 'a'), '01890000-0000-7000-8000-000000000001', now()), "
     "(lpad('2', 64, 'a'), '01890000-0000-7000-8000-000000000001', now())",
     "01890000-0000-7000-8000-000000000001 2"},
    {"auth_users_are_opened",
     "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, create_date, "
     "update_date) VALUES (7, 'name7', 'N', 'CUSTOMER', 'ACTIVE', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', false, now() "
     "- interval '31 s', now())",
     "7 20"},
    {"auth_an_admin_is_active",
     "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, create_date, "
     "update_date) VALUES (7, 'name7', 'N', 'ADMIN', 'DISABLED', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', true, now(), "
     "now()); INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, "
     "create_date, update_date) VALUES (8, 'name8', 'N', 'ADMIN', 'DISABLED', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', "
     "true, now(), now())",
     "2"},
    {"auth_disabled_users_are_logged_out",
     "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, create_date, "
     "update_date) VALUES (7, 'name7', 'N', 'CUSTOMER', 'DISABLED', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', true, "
     "now(), now()); INSERT INTO session (id, customer_id, peer, create_date, refresh_date, idle_date, expire_date) "
     "SELECT ('01890000-0000-7000-8000-0000000000' || lpad(to_hex(s), 2, '0'))::uuid, 7, '::1', now(), now(), now() + "
     "interval '1 h', now() + interval '1 h' FROM generate_series(1, 1) s",
     "01890000-0000-7000-8000-000000000001 7"},
    {"auth_sessions_are_few",
     "INSERT INTO app_user (customer_id, username, full_name, role, status, password_hash, opened, create_date, "
     "update_date) VALUES (7, 'name7', 'N', 'CUSTOMER', 'ACTIVE', '$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA', true, now(), "
     "now()); INSERT INTO session (id, customer_id, peer, create_date, refresh_date, idle_date, expire_date) SELECT "
     "('01890000-0000-7000-8000-0000000000' || lpad(to_hex(s), 2, '0'))::uuid, 7, '::1', now(), now(), now() + "
     "interval '1 h', now() + interval '1 h' FROM generate_series(1, 65) s",
     "7 65"},
    {NULL, NULL, NULL},
};

static const struct http_route ROUTES[] = {AUDIT_ROUTE, {HTTP_GET, NULL, WHO_ANYONE, NULL, 0}};
static void every_statement_can_be_run_the_migrations_add_up_and_each_check_finds_what_it_is_for(void **state)
{
    (void)state;
    struct lane_ops ops = AUTH_SVC_OPS;
    ops.measure = NULL; /* it wants the whole service */
    const struct service_spec spec = {
        .name = "auth-svc",
        .schema = "auth",
        .topic = "auth-events",
        .consumes = AUTH_SVC_CONSUMES,
        .kinds = AUTH_SVC_KINDS,
        .ops = &ops,
        .routes = ROUTES,
        .migrations = AUTH_SVC_MIGRATIONS,
        .checks = AUTH_SVC_CHECKS,
    };
    struct stand *st = mem_alloc(sizeof *st);
    stand_open(st, &spec, "auth_books", "auth");
    assert_statements_are_sound(st, "auth-svc", NULL);
    assert_migrations_add_up(st);
    assert_checks_find(st, PLANTED);
    stand_close(st);
    mem_free(st);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, next_customer, assert_sessions_are_sound)
    const struct CMUnitTest tests[] = {
        STORY(a_refresh_token_is_good_once_and_its_second_use_ends_the_session),
        STORY(every_renewal_gives_another_token_and_all_before_it_are_used),
        STORY(fifty_refreshes_in_one_batch_leave_one_live_tip),
        STORY(fifty_refreshes_at_once_leave_one_live_tip),
        STORY(the_same_key_gives_the_same_successor_again_until_it_is_used),
        STORY(what_is_no_live_refresh_token_is_refused_and_changes_nothing),
        STORY(logging_out_ends_this_session_and_no_other),
        STORY(a_session_is_ended_by_whose_it_is_and_by_nobody_else),
        STORY(a_new_password_ends_all_other_sessions),
        STORY(a_log_in_too_many_ends_the_oldest_session),
        STORY(a_log_in_hashes_a_cheap_password_anew_and_ends_no_session),
        STORY(the_trail_says_who_and_can_not_be_changed),
        STORY(who_is_disabled_or_gets_another_role_is_out_at_once),
        STORY(what_is_no_change_is_refused),
        STORY(the_last_active_admin_stays_one),
        STORY(two_admins_who_demote_each_other_in_one_batch_leave_one),
        STORY(an_admin_makes_users_lists_them_and_ends_their_sessions),
        STORY(a_newcomer_may_set_a_password_and_no_more_until_he_has),
        STORY(admins_read_the_trail_and_the_gateway_writes_into_it),
        STORY(sessions_that_are_long_over_are_forgotten),
        STORY(keys_are_written_down_when_they_are_others),
        STORY(two_admins_who_demote_each_other_by_two_processes_leave_one),
        STORY(a_refresh_whose_commit_is_lost_gives_one_true_answer),
        cmocka_unit_test(every_statement_can_be_run_the_migrations_add_up_and_each_check_finds_what_it_is_for),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
