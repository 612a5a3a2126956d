#include "base/clock.h"

#include <assert.h>
#include <time.h>

enum {
    SECONDS_PER_DAY = 86400,
    DAYS_PER_ERA = 146097,     /* 400 years, after which the calendar repeats */
    DAYS_BEFORE_1970 = 719468, /* from 0000-03-01 */
    YEAR_MIN = 1970,
    YEAR_MAX = 9999,
};

time_us_t clock_now_us(void)
{
    struct timespec now;
    int rc = clock_gettime(CLOCK_REALTIME, &now);
    assert(rc == 0);
    return (time_us_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

mono_ns_t clock_mono_ns(void)
{
    struct timespec now;
    int rc = clock_gettime(CLOCK_MONOTONIC, &now);
    assert(rc == 0);
    return (mono_ns_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

struct date {
    int64_t year;
    int month, day; /* 1..12, 1..31 */
};

/* Both ways by Howard Hinnant's "chrono-compatible low-level date algorithms": years begin in March, so that the leap day is
 * the last of its year. Not gmtime_r and timegm: they take a lock and read TZ. */
static struct date date_of_days(int64_t days)
{
    days += DAYS_BEFORE_1970;
    int64_t era = (days >= 0 ? days : days - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int64_t day_of_era = days - era * DAYS_PER_ERA;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (DAYS_PER_ERA - 1)) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    int month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    return (struct date){
        .year = year_of_era + era * 400 + (month <= 2 ? 1 : 0),
        .month = month,
        .day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1),
    };
}

static int64_t days_of_date(struct date d)
{
    int64_t year = d.month <= 2 ? d.year - 1 : d.year;
    int64_t era = year / 400; /* year >= 1969 here */
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (d.month > 2 ? d.month - 3 : d.month + 9) + 2) / 5 + d.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_BEFORE_1970;
}

static int days_in_month(int64_t year, int month)
{
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : DAYS[month - 1];
}

/* `value` with at least `width` digits; returns the place behind them. */
static char *put_digits(char *p, int64_t value, int width)
{
    char digits[20];
    int count = 0;
    while (count < width || value > 0) {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    }
    while (count > 0)
        *p++ = digits[--count];
    return p;
}

static char *put_unit(char *p, int64_t value, int width, char behind)
{
    p = put_digits(p, value, width);
    *p++ = behind;
    return p;
}

void clock_format(time_us_t t, char ret_text[CLOCK_TEXT_MAX])
{
    const int64_t us_per_day = SECONDS_PER_DAY * US_PER_S;
    int64_t days = t / us_per_day;
    int64_t us = t % us_per_day;
    if (us < 0) { /* before 1970: round the day down */
        us += us_per_day;
        days--;
    }
    struct date d = date_of_days(days);
    int64_t seconds = us / US_PER_S;

    char *p = ret_text;
    if (d.year < 0)
        *p++ = '-';
    p = put_unit(p, d.year < 0 ? -d.year : d.year, 4, '-');
    p = put_unit(p, d.month, 2, '-');
    p = put_unit(p, d.day, 2, 'T');
    p = put_unit(p, seconds / 3600, 2, ':');
    p = put_unit(p, seconds / 60 % 60, 2, ':');
    p = put_unit(p, seconds % 60, 2, '.');
    p = put_unit(p, us % US_PER_S, 6, 'Z');
    *p = '\0';
}

void clock_append(struct buf *b, time_us_t t)
{
    char text[CLOCK_TEXT_MAX];
    clock_format(t, text);
    buf_str(b, text);
}

/* Exactly `width` digits off the front of `s`. */
static bool take_digits(struct str *s, size_t width, int *ret)
{
    if (s->len < width)
        return false;
    int value = 0;
    for (size_t i = 0; i < width; i++) {
        char c = s->data[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *s = (struct str){s->data + width, s->len - width};
    *ret = value;
    return true;
}

static bool take_char(struct str *s, char c)
{
    if (s->len == 0 || s->data[0] != c)
        return false;
    *s = (struct str){s->data + 1, s->len - 1};
    return true;
}

static bool take_date(struct str *s, struct date *ret)
{
    int year, month, day;
    if (!take_digits(s, 4, &year) || !take_char(s, '-') || !take_digits(s, 2, &month) || !take_char(s, '-') ||
        !take_digits(s, 2, &day))
        return false;
    if (year < YEAR_MIN || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    *ret = (struct date){year, month, day};
    return true;
}

static bool take_time_of_day(struct str *s, int *ret_seconds)
{
    int hour, minute, second;
    if (!take_digits(s, 2, &hour) || !take_char(s, ':') || !take_digits(s, 2, &minute) || !take_char(s, ':') ||
        !take_digits(s, 2, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 59)
        return false;
    *ret_seconds = (hour * 60 + minute) * 60 + second;
    return true;
}

/* ".1" to ".123456", or nothing. */
static bool take_fraction(struct str *s, int *ret_us)
{
    int us = 0;
    if (take_char(s, '.')) {
        int digit;
        int unit = 100000;
        if (s->len == 0)
            return false;
        while (unit > 0 && take_digits(s, 1, &digit)) {
            us += digit * unit;
            unit /= 10;
        }
        if (unit == 100000)
            return false; /* a point with nothing behind it */
    }
    *ret_us = us;
    return true;
}

/* "Z", "+hh:mm", "-hh:mm", or PostgreSQL's "+hh". */
static bool take_offset(struct str *s, int *ret_seconds)
{
    if (take_char(s, 'Z')) {
        *ret_seconds = 0;
        return true;
    }
    bool west = take_char(s, '-');
    if (!west && !take_char(s, '+'))
        return false;

    int hours, minutes = 0;
    if (!take_digits(s, 2, &hours))
        return false;
    if (take_char(s, ':') && !take_digits(s, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    int seconds = (hours * 60 + minutes) * 60;
    *ret_seconds = west ? -seconds : seconds;
    return true;
}

bool clock_parse(struct str text, time_us_t *ret_time)
{
    struct date date;
    int seconds, us, offset;
    if (!take_date(&text, &date) || (!take_char(&text, 'T') && !take_char(&text, ' ')) ||
        !take_time_of_day(&text, &seconds) || !take_fraction(&text, &us) || !take_offset(&text, &offset) ||
        text.len != 0)
        return false;

    /* The offset can carry the moment itself out of the years that the text may name. */
    int64_t unix_seconds = days_of_date(date) * SECONDS_PER_DAY + seconds - offset;
    int64_t end = days_of_date((struct date){YEAR_MAX + 1, 1, 1}) * SECONDS_PER_DAY;
    if (unix_seconds < 0 || unix_seconds >= end)
        return false;
    *ret_time = unix_seconds * US_PER_S + us;
    return true;
}
