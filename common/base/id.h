/* id.h — UUIDs: version 7 (RFC 9562), ordered by time, so that index writes stay local.
 *
 * Owns    nothing.  Threads: any; ids made by one thread are strictly increasing within it.
 * Fails   parse says so; making one ends the process if the kernel gives no random bytes.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct uuid {
    unsigned char bytes[16];
};
enum { UUID_TEXT_MAX = 37 };

struct uuid uuid_v7(void);
struct uuid uuid_random(void);          /* version 4; for ids that must not tell their time */
struct uuid uuid_of_int(int64_t value); /* the number in the last 8 bytes; for maps keyed by uuid */
bool uuid_eq(struct uuid a, struct uuid b);
bool uuid_is_nil(struct uuid a);
int uuid_cmp(struct uuid a, struct uuid b);
void uuid_format(struct uuid id, char ret_text[UUID_TEXT_MAX]);
/* 8-4-4-4-12 hex digits, either case. */
MUST_CHECK bool uuid_parse(struct str text, struct uuid *ret_id);
void id_random_bytes(void *ret, size_t len); /* getrandom */

#endif
