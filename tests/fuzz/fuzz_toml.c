// SPDX-License-Identifier: Apache-2.0
//
// TOML that strangers wrote: the tree must be consistent, bounded, and speak of places inside of the text.

#include "gateway/formats/conf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

// Depth is bounded by CONF_DEPTH_MAX, which is what is tested.
static size_t check(const struct conf *value, size_t len, int depth) {
    size_t count = 0, all = 1;
    require(depth <= CONF_DEPTH_MAX);
    require(value->begin <= value->end && value->end <= len && value->key_begin <= len && value->line > 0);
    require(value->type != CONF_STRING || value->string[value->string_len] == '\0');
    for (const struct conf *m = value->child; m != NULL; m = m->next, count++) {
        require((m->key != NULL) == (value->type == CONF_TABLE));
        require(m->key == NULL || strlen(m->key) != m->key_len || conf_get(value, m->key) == m);
        all += check(m, len, depth + 1);
    }
    require(count == value->count);
    require(count == 0 || value->type == CONF_LIST || value->type == CONF_TABLE);
    return all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {0};
    struct conf_document *d = conf_parse(CONF_TOML, (const char *)data, size, &err);
    require((d == NULL) == (err.text[0] != '\0'));
    require(d == NULL || check(conf_root(d), size, 0) <= CONF_VALUES_MAX);
    conf_free(d);
    return 0;
}
