/* token_denied.h — sessions whose tokens are refused though they have not expired.
 *
 * For     token.c, at every verification: asking takes no lock and costs a few nanoseconds. A session is remembered for as
 *         long as a token of it can live. When there is no room left, nobody is let in by it: then whatever was issued up to
 *         that moment is refused, whoever's it is, and clients renew.
 * Owns    a table of DENIED_MAX places, made once.
 * Threads denied_has: any. denied_add: any, one at a time inside.
 * Fails   never.
 */
#ifndef IO_TOKEN_DENIED_H
#define IO_TOKEN_DENIED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"

/* 1 MiB. Half of it is sure to find room: fifty log-outs a second for as long as tokens live. */
enum { DENIED_MAX = 64 * 1024 };

struct denied;
struct denied *denied_new(void);
void denied_free(struct denied *d); /* NULL is fine */
/* What ended before now_s gives its place up. */
void denied_add(struct denied *d, struct uuid sid, int64_t until_s, int64_t now_s);
/* iat: when the token in question was issued. */
bool denied_has(const struct denied *d, struct uuid sid, int64_t iat, int64_t now_s);
/* Whatever was issued up to then is refused; 0: nothing is for that reason. */
int64_t denied_floor(const struct denied *d);

#endif
