// SPDX-License-Identifier: Apache-2.0
//
// The words of a TOML text, as its version 1.0 has them. The text as a whole was found to be UTF-8 before.

#include "gateway/formats/toml_lex.h"

#include <string.h>

int toml_peek(const struct toml *p) {
    return p->at < p->len ? (unsigned char)p->text[p->at] : -1;
}

bool toml_next_is(const struct toml *p, const char *s) {
    size_t n = strlen(s);
    return p->len - p->at >= n && memcmp(p->text + p->at, s, n) == 0;
}

bool toml_take(struct toml *p, char c) {
    if (toml_peek(p) != (unsigned char)c)
        return false;
    p->at++;
    return true;
}

void toml_skip_blanks(struct toml *p) {
    while (toml_peek(p) == ' ' || toml_peek(p) == '\t')
        p->at++;
}

static size_t newline_len(const struct toml *p) {
    return toml_next_is(p, "\n") ? 1 : toml_next_is(p, "\r\n") ? 2 : 0;
}

bool toml_take_newline(struct toml *p) {
    size_t n = newline_len(p);
    p->at += n;
    return n > 0;
}

// Tab is the one control character that may stand as itself.
static bool is_control(int c) {
    return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f;
}

bool toml_skip_comment(struct toml *p) {
    if (!toml_take(p, '#'))
        return true;
    p->comments++;
    while (p->at < p->len && newline_len(p) == 0) {
        if (is_control(toml_peek(p)))
            return err_set(p->err, "a control character in a comment");
        p->at++;
    }
    return true;
}

bool toml_skip_lines(struct toml *p) {
    do {
        toml_skip_blanks(p);
        if (!toml_skip_comment(p))
            return false;
    } while (toml_take_newline(p));
    return true;
}

// --- strings ---

static int hex_value(int c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void add_character(struct buf *b, uint32_t c) {
    char s[4];
    size_t n = 0;
    if (c < 0x80) {
        s[n++] = (char)c;
    } else if (c < 0x800) {
        s[n++] = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        s[n++] = (char)(0xe0 | c >> 12);
        s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        s[n++] = (char)(0xf0 | c >> 18);
        s[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80)
        s[n++] = (char)(0x80 | (c & 0x3f));
    buf_add(b, s, n);
}

static bool unicode_escape(struct toml *p, int digits) {
    uint32_t c = 0;
    for (int i = 0; i < digits; i++, p->at++) {
        int digit = hex_value(toml_peek(p));
        if (digit < 0)
            return err_set(p->err, "an escape that needs %d hexadecimal digits", digits);
        c = c << 4 | (uint32_t)digit;
    }
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return err_set(p->err, "an escape that is no Unicode character");
    add_character(&p->scratch, c);
    return true;
}

// Past the backslash.
static bool escape(struct toml *p) {
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    int c = toml_peek(p);
    const char *found = c <= 0 ? NULL : strchr(from, c);
    if (found == NULL && c != 'u' && c != 'U')
        return err_set(p->err, "an unknown escape in a string");
    p->at++;
    if (found != NULL)
        return buf_add(&p->scratch, &to[found - from], 1);
    return unicode_escape(p, c == 'u' ? 4 : 8);
}

// A backslash at a line's end, past it: it swallows blanks up to the next text.
static bool continuation(struct toml *p) {
    size_t start = p->at;
    toml_skip_blanks(p);
    if (!toml_take_newline(p)) {
        p->at = start;
        return false;
    }
    do
        toml_skip_blanks(p);
    while (toml_take_newline(p));
    return true;
}

static bool add_plain(struct toml *p) {
    if (is_control(toml_peek(p)))
        return err_set(p->err, "a control character in a string");
    buf_add(&p->scratch, p->text + p->at, 1);
    p->at++;
    return true;
}

static bool short_string(struct toml *p, char quote) {
    p->at++;
    while (!toml_take(p, quote)) {
        if (toml_peek(p) < 0 || newline_len(p) > 0)
            return err_set(p->err, "a string that does not end on its line");
        bool fine = quote == '"' && toml_take(p, '\\') ? escape(p) : add_plain(p);
        if (!fine)
            return false;
    }
    return true;
}

// The quotes that come next, up to five: two may belong to the string before the three that end it.
static size_t quotes(const struct toml *p, char quote) {
    size_t n = 0;
    while (n < 5 && p->at + n < p->len && p->text[p->at + n] == quote)
        n++;
    return n;
}

static bool long_piece(struct toml *p, char quote) {
    if (quote == '"' && toml_take(p, '\\'))
        return continuation(p) || escape(p);
    size_t n = newline_len(p);
    if (n == 0)
        return add_plain(p);
    buf_add(&p->scratch, p->text + p->at, n);
    p->at += n;
    return true;
}

static bool long_string(struct toml *p, char quote) {
    p->at += 3;
    toml_take_newline(p);
    for (;;) {
        size_t n = quotes(p, quote);
        if (n >= 3) {
            buf_add(&p->scratch, p->text + p->at, n - 3);
            p->at += n;
            return true;
        }
        if (toml_peek(p) < 0)
            return err_set(p->err, "a string that does not end");
        if (!long_piece(p, quote))
            return false;
    }
}

bool toml_string(struct toml *p) {
    buf_clear(&p->scratch);
    char quote = (char)toml_peek(p);
    return quotes(p, quote) >= 3 ? long_string(p, quote) : short_string(p, quote);
}

// --- keys ---

static bool is_bare(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool key_part(struct toml *p, struct toml_part *out) {
    out->begin = p->at;
    if (toml_peek(p) == '"' || toml_peek(p) == '\'') {
        buf_clear(&p->scratch);
        if (!short_string(p, (char)toml_peek(p)))
            return false;
        out->len = p->scratch.len;
        out->name = conf_keep(p->document, p->scratch.data, out->len);
    } else {
        while (is_bare(toml_peek(p)))
            p->at++;
        out->len = p->at - out->begin;
        if (out->len == 0)
            return err_set(p->err, "a key was expected");
        out->name = conf_keep(p->document, p->text + out->begin, out->len);
    }
    out->end = p->at;
    return true;
}

size_t toml_key(struct toml *p, struct toml_part parts[CONF_DEPTH_MAX + 1]) {
    for (size_t n = 0; n <= CONF_DEPTH_MAX; n++) {
        if (!key_part(p, &parts[n]))
            return 0;
        toml_skip_blanks(p);
        if (!toml_take(p, '.'))
            return n + 1;
        toml_skip_blanks(p);
    }
    err_set(p->err, "a key of more than %d parts", CONF_DEPTH_MAX);
    return 0;
}
