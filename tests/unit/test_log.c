#include "io/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/json.h"
#include "unit.h"

/* A log that writes into memory, and all that it wrote. */
static struct log *open_log(enum log_level level, int *ret_fd)
{
    *ret_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(*ret_fd >= 0);
    return log_open("order-svc", level, *ret_fd);
}

static char *written(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = mem_alloc((size_t)size + 1);
    assert_int_equal(pread(fd, text, (size_t)size, 0), size);
    return text;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n' ? 1 : 0;
    return lines;
}

/* The line as JSON; fails the test if it is none. */
static struct json *line_of(const char *text, size_t len)
{
    struct json *line = NULL;
    struct fault fault = {0};
    if (json_parse((struct str){text, len}, &line, &fault) != ERR_OK)
        fail_msg("%s in: %.*s", fault.why, (int)len, text);
    return line;
}

static void expect_text(const struct json *line, const char *name, const char *value)
{
    struct str text;
    assert_true(json_get_text(line, name, &text));
    assert_string_equal(text.data, value);
}

static void unknown_levels_are_refused(void **state)
{
    (void)state;
    enum log_level level;
    assert_false(log_level_parse("", &level));
    assert_false(log_level_parse("INFO", &level));
    assert_false(log_level_parse("verbose", &level));
    assert_true(log_level_parse("warn", &level));
    assert_int_equal(level, LOG_WARN);
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    int fd;
    struct log *log = open_log(LOG_WARN, &fd);
    log_debug(log, "a");
    log_info(log, "b");
    log_warn(log, "c");
    log_error(log, "d");
    log_close(log);

    char *text = written(fd);
    assert_int_equal(count_lines(text), 2);
    mem_free(text);
    close(fd);
}

static void no_text_breaks_a_line(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        "a\r\nb", "\x1b[31mred", "\x7f", "quote \" and \\ back", "not utf-8: \xff\xc3", "{\"msg\":1}", "t\tb\b", "",
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        int fd;
        struct log *log = open_log(LOG_INFO, &fd);
        log_info(log, "%s", ROWS[i]);
        log_close(log);
        char *text = written(fd);
        ROW_CHECK(count_lines(text) == 1 && strchr(text, '\x1b') == NULL && strchr(text, '\r') == NULL, ROWS[i]);
        json_free(line_of(text, strlen(text)));
        mem_free(text);
        close(fd);
    }
}

static void a_line_holds_time_level_service_message_and_the_extra_members(void **state)
{
    (void)state;
    static const char *const EXTRAS[] = {"\"orderId\":\"o-1\"", ",\"orderId\":\"o-1\""};
    for (size_t i = 0; i < LENGTH_OF(EXTRAS); i++) {
        int fd;
        struct log *log = open_log(LOG_INFO, &fd);
        log_msg(log, LOG_ERROR, EXTRAS[i], "insert order: %s", "gone");
        log_close(log);
        char *text = written(fd);
        struct json *line = line_of(text, strlen(text));
        time_us_t at;
        assert_true(json_get_time(line, "time", &at));
        expect_text(line, "level", "error");
        expect_text(line, "service", "order-svc");
        expect_text(line, "msg", "insert order: gone");
        expect_text(line, "orderId", "o-1");
        json_free(line);
        mem_free(text);
        close(fd);
    }
}

