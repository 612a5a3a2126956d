/* password.h — what auth-svc keeps only as a hash: passwords and refresh tokens. The only user of libsodium.
 *
 * For     hashers' threads (a password hash takes 26 ms and 19 MiB) and, for refresh tokens, anybody.
 * Owns    nothing; memory for a hash is taken and wiped by libsodium at each call.
 * Threads any, after password_start.
 * Fails   ERR_BUSY when there is no memory for a hash. Reasons never quote a secret.
 */
#ifndef AUTH_SVC_PASSWORD_H
#define AUTH_SVC_PASSWORD_H

#include <stdbool.h>

#include "base/err.h"

enum {
    PASSWORD_HASH_MAX = 128,
    REFRESH_TOKEN_BYTES = 32,
    REFRESH_TOKEN_MAX = 44, /* base64url and the NUL */
    REFRESH_HASH_MAX = 65,  /* hex and the NUL */
};
/* Of argon2id, with one lane (RFC 9106). */
struct password_cost {
    size_t memory_kib;
    unsigned passes;
};

/* Once, before all others. */
MUST_CHECK enum err password_start(struct fault *fault);
/* In the PHC form, "$argon2id$v=19$m=19456,t=2,p=1$salt$hash": salt and cost go with it. */
MUST_CHECK enum err password_hash(struct password_cost cost, const char *password, char ret_hash[PASSWORD_HASH_MAX],
                                  struct fault *fault);
/* ERR_BAD_CREDENTIALS: it is another password. Takes as long as the hash's own cost says. */
MUST_CHECK enum err password_verify(const char *hash, const char *password, struct fault *fault);
/* A hash that no password has: who asks for a user that isn't there waits as long as for one who is. */
void password_hash_of_nobody(struct password_cost cost, char ret_hash[PASSWORD_HASH_MAX]);

/* 256 random bits, and what is kept of them. */
void refresh_token_new(char ret_token[REFRESH_TOKEN_MAX], char ret_hash[REFRESH_HASH_MAX]);
/* SHA-256 is enough: there is nothing to guess. */
void refresh_token_hash(const char *token, char ret_hash[REFRESH_HASH_MAX]);
/* Seals `successor` so that only who has `token` can read it, and opens it again: the one undoes the other. The pad is a keyed
 * hash of the token, as long as what it hides, and used for one successor: a one-time pad to whoever has only the hash.
 * false: one of them is no refresh token. */
MUST_CHECK bool refresh_token_seal(const char *token, const char *successor, char ret_sealed[REFRESH_TOKEN_MAX]);
/* The hash was made at a lower cost than this. */
bool password_is_cheap(const char *hash, struct password_cost cost);

#endif
