// SPDX-License-Identifier: Apache-2.0
//
// The texts of listings. Pure.

#include "gateway/front/listing_text.h"

#include "mirrors/base/host.h"
#include "mirrors/base/json.h"
#include "mirrors/oci/name.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool listing_tags(const char *body, size_t len, const char *name, bool (*shown)(void *ctx, const char *tag), void *ctx,
                  struct buf *out, struct err *err) {
    struct json *root = json_parse(body, len, JSON_STRICT, NULL);
    const struct json *tags = json_get(root, "tags");
    bool first = true;
    if (root == NULL || root->type != JSON_OBJECT ||
        (tags != NULL && tags->type != JSON_ARRAY && tags->type != JSON_NULL)) {
        json_free(root);
        return err_set(err, "the registry's answer is no list of tags");
    }
    buf_adds(out, "{\"name\":");
    buf_add_json(out, name, strlen(name));
    buf_adds(out, ",\"tags\":[");
    for (const struct json *t = tags != NULL && tags->type == JSON_ARRAY ? tags->child : NULL; t != NULL; t = t->next) {
        if (t->type != JSON_STRING || !name_tag_valid(t->string, t->string_len) || !shown(ctx, t->string))
            continue;
        buf_adds(out, first ? "" : ",");
        buf_add_json(out, t->string, t->string_len);
        first = false;
    }
    buf_adds(out, "]}");
    json_free(root);
    return !out->overflow || err_set(err, "the list of tags is too long");
}

static bool query_byte(unsigned char c) {
    return c > ' ' && c < 0x7f && strchr("\"<>#\\^`{|}", c) == NULL;
}

static bool is_ns(const char *pair, size_t len) {
    return len >= 2 && strncmp(pair, "ns", 2) == 0 && (len == 2 || pair[2] == '=');
}

/// Append the pairs of a query but `ns`, up to the end of the text.
static bool copy_query(const char *query, size_t len, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    while (len > 0) {
        const char *amp = memchr(query, '&', len);
        size_t n = amp != NULL ? (size_t)(amp - query) : len;
        if (n > 0 && !is_ns(query, n)) {
            if (used + n + 2 > size)
                return false;
            if (used > 0)
                out[used++] = '&';
            memcpy(out + used, query, n);
            used += n;
            out[used] = '\0';
        }
        query += amp != NULL ? n + 1 : n;
        len -= amp != NULL ? n + 1 : n;
    }
    return true;
}

bool listing_query(const char *target, size_t len, char out[LISTING_QUERY_MAX + 1]) {
    const char *mark = memchr(target, '?', len);
    out[0] = '\0';
    if (mark == NULL)
        return true;
    len -= (size_t)(mark + 1 - target);
    for (size_t i = 0; i < len; i++)
        if (!query_byte((unsigned char)mark[1 + i]))
            return false;
    return copy_query(mark + 1, len, out, LISTING_QUERY_MAX + 1);
}

// --- Link ---

/// The end of one link's parameters: the next comma that is not in quotes, or the text's end.
static const char *params_end(const char *p) {
    for (bool quoted = false; *p != '\0' && (quoted || *p != ','); p++)
        quoted = quoted != (*p == '"');
    return p;
}

static bool is_next(const char *params, size_t len) {
    static const char *const spellings[] = {"rel=\"next\"", "rel=next"};
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++)
        for (size_t n = strlen(spellings[i]), at = 0; at + n <= len; at++)
            if (strncasecmp(params + at, spellings[i], n) == 0)
                return true;
    return false;
}

/// The target of the `<...>; rel="next"` among the links; false: there is none.
static bool next_target(const char *link, const char **target, size_t *len) {
    for (const char *open; (open = strchr(link, '<')) != NULL;) {
        const char *close = strchr(open, '>');
        if (close == NULL)
            return false;
        const char *end = params_end(close);
        *target = open + 1;
        *len = (size_t)(close - open - 1);
        if (is_next(close, (size_t)(end - close)))
            return true;
        link = end;
    }
    return false;
}

/// A relative target is on the upstream's host; an absolute one must name it.
static bool on_host(const char *target, size_t len, const char *upstream) {
    struct hostport a, b;
    const char *scheme = memmem(target, len, "://", 3);
    const char *start = target;
    if (scheme != NULL && scheme - target <= 5)
        start = scheme + 3;
    else if (len >= 2 && target[0] == '/' && target[1] == '/')
        start = target + 2;
    else
        return true;
    size_t host_len = 0, rest = len - (size_t)(start - target);
    while (host_len < rest && strchr("/?#", start[host_len]) == NULL)
        host_len++;
    return hostport_parse(start, host_len, &a, NULL) && hostport_parse(upstream, strlen(upstream), &b, NULL) &&
           hostport_equal(&a, &b, 443);
}

static void encode(const char *s, char *out, size_t size) {
    size_t n = 0;
    for (; *s != '\0' && n + 4 < size; s++)
        n += (size_t)snprintf(out + n, size - n, *s == ':' || *s == '[' || *s == ']' ? "%%%02X" : "%c",
                              (unsigned char)*s);
    out[n] = '\0';
}

void listing_link(const char *link, const char *upstream, const char *path, const char *ns,
                  char out[LISTING_LINK_MAX + 1]) {
    const char *target;
    size_t len;
    char query[LISTING_QUERY_MAX + 1], encoded[3 * REGISTRY_MAX + 1] = "";
    out[0] = '\0';
    if (!next_target(link, &target, &len) || !on_host(target, len, upstream) || !listing_query(target, len, query) ||
        query[0] == '\0')
        return;
    if (ns != NULL)
        encode(ns, encoded, sizeof(encoded));
    snprintf(out, LISTING_LINK_MAX + 1, "<%s?%s%s%s>; rel=\"next\"", path, query, ns != NULL ? "&ns=" : "", encoded);
}
