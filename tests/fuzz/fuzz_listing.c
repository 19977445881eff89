// SPDX-License-Identifier: Apache-2.0
//
// Listings: the first line of the input is what a client asks for, the second an upstream's Link, the rest its list of
// tags. A query keeps no `ns` and nothing that ends a request line; a Link is the client's own path or nothing; a list
// is JSON that holds valid, shown tags only.

#include "gateway/front/listing_text.h"
#include "mirrors/base/json.h"
#include "mirrors/oci/name.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PATH "/v2/org/app/tags/list"
#define TAIL ">; rel=\"next\""

enum { TAGS_MAX = 16 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static bool is_ns(const char *pair, size_t len) {
    return len >= 2 && memcmp(pair, "ns", 2) == 0 && (len == 2 || pair[2] == '=');
}

static void check_clean_query(const char *query, size_t len) {
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && query[i] != '&') {
            require(query[i] > ' ' && query[i] <= '~' && strchr("\"<>#\\^`{|}", query[i]) == NULL);
            continue;
        }
        require(len == 0 || i > start);
        require(!is_ns(query + start, i - start));
        start = i + 1;
    }
}

static void check_query(const char *target, size_t len) {
    char query[LISTING_QUERY_MAX + 1], again[LISTING_QUERY_MAX + 1], asked[LISTING_QUERY_MAX + 2] = "?";
    if (!listing_query(target, len, query))
        return;
    require(memchr(query, '\0', sizeof(query)) != NULL);
    check_clean_query(query, strlen(query));
    memcpy(asked + 1, query, strlen(query) + 1);
    require(listing_query(asked, strlen(asked), again) && strcmp(query, again) == 0);
}

static void check_link(const char *link, const char *ns, const char *ns_pair) {
    char out[LISTING_LINK_MAX + 1];
    memset(out, 'x', sizeof(out));
    listing_link(link, "registry.test", PATH, ns, out);
    require(memchr(out, '\0', sizeof(out)) != NULL);
    if (out[0] == '\0')
        return;
    size_t len = strlen(out), head = strlen("<" PATH "?"), tail = strlen(TAIL) + strlen(ns_pair);
    require(len > head + tail && strncmp(out, "<" PATH "?", head) == 0);
    require(strcmp(out + len - strlen(TAIL), TAIL) == 0);
    require(strncmp(out + len - tail, ns_pair, strlen(ns_pair)) == 0);
    check_clean_query(out + head, len - head - tail);
}

static bool shown(void *ctx, const char *tag) {
    (void)ctx;
    require(name_tag_valid(tag, strlen(tag)));
    return strlen(tag) % 3 != 0;
}

static void check_list(const struct buf *out, const char *name) {
    struct json *root = json_parse(out->data, out->len, JSON_STRICT, NULL);
    const struct json *tags = json_get(root, "tags");
    require(root != NULL && root->count == 2 && strcmp(json_get_string(root, "name"), name) == 0);
    require(tags != NULL && tags->type == JSON_ARRAY);
    for (const struct json *t = tags->child; t != NULL; t = t->next)
        require(t->type == JSON_STRING && name_tag_valid(t->string, t->string_len) && shown(NULL, t->string));
    json_free(root);
}

static void check_tags(const char *body, size_t len) {
    struct err err = {0};
    struct buf out;
    buf_init(&out, TAGS_MAX);
    bool ok = listing_tags(body, len, "org/app", shown, NULL, &out, &err);
    require(ok == (err.text[0] == '\0'));
    if (ok)
        check_list(&out, "org/app");
    buf_deinit(&out);
}

static size_t line_of(const char *text, size_t len) {
    const char *end = len > 0 ? memchr(text, '\n', len) : NULL;
    return end != NULL ? (size_t)(end - text) : len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    size_t target_len = line_of(text, size), used = target_len < size ? target_len + 1 : size;
    size_t link_len = line_of(text + used, size - used);
    char *target = malloc(target_len > 0 ? target_len : 1); // Of exactly this size, so that a step too far is seen.
    memcpy(target, text, target_len);
    check_query(target, target_len);
    free(target);
    char *link = strndup(text + used, link_len);
    check_link(link, NULL, "");
    check_link(link, "registry.test:5000", "&ns=registry.test%3A5000");
    free(link);
    used += link_len < size - used ? link_len + 1 : link_len;
    check_tags(text + used, size - used);
    return 0;
}
