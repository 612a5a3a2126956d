/* err.h — every way a call can end, in one list.
 *
 * For     return values in the whole program. Two families: *answers* (the caller asked for something that
 *         can't be had: invalid, not found, insufficient …) and *breakage* (something of ours or of the
 *         outside failed). The list gives the enum, the HTTP status, the wire code (api.md `code`; the
 *         problem's type is /problems/<code with hyphens>) and the title.
 * Owns    nothing; struct fault lives in its caller's storage.
 * Threads any; a fault belongs to one thread at a time.
 * Fails   never.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* clang-format off */
/*    name                        status  code                         title */
#define ERR_ANSWERS(X)                                                                                   \
    X(ERR_MALFORMED_REQUEST,       400, "malformed_request",         "The request is not valid HTTP")    \
    X(ERR_MALFORMED_JSON,          400, "malformed_json",            "The body is not valid JSON")       \
    X(ERR_INVALID,                 400, "validation_failed",         "Some fields are not valid")        \
    X(ERR_UNAUTHENTICATED,         401, "unauthenticated",           "A valid access token is needed")   \
    X(ERR_BAD_CREDENTIALS,         401, "invalid_credentials",       "User name or password is wrong")   \
    X(ERR_BAD_REFRESH_TOKEN,       401, "invalid_refresh_token",     "The refresh token is not valid")   \
    X(ERR_FORBIDDEN,               403, "forbidden",                 "Your role may not do this")        \
    X(ERR_PASSWORD_CHANGE_REQUIRED, 403, "password_change_required", "Change your password first")       \
    X(ERR_NOT_FOUND,               404, "not_found",                 "There is no such thing")           \
    X(ERR_ORDER_NOT_FOUND,         404, "order_not_found",           "There is no such order")           \
    X(ERR_METHOD_NOT_ALLOWED,      405, "method_not_allowed",        "This path has no such method")     \
    X(ERR_NOT_ACCEPTABLE,          406, "not_acceptable",            "No representation you accept")     \
    X(ERR_REQUEST_TIMEOUT,         408, "request_timeout",           "The request took too long to arrive") \
    X(ERR_CONFLICT,                409, "conflict",                  "The state forbids it")             \
    X(ERR_ORDER_NOT_CANCELABLE,    409, "order_not_cancelable",      "The order can't be canceled")      \
    X(ERR_ORDER_NOT_MATCHABLE,     409, "order_not_matchable",       "The order can't be matched")       \
    X(ERR_CLIENT_ORDER_ID_USED,    409, "client_order_id_used",      "That clientOrderId is taken")      \
    X(ERR_USERNAME_TAKEN,          409, "username_taken",            "That user name is taken")          \
    X(ERR_LAST_ADMIN,              409, "last_admin",                "The last active admin must stay one") \
    X(ERR_BODY_TOO_LARGE,          413, "body_too_large",            "The body is too large")            \
    X(ERR_URI_TOO_LONG,            414, "uri_too_long",              "The request target is too long")   \
    X(ERR_UNSUPPORTED_MEDIA_TYPE,  415, "unsupported_media_type",    "Send application/json")            \
    X(ERR_INSUFFICIENT,            422, "insufficient_usable_size",  "Not enough usable size")           \
    X(ERR_ASSET_NOT_TRADABLE,      422, "asset_not_tradable",        "That asset can't be traded")       \
    X(ERR_IDEMPOTENCY_KEY_REUSED,  422, "idempotency_key_reused",    "The key was used for something else") \
    X(ERR_RATE_LIMITED,            429, "rate_limited",              "Too many requests")                \
    X(ERR_HEADERS_TOO_LARGE,       431, "headers_too_large",         "The headers are too large")

#define ERR_BREAKAGE(X)                                                                                  \
    X(ERR_BUG,                     500, "internal",                  "Something went wrong here")        \
    X(ERR_DB,                      503, "unavailable",               "Try again shortly")                \
    X(ERR_KAFKA,                   503, "unavailable",               "Try again shortly")                \
    X(ERR_BUSY,                    503, "unavailable",               "Try again shortly")                \
    X(ERR_UPSTREAM,                503, "upstream_unavailable",      "A service behind us is away")      \
    X(ERR_CIRCUIT_OPEN,            503, "circuit_open",              "A service behind us fails and is left alone for a while") \
    X(ERR_UPSTREAM_TIMEOUT,        504, "outcome_unknown",           "No answer in time: repeat with the same Idempotency-Key") \
    X(ERR_OUTCOME_UNKNOWN,         504, "outcome_unknown",           "The outcome is not known: repeat with the same Idempotency-Key") \
    X(ERR_NOT_IMPLEMENTED,         501, "not_implemented",           "Not implemented")                  \
    X(ERR_CONF,                    500, "bad_settings",              "A setting is wrong")

enum err {
    ERR_OK = 0,
#define X(name, status, code, title) name,
    ERR_ANSWERS(X) ERR_BREAKAGE(X)
#undef X
    ERR_COUNT
};
/* clang-format on */

/* All outputs are constants. */
int err_status(enum err e);       /* HTTP status; 200 for ERR_OK */
const char *err_code(enum err e); /* "insufficient_usable_size" */
const char *err_title(enum err e);
bool err_is_breakage(enum err e); /* ours, not the caller's: logged at level error */

enum { FAULT_WHY_MAX = 384 };

/* Where the reason is recorded, once, where it happened. */
struct fault {
    enum err err;
    char why[FAULT_WHY_MAX]; /* a sentence, lower case, values quoted; for breakage: for the log only */
};

/* Records the reason and returns `e`, so that `return fault_set(f, ERR_DB, "…", …)` reads well. f may be NULL. */
enum err fault_set(struct fault *f, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
