/* guard.h — how fast passwords may be tried: by account, by address, and over all.
 *
 * For     auth-svc's decision to hear a log-in or to say "later". Pure: no I/O, no clock, no allocation.
 *         A bucket holds failures and loses one every leak_s. Up to `free` of them nothing happens; from there on each one
 *         makes the bucket wait twice as long as the one before, up to wait_max_s. Who is turned away adds nothing, so waiting
 *         always ends; an attempt is counted before its password is looked at, so many at once are no more than one
 *         after another; a right password takes its count back, and empties its account's bucket.
 *         An address from which the account's user has come in before has a bucket of its own for that account: strangers'
 *         guesses do not make him wait.
 * Owns    nothing; buckets belong to the batch.
 * Fails   never. An empty bucket is as good as none.
 */
#ifndef AUTH_SVC_GUARD_H
#define AUTH_SVC_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

enum guard_kind { GUARD_ACCOUNT, GUARD_ADDRESS, GUARD_ALL, GUARD_KINDS };

struct guard_policy {
    int free;
    int leak_ms; /* in which one failure is forgotten */
    int wait_first_s, wait_max_s;
};
extern const struct guard_policy GUARD_POLICIES[GUARD_KINDS];

struct bucket {
    time_us_t empty_date; /* when all failures are forgotten; 0: it holds none */
    time_us_t open_date;  /* until then nobody is heard; 0: open */
};

bool bucket_is_open(const struct bucket *b, time_us_t now);
/* Whole seconds, at least 1, after which it is open. */
int bucket_wait_s(const struct bucket *b, time_us_t now);
/* An attempt that may fail. true: from now on it is shut. */
bool bucket_count(struct bucket *b, const struct guard_policy *p, time_us_t now);
/* The attempt did not fail. */
void bucket_uncount(struct bucket *b, const struct guard_policy *p, time_us_t now);
void bucket_empty(struct bucket *b);

#endif
