/* members.h — takes named members out of a JSON object as the bytes that they are.
 *
 * For     aggregate.c: a service's list goes to the client as the service wrote it, not parsed into a tree and written again.
 *         The whole text is checked all the same (RFC 8259, UTF-8, depth <= JSON_DEPTH_MAX): what is put into an answer of
 *         ours must not break it.
 * Owns    nothing: values point into the text.
 * Threads any; pure.
 * Fails   false with a constant phrase.
 */
#ifndef GATEWAY_MEMBERS_H
#define GATEWAY_MEMBERS_H

#include <stdbool.h>

#include "base/str.h"

struct member {
    const char *name;
    struct str value; /* without blanks around it; data NULL: absent */
};
/* `text` must be an object. A name of it that is there twice, or that is written with escapes, is refused. Fills the values of
 * wanted[0..count). */
MUST_CHECK bool members_take(struct str text, struct member *wanted, size_t count, const char **ret_why);
/* Of a value that members_take gave. */
bool member_is_array(struct str value);
/* What stands between the brackets of an array, without blanks around it; empty: nothing. */
struct str member_inside(struct str array);

#endif
