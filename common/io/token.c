#include "io/token.h"

#include <dirent.h>
#include <errno.h>
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
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
#include "io/token_denied.h"

#define ISSUER "brokerage"
#define AUDIENCE "brokerage-api"
#define ALGORITHM "ES256"
#define TYPE "at+jwt" /* RFC 9068 */

enum {
    KID_MAX = 64,
    COORDINATE_SIZE = 32, /* of P-256 */
    POINT_SIZE = 1 + 2 * COORDINATE_SIZE,
    SIGNATURE_SIZE = 2 * 32, /* ES256: r and s, RFC 7518 section 3.4 */
    DER_SIGNATURE_MAX = 80,  /* 72 in fact */
    PRIVATE_PEM_MAX = 8 * 1024,
    JWKS_MAX = 64 * 1024,
    LIFE_MAX_S = 3600,  /* what nobody signs is not taken either */
    REREAD_S = 10,      /* between two readings that strangers can cause */
    SIGNS_AFTER_S = 90, /* by then every verifier has read the new public key */
};

static const char *const ROLES[] = {[ROLE_CUSTOMER] = "CUSTOMER", [ROLE_ADMIN] = "ADMIN", [ROLE_NEWCOMER] = "NEWCOMER"};
enum { ROLE_COUNT = sizeof(ROLES) / sizeof(ROLES[0]) };

const char *token_role_name(enum token_role role)
{
    return ROLES[role];
}

/* ---- public keys ---- */

struct key {
    char kid[KID_MAX + 1];
    unsigned char point[POINT_SIZE];
    EVP_PKEY *pkey; /* the same point, ready to verify with */
};
struct key_set {
    size_t count;
    struct key keys[TOKEN_KEYS_MAX];
};

static void key_set_done(struct key_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        EVP_PKEY_free(set->keys[i].pkey);
    set->count = 0;
}

static bool key_set_eq(const struct key_set *a, const struct key_set *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->keys[i].kid, b->keys[i].kid) == 0 &&
               memcmp(a->keys[i].point, b->keys[i].point, POINT_SIZE) == 0;
    return same;
}

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

/* NULL when that is no point of P-256. The caller frees it. */
static EVP_PKEY *key_of_point(unsigned char point[POINT_SIZE])
{
    char group[] = "prime256v1";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, POINT_SIZE),
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

static bool read_coordinate(const struct json *jwk, const char *name, unsigned char ret[COORDINATE_SIZE])
{
    struct str text;
    size_t len;
    return json_get_text(jwk, name, &text) && str_base64url_decode(text, ret, COORDINATE_SIZE, &len) &&
           len == COORDINATE_SIZE;
}

static bool read_point(const struct json *jwk, struct key *ret)
{
    ret->point[0] = 0x04; /* SEC 1: both coordinates follow */
    if (!read_coordinate(jwk, "x", ret->point + 1) || !read_coordinate(jwk, "y", ret->point + 1 + COORDINATE_SIZE))
        return false;
    ret->pkey = key_of_point(ret->point);
    ERR_clear_error();
    return ret->pkey != NULL;
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

    if (!read_point(jwk, key))
        return fault_set(fault, ERR_CONF, "key \"%s\" is no point of P-256", key->kid);
    set->count++;
    return ERR_OK;
}

static enum err read_jwks(const struct json *root, struct key_set *ret_set, struct fault *fault)
{
    const struct json *keys = json_get(root, "keys");
    for (size_t i = 0; i < json_count(keys); i++) {
        enum err e = add_jwk(ret_set, json_at(keys, i), fault);
        if (e != ERR_OK)
            return e;
    }
    return ret_set->count > 0 ? ERR_OK : fault_set(fault, ERR_CONF, "holds no P-256 key for ES256");
}

