#include "support/schema.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/migrate.h"
#include "svc/migrations.h"
#include "unit/unit.h"

enum { SOURCE_MAX = 256 * 1024, WORD_MAX = 64, OPEN_MS = 5000, MIGRATIONS_MAX = 64 };

/* ---- a lexer for as much of C as a statement is made of ---- */

struct source {
    const char *path;
    char text[SOURCE_MAX];
};

static void read_source(struct source *s, const char *path)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("%s can't be read: this test runs in the source tree's folder", path);
    size_t len = fread(s->text, 1, sizeof s->text - 1, f);
    assert_true(len < sizeof s->text - 1);
    s->text[len] = '\0';
    s->path = path;
    (void)fclose(f);
}

static const char *skip_space(const char *at)
{
    while (isspace((unsigned char)*at) || (at[0] == '\\' && at[1] == '\n'))
        at++;
    return at;
}

/* A string literal's text goes to `out`; what follows it is returned. */
static const char *read_literal(const char *at, struct buf *out)
{
    for (at++; *at != '"'; at++) {
        assert_true(*at != '\0' && *at != '\n');
        if (*at == '\\')
            at++;
        buf_char(out, *at);
    }
    return at + 1;
}

static const char *read_word(const char *at, char ret[WORD_MAX])
{
    size_t len = 0;
    while (isalnum((unsigned char)at[len]) || at[len] == '_')
        len++;
    assert_true(len > 0 && len < WORD_MAX);
    memcpy(ret, at, len);
    ret[len] = '\0';
    return at + len;
}

static const char *read_text(const struct source *s, const char *at, struct buf *out);

/* Macros of literals only: "#define ORDER_COLUMNS …". */
static void expand(const struct source *s, const char *word, struct buf *out)
{
    char define[WORD_MAX + 16];
    snprintf(define, sizeof define, "#define %s ", word);
    const char *at = strstr(s->text, define);
    if (at == NULL)
        fail_msg("%s: a statement is made of %s, which is no literal", s->path, word);
    (void)read_text(s, at + strlen(define), out);
}

/* Literals and names of literals, one behind the other. */
static const char *read_text(const struct source *s, const char *at, struct buf *out)
{
    for (at = skip_space(at); *at == '"' || isupper((unsigned char)*at); at = skip_space(at)) {
        char word[WORD_MAX];
        if (*at == '"') {
            at = read_literal(at, out);
            continue;
        }
        at = read_word(at, word);
        expand(s, word, out);
    }
    return at;
}

struct statement {
    char constant[WORD_MAX];
    struct buf name, sql;
};

/* The next statement at or after *at; false: there is none. */
static bool next_statement(const struct source *s, const char **at, struct statement *ret)
{
    static const char MARK[] = "struct db_stmt ";
    do {
        *at = strstr(*at, MARK);
        if (*at == NULL)
            return false;
        *at += sizeof MARK - 1;
    } while (**at == '*'); /* a parameter */
    const char *x = skip_space(read_word(*at, ret->constant));
    buf_reset(&ret->name);
    buf_reset(&ret->sql);
    bool is_plain = x[0] == '=' && *(x = skip_space(x + 1)) == '{';
    if (is_plain)
        x = read_text(s, x + 1, &ret->name);
    if (is_plain && *x == ',')
        x = read_text(s, x + 1, &ret->sql);
    x += *x == ',';
    if (!is_plain || ret->sql.len == 0 || *skip_space(x) != '}')
        fail_msg("%s: statement %s is not written as this test can read it", s->path, ret->constant);
    return true;
}

/* ---- plans ---- */

static bool begins(const struct buf *text, const char *word)
{
    return strncmp(buf_cstr(text), word, strlen(word)) == 0;
}

