/* revocations.h against a real Kafka: what auth-svc says there, a verifier of another process knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "events/session_event.h"
#include "support/kafka_end.h"
#include "support/scratch.h"
#include "svc/event.h"
#include "svc/revocations.h"

enum { PARTITIONS = 3, OPEN_MS = 20000, WAIT_MS = 20000, KNOWN_WITHIN_MS = 1000, POINT_SIZE = 65 };

struct world {
    struct scratch s;
    struct arena arena;
    char topic[32], folder[64];
    struct token_verifier *verifier;
    struct token_signer *signer;
    struct kafka_producer *producer;
    struct revocations *revocations;
};

/* ---- keys and tokens ---- */

static const char *path_of(struct world *w, const char *name)
{
    return arena_printf(&w->arena, "%s/%s", w->folder, name);
}

static FILE *file_new(struct world *w, const char *name)
{
    FILE *f = fopen(path_of(w, name), "w");
    assert_non_null(f);
    return f;
}

static void keys_write(struct world *w)
{
    unsigned char point[POINT_SIZE];
    size_t len;
    char x[48], y[48];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_int_equal(mkdir(path_of(w, "keys"), 0700), 0);
    FILE *f = file_new(w, "keys/k1.pem");
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof point, &len), 1);
    EVP_PKEY_free(key);
    str_base64url_encode(point + 1, 32, x);
    str_base64url_encode(point + 33, 32, y);
    f = file_new(w, "jwks.json");
    fprintf(f, "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k1\",\"x\":\"%s\",\"y\":\"%s\"}]}", x, y);
    fclose(f);
}

static const char *token_new(struct world *w, struct uuid sid)
{
    int64_t now_s = clock_now_us() / US_PER_S;
    struct token_claims claims = {.customer_id = 17, .sid = sid, .iat = now_s, .exp = now_s + TOKEN_LIFE_S};
    char *token = NULL;
    assert_int_equal(token_sign(w->signer, &claims, &w->arena, &token, NULL), ERR_OK);
    return token;
}

static bool is_taken(struct world *w, const char *token)
{
    struct token_claims claims;
    return token_verify(w->verifier, str_of(token), clock_now_us() / US_PER_S, &claims, NULL) == ERR_OK;
}

struct asking {
    struct world *w;
    const char *token;
};

static bool is_refused(void *arg)
{
    const struct asking *a = arg;
    return !is_taken(a->w, a->token);
}

static void assert_refused_within(struct world *w, const char *token, int timeout_ms)
{
    assert_true(scratch_await(is_refused, &(struct asking){w, token}, timeout_ms));
}

/* ---- the world ---- */

