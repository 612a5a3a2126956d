#include "password_rule.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    RUN_MIN = 4,      /* "abcd", "4321" and "aaaa" are runs */
    LISTED_WORTH = 2, /* of own characters, a piece that stands in the list */
    OWN_MIN = 8,      /* characters that must be left beside words and runs */
    DIFFERENT_MIN = 5 /* "abababababab" has two */
};

/* Counted as nothing wherever they stand. A longer word stands before one that begins it. */
static const char *const WORDS[] = {
    "brokerage", "password", "passwort", "passw0rd", "p@ssw0rd", "p@ssword", "qwertyuiop", "qwerty",
    "asdfghjkl", "asdfgh",   "zxcvbnm",  "1q2w3e4r", "1qaz2wsx", "letmein",  "welcome",    "iloveyou",
    "superman",  "batman",   "dragon",   "monkey",   "football", "baseball", "princess",   "sunshine",
    "trustno1",  "changeme", "default",  "secret",   "admin",
};
/* Whole ones, 12 characters or more, that the rule above would let pass. */
static const char *const LISTED[] = {
    "unbelievable",     "motherfucker",
    "jamesbond007",     "liverpoolfc1",
    "administrator",    "manchesterunited",
    "1qazxsw23edc",     "zaq12wsxcde3",
    "qazwsxedcrfv",     "q1w2e3r4t5y6",
    "1q2w3e4r5t6y",     "1qaz2wsx3edc",
    "thisismypassword", "adminadminadmin",
    "ilovemyfamily",    "starwarsfan1",
    "hello123world",    "testtesttest",
    "galatasaray1905",  "fenerbahce1907",
    "besiktas1903",     "correcthorsebatterystaple",
};

/* A password as code points, ASCII letters in lower case. */
struct characters {
    uint32_t at[PASSWORD_CHARS_MAX];
    size_t count;
};

static size_t sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xE0)
        return 2;
    return first < 0xF0 ? 3 : 4;
}

static uint32_t code_point(const char *text, size_t len)
{
    static const unsigned char MASKS[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t c = (unsigned char)text[0] & MASKS[len];
    for (size_t i = 1; i < len; i++)
        c = c << 6 | ((unsigned char)text[i] & 0x3F);
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

/* false: more than fit. */
static bool read_characters(const char *text, struct characters *ret)
{
    size_t left = strlen(text);
    ret->count = 0;
    while (left > 0) {
        size_t len = sequence_length((unsigned char)*text);
        if (ret->count == PASSWORD_CHARS_MAX || len > left)
            return false;
        ret->at[ret->count++] = code_point(text, len);
        text += len;
        left -= len;
    }
    return true;
}

/* How many characters from `i` on are `word`; 0: others. Words are ASCII. */
static size_t word_at(const struct characters *c, size_t i, const char *word)
{
    size_t len = strlen(word);
    if (len > c->count - i)
        return 0;
    for (size_t k = 0; k < len; k++)
        if (c->at[i + k] != (unsigned char)word[k])
            return 0;
    return len;
}

/* How many characters from `i` on are a run: equal, or each the next (or the one before) of the one before it. */
static size_t run_at(const struct characters *c, size_t i)
{
    if (i + 1 >= c->count)
        return 0;
    int64_t step = (int64_t)c->at[i + 1] - (int64_t)c->at[i];
    if (step < -1 || step > 1)
        return 0;
    size_t end = i + 1;
    while (end < c->count && (int64_t)c->at[end] - (int64_t)c->at[end - 1] == step)
        end++;
    return end - i >= RUN_MIN ? end - i : 0;
}

static size_t common_at(const struct characters *c, size_t i, const char *username)
{
    size_t len = username != NULL ? word_at(c, i, username) : 0;
    for (size_t w = 0; len == 0 && w < sizeof WORDS / sizeof WORDS[0]; w++)
        len = word_at(c, i, WORDS[w]);
    return len > 0 ? len : run_at(c, i);
}

static uint32_t undisguise(uint32_t c)
{
    static const char FROM[] = "013457@$!", TO[] = "oieastasi";
    const char *at = c > 0 && c < 0x7F ? strchr(FROM, (int)c) : NULL;
    return at != NULL ? (unsigned char)TO[at - FROM] : c;
}

static void undisguise_all(const struct characters *c, struct characters *ret)
{
    ret->count = c->count;
    for (size_t i = 0; i < c->count; i++)
        ret->at[i] = undisguise(c->at[i]);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* own[i] is the least that is left of the password from `i` on, whichever way it is taken apart. */
static size_t least_listed(const struct password_list *list, const struct characters *c, size_t i, const size_t *own)
{
    size_t lens[PASSWORD_MATCHES_MAX], best = SIZE_MAX;
    size_t count = password_list_match(list, c->at + i, c->count - i, lens);
    for (size_t k = 0; k < count; k++)
        best = least(best, LISTED_WORTH + own[i + lens[k]]);
    return best;
}

/* What is left beside words and runs; what the list has, as it is or undisguised, counts little. */
static size_t count_own(const struct password_list *list, const struct characters *c, const char *username)
{
    struct characters plain;
    size_t own[PASSWORD_CHARS_MAX + 1] = {0};
    undisguise_all(c, &plain);
    for (size_t i = c->count; i-- > 0;) {
        size_t common = common_at(c, i, username);
        own[i] = 1 + own[i + 1];
        if (common > 0)
            own[i] = least(own[i], own[i + common]);
        if (list != NULL)
            own[i] = least(own[i], least(least_listed(list, c, i, own), least_listed(list, &plain, i, own)));
    }
    explicit_bzero(&plain, sizeof plain);
    return own[0];
}

static size_t count_different(const struct characters *c)
{
    size_t different = 0;
    for (size_t i = 0; i < c->count; i++) {
        size_t before = 0;
        while (before < i && c->at[before] != c->at[i])
            before++;
        different += before == i;
    }
    return different;
}

static bool is_listed(const struct characters *c)
{
    for (size_t i = 0; i < sizeof LISTED / sizeof LISTED[0]; i++)
        if (word_at(c, 0, LISTED[i]) == c->count)
            return true;
    return false;
}

static const char *judge(const struct password_list *list, const struct characters *c, const char *username)
{
    if (c->count < PASSWORD_CHARS_MIN)
        return "must have 12 to 128 characters";
    if (is_listed(c))
        return "is one of the passwords that everybody tries first";
    if (count_different(c) < DIFFERENT_MIN)
        return "repeats too few characters";
    if (count_own(list, c, username) < OWN_MIN)
        return "has too little beside common words, your user name, and repeated or neighbouring characters";
    return NULL;
}

const char *password_complaint(const char *password, const char *username)
{
    return password_complaint_by(NULL, password, username);
}

const char *password_complaint_by(const struct password_list *list, const char *password, const char *username)
{
    struct characters c;
    const char *complaint = read_characters(password, &c) ? judge(list, &c, username)
                                                          : "must have 12 to 128 characters";
    explicit_bzero(&c, sizeof c);
    return complaint;
}
