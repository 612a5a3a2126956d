#include "base/mem.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void out_of_memory(size_t size)
{
    dprintf(STDERR_FILENO, "out of memory: could not get %zu bytes\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size == 0 ? 1 : size);
    if (p == NULL)
        out_of_memory(size);
    return p;
}

void *mem_realloc(void *p, size_t size)
{
    void *moved = realloc(p, size == 0 ? 1 : size);
    if (moved == NULL)
        out_of_memory(size);
    return moved;
}

char *mem_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *copy = mem_alloc(size);
    memcpy(copy, s, size);
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

/* Under ASan each piece gets a chunk of its own, so that it sees a write past a piece and a use after reset. */
#if defined(__SANITIZE_ADDRESS__)
#define PIECES_APART 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PIECES_APART 1
#endif
#endif

enum {
#ifdef PIECES_APART
    CHUNK_MIN = 1,
    CHUNK_MAX = 1,
#else
    CHUNK_MIN = 8 << 10,
    CHUNK_MAX = 256 << 10, /* chunks double up to here; a larger piece gets a chunk of its size */
#endif
};

struct arena_chunk {
    struct arena_chunk *older;
    size_t size;
    alignas(max_align_t) unsigned char bytes[];
};

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    if (a->chunks == NULL)
        return;

    while (a->chunks->older != NULL) {
        struct arena_chunk *older = a->chunks->older;
        free(a->chunks);
        a->chunks = older;
    }
    a->used = 0;
    a->size = a->chunks->size;
}

void arena_done(struct arena *a)
{
    arena_reset(a);
    free(a->chunks);
    arena_init(a);
}

static void add_chunk(struct arena *a, size_t piece)
{
    size_t size = a->size == 0 ? CHUNK_MIN : a->size * 2;
    if (size > CHUNK_MAX)
        size = CHUNK_MAX;
    if (size < piece)
        size = piece;

    struct arena_chunk *chunk = NULL;
    if (size <= PTRDIFF_MAX - sizeof(*chunk))
        chunk = malloc(sizeof(*chunk) + size);
    if (chunk == NULL)
        out_of_memory(size);
    chunk->older = a->chunks;
    chunk->size = size;
    a->chunks = chunk;
    a->used = 0;
    a->size = size;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t start = (a->used + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (a->chunks == NULL || start > a->size || size > a->size - start) {
        add_chunk(a, size);
        start = 0;
    }
    a->used = start + size;
    return memset(a->chunks->bytes + start, 0, size);
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    assert(len < SIZE_MAX);
    char *copy = arena_alloc(a, len + 1);
    if (len > 0)
        memcpy(copy, s, len);
    return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(len >= 0);

    size_t size = (size_t)len + 1;
    char *text = arena_alloc(a, size);
    vsnprintf(text, size, fmt, again);
    va_end(again);
    return text;
}
