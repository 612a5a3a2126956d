#include "support/audit.h"

#include <stdio.h>
#include <string.h>

#include "svc/audit.h"
#include "svc/checks.h"
#include "unit/unit.h"

enum { OPEN_MS = 5000, HOUR_S = 3600, ADMIN_ID = 1, CUSTOMER_ID = 2 };

/* Planted for every service, whatever its own tables. */
static const struct planted EVERYWHERE[] = {
    {"no_event_is_parked",
     "INSERT INTO parked_event (id, topic, partition, record_offset, record_key, type, reason, record, parked_at) "
     "VALUES ('01890000-0000-7000-8000-00000000000a', 'x-events', 2, 77, '1', 'x.y', 'secret', 'secret', now())",
     "x-events 2 77"},
    {"outbox_has_no_gap",
     "INSERT INTO lane (lane, last_seq) VALUES (60, 3); INSERT INTO outbox SELECT 60, s, gen_random_uuid(), 'x', '1', "
     "'x.y', '{}', 0, s, gen_random_uuid(), NULL, now() FROM unnest(ARRAY[1, 3]) s",
     "60 3 0 3 2 3"},
    {"outbox_has_no_gap", "INSERT INTO lane (lane, last_seq) VALUES (61, 5)", "61 5"},
    {"outbox_has_no_gap", "INSERT INTO lane (lane, last_seq, published_upto) VALUES (62, 0, 4)", "62 0 4"},
    {"outbox_partitions_have_no_gap",
     "INSERT INTO lane (lane, last_seq) VALUES (60, 2); INSERT INTO lane_counter VALUES (60, 'x', 0, 3); INSERT INTO "
     "outbox SELECT 60, s, gen_random_uuid(), 'x', '1', 'x.y', '{}', 0, s * 2 - 1, gen_random_uuid(), NULL, now() FROM "
     "unnest(ARRAY[1, 2]) s",
     "60 x 0 3 3 2 3"},
    {"outbox_partitions_have_no_gap",
     "INSERT INTO lane (lane, last_seq) VALUES (60, 1); INSERT INTO outbox VALUES (60, 1, gen_random_uuid(), 'x', '1', "
     "'x.y', '{}', 0, 1, gen_random_uuid(), NULL, now())",
     "60 x 0 null 1"},
    {NULL, NULL, NULL},
};

/* ---- asking one check, on the test's own session ---- */

static const char *found_by(struct db *db, struct arena *arena, const struct audit_check *check, time_us_t since)
{
    struct db_args args = db_args(arena);
    if (strchr(check->stmt.sql, '$') != NULL)
        db_arg_time(&args, since);
    CLEANUP_ROWS struct db_rows *rows = NULL;
    struct fault fault = {.err = ERR_OK};
    if (db_query(db, &check->stmt, &args, &rows, &fault) != ERR_OK)
        fail_msg("%s: %s", check->name, fault.why);
    struct buf text;
    buf_init(&text);
    for (int r = 0; r < db_count(rows); r++) {
        for (int c = 0; c < db_columns(rows); c++)
            buf_printf(&text, "%s%s", c > 0 ? " " : "", db_null(rows, r, c) ? "null" : db_text(rows, r, c));
        buf_str(&text, "\n");
    }
    const char *found = arena_strdup(arena, buf_cstr(&text));
    buf_done(&text);
    return found;
}

static void run(struct db *db, const char *sql)
{
    struct fault fault = {.err = ERR_OK};
    if (db_run(db, sql, &fault) != ERR_OK)
        fail_msg("%s: %s", sql, fault.why);
}

