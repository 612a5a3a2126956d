#include "auth-svc/password_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth-svc/password_rule.h"
#include "unit.h"

static char path[] = "/tmp/test_password_list_XXXXXX";

static void write_list(const char *words, int filling)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(words, f);
    for (int i = 0; i < filling; i++)
        fprintf(f, "zz%07dz\n", i);
    fclose(f);
}

static struct password_list *list_of(const char *words)
{
    struct password_list *l = NULL;
    struct fault fault = {.err = ERR_OK};
    write_list(words, PASSWORD_LIST_LEAST);
    if (password_list_open(path, &l, &fault) != ERR_OK)
        fail_msg("%s", fault.why);
    return l;
}

/* The lengths: "7,13". */
static const char *match(const struct password_list *l, const char *text)
{
    static char found[64];
    uint32_t at[64];
    size_t lens[PASSWORD_MATCHES_MAX];
    found[0] = '\0';
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        at[i] = (unsigned char)text[i];
    size_t count = password_list_match(l, at, len, lens);
    for (size_t i = 0; i < count; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%zu", i > 0 ? "," : "", lens[i]);
    return found;
}

static void a_list_that_is_none_is_refused(void **state)
{
    (void)state;
    struct password_list *l = NULL;
    struct fault fault = {.err = ERR_OK};
    assert_int_equal(password_list_open("/nowhere/list", &l, &fault), ERR_CONF);
    write_list("dragon\nshort\nabc\nt\xC3\xBCrkiye\n\n", 0);
    assert_int_equal(password_list_open(path, &l, &fault), ERR_CONF);
    assert_non_null(strstr(fault.why, "has 2 words of use"));
    assert_null(l);
    password_list_close(NULL);
}

static void all_words_that_begin_there_are_found(void **state)
{
    (void)state;
    struct password_list *l = list_of("michael\nmichaeljordan\nmichaela\nbutterfly\ndragon\nabcd\n");
    static const struct {
        const char *text, *lens, *why;
    } ROWS[] = {
        {"michael", "7", "all of it"},
        {"michaeljordan23", "7,13", "the shortest first"},
        {"michaelj", "7", "a piece of another behind it"},
        {"michaelaa", "7,8", "another"},
        {"michae", "", "a piece of a word"},
        {"xmichael", "", "it begins elsewhere"},
        {"abcde", "", "too short to be listed"},
        {"Dragon", "", "case is the caller's"},
        {"zz0000007z", "10", "some word in the midst"},
        {"", "", "nothing"},
        {"~~~~~", "", "behind all words"},
        {"!", "", "before all words"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        ROW_CHECK(strcmp(match(l, ROWS[i].text), ROWS[i].lens) == 0, ROWS[i].why);
    password_list_close(l);
}

static void what_is_little_beside_listed_words_is_refused(void **state)
{
    (void)state;
    struct password_list *l = list_of(
        "michaeljordan\nchocolate\ndanielj\ndaniel\njackson5\nbutterfly\nmustang\ncorrect\nhorse\nbattery\nstaple\n");
    static const struct {
        const char *password;
        bool good;
        const char *why;
    } ROWS[] = {
        {"michaeljordan", false, "a listed one"},
        {"MichaelJordan", false, "in capitals"},
        {"michaeljordan23", false, "with a number behind"},
        {"!!michaeljordan!!", false, "with marks around"},
        {"M1ch4elJ0rd4n23", false, "in disguise"},
        {"chocolatebutterfly", false, "two of them"},
        {"mu$tang-ch0colate", false, "two, in disguise"},
        {"mustangmustangmustang", false, "three times the same"},
        {"correct horse battery staple", true, "four of them, and blanks"},
        {"michaeljordan likes tea", true, "one, and enough of one's own"},
        {"danieljackson5", false, "two that follow each other, though a longer one lies over the seam"},
        {"vK3x9QmZ1pL7wR", true, "nothing of the list"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        ROW_CHECK((password_complaint_by(l, ROWS[i].password, "mary") == NULL) == ROWS[i].good, ROWS[i].why);
    password_list_close(l);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd >= 0 ? close(fd) : -1;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_that_is_none_is_refused),
        cmocka_unit_test(all_words_that_begin_there_are_found),
        cmocka_unit_test(what_is_little_beside_listed_words_is_refused),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
