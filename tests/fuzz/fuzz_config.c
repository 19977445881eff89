// SPDX-License-Identifier: Apache-2.0
//
// A configuration from a stranger: it is refused with a sentence, or it loads and can be asked.

#include "gateway/config/verdict.h"

#include <stdint.h>
#include <stdlib.h>

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};

static void ignore(void *ctx, const char *path, const char *sentence) {
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {0};
    struct config *c = config_parse((const char *)data, size, NULL, catalog, &err);
    if (c == NULL) {
        if (err.text[0] == '\0')
            abort();
        return 0;
    }
    struct question q = {.registry = "docker.io", .repository = "library/alpine", .tag = "1", .action = ACTION_PULL};
    struct verdict v;
    char line[DENIAL_SENTENCE_MAX + 1];
    config_verdict(c, &q, NULL, NULL, &v);
    config_sentence(c, &v, &q, "id", line);
    for (size_t i = 0; i < c->listener_count; i++)
        c->listeners[i].tls = false; // No files are opened here.
    config_lint(c, 1790000000, ignore, NULL);
    config_unref(c);
    return 0;
}
