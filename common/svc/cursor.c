#include <string.h>

#include "base/hash.h"
#include "svc/readers.h"

/* time (8 bytes), id (16), check (4): big-endian, so that the text is the same on every machine. */
enum { TIME_LEN = 8, ID_LEN = 16, CHECK_LEN = 4, CURSOR_LEN = TIME_LEN + ID_LEN + CHECK_LEN };
_Static_assert((4 * CURSOR_LEN + 2) / 3 + 1 <= CURSOR_TEXT_MAX, "the text must fit");

static const char SALT[] = "cursor 1";

static void put_number(unsigned char *at, uint64_t value, int len)
{
    for (int i = 0; i < len; i++)
        at[i] = (unsigned char)(value >> (8 * (len - 1 - i)));
}

static uint64_t get_number(const unsigned char *at, int len)
{
    uint64_t value = 0;
    for (int i = 0; i < len; i++)
        value = value << 8 | at[i];
    return value;
}

static uint64_t check_of(const unsigned char content[TIME_LEN + ID_LEN])
{
    unsigned char salted[sizeof SALT + TIME_LEN + ID_LEN];
    memcpy(salted, SALT, sizeof SALT);
    memcpy(salted + sizeof SALT, content, TIME_LEN + ID_LEN);
    return hash_fnv1a(salted, sizeof salted) >> 32;
}

void cursor_encode(const struct cursor *c, char ret_text[CURSOR_TEXT_MAX])
{
    unsigned char bytes[CURSOR_LEN];
    put_number(bytes, (uint64_t)c->at, TIME_LEN);
    memcpy(bytes + TIME_LEN, c->id.bytes, ID_LEN);
    put_number(bytes + TIME_LEN + ID_LEN, check_of(bytes), CHECK_LEN);
    str_base64url_encode(bytes, sizeof bytes, ret_text);
}

static bool decode(const char *text, struct cursor *ret)
{
    unsigned char bytes[CURSOR_LEN];
    size_t len;
    if (!str_base64url_decode(str_of(text), bytes, sizeof bytes, &len) || len != CURSOR_LEN)
        return false;
    if (get_number(bytes + TIME_LEN + ID_LEN, CHECK_LEN) != check_of(bytes))
        return false;

    *ret = (struct cursor){.at = (time_us_t)get_number(bytes, TIME_LEN), .present = true};
    memcpy(ret->id.bytes, bytes + TIME_LEN, ID_LEN);
    return ret->at >= 0;
}

enum err cursor_decode(const char *text, struct cursor *ret, struct field_errors *errors)
{
    struct cursor cursor = {.present = false};
    if (text != NULL && !decode(text, &cursor))
        return field_error_add(errors, "?cursor", "must be a nextCursor of this list");
    *ret = cursor;
    return ERR_OK;
}
