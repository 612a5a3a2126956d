#include "io/http_tls.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { CHAIN_MAX = 8, FILE_MAX = 64 * 1024, KEY_ID_MAX = 64 };

const char HTTP_TLS_PRIORITIES[] =
    "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+ECDHE-ECDSA:+ECDHE-RSA:+GROUP-X25519:+GROUP-SECP256R1:"
    "+GROUP-SECP384R1:+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-GCM:+AEAD:+SIGN-ALL:-SIGN-"
    "RSA-SHA1:-SIGN-ECDSA-SHA1:-SIGN-DSA-SHA1:+COMP-NULL:%SERVER_PRECEDENCE";

struct tls_pair {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
    int64_t not_after_s;
    atomic_int holders;
};

struct http_tls {
    const char *cert_file, *key_file;
    pthread_mutex_t mutex; /* for `shown` */
    struct tls_pair *shown;
};

/* ---- a pair ---- */

static void pair_free(struct tls_pair *pair)
{
    for (unsigned i = 0; i < pair->count; i++)
        gnutls_pcert_deinit(&pair->chain[i]);
    if (pair->key != NULL)
        gnutls_privkey_deinit(pair->key);
    mem_free(pair);
}

void tls_pair_drop(struct tls_pair *pair)
{
    if (pair != NULL && atomic_fetch_sub(&pair->holders, 1) == 1)
        pair_free(pair);
}

void tls_pair_show(struct tls_pair *pair, gnutls_pcert_st **ret_chain, unsigned *ret_count, gnutls_privkey_t *ret_key)
{
    *ret_chain = pair->chain;
    *ret_count = pair->count;
    *ret_key = pair->key;
}

/* ---- reading one ---- */

static enum err wrong(struct fault *fault, const char *file, const char *why)
{
    return fault_set(fault, ERR_CONF, "read \"%s\": %s", file, why);
}

static enum err read_whole(const char *file, char *ret_text, gnutls_datum_t *ret, struct fault *fault)
{
    FILE *f = fopen(file, "re");
    if (f == NULL)
        return wrong(fault, file, strerror(errno));
    size_t len = fread(ret_text, 1, FILE_MAX, f);
    fclose(f);
    if (len == 0 || len == FILE_MAX)
        return wrong(fault, file, len == 0 ? "it is empty" : "it is larger than 64 KiB");
    *ret = (gnutls_datum_t){(unsigned char *)ret_text, (unsigned)len};
    return ERR_OK;
}