static const struct audit_check *find_check(const struct audit_check *table, const char *name)
{
    for (; table != NULL && table->name != NULL; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

static bool is_planted(const struct planted *planted, const char *check)
{
    for (; planted->check != NULL; planted++)
        if (strcmp(planted->check, check) == 0)
            return true;
    return false;
}

static const time_us_t *scopes(void)
{
    static time_us_t since[2];
    since[1] = clock_now_us() - HOUR_S * US_PER_S;
    return since;
}

static void assert_table_is_silent(struct db *db, struct arena *arena, const struct audit_check *table,
                                   const struct planted *planted)
{
    for (const struct audit_check *check = table; check != NULL && check->name != NULL; check++) {
        for (int i = 0; i < 2; i++) {
            const char *found = found_by(db, arena, check, scopes()[i]);
            if (*found != '\0')
                fail_msg("%s finds, where nothing is wrong:\n%s", check->name, found);
        }
        if (!is_planted(planted, check->name))
            fail_msg("%s is shown nothing that it must find", check->name);
    }
}

static void assert_found(struct db *db, struct arena *arena, const struct audit_check *table, const struct planted *p)
{
    const struct audit_check *check = find_check(table, p->check);
    if (check == NULL)
        fail_msg("there is no check %s", p->check);
    run(db, "BEGIN");
    run(db, p->sql);
    for (int i = 0; i < 2; i++) {
        const char *found = found_by(db, arena, check, scopes()[i]);
        if (strstr(found, p->tells) == NULL)
            fail_msg("%s does not find (scope %d) \"%s\", planted by %s, but:\n%s", check->name, i, p->tells, p->sql,
                     found);
        assert_null(strstr(found, "secret"));
    }
    run(db, "ROLLBACK");
}

static void assert_one_at_a_time(struct stand *st)
{
    const struct ask admin = {.method = "GET", .path = AUDIT_PATH, .customer_id = ADMIN_ID, .admin = true};
    atomic_store(&st->service.auditing, true);
    assert_int_equal(stand_ask(st, &admin).status, 503);
    atomic_store(&st->service.auditing, false);
    assert_int_equal(stand_ask(st, &admin).status, 200);
}

void assert_checks_find(struct stand *st, const struct planted *planted)
{
    const struct audit_check *own = st->service.spec->checks;
    const struct db_conf conf = scratch_conf(&st->s, DB_PLAN_OWNER, "test");
    struct fault fault = {.err = ERR_OK};
    struct db *db = NULL;
    if (db_open(&conf, OPEN_MS, &db, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    assert_table_is_silent(db, &st->arena, own, planted);
    assert_table_is_silent(db, &st->arena, SVC_CHECKS, EVERYWHERE);
    for (const struct planted *p = planted; p->check != NULL; p++)
        assert_found(db, &st->arena, own, p);
    for (const struct planted *p = EVERYWHERE; p->check != NULL; p++)
        assert_found(db, &st->arena, SVC_CHECKS, p);
    db_close(db);

    char parked[64];
    snprintf(parked, sizeof parked, "%s_no_event_is_parked", st->service.spec->schema);
    assert_audit_answers(st, NULL, NULL);
    stand_run(st, "%s", EVERYWHERE[0].sql);
    assert_audit_answers(st, parked, "topic=x-events partition=2 record_offset=77");
    stand_run(st, "DELETE FROM parked_event");
    assert_one_at_a_time(st);
}

/* ---- the answer ---- */

void assert_audit_answers(struct stand *st, const char *check, const char *tells)
{
    const struct ask nobody = {.method = "GET", .path = AUDIT_PATH};
    const struct ask customer = {.method = "GET", .path = AUDIT_PATH, .customer_id = CUSTOMER_ID};
    const struct ask admin = {.method = "GET", .path = AUDIT_PATH, .customer_id = ADMIN_ID, .admin = true};
    assert_int_equal(stand_ask(st, &nobody).status, 401);
    assert_int_equal(stand_ask(st, &customer).status, 403);
    struct answer a = stand_ask(st, &admin);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"checkedAt\":\"20"));
    if (check == NULL) {
        if (strstr(a.body, "\"clean\":true") == NULL || strstr(a.body, "\"ok\":false") != NULL)
            fail_msg("not clean: %s", a.body);
        return;
    }
    char named[128];
    snprintf(named, sizeof named, "{\"name\":\"%s\",\"ok\":false,\"detail\":\"", check);
    const char *at = strstr(a.body, named);
    if (strstr(a.body, "\"clean\":false") == NULL || at == NULL || strstr(at, tells) == NULL)
        fail_msg("%s does not tell of %s: %s", check, tells, a.body);
    assert_null(strstr(a.body, "secret"));
}
