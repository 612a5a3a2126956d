#include "jwks.h"

#include <pthread.h>

#include "io/conf.h"
#include "io/json.h"

enum { JWKS_MAX = 64 * 1024 };

struct jwks {
    const char *path; /* a setting */
    struct token_verifier *verifier;
    pthread_mutex_t mutex;
    struct buf text;
};

/* Read first, judged then: if the file changes in between, the next second brings the newer text. */
static enum err read_text(const struct jwks *j, struct arena *arena, char **ret_text, size_t *ret_len,
                          struct fault *fault)
{
    enum err e = conf_read_file(arena, j->path, JWKS_MAX, ret_text, ret_len, fault);
    return e == ERR_OK ? token_keys_refresh(j->verifier, fault) : e;
}

enum err jwks_refresh(struct jwks *j, struct fault *fault)
{
    struct arena arena;
    char *text;
    size_t len;
    arena_init(&arena);
    enum err e = read_text(j, &arena, &text, &len, fault);
    if (e == ERR_OK) {
        pthread_mutex_lock(&j->mutex);
        buf_reset(&j->text);
        buf_append(&j->text, text, len);
        pthread_mutex_unlock(&j->mutex);
    }
    arena_done(&arena);
    return e;
}

void jwks_write(struct jwks *j, struct buf *out)
{
    pthread_mutex_lock(&j->mutex);
    buf_append(out, j->text.data, j->text.len);
    pthread_mutex_unlock(&j->mutex);
}

/* What the verifier took is JSON and has keys. */
void jwks_write_names(struct jwks *j, struct buf *out)
{
    struct buf text;
    struct json *root = NULL;
    buf_init(&text);
    jwks_write(j, &text);
    enum err e = json_parse((struct str){text.data, text.len}, &root, NULL);
    const struct json *keys = e == ERR_OK ? json_get(root, "keys") : NULL;
    for (size_t i = 0; keys != NULL && i < json_count(keys); i++) {
        struct str kid = json_text(json_get(json_at(keys, i), "kid"));
        buf_str(out, i > 0 ? " " : "");
        buf_append(out, kid.data, kid.len);
    }
    json_free(root);
    buf_done(&text);
}

enum err jwks_open(const char *path, struct token_verifier *verifier, struct jwks **ret, struct fault *fault)
{
    struct jwks *j = mem_alloc(sizeof *j);
    j->path = path;
    j->verifier = verifier;
    pthread_mutex_init(&j->mutex, NULL);
    buf_init(&j->text);
    enum err e = jwks_refresh(j, fault);
    if (e != ERR_OK) {
        jwks_close(j);
        return e;
    }
    *ret = j;
    return ERR_OK;
}

void jwks_close(struct jwks *j)
{
    if (j == NULL)
        return;
    buf_done(&j->text);
    pthread_mutex_destroy(&j->mutex);
    mem_free(j);
}
