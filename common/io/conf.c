#include "io/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/json.h"

enum { CONFIG_FILE_MAX = 256 * 1024, SECRET_MAX = 4096, NAME_TEXT_MAX = 128, PORT_MAX = 65535 };

#ifndef BROKERAGE_VERSION
#define BROKERAGE_VERSION "unversioned"
#endif

/* One reading of the settings. */
struct reader {
    const struct conf_setting *table;
    struct arena *arena;
    char *ret; /* the settings struct */
    struct buf *complaints;
    struct json *file; /* NULL: none */
};

static void complain(struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void complain(struct reader *r, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    buf_printf(r->complaints, "%s\n", line);
}

/* ---- files ---- */

/* Up to max + 1 bytes, so that a file that is too large shows. */
static enum err read_fd(int fd, const char *path, char *text, size_t max, size_t *ret_len, struct fault *fault)
{
    size_t len = 0;
    while (len <= max) {
        ssize_t n = read(fd, text + len, max + 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fault_set(fault, ERR_CONF, "can't read \"%s\": %s", path, strerror(errno));
        if (n == 0)
            break;
        len += (size_t)n;
    }
    if (len > max)
        return fault_set(fault, ERR_CONF, "\"%s\" is larger than %zu bytes", path, max);
    *ret_len = len;
    return ERR_OK;
}

enum err conf_read_file(struct arena *arena, const char *path, size_t max, char **ret_text, size_t *ret_len,
                        struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fault_set(fault, ERR_CONF, "can't open \"%s\": %s", path, strerror(errno));

    char *text = mem_alloc(max + 1);
    size_t len = 0;
    enum err e = read_fd(fd, path, text, max, &len, fault);
    close(fd);
    if (e == ERR_OK) {
        *ret_text = arena_strndup(arena, text, len);
        *ret_len = len;
    }
    explicit_bzero(text, len); /* it may have been a secret; the arena's copy is the one that is meant to be */
    mem_free(text);
    return e;
}

/* ---- one kind, one check: text into the struct. NULL: done; else what is expected. ---- */

typedef const char *set_value(struct reader *r, const struct conf_setting *s, const char *text);

#define TARGET(r, s, type) ((type *)(void *)((r)->ret + (s)->offset))

static const char *set_text(struct reader *r, const struct conf_setting *s, const char *text)
{
    *TARGET(r, s, const char *) = arena_strdup(r->arena, text);
    return NULL;
}

static const char *set_int(struct reader *r, const struct conf_setting *s, const char *text)
{
    int64_t value;
    if (!str_to_i64(str_of(text), &value) || value < s->min || value > s->max)
        return arena_printf(r->arena, "an integer from %" PRId64 " to %" PRId64, s->min, s->max);
    *TARGET(r, s, int64_t) = value;
    return NULL;
}

static const char *set_bool(struct reader *r, const struct conf_setting *s, const char *text)
{
    static const struct {
        const char *text;
        bool value;
    } WORDS[] = {{"on", true}, {"true", true}, {"1", true}, {"off", false}, {"false", false}, {"0", false}};
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        if (strcmp(text, WORDS[i].text) != 0)
            continue;
        *TARGET(r, s, bool) = WORDS[i].value;
        return NULL;
    }
    return "on or off";
}

static const char *set_address(struct reader *r, const struct conf_setting *s, const char *text)
{
    const char *colon = strrchr(text, ':');
    int64_t port;
    bool good = colon != NULL && colon != text && str_to_i64(str_of(colon + 1), &port) && port >= 1 &&
                port <= PORT_MAX && strpbrk(text, " \t/@") == NULL;
    return good ? set_text(r, s, text) : "host:port with a port from 1 to 65535";
}

static const char *set_file(struct reader *r, const struct conf_setting *s, const char *text)
{
    if (access(text, R_OK) != 0)
        return arena_printf(r->arena, "a file or folder that can be read (%s)", strerror(errno));
    return set_text(r, s, text);
}

/* A password would stand between a ':' and an '@' before the host, or as a parameter. */
static const char *set_url(struct reader *r, const struct conf_setting *s, const char *text)
{
    const char *scheme = strstr(text, "://");
    if (scheme == NULL || (!str_starts(text, "postgresql://") && !str_starts(text, "postgres://")))
        return "a postgresql:// URL";

    const char *host = strrchr(text, '@');
    const char *colon = strchr(scheme + 3, ':');
    if ((host != NULL && colon != NULL && colon < host) || strcasestr(text, "password") != NULL)
        return "a URL without a password (it has a file of its own)";
    return set_text(r, s, text);
}

static const char *set_secret(struct reader *r, const struct conf_setting *s, const char *path)
{
    struct fault fault;
    char *secret = NULL;
    size_t len = 0;
    if (conf_read_file(r->arena, path, SECRET_MAX, &secret, &len, &fault) != ERR_OK)
        return arena_printf(r->arena, "a file of at most 4 KiB that can be read: %s", fault.why);

    while (len > 0 && (secret[len - 1] == '\n' || secret[len - 1] == '\r'))
        secret[--len] = '\0';
    if (len == 0 || strlen(secret) != len)
        return "a file that holds the secret, one line of text";
    *TARGET(r, s, const char *) = secret;
    return NULL;
}

static const struct kind {
    set_value *set;
    const char *shown; /* in the help */
    bool quoted;       /* the value may stand in a complaint */
} KINDS[] = {
    [CONF_TEXT] = {set_text, "TEXT", true},
    [CONF_INT] = {set_int, "NUMBER", true},
    [CONF_BOOL] = {set_bool, "on|off", true},
    [CONF_SECRET] = {set_secret, "FILE", true}, /* the value is the file's name */
    [CONF_ADDRESS] = {set_address, "HOST:PORT", true},
    [CONF_FILE] = {set_file, "FILE", true},
    [CONF_URL] = {set_url, "URL", false}, /* it may hold the password that is refused */
};

/* ---- where a value comes from ---- */

/* What the setting is called outside: a secret by the file that holds it. */
static void outside_name(const struct conf_setting *s, char ret_name[NAME_TEXT_MAX])
{
    snprintf(ret_name, NAME_TEXT_MAX, "%s%s", s->name, s->kind == CONF_SECRET ? "_FILE" : "");
}

static const char *member_text(struct reader *r, const char *name)
{
    const struct json *v = json_get(r->file, name);
    if (v == NULL)
        return NULL;
    if (json_type(v) == JSON_TRUE || json_type(v) == JSON_FALSE)
        return json_bool(v) ? "true" : "false";

    char number[40];
    struct str text = json_number_text(v, number);
    return arena_strndup(r->arena, text.data, text.len); /* "" for a list, an object and null: refused as empty */
}

static void refuse_bare_secret(struct reader *r, const struct conf_setting *s)
{
    if (s->kind == CONF_SECRET && (getenv(s->name) != NULL || json_get(r->file, s->name) != NULL))
        complain(r, "%s: a secret is given only as a file, named by %s_FILE", s->name, s->name);
}

static void read_setting(struct reader *r, const struct conf_setting *s)
{
    char name[NAME_TEXT_MAX];
    outside_name(s, name);
    refuse_bare_secret(r, s);

    const char *text = getenv(name);
    if (text == NULL)
        text = member_text(r, name);
    if (text == NULL)
        text = s->fallback;
    if (text == NULL) {
        if ((s->flags & CONF_REQUIRED) != 0)
            complain(r, "%s: is required (%s)", name, s->what != NULL ? s->what : "no default");
        return;
    }
    if (text[0] == '\0') {
        complain(r, "%s: is empty", name);
        return;
    }

    const char *expected = KINDS[s->kind].set(r, s, text);
    if (expected == NULL)
        return;
    if (KINDS[s->kind].quoted)
        complain(r, "%s: must be %s, not \"%s\"", name, expected, text);
    else
        complain(r, "%s: must be %s", name, expected);
}

/* Absent settings are NULL, 0, false. */
static void clear_setting(struct reader *r, const struct conf_setting *s)
{
    if (s->kind == CONF_INT)
        *TARGET(r, s, int64_t) = 0;
    else if (s->kind == CONF_BOOL)
        *TARGET(r, s, bool) = false;
    else
        *TARGET(r, s, const char *) = NULL;
}

/* ---- the file ---- */

static bool is_known(const struct conf_setting *table, const char *member)
{
    for (const struct conf_setting *s = table; s->name != NULL; s++) {
        char name[NAME_TEXT_MAX];
        outside_name(s, name);
        if (strcmp(name, member) == 0)
            return true;
    }
    return false;
}

static bool is_bare_secret(const struct conf_setting *table, const char *member)
{
    for (const struct conf_setting *s = table; s->name != NULL; s++)
        if (s->kind == CONF_SECRET && strcmp(s->name, member) == 0)
            return true; /* read_setting says so in its own words */
    return false;
}

static void on_member(void *arg, const char *name, const struct json *v)
{
    struct reader *r = arg;
    (void)v;
    bool process_table = name[0] >= 'a' && name[0] <= 'z';
    if (!process_table && !is_known(r->table, name) && !is_bare_secret(r->table, name))
        complain(r, "%s: is no setting of this program (in the --config file)", name);
}

static void read_config_file(struct reader *r, const char *path)
{
    struct fault fault;
    char *text = NULL;
    size_t len = 0;
    if (conf_read_file(r->arena, path, CONFIG_FILE_MAX, &text, &len, &fault) != ERR_OK ||
        json_parse((struct str){text, len}, &r->file, &fault) != ERR_OK) {
        complain(r, "--config \"%s\": %s", path, fault.why);
        return;
    }
    if (json_type(r->file) != JSON_OBJECT)
        complain(r, "--config \"%s\": must be an object", path);
    json_each(r->file, on_member, r);
}

/* ---- the command line ---- */

const char *conf_file_of(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--config") == 0)
            return argv[i + 1];
    return NULL;
}

bool conf_has_argument(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

static void read_arguments(struct reader *r, int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        bool named = strcmp(argv[i], "--config") == 0;
        if (!named)
            complain(r, "%s: is no argument of this program (--config FILE, --help, --version, --routes)", argv[i]);
        else if (i + 1 == argc || path != NULL)
            complain(r, "--config: must be given once, with a file");
        else
            path = argv[++i];
    }
    if (path != NULL)
        read_config_file(r, path);
}

void conf_print_help(const struct conf_setting *table, const char *program)
{
    printf("usage: %s [--config FILE] [--help | --version | --routes]\n\n"
           "Settings come from the environment, else from members of the --config file (a JSON object), else from "
           "defaults.\n\n",
           program);
    for (const struct conf_setting *s = table; s->name != NULL; s++) {
        char name[NAME_TEXT_MAX];
        outside_name(s, name);
        printf("  %-24s %-10s %s", name, KINDS[s->kind].shown, s->what != NULL ? s->what : "");
        if (s->kind == CONF_INT)
            printf(" (%" PRId64 " to %" PRId64 ")", s->min, s->max);
        if (s->fallback != NULL)
            printf(" [%s]", s->fallback);
        printf("%s\n", (s->flags & CONF_REQUIRED) != 0 && s->fallback == NULL ? " (required)" : "");
    }
}

static void answer_and_exit(const struct conf_setting *table, int argc, char **argv)
{
    const char *program = argc > 0 ? argv[0] : "";
    const char *slash = strrchr(program, '/');
    program = slash != NULL ? slash + 1 : program;
    if (conf_has_argument(argc, argv, "--help"))
        conf_print_help(table, program);
    else if (conf_has_argument(argc, argv, "--version"))
        printf("%s %s\n", program, BROKERAGE_VERSION);
    else
        return;
    exit(fflush(stdout) == 0 ? 0 : 1);
}

enum err conf_read(const struct conf_setting *table, int argc, char **argv, struct arena *arena, void *ret_settings,
                   struct buf *ret_complaints)
{
    answer_and_exit(table, argc, argv);

    struct reader r = {.table = table, .arena = arena, .ret = ret_settings, .complaints = ret_complaints};
    size_t before = ret_complaints->len;
    read_arguments(&r, argc, argv);
    for (const struct conf_setting *s = table; s->name != NULL; s++) {
        clear_setting(&r, s);
        read_setting(&r, s);
    }
    json_free(r.file);
    return ret_complaints->len == before ? ERR_OK : ERR_CONF;
}
