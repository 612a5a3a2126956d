/* fuzz_token.c — any bytes as an access token, and any bytes as JWKS_FILE. Nobody knows the key's private half: no token may
 * pass. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW_S = 1800000000 };

/* The example of RFC 7515, appendix A.3. */
static const char JWKS[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k1\","
                           "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                           "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static enum err open_with(const void *jwks, size_t size, struct token_verifier **ret)
{
    int fd = memfd_create("jwks", MFD_CLOEXEC);
    assert(fd >= 0);
    ssize_t written = write(fd, jwks, size);
    assert(written == (ssize_t)size);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    enum err e = token_verifier_open(path, 64, ret, NULL);
    close(fd);
    return e;
}

static void as_keys(const uint8_t *data, size_t size)
{
    struct token_verifier *v = NULL;
    if (open_with(data, size, &v) == ERR_OK)
        assert(token_key_count(v) >= 1 && token_key_count(v) <= TOKEN_KEYS_MAX);
    token_verifier_close(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct token_verifier *verifier; /* made once: it reads a file */
    if (verifier == NULL) {
        enum err opened = open_with(JWKS, sizeof(JWKS) - 1, &verifier);
        assert(opened == ERR_OK);
    }
    struct token_claims claims;
    enum err e = token_verify(verifier, (struct str){(const char *)data, size}, NOW_S, &claims, NULL);
    assert(e == ERR_UNAUTHENTICATED);
    as_keys(data, size);
    return 0;
}
