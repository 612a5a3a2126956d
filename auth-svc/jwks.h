/* jwks.h — the public keys as everybody may fetch them: JWKS_FILE's text as it stands.
 *
 * For     GET /.well-known/jwks.json. Only a text that the verifier has taken is given out, so neither half a file nor one
 *         that holds a private key.
 * Owns    the text.
 * Threads jwks_write: any. jwks_refresh: the process thread (as token_keys_refresh).
 * Fails   jwks_open: ERR_CONF. jwks_refresh: the text stays as it was; service.c logs why.
 */
#ifndef AUTH_SVC_JWKS_H
#define AUTH_SVC_JWKS_H

#include "base/buf.h"
#include "io/token.h"

struct jwks;
MUST_CHECK enum err jwks_open(const char *path, struct token_verifier *verifier, struct jwks **ret,
                              struct fault *fault);
void jwks_close(struct jwks *j); /* NULL is fine */
/* Reads the file again. */
MUST_CHECK enum err jwks_refresh(struct jwks *j, struct fault *fault);
void jwks_write(struct jwks *j, struct buf *out);
/* The keys' names, sorted as they stand in the file: "k1 k2". Any text that was taken has some. */
void jwks_write_names(struct jwks *j, struct buf *out);

#endif
