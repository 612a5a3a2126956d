#include "io/token.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/json.h"
#include "unit.h"

enum { NOW_S = 1800000000, SIGNATURE_SIZE = 64 };

#define SID "0190f5fe-7c00-7a00-8000-000000000001"
#define JTI "0190f5fe-7c00-4a00-8000-000000000002"
#define HEADER "{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}"
#define WHO \
    "\"iss\":\"brokerage\",\"aud\":\"brokerage-api\",\"sub\":\"17\",\"sid\":\"" SID "\",\"jti\":\"" JTI \
    "\",\"role\":\"ADMIN\""
#define TIMES "\"iat\":1800000000,\"exp\":1800000600"
#define PAYLOAD "{" WHO "," TIMES "}"

/* ---- a signer that signs anything, and the files a verifier reads ---- */

static char folder[] = "/tmp/test_token_XXXXXX";
static EVP_PKEY *key1, *key2, *stranger;

static const char *path_in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    char temporary[300];
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *f = fopen(temporary, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(temporary, path), 0);
}

/* {"kty":"EC",…} of a key; more: further members with a leading comma. */
static void append_jwk(struct buf *out, EVP_PKEY *key, const char *kid, const char *more)
{
    unsigned char point[65];
    size_t len = 0;
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof(point), &len), 1);
    assert_int_equal(len, sizeof(point));
    char x[48], y[48];
    str_base64url_encode(point + 1, 32, x);
    str_base64url_encode(point + 33, 32, y);
    buf_printf(out, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}", kid, x, y, more);
}

static const char *write_jwks(EVP_PKEY *first, const char *first_kid, EVP_PKEY *second, const char *second_kid)
{
    struct buf text;
    buf_init(&text);
    buf_str(&text, "{\"keys\":[");
    append_jwk(&text, first, first_kid, ",\"use\":\"sig\",\"alg\":\"ES256\"");
    if (second != NULL) {
        buf_char(&text, ',');
        append_jwk(&text, second, second_kid, "");
    }
    buf_str(&text, "]}");
    const char *path = path_in_folder("jwks.json");
    write_text(path, text.data);
    buf_done(&text);
    return path;
}

static struct token_verifier *open_verifier(size_t cache_size)
{
    struct token_verifier *v = NULL;
    struct fault fault = {0};
    if (token_verifier_open(write_jwks(key1, "k1", NULL, NULL), cache_size, &v, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return v;
}

static void append_base64url(struct buf *out, const void *data, size_t len)
{
    char *text = mem_alloc(len * 2 + 4);
    str_base64url_encode(data, len, text);
    buf_str(out, text);
    mem_free(text);
}

static void append_signed_part(struct buf *out, const char *header, const char *payload)
{
    append_base64url(out, header, strlen(header));
    buf_char(out, '.');
    append_base64url(out, payload, strlen(payload));
}

/* DER: what OpenSSL makes. */
static size_t sign_der(EVP_PKEY *key, const struct buf *text, unsigned char *ret, size_t cap)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = cap;
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, ret, &len, (const unsigned char *)text->data, text->len), 1);
    EVP_MD_CTX_free(ctx);
    return len;
}

/* r and s of 32 bytes each: what ES256 wants. */
static void sign_raw(EVP_PKEY *key, const struct buf *text, unsigned char ret[SIGNATURE_SIZE])
{
    unsigned char der[128];
    const unsigned char *at = der;
    size_t len = sign_der(key, text, der, sizeof(der));
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
    assert_non_null(sig);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + 32, 32), 32);
    ECDSA_SIG_free(sig);
}

static void mint(struct buf *ret, EVP_PKEY *key, const char *header, const char *payload)
{
    unsigned char signature[SIGNATURE_SIZE];
    buf_reset(ret);
    append_signed_part(ret, header, payload);
    sign_raw(key, ret, signature);
    buf_char(ret, '.');
    append_base64url(ret, signature, sizeof(signature));
}

static struct str piece(const struct buf *b)
{
    return (struct str){buf_cstr(b), b->len};
}

static enum err verify_at(struct token_verifier *v, const struct buf *token, int64_t now_s, struct fault *fault)
{
    struct token_claims claims = {.customer_id = -7};
    enum err e = token_verify(v, piece(token), now_s, &claims, fault);
    assert_true(e == ERR_OK || claims.customer_id == -7); /* written only on success */
    return e;
}

/* Refused, with a reason, and with a reason that shows nothing of the token. */
static void expect_refused(struct token_verifier *v, const struct buf *token, const char *why)
{
    struct fault fault = {0};
    if (verify_at(v, token, NOW_S, &fault) != ERR_UNAUTHENTICATED)
        fail_msg("%s: was taken", why);
    ROW_CHECK(fault.err == ERR_UNAUTHENTICATED && str_starts(fault.why, "the access token "), why);
    ROW_CHECK(strstr(fault.why, "eyJ") == NULL, why);
}

static int make_files(void **state)
{
    (void)state;
    key1 = EVP_EC_gen("P-256");
    key2 = EVP_EC_gen("P-256");
    stranger = EVP_EC_gen("P-256");
    return key1 != NULL && key2 != NULL && stranger != NULL && mkdtemp(folder) != NULL ? 0 : -1;
}

static void remove_all(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char name[512];
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && unlink(name) != 0)
            remove_all(name);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

static int remove_files(void **state)
{
    (void)state;
    EVP_PKEY_free(key1);
    EVP_PKEY_free(key2);
    EVP_PKEY_free(stranger);
    remove_all(folder);
    return 0;
}

/* ---- refusals ---- */

