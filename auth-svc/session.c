#include "session.h"

#include <string.h>

static time_us_t sooner(time_us_t a, time_us_t b)
{
    return a < b ? a : b;
}

void session_begin(struct session *s, time_us_t now)
{
    s->create_date = now;
    s->expire_date = now + SESSION_LIFE_S * US_PER_S;
    session_renew(s, now);
}

void session_renew(struct session *s, time_us_t now)
{
    s->refresh_date = now;
    s->idle_date = sooner(now + SESSION_IDLE_S * US_PER_S, s->expire_date);
}

bool session_is_live(const struct session *s, time_us_t now)
{
    return s->revoke_date == 0 && now < s->idle_date && now < s->expire_date;
}

time_us_t refresh_answer_date(const struct refresh_token *t)
{
    return t->used_date + REFRESH_GATHER_MS * (US_PER_S / 1000);
}

/* No answer left before refresh_answer_date: who came until then can't have had one, so he is no second user but a second
 * request of the first, or of two who share the token and get the same. Only the latest token's predecessor is repeated: when
 * its successor was used, its owner has it. */
enum refresh_verdict refresh_judge(const struct refresh_token *t, const struct session *s, time_us_t arrived,
                                   const char *repeat_key)
{
    if (t->used_date == 0)
        return REFRESH_RENEW;
    if (t->used_date != s->refresh_date)
        return REFRESH_REUSED;
    if (arrived <= refresh_answer_date(t))
        return REFRESH_REPEAT;
    bool same_key = repeat_key != NULL && t->repeat_key != NULL && strcmp(repeat_key, t->repeat_key) == 0;
    return same_key && arrived <= t->used_date + REFRESH_REPEAT_S * US_PER_S ? REFRESH_REPEAT : REFRESH_REUSED;
}
