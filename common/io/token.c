#include "io/token.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "io/conf.h"
#include "io/json.h"

#define ISSUER "brokerage"
#define AUDIENCE "brokerage-api"
#define ALGORITHM "ES256"
#define TYPE "at+jwt" /* RFC 9068 */

enum {
    KID_MAX = 64,
    POINT_SIZE = 32,         /* a coordinate of P-256 */
    SIGNATURE_SIZE = 2 * 32, /* ES256: r and s, RFC 7518 section 3.4 */
    PUBLIC_PEM_MAX = 256,    /* 178 in fact */
    PRIVATE_PEM_MAX = 8 * 1024,
    JWKS_MAX = 64 * 1024,
    LIFE_MAX_S = 3600,  /* what nobody signs is not taken either */
    REREAD_S = 10,      /* between two readings that strangers can cause */
    SIGNS_AFTER_S = 90, /* by then every verifier has read the new public key */
};

static const char *const ROLES[] = {[ROLE_CUSTOMER] = "CUSTOMER", [ROLE_ADMIN] = "ADMIN"};
enum { ROLE_COUNT = sizeof(ROLES) / sizeof(ROLES[0]) };

/* ---- public keys ---- */

struct key {
    char kid[KID_MAX + 1];
    char pem[PUBLIC_PEM_MAX]; /* what libjwt takes */
};
struct key_set { /* zeroed before it is filled, so that two can be compared byte by byte */
    size_t count;
    struct key keys[TOKEN_KEYS_MAX];
};

/* A file is another one when any of these differs. */
struct file_stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
};

static bool is_kid(struct str kid)
{
    if (kid.len < 1 || kid.len > KID_MAX)
        return false;
    for (size_t i = 0; i < kid.len; i++) {
        char c = kid.data[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!good)
            return false;
    }
    return true;
}

static const struct key *key_find(const struct key_set *set, const char *kid)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->keys[i].kid, kid) == 0)
            return &set->keys[i];
    return NULL;
}

