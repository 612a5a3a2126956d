#include "io/conf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "unit.h"

struct settings {
    const char *listen, *db_url, *db_password, *jwks_file, *environment, *brokers;
    int64_t threads;
    bool limits;
};

static const struct conf_setting TABLE[] = {
    {.name = "T_LISTEN",
     .kind = CONF_ADDRESS,
     .offset = offsetof(struct settings, listen),
     .fallback = "127.0.0.1:8080",
     .what = "where to listen"},
    {.name = "T_DB_URL",
     .kind = CONF_URL,
     .offset = offsetof(struct settings, db_url),
     .flags = CONF_REQUIRED,
     .what = "the database"},
    {.name = "T_DB_PASSWORD", .kind = CONF_SECRET, .offset = offsetof(struct settings, db_password)},
    {.name = "T_JWKS_FILE", .kind = CONF_FILE, .offset = offsetof(struct settings, jwks_file)},
    {.name = "T_ENVIRONMENT", .kind = CONF_TEXT, .offset = offsetof(struct settings, environment)},
    {.name = "T_BROKERS", .kind = CONF_TEXT, .offset = offsetof(struct settings, brokers), .flags = CONF_REQUIRED},
    {.name = "T_THREADS",
     .kind = CONF_INT,
     .offset = offsetof(struct settings, threads),
     .fallback = "2",
     .min = 1,
     .max = 64},
    {.name = "T_LIMITS", .kind = CONF_BOOL, .offset = offsetof(struct settings, limits), .fallback = "on"},
    {.name = NULL},
};

/* A reading with only the given NAME=value pairs in the environment (NULL-ended), and a config file (or NULL). */
struct reading {
    struct arena arena;
    struct settings settings;
    struct buf complaints;
    enum err err;
};