static enum err read_jwks_file(const char *path, struct key_set *ret_set, struct fault *fault)
{
    ret_set->count = 0;
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
    if (e != ERR_OK)
        key_set_done(ret_set);
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

/* In the same time wherever they differ, like str_eq_secret, but eight bytes at a step: it is most of what a hit costs. */
static bool is_text_of(const struct remembered *r, struct str token)
{
    if (r->len != token.len)
        return false;
    uint64_t different = 0, a = 0, b = 0;
    size_t at = 0;
    for (; at + sizeof(a) <= token.len; at += sizeof(a)) {
        memcpy(&a, r->text + at, sizeof(a));
        memcpy(&b, token.data + at, sizeof(b));
        different |= a ^ b;
    }
    for (; at < token.len; at++)
        different |= (unsigned char)(r->text[at] ^ token.data[at]);
    return different == 0;
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

    pthread_mutex_t reading;    /* one reads the file at a time */
    struct file_stamp stamp;    /* of the file that `keys` came from */
    int64_t reread_after_ns;    /* monotonic; when an unknown kid may next cause a reading */
    _Atomic int64_t good_at_ns; /* monotonic; when it was last found as it should be */

    struct cache cache;
    struct denied *denied;
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
    atomic_store(&v->good_at_ns, clock_mono_ns());
    pthread_rwlock_wrlock(&v->keys_lock);
    struct key_set unused = set;
    if (!key_set_eq(&v->keys, &set)) {
        unused = v->keys;
        v->keys = set;
        atomic_fetch_add(&v->generation, 1);
    }
    pthread_rwlock_unlock(&v->keys_lock);
    key_set_done(&unused);
    return ERR_OK;
}

enum err token_verifier_open(const char *jwks_file, size_t cache_size, struct token_verifier **ret, struct fault *fault)
{
    struct token_verifier *v = mem_alloc(sizeof(*v));
    v->jwks_file = mem_strdup(jwks_file);
    pthread_rwlock_init(&v->keys_lock, NULL);
    pthread_mutex_init(&v->reading, NULL);
    cache_init(&v->cache, cache_size);
    v->denied = denied_new();

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
    denied_free(v->denied);
    cache_done(&v->cache);
    key_set_done(&v->keys);
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
    if (stamp_eq(&now, &v->stamp))
        atomic_store(&v->good_at_ns, clock_mono_ns());
    else
        e = read_keys(v, fault);
    pthread_mutex_unlock(&v->reading);
    return e;
}

int64_t token_keys_age_s(struct token_verifier *v)
{
    return (clock_mono_ns() - atomic_load(&v->good_at_ns)) / NS_PER_S;
}

size_t token_key_count(struct token_verifier *v)
{
    pthread_rwlock_rdlock(&v->keys_lock);
    size_t count = v->keys.count;
    pthread_rwlock_unlock(&v->keys_lock);
    return count;
}

void token_session_revoke(struct token_verifier *v, struct uuid sid, int64_t until_s)
{
    denied_add(v->denied, sid, until_s, clock_now_us() / US_PER_S);
}

int64_t token_floor_s(struct token_verifier *v)
{
    return denied_floor(v->denied);
}

/* A key of its own for the caller, who frees it; NULL: there is none of that name. */
static EVP_PKEY *take_key(struct token_verifier *v, const char *kid, uint64_t *ret_generation)
{
    pthread_rwlock_rdlock(&v->keys_lock);
    const struct key *key = key_find(&v->keys, kid);
    EVP_PKEY *pkey = key != NULL && EVP_PKEY_up_ref(key->pkey) == 1 ? key->pkey : NULL;
    *ret_generation = atomic_load(&v->generation);
    pthread_rwlock_unlock(&v->keys_lock);
    return pkey;
}

/* Anybody can invent a kid, so the file is read again for it only now and then. */
static EVP_PKEY *find_key(struct token_verifier *v, const char *kid, uint64_t *ret_generation)
{
    EVP_PKEY *pkey = take_key(v, kid, ret_generation);
    if (pkey != NULL)
        return pkey;

    pthread_mutex_lock(&v->reading);
    mono_ns_t now = clock_mono_ns();
    if (now >= v->reread_after_ns) {
        v->reread_after_ns = now + REREAD_S * NS_PER_S;
        enum err e = read_keys(v, NULL); /* on failure the last good set stays, and the kid unknown */
        (void)e;
    }
    pthread_mutex_unlock(&v->reading);
    return take_key(v, kid, ret_generation);
}

/* ---- verifying ---- */

struct parts {
    struct str header, payload, signature; /* base64url */
    struct str text;                       /* header "." payload: what is signed */
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
    ret->text = (struct str){token.data, (size_t)(second - token.data)};
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

/* r and s as OpenSSL wants them (RFC 3279 section 2.2.3); 0: they can't be. */
static int der_of_signature(const unsigned char raw[SIGNATURE_SIZE], unsigned char ret_der[DER_SIGNATURE_MAX])
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, SIGNATURE_SIZE / 2, NULL);
    BIGNUM *s = BN_bin2bn(raw + SIGNATURE_SIZE / 2, SIGNATURE_SIZE / 2, NULL);
    unsigned char *end = ret_der;
    int len = 0;
    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        len = i2d_ECDSA_SIG(sig, &end);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return len > 0 ? len : 0;
}