static enum err parse_chain(struct tls_pair *pair, const gnutls_datum_t *pem, const char *file, struct fault *fault)
{
    gnutls_x509_crt_t certs[CHAIN_MAX];
    unsigned count = CHAIN_MAX;
    int rc = gnutls_x509_crt_list_import(certs, &count, pem, GNUTLS_X509_FMT_PEM,
                                         GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED |
                                             GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    if (rc < 0)
        return wrong(fault, file, gnutls_strerror(rc));
    pair->not_after_s = gnutls_x509_crt_get_expiration_time(certs[0]);
    for (unsigned i = 0; i < count && rc >= 0; i++) {
        rc = gnutls_pcert_import_x509(&pair->chain[i], certs[i], 0);
        pair->count += rc >= 0;
    }
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(certs[i]);
    return rc < 0 ? wrong(fault, file, gnutls_strerror(rc)) : ERR_OK;
}

static enum err parse_key(struct tls_pair *pair, const gnutls_datum_t *pem, const char *file, struct fault *fault)
{
    int rc = gnutls_privkey_init(&pair->key);
    if (rc >= 0)
        rc = gnutls_privkey_import_x509_raw(pair->key, pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    return rc < 0 ? wrong(fault, file, gnutls_strerror(rc)) : ERR_OK;
}

static bool is_key_of(gnutls_privkey_t key, gnutls_pubkey_t certified)
{
    unsigned char a[KEY_ID_MAX], b[KEY_ID_MAX];
    size_t a_len = sizeof a, b_len = sizeof b;
    gnutls_pubkey_t own;
    if (gnutls_pubkey_init(&own) < 0)
        return false;
    bool known = gnutls_pubkey_import_privkey(own, key, 0, 0) >= 0 &&
                 gnutls_pubkey_get_key_id(own, GNUTLS_KEYID_USE_SHA256, a, &a_len) >= 0 &&
                 gnutls_pubkey_get_key_id(certified, GNUTLS_KEYID_USE_SHA256, b, &b_len) >= 0;
    gnutls_pubkey_deinit(own);
    return known && a_len == b_len && memcmp(a, b, a_len) == 0;
}

static enum err read_into(const struct http_tls *tls, char *text, struct tls_pair *pair, struct fault *fault)
{
    gnutls_datum_t pem;
    enum err e = read_whole(tls->cert_file, text, &pem, fault);
    if (e == ERR_OK)
        e = parse_chain(pair, &pem, tls->cert_file, fault);
    if (e == ERR_OK)
        e = read_whole(tls->key_file, text, &pem, fault);
    if (e == ERR_OK)
        e = parse_key(pair, &pem, tls->key_file, fault);
    if (e == ERR_OK && !is_key_of(pair->key, pair->chain[0].pubkey))
        e = fault_set(fault, ERR_CONF, "\"%s\" is not the key of the first certificate in \"%s\"", tls->key_file,
                      tls->cert_file);
    return e;
}

static enum err pair_read(const struct http_tls *tls, struct tls_pair **ret, struct fault *fault)
{
    char *text = mem_alloc(FILE_MAX);
    struct tls_pair *pair = mem_alloc(sizeof *pair);
    atomic_store(&pair->holders, 1);
    enum err e = read_into(tls, text, pair, fault);
    gnutls_memset(text, 0, FILE_MAX); /* it held the key */
    mem_free(text);
    if (e != ERR_OK) {
        pair_free(pair);
        return e;
    }
    *ret = pair;
    return ERR_OK;
}

/* ---- the one that is shown ---- */

enum err http_tls_reload(struct http_tls *tls, struct fault *fault)
{
    struct tls_pair *fresh, *old;
    enum err e = pair_read(tls, &fresh, fault);
    if (e != ERR_OK)
        return e;
    pthread_mutex_lock(&tls->mutex);
    old = tls->shown;
    tls->shown = fresh;
    pthread_mutex_unlock(&tls->mutex);
    tls_pair_drop(old);
    return ERR_OK;
}

enum err http_tls_open(const char *cert_file, const char *key_file, struct http_tls **ret, struct fault *fault)
{
    struct http_tls *tls = mem_alloc(sizeof *tls);
    tls->cert_file = cert_file;
    tls->key_file = key_file;
    pthread_mutex_init(&tls->mutex, NULL);
    enum err e = http_tls_reload(tls, fault);
    if (e != ERR_OK) {
        http_tls_close(tls);
        return e;
    }
    *ret = tls;
    return ERR_OK;
}

void http_tls_close(struct http_tls *tls)
{
    if (tls == NULL)
        return;
    tls_pair_drop(tls->shown);
    pthread_mutex_destroy(&tls->mutex);
    mem_free(tls);
}

struct tls_pair *http_tls_take(struct http_tls *tls)
{
    pthread_mutex_lock(&tls->mutex);
    struct tls_pair *pair = tls->shown;
    atomic_fetch_add(&pair->holders, 1);
    pthread_mutex_unlock(&tls->mutex);
    return pair;
}

int64_t http_tls_not_after_s(struct http_tls *tls)
{
    struct tls_pair *pair = http_tls_take(tls);
    int64_t at = pair->not_after_s;
    tls_pair_drop(pair);
    return at;
}

size_t tls_send(gnutls_session_t session, const char *data, size_t len)
{
    ssize_t n = gnutls_record_send(session, data, len);
    return n < 0 ? 0 : (size_t)n;
}
