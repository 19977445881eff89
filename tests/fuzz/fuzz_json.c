// SPDX-License-Identifier: Apache-2.0
//
// JSON from strangers: the tree must be consistent, and each of its strings what the text says.

#include "mirrors/base/buf.h"
#include "mirrors/base/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

static void check_string(const char *s, size_t len) {
    require(strlen(s) == len);
    for (size_t at = 0; at < len;) {
        size_t character = buf_utf8_len((const unsigned char *)s + at, len - at);
        require(character > 0);
        at += character;
    }
}

// Depth is bounded by JSON_DEPTH_MAX, which is what is tested.
static void check(const struct json *node, int depth) {
    require(depth <= JSON_DEPTH_MAX);
    if (node->key != NULL)
        check_string(node->key, node->key_len);
    if (node->type == JSON_STRING)
        check_string(node->string, node->string_len);
    size_t count = 0;
    for (const struct json *member = node->child; member != NULL; member = member->next, count++) {
        require((member->key != NULL) == (node->type == JSON_OBJECT));
        require(node->type != JSON_OBJECT || json_get(node, member->key) == member);
        check(member, depth + 1);
    }
    require(count == node->count);
}

static void parse(const char *text, size_t len, unsigned flags) {
    struct err err = {0};
    struct json *root = json_parse(text, len, flags, &err);
    require((root == NULL) == (err.text[0] != '\0'));
    if (root != NULL)
        check(root, 0);
    json_free(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    parse((const char *)data, size, JSON_STRICT);
    parse((const char *)data, size, JSON_COMMENTS);
    struct buf b;
    buf_init(&b, size * 6 + 2);
    require(buf_add_json(&b, (const char *)data, size));
    struct json *root = json_parse(b.data, b.len, JSON_STRICT, NULL);
    require(root != NULL || memchr(data, '\0', size) != NULL);
    json_free(root);
    buf_deinit(&b);
    return 0;
}