static void topic_make(struct world *w)
{
    char id[32];
    const char *const topics[] = {w->topic};
    struct fault fault = {.err = ERR_OK};
    scratch_topic(&w->s, w->topic, PARTITIONS);
    snprintf(id, sizeof id, "test.%s", w->s.run);
    if (kafka_producer_open(&w->s.kafka, id, topics, 1, OPEN_MS, &w->producer, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

/* A process that starts: nothing is known to its verifier. */
static void revocations_begin(struct world *w, const char *brokers)
{
    struct fault fault = {.err = ERR_OK};
    if (token_verifier_open(path_of(w, "jwks.json"), 64, &w->verifier, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    w->s.metrics = metrics_new();
    const struct revocations_conf conf = {.kafka = {.brokers = brokers, .client_id = "test_revocations"},
                                          .topic = w->topic,
                                          .verifier = w->verifier,
                                          .log = w->s.log,
                                          .metrics = w->s.metrics};
    if (revocations_open(&conf, &w->revocations, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static void revocations_end(struct world *w)
{
    revocations_close(w->revocations);
    w->revocations = NULL;
    token_verifier_close(w->verifier);
    w->verifier = NULL;
    metrics_free(w->s.metrics);
    w->s.metrics = NULL;
}

static int set_up_bare(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    arena_init(&w->arena);
    scratch_open_kafka(&w->s);
    metrics_free(w->s.metrics);
    w->s.metrics = NULL;
    snprintf(w->topic, sizeof w->topic, "%s-auth", w->s.run);
    snprintf(w->folder, sizeof w->folder, "/tmp/test_revocations_XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    keys_write(w);
    assert_int_equal(token_signer_open(path_of(w, "keys"), &w->signer, NULL), ERR_OK);
    *state = w;
    return 0;
}

static int set_up(void **state)
{
    set_up_bare(state);
    topic_make(*state);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    static const char *const FILES[] = {"keys/k1.pem", "jwks.json"};
    revocations_end(w);
    kafka_producer_drop(w->producer);
    token_signer_close(w->signer);
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++)
        (void)unlink(path_of(w, FILES[i]));
    (void)rmdir(path_of(w, "keys"));
    (void)rmdir(w->folder);
    w->s.metrics = metrics_new();
    scratch_close(&w->s);
    arena_done(&w->arena);
    mem_free(w);
    return 0;
}

/* ---- what auth-svc says ---- */

static void put(struct world *w, int partition, struct str value)
{
    const struct kafka_record r = {
        .topic = w->topic, .partition = partition, .key = STR("17"), .value = value, .id = "i"};
    assert_int_equal(kafka_txn_produce(w->producer, &r, NULL), ERR_OK);
}

static void put_revoked(struct world *w, int partition, const struct uuid *sids, size_t count, time_us_t at)
{
    struct event e = {.id = uuid_v7(),
                      .source = "auth-svc",
                      .type = "session.revoked",
                      .time = at,
                      .lane = 1,
                      .partition = partition,
                      .part_seq = 1,
                      .epoch = uuid_v7()};
    struct buf data, text;
    buf_init(&data);
    buf_init(&text);
    session_revoked_encode(
        &data,
        &(struct session_revoked){.customer_id = 17, .sids = sids, .sid_count = count, .reason = "logout", .at = at});
    event_encode(&text, &e, (struct str){data.data, data.len});
    put(w, partition, (struct str){text.data, text.len});
    buf_done(&data);
    buf_done(&text);
}

static void begin(struct world *w)
{
    assert_int_equal(kafka_txn_begin(w->producer, NULL), ERR_OK);
}

static void commit(struct world *w)
{
    bool fenced;
    struct fault fault = {.err = ERR_OK};
    if (kafka_txn_commit(w->producer, w->s.run, w->topic, 0, "", &fenced, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

static void session_end_at(struct world *w, int partition, struct uuid sid, time_us_t at)
{
    begin(w);
    put_revoked(w, partition, &sid, 1, at);
    commit(w);
}

static void session_end(struct world *w, int partition, struct uuid sid)
{
    session_end_at(w, partition, sid, clock_now_us());
}

static void assert_state(struct world *w, bool current, const char *starts)
{
    char state[160];
    assert_true(revocations_state(w->revocations, state, sizeof state) == current);
    if (!str_starts(state, starts))
        fail_msg("it says: %s", state);
}

/* ---- the stories ---- */

static void a_session_that_ends_is_refused_within_a_second(void **state)
{
    struct world *w = *state;
    revocations_begin(w, w->s.kafka.brokers);
    assert_true(revocations_await(w->revocations, WAIT_MS));
    for (int p = 0; p < PARTITIONS; p++) {
        struct uuid sid = uuid_v7();
        const char *token = token_new(w, sid), *other = token_new(w, uuid_v7());
        assert_true(is_taken(w, token)); /* and is remembered */
        session_end(w, p, sid);
        assert_refused_within(w, token, KNOWN_WITHIN_MS);
        assert_true(is_taken(w, other));
    }
    assert_true(scratch_metric(w->s.metrics, "revocations_total") == PARTITIONS);
    assert_true(scratch_metric(w->s.metrics, "revocation_delay_seconds_bucket{le=\"1\"}") == PARTITIONS);
}

static void all_sessions_of_one_event_are_refused(void **state)
{
    struct world *w = *state;
    struct uuid sids[SESSION_REVOKED_SIDS_MAX];
    const char *tokens[SESSION_REVOKED_SIDS_MAX];
    revocations_begin(w, w->s.kafka.brokers);
    for (int i = 0; i < SESSION_REVOKED_SIDS_MAX; i++) {
        sids[i] = uuid_v7();
        tokens[i] = token_new(w, sids[i]);
        assert_true(is_taken(w, tokens[i]));
    }
    begin(w);
    put_revoked(w, 0, sids, SESSION_REVOKED_SIDS_MAX, clock_now_us());
    commit(w);
    for (int i = 0; i < SESSION_REVOKED_SIDS_MAX; i++)
        assert_refused_within(w, tokens[i], WAIT_MS);
}

static void a_process_that_starts_anew_knows_what_ended_before(void **state)
{
    struct world *w = *state;
    struct uuid sid = uuid_v7();
    const char *token = token_new(w, sid);
    session_end(w, 1, sid);
    for (int start = 0; start < 2; start++) {
        revocations_begin(w, w->s.kafka.brokers);
        assert_true(revocations_await(w->revocations, WAIT_MS));
        assert_state(w, true, "current");
        assert_false(is_taken(w, token));
        revocations_end(w);
    }
}

static void what_ended_longer_ago_than_a_token_lives_takes_no_place(void **state)
{
    struct world *w = *state;
    struct uuid long_ago = uuid_v7(), just_so = uuid_v7();
    time_us_t now = clock_now_us(), life = (TOKEN_LIFE_S + TOKEN_LEEWAY_S) * US_PER_S;
    const char *token = token_new(w, long_ago), *other = token_new(w, just_so);
    session_end_at(w, 0, long_ago, now - life - 5 * US_PER_S);
    session_end_at(w, 0, just_so, now - life + 60 * US_PER_S);
    revocations_begin(w, w->s.kafka.brokers);
    assert_true(revocations_await(w->revocations, WAIT_MS));
    assert_false(is_taken(w, other));
    assert_true(is_taken(w, token));
}

static void what_is_not_committed_ends_no_session(void **state)
{
    struct world *w = *state;
    struct uuid dropped = uuid_v7(), committed = uuid_v7();
    const char *token = token_new(w, dropped), *other = token_new(w, committed);
    revocations_begin(w, w->s.kafka.brokers);
    begin(w);
    put_revoked(w, 0, &dropped, 1, clock_now_us());
    kafka_producer_drop(w->producer);
    topic_make(w); /* fences it, which ends its transaction */
    session_end(w, 0, committed);
    assert_refused_within(w, other, WAIT_MS); /* stands behind it in the same partition */
    assert_true(is_taken(w, token));
}

static void records_that_can_t_be_read_are_passed_over(void **state)
{
    struct world *w = *state;
    static const char *const RECORDS[] = {"", "no json", "{\"type\":\"session.revoked\"}", "[]"};
    struct uuid sid = uuid_v7();
    const char *token = token_new(w, sid);
    revocations_begin(w, w->s.kafka.brokers);
    begin(w);
    for (size_t i = 0; i < sizeof RECORDS / sizeof RECORDS[0]; i++)
        put(w, 0, str_of(RECORDS[i]));
    put_revoked(w, 0, &sid, 1, clock_now_us());
    commit(w);
    assert_refused_within(w, token, WAIT_MS);
    assert_true(scratch_metric(w->s.metrics, "revocations_unreadable_total") == 4);
}

static void without_kafka_it_is_behind_and_says_so_and_catches_up_by_itself(void **state)
{
    struct world *w = *state;
    struct uuid sid = uuid_v7();
    const char *token = token_new(w, sid);
    struct door *door = door_new(w->s.kafka.brokers);
    session_end(w, 2, sid);
    revocations_begin(w, door_address(door));
    assert_false(revocations_await(w->revocations, 1500));
    assert_state(w, false, "behind: ");
    assert_true(scratch_metric(w->s.metrics, "revocations_behind") == 1);
    assert_true(is_taken(w, token)); /* that is what behind means */

    door_open(door);
    assert_true(revocations_await(w->revocations, WAIT_MS));
    assert_false(is_taken(w, token));
    assert_true(scratch_metric(w->s.metrics, "revocations_behind") == 0);
    revocations_end(w);
    door_free(door);
}

static void a_topic_that_comes_later_is_read_from_its_beginning(void **state)
{
    struct world *w = *state;
    struct uuid sid = uuid_v7();
    const char *token = token_new(w, sid);
    revocations_begin(w, w->s.kafka.brokers);
    assert_true(revocations_await(w->revocations, WAIT_MS)); /* nobody has ever been logged out */
    topic_make(w);
    session_end(w, 0, sid);
    assert_refused_within(w, token, WAIT_MS);
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORY(a_session_that_ends_is_refused_within_a_second),
        STORY(all_sessions_of_one_event_are_refused),
        STORY(a_process_that_starts_anew_knows_what_ended_before),
        STORY(what_ended_longer_ago_than_a_token_lives_takes_no_place),
        STORY(what_is_not_committed_ends_no_session),
        STORY(records_that_can_t_be_read_are_passed_over),
        STORY(without_kafka_it_is_behind_and_says_so_and_catches_up_by_itself),
        cmocka_unit_test_setup_teardown(a_topic_that_comes_later_is_read_from_its_beginning, set_up_bare, tear_down),
    };
    return cmocka_run_group_tests_name("revocations", tests, NULL, await_kafka_handles);
}
