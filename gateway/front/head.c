// SPDX-License-Identifier: Apache-2.0
//
// Judging request heads, line by line. Pure.

#include "gateway/front/head.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct line {
    const char *text;
    size_t len;
};

/// The next line without its end; false: there is none.
static bool next_line(const char **at, const char *end, struct line *out) {
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    if (newline == NULL)
        return false;
    *out = (struct line){*at, (size_t)(newline - *at)};
    if (out->len > 0 && out->text[out->len - 1] == '\r')
        out->len--;
    *at = newline + 1;
    return true;
}

static bool is_named(const struct line *l, const char *name) {
    size_t n = strlen(name);
    return l->len > n && l->text[n] == ':' && strncasecmp(l->text, name, n) == 0;
}

static bool ends_with(const struct line *l, const char *what) {
    size_t n = strlen(what);
    return l->len >= n && memcmp(l->text + l->len - n, what, n) == 0;
}

/// The request line; an empty line may stand before it (RFC 9112 2.2).
static bool request_line(const char **at, const char *end, struct line *out) {
    return next_line(at, end, out) && (out->len > 0 || next_line(at, end, out));
}

enum head_fault head_judge(const char *bytes, size_t len, size_t max) {
    const char *at = bytes, *end = bytes + len;
    struct line l;
    unsigned hosts = 0, framings = 0;
    bool folded = false;
    bool host_needed = request_line(&at, end, &l) && ends_with(&l, "HTTP/1.1");
    while (next_line(&at, end, &l) && l.len > 0) {
        folded = folded || l.text[0] == ' ' || l.text[0] == '\t';
        hosts += is_named(&l, "host");
        framings += is_named(&l, "content-length") || is_named(&l, "transfer-encoding");
    }
    if ((size_t)(at - bytes) > max)
        return HEAD_TOO_LARGE;
    if (folded)
        return HEAD_FOLDED;
    if (framings > 1)
        return HEAD_FRAMING;
    return hosts > 1 || (hosts == 0 && host_needed) ? HEAD_HOST : HEAD_OK;
}
