/* str.h — small things about strings that libc lacks.
 *
 * For     parsers of outside text.  Owns nothing.  Threads: any.  Fails: as each line says.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct str { /* a piece of somebody else's bytes, not NUL-terminated */
    const char *data;
    size_t len;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
/* The same in a static table, where ISO C wants no compound literal. */
/* clang-format off */
#define STR_INIT(lit) {(lit), sizeof(lit) - 1}
/* clang-format on */

struct str str_of(const char *s); /* NULL gives the empty piece */
bool str_eq(struct str a, const char *b);
bool str_eq_nocase(struct str a, const char *b);
bool str_starts(const char *s, const char *prefix);
struct str str_trim(struct str s); /* spaces and tabs off both ends */

/* Plain decimal integer, optional '-', no spaces, no '+', no leading zeros but "0", no "-0". false: not one, or overflow. */
MUST_CHECK bool str_to_i64(struct str s, int64_t *ret_value);
/* Whole text is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). On failure *ret_at is
 * where the first malformed sequence starts. */
MUST_CHECK bool str_is_utf8(struct str s, size_t *ret_at);
/* Equal in constant time for equal lengths; for secrets. */
bool str_eq_secret(struct str a, struct str b);
/* Unpadded base64url (RFC 4648 section 5), strict: no padding, no other bytes, canonical last character.
 * ret needs 3/4 of s.len rounded up. */
MUST_CHECK bool str_base64url_decode(struct str s, unsigned char *ret, size_t ret_cap, size_t *ret_len);
/* ret needs (4 * len + 2) / 3 + 1 bytes; NUL-terminated. */
void str_base64url_encode(const void *data, size_t len, char *ret);
/* Copies at most cap - 1 bytes, always terminates. false: it did not fit. */
bool str_copy(char *ret, size_t cap, struct str s);

#endif
