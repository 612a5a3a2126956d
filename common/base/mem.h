/* mem.h — allocation that can't fail, and arenas for things that die together.
 *
 * For     every heap allocation. Running out of memory ends the process with a message: requests, batches
 *         and queues are all bounded, so it means a bug or a machine that is too small; the supervisor starts
 *         us again and the lane, being one transaction, loses nothing.
 * Owns    an arena owns every piece it gave out; they all go at arena_reset/arena_done.
 * Threads an arena belongs to one thread at a time.
 * Fails   never returns NULL.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>

#include "base/err.h"

void *mem_alloc(size_t size); /* zeroed */
void *mem_realloc(void *p, size_t size);
char *mem_strdup(const char *s);
void mem_free(void *p); /* NULL is fine */

struct arena_chunk;
struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used, size;          /* of the newest chunk */
};

void arena_init(struct arena *a);
void arena_reset(struct arena *a); /* frees all but the first chunk, which is used again */
void arena_done(struct arena *a);
void *arena_alloc(struct arena *a, size_t size); /* zeroed, aligned for anything */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len); /* adds the NUL */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (size_t)(n)))

#endif
