/* http_tls.h — a server's certificate and key: read from PEM files, checked, and read again while connections go on.
 *
 * For     http.c, when a server is to speak HTTPS. The library under it does the rest of TLS.
 * Owns    http_tls owns the pair that is shown now; a connection holds the pair that it was shown (http_tls_take) until it
 *         drops it, so a pair that was replaced lives as long as its last connection.
 * Threads http_tls_take, tls_pair_drop, http_tls_reload: any. Opening and closing: main.
 * Fails   with the file and what is wrong with it; a pair that is refused leaves the one before.
 */
#ifndef IO_HTTP_TLS_H
#define IO_HTTP_TLS_H

#include <gnutls/abstract.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* TLS 1.2 and 1.3, ephemeral keys and authenticated ciphers only; the server chooses. */
extern const char HTTP_TLS_PRIORITIES[];

struct tls_pair;
struct http_tls;
MUST_CHECK enum err http_tls_open(const char *cert_file, const char *key_file, struct http_tls **ret,
                                  struct fault *fault);
MUST_CHECK enum err http_tls_reload(struct http_tls *tls, struct fault *fault);
void http_tls_close(struct http_tls *tls);          /* NULL is fine */
int64_t http_tls_not_after_s(struct http_tls *tls); /* when the certificate that is shown now ends */

struct tls_pair *http_tls_take(struct http_tls *tls);
void tls_pair_drop(struct tls_pair *pair); /* NULL is fine */
/* What GnuTLS asks for in a handshake; stays the pair's. */
void tls_pair_show(struct tls_pair *pair, gnutls_pcert_st **ret_chain, unsigned *ret_count, gnutls_privkey_t *ret_key);

/* As send(2), without waiting; 0: the session took nothing. */
size_t tls_send(gnutls_session_t session, const char *data, size_t len);

#endif
