/* conf.h — the gateway's settings; its routes and upstreams are in the config file (routes.h).
 *
 * For     main.  Owns nothing: text is in the caller's arena.  Threads: main.  Fails: as io/conf.h.
 */
#ifndef GATEWAY_CONF_H
#define GATEWAY_CONF_H

#include "io/conf.h"
#include "io/log.h"
#include "io/networks.h"

struct gateway_conf {
    const char *listen, *operator_listen, *jwks_file, *kafka_brokers, *trusted_text, *log_level_text, *tls_cert_file,
        *tls_key_file, *otlp_endpoint;
    int64_t threads, in_flight_max, resolve_s, drain_min_ms;
    bool limits;

    struct networks trusted_proxies;
    enum log_level log_level;
};
extern const struct conf_setting GATEWAY_SETTINGS[];
MUST_CHECK enum err gateway_conf_read(int argc, char **argv, struct arena *arena, struct gateway_conf *ret,
                                      struct buf *ret_complaints);

#endif