static void headers_other_than_ours_are_refused_though_rightly_signed(void **state)
{
    (void)state;
    static const struct {
        const char *header, *why;
    } ROWS[] = {
        {"{\"alg\":\"none\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "alg none"},
        {"{\"alg\":\"None\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "alg None"},
        {"{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "alg HS256"},
        {"{\"alg\":\"es256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "alg in lower case, which libjwt takes"},
        {"{\"alg\":\"ES384\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "alg ES384"},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "alg RS256"},
        {"{\"alg\":[\"ES256\"],\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "alg is a list"},
        {"{\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "no alg"},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"JWT\"}", "typ JWT"},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"AT+JWT\"}", "typ in upper case"},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\"}", "no typ"},
        {"{\"alg\":\"ES256\",\"kid\":\"k9\",\"typ\":\"at+jwt\"}", "unknown kid"},
        {"{\"alg\":\"ES256\",\"kid\":\"\",\"typ\":\"at+jwt\"}", "empty kid"},
        {"{\"alg\":\"ES256\",\"kid\":\"../k1\",\"typ\":\"at+jwt\"}", "a kid that is a path"},
        {"{\"alg\":\"ES256\",\"kid\":1,\"typ\":\"at+jwt\"}", "a kid that is a number"},
        {"{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", "no kid"},
        {"{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"x\":\"k1\"}", "another member for kid"},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"at+jwt\",\"crit\":[\"exp\"]}", "crit"},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"at+jwt\",\"jku\":\"https://evil\"}", "jku"},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"at+jwt\",\"x5u\":\"https://evil\"}", "x5u"},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"at+jwt\",\"jwk\":{}}", "jwk"},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"at+jwt\",\"b64\":false}", "b64"},
        {"{\"alg\":\"ES256\",\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "alg twice"},
        {"{\"alg\":\"ES256\",\"kid\":\"k9\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", "kid twice"},
        {"[\"ES256\"]", "a list"},
        {"", "empty"},
        {"{", "cut off"},
        {HEADER "x", "trailing garbage"},
    };
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    buf_init(&token);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        mint(&token, key1, ROWS[i].header, PAYLOAD);
        expect_refused(v, &token, ROWS[i].why);
    }
    buf_done(&token);
    token_verifier_close(v);
}

static void claims_other_than_ours_are_refused_though_rightly_signed(void **state)
{
    (void)state;
#define REST ",\"sub\":\"17\",\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}"
#define FOR_US "{\"iss\":\"brokerage\",\"aud\":\"brokerage-api\","
    static const struct {
        const char *payload, *why;
    } ROWS[] = {
        {"{\"iss\":\"other\",\"aud\":\"brokerage-api\"" REST, "wrong iss"},
        {"{\"iss\":\"brokerage/\",\"aud\":\"brokerage-api\"" REST, "iss with a slash"},
        {"{\"iss\":[\"brokerage\"],\"aud\":\"brokerage-api\"" REST, "iss is a list"},
        {"{\"aud\":\"brokerage-api\"" REST, "no iss"},
        {"{\"iss\":\"brokerage\",\"aud\":\"internal\"" REST, "wrong aud"},
        {"{\"iss\":\"brokerage\",\"aud\":[\"brokerage-api\",\"internal\"]" REST, "two aud"},
        {"{\"iss\":\"brokerage\",\"aud\":[]" REST, "empty list of aud"},
        {"{\"iss\":\"brokerage\",\"aud\":[[\"brokerage-api\"]]" REST, "aud in a list in a list"},
        {"{\"iss\":\"brokerage\"" REST, "no aud"},
        {FOR_US "\"sub\":17,\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}", "sub is a number"},
        {FOR_US "\"sub\":\"0\",\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}", "sub 0"},
        {FOR_US "\"sub\":\"-1\",\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}", "sub -1"},
        {FOR_US "\"sub\":\"017\",\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}", "sub 017"},
        {FOR_US "\"sub\":\"17 \",\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}", "a space"},
        {FOR_US "\"sub\":\"9223372036854775808\",\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}",
         "sub beyond int64"},
        {FOR_US "\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}", "no sub"},
        {FOR_US "\"sub\":\"17\",\"sid\":\"x\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}", "sid is no UUID"},
        {FOR_US "\"sub\":\"17\",\"jti\":\"" JTI "\",\"role\":\"ADMIN\"," TIMES "}", "no sid"},
        {FOR_US "\"sub\":\"17\",\"sid\":\"" SID "\",\"jti\":\"1\",\"role\":\"ADMIN\"," TIMES "}", "jti is no UUID"},
        {FOR_US "\"sub\":\"17\",\"sid\":\"" SID "\",\"role\":\"ADMIN\"," TIMES "}", "no jti"},
        {FOR_US "\"sub\":\"17\",\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"ROOT\"," TIMES "}", "another role"},
        {FOR_US "\"sub\":\"17\",\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":\"admin\"," TIMES "}", "role admin"},
        {FOR_US "\"sub\":\"17\",\"sid\":\"" SID "\",\"jti\":\"" JTI "\",\"role\":[\"ADMIN\"]," TIMES "}",
         "a role list"},
        {FOR_US "\"sub\":\"17\",\"sid\":\"" SID "\",\"jti\":\"" JTI "\"," TIMES "}", "no role"},
        {"{" WHO ",\"iat\":1800000000}", "no exp"},
        {"{" WHO ",\"exp\":1800000600}", "no iat"},
        {"{" WHO ",\"iat\":1800000000,\"exp\":\"1800000600\"}", "exp is a text"},
        {"{" WHO ",\"iat\":1800000000,\"exp\":1800000600.0}", "exp is a real"},
        {"{" WHO ",\"iat\":1800000000,\"exp\":18e8}", "exp has an exponent"},
        {"{" WHO ",\"iat\":1800000000,\"exp\":true}", "exp is true"},
        {"{" WHO ",\"iat\":1800000000,\"exp\":null}", "exp is null"},
        {"{" WHO ",\"iat\":\"1800000000\",\"exp\":1800000600}", "iat is a text"},
        {"{" WHO ",\"iat\":1799999000,\"exp\":1799999600}", "expired"},
        {"{" WHO ",\"iat\":1799999369,\"exp\":1799999970}", "expired by exactly the leeway"},
        {"{" WHO ",\"iat\":1800000031,\"exp\":1800000600}", "issued in the future"},
        {"{" WHO ",\"iat\":1800000000,\"exp\":1800003601}", "lives longer than an hour"},
        {"{" WHO ",\"iat\":1800000000,\"exp\":999999999999999}", "lives for ever"},
        {"{" WHO ",\"iat\":-1,\"exp\":1800000600}", "issued before time"},
        {"{" WHO ",\"iat\":1800000010,\"exp\":1800000010}", "ends when it begins"},
        {"{" WHO "," TIMES ",\"nbf\":1800000031}", "nbf in the future"},
        {"{" WHO "," TIMES ",\"nbf\":\"0\"}", "nbf is a text"},
        {"{" WHO "," TIMES ",\"exp\":1800000601}", "exp twice"},
        {"{" WHO "," TIMES ",\"role\":\"CUSTOMER\"}", "role twice"},
        {"[]", "a list"},
        {"null", "null"},
        {"", "empty"},
    };
#undef REST
#undef FOR_US
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    buf_init(&token);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        mint(&token, key1, HEADER, ROWS[i].payload);
        expect_refused(v, &token, ROWS[i].why);
    }
    buf_done(&token);
    token_verifier_close(v);
}