static void a_line_that_is_too_long_is_cut_and_stays_json(void **state)
{
    (void)state;
    static const struct {
        const char *unit;
        size_t times;
        const char *why;
    } ROWS[] = {
        {"x", 20000, "plain text"},
        {"\n", 8000, "each byte becomes two"},
        {"\x01", 8000, "each byte becomes six"},
        {"\xff", 8000, "each byte becomes U+FFFD"},
        {"\xc4\x9f", 5000, "cut between characters"},
        {"\xf0\x9f\x98\x80", 3000, "cut between characters"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        struct buf msg;
        buf_init(&msg);
        for (size_t k = 0; k < ROWS[i].times; k++)
            buf_str(&msg, ROWS[i].unit);
        int fd;
        struct log *log = open_log(LOG_INFO, &fd);
        log_msg(log, LOG_INFO, "\"last\":true", "%s", buf_cstr(&msg));
        log_close(log);

        char *text = written(fd);
        ROW_CHECK(strlen(text) <= LOG_LINE_MAX && strlen(text) > LOG_LINE_MAX / 2, ROWS[i].why);
        struct json *line = line_of(text, strlen(text));
        ROW_CHECK(json_bool(json_get(line, "last")), ROWS[i].why);
        json_free(line);
        mem_free(text);
        close(fd);
        buf_done(&msg);
    }
}

static void extra_members_that_are_too_long_are_dropped_and_that_is_said(void **state)
{
    (void)state;
    struct buf extra;
    buf_init(&extra);
    buf_printf(&extra, "\"x\":\"%09000d\"", 1);
    int fd;
    struct log *log = open_log(LOG_INFO, &fd);
    log_msg(log, LOG_INFO, buf_cstr(&extra), "hello");
    log_access(log, &extra);
    log_close(log);

    char *text = written(fd);
    assert_int_equal(count_lines(text), 2);
    size_t first = (size_t)(strchr(text, '\n') - text);
    struct json *line = line_of(text, first);
    expect_text(line, "msg", "hello");
    assert_true(json_bool(json_get(line, "extraDropped")));
    json_free(line);
    line = line_of(text + first + 1, strlen(text) - first - 1);
    assert_true(json_bool(json_get(line, "extraDropped")));
    json_free(line);
    mem_free(text);
    buf_done(&extra);
    close(fd);
}

static void access_lines_wait_for_a_flush_or_eight_kilobytes(void **state)
{
    (void)state;
    int fd;
    struct log *log = open_log(LOG_INFO, &fd);
    struct buf members;
    buf_init(&members);
    buf_str(&members, "\"status\":201");

    log_access(log, &members);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    log_flush(log);
    assert_true(lseek(fd, 0, SEEK_END) > 0);
    for (int i = 0; i < 200; i++)
        log_access(log, &members);
    assert_true(lseek(fd, 0, SEEK_END) > 8192);
    log_close(log);

    char *text = written(fd);
    assert_int_equal(count_lines(text), 201);
    struct json *line = line_of(text, (size_t)(strchr(text, '\n') - text));
    expect_text(line, "msg", "request");
    assert_int_equal(json_int(json_get(line, "status")), 201);
    json_free(line);
    mem_free(text);
    buf_done(&members);
    close(fd);
}

enum { THREADS = 4, LINES_EACH = 500 };

static void *write_lines(void *arg)
{
    struct buf members;
    buf_init(&members);
    buf_str(&members, "\"path\":\"/orders\"");
    for (int i = 0; i < LINES_EACH; i++) {
        log_info(arg, "line %d", i);
        log_access(arg, &members);
    }
    buf_done(&members);
    return NULL;
}

static void threads_do_not_mix_their_lines_and_a_thread_that_ends_loses_none(void **state)
{
    (void)state;
    int fd;
    struct log *log = open_log(LOG_INFO, &fd);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, log), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_close(log);

    char *text = written(fd);
    assert_int_equal(count_lines(text), THREADS * LINES_EACH * 2);
    for (const char *at = text; *at != '\0';) {
        const char *line_end = strchr(at, '\n');
        json_free(line_of(at, (size_t)(line_end - at)));
        at = line_end + 1;
    }
    mem_free(text);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_levels_are_refused),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(no_text_breaks_a_line),
        cmocka_unit_test(a_line_holds_time_level_service_message_and_the_extra_members),
        cmocka_unit_test(a_line_that_is_too_long_is_cut_and_stays_json),
        cmocka_unit_test(extra_members_that_are_too_long_are_dropped_and_that_is_said),
        cmocka_unit_test(access_lines_wait_for_a_flush_or_eight_kilobytes),
        cmocka_unit_test(threads_do_not_mix_their_lines_and_a_thread_that_ends_loses_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