static const char *write_file(const char *text, size_t len)
{
    static char path[] = "/tmp/test_conf_XXXXXX";
    strcpy(path + sizeof(path) - 7, "XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
    return path;
}

static void read_settings(struct reading *r, const char *const *pairs, const char *file)
{
    memset(r, 0, sizeof(*r));
    memset(&r->settings, 0x55, sizeof(r->settings)); /* absent settings must be set too */
    arena_init(&r->arena);
    buf_init(&r->complaints);
    clearenv();
    for (; pairs != NULL && *pairs != NULL; pairs++) {
        char pair[8192];
        assert_true(str_copy(pair, sizeof(pair), str_of(*pairs)));
        char *equals = strchr(pair, '=');
        *equals = '\0';
        setenv(pair, equals + 1, 1);
    }

    char program[] = "order-svc", option[] = "--config", path[64] = "";
    if (file != NULL)
        strcpy(path, write_file(file, strlen(file)));
    char *argv[] = {program, option, path, NULL};
    r->err = conf_read(TABLE, file != NULL ? 3 : 1, argv, &r->arena, &r->settings, &r->complaints);
    if (file != NULL)
        unlink(path);
}

static void reading_done(struct reading *r)
{
    arena_done(&r->arena);
    buf_done(&r->complaints);
}

#define GOOD_URL "T_DB_URL=postgresql://orders_app@127.0.0.1:8090/brokerage"
#define GOOD_BROKERS "T_BROKERS=127.0.0.1:8091"

static void each_wrong_setting_gets_its_complaint(void **state)
{
    (void)state;
    static const struct {
        const char *pair, *complaint, *why;
    } ROWS[] = {
        {"T_LISTEN=8080", "T_LISTEN: must be host:port with a port from 1 to 65535, not \"8080\"\n", "no host"},
        {"T_LISTEN=:8080", "T_LISTEN: must be host:port", "empty host"},
        {"T_LISTEN=localhost:0", "T_LISTEN: must be host:port", "port 0"},
        {"T_LISTEN=localhost:65536", "T_LISTEN: must be host:port", "port too large"},
        {"T_LISTEN=localhost:080", "T_LISTEN: must be host:port", "leading zero"},
        {"T_LISTEN=local host:80", "T_LISTEN: must be host:port", "a space"},
        {"T_LISTEN=http://localhost:80", "T_LISTEN: must be host:port", "a URL"},
        {"T_LISTEN=", "T_LISTEN: is empty\n", "empty is not absent"},
        {"T_ENVIRONMENT=", "T_ENVIRONMENT: is empty\n", "an empty text too"},
        {"T_THREADS=0", "T_THREADS: must be an integer from 1 to 64, not \"0\"\n", "below"},
        {"T_THREADS=65", "T_THREADS: must be an integer from 1 to 64", "above"},
        {"T_THREADS=two", "T_THREADS: must be an integer from 1 to 64", "a word"},
        {"T_THREADS=2 ", "T_THREADS: must be an integer from 1 to 64", "a space"},
        {"T_LIMITS=yes", "T_LIMITS: must be on or off, not \"yes\"\n", "another word"},
        {"T_JWKS_FILE=/no/such/file", "T_JWKS_FILE: must be a file or folder that can be read (No such file",
         "missing"},
        {"T_DB_PASSWORD_FILE=/no/such/file",
         "T_DB_PASSWORD_FILE: must be a file of at most 4 KiB that can be read: ", "missing"},
        {"T_DB_PASSWORD_FILE=/dev/null", "T_DB_PASSWORD_FILE: must be a file that holds the secret", "empty file"},
        {"T_DB_PASSWORD_FILE=/tmp",
         "T_DB_PASSWORD_FILE: must be a file of at most 4 KiB that can be read: ", "a folder"},
        {"T_DB_PASSWORD_FILE=/dev/zero", "T_DB_PASSWORD_FILE: must be a file of at most 4 KiB", "without end"},
        {"T_DB_PASSWORD=hunter2", "T_DB_PASSWORD: a secret is given only as a file, named by T_DB_PASSWORD_FILE\n",
         "a bare secret"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct reading r;
        const char *const pairs[] = {GOOD_URL, GOOD_BROKERS, ROWS[i].pair, NULL};
        read_settings(&r, pairs, NULL);
        ROW_CHECK(r.err == ERR_CONF, ROWS[i].why);
        if (!str_starts(buf_cstr(&r.complaints), ROWS[i].complaint))
            fail_msg("%s: %s", ROWS[i].why, buf_cstr(&r.complaints));
        ROW_CHECK(strstr(buf_cstr(&r.complaints), "hunter2") == NULL, "no secret in a complaint");
        reading_done(&r);
    }
}

static void a_url_with_a_password_is_refused_and_not_shown(void **state)
{
    (void)state;
    static const struct {
        const char *pair, *why;
    } ROWS[] = {
        {"T_DB_URL=postgresql://u:hunter2@h/db", "user:password@"},
        {"T_DB_URL=postgresql://u:hun/ter2@h/db", "a slash in it"},
        {"T_DB_URL=postgresql://u:hun@hunter2@h/db", "an @ in it"},
        {"T_DB_URL=postgresql://u@h/db?password=hunter2", "a parameter"},
        {"T_DB_URL=postgresql://u@h/db?a=b&PASSWORD=hunter2", "a later parameter"},
        {"T_DB_URL=host=h password=hunter2", "libpq's other form"},
        {"T_DB_URL=mysql://u@hunter2/db", "another scheme"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct reading r;
        const char *const pairs[] = {ROWS[i].pair, GOOD_BROKERS, NULL};
        read_settings(&r, pairs, NULL);
        ROW_CHECK(r.err == ERR_CONF && str_starts(buf_cstr(&r.complaints), "T_DB_URL: must be a "), ROWS[i].why);
        ROW_CHECK(strstr(buf_cstr(&r.complaints), "hunter2") == NULL, ROWS[i].why);
        reading_done(&r);
    }
}

static void all_wrong_and_missing_settings_are_named_at_once(void **state)
{
    (void)state;
    struct reading r;
    const char *const pairs[] = {"T_LISTEN=x", "T_THREADS=x", NULL};
    read_settings(&r, pairs, "{\"T_LIMIT\":true,\"T_LIMITS\":\"maybe\",\"T_DB_PASSWORD\":\"hunter2\"}");
    assert_int_equal(r.err, ERR_CONF);
    assert_string_equal(buf_cstr(&r.complaints),
                        "T_LIMIT: is no setting of this program (in the --config file)\n"
                        "T_LISTEN: must be host:port with a port from 1 to 65535, not \"x\"\n"
                        "T_DB_URL: is required (the database)\n"
                        "T_DB_PASSWORD: a secret is given only as a file, named by T_DB_PASSWORD_FILE\n"
                        "T_BROKERS: is required (no default)\n"
                        "T_THREADS: must be an integer from 1 to 64, not \"x\"\n"
                        "T_LIMITS: must be on or off, not \"maybe\"\n");
    reading_done(&r);
}

static void a_config_file_that_is_wrong_is_named_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *complaint, *why;
    } ROWS[] = {
        {"{", "the text ends too early at byte 1", "cut off"},
        {"[]", "must be an object", "a list"},
        {"{\"T_THREADS\":3,\"T_THREADS\":4}", "a member that is there twice", "twice"},
        {"{\"T_THREADS\":[3]}", "T_THREADS: is empty", "a list for a number"},
        {"{\"T_THREADS\":null}", "T_THREADS: is empty", "null"},
        {"{\"T_THREADS\":2.5}", "T_THREADS: must be an integer", "a fraction"},
        {"{\"_x\":1}", "_x: is no setting", "neither upper nor lower case"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct reading r;
        const char *const pairs[] = {GOOD_URL, GOOD_BROKERS, NULL};
        read_settings(&r, pairs, ROWS[i].text);
        ROW_CHECK(r.err == ERR_CONF && strstr(buf_cstr(&r.complaints), ROWS[i].complaint) != NULL, ROWS[i].why);
        reading_done(&r);
    }
}

static void wrong_arguments_are_named(void **state)
{
    (void)state;
    clearenv();
    setenv("T_DB_URL", "postgresql://u@h/db", 1);
    setenv("T_BROKERS", "h:1", 1);
    char program[] = "p", config[] = "--config", missing[] = "/no/such/file", wrong[] = "--verbose";
    const struct {
        int argc;
        char *argv[6];
        const char *complaint;
    } ROWS[] = {
        {2, {program, wrong}, "--verbose: is no argument of this program"},
        {2, {program, config}, "--config: must be given once, with a file"},
        {5, {program, config, missing, config, missing}, "--config: must be given once, with a file"},
        {3, {program, config, missing}, "--config \"/no/such/file\": can't open"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct reading r = {.err = ERR_OK};
        arena_init(&r.arena);
        buf_init(&r.complaints);
        r.err = conf_read(TABLE, ROWS[i].argc, (char **)ROWS[i].argv, &r.arena, &r.settings, &r.complaints);
        ROW_CHECK(r.err == ERR_CONF && str_starts(buf_cstr(&r.complaints), ROWS[i].complaint), ROWS[i].complaint);
        reading_done(&r);
    }
}

static void defaults_stand_where_nothing_is_given(void **state)
{
    (void)state;
    struct reading r;
    const char *const pairs[] = {GOOD_URL, GOOD_BROKERS, NULL};
    read_settings(&r, pairs, NULL);
    assert_string_equal(buf_cstr(&r.complaints), "");
    assert_int_equal(r.err, ERR_OK);
    assert_string_equal(r.settings.listen, "127.0.0.1:8080");
    assert_int_equal(r.settings.threads, 2);
    assert_true(r.settings.limits);
    assert_null(r.settings.db_password);
    assert_null(r.settings.jwks_file);
    assert_null(r.settings.environment);
    reading_done(&r);
}

static void the_environment_wins_over_the_file_and_the_file_over_defaults(void **state)
{
    (void)state;
    struct reading r;
    const char *const pairs[] = {GOOD_URL, GOOD_BROKERS, "T_THREADS=8", "T_LISTEN=[::1]:9000", NULL};
    read_settings(&r, pairs,
                  "{\"T_THREADS\":4,\"T_LIMITS\":false,\"T_ENVIRONMENT\":\"prod\",\"routes\":[{\"path\":\"/\"}],"
                  "\"upstreams\":{\"T_X\":1}}");
    assert_string_equal(buf_cstr(&r.complaints), "");
    assert_int_equal(r.settings.threads, 8);
    assert_string_equal(r.settings.listen, "[::1]:9000");
    assert_false(r.settings.limits);
    assert_string_equal(r.settings.environment, "prod");
    reading_done(&r);
}

static void a_secret_is_its_file_s_text_without_the_last_newline(void **state)
{
    (void)state;
    static const struct {
        struct str file;
        const char *secret; /* NULL: refused */
        const char *why;
    } ROWS[] = {
        {STR_INIT("hunter2"), "hunter2", "no newline"},
        {STR_INIT("hunter2\n"), "hunter2", "newline"},
        {STR_INIT("hunter2\r\n"), "hunter2", "a Windows newline"},
        {STR_INIT(" a b \n"), " a b ", "spaces belong to it"},
        {STR_INIT("\n"), NULL, "nothing but a newline"},
        {STR_INIT("a\0b"), NULL, "a NUL would cut it"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        const char *path = write_file(ROWS[i].file.data, ROWS[i].file.len);
        char pair[128], member[128];
        snprintf(pair, sizeof(pair), "T_DB_PASSWORD_FILE=%s", path);
        snprintf(member, sizeof(member), "{\"T_DB_PASSWORD_FILE\":\"%s\"}", path);
        char saved[64];
        strcpy(saved, path);

        struct reading r;
        const char *const pairs[] = {GOOD_URL, GOOD_BROKERS, pair, NULL};
        read_settings(&r, pairs, NULL);
        ROW_CHECK((r.err == ERR_OK) == (ROWS[i].secret != NULL), ROWS[i].why);
        if (ROWS[i].secret != NULL)
            assert_string_equal(r.settings.db_password, ROWS[i].secret);
        reading_done(&r);

        const char *const fewer[] = {GOOD_URL, GOOD_BROKERS, NULL};
        read_settings(&r, fewer, member);
        ROW_CHECK((r.err == ERR_OK) == (ROWS[i].secret != NULL), "named in the config file");
        reading_done(&r);
        unlink(saved);
    }
}

static void a_file_is_read_up_to_its_maximum(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    char *text = NULL;
    size_t len = 0;
    struct fault fault = {0};
    const char *path = write_file("12345", 5);
    assert_int_equal(conf_read_file(&arena, path, 4, &text, &len, &fault), ERR_CONF);
    assert_non_null(strstr(fault.why, "is larger than 4 bytes"));
    assert_null(text);
    assert_int_equal(conf_read_file(&arena, path, 5, &text, &len, &fault), ERR_OK);
    assert_string_equal(text, "12345");
    assert_int_equal(len, 5);
    unlink(path);
    arena_done(&arena);
}

static void the_config_file_s_path_is_found(void **state)
{
    (void)state;
    char program[] = "p", config[] = "--config", path[] = "gateway.json";
    char *argv[] = {program, config, path, NULL};
    assert_string_equal(conf_file_of(3, argv), "gateway.json");
    assert_null(conf_file_of(2, argv));
    assert_null(conf_file_of(1, argv));
}

/* What a child that runs conf_read with this argument prints; *ret_status is its exit status. */
static void run_with(const char *argument, char *ret_out, size_t cap, int *ret_status)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        char program[] = "/usr/bin/order-svc", copy[32];
        (void)str_copy(copy, sizeof(copy), str_of(argument));
        char *argv[] = {program, copy, NULL};
        struct arena arena;
        struct settings settings;
        struct buf complaints;
        arena_init(&arena);
        buf_init(&complaints);
        enum err e = conf_read(TABLE, 2, argv, &arena, &settings, &complaints);
        _exit(e == ERR_OK ? 40 : 41); /* it came back */
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(ends[0], ret_out + len, cap - 1 - len)) > 0;)
        len += (size_t)n;
    ret_out[len] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, ret_status, 0), child);
}