static void a_public_key_used_as_an_hmac_secret_is_refused(void **state)
{
    (void)state;
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem = NULL;
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key1), 1);
    long pem_len = BIO_get_mem_data(bio, &pem);

    static const char *const HEADERS[] = {
        "{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}",
        HEADER, /* the header says ES256, the signature is an HMAC */
    };
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    buf_init(&token);
    for (size_t i = 0; i < LENGTH_OF(HEADERS); i++) {
        unsigned char mac[32], twice[64];
        buf_reset(&token);
        append_signed_part(&token, HEADERS[i], PAYLOAD);
        assert_non_null(HMAC(EVP_sha256(), pem, (int)pem_len, (const unsigned char *)token.data, token.len, mac, NULL));
        memcpy(twice, mac, 32);
        memcpy(twice + 32, mac, 32);
        buf_char(&token, '.');
        append_base64url(&token, twice, i == 0 ? 32 : 64);
        expect_refused(v, &token, HEADERS[i]);
    }
    BIO_free(bio);
    buf_done(&token);
    token_verifier_close(v);
}

static void a_stranger_s_signature_is_refused(void **state)
{
    (void)state;
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    buf_init(&token);
    mint(&token, stranger, HEADER, PAYLOAD);
    expect_refused(v, &token, "another key's signature");
    buf_done(&token);
    token_verifier_close(v);
}

static void every_flipped_bit_of_the_signature_is_refused(void **state)
{
    (void)state;
    struct token_verifier *v = open_verifier(64);
    unsigned char signature[SIGNATURE_SIZE];
    struct buf token;
    buf_init(&token);
    append_signed_part(&token, HEADER, PAYLOAD);
    size_t signed_len = token.len;
    sign_raw(key1, &token, signature);
    for (unsigned bit = 0; bit < SIGNATURE_SIZE * 8; bit += 7) {
        signature[bit / 8] ^= (unsigned char)(1U << bit % 8);
        token.len = signed_len;
        buf_char(&token, '.');
        append_base64url(&token, signature, sizeof(signature));
        expect_refused(v, &token, "a flipped bit");
        signature[bit / 8] ^= (unsigned char)(1U << bit % 8);
    }
    buf_done(&token);
    token_verifier_close(v);
}

/* Also when the right text has been verified and is remembered. */
static void every_other_text_of_a_good_token_is_refused(void **state)
{
    (void)state;
    struct token_verifier *v = open_verifier(64);
    struct buf good, bad;
    buf_init(&good);
    buf_init(&bad);
    mint(&good, key1, HEADER, PAYLOAD);
    assert_int_equal(verify_at(v, &good, NOW_S, NULL), ERR_OK);

    static const char *const BEHIND[] = {"=", "==", "===", "A", "AAAA", ".", ".x", " ", "\n", "!", "\r\n", "%00"};
    for (size_t i = 0; i < LENGTH_OF(BEHIND); i++) {
        buf_reset(&bad);
        buf_append(&bad, good.data, good.len);
        buf_str(&bad, BEHIND[i]);
        expect_refused(v, &bad, BEHIND[i]);
    }
    buf_reset(&bad);
    buf_append(&bad, good.data, good.len + 1);
    expect_refused(v, &bad, "a NUL behind");

    static const char INSIDE[] = {'=', '!', ' ', '\n', '.', '+', '/', '\0', '\x80'};
    for (size_t at = 0; at <= good.len; at += 11) {
        for (size_t i = 0; i < sizeof(INSIDE); i++) {
            buf_reset(&bad);
            buf_append(&bad, good.data, at);
            buf_char(&bad, INSIDE[i]);
            buf_append(&bad, good.data + at, good.len - at);
            expect_refused(v, &bad, "junk inside");
        }
    }

    /* 64 bytes are 86 characters; the last carries two bits, so fifteen others mean the same bytes to a lax decoder. */
    static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < sizeof(ALPHABET) - 1; i++) {
        if (ALPHABET[i] == good.data[good.len - 1])
            continue;
        buf_reset(&bad);
        buf_append(&bad, good.data, good.len - 1);
        buf_char(&bad, ALPHABET[i]);
        expect_refused(v, &bad, "another last character");
    }
    for (size_t len = 0; len < good.len; len++) {
        buf_reset(&bad);
        buf_append(&bad, good.data, len);
        expect_refused(v, &bad, "cut short");
    }
    assert_int_equal(verify_at(v, &good, NOW_S, NULL), ERR_OK);
    buf_done(&good);
    buf_done(&bad);
    token_verifier_close(v);
}

