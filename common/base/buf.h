/* buf.h — a growing string of bytes, always NUL-terminated.
 *
 * For     building answers, SQL arrays, events, log lines.
 * Owns    its bytes; buf_take gives them to the caller, who frees them with mem_free.
 * Threads one at a time.
 * Fails   never (see mem.h); callers keep their own maximum.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf {
    char *data; /* NULL only before the first append */
    size_t len, cap;
};

void buf_init(struct buf *b);
void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* empty, keeps its memory */
char *buf_take(struct buf *b); /* never NULL */
void buf_append(struct buf *b, const void *data, size_t len);
void buf_str(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *buf_cstr(const struct buf *b); /* "" when empty */

#endif
