#include "password.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { SALT_BYTES = crypto_pwhash_SALTBYTES, HASH_BYTES = 32, KIB = 1024 };
_Static_assert((int)PASSWORD_HASH_MAX >= (int)crypto_pwhash_STRBYTES, "a hash must fit");

enum err password_start(struct fault *fault)
{
    return sodium_init() >= 0 ? ERR_OK : fault_set(fault, ERR_BUG, "libsodium could not be started");
}

enum err password_hash(struct password_cost cost, const char *password, char ret_hash[PASSWORD_HASH_MAX],
                       struct fault *fault)
{
    int failed = crypto_pwhash_str_alg(ret_hash, password, strlen(password), cost.passes, cost.memory_kib * KIB,
                                       crypto_pwhash_ALG_ARGON2ID13);
    return failed == 0 ? ERR_OK
                       : fault_set(fault, ERR_BUSY, "no memory for a password hash of %zu KiB", cost.memory_kib);
}

/* libsodium says -1 to a wrong password and to a lack of memory alike; only errno tells them apart, and an honest user must not
 * be told that his password is wrong. It compares in constant time. */
enum err password_verify(const char *hash, const char *password, struct fault *fault)
{
    errno = 0;
    if (crypto_pwhash_str_verify(hash, password, strlen(password)) == 0)
        return ERR_OK;
    if (errno == EINVAL)
        return fault_set(fault, ERR_BAD_CREDENTIALS, "it is another password");
    return fault_set(fault, ERR_BUSY, "a password could not be checked: no memory, or its hash is damaged");
}

static void random_base64(size_t len, char *ret_text, size_t cap)
{
    unsigned char bytes[HASH_BYTES];
    randombytes_buf(bytes, len);
    sodium_bin2base64(ret_text, cap, bytes, len, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

/* To find a password of a random hash is to break argon2id. */
void password_hash_of_nobody(struct password_cost cost, char ret_hash[PASSWORD_HASH_MAX])
{
    char salt[sodium_base64_ENCODED_LEN(SALT_BYTES, sodium_base64_VARIANT_ORIGINAL_NO_PADDING)];
    char hash[sodium_base64_ENCODED_LEN(HASH_BYTES, sodium_base64_VARIANT_ORIGINAL_NO_PADDING)];
    random_base64(SALT_BYTES, salt, sizeof salt);
    random_base64(HASH_BYTES, hash, sizeof hash);
    snprintf(ret_hash, PASSWORD_HASH_MAX, "$argon2id$v=19$m=%zu,t=%u,p=1$%s$%s", cost.memory_kib, cost.passes, salt,
             hash);
}

void refresh_token_new(char ret_token[REFRESH_TOKEN_MAX], char ret_hash[REFRESH_HASH_MAX])
{
    unsigned char bytes[REFRESH_TOKEN_BYTES];
    randombytes_buf(bytes, sizeof bytes);
    str_base64url_encode(bytes, sizeof bytes, ret_token);
    sodium_memzero(bytes, sizeof bytes);
    refresh_token_hash(ret_token, ret_hash);
}

void refresh_token_hash(const char *token, char ret_hash[REFRESH_HASH_MAX])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, (const unsigned char *)token, strlen(token));
    sodium_bin2hex(ret_hash, REFRESH_HASH_MAX, hash, sizeof hash);
}

bool refresh_token_seal(const char *token, const char *successor, char ret_sealed[REFRESH_TOKEN_MAX])
{
    static const unsigned char PURPOSE[] = "brokerage: a refresh token's successor";
    unsigned char pad[REFRESH_TOKEN_BYTES], bytes[REFRESH_TOKEN_BYTES];
    size_t len;
    if (strlen(token) != REFRESH_TOKEN_MAX - 1 || !str_base64url_decode(str_of(successor), bytes, sizeof bytes, &len) ||
        len != sizeof bytes)
        return false;
    crypto_generichash(pad, sizeof pad, (const unsigned char *)token, REFRESH_TOKEN_MAX - 1, PURPOSE,
                       sizeof PURPOSE - 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] ^= pad[i];
    str_base64url_encode(bytes, sizeof bytes, ret_sealed);
    sodium_memzero(pad, sizeof pad);
    sodium_memzero(bytes, sizeof bytes);
    return true;
}

/* Moves *at past `label` and the number after it. */
static bool take_number(const char **at, const char *label, unsigned long *ret)
{
    size_t len = strlen(label);
    if (strncmp(*at, label, len) != 0)
        return false;
    char *end;
    *ret = strtoul(*at + len, &end, 10);
    bool any = end != *at + len;
    *at = end;
    return any;
}

bool password_is_cheap(const char *hash, struct password_cost cost)
{
    unsigned long memory_kib, passes;
    return !take_number(&hash, "$argon2id$v=19$m=", &memory_kib) || !take_number(&hash, ",t=", &passes) ||
           memory_kib < cost.memory_kib || passes < cost.passes;
}
