/* http_negotiate.h — what a client says about its request in header values: media types, preferences, keys.
 *
 * Owns    nothing.  Threads: any; pure.  Fails: as each line says.
 */
#ifndef IO_HTTP_NEGOTIATE_H
#define IO_HTTP_NEGOTIATE_H

#include "base/mem.h"
#include "base/str.h"

enum { IDEMPOTENCY_KEY_MIN = 8, IDEMPOTENCY_KEY_MAX = 255, HTTP_WAIT_MAX_S = 3 };

/* RFC 9110 section 12.5.1. May we answer with JSON, or (if it is on offer) CSV? *ret_csv: CSV is what the client likes better. */
MUST_CHECK bool negotiate_accept(struct str accept, bool csv_on_offer, bool *ret_csv);
/* How much a client likes a media type, whose group is "text / *" without the blanks: 0 (not at all) to 1000. */
int negotiate_liking(struct str accept, const char *type, const char *group);
/* application/json, with no parameter but charset=utf-8. */
bool negotiate_is_json(struct str content_type);
/* RFC 7240. *ret_wait_s: as asked, at most HTTP_WAIT_MAX_S, which it is when nothing is asked. */
void negotiate_prefer(struct str prefer, bool *ret_async, int *ret_wait_s);
/* Visible ASCII, quoted or bare: the same key. NULL: it is none. */
const char *negotiate_idempotency_key(struct str value, struct arena *arena);
/* [0-9A-Za-z_-]{8,64} */
bool negotiate_is_request_id(struct str id);

#endif
