// SPDX-License-Identifier: Apache-2.0
//
// Pieces of text that the editors of all formats need.

#include "gateway/formats/edit.h"

#include <string.h>

// --- places ---

size_t edit_line_begin(const struct edit *e, size_t at) {
    size_t first = conf_bom(e->text, e->len);
    while (at > first && e->text[at - 1] != '\n')
        at--;
    return at;
}

size_t edit_line_end(const struct edit *e, size_t at) {
    const char *newline = at < e->len ? memchr(e->text + at, '\n', e->len - at) : NULL;
    return newline == NULL ? e->len : (size_t)(newline - e->text) + 1;
}

size_t edit_skip_blanks(const struct edit *e, size_t at) {
    while (at < e->len && (e->text[at] == ' ' || e->text[at] == '\t'))
        at++;
    return at;
}

bool edit_is_blank_line(const struct edit *e, size_t at) {
    at = edit_skip_blanks(e, at);
    return at >= e->len || e->text[at] == '\n' || (e->text[at] == '\r' && at + 1 < e->len && e->text[at + 1] == '\n');
}

// --- writing ---

void edit_splice(struct edit *e, size_t begin, size_t end, const struct buf *with) {
    buf_add(&e->out, e->text, begin);
    buf_add(&e->out, with->data, with->len);
    buf_add(&e->out, e->text + end, e->len - end);
    e->out.overflow |= with->overflow;
}

void edit_insert_lines(struct edit *e, size_t at, const struct buf *lines) {
    bool cut = at == e->len && at > conf_bom(e->text, e->len) && e->text[at - 1] != '\n';
    buf_add(&e->out, e->text, at);
    if (cut)
        buf_adds(&e->out, e->eol);
    buf_add(&e->out, lines->data, lines->len - (cut ? strlen(e->eol) : 0));
    buf_add(&e->out, e->text + at, e->len - at);
    e->out.overflow |= lines->overflow;
}

// --- comments ---

static bool line_is(const struct edit *e, size_t begin, size_t end, const char *s, size_t n) {
    begin = edit_skip_blanks(e, begin);
    while (end > begin && strchr(" \t\r\n", e->text[end - 1]) != NULL)
        end--;
    return begin < end && e->text[begin] == '#' && end - begin >= 2 && end - begin - 2 == n &&
           memcmp(e->text + begin + 2, s, n) == 0;
}

static bool has_line(const struct edit *e, size_t from, size_t to, const char *s, size_t n) {
    for (size_t at = from; at < to;) {
        size_t end = edit_line_end(e, at);
        if (line_is(e, at, end, s, n))
            return true;
        at = end;
    }
    return false;
}

void edit_add_comment(const struct edit *e, struct buf *b, const char *indent, size_t n, size_t from, size_t to) {
    for (const char *s = e->comment; s != NULL && *s != '\0';) {
        size_t line = strcspn(s, "\r\n"), len = line;
        while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
            len--;
        if (len > 0 && !has_line(e, from, to, s, len)) {
            buf_add(b, indent, n);
            buf_adds(b, "# ");
            buf_add(b, s, len);
            buf_adds(b, e->eol);
        }
        s += line + (s[line] != '\0');
    }
}

// --- values ---

static bool is_stray(const unsigned char *s, size_t len) {
    static const char *const stray[] = {"\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf", "\xef\xbf\xbe", "\xef\xbf\xbf"};
    for (size_t i = 0; i < sizeof stray / sizeof *stray; i++)
        if (len == 3 && memcmp(s, stray[i], 3) == 0)
            return true;
    return len == 2 && s[0] == 0xc2 && s[1] < 0xa0;
}

static void add_escape(struct buf *b, unsigned character) {
    buf_addf(b, "\\u%04X", character);
}

static void add_ascii(struct buf *b, char c) {
    static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
    const char *found = c == '\0' ? NULL : strchr(from, c);
    if (found != NULL)
        buf_addf(b, "\\%c", to[found - from]);
    else if (c < 0x20 || c == 0x7f)
        add_escape(b, (unsigned char)c);
    else
        buf_add(b, &c, 1);
}

void edit_add_quoted(struct buf *b, const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    buf_adds(b, "\"");
    for (size_t at = 0; at < len;) {
        size_t n = buf_utf8_len(s + at, len - at);
        if (n <= 1)
            add_ascii(b, n == 0 ? '?' : text[at]);
        else if (is_stray(s + at, n))
            add_escape(b, n == 2 ? s[at + 1] : (s[at] & 0xfU) << 12 | (s[at + 1] & 0x3fU) << 6 | (s[at + 2] & 0x3fU));
        else
            buf_add(b, s + at, n);
        at += n == 0 ? 1 : n;
    }
    buf_adds(b, "\"");
}

void edit_add_scalar(const struct edit *e, struct buf *b, const struct conf *value) {
    if (value->type == CONF_STRING)
        edit_add_quoted(b, value->string, value->string_len);
    else
        buf_add(b, e->literal + value->begin, value->end - value->begin);
}

void edit_add_toml_key(struct buf *b, const char *key, size_t len) {
    static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    if (len > 0 && strlen(key) == len && strspn(key, bare) == len)
        buf_add(b, key, len);
    else
        edit_add_quoted(b, key, len);
}

static void add_inline_key(const struct edit *e, struct buf *b, const struct conf *member) {
    if (e->format == CONF_TOML)
        edit_add_toml_key(b, member->key, member->key_len);
    else
        edit_add_quoted(b, member->key, member->key_len);
    buf_adds(b, e->format == CONF_TOML ? " = " : ": ");
}

// CONF_DEPTH_MAX bounds the recursion.
void edit_add_inline(const struct edit *e, struct buf *b, const struct conf *value) {
    bool table = value->type == CONF_TABLE, spaced = table && e->format == CONF_TOML && value->count > 0;
    if (!table && value->type != CONF_LIST) {
        edit_add_scalar(e, b, value);
        return;
    }
    buf_adds(b, spaced ? "{ " : table ? "{" : "[");
    for (const struct conf *m = value->child; m != NULL; m = m->next) {
        if (m != value->child)
            buf_adds(b, ", ");
        if (table)
            add_inline_key(e, b, m);
        edit_add_inline(e, b, m);
    }
    buf_adds(b, spaced ? " }" : table ? "}" : "]");
}
