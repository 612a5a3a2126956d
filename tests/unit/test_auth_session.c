#include "auth-svc/session.h"

#include "unit.h"

#define S US_PER_S
#define T0 (1000000 * S)

static struct session begun(time_us_t at)
{
    struct session s = {.customer_id = 1};
    session_begin(&s, at);
    return s;
}

static void a_session_lives_until_it_idles_expires_or_is_ended(void **state)
{
    (void)state;
    static const struct {
        time_us_t renewed, revoked, now;
        bool live;
        const char *why;
    } ROWS[] = {
        {0, 0, T0, true, "just begun"},
        {0, 0, T0 + SESSION_IDLE_S * S - 1, true, "the last moment without a renewal"},
        {0, 0, T0 + SESSION_IDLE_S * S, false, "too long without one"},
        {T0 + 3600 * S, 0, T0 + SESSION_IDLE_S * S, true, "it was renewed"},
        {T0 + (SESSION_LIFE_S - 60) * S, 0, T0 + SESSION_LIFE_S * S - 1, true, "the last moment of its life"},
        {T0 + (SESSION_LIFE_S - 60) * S, 0, T0 + SESSION_LIFE_S * S, false, "no renewal goes beyond its life"},
        {0, T0 + 1, T0 + 2, false, "it was ended"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct session s = begun(T0);
        if (ROWS[i].renewed)
            session_renew(&s, ROWS[i].renewed);
        s.revoke_date = ROWS[i].revoked;
        ROW_CHECK(session_is_live(&s, ROWS[i].now) == ROWS[i].live, ROWS[i].why);
        ROW_CHECK(s.idle_date <= s.expire_date, ROWS[i].why);
    }
}

static void a_used_token_is_repeated_to_who_asks_at_the_same_time_and_else_is_reuse(void **state)
{
    (void)state;
    enum { GATHER = REFRESH_GATHER_MS * 1000 };
    static const time_us_t AGAIN = REFRESH_REPEAT_S * S;
    static const struct {
        time_us_t used, renewed_last, arrived;
        const char *used_key, *key;
        enum refresh_verdict verdict;
        const char *why;
    } ROWS[] = {
        {0, T0, T0 + 5 * S, NULL, NULL, REFRESH_RENEW, "it was never used"},
        {0, T0, T0 + 5 * S, NULL, "k", REFRESH_RENEW, "nor so with a key"},
        {T0, T0, T0 - 1, NULL, NULL, REFRESH_REPEAT, "on its way before the first was done"},
        {T0, T0, T0 + GATHER, NULL, NULL, REFRESH_REPEAT, "no answer can have been seen yet"},
        {T0, T0, T0 + GATHER + 1, NULL, NULL, REFRESH_REUSED, "somebody may have the successor"},
        {T0, T0, T0 + GATHER + 1, "k", "k", REFRESH_REPEAT, "the same request once more"},
        {T0, T0, T0 + AGAIN, "k", "k", REFRESH_REPEAT, "for ten seconds"},
        {T0, T0, T0 + AGAIN + 1, "k", "k", REFRESH_REUSED, "and not longer"},
        {T0, T0, T0 + GATHER + 1, "k", "l", REFRESH_REUSED, "another key"},
        {T0, T0, T0 + GATHER + 1, "k", NULL, REFRESH_REUSED, "the key is missing"},
        {T0, T0, T0 + GATHER + 1, NULL, "k", REFRESH_REUSED, "the first had none"},
        {T0, T0 + 1, T0 + 2, "k", "k", REFRESH_REUSED, "its successor was used: its owner has it"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct session s = begun(ROWS[i].renewed_last);
        struct refresh_token t = {.used_date = ROWS[i].used, .repeat_key = ROWS[i].used_key};
        ROW_CHECK(refresh_judge(&t, &s, ROWS[i].arrived, ROWS[i].key) == ROWS[i].verdict, ROWS[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_lives_until_it_idles_expires_or_is_ended),
        cmocka_unit_test(a_used_token_is_repeated_to_who_asks_at_the_same_time_and_else_is_reuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
