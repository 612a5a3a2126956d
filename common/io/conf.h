/* conf.h — a process's settings, one table: environment over --config FILE (JSON object) over defaults.
 *
 * For     main. Every wrong or missing setting is named at once, in one message; unknown members of the file are
 *         refused. A secret comes only from a file: setting NAME is read from the file that NAME_FILE names.
 * Owns    strings go into the caller's arena and live as long as it.
 * Threads main, before others start.
 * Fails   ERR_CONF with every complaint, a line each, in `ret_complaints`.
 */
#ifndef IO_CONF_H
#define IO_CONF_H

#include "base/buf.h"
#include "base/mem.h"

enum conf_kind {
    CONF_TEXT, /* const char * */
    CONF_INT,  /* int64_t, within min..max */
    CONF_BOOL, /* bool: on/off, true/false, 1/0 */
    CONF_SECRET, /* const char *: contents of the file NAME_FILE names (trailing newline cut; at most 4 KiB; must not be empty) */
    CONF_ADDRESS, /* const char *: "host:port", port 1..65535 */
    CONF_FILE,    /* const char *: a readable file or folder */
    CONF_URL,     /* const char *: postgresql://… without a password (a password in it is refused) */
};
enum { CONF_REQUIRED = 1 };

struct conf_setting {
    const char *name; /* "LISTEN"; the file's member has the same name */
    enum conf_kind kind;
    size_t offset; /* in the settings struct */
    unsigned flags;
    const char *fallback; /* NULL: none; an optional text is then NULL */
    int64_t min, max;     /* CONF_INT */
    const char *what;     /* for --help: a phrase */
};

/* argv: [--config FILE] [--help | --version | --routes]; --help and --version print and exit(0) here. An empty value is wrong, not absent; a
 * secret's own name in the environment or the file is refused. `table` ends with a NULL name. ret_settings is the service's struct. */
MUST_CHECK enum err conf_read(const struct conf_setting *table, int argc, char **argv, struct arena *arena,
                              void *ret_settings, struct buf *ret_complaints);
/* Prints every setting with its default and meaning. */
void conf_print_help(const struct conf_setting *table, const char *program);
/* For --routes, which a program answers itself before it reads its settings. */
bool conf_has_argument(int argc, char **argv, const char *name);
/* The path that --config names, or NULL: for a process that keeps tables there (the gateway), in members whose names begin
 * with a lower-case letter; conf_read leaves those alone. Read it with conf_read_file. */
const char *conf_file_of(int argc, char **argv);
/* Reads a whole file of at most max bytes into the arena, NUL-terminated. */
MUST_CHECK enum err conf_read_file(struct arena *arena, const char *path, size_t max, char **ret_text, size_t *ret_len,
                                   struct fault *fault);

#endif