static void help_and_version_are_printed_and_end_the_program(void **state)
{
    (void)state;
    char out[4096];
    int status;
    run_with("--help", out, sizeof(out), &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(str_starts(out, "usage: order-svc [--config FILE]"));
    for (const struct conf_setting *s = TABLE; s->name != NULL; s++)
        assert_non_null(strstr(out, s->name));
    assert_non_null(strstr(out, "T_DB_PASSWORD_FILE"));
    assert_non_null(strstr(out, "(1 to 64) [2]"));
    assert_non_null(strstr(out, "(required)"));

    run_with("--version", out, sizeof(out), &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(str_starts(out, "order-svc "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wrong_setting_gets_its_complaint),
        cmocka_unit_test(a_url_with_a_password_is_refused_and_not_shown),
        cmocka_unit_test(all_wrong_and_missing_settings_are_named_at_once),
        cmocka_unit_test(a_config_file_that_is_wrong_is_named_with_its_reason),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(defaults_stand_where_nothing_is_given),
        cmocka_unit_test(the_environment_wins_over_the_file_and_the_file_over_defaults),
        cmocka_unit_test(a_secret_is_its_file_s_text_without_the_last_newline),
        cmocka_unit_test(a_file_is_read_up_to_its_maximum),
        cmocka_unit_test(the_config_file_s_path_is_found),
        cmocka_unit_test(help_and_version_are_printed_and_end_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
