#include "io/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/json.h"

enum { ACCESS_BUFFER_MAX = 8192, STALL_MS = 1000 };

struct log {
    char *service; /* as a JSON string, quotes included */
    enum log_level level;
    int fd;
    pthread_mutex_t writing; /* a pipe takes more than PIPE_BUF in pieces, which must not mix */
    pthread_key_t access;    /* struct access_lines of each thread */
};

struct access_lines {
    struct log *log;
    struct buf lines;
};

static const char *const LEVELS[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};
enum { LEVEL_COUNT = sizeof(LEVELS) / sizeof(LEVELS[0]) };

bool log_level_parse(const char *text, enum log_level *ret_level)
{
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        if (strcmp(text, LEVELS[i]) != 0)
            continue;
        *ret_level = (enum log_level)i;
        return true;
    }
    return false;
}

/* A log that nobody reads must not stop the house for ever: after STALL_MS without progress the rest is dropped. */
static void write_all(struct log *log, const char *data, size_t len)
{
    pthread_mutex_lock(&log->writing);
    while (len > 0) {
        ssize_t n = write(log->fd, data, len);
        if (n >= 0) {
            data += n;
            len -= (size_t)n;
            continue;
        }
        if (errno == EINTR)
            continue;
        struct pollfd writable = {.fd = log->fd, .events = POLLOUT};
        if (errno != EAGAIN || poll(&writable, 1, STALL_MS) <= 0)
            break;
    }
    pthread_mutex_unlock(&log->writing);
}

static void access_lines_end(void *arg)
{
    struct access_lines *mine = arg;
    write_all(mine->log, buf_cstr(&mine->lines), mine->lines.len);
    buf_done(&mine->lines);
    mem_free(mine);
}

struct log *log_open(const char *service, enum log_level level, int fd)
{
    struct log *log = mem_alloc(sizeof(*log));
    struct buf quoted;
    buf_init(&quoted);
    json_escape(&quoted, str_of(service));
    log->service = buf_take(&quoted);
    log->level = level;
    log->fd = fd;
    pthread_mutex_init(&log->writing, NULL);
    if (pthread_key_create(&log->access, access_lines_end) != 0)
        abort();
    return log;
}

void log_close(struct log *log)
{
    if (log == NULL)
        return;
    struct access_lines *mine = pthread_getspecific(log->access);
    if (mine != NULL)
        access_lines_end(mine);
    pthread_key_delete(log->access);
    pthread_mutex_destroy(&log->writing);
    mem_free(log->service);
    mem_free(log);
}

static void begin_line(const struct log *log, struct buf *line, enum log_level level)
{
    buf_str(line, "{\"time\":\"");
    clock_append(line, clock_now_us());
    buf_str(line, "\",\"level\":\"");
    buf_str(line, LEVELS[level]);
    buf_str(line, "\",\"service\":");
    buf_str(line, log->service);
}

/* Both may begin with a comma or not: members are often built one by one, each with its comma. */
static void add_members(struct buf *line, struct str members)
{
    if (members.len == 0)
        return;
    if (members.data[0] != ',')
        buf_char(line, ',');
    buf_append(line, members.data, members.len);
}

/* As much of msg as fits in `room` once escaped, about; cut between characters. */
static void add_message(struct buf *line, struct str msg, size_t room)
{
    size_t before = line->len;
    json_escape(line, msg);
    while (line->len - before > room) {
        msg.len = msg.len * room / (line->len - before);
        while (msg.len > 0 && ((unsigned char)msg.data[msg.len] & 0xC0) == 0x80)
            msg.len--;
        line->len = before;
        json_escape(line, msg);
    }
}

void log_msg(struct log *log, enum log_level level, const char *extra, const char *fmt, ...)
{
    if (level < log->level)
        return;

    char msg[LOG_LINE_MAX];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(msg, sizeof(msg), fmt, args);
    va_end(args);
    if (len < 0)
        len = 0;
    struct str text = {msg, (size_t)len < sizeof(msg) ? (size_t)len : sizeof(msg) - 1};

    struct buf line;
    buf_init(&line);
    begin_line(log, &line, level);
    buf_str(&line, ",\"msg\":");
    struct str members = str_of(extra);
    size_t ending = sizeof(",}\n") - 1;
    if (line.len + sizeof("\"\"") + members.len + ending > LOG_LINE_MAX)
        members = STR("\"extraDropped\":true");
    add_message(&line, text, LOG_LINE_MAX - line.len - members.len - ending);
    add_members(&line, members);
    buf_str(&line, "}\n");
    write_all(log, line.data, line.len);
    buf_done(&line);
}

static struct access_lines *access_lines_of(struct log *log)
{
    struct access_lines *mine = pthread_getspecific(log->access);
    if (mine != NULL)
        return mine;

    mine = mem_alloc(sizeof(*mine));
    mine->log = log;
    buf_init(&mine->lines);
    if (pthread_setspecific(log->access, mine) != 0)
        abort();
    return mine;
}

void log_access(struct log *log, const struct buf *members)
{
    struct access_lines *mine = access_lines_of(log);
    size_t before = mine->lines.len;
    begin_line(log, &mine->lines, LOG_INFO);
    buf_str(&mine->lines, ",\"msg\":\"request\"");
    add_members(&mine->lines, (struct str){buf_cstr(members), members->len});
    buf_str(&mine->lines, "}\n");
    if (mine->lines.len - before > LOG_LINE_MAX) {
        mine->lines.len = before;
        begin_line(log, &mine->lines, LOG_INFO);
        buf_str(&mine->lines, ",\"msg\":\"request\",\"extraDropped\":true}\n");
    }
    if (mine->lines.len >= ACCESS_BUFFER_MAX)
        log_flush(log);
}

void log_flush(struct log *log)
{
    struct access_lines *mine = pthread_getspecific(log->access);
    if (mine == NULL || mine->lines.len == 0)
        return;
    write_all(log, mine->lines.data, mine->lines.len);
    buf_reset(&mine->lines);
}