static void signatures_of_another_form_are_refused(void **state)
{
    (void)state;
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    unsigned char signature[128] = {0};
    buf_init(&token);

    append_signed_part(&token, HEADER, PAYLOAD);
    size_t len = sign_der(key1, &token, signature, sizeof(signature));
    buf_char(&token, '.');
    append_base64url(&token, signature, len);
    expect_refused(v, &token, "DER");

    static const size_t SIZES[] = {0, 1, 32, 63, 64, 65, 96, 128};
    memset(signature, 0, sizeof(signature));
    for (size_t i = 0; i < LENGTH_OF(SIZES); i++) {
        buf_reset(&token);
        append_signed_part(&token, HEADER, PAYLOAD);
        buf_char(&token, '.');
        append_base64url(&token, signature, SIZES[i]);
        expect_refused(v, &token, "zeros");
    }

    buf_reset(&token);
    append_signed_part(&token, HEADER, PAYLOAD);
    expect_refused(v, &token, "no signature");
    buf_done(&token);
    token_verifier_close(v);
}

static void texts_that_are_no_token_are_refused(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        "", ".", "..", "...", "a.b.c", "Bearer x", "\xff\xfe.\xff.\xff", "eyJhbGciOiJub25lIn0..", "null"};
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    buf_init(&token);
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        buf_reset(&token);
        buf_str(&token, ROWS[i]);
        struct fault fault = {0};
        ROW_CHECK(verify_at(v, &token, NOW_S, &fault) == ERR_UNAUTHENTICATED, ROWS[i]);
    }
    buf_done(&token);
    token_verifier_close(v);
}

static void a_token_of_more_than_four_kilobytes_is_refused_though_rightly_signed(void **state)
{
    (void)state;
    struct token_verifier *v = open_verifier(64);
    struct buf payload, token;
    buf_init(&payload);
    buf_init(&token);
    for (int fill = 2500; fill <= 3500; fill += 250) {
        buf_reset(&payload);
        buf_printf(&payload, "{" WHO "," TIMES ",\"fill\":\"%0*d\"}", fill, 0);
        mint(&token, key1, HEADER, payload.data);
        assert_int_equal(verify_at(v, &token, NOW_S, NULL), token.len <= TOKEN_MAX ? ERR_OK : ERR_UNAUTHENTICATED);
    }
    assert_true(token.len > TOKEN_MAX);
    buf_done(&payload);
    buf_done(&token);
    token_verifier_close(v);
}

/* ---- what is taken ---- */

static void a_good_token_gives_its_claims_from_the_cache_and_without(void **state)
{
    (void)state;
    static const size_t CACHES[] = {0, 64};
    struct buf token;
    buf_init(&token);
    mint(&token, key1, HEADER, PAYLOAD);
    for (size_t i = 0; i < LENGTH_OF(CACHES); i++) {
        struct token_verifier *v = open_verifier(CACHES[i]);
        for (int times = 0; times < 2; times++) {
            struct token_claims claims;
            assert_int_equal(token_verify(v, piece(&token), NOW_S, &claims, NULL), ERR_OK);
            assert_int_equal(claims.customer_id, 17);
            assert_int_equal(claims.role, ROLE_ADMIN);
            assert_int_equal(claims.iat, NOW_S);
            assert_int_equal(claims.exp, NOW_S + 600);
            char sid[UUID_TEXT_MAX], jti[UUID_TEXT_MAX];
            uuid_format(claims.sid, sid);
            uuid_format(claims.jti, jti);
            assert_string_equal(sid, SID);
            assert_string_equal(jti, JTI);
        }
        token_verifier_close(v);
    }
    buf_done(&token);
}

static void an_audience_in_a_list_of_one_is_taken(void **state)
{
    (void)state;
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    buf_init(&token);
    mint(&token, key1, HEADER,
         "{\"iss\":\"brokerage\",\"aud\":[\"brokerage-api\"],\"sub\":\"17\",\"sid\":\"" SID "\",\"jti\":\"" JTI
         "\",\"role\":\"CUSTOMER\",\"nbf\":1800000000,\"other\":{}," TIMES "}");
    assert_int_equal(verify_at(v, &token, NOW_S, NULL), ERR_OK);
    buf_done(&token);
    token_verifier_close(v);
}

static void a_token_is_good_from_its_issue_to_its_end_with_the_leeway(void **state)
{
    (void)state;
    static const struct {
        int64_t now_s;
        enum err err;
    } ROWS[] = {
        {NOW_S - 31, ERR_UNAUTHENTICATED},       {NOW_S - 30, ERR_OK}, {NOW_S, ERR_OK}, {NOW_S + 600 + 29, ERR_OK},
        {NOW_S + 600 + 30, ERR_UNAUTHENTICATED},
    };
    static const size_t CACHES[] = {0, 64};
    struct buf token;
    buf_init(&token);
    mint(&token, key1, HEADER, PAYLOAD);
    for (size_t i = 0; i < LENGTH_OF(CACHES); i++) {
        struct token_verifier *v = open_verifier(CACHES[i]);
        assert_int_equal(verify_at(v, &token, NOW_S, NULL), ERR_OK); /* remembered from here on */
        for (size_t k = 0; k < LENGTH_OF(ROWS); k++)
            assert_int_equal(verify_at(v, &token, ROWS[k].now_s, NULL), ROWS[k].err);
        token_verifier_close(v);
    }
    buf_done(&token);
}

