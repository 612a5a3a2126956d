#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct err_row {
    int status;
    const char *code;
    const char *title;
    bool breakage;
};

/* clang-format off */
static const struct err_row ROWS[ERR_COUNT] = {
    [ERR_OK] = {200, "ok", "OK", false},
#define X(name, status, code, title) [name] = {status, code, title, false},
    ERR_ANSWERS(X)
#undef X
#define X(name, status, code, title) [name] = {status, code, title, true},
    ERR_BREAKAGE(X)
#undef X
};
/* clang-format on */

static const struct err_row *row_of(enum err e)
{
    assert((unsigned)e < ERR_COUNT);
    return &ROWS[e];
}

int err_status(enum err e)
{
    return row_of(e)->status;
}

const char *err_code(enum err e)
{
    return row_of(e)->code;
}

const char *err_title(enum err e)
{
    return row_of(e)->title;
}

bool err_is_breakage(enum err e)
{
    return row_of(e)->breakage;
}

/* Cut text must stay UTF-8, or the log line that carries it is not JSON: drop a character that was cut in two. */
static void drop_half_character(char *text)
{
    size_t len = strlen(text);
    size_t lead = len;
    while (lead > 0 && ((unsigned char)text[lead - 1] & 0xc0) == 0x80)
        lead--;
    if (lead == 0)
        return;

    unsigned char first = (unsigned char)text[lead - 1];
    size_t want = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    if (len - (lead - 1) < want)
        text[lead - 1] = '\0';
}

enum err fault_set(struct fault *f, enum err e, const char *fmt, ...)
{
    if (f == NULL)
        return e;

    /* Beside the fault first: callers wrap a reason as fault_set(f, e, "load orders: %s", f->why). */
    char why[FAULT_WHY_MAX];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    assert(len >= 0);
    if (len >= FAULT_WHY_MAX)
        drop_half_character(why);

    f->err = e;
    memcpy(f->why, why, sizeof(why));
    return e;
}