static bool is_signed_by(struct str text, struct str signature, EVP_PKEY *pkey)
{
    unsigned char raw[SIGNATURE_SIZE], der[DER_SIGNATURE_MAX];
    size_t len;
    if (!str_base64url_decode(signature, raw, sizeof(raw), &len) || len != SIGNATURE_SIZE)
        return false;

    int der_len = der_of_signature(raw, der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = der_len > 0 && ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1 &&
                EVP_DigestVerify(ctx, der, (size_t)der_len, (const unsigned char *)text.data, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

/* Cheap checks first, the signature last: what comes out before it is only a refusal. */
static enum err verify(struct token_verifier *v, struct str token, int64_t now_s, struct token_claims *ret,
                       struct fault *fault)
{
    struct parts parts;
    char kid[KID_MAX + 1];
    uint64_t generation;
    struct token_claims claims = {0};

    if (!split(token, &parts))
        return refuse(fault, "can't be read");
    enum err e = read_header(parts.header, kid, fault);
    if (e != ERR_OK)
        return e;
    e = read_payload(parts.payload, now_s, &claims, fault);
    if (e != ERR_OK)
        return e;
    EVP_PKEY *pkey = find_key(v, kid, &generation);
    if (pkey == NULL)
        return refuse(fault, "is signed with an unknown key");
    bool good = is_signed_by(parts.text, parts.signature, pkey);
    EVP_PKEY_free(pkey);
    if (!good)
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
    enum err e = cache_find(&v->cache, token, atomic_load(&v->generation), &claims)
                     ? check_times(&claims, now_s, fault)
                     : verify(v, token, now_s, &claims, fault);
    if (e != ERR_OK)
        return e;
    if (denied_has(v->denied, claims.sid, claims.iat, now_s))
        return refuse(fault, "is of a session that has ended");
    *ret = claims;
    return ERR_OK;
}

/* ---- signing ---- */

struct signing_key {
    char kid[KID_MAX + 1];
    EVP_PKEY *pkey;
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

/* NULL: no private key of P-256. The caller frees it. */
static EVP_PKEY *key_of_pem(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    char group[32] = "";
    bool good = key != NULL && EVP_PKEY_is_a(key, "EC") == 1 &&
                EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 && strcmp(group, "prime256v1") == 0;
    BIO_free(bio);
    ERR_clear_error();
    if (good)
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

static void free_keys(struct signing_key *keys)
{
    for (int i = 0; keys != NULL && i < TOKEN_KEYS_MAX; i++)
        EVP_PKEY_free(keys[i].pkey);
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
    enum err e = conf_read_file(&arena, path, PRIVATE_PEM_MAX, &pem, &len, fault);
    EVP_PKEY *pkey = e == ERR_OK && stat(path, &st) == 0 ? key_of_pem((struct str){pem, len}) : NULL;
    if (pem != NULL)
        OPENSSL_cleanse(pem, len);
    arena_done(&arena);
    if (e != ERR_OK)
        return e;
    if (pkey == NULL)
        return fault_set(fault, ERR_CONF, "\"%s\" is no private key of P-256 in PEM without a passphrase", path);

    (void)str_copy(ret->kid, sizeof(ret->kid), kid);
    ret->pkey = pkey;
    ret->since = st.st_mtim.tv_sec;
    return ERR_OK;
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
        free_keys(keys);
        return e;
    }
    free_keys(s->keys);
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
    free_keys(s->keys);
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

/* The key that signs now: a reference of its own for the caller, who frees it. NULL: out of memory. */
static EVP_PKEY *signer_choose(struct token_signer *s, char ret_kid[KID_MAX + 1])
{
    pthread_mutex_lock(&s->lock);
    mono_ns_t now = clock_mono_ns();
    if (now >= s->read_after) {
        s->read_after = now + REREAD_S * NS_PER_S;
        enum err e = signer_read(s, NULL); /* on failure the keys there are go on signing */
        (void)e;
    }
    const struct signing_key *key = signer_pick(s, time(NULL));
    memcpy(s->last_kid, key->kid, sizeof(s->last_kid));
    memcpy(ret_kid, key->kid, sizeof(s->last_kid));
    EVP_PKEY *pkey = EVP_PKEY_up_ref(key->pkey) == 1 ? key->pkey : NULL;
    pthread_mutex_unlock(&s->lock);
    return pkey;
}

/* 0 or an errno, as libjwt says it. */
static int add_claims(jwt_t *jwt, const struct token_claims *claims)
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

    int failed = jwt_add_grant_int(jwt, "iat", (long)claims->iat);
    if (failed == 0)
        failed = jwt_add_grant_int(jwt, "exp", (long)claims->exp);
    for (size_t i = 0; failed == 0 && i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++)
        failed = jwt_add_grant(jwt, TEXTS[i].name, TEXTS[i].value);
    return failed;
}

/* The claims as JSON, by libjwt. Header and signature are ours: libjwt 1.10.2 overwrites typ with "JWT" when it signs and refuses
 * any other typ when it verifies, and access tokens are at+jwt (RFC 9068). The caller frees it; NULL: libjwt refused. */
static char *payload_of(const struct token_claims *claims)
{
    jwt_t *jwt = NULL;
    char *payload = NULL;
    if (jwt_new(&jwt) == 0 && add_claims(jwt, claims) == 0)
        payload = jwt_get_grants_json(jwt, NULL);
    jwt_free(jwt);
    return payload;
}

static bool sign(EVP_PKEY *pkey, struct str text, unsigned char ret_raw[SIGNATURE_SIZE])
{
    unsigned char der[DER_SIGNATURE_MAX];
    size_t der_len = sizeof(der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1 &&
                EVP_DigestSign(ctx, der, &der_len, (const unsigned char *)text.data, text.len) == 1;
    EVP_MD_CTX_free(ctx);

    const unsigned char *at = der;
    ECDSA_SIG *sig = good ? d2i_ECDSA_SIG(NULL, &at, (long)der_len) : NULL;
    enum { HALF = SIGNATURE_SIZE / 2 };
    good = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret_raw, HALF) == HALF &&
           BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret_raw + HALF, HALF) == HALF;
    ECDSA_SIG_free(sig);
    ERR_clear_error();
    return good;
}

static void append_base64url(struct buf *out, struct arena *arena, const void *data, size_t len)
{
    char *text = arena_alloc(arena, (4 * len + 2) / 3 + 1);
    str_base64url_encode(data, len, text);
    buf_str(out, text);
}

static char *encode(EVP_PKEY *pkey, const char *kid, const char *payload, struct arena *arena)
{
    const char *header = arena_printf(arena, "{\"alg\":\"" ALGORITHM "\",\"kid\":\"%s\",\"typ\":\"" TYPE "\"}", kid);
    unsigned char raw[SIGNATURE_SIZE];
    struct buf token;
    buf_init(&token);
    append_base64url(&token, arena, header, strlen(header));
    buf_char(&token, '.');
    append_base64url(&token, arena, payload, strlen(payload));

    char *text = NULL;
    if (sign(pkey, (struct str){token.data, token.len}, raw)) {
        buf_char(&token, '.');
        append_base64url(&token, arena, raw, sizeof(raw));
        text = arena_strdup(arena, token.data);
    }
    buf_done(&token);
    return text;
}

enum err token_sign(struct token_signer *s, const struct token_claims *claims, struct arena *arena, char **ret_token,
                    struct fault *fault)
{
    if (claims->customer_id <= 0 || claims->iat <= 0 || claims->exp <= claims->iat ||
        claims->exp - claims->iat > LIFE_MAX_S)
        return fault_set(fault, ERR_BUG, "sign token: claims that nobody would take");

    char kid[KID_MAX + 1];
    EVP_PKEY *pkey = signer_choose(s, kid);
    char *payload = payload_of(claims);
    char *token = pkey != NULL && payload != NULL ? encode(pkey, kid, payload, arena) : NULL;
    free(payload);
    EVP_PKEY_free(pkey);
    if (token == NULL)
        return fault_set(fault, ERR_BUG, "sign token: libjwt or OpenSSL refused");
    *ret_token = token;
    return ERR_OK;
}