static void more_tokens_than_the_cache_holds_are_all_verified(void **state)
{
    (void)state;
    enum { TOKENS = 200 };
    struct token_verifier *v = open_verifier(1);
    struct buf tokens[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        char payload[512];
        snprintf(payload, sizeof(payload),
                 "{\"iss\":\"brokerage\",\"aud\":\"brokerage-api\",\"sub\":\"%d\",\"sid\":\"" SID "\",\"jti\":\"" JTI
                 "\",\"role\":\"CUSTOMER\"," TIMES "}",
                 i + 1);
        buf_init(&tokens[i]);
        mint(&tokens[i], key1, HEADER, payload);
    }
    for (int times = 0; times < 2; times++) {
        for (int i = 0; i < TOKENS; i++) {
            struct token_claims claims;
            assert_int_equal(token_verify(v, piece(&tokens[i]), NOW_S, &claims, NULL), ERR_OK);
            assert_int_equal(claims.customer_id, i + 1);
        }
    }
    for (int i = 0; i < TOKENS; i++)
        buf_done(&tokens[i]);
    token_verifier_close(v);
}

/* ---- keys ---- */

static void a_wrong_key_file_is_refused_with_its_reason(void **state)
{
    (void)state;
    struct buf good;
    buf_init(&good);
    append_jwk(&good, key1, "k1", "");
    struct buf many;
    buf_init(&many);
    for (int i = 0; i <= TOKEN_KEYS_MAX; i++) {
        char kid[16];
        snprintf(kid, sizeof(kid), "k%d", i);
        buf_str(&many, i == 0 ? "{\"keys\":[" : ",");
        append_jwk(&many, key1, kid, "");
    }
    buf_str(&many, "]}");

#define X "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
#define Y "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define EC "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
    const struct {
        const char *text, *reason, *why;
    } ROWS[] = {
        {"", "the text ends too early", "empty"},
        {"{\"keys\":[", "the text ends too early", "cut off"},
        {"[]", "holds no P-256 key", "a list"},
        {"{}", "holds no P-256 key", "no keys"},
        {"{\"keys\":[]}", "holds no P-256 key", "empty list"},
        {"{\"keys\":[1,null,\"x\"]}", "holds no P-256 key", "no objects"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k1\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "holds no P-256 key", "RSA"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"kid\":\"k1\"," X "," Y "}]}", "holds no P-256 key", "P-384"},
        {EC "\"kid\":\"k1\",\"use\":\"enc\"," X "," Y "}]}", "holds no P-256 key", "for encryption"},
        {EC "\"kid\":\"k1\",\"alg\":\"ES384\"," X "," Y "}]}", "holds no P-256 key", "for another algorithm"},
        {EC X "," Y "}]}", "a key has no kid", "no kid"},
        {EC "\"kid\":\"a b\"," X "," Y "}]}", "a key has no kid", "a kid with a space"},
        {EC "\"kid\":\"k1\"," X "}]}", "is no point of P-256", "no y"},
        {EC "\"kid\":\"k1\"," Y ","
            "\"x\":\"AA\"}]}",
         "is no point of P-256", "a short x"},
        {EC "\"kid\":\"k1\"," X ",\"y\":\"x_FFzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}", "is no point of P-256",
         "a point off the curve"},
        {EC "\"kid\":\"k1\"," X ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0=\"}]}", "is no point of P-256",
         "padding"},
        {EC "\"kid\":\"k1\",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"," X "," Y "}]}",
         "holds a private key", "a private key"},
        {EC "\"kid\":\"k1\"," X "," Y "},{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k1\"," X "," Y "}]}",
         "\"k1\" twice", "a kid twice"},
        {many.data, "has more than 16 keys", "too many"},
    };
#undef X
#undef Y
#undef EC
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        const char *path = path_in_folder("jwks.json");
        write_text(path, ROWS[i].text);
        struct token_verifier *v = NULL;
        struct fault fault = {0};
        ROW_CHECK(token_verifier_open(path, 64, &v, &fault) == ERR_CONF && v == NULL, ROWS[i].why);
        if (strstr(fault.why, ROWS[i].reason) == NULL)
            fail_msg("%s: %s", ROWS[i].why, fault.why);
    }
    struct token_verifier *v = NULL;
    struct fault fault = {0};
    assert_int_equal(token_verifier_open("/no/such/file", 64, &v, &fault), ERR_CONF);
    buf_done(&good);
    buf_done(&many);
}

static void keys_of_other_kinds_are_passed_over(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text);
    buf_str(&text, "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"r\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\"},");
    append_jwk(&text, key1, "k1", "");
    buf_str(&text, "],\"more\":1}");
    const char *path = path_in_folder("jwks.json");
    write_text(path, text.data);
    struct token_verifier *v = NULL;
    assert_int_equal(token_verifier_open(path, 64, &v, NULL), ERR_OK);
    assert_int_equal(token_key_count(v), 1);
    token_verifier_close(v);
    buf_done(&text);
}

#define HEADER2 "{\"alg\":\"ES256\",\"kid\":\"k2\",\"typ\":\"at+jwt\"}"