/* The public key at x, y; NULL when that is no point of P-256. The caller frees it. */
static EVP_PKEY *key_of_point(const unsigned char x[POINT_SIZE], const unsigned char y[POINT_SIZE])
{
    unsigned char point[1 + 2 * POINT_SIZE] = {0x04}; /* SEC 1: uncompressed */
    memcpy(point + 1, x, POINT_SIZE);
    memcpy(point + 1 + POINT_SIZE, y, POINT_SIZE);
    char group[] = "prime256v1";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_construct_end(),
    };

    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *making = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (making == NULL || EVP_PKEY_fromdata_init(making) != 1 ||
        EVP_PKEY_fromdata(making, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(making);
    if (key == NULL)
        return NULL;

    EVP_PKEY_CTX *checking = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool good = checking != NULL && EVP_PKEY_public_check(checking) == 1;
    EVP_PKEY_CTX_free(checking);
    if (good)
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

static bool pem_of_key(EVP_PKEY *key, char ret_pem[PUBLIC_PEM_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    bool good = bio != NULL && PEM_write_bio_PUBKEY(bio, key) == 1;
    long len = good ? BIO_get_mem_data(bio, &text) : 0;
    good = len > 0 && str_copy(ret_pem, PUBLIC_PEM_MAX, (struct str){text, (size_t)len});
    BIO_free(bio);
    return good;
}

static bool coordinate(const struct json *jwk, const char *name, unsigned char ret[POINT_SIZE])
{
    struct str text;
    size_t len;
    return json_get_text(jwk, name, &text) && str_base64url_decode(text, ret, POINT_SIZE, &len) && len == POINT_SIZE;
}

static bool member_is(const struct json *object, const char *name, const char *value)
{
    struct str text;
    return json_get_text(object, name, &text) && str_eq(text, value);
}

static bool absent_or(const struct json *object, const char *name, const char *value)
{
    return json_get(object, name) == NULL || member_is(object, name, value);
}

/* RFC 7517 section 5: keys of a kind or use that one doesn't know are passed over. */
static bool is_our_kind(const struct json *jwk)
{
    return member_is(jwk, "kty", "EC") && member_is(jwk, "crv", "P-256") && absent_or(jwk, "use", "sig") &&
           absent_or(jwk, "alg", ALGORITHM);
}

static enum err add_jwk(struct key_set *set, const struct json *jwk, struct fault *fault)
{
    if (json_get(jwk, "d") != NULL || json_get(jwk, "k") != NULL)
        return fault_set(fault, ERR_CONF, "holds a private key");
    if (!is_our_kind(jwk))
        return ERR_OK;

    struct str kid;
    if (!json_get_text(jwk, "kid", &kid) || !is_kid(kid))
        return fault_set(fault, ERR_CONF, "a key has no kid of 1 to 64 letters, digits, '-' or '_'");
    if (set->count == TOKEN_KEYS_MAX)
        return fault_set(fault, ERR_CONF, "has more than %d keys", TOKEN_KEYS_MAX);
    struct key *key = &set->keys[set->count];
    (void)str_copy(key->kid, sizeof(key->kid), kid);
    if (key_find(set, key->kid) != NULL)
        return fault_set(fault, ERR_CONF, "has key \"%s\" twice", key->kid);

    unsigned char x[POINT_SIZE], y[POINT_SIZE];
    EVP_PKEY *point = coordinate(jwk, "x", x) && coordinate(jwk, "y", y) ? key_of_point(x, y) : NULL;
    bool good = point != NULL && pem_of_key(point, key->pem);
    EVP_PKEY_free(point);
    ERR_clear_error();
    if (!good)
        return fault_set(fault, ERR_CONF, "key \"%s\" is no point of P-256", key->kid);
    set->count++;
    return ERR_OK;
}

static enum err read_jwks(const struct json *root, struct key_set *ret_set, struct fault *fault)
{
    const struct json *keys = json_get(root, "keys");
    memset(ret_set, 0, sizeof(*ret_set));
    for (size_t i = 0; i < json_count(keys); i++) {
        enum err e = add_jwk(ret_set, json_at(keys, i), fault);
        if (e != ERR_OK)
            return e;
    }
    return ret_set->count > 0 ? ERR_OK : fault_set(fault, ERR_CONF, "holds no P-256 key for ES256");
}

static enum err read_jwks_file(const char *path, struct key_set *ret_set, struct fault *fault)
{
    struct arena arena;
    arena_init(&arena);
    char *text = NULL;
    size_t len = 0;
    struct json *root = NULL;
    struct fault why = {0};
    enum err e = conf_read_file(&arena, path, JWKS_MAX, &text, &len, &why);
    if (e == ERR_OK)
        e = json_parse((struct str){text, len}, &root, &why);
    if (e == ERR_OK)
        e = read_jwks(root, ret_set, &why);
    json_free(root);
    arena_done(&arena);
    return e == ERR_OK ? ERR_OK : fault_set(fault, ERR_CONF, "JWKS file \"%s\": %s", path, why.why);
}

/* ---- verified tokens, remembered ---- */

enum { CACHE_SHARDS = 16, CACHE_WAYS = 4 };

struct remembered {
    struct token_claims claims;
    uint64_t generation; /* of the keys that it was verified with */
    uint64_t place;
    size_t len;
    char text[];
};

/* A shard has its own lock; a token may stand in any of the CACHE_WAYS slots of its row. */
struct shard {
    pthread_mutex_t lock;
    struct remembered **slots;
};
struct cache {
    size_t rows; /* in each shard; 0: nothing is remembered */
    struct shard shards[CACHE_SHARDS];
};

static void cache_init(struct cache *c, size_t size)
{
    size_t row_set = (size_t)CACHE_SHARDS * CACHE_WAYS;
    c->rows = (size + row_set - 1) / row_set;
    for (int i = 0; i < CACHE_SHARDS; i++) {
        pthread_mutex_init(&c->shards[i].lock, NULL);
        c->shards[i].slots = c->rows > 0 ? mem_alloc(sizeof(struct remembered *) * c->rows * CACHE_WAYS) : NULL;
    }
}

static void forget(struct remembered *r)
{
    if (r == NULL)
        return;
    OPENSSL_cleanse(r->text, r->len);
    mem_free(r);
}

static void cache_done(struct cache *c)
{
    for (int i = 0; i < CACHE_SHARDS; i++) {
        for (size_t k = 0; k < c->rows * CACHE_WAYS; k++)
            forget(c->shards[i].slots[k]);
        mem_free(c->shards[i].slots);
        pthread_mutex_destroy(&c->shards[i].lock);
    }
}

/* The end of a token is the end of its signature: as random as a hash, for only what auth-svc has signed is ever remembered.
 * So nobody can aim at a slot, and no hash need be computed. */
static uint64_t place_of(struct str token)
{
    enum { FROM_END = 16 };
    uint64_t bits = 0;
    if (token.len >= FROM_END)
        memcpy(&bits, token.data + token.len - FROM_END, sizeof(bits));
    return bits * UINT64_C(0x9E3779B97F4A7C15); /* spreads base64's six bits of each byte to the top */
}

static struct shard *shard_of(struct cache *c, uint64_t place)
{
    return &c->shards[place >> 60];
}

static struct remembered **row_of(struct cache *c, uint64_t place)
{
    return shard_of(c, place)->slots + (size_t)(place >> 20) % c->rows * CACHE_WAYS;
}

static bool is_text_of(const struct remembered *r, struct str token)
{
    return r->len == token.len && CRYPTO_memcmp(r->text, token.data, token.len) == 0;
}

static bool cache_find(struct cache *c, struct str token, uint64_t generation, struct token_claims *ret)
{
    if (c->rows == 0)
        return false;

    uint64_t place = place_of(token);
    bool found = false;
    pthread_mutex_lock(&shard_of(c, place)->lock);
    struct remembered **row = row_of(c, place);
    for (int i = 0; i < CACHE_WAYS && !found; i++) {
        const struct remembered *r = row[i];
        if (r == NULL || r->place != place || r->generation != generation || !is_text_of(r, token))
            continue;
        *ret = r->claims;
        found = true;
    }
    pthread_mutex_unlock(&shard_of(c, place)->lock);
    return found;
}

/* The slot to give up: an empty one, one of older keys, else the one that expires first. */
static int slot_to_give(struct remembered *const row[CACHE_WAYS], uint64_t generation)
{
    int given = 0;
    for (int i = 0; i < CACHE_WAYS; i++) {
        if (row[i] == NULL || row[i]->generation != generation)
            return i;
        if (row[i]->claims.exp < row[given]->claims.exp)
            given = i;
    }
    return given;
}

static void cache_add(struct cache *c, struct str token, uint64_t generation, const struct token_claims *claims)
{
    if (c->rows == 0)
        return;

    struct remembered *r = mem_alloc(sizeof(*r) + token.len);
    r->claims = *claims;
    r->generation = generation;
    r->place = place_of(token);
    r->len = token.len;
    memcpy(r->text, token.data, token.len);

    pthread_mutex_lock(&shard_of(c, r->place)->lock);
    struct remembered **row = row_of(c, r->place);
    int slot = slot_to_give(row, generation);
    struct remembered *old = row[slot];
    row[slot] = r;
    pthread_mutex_unlock(&shard_of(c, r->place)->lock);
    forget(old);
}

/* ---- the verifier ---- */

struct token_verifier {
    char *jwks_file;
    pthread_rwlock_t keys_lock;
    struct key_set keys;
    _Atomic uint64_t generation; /* grows when the keys change */

    pthread_mutex_t reading; /* one reads the file at a time */
    struct file_stamp stamp; /* of the file that `keys` came from */
    int64_t reread_after_ns; /* monotonic; when an unknown kid may next cause a reading */

    struct cache cache;
};

static struct file_stamp stamp_of(const char *path)
{
    struct file_stamp stamp = {0};
    struct stat st;
    if (stat(path, &st) == 0)
        stamp = (struct file_stamp){.dev = st.st_dev, .ino = st.st_ino, .size = st.st_size, .mtime = st.st_mtim};
    return stamp;
}

static bool stamp_eq(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
           a->mtime.tv_nsec == b->mtime.tv_nsec;
}

/* Holding `reading`. The stamp is taken before: a file that changes while it is read counts as changed the next time. */
static enum err read_keys(struct token_verifier *v, struct fault *fault)
{
    struct file_stamp stamp = stamp_of(v->jwks_file);
    struct key_set set;
    enum err e = read_jwks_file(v->jwks_file, &set, fault);
    if (e != ERR_OK)
        return e;

    v->stamp = stamp;
    pthread_rwlock_wrlock(&v->keys_lock);
    if (memcmp(&v->keys, &set, sizeof(set)) != 0) {
        v->keys = set;
        atomic_fetch_add(&v->generation, 1);
    }
    pthread_rwlock_unlock(&v->keys_lock);
    return ERR_OK;
}

enum err token_verifier_open(const char *jwks_file, size_t cache_size, struct token_verifier **ret, struct fault *fault)
{
    struct token_verifier *v = mem_alloc(sizeof(*v));
    v->jwks_file = mem_strdup(jwks_file);
    pthread_rwlock_init(&v->keys_lock, NULL);
    pthread_mutex_init(&v->reading, NULL);
    cache_init(&v->cache, cache_size);

    enum err e = read_keys(v, fault);
    if (e != ERR_OK) {
        token_verifier_close(v);
        return e;
    }
    *ret = v;
    return ERR_OK;
}

void token_verifier_close(struct token_verifier *v)
{
    if (v == NULL)
        return;
    cache_done(&v->cache);
    pthread_mutex_destroy(&v->reading);
    pthread_rwlock_destroy(&v->keys_lock);
    mem_free(v->jwks_file);
    mem_free(v);
}

enum err token_keys_refresh(struct token_verifier *v, struct fault *fault)
{
    enum err e = ERR_OK;
    pthread_mutex_lock(&v->reading);
    struct file_stamp now = stamp_of(v->jwks_file);
    if (!stamp_eq(&now, &v->stamp))
        e = read_keys(v, fault);
    pthread_mutex_unlock(&v->reading);
    return e;
}

size_t token_key_count(struct token_verifier *v)
{
    pthread_rwlock_rdlock(&v->keys_lock);
    size_t count = v->keys.count;
    pthread_rwlock_unlock(&v->keys_lock);
    return count;
}

static bool copy_key(struct token_verifier *v, const char *kid, struct key *ret, uint64_t *ret_generation)
{
    pthread_rwlock_rdlock(&v->keys_lock);
    const struct key *key = key_find(&v->keys, kid);
    if (key != NULL) {
        *ret = *key;
        *ret_generation = atomic_load(&v->generation);
    }
    pthread_rwlock_unlock(&v->keys_lock);
    return key != NULL;
}

/* Anybody can invent a kid, so the file is read again for it only now and then. */
static bool find_key(struct token_verifier *v, const char *kid, struct key *ret, uint64_t *ret_generation)
{
    if (copy_key(v, kid, ret, ret_generation))
        return true;

    pthread_mutex_lock(&v->reading);
    mono_ns_t now = clock_mono_ns();
    if (now >= v->reread_after_ns) {
        v->reread_after_ns = now + REREAD_S * NS_PER_S;
        enum err e = read_keys(v, NULL); /* on failure the last good set stays, and the kid unknown */
        (void)e;
    }
    pthread_mutex_unlock(&v->reading);
    return copy_key(v, kid, ret, ret_generation);
}

/* ---- verifying ---- */

struct parts {
    struct str header, payload, signature; /* base64url */
};

static enum err refuse(struct fault *fault, const char *reason)
{
    return fault_set(fault, ERR_UNAUTHENTICATED, "the access token %s", reason);
}

static bool split(struct str token, struct parts *ret)
{
    const char *end = token.data + token.len;
    const char *first = memchr(token.data, '.', token.len);
    const char *second = first != NULL ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
        return false;
    ret->header = (struct str){token.data, (size_t)(first - token.data)};
    ret->payload = (struct str){first + 1, (size_t)(second - first - 1)};
    ret->signature = (struct str){second + 1, (size_t)(end - second - 1)};
    return true;
}

/* A part's JSON object; NULL: it holds none, or one with a member twice (json_parse). The caller frees it. */
static struct json *object_of(struct str part)
{
    unsigned char text[TOKEN_MAX];
    size_t len;
    struct json *root = NULL;
    if (!str_base64url_decode(part, text, sizeof(text), &len) ||
        json_parse((struct str){(const char *)text, len}, &root, NULL) != ERR_OK)
        return NULL;
    if (json_type(root) == JSON_OBJECT)
        return root;
    json_free(root);
    return NULL;
}

/* Our tokens have these three members and no other: that leaves out crit, jku, jwk, x5u, b64 and what may yet be invented. */
static enum err check_header(const struct json *header, char ret_kid[KID_MAX + 1], struct fault *fault)
{
    struct str kid;
    if (!member_is(header, "alg", ALGORITHM) || !member_is(header, "typ", TYPE) || json_count(header) != 3)
        return refuse(fault, "is not of the kind that is issued here");
    if (!json_get_text(header, "kid", &kid) || !is_kid(kid))
        return refuse(fault, "names no key");
    (void)str_copy(ret_kid, KID_MAX + 1, kid);
    return ERR_OK;
}

static enum err read_header(struct str part, char ret_kid[KID_MAX + 1], struct fault *fault)
{
    struct json *header = object_of(part);
    if (header == NULL)
        return refuse(fault, "can't be read");
    enum err e = check_header(header, ret_kid, fault);
    json_free(header);
    return e;
}

/* RFC 7519: aud is a text or a list; a list may name us and nobody else. */
static bool is_for_us(const struct json *payload)
{
    const struct json *aud = json_get(payload, "aud");
    if (aud != NULL && json_type(aud) == JSON_ARRAY)
        return json_count(aud) == 1 && str_eq(json_text(json_at(aud, 0)), AUDIENCE);
    return member_is(payload, "aud", AUDIENCE);
}

static bool role_of(const struct json *payload, enum token_role *ret)
{
    for (unsigned i = 0; i < ROLE_COUNT; i++) {
        if (!member_is(payload, "role", ROLES[i]))
            continue;
        *ret = (enum token_role)i;
        return true;
    }
    return false;
}

static bool subject_of(const struct json *payload, int64_t *ret)
{
    struct str sub;
    return json_get_text(payload, "sub", &sub) && str_to_i64(sub, ret) && *ret > 0;
}

/* Times are whole numbers: 1e9, "1700000000" and 1700000000.0 are all refused. */
static enum err read_claims(const struct json *payload, int64_t now_s, struct token_claims *ret, struct fault *fault)
{
    if (!member_is(payload, "iss", ISSUER) || !is_for_us(payload))
        return refuse(fault, "was not issued for this service");
    if (!subject_of(payload, &ret->customer_id) || !role_of(payload, &ret->role) ||
        !json_get_uuid(payload, "sid", &ret->sid) || !json_get_uuid(payload, "jti", &ret->jti) ||
        !json_get_int(payload, "iat", &ret->iat) || !json_get_int(payload, "exp", &ret->exp))
        return refuse(fault, "lacks a claim");
    if (ret->iat <= 0 || ret->exp <= ret->iat || ret->exp - ret->iat > LIFE_MAX_S)
        return refuse(fault, "has impossible times");

    int64_t not_before = ret->iat;
    if (json_get(payload, "nbf") != NULL && !json_get_int(payload, "nbf", &not_before))
        return refuse(fault, "has impossible times");
    return not_before > now_s + TOKEN_LEEWAY_S ? refuse(fault, "is not valid yet") : ERR_OK;
}

static enum err check_times(const struct token_claims *claims, int64_t now_s, struct fault *fault)
{
    if (claims->iat > now_s + TOKEN_LEEWAY_S)
        return refuse(fault, "is not valid yet");
    return now_s >= claims->exp + TOKEN_LEEWAY_S ? refuse(fault, "has expired") : ERR_OK;
}

static enum err read_payload(struct str part, int64_t now_s, struct token_claims *ret, struct fault *fault)
{
    struct json *payload = object_of(part);
    if (payload == NULL)
        return refuse(fault, "can't be read");
    enum err e = read_claims(payload, now_s, ret, fault);
    json_free(payload);
    return e == ERR_OK ? check_times(ret, now_s, fault) : e;
}

/* By libjwt, which takes the algorithm from the token (ours is pinned before and compared after), reads past junk in the
 * signature (its form is checked before) and checks nothing without a key (`key` is never empty). About 300 µs. */
static bool is_signed_by(struct str token, struct str signature, const struct key *key)
{
    unsigned char raw[SIGNATURE_SIZE];
    size_t len;
    if (!str_base64url_decode(signature, raw, sizeof(raw), &len) || len != SIGNATURE_SIZE)
        return false;

    char text[TOKEN_MAX + 1];
    size_t pem_len = strlen(key->pem);
    assert(pem_len > 0);
    if (!str_copy(text, sizeof(text), token))
        return false;
    jwt_t *jwt = NULL;
    bool good = jwt_decode(&jwt, text, (const unsigned char *)key->pem, (int)pem_len) == 0 && jwt != NULL &&
                jwt_get_alg(jwt) == JWT_ALG_ES256;
    jwt_free(jwt);
    ERR_clear_error();
    return good;
}

/* Cheap checks first, the signature last: what comes out before it is only a refusal. */
static enum err verify(struct token_verifier *v, struct str token, int64_t now_s, struct token_claims *ret,
                       struct fault *fault)
{
    struct parts parts;
    char kid[KID_MAX + 1];
    struct key key;
    uint64_t generation = 0;
    struct token_claims claims = {0};

    if (!split(token, &parts))
        return refuse(fault, "can't be read");
    enum err e = read_header(parts.header, kid, fault);
    if (e != ERR_OK)
        return e;
    e = read_payload(parts.payload, now_s, &claims, fault);
    if (e != ERR_OK)
        return e;
    if (!find_key(v, kid, &key, &generation))
        return refuse(fault, "is signed with an unknown key");
    if (!is_signed_by(token, parts.signature, &key))
        return refuse(fault, "has a wrong signature");

    cache_add(&v->cache, token, generation, &claims);
    *ret = claims;
    return ERR_OK;
}

enum err token_verify(struct token_verifier *v, struct str token, int64_t now_s, struct token_claims *ret,
                      struct fault *fault)
{
    if (token.len == 0 || token.len > TOKEN_MAX)
        return refuse(fault, "can't be read");

    struct token_claims claims;
    if (!cache_find(&v->cache, token, atomic_load(&v->generation), &claims))
        return verify(v, token, now_s, ret, fault);
    enum err e = check_times(&claims, now_s, fault);
    if (e == ERR_OK)
        *ret = claims;
    return e;
}

/* ---- signing ---- */

struct signing_key {
    char kid[KID_MAX + 1];
    char pem[PRIVATE_PEM_MAX];
    time_t since; /* its file's mtime */
};

struct token_signer {
    char *keys_dir;
    pthread_mutex_t lock;
    struct signing_key *keys; /* of TOKEN_KEYS_MAX */
    size_t count;
    char last_kid[KID_MAX + 1]; /* that signed before */
    mono_ns_t read_after;
};

/* A PEM with a passphrase must not stop us at a prompt. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static bool is_p256_private(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    char group[32] = "";
    bool good = key != NULL && EVP_PKEY_is_a(key, "EC") == 1 &&
                EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 && strcmp(group, "prime256v1") == 0;
    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    return good;
}

static void wipe_keys(struct signing_key *keys)
{
    OPENSSL_cleanse(keys, sizeof(*keys) * TOKEN_KEYS_MAX);
    mem_free(keys);
}

/* "<kid>.pem" */
static bool kid_of_file(const char *file, struct str *ret_kid)
{
    static const char SUFFIX[] = ".pem";
    size_t len = strlen(file), suffix = sizeof(SUFFIX) - 1;
    if (len <= suffix || strcmp(file + len - suffix, SUFFIX) != 0)
        return false;
    *ret_kid = (struct str){file, len - suffix};
    return true;
}

static enum err read_signing_key(const char *path, struct str kid, struct signing_key *ret, struct fault *fault)
{
    if (!is_kid(kid))
        return fault_set(fault, ERR_CONF, "\"%s\": a key's name is 1 to 64 letters, digits, '-' or '_'", path);

    struct arena arena;
    arena_init(&arena);
    char *pem = NULL;
    size_t len = 0;
    struct stat st = {0};
    enum err e = conf_read_file(&arena, path, PRIVATE_PEM_MAX - 1, &pem, &len, fault);
    if (e == ERR_OK && (stat(path, &st) != 0 || strlen(pem) != len || !is_p256_private((struct str){pem, len})))
        e = fault_set(fault, ERR_CONF, "\"%s\" is no private key of P-256 in PEM without a passphrase", path);
    if (e == ERR_OK) {
        (void)str_copy(ret->kid, sizeof(ret->kid), kid);
        (void)str_copy(ret->pem, sizeof(ret->pem), (struct str){pem, len});
        ret->since = st.st_mtim.tv_sec;
    }
    if (pem != NULL)
        OPENSSL_cleanse(pem, len);
    arena_done(&arena);
    return e;
}

static enum err read_signing_keys(DIR *dir, const char *dir_name, struct signing_key *keys, size_t *ret_count,
                                  struct fault *fault)
{
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct str kid;
        if (entry->d_name[0] == '.' || !kid_of_file(entry->d_name, &kid))
            continue;
        if (count == TOKEN_KEYS_MAX)
            return fault_set(fault, ERR_CONF, "\"%s\" has more than %d keys", dir_name, TOKEN_KEYS_MAX);
        char path[4096];
        if (snprintf(path, sizeof(path), "%s/%s", dir_name, entry->d_name) >= (int)sizeof(path))
            return fault_set(fault, ERR_CONF, "\"%s\": the path is too long", dir_name);
        enum err e = read_signing_key(path, kid, &keys[count], fault);
        if (e != ERR_OK)
            return e;
        count++;
    }
    *ret_count = count;
    return count > 0 ? ERR_OK : fault_set(fault, ERR_CONF, "\"%s\" has no <kid>.pem", dir_name);
}

/* Holding `lock` (or alone, in open). The keys there are stay unless all can be read. */
static enum err signer_read(struct token_signer *s, struct fault *fault)
{
    DIR *dir = opendir(s->keys_dir);
    if (dir == NULL)
        return fault_set(fault, ERR_CONF, "can't open \"%s\": %s", s->keys_dir, strerror(errno));

    struct signing_key *keys = mem_alloc(sizeof(*keys) * TOKEN_KEYS_MAX);
    size_t count = 0;
    enum err e = read_signing_keys(dir, s->keys_dir, keys, &count, fault);
    closedir(dir);
    if (e != ERR_OK) {
        wipe_keys(keys);
        return e;
    }
    if (s->keys != NULL)
        wipe_keys(s->keys);
    s->keys = keys;
    s->count = count;
    return ERR_OK;
}

enum err token_signer_open(const char *keys_dir, struct token_signer **ret, struct fault *fault)
{
    struct token_signer *s = mem_alloc(sizeof(*s));
    s->keys_dir = mem_strdup(keys_dir);
    pthread_mutex_init(&s->lock, NULL);
    s->read_after = clock_mono_ns() + REREAD_S * NS_PER_S;
    enum err e = signer_read(s, fault);
    if (e != ERR_OK) {
        token_signer_close(s);
        return e;
    }
    *ret = s;
    return ERR_OK;
}

void token_signer_close(struct token_signer *s)
{
    if (s == NULL)
        return;
    if (s->keys != NULL)
        wipe_keys(s->keys);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->keys_dir);
    mem_free(s);
}

/* Names break ties, so that every replica picks the same. */
static bool is_newer(const struct signing_key *a, const struct signing_key *b)
{
    return a->since != b->since ? a->since > b->since : strcmp(a->kid, b->kid) > 0;
}

/* The newest that verifiers have had time to read. None yet (a first start, or all files were written anew): the one that
 * signed before, else the oldest. */
static const struct signing_key *signer_pick(const struct token_signer *s, time_t now)
{
    const struct signing_key *ready = NULL, *before = NULL, *oldest = &s->keys[0];
    for (const struct signing_key *k = s->keys; k < s->keys + s->count; k++) {
        if (k->since + SIGNS_AFTER_S <= now && (ready == NULL || is_newer(k, ready)))
            ready = k;
        if (strcmp(k->kid, s->last_kid) == 0)
            before = k;
        if (is_newer(oldest, k))
            oldest = k;
    }
    if (ready != NULL)
        return ready;
    return before != NULL ? before : oldest;
}

static void signer_choose(struct token_signer *s, struct signing_key *ret)
{
    pthread_mutex_lock(&s->lock);
    mono_ns_t now = clock_mono_ns();
    if (now >= s->read_after) {
        s->read_after = now + REREAD_S * NS_PER_S;
        enum err e = signer_read(s, NULL); /* on failure the keys there are go on signing */
        (void)e;
    }
    *ret = *signer_pick(s, time(NULL));
    memcpy(s->last_kid, ret->kid, sizeof(s->last_kid));
    pthread_mutex_unlock(&s->lock);
}

/* 0 or an errno, as libjwt says it. */
static int add_members(jwt_t *jwt, const char *kid, const struct token_claims *claims)
{
    char sub[24], sid[UUID_TEXT_MAX], jti[UUID_TEXT_MAX];
    snprintf(sub, sizeof(sub), "%lld", (long long)claims->customer_id);
    uuid_format(claims->sid, sid);
    uuid_format(uuid_random(), jti);
    const struct {
        const char *name, *value;
    } TEXTS[] = {
        {"iss", ISSUER}, {"aud", AUDIENCE}, {"sub", sub}, {"sid", sid}, {"jti", jti}, {"role", ROLES[claims->role]},
    };

    int failed = jwt_add_header(jwt, "typ", TYPE);
    if (failed == 0)
        failed = jwt_add_header(jwt, "kid", kid);
    for (size_t i = 0; failed == 0 && i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++)
        failed = jwt_add_grant(jwt, TEXTS[i].name, TEXTS[i].value);
    if (failed == 0)
        failed = jwt_add_grant_int(jwt, "iat", (long)claims->iat);
    return failed != 0 ? failed : jwt_add_grant_int(jwt, "exp", (long)claims->exp);
}

static char *encode(const struct signing_key *key, const struct token_claims *claims)
{
    jwt_t *jwt = NULL;
    char *text = NULL;
    if (jwt_new(&jwt) == 0 &&
        jwt_set_alg(jwt, JWT_ALG_ES256, (const unsigned char *)key->pem, (int)strlen(key->pem)) == 0 &&
        add_members(jwt, key->kid, claims) == 0)
        text = jwt_encode_str(jwt);
    jwt_free(jwt);
    ERR_clear_error();
    return text;
}

enum err token_sign(struct token_signer *s, const struct token_claims *claims, struct arena *arena, char **ret_token,
                    struct fault *fault)
{
    if (claims->customer_id <= 0 || claims->iat <= 0 || claims->exp <= claims->iat ||
        claims->exp - claims->iat > LIFE_MAX_S)
        return fault_set(fault, ERR_BUG, "sign token: claims that nobody would take");

    struct signing_key key;
    signer_choose(s, &key);
    char *text = encode(&key, claims);
    OPENSSL_cleanse(&key, sizeof(key));
    if (text == NULL)
        return fault_set(fault, ERR_BUG, "sign token: libjwt refused");
    *ret_token = arena_strdup(arena, text);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    return ERR_OK;
}
