// SPDX-License-Identifier: Apache-2.0
//
// What is asked of /token, and the scope that comes of it. A scope that was given permits itself and nothing more.

#include "gateway/identity/ask.h"
#include "gateway/identity/identity.h"
#include "gateway/identity/scope.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void scopes(const char *asked) {
    struct buf given, again, within;
    buf_init(&given, SCOPE_TEXT_MAX);
    buf_init(&again, SCOPE_TEXT_MAX);
    buf_init(&within, SCOPE_TEXT_MAX);
    if (scope_add(&given, asked, NULL) && given.data != NULL) {
        require(scope_add(&again, given.data, given.data) && strcmp(again.data, given.data) == 0);
        scope_add(&within, given.data, "repository:a/b:pull");
        require(within.data == NULL || !token_scope_permits(within.data, "a/b", "push"));
        require(strpbrk(given.data, "\"\\\r\n") == NULL);
    }
    buf_deinit(&given);
    buf_deinit(&again);
    buf_deinit(&within);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ask a;
    struct err err = {""};
    char *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    if (ask_parse(copy, size, &a, &err)) {
        require(a.scopes.len <= ASK_SCOPES_TEXT_MAX);
        scopes(a.scopes.data != NULL ? a.scopes.data : "");
        ask_deinit(&a);
    } else {
        require(err.text[0] != '\0');
    }
    free(copy);
    return 0;
}
