/* token.h — access tokens: ES256, typ at+jwt, ten minutes (api.md, Tokens; RFC 9068, RFC 8725).
 *
 * For     auth-svc signs; the gateway and every service verify for themselves. Form, header and claims are pinned here;
 *         OpenSSL turns a JWK into a key, signs and verifies. libjwt writes the claims and no more: 1.10.2 overwrites typ
 *         with "JWT", refuses at+jwt, takes any algorithm a token names and verifies nothing without a key. Verified
 *         tokens are remembered by their text until they expire or the keys change (0.1 us instead of about 100); that a
 *         session has ended is asked every time.
 * Owns    a verifier owns its key set; the set in use is swapped whole when JWKS_FILE changes.
 * Threads token_verify, token_session_revoke, token_sign: any thread at once. One thread calls token_keys_refresh now and then.
 * Fails   ERR_UNAUTHENTICATED with a reason that is safe to show (never the token's text).
 */
#ifndef IO_TOKEN_H
#define IO_TOKEN_H

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

enum { TOKEN_MAX = 4096, TOKEN_LIFE_S = 600, TOKEN_LEEWAY_S = 30, TOKEN_KEYS_MAX = 16 };
enum token_role {
    ROLE_CUSTOMER,
    ROLE_ADMIN,
    ROLE_NEWCOMER, /* whose password somebody else knows: he may set another one, and no more */
};
const char *token_role_name(enum token_role role); /* "CUSTOMER", "ADMIN", "NEWCOMER" */

struct token_claims {
    int64_t customer_id;
    enum token_role role;
    struct uuid sid, jti;
    int64_t iat, exp; /* seconds */
};

struct token_verifier;
/* Reads JWKS_FILE; ERR_CONF when it can't be read or holds no usable key. cache_size: verified tokens
 * remembered (0: none), rounded up to a multiple of 64. */
MUST_CHECK enum err token_verifier_open(const char *jwks_file, size_t cache_size, struct token_verifier **ret,
                                        struct fault *fault);
void token_verifier_close(struct token_verifier *v);
/* now in seconds. An unknown kid makes the file be read again, at most once in 10 s. */
MUST_CHECK enum err token_verify(struct token_verifier *v, struct str token, int64_t now_s, struct token_claims *ret,
                                 struct fault *fault);
/* From now on tokens of that session are refused, remembered ones too, until until_s: when the last one has expired, so its end
 * + TOKEN_LIFE_S + TOKEN_LEEWAY_S. With more sessions than token_denied.h has room for, all tokens issued so far are. */
void token_session_revoke(struct token_verifier *v, struct uuid sid, int64_t until_s);
/* Tokens issued up to then are refused for want of that room (seconds); 0: none. */
int64_t token_floor_s(struct token_verifier *v);
/* Reads the file again if it changed (mtime, size, inode); on failure the last good set stays. */
MUST_CHECK enum err token_keys_refresh(struct token_verifier *v, struct fault *fault);
size_t token_key_count(struct token_verifier *v);
/* Since the file was last looked at and found good. */
int64_t token_keys_age_s(struct token_verifier *v);

struct token_signer; /* auth-svc only */
/* SIGNING_KEYS_DIR holds <kid>.pem (PKCS#8, P-256). The newest by mtime signs once it is 90 s old: by then every verifier has
 * its public half. The folder is read again at most once in 10 s. */
MUST_CHECK enum err token_signer_open(const char *keys_dir, struct token_signer **ret, struct fault *fault);
void token_signer_close(struct token_signer *s);
/* The token's text, in the arena. jti is made here (claims->jti is not read). ERR_BUG: impossible claims. */
MUST_CHECK enum err token_sign(struct token_signer *s, const struct token_claims *claims, struct arena *arena,
                               char **ret_token, struct fault *fault);

#endif
