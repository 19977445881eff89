// SPDX-License-Identifier: Apache-2.0
//
// Range and Content-Range by RFC 9110, sections 14.1 to 14.4. A Range that is not understood is
// ignored, a Content-Range that is not understood is an error: one is a wish, the other describes
// bytes. Pure; any thread.

#include "mirrors/oci/range.h"

#include <string.h>
#include <strings.h>

struct text {
    const char *s;
    size_t len;
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static struct text trimmed(struct text t) {
    while (t.len > 0 && is_blank(t.s[0])) {
        t.s++;
        t.len--;
    }
    while (t.len > 0 && is_blank(t.s[t.len - 1]))
        t.len--;
    return t;
}

static bool take(struct text *t, const char *word) {
    size_t n = strlen(word);
    if (t->len < n || strncasecmp(t->s, word, n) != 0)
        return false;
    t->s += n;
    t->len -= n;
    return true;
}

// Digits at the start; false when there are none. Too large a number is UINT64_MAX.
static bool take_number(struct text *t, uint64_t *out) {
    uint64_t value = 0;
    size_t n = 0;
    for (; n < t->len && t->s[n] >= '0' && t->s[n] <= '9'; n++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(t->s[n] - '0'), &value))
            value = UINT64_MAX;
    t->s += n;
    t->len -= n;
    *out = value;
    return n > 0;
}

static bool parse_suffix(struct text t, struct range *out) {
    if (!take(&t, "-") || !take_number(&t, &out->suffix) || t.len > 0)
        return false;
    out->kind = RANGE_SUFFIX;
    return true;
}

static bool parse_bytes(struct text t, struct range *out) {
    if (!take_number(&t, &out->first) || !take(&t, "-"))
        return false;
    out->last = UINT64_MAX;
    if (t.len > 0 && (!take_number(&t, &out->last) || t.len > 0))
        return false;
    out->kind = RANGE_BYTES;
    return out->first <= out->last;
}

struct range range_parse(const char *value, size_t len) {
    const struct range none = {.kind = RANGE_NONE};
    struct range range = none;
    struct text t = trimmed((struct text){value, len});
    if (!take(&t, "bytes") || !take(&t, "="))
        return none;
    t = trimmed(t);
    if (t.len == 0)
        return none;
    bool understood = t.s[0] == '-' ? parse_suffix(t, &range) : parse_bytes(t, &range);
    return understood ? range : none;
}

static enum range_fit resolve_suffix(uint64_t suffix, uint64_t size, uint64_t *first, uint64_t *last) {
    if (suffix == 0)
        return RANGE_UNSATISFIABLE;
    *first = suffix < size ? size - suffix : 0;
    *last = size - 1;
    return RANGE_PARTIAL;
}

enum range_fit range_resolve(const struct range *r, uint64_t size, uint64_t *first, uint64_t *last) {
    if (r->kind == RANGE_NONE)
        return RANGE_WHOLE;
    if (size == 0)
        return RANGE_UNSATISFIABLE;
    if (r->kind == RANGE_SUFFIX)
        return resolve_suffix(r->suffix, size, first, last);
    if (r->first >= size)
        return RANGE_UNSATISFIABLE;
    *first = r->first;
    *last = r->last < size ? r->last : size - 1;
    return RANGE_PARTIAL;
}

bool content_range_parse(const char *value, size_t len, uint64_t *first, uint64_t *last, uint64_t *total) {
    struct text t = trimmed((struct text){value, len});
    uint64_t from, to, of = UINT64_MAX;
    if (!take(&t, "bytes") || t.len == 0 || !is_blank(t.s[0]))
        return false;
    t = trimmed(t);
    if (!take_number(&t, &from) || !take(&t, "-") || !take_number(&t, &to) || !take(&t, "/"))
        return false;
    bool unknown = take(&t, "*");
    if ((!unknown && !take_number(&t, &of)) || t.len > 0)
        return false;
    // A clamped number describes no real bytes.
    if (to == UINT64_MAX || from > to || (!unknown && (of == UINT64_MAX || to >= of)))
        return false;
    *first = from;
    *last = to;
    *total = of;
    return true;
}