static void keys_rotate_without_a_token_lost(void **state)
{
    (void)state;
    struct token_verifier *v = open_verifier(64);
    struct buf old, new;
    buf_init(&old);
    buf_init(&new);
    mint(&old, key1, HEADER, PAYLOAD);
    mint(&new, key2, HEADER2, PAYLOAD);
    assert_int_equal(verify_at(v, &old, NOW_S, NULL), ERR_OK);

    write_jwks(key1, "k1", key2, "k2");
    assert_int_equal(token_keys_refresh(v, NULL), ERR_OK);
    assert_int_equal(token_key_count(v), 2);
    assert_int_equal(verify_at(v, &old, NOW_S, NULL), ERR_OK);
    assert_int_equal(verify_at(v, &new, NOW_S, NULL), ERR_OK);

    write_jwks(key2, "k2", NULL, NULL);
    assert_int_equal(token_keys_refresh(v, NULL), ERR_OK);
    expect_refused(v, &old, "its key is gone, though it was remembered");
    assert_int_equal(verify_at(v, &new, NOW_S, NULL), ERR_OK);

    write_jwks(key1, "k2", NULL, NULL);
    assert_int_equal(token_keys_refresh(v, NULL), ERR_OK);
    expect_refused(v, &new, "its kid is another key's now");
    buf_done(&old);
    buf_done(&new);
    token_verifier_close(v);
}

static void an_unknown_kid_makes_the_file_be_read_again_but_not_at_once_twice(void **state)
{
    (void)state;
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    buf_init(&token);
    mint(&token, key2, HEADER2, PAYLOAD);
    write_jwks(key1, "k1", key2, "k2");
    assert_int_equal(verify_at(v, &token, NOW_S, NULL), ERR_OK);

    write_jwks(key1, "k1", key2, "k3");
    mint(&token, key2, "{\"alg\":\"ES256\",\"kid\":\"k3\",\"typ\":\"at+jwt\"}", PAYLOAD);
    expect_refused(v, &token, "read a moment ago");
    assert_int_equal(token_keys_refresh(v, NULL), ERR_OK);
    assert_int_equal(verify_at(v, &token, NOW_S, NULL), ERR_OK);
    buf_done(&token);
    token_verifier_close(v);
}

static void the_last_good_keys_stay_when_the_file_goes_bad(void **state)
{
    (void)state;
    struct token_verifier *fresh = open_verifier(0);
    assert_in_range(token_keys_age_s(fresh), 0, 5);
    token_verifier_close(fresh);
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    buf_init(&token);
    mint(&token, key1, HEADER, PAYLOAD);
    struct fault fault = {0};
    write_text(path_in_folder("jwks.json"), "{\"keys\":[]}");
    assert_int_equal(token_keys_refresh(v, &fault), ERR_CONF);
    assert_int_equal(verify_at(v, &token, NOW_S, NULL), ERR_OK);
    unlink(path_in_folder("jwks.json"));
    assert_int_equal(token_keys_refresh(v, &fault), ERR_CONF);
    assert_int_equal(token_key_count(v), 1);
    assert_int_equal(verify_at(v, &token, NOW_S, NULL), ERR_OK);
    write_jwks(key1, "k1", NULL, NULL);
    assert_int_equal(token_keys_refresh(v, &fault), ERR_OK);
    buf_done(&token);
    token_verifier_close(v);
}

/* ---- threads ---- */

enum { THREADS = 4, TIMES_EACH = 300 };
struct sharing {
    struct token_verifier *verifier;
    struct buf tokens[8];
    atomic_int wrong;
    atomic_bool done;
};

static void *verify_many(void *arg)
{
    struct sharing *s = arg;
    for (int i = 0; i < TIMES_EACH; i++) {
        struct token_claims claims;
        const struct buf *token = &s->tokens[i % 8];
        if (token_verify(s->verifier, piece(token), NOW_S, &claims, NULL) != ERR_OK || claims.customer_id != i % 8 + 1)
            atomic_fetch_add(&s->wrong, 1);
    }
    return NULL;
}

static void *rotate_often(void *arg)
{
    struct sharing *s = arg;
    for (int i = 0; !atomic_load(&s->done); i++) {
        if (i % 2 == 0)
            write_jwks(key1, "k1", key2, "k2");
        else
            write_jwks(key1, "k1", NULL, NULL);
        if (token_keys_refresh(s->verifier, NULL) != ERR_OK)
            atomic_fetch_add(&s->wrong, 1);
    }
    return NULL;
}

static void threads_verify_while_keys_rotate(void **state)
{
    (void)state;
    struct sharing s = {.verifier = open_verifier(64)};
    for (int i = 0; i < 8; i++) {
        char payload[512];
        snprintf(payload, sizeof(payload),
                 "{\"iss\":\"brokerage\",\"aud\":\"brokerage-api\",\"sub\":\"%d\",\"sid\":\"" SID "\",\"jti\":\"" JTI
                 "\",\"role\":\"CUSTOMER\"," TIMES "}",
                 i + 1);
        buf_init(&s.tokens[i]);
        mint(&s.tokens[i], key1, HEADER, payload);
    }
    pthread_t threads[THREADS], rotator;
    assert_int_equal(pthread_create(&rotator, NULL, rotate_often, &s), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, verify_many, &s), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&s.done, true);
    pthread_join(rotator, NULL);
    assert_int_equal(s.wrong, 0);
    for (int i = 0; i < 8; i++)
        buf_done(&s.tokens[i]);
    token_verifier_close(s.verifier);
}

/* ---- sessions that end ---- */

static struct uuid sid_of_payload(void)
{
    struct uuid sid;
    assert_true(uuid_parse(str_of(SID), &sid));
    return sid;
}

