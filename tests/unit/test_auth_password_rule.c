#include <string.h>

#include "auth-svc/password_rule.h"
#include "unit.h"

#define TEN \
    "\xC3\xBC\xC4\xB1\xC5\x9F\xC4\x9F\xC3\xB6\xC3\xA7\xC3\xA9\xC3\xA0\xC3\xB4\xC3\xAA" /* ten characters, twenty bytes */

static void what_everybody_tries_first_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *password, *why;
    } ROWS[] = {
        {"", "empty"},
        {"7 chars", "seven characters"},
        {"nearly-12-x", "eleven characters"},
        {TEN "x", "eleven characters, though more bytes"},
        {"password123456789", "a word and a run"},
        {"PASSWORD-123456789", "in capitals"},
        {"Password2026!", "a word, a year, a mark"},
        {"P@ssw0rd1234!", "a word in its usual disguise"},
        {"mary.smith-2026", "the user name"},
        {"MARY.SMITHmary.smith", "the user name twice"},
        {"Brokerage-2026", "the name of the house"},
        {"brokeragepasswordbrokerage", "words alone"},
        {"aaaaaaaaaaaaaaaa", "one character"},
        {"abababababababab", "two characters"},
        {"abcdabcdabcdabcd", "four characters"},
        {"123456789012345", "digits in order"},
        {"zyxwvutsrqponmlk", "letters from the end"},
        {"aaaabbbbccccddddeeeeffff", "runs alone"},
        {"\xD0\xB0\xD0\xB1\xD0\xB2\xD0\xB3\xD0\xB4\xD0\xB5\xD0\xB6\xD0\xB7\xD0\xB8\xD0\xB9\xD0\xBA\xD0\xBB\xD0\xBC",
         "another alphabet's letters in order"},
        {"\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98"
         "\x80"
         "\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80",
         "one picture twelve times"},
        {"qwertyuiop123456", "a keyboard's row"},
        {"1qaz2wsx3edc", "a keyboard's columns"},
        {"Administrator", "listed"},
        {"CorrectHorseBatteryStaple", "listed, in capitals"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        ROW_CHECK(password_complaint(ROWS[i].password, "mary.smith") != NULL, ROWS[i].why);
}

static void more_than_128_characters_are_refused_and_not_cut(void **state)
{
    (void)state;
    char text[2 * PASSWORD_BYTES_MAX + 1];
    static const char MIX[] = "vK3 x9Q?mZ1_pL7";
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = MIX[i % (sizeof MIX - 1)];
    text[PASSWORD_CHARS_MAX] = '\0';
    assert_null(password_complaint(text, NULL));
    text[PASSWORD_CHARS_MAX] = 'x';
    text[PASSWORD_CHARS_MAX + 1] = '\0';
    assert_non_null(password_complaint(text, NULL));
    text[PASSWORD_CHARS_MAX + 1] = 'x';
    text[sizeof text - 1] = '\0';
    assert_non_null(password_complaint(text, NULL));
}

static void a_character_of_four_bytes_is_one_character(void **state)
{
    (void)state;
    char text[4 * (PASSWORD_CHARS_MAX + 1) + 1] = "";
    for (int i = 0; i < PASSWORD_CHARS_MAX; i++) {
        char picture[5] = {'\xF0', '\x9F', '\x98', (char)(0x80 + i * 7 % 64), '\0'};
        strcat(text, picture);
    }
    assert_int_equal(strlen(text), PASSWORD_BYTES_MAX);
    assert_null(password_complaint(text, NULL));
    strcat(text, "\xF0\x9F\x98\x80");
    assert_non_null(password_complaint(text, NULL));
}

static void good_ones_are_let_pass(void **state)
{
    (void)state;
    static const struct {
        const char *password, *username, *why;
    } ROWS[] = {
        {"tall-green-kettle", "mary.smith", "three words"},
        {"twelve-chars", "mary.smith", "twelve characters"},
        {TEN "ab", "mary.smith", "twelve characters of many bytes"},
        {"a long sentence, with spaces and \xF0\x9F\x90\x99, of sixty-four characters", "mary.smith", "a passphrase"},
        {"channel planning", "ann", "a short name inside another word"},
        {"my password is rhubarb crumble", "mary.smith", "a word among others"},
        {"X7v9fQ2mLw4k_pZ3rT8yB1nC", "admin", "a random one"},
        {"rhubarb 1234 crumble", "mary.smith", "a run among others"},
    };
    for (size_t i = 0; i < LENGTH_OF(ROWS); i++)
        ROW_CHECK(password_complaint(ROWS[i].password, ROWS[i].username) == NULL, ROWS[i].why);
}

static void without_a_user_name_the_rest_still_holds(void **state)
{
    (void)state;
    assert_null(password_complaint("mary.smith-2026", NULL));
    assert_non_null(password_complaint("password123456789", NULL));
}

static void no_complaint_quotes_the_password(void **state)
{
    (void)state;
    const char *complaint = password_complaint("Brokerage-2026", "mary.smith");
    assert_non_null(complaint);
    assert_null(strstr(complaint, "2026"));
    assert_ptr_equal(complaint, password_complaint("Brokerage-1999", "john")); /* one constant for all */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_everybody_tries_first_is_refused),
        cmocka_unit_test(more_than_128_characters_are_refused_and_not_cut),
        cmocka_unit_test(a_character_of_four_bytes_is_one_character),
        cmocka_unit_test(good_ones_are_let_pass),
        cmocka_unit_test(without_a_user_name_the_rest_still_holds),
        cmocka_unit_test(no_complaint_quotes_the_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
