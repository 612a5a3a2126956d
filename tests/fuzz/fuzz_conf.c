/* fuzz_conf.c — conf_read with any bytes as its --config file. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
    const char *listen, *url, *secret, *file, *text;
    int64_t number;
    bool on;
};

static const struct conf_setting TABLE[] = {
    {.name = "LISTEN", .kind = CONF_ADDRESS, .offset = offsetof(struct settings, listen), .fallback = "127.0.0.1:8080"},
    {.name = "URL", .kind = CONF_URL, .offset = offsetof(struct settings, url)},
    {.name = "SECRET", .kind = CONF_SECRET, .offset = offsetof(struct settings, secret)},
    {.name = "TEXT", .kind = CONF_TEXT, .offset = offsetof(struct settings, text), .flags = CONF_REQUIRED},
    {.name = "NUMBER",
     .kind = CONF_INT,
     .offset = offsetof(struct settings, number),
     .fallback = "2",
     .min = 1,
     .max = 64},
    {.name = "ON", .kind = CONF_BOOL, .offset = offsetof(struct settings, on), .fallback = "on"},
    {.name = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("config", MFD_CLOEXEC);
    assert(fd >= 0);
    ssize_t written = write(fd, data, size);
    assert(written == (ssize_t)size);
    char program[] = "p", option[] = "--config", path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    char *argv[] = {program, option, path, NULL};

    struct arena arena;
    struct settings settings;
    struct buf complaints;
    arena_init(&arena);
    buf_init(&complaints);
    if (conf_read(TABLE, 3, argv, &arena, &settings, &complaints) == ERR_OK)
        assert(complaints.len == 0 && settings.listen != NULL && settings.number >= 1 && settings.number <= 64);
    else
        assert(complaints.len > 0 && complaints.data[complaints.len - 1] == '\n');
    buf_done(&complaints);
    arena_done(&arena);
    close(fd);
    return 0;
}