static void a_token_of_an_ended_session_is_refused_remembered_or_not(void **state)
{
    (void)state;
    static const size_t CACHES[] = {64, 0};
    for (size_t i = 0; i < LENGTH_OF(CACHES); i++) {
        struct token_verifier *v = open_verifier(CACHES[i]);
        struct fault fault = {0};
        struct buf token, others;
        buf_init(&token);
        buf_init(&others);
        mint(&token, key1, HEADER, PAYLOAD);
        mint(&others, key1, HEADER,
             "{\"iss\":\"brokerage\",\"aud\":\"brokerage-api\",\"sub\":\"17\",\"sid\":\"" JTI "\",\"jti\":\"" JTI
             "\",\"role\":\"ADMIN\"," TIMES "}");
        assert_int_equal(verify_at(v, &token, NOW_S, NULL), ERR_OK);
        token_session_revoke(v, sid_of_payload(), NOW_S + 630);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(verify_at(v, &token, NOW_S, &fault), ERR_UNAUTHENTICATED);
            assert_string_equal(fault.why, "the access token is of a session that has ended");
            assert_int_equal(verify_at(v, &others, NOW_S, NULL), ERR_OK);
        }
        assert_int_equal(token_floor_s(v), 0);
        buf_done(&token);
        buf_done(&others);
        token_verifier_close(v);
    }
}

static void a_session_that_ended_before_its_token_is_first_seen_is_refused_too(void **state)
{
    (void)state;
    struct token_verifier *v = open_verifier(64);
    struct buf token;
    buf_init(&token);
    mint(&token, key1, HEADER, PAYLOAD);
    token_session_revoke(v, sid_of_payload(), NOW_S + 630);
    assert_int_equal(verify_at(v, &token, NOW_S, NULL), ERR_UNAUTHENTICATED);
    buf_done(&token);
    token_verifier_close(v);
}

/* ---- signing ---- */

