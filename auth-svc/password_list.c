#include "password_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/conf.h"

enum { FILE_MAX = 4 * 1024 * 1024, WORDS_MAX = 200000 };

struct password_list {
    struct arena arena;
    const char **words; /* sorted by their bytes */
    size_t count;
};

static bool is_of_use(const char *line, size_t len)
{
    if (len < PASSWORD_WORD_MIN)
        return false;
    for (size_t i = 0; i < len; i++)
        if (line[i] <= 0x20 || line[i] >= 0x7f)
            return false;
    return true;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void take_words(struct password_list *l, char *text)
{
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && l->count < WORDS_MAX;)
        if (is_of_use(line, strlen(line)))
            l->words[l->count++] = line;
    qsort(l->words, l->count, sizeof *l->words, by_bytes);
}

enum err password_list_open(const char *path, struct password_list **ret, struct fault *fault)
{
    struct password_list *l = mem_alloc(sizeof *l);
    char *text;
    size_t len;
    arena_init(&l->arena);
    enum err e = conf_read_file(&l->arena, path, FILE_MAX, &text, &len, fault);
    if (e == ERR_OK) {
        l->words = ARENA_ARRAY(&l->arena, const char *, WORDS_MAX);
        take_words(l, text);
        if (l->count < PASSWORD_LIST_LEAST)
            e = fault_set(fault, ERR_CONF, "\"%s\" has %zu words of use: at least %d are needed", path, l->count,
                          PASSWORD_LIST_LEAST);
    }
    if (e != ERR_OK) {
        password_list_close(l);
        return e;
    }
    *ret = l;
    return ERR_OK;
}

void password_list_close(struct password_list *l)
{
    if (l == NULL)
        return;
    arena_done(&l->arena);
    mem_free(l);
}

size_t password_list_count(const struct password_list *l)
{
    return l->count;
}

/* The first word in [low, high), which agree in their first `at` bytes, whose next byte is not less than c. */
static size_t lower_bound(const struct password_list *l, size_t low, size_t high, size_t at, uint32_t c)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)l->words[middle][at] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* With each character fewer words are left; the shortest of them comes first, so it is seen when it is complete. */
size_t password_list_match(const struct password_list *l, const uint32_t *text, size_t len,
                           size_t ret_lens[PASSWORD_MATCHES_MAX])
{
    size_t low = 0, high = l->count, found = 0;
    for (size_t at = 0; at < len && text[at] < 0x7f && found < PASSWORD_MATCHES_MAX; at++) {
        low = lower_bound(l, low, high, at, text[at]);
        high = lower_bound(l, low, high, at, text[at] + 1);
        if (low == high)
            break;
        if (l->words[low][at + 1] == '\0')
            ret_lens[found++] = at + 1;
    }
    return found;
}
