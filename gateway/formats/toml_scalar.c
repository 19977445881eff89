// SPDX-License-Identifier: Apache-2.0
//
// TOML's booleans, numbers, dates and times.

#include "gateway/formats/toml_lex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 512 }; // Characters: longer than any double or int64 needs.

struct word {
    const char *s;
    size_t len;
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_word(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '-' ||
           c == '_' || c == '.' || c == ':';
}

static bool word_is(struct word w, const char *s) {
    return strlen(s) == w.len && memcmp(w.s, s, w.len) == 0;
}

// --- dates and times ---

// `n` digits at `at`; -1 when there are others.
static int digits(struct word w, size_t at, size_t n) {
    int value = 0;
    if (at + n > w.len)
        return -1;
    for (size_t i = at; i < at + n; i++) {
        if (!is_digit(w.s[i]))
            return -1;
        value = value * 10 + (w.s[i] - '0');
    }
    return value;
}

static bool has_at(struct word w, size_t at, char c) {
    return at < w.len && w.s[at] == c;
}

static int days_of(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

// The date at the beginning: 10 characters.
static bool is_date(struct word w) {
    int year = digits(w, 0, 4), month = digits(w, 5, 2), day = digits(w, 8, 2);
    return year >= 0 && has_at(w, 4, '-') && month >= 1 && month <= 12 && has_at(w, 7, '-') && day >= 1 &&
           day <= days_of(year, month);
}

// The bytes of the time at `at`, 0 when there is none.
static size_t time_len(struct word w, size_t at) {
    int hour = digits(w, at, 2), minute = digits(w, at + 3, 2), second = digits(w, at + 6, 2);
    bool fine = hour >= 0 && hour <= 23 && has_at(w, at + 2, ':') && minute >= 0 && minute <= 59 &&
                has_at(w, at + 5, ':') && second >= 0 && second <= 60;
    if (!fine)
        return 0;
    size_t n = 8;
    if (!has_at(w, at + n, '.'))
        return n;
    while (at + ++n < w.len && is_digit(w.s[at + n])) {
    }
    return n == 9 ? 0 : n;
}

static bool is_offset(struct word w, size_t at) {
    if (at + 1 == w.len)
        return w.s[at] == 'Z' || w.s[at] == 'z';
    int hour = digits(w, at + 1, 2), minute = digits(w, at + 4, 2);
    return at + 6 == w.len && (w.s[at] == '+' || w.s[at] == '-') && hour >= 0 && hour <= 23 && has_at(w, at + 3, ':') &&
           minute >= 0 && minute <= 59;
}

static bool looks_like_date(struct word w) {
    return digits(w, 0, 4) >= 0 && has_at(w, 4, '-');
}

static bool looks_like_time(struct word w) {
    return digits(w, 0, 2) >= 0 && has_at(w, 2, ':');
}

static bool is_time(struct word w) {
    if (looks_like_time(w))
        return time_len(w, 0) == w.len;
    if (!is_date(w))
        return false;
    if (w.len == 10)
        return true;
    size_t n = w.s[10] == 'T' || w.s[10] == 't' || w.s[10] == ' ' ? time_len(w, 11) : 0;
    return n > 0 && (11 + n == w.len || is_offset(w, 11 + n));
}

// --- numbers ---

// Digits of a base, with single underscores between them.
static bool is_digits(const char *s, size_t len, const char *allowed) {
    if (len == 0 || s[0] == '_' || s[len - 1] == '_')
        return false;
    for (size_t i = 0; i < len; i++) {
        bool fine = s[i] == '_' ? s[i - 1] != '_' : s[i] != '\0' && strchr(allowed, s[i]) != NULL;
        if (!fine)
            return false;
    }
    return true;
}

static const char DECIMAL[] = "0123456789";

static bool is_decimal(const char *s, size_t len) {
    return is_digits(s, len, DECIMAL) && (len == 1 || s[0] != '0');
}

static size_t sign_len(const char *s, size_t len) {
    return len > 0 && (*s == '+' || *s == '-');
}

static size_t span(const char *s, size_t len, const char *until) {
    size_t n = 0;
    while (n < len && strchr(until, s[n]) == NULL)
        n++;
    return n;
}

static bool is_float(struct word w) {
    size_t at = sign_len(w.s, w.len);
    size_t whole = span(w.s + at, w.len - at, ".eE");
    if (at + whole == w.len || !is_decimal(w.s + at, whole))
        return false;
    at += whole;
    if (w.s[at] == '.') {
        size_t fraction = span(w.s + at + 1, w.len - at - 1, "eE");
        if (!is_digits(w.s + at + 1, fraction, DECIMAL))
            return false;
        at += 1 + fraction;
    }
    if (at == w.len)
        return true;
    at += 1 + sign_len(w.s + at + 1, w.len - at - 1);
    return is_digits(w.s + at, w.len - at, DECIMAL);
}

static size_t without_underscores(struct word w, char out[NUMBER_MAX + 1]) {
    size_t n = 0;
    for (size_t i = 0; i < w.len; i++)
        if (w.s[i] != '_')
            out[n++] = w.s[i];
    out[n] = '\0';
    return n;
}

static bool special_float(struct word w, struct conf *out) {
    size_t sign = sign_len(w.s, w.len);
    struct word name = {w.s + sign, w.len - sign};
    if (!word_is(name, "inf") && !word_is(name, "nan"))
        return false;
    double value = word_is(name, "inf") ? INFINITY : NAN;
    out->type = CONF_FLOAT;
    out->number = *w.s == '-' ? -value : value;
    return true;
}

static bool integer(struct toml *p, struct word w, struct conf *out) {
    static const struct {
        const char *prefix, *digits;
        int base;
    } bases[] = {{"0x", "0123456789abcdefABCDEF", 16}, {"0o", "01234567", 8}, {"0b", "01", 2}};
    char text[NUMBER_MAX + 1];
    int base = 10;
    size_t start = sign_len(w.s, w.len), sign = start;
    const char *allowed = DECIMAL;
    for (size_t i = 0; i < 3; i++)
        if (w.len > 2 && memcmp(w.s, bases[i].prefix, 2) == 0) {
            base = bases[i].base;
            allowed = bases[i].digits;
            start = 2;
        }
    bool fine = base == 10 ? is_decimal(w.s + start, w.len - start) : is_digits(w.s + start, w.len - start, allowed);
    if (!fine)
        return err_set(p->err, "a value was expected");
    size_t skip = base == 10 ? start - sign : start;
    size_t len = without_underscores((struct word){w.s + skip, w.len - skip}, text);
    out->type = CONF_INTEGER;
    if (!conf_integer(text, len, base, &out->integer))
        return err_set(p->err, "an integer beyond 64 bits");
    out->number = (double)out->integer;
    return true;
}

static bool number(struct toml *p, struct word w, struct conf *out) {
    if (w.len > NUMBER_MAX)
        return err_set(p->err, "a number of more than %d characters", NUMBER_MAX);
    if (special_float(w, out))
        return true;
    if (!is_float(w))
        return integer(p, w, out);
    char text[NUMBER_MAX + 1];
    without_underscores(w, text);
    out->type = CONF_FLOAT;
    out->number = strtod(text, NULL);
    return true;
}

// --- any of them ---

static struct word take_word(struct toml *p) {
    struct word w = {p->text + p->at, 0};
    while (is_word(toml_peek(p)))
        p->at++;
    w.len = (size_t)(p->text + p->at - w.s);
    // A blank may stand between a date and its time.
    bool more = w.len == 10 && looks_like_date(w) && p->at + 1 < p->len && p->text[p->at] == ' ' &&
                is_digit(p->text[p->at + 1]);
    if (more)
        p->at++;
    while (more && is_word(toml_peek(p)))
        p->at++;
    w.len = (size_t)(p->text + p->at - w.s);
    return w;
}

bool toml_scalar(struct toml *p, struct conf *out) {
    struct word w = take_word(p);
    if (word_is(w, "true") || word_is(w, "false")) {
        out->type = CONF_BOOL;
        out->boolean = w.s[0] == 't';
        return true;
    }
    if (!looks_like_date(w) && !looks_like_time(w))
        return number(p, w, out);
    if (!is_time(w))
        return err_set(p->err, "a date or time that does not exist");
    out->type = CONF_TIME;
    out->string = conf_keep(p->document, w.s, w.len);
    out->string_len = w.len;
    return true;
}
