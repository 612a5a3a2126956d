#include "auth-svc/jwks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

/* RFC 7517, appendix A.1 and A.2: a public key and its private half. */
#define POINT \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\"," \
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\""
#define GOOD "{\"keys\":[{" POINT ",\"kid\":\"one\"}]}\n"
#define OTHER "{\"keys\":[{" POINT ",\"kid\":\"two\"}] }"
#define PRIVATE "{\"keys\":[{" POINT ",\"d\":\"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE\",\"kid\":\"three\"}]}"

struct house {
    char path[64];
    struct token_verifier *verifier;
    struct jwks *jwks;
};

/* As a rotation does it: made aside and moved into place. */
static void put_file(const struct house *h, const char *text)
{
    char aside[80];
    snprintf(aside, sizeof aside, "%s.new", h->path);
    FILE *f = fopen(aside, "w");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0 && fclose(f) == 0, 1);
    assert_int_equal(rename(aside, h->path), 0);
}

static void assert_given_out(const struct house *h, const char *text)
{
    struct buf out;
    buf_init(&out);
    jwks_write(h->jwks, &out);
    assert_string_equal(buf_cstr(&out), text);
    buf_done(&out);
}

static int set_up(void **state)
{
    struct house *h = mem_alloc(sizeof *h);
    snprintf(h->path, sizeof h->path, "/tmp/test_auth_jwks.XXXXXX");
    int fd = mkstemp(h->path);
    if (fd < 0)
        return -1;
    close(fd);
    put_file(h, GOOD);
    if (token_verifier_open(h->path, 0, &h->verifier, NULL) || jwks_open(h->path, h->verifier, &h->jwks, NULL))
        return -1;
    *state = h;
    return 0;
}

static int tear_down(void **state)
{
    struct house *h = *state;
    jwks_close(h->jwks);
    token_verifier_close(h->verifier);
    unlink(h->path);
    mem_free(h);
    return 0;
}

static void what_is_no_key_set_is_not_given_out(void **state)
{
    struct house *h = *state;
    static const struct {
        const char *text, *why;
    } ROWS[] = {
        {"", "an empty file"},
        {"{\"keys\":[", "half a file"},
        {"{\"keys\":[]}", "no key"},
        {PRIVATE, "a private key"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++) {
        put_file(h, ROWS[i].text);
        ROW_CHECK(jwks_refresh(h->jwks, NULL) != ERR_OK, ROWS[i].why);
        assert_given_out(h, GOOD);
    }
    unlink(h->path);
    assert_int_not_equal(jwks_refresh(h->jwks, NULL), ERR_OK);
    assert_given_out(h, GOOD);
}

static void a_new_file_is_given_out_byte_for_byte(void **state)
{
    struct house *h = *state;
    assert_given_out(h, GOOD);
    put_file(h, OTHER);
    assert_int_equal(jwks_refresh(h->jwks, NULL), ERR_OK);
    assert_given_out(h, OTHER);
}

static void the_names_of_the_keys_are_told(void **state)
{
    struct house *h = *state;
    struct buf out;
    buf_init(&out);
    jwks_write_names(h->jwks, &out);
    assert_true(out.len > 0);
    char kid[80];
    snprintf(kid, sizeof kid, "\"kid\":\"%s\"", buf_cstr(&out));
    assert_non_null(strstr(GOOD, kid));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_no_key_set_is_not_given_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_names_of_the_keys_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_file_is_given_out_byte_for_byte, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
