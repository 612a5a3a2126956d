#include "gateway/conf.h"

enum { IN_FLIGHT_LIMITED = 64, IN_FLIGHT_UNLIMITED = 512 };

#define AT(member) offsetof(struct gateway_conf, member)

/* clang-format off */
const struct conf_setting GATEWAY_SETTINGS[] = {
    {"LISTEN", CONF_ADDRESS, AT(listen), 0, "127.0.0.1:8080", 0, 0, "where clients come"},
    {"OPERATOR_LISTEN", CONF_ADDRESS, AT(operator_listen), 0, "127.0.0.1:9080", 0, 0, "/livez, /readyz, /metrics"},
    {"JWKS_FILE", CONF_FILE, AT(jwks_file), CONF_REQUIRED, NULL, 0, 0, "the public keys that tokens are checked with"},
    {"TLS_CERT_FILE", CONF_FILE, AT(tls_cert_file), 0, NULL, 0, 0, "PEM: certificate and chain; with it LISTEN speaks HTTPS only"},
    {"TLS_KEY_FILE", CONF_FILE, AT(tls_key_file), 0, NULL, 0, 0, "PEM: its private key; both files are read again at SIGHUP"},
    {"KAFKA_BROKERS", CONF_TEXT, AT(kafka_brokers), CONF_REQUIRED, NULL, 0, 0, "host:port, comma separated: from there it hears which sessions have ended"},
    {"TRUSTED_PROXIES", CONF_TEXT, AT(trusted_text), 0, NULL, 0, 0, "addresses or networks of proxies before us: whose X-Forwarded-For is believed; nobody's if not given"},
    {"OTLP_ENDPOINT", CONF_TEXT, AT(otlp_endpoint), 0, NULL, 0, 0, "http://host:4318, a collector of traces; off if not given"},
    {"LOG_LEVEL", CONF_TEXT, AT(log_level_text), 0, "info", 0, 0, "debug, info (with a line a request), warn or error"},
    {"HTTP_THREADS", CONF_INT, AT(threads), 0, "2", 1, 64, "loops, each with its own connections to the services"},
    {"LIMITS", CONF_BOOL, AT(limits), 0, "on", 0, 0, "off, for load tests only: no quotas, no cap an address, 512 requests to an instance at a time"},
    {"UPSTREAM_IN_FLIGHT_MAX", CONF_INT, AT(in_flight_max), 0, NULL, 1, 4096, "requests to an instance at the same time, of all loops; 64 if not given"},
    {"UPSTREAM_RESOLVE_S", CONF_INT, AT(resolve_s), 0, "10", 1, 3600, "how often the names of services' hosts are asked for again"},
    {"DRAIN_MIN_MS", CONF_INT, AT(drain_min_ms), 0, "2000", 0, 4000, "after SIGTERM, how long to go on taking connections while /readyz says 503"},
    {.name = NULL},
};
/* clang-format on */

enum err gateway_conf_read(int argc, char **argv, struct arena *arena, struct gateway_conf *ret,
                           struct buf *ret_complaints)
{
    enum err e = conf_read(GATEWAY_SETTINGS, argc, argv, arena, ret, ret_complaints);
    if (ret->log_level_text != NULL && !log_level_parse(ret->log_level_text, &ret->log_level)) {
        buf_printf(ret_complaints, "LOG_LEVEL: must be debug, info, warn or error, not \"%s\"\n", ret->log_level_text);
        e = ERR_CONF;
    }
    if ((ret->tls_cert_file == NULL) != (ret->tls_key_file == NULL)) {
        buf_printf(ret_complaints, "TLS_CERT_FILE, TLS_KEY_FILE: give both or neither\n");
        e = ERR_CONF;
    }
    struct fault fault;
    if (ret->trusted_text != NULL && networks_parse(ret->trusted_text, &ret->trusted_proxies, &fault) != ERR_OK) {
        buf_printf(ret_complaints, "TRUSTED_PROXIES: %s\n", fault.why);
        e = ERR_CONF;
    }
    if (e != ERR_OK)
        return e;
    if (ret->in_flight_max == 0)
        ret->in_flight_max = ret->limits ? IN_FLIGHT_LIMITED : IN_FLIGHT_UNLIMITED;
    return ERR_OK;
}
