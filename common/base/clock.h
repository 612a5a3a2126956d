/* clock.h — the two clocks, and RFC 3339 text.
 *
 * For     deadlines (monotonic) and timestamps (wall). Never mix: a stepped wall clock must not move a deadline.
 * Owns    nothing.  Threads: any.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

typedef int64_t time_us_t; /* microseconds since 1970-01-01T00:00:00Z */
typedef int64_t mono_ns_t; /* nanoseconds of CLOCK_MONOTONIC */

enum { CLOCK_TEXT_MAX = 32 };
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define US_PER_S INT64_C(1000000)

time_us_t clock_now_us(void);
mono_ns_t clock_mono_ns(void);
/* "2026-11-24T18:58:08.123456Z", always six fractional digits. */
void clock_format(time_us_t t, char ret_text[CLOCK_TEXT_MAX]);
void clock_append(struct buf *b, time_us_t t);
/* RFC 3339 with 'T' (or a space, as PostgreSQL prints it), 0 to 6 fractional digits, and "Z", "+hh:mm", "-hh:mm" or
 * PostgreSQL's "+hh". Dates that don't exist, leap seconds and years outside 1970..9999 are refused. */
MUST_CHECK bool clock_parse(struct str text, time_us_t *ret_time);

#endif
