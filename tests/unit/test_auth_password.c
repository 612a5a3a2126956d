#include "auth-svc/password.h"

#include <regex.h>
#include <string.h>

#include "unit.h"

/* The least that libsodium takes: these tests are about what is said, not about how long it takes. */
static const struct password_cost CHEAP = {.memory_kib = 8, .passes = 1};

static void another_password_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *password, *why;
    } ROWS[] = {
        {"", "none"},
        {"tall-green-kettl", "one character less"},
        {"tall-green-kettle ", "one more"},
        {"Tall-green-kettle", "a capital"},
        {"tall-green-kettla", "another last character"},
    };
    char hash[PASSWORD_HASH_MAX];
    struct fault fault;
    assert_int_equal(password_hash(CHEAP, "tall-green-kettle", hash, &fault), ERR_OK);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        ROW_CHECK(password_verify(hash, ROWS[i].password, &fault) == ERR_BAD_CREDENTIALS, ROWS[i].why);
    assert_int_equal(password_verify(hash, "tall-green-kettle", &fault), ERR_OK);
}

static void a_damaged_hash_is_no_wrong_password(void **state)
{
    (void)state;
    struct fault fault;
    assert_int_equal(password_verify("$argon2id$v=19$m=8,t=1,p=1$!!$!!", "tall-green-kettle", &fault), ERR_BUSY);
    assert_null(strstr(fault.why, "kettle"));
}

static void too_little_memory_is_told_and_not_a_wrong_password(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_MAX];
    struct fault fault;
    const struct password_cost HUGE_COST = {.memory_kib = (size_t)4 << 30, .passes = 1};
    assert_int_equal(password_hash(HUGE_COST, "tall-green-kettle", hash, &fault), ERR_BUSY);
}

static void the_same_password_has_another_hash_each_time(void **state)
{
    (void)state;
    char a[PASSWORD_HASH_MAX], b[PASSWORD_HASH_MAX];
    assert_int_equal(password_hash(CHEAP, "tall-green-kettle", a, NULL), ERR_OK);
    assert_int_equal(password_hash(CHEAP, "tall-green-kettle", b, NULL), ERR_OK);
    assert_string_not_equal(a, b);
}

/* As the schema's CHECK and the house's rule say it. */
static void assert_is_phc(const char *hash)
{
    regex_t re;
    assert_int_equal(regcomp(&re, "^\\$argon2id\\$v=19\\$m=19456,t=2,p=1\\$[A-Za-z0-9+/]{22}\\$[A-Za-z0-9+/]{43}$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(regexec(&re, hash, 0, NULL, 0), 0);
    regfree(&re);
}

static void the_default_cost_gives_the_form_that_the_schema_wants(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_MAX];
    const struct password_cost DEFAULT = {.memory_kib = 19456, .passes = 2};
    assert_int_equal(password_hash(DEFAULT, "tall-green-kettle", hash, NULL), ERR_OK);
    assert_is_phc(hash);
    password_hash_of_nobody(DEFAULT, hash);
    assert_is_phc(hash);
}

static void nobody_has_a_hash_that_is_computed_and_never_met(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_MAX];
    struct fault fault;
    password_hash_of_nobody(CHEAP, hash);
    assert_int_equal(password_verify(hash, "tall-green-kettle", &fault), ERR_BAD_CREDENTIALS);
    assert_int_equal(password_verify(hash, "", &fault), ERR_BAD_CREDENTIALS);
}

static void refresh_tokens_differ_and_are_kept_as_sha256(void **state)
{
    (void)state;
    char a[REFRESH_TOKEN_MAX], b[REFRESH_TOKEN_MAX], hash_a[REFRESH_HASH_MAX], hash_b[REFRESH_HASH_MAX],
        again[REFRESH_HASH_MAX];
    refresh_token_new(a, hash_a);
    refresh_token_new(b, hash_b);
    assert_int_equal(strlen(a), 43);
    assert_string_not_equal(a, b);
    assert_string_not_equal(hash_a, hash_b);
    refresh_token_hash(a, again);
    assert_string_equal(hash_a, again);
    refresh_token_hash("abc", again); /* FIPS 180-2, appendix B.1 */
    assert_string_equal(again, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void a_sealed_successor_is_opened_by_its_token_and_by_no_other(void **state)
{
    (void)state;
    char token[REFRESH_TOKEN_MAX], other[REFRESH_TOKEN_MAX], next[REFRESH_TOKEN_MAX], hash[REFRESH_HASH_MAX],
        sealed[REFRESH_TOKEN_MAX], opened[REFRESH_TOKEN_MAX];
    refresh_token_new(token, hash);
    refresh_token_new(other, hash);
    refresh_token_new(next, hash);
    assert_true(refresh_token_seal(token, next, sealed));
    assert_string_not_equal(sealed, next);
    assert_true(refresh_token_seal(token, sealed, opened));
    assert_string_equal(opened, next);
    assert_true(refresh_token_seal(other, sealed, opened));
    assert_string_not_equal(opened, next);
    assert_false(refresh_token_seal("short", next, sealed));
    assert_false(refresh_token_seal(token, "short", sealed));
}

static void a_hash_is_cheap_when_either_cost_has_risen(void **state)
{
    (void)state;
    static const struct {
        const char *hash;
        bool cheap;
        const char *why;
    } ROWS[] = {
        {"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", false, "as today"},
        {"$argon2id$v=19$m=19455,t=2,p=1$c2FsdA$aGFzaA", true, "less memory"},
        {"$argon2id$v=19$m=19456,t=1,p=1$c2FsdA$aGFzaA", true, "fewer passes"},
        {"$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA", false, "dearer than today's: left alone"},
        {"$argon2i$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA", true, "another algorithm"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        ROW_CHECK(password_is_cheap(ROWS[i].hash, (struct password_cost){19456, 2}) == ROWS[i].cheap, ROWS[i].why);
}

static int start(void **state)
{
    (void)state;
    return password_start(NULL) == ERR_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_password_is_refused),
        cmocka_unit_test(a_damaged_hash_is_no_wrong_password),
        cmocka_unit_test(too_little_memory_is_told_and_not_a_wrong_password),
        cmocka_unit_test(the_same_password_has_another_hash_each_time),
        cmocka_unit_test(the_default_cost_gives_the_form_that_the_schema_wants),
        cmocka_unit_test(nobody_has_a_hash_that_is_computed_and_never_met),
        cmocka_unit_test(refresh_tokens_differ_and_are_kept_as_sha256),
        cmocka_unit_test(a_sealed_successor_is_opened_by_its_token_and_by_no_other),
        cmocka_unit_test(a_hash_is_cheap_when_either_cost_has_risen),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