static void write_key(const char *dir, const char *file, EVP_PKEY *key, int age_s)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
    struct timespec times[2] = {{.tv_sec = time(NULL) - age_s}, {.tv_sec = time(NULL) - age_s}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static const char *keys_folder(void)
{
    static char dir[300];
    snprintf(dir, sizeof(dir), "%s/signing", folder);
    remove_all(dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    return dir;
}

static const struct token_claims CLAIMS = {
    .customer_id = 42, .role = ROLE_CUSTOMER, .sid = {.bytes = {9}}, .iat = NOW_S, .exp = NOW_S + TOKEN_LIFE_S};

static void what_is_signed_is_verified(void **state)
{
    (void)state;
    const char *dir = keys_folder();
    write_key(dir, "k1.pem", key1, 1000);
    struct token_signer *s = NULL;
    assert_int_equal(token_signer_open(dir, &s, NULL), ERR_OK);
    struct token_verifier *v = open_verifier(64);
    struct arena arena;
    arena_init(&arena);

    struct uuid jtis[2];
    for (int i = 0; i < 2; i++) {
        char *token = NULL;
        struct token_claims claims;
        struct fault fault = {0};
        assert_int_equal(token_sign(s, &CLAIMS, &arena, &token, &fault), ERR_OK);
        if (token_verify(v, str_of(token), NOW_S, &claims, &fault) != ERR_OK)
            fail_msg("%s", fault.why);
        assert_int_equal(claims.customer_id, 42);
        assert_int_equal(claims.role, ROLE_CUSTOMER);
        assert_true(uuid_eq(claims.sid, CLAIMS.sid));
        assert_int_equal(claims.iat, NOW_S);
        assert_int_equal(claims.exp, NOW_S + TOKEN_LIFE_S);
        jtis[i] = claims.jti;
    }
    assert_false(uuid_eq(jtis[0], jtis[1]));
    arena_done(&arena);
    token_signer_close(s);
    token_verifier_close(v);
}

static void claims_that_nobody_would_take_are_not_signed(void **state)
{
    (void)state;
    const char *dir = keys_folder();
    write_key(dir, "k1.pem", key1, 1000);
    struct token_signer *s = NULL;
    assert_int_equal(token_signer_open(dir, &s, NULL), ERR_OK);
    struct arena arena;
    arena_init(&arena);
    struct token_claims bad[] = {CLAIMS, CLAIMS, CLAIMS, CLAIMS};
    bad[0].customer_id = 0;
    bad[1].exp = bad[1].iat;
    bad[2].exp = bad[2].iat + 3601;
    bad[3].iat = 0;
    for (size_t i = 0; i < LENGTH_OF(bad); i++) {
        char *token = NULL;
        assert_int_equal(token_sign(s, &bad[i], &arena, &token, NULL), ERR_BUG);
        assert_null(token);
    }
    arena_done(&arena);
    token_signer_close(s);
}

/* The kid that a freshly opened signer names. */
static void expect_kid(const char *dir, const char *kid, const char *why)
{
    struct token_signer *s = NULL;
    struct fault fault = {0};
    if (token_signer_open(dir, &s, &fault) != ERR_OK)
        fail_msg("%s: %s", why, fault.why);
    struct arena arena;
    arena_init(&arena);
    char *token = NULL;
    assert_int_equal(token_sign(s, &CLAIMS, &arena, &token, &fault), ERR_OK);
    char header[512] = "";
    size_t len = 0;
    struct str part = {token, strcspn(token, ".")};
    assert_true(str_base64url_decode(part, (unsigned char *)header, sizeof(header) - 1, &len));
    struct json *root = NULL;
    assert_int_equal(json_parse((struct str){header, len}, &root, NULL), ERR_OK);
    ROW_CHECK(str_eq(json_text(json_get(root, "kid")), kid), why);
    json_free(root);
    arena_done(&arena);
    token_signer_close(s);
}

static void the_newest_key_signs_once_it_is_ninety_seconds_old(void **state)
{
    (void)state;
    const char *dir = keys_folder();
    write_key(dir, "a.pem", key1, 5);
    write_key(dir, "b.pem", key2, 1);
    expect_kid(dir, "a", "both are young: the older one");
    write_key(dir, "a.pem", key1, 1000);
    expect_kid(dir, "a", "the new one is still unknown to verifiers");
    write_key(dir, "b.pem", key2, 100);
    expect_kid(dir, "b", "the newest that is old enough");
    write_key(dir, "c.pem", stranger, 100);
    expect_kid(dir, "c", "names break a tie");
}

static void folders_without_a_usable_key_are_refused(void **state)
{
    (void)state;
    struct token_signer *s = NULL;
    struct fault fault = {0};
    assert_int_equal(token_signer_open("/no/such/folder", &s, &fault), ERR_CONF);
    const char *dir = keys_folder();
    assert_int_equal(token_signer_open(dir, &s, &fault), ERR_CONF);
    assert_non_null(strstr(fault.why, "has no <kid>.pem"));

    static const struct {
        const char *group, *why;
    } ROWS[] = {{"P-384", "another curve"}, {"secp256k1", "another curve of the same size"}};
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        EVP_PKEY *other = EVP_EC_gen(ROWS[i].group);
        write_key(dir, "k1.pem", other, 1000);
        ROW_CHECK(token_signer_open(dir, &s, &fault) == ERR_CONF && s == NULL, ROWS[i].why);
        EVP_PKEY_free(other);
    }
    EVP_PKEY *rsa = EVP_RSA_gen(2048);
    write_key(dir, "k1.pem", rsa, 1000);
    assert_int_equal(token_signer_open(dir, &s, &fault), ERR_CONF);
    EVP_PKEY_free(rsa);

    char path[300];
    snprintf(path, sizeof(path), "%s/k1.pem", dir);
    write_text(path, "no key");
    assert_int_equal(token_signer_open(dir, &s, &fault), ERR_CONF);
    unlink(path);
    write_key(dir, "a b.pem", key1, 1000);
    assert_int_equal(token_signer_open(dir, &s, &fault), ERR_CONF);
    assert_null(s);
    token_signer_close(NULL);
    token_verifier_close(NULL);
}

/* Not a race against the machine: a hit costs well under a microsecond, a verification about 300. */
static void a_remembered_token_is_far_cheaper_than_a_new_one(void **state)
{
    (void)state;
    enum { HITS = 20000 };
    struct token_verifier *v = open_verifier(4096);
    struct buf token;
    buf_init(&token);
    mint(&token, key1, HEADER, PAYLOAD);
    mono_ns_t before = clock_mono_ns();
    assert_int_equal(verify_at(v, &token, NOW_S, NULL), ERR_OK);
    mono_ns_t first = clock_mono_ns() - before;

    struct token_claims claims;
    before = clock_mono_ns();
    for (int i = 0; i < HITS; i++)
        assert_int_equal(token_verify(v, piece(&token), NOW_S, &claims, NULL), ERR_OK);
    mono_ns_t hit = (clock_mono_ns() - before) / HITS;
    print_message("first %lld ns, then %lld ns (%zu bytes)\n", (long long)first, (long long)hit, token.len);
    assert_true(hit * 5 < first);
    buf_done(&token);
    token_verifier_close(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_other_than_ours_are_refused_though_rightly_signed),
        cmocka_unit_test(claims_other_than_ours_are_refused_though_rightly_signed),
        cmocka_unit_test(a_public_key_used_as_an_hmac_secret_is_refused),
        cmocka_unit_test(a_stranger_s_signature_is_refused),
        cmocka_unit_test(every_flipped_bit_of_the_signature_is_refused),
        cmocka_unit_test(every_other_text_of_a_good_token_is_refused),
        cmocka_unit_test(signatures_of_another_form_are_refused),
        cmocka_unit_test(texts_that_are_no_token_are_refused),
        cmocka_unit_test(a_token_of_more_than_four_kilobytes_is_refused_though_rightly_signed),
        cmocka_unit_test(a_good_token_gives_its_claims_from_the_cache_and_without),
        cmocka_unit_test(an_audience_in_a_list_of_one_is_taken),
        cmocka_unit_test(a_token_is_good_from_its_issue_to_its_end_with_the_leeway),
        cmocka_unit_test(more_tokens_than_the_cache_holds_are_all_verified),
        cmocka_unit_test(a_wrong_key_file_is_refused_with_its_reason),
        cmocka_unit_test(keys_of_other_kinds_are_passed_over),
        cmocka_unit_test(keys_rotate_without_a_token_lost),
        cmocka_unit_test(an_unknown_kid_makes_the_file_be_read_again_but_not_at_once_twice),
        cmocka_unit_test(the_last_good_keys_stay_when_the_file_goes_bad),
        cmocka_unit_test(threads_verify_while_keys_rotate),
        cmocka_unit_test(a_token_of_an_ended_session_is_refused_remembered_or_not),
        cmocka_unit_test(a_session_that_ended_before_its_token_is_first_seen_is_refused_too),
        cmocka_unit_test(what_is_signed_is_verified),
        cmocka_unit_test(claims_that_nobody_would_take_are_not_signed),
        cmocka_unit_test(the_newest_key_signs_once_it_is_ninety_seconds_old),
        cmocka_unit_test(folders_without_a_usable_key_are_refused),
        cmocka_unit_test(a_remembered_token_is_far_cheaper_than_a_new_one),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
