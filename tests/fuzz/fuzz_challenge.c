// SPDX-License-Identifier: Apache-2.0
//
// WWW-Authenticate from strangers; each line is one header.

#include "mirrors/oci/challenge.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static bool ended(const char *s, size_t max) {
    return memchr(s, '\0', max + 1) != NULL;
}

static void check(const struct challenge_list *list) {
    require(list->count <= CHALLENGES_MAX);
    for (size_t i = 0; i < list->count; i++) {
        const struct challenge *c = &list->item[i];
        require(ended(c->realm, CHALLENGE_REALM_MAX) && ended(c->service, CHALLENGE_VALUE_MAX));
        require(ended(c->scope, CHALLENGE_VALUE_MAX) && ended(c->error, sizeof c->error - 1));
        require(!strpbrk(c->realm, "\r\n") && !strpbrk(c->service, "\r\n") && !strpbrk(c->scope, "\r\n"));
    }
    const struct challenge *chosen = challenge_choose(list);
    require(!chosen || chosen->scheme == CHALLENGE_BASIC || chosen->realm[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct challenge_list list;
    const char *at = (const char *)data, *end = at + size;
    memset(&list, 0, sizeof list);
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((line_end ? line_end : end) - at);
        char *copy = malloc(len ? len : 1); // Of exactly this size, so that a step too far is seen.
        memcpy(copy, at, len);
        challenge_parse(copy, len, &list);
        free(copy);
        at += len + 1;
    }
    check(&list);
    return 0;
}
