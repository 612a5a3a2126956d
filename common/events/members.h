/* members.h — what an event's data may hold, as a table: one table writes and reads it.
 *
 * For     the event files of this folder. Members not in the table are passed over, so that a newer sender may say more.
 * Owns    nothing; decoded text lives in the arena.
 * Threads any; tables are const.
 * Fails   members_get: ERR_INVALID naming the member ("order.house.size: must be …"); *ret is then half filled.
 *         members_put asserts that what must be there is there.
 */
#ifndef EVENTS_MEMBERS_H
#define EVENTS_MEMBERS_H

#include <stddef.h>

#include "base/mem.h"
#include "io/json.h"

enum { MEMBER_TEXT_MAX = 1024, MEMBER_PATH_MAX = 64 };

enum member_kind {
    MEMBER_UUID,             /* struct uuid, not nil */
    MEMBER_UUID_OR_NULL,     /* struct uuid; nil when null or absent */
    MEMBER_ID,               /* int64_t > 0: a customer, a version */
    MEMBER_SEQUENCE,         /* int64_t >= 0 */
    MEMBER_SEQUENCE_OR_NULL, /* int64_t >= 0; 0 when null or absent */
    MEMBER_INT,              /* int >= 0 */
    MEMBER_DECIMAL,          /* decimal_t >= 0, a string */
    MEMBER_DECIMAL_OR_NULL,  /* decimal_t >= 0, a string; -1 when null or absent */
    MEMBER_AMOUNT,           /* decimal_t > 0, a string */
    MEMBER_TEXT,             /* const char *, 1..MEMBER_TEXT_MAX bytes */
    MEMBER_TEXT_OR_NULL,     /* const char *; NULL when null or absent */
    MEMBER_CHOICE,           /* an enum: the index into `choices` */
    MEMBER_TIME,             /* time_us_t, RFC 3339 */
    MEMBER_OBJECT,           /* a struct with a table of its own */
};
struct member {
    const char *name;
    enum member_kind kind;
    size_t offset;
    const char *const *choices;   /* MEMBER_CHOICE: NULL-ended */
    const struct member *members; /* MEMBER_OBJECT */
};
/* A row: MEMBER("orderId", UUID, struct order_state, id). */
/* clang-format off */
#define MEMBER(name_, kind_, type, field) {.name = (name_), .kind = MEMBER_##kind_, .offset = offsetof(type, field)}
#define MEMBER_WORD(name_, type, field, words) \
    {.name = (name_), .kind = MEMBER_CHOICE, .offset = offsetof(type, field), .choices = (words)}
#define MEMBER_PART(name_, type, field, table) \
    {.name = (name_), .kind = MEMBER_OBJECT, .offset = offsetof(type, field), .members = (table)}
#define MEMBER_END {.name = NULL}
/* clang-format on */

/* Writes the members of *from into an object that the caller opened and closes. */
void members_put(struct json_out *o, const struct member *table, const void *from);
/* Reads them. path: what stands before the names in a complaint: "" or "order.". */
MUST_CHECK enum err members_get(const struct json *object, const char *path, const struct member *table,
                                struct arena *arena, void *ret, struct fault *fault);
/* A whole object of one table. */
void members_encode(struct buf *out, const struct member *table, const void *from);

#endif