/* BEGIN, COMMIT, LISTEN and the like have no plan. */
static bool has_plan(const struct buf *sql)
{
    static const char *const WORDS[] = {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"};
    for (size_t i = 0; i < LENGTH_OF(WORDS); i++)
        if (begins(sql, WORDS[i]))
            return true;
    return false;
}

static int count_parameters(const struct buf *sql)
{
    long max = 0;
    for (const char *at = buf_cstr(sql); (at = strchr(at, '$')) != NULL;) {
        long n = strtol(++at, NULL, 10);
        max = n > max ? n : max;
    }
    return (int)max;
}

/* In the service's session, so that its rights and settings count. */
static void make_planner(struct stand *st)
{
    stand_run(st,
              "CREATE OR REPLACE FUNCTION public.plan_of(q text, nulls text) RETURNS text LANGUAGE plpgsql AS $f$ "
              "DECLARE line text; plan text := ''; BEGIN "
              "EXECUTE 'PREPARE planned AS ' || q; "
              "FOR line IN EXECUTE 'EXPLAIN EXECUTE planned' || nulls LOOP plan := plan || line || E'\\n'; END LOOP; "
              "DEALLOCATE planned; RETURN plan; END $f$");
    stand_run(st, "GRANT USAGE ON SCHEMA public TO PUBLIC");
    stand_run(st, "GRANT EXECUTE ON FUNCTION public.plan_of TO PUBLIC");
}

static const char *plan_of(struct db *db, struct arena *arena, const struct source *s, const struct statement *x)
{
    static const struct db_stmt PLAN = {"schema_plan", "SELECT public.plan_of($1, $2)"};
    struct buf nulls;
    buf_init(&nulls);
    int count = count_parameters(&x->sql);
    for (int i = 0; i < count; i++)
        buf_str(&nulls, i == 0 ? "(NULL" : ", NULL");
    buf_str(&nulls, count > 0 ? ")" : "");
    struct db_args args = db_args(arena);
    db_arg_text(&args, buf_cstr(&x->sql));
    db_arg_text(&args, buf_cstr(&nulls));
    CLEANUP_ROWS struct db_rows *rows = NULL;
    struct fault fault = {.err = ERR_OK};
    if (db_query(db, &PLAN, &args, &rows, &fault) != ERR_OK)
        fail_msg("%s: %s: %s", s->path, x->constant, db_error_detail(db));
    buf_done(&nulls);
    return arena_strdup(arena, db_text(rows, 0, 0));
}

static bool is_listed(const char *const *names, const char *name)
{
    for (; names != NULL && *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/* READ_… are the readers', who plan for the values they have. */
static void assert_plan(const struct source *s, const struct statement *x, const char *plan, const char *const *small)
{
    bool reads = strncmp(x->constant, "READ_", 5) == 0 || strncmp(x->constant, "CHECK_", 6) == 0;
    if (!reads && strstr(plan, "Seq Scan") != NULL && !is_listed(small, buf_cstr(&x->name)))
        fail_msg("%s: %s reads a whole table:\n%s", s->path, x->constant, plan);
}

static int check_source(struct db *db, const struct source *s, const char *const *small)
{
    struct statement x;
    struct arena arena;
    int count = 0;
    arena_init(&arena);
    buf_init(&x.name);
    buf_init(&x.sql);
    for (const char *at = s->text; next_statement(s, &at, &x); count++)
        if (has_plan(&x.sql))
            assert_plan(s, &x, plan_of(db, &arena, s, &x), small);
    buf_done(&x.name);
    buf_done(&x.sql);
    arena_done(&arena);
    return count;
}

void assert_statements_are_sound(struct stand *st, const char *folder, const char *const *small)
{
    static struct source source;
    const struct db_conf conf = {
        .url = st->app_url, .password = st->app_password, .plan = DB_PLAN_KEYS, .application_name = "test"};
    char pattern[64];
    glob_t files;
    struct fault fault = {.err = ERR_OK};
    struct db *db = NULL;
    int count = 0;
    make_planner(st);
    if (db_open(&conf, OPEN_MS, &db, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    snprintf(pattern, sizeof pattern, "%s/*.c", folder);
    if (glob(pattern, 0, NULL, &files) != 0)
        fail_msg("%s: nothing is there: this test runs in the source tree's folder", pattern);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        read_source(&source, files.gl_pathv[i]);
        count += check_source(db, &source, small);
    }
    globfree(&files);
    db_close(db);
    print_message("%d statements in %s\n", count, folder);
    assert_true(count > 0);
}

/* ---- migrations ---- */

static void migrate(struct stand *st, const char *schema, const struct migration *own)
{
    struct fault fault = {.err = ERR_OK};
    if (migrate_apply(st->s.db, schema, SVC_MIGRATIONS, own, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
}

/* All that a schema is made of, as text. */
static const char *shape_of(struct stand *st, const char *schema)
{
    return stand_text(
        st,
        "SELECT md5(string_agg(x, E'\\n' ORDER BY x)) FROM ("
        "SELECT concat_ws(' ', table_name, ordinal_position, column_name, data_type, is_nullable, column_default) x "
        "FROM information_schema.columns WHERE table_schema = '%s' "
        "UNION ALL SELECT replace(concat_ws(' ', conrelid::regclass, pg_get_constraintdef(oid)), 'stepwise.', '') "
        "FROM pg_constraint WHERE connamespace = '%s'::regnamespace "
        "UNION ALL SELECT concat_ws(' ', table_name, grantee, privilege_type) "
        "FROM information_schema.role_table_grants WHERE table_schema = '%s') y",
        schema, schema, schema);
}

void assert_migrations_add_up(struct stand *st)
{
    const struct service_spec *spec = st->service.spec;
    struct migration some[MIGRATIONS_MAX] = {{0}};
    const char *before = shape_of(st, spec->schema);
    int64_t applied = stand_number(st, "SELECT count(*) FROM schema_migration");
    migrate(st, spec->schema, spec->migrations);
    assert_string_equal(shape_of(st, spec->schema), before);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM schema_migration"), applied);

    /* A second copy, in the first one's name while it grows: its roles and defaults are those of that name. */
    const char *owner = stand_text(st, "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = '%s'", spec->schema);
    stand_run(st, "CREATE SCHEMA stepwise AUTHORIZATION %s", owner);
    stand_run(st, "SET ROLE %s", owner);
    stand_run(
        st,
        "DO $$ DECLARE d record; BEGIN FOR d IN SELECT a.grantee::regrole AS who, a.privilege_type AS what FROM "
        "pg_default_acl x, aclexplode(x.defaclacl) a WHERE x.defaclobjtype = 'r' AND x.defaclnamespace = "
        "'%s'::regnamespace LOOP EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA stepwise GRANT %%s ON TABLES TO "
        "%%s', d.what, d.who); END LOOP; END $$",
        spec->schema);
    for (size_t i = 0; i + 1 < MIGRATIONS_MAX; i++) {
        migrate(st, "stepwise", some);
        some[i] = spec->migrations[i];
        if (some[i].sql == NULL)
            break;
    }
    stand_run(st, "RESET ROLE");
    stand_run(st, "SET search_path = %s", spec->schema);
    assert_int_equal(stand_number(st, "SELECT count(*) FROM stepwise.schema_migration"), applied);
    assert_string_equal(shape_of(st, "stepwise"), before);
}
