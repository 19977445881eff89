// SPDX-License-Identifier: Apache-2.0
//
// Manifests from strangers. The first line of the input is the Content-Type. What is accepted must keep the promises
// of document.h: known type, valid digests, and none of the keys that a client could read as `urls`.

#include "mirrors/oci/document.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void check_accepted(const struct document *d) {
    enum document_kind kind;
    require(document_type_known(d->media_type, strlen(d->media_type), &kind) && kind == d->kind);
    require(d->count <= DOCUMENT_DESCRIPTORS_MAX);
    for (size_t i = 0; i < d->count; i++) {
        enum digest_algorithm algorithm;
        const char *digest = d->descriptors[i].digest;
        require(digest_check(digest, strlen(digest), &algorithm) == DIGEST_OK);
        require((d->descriptors[i].role == ROLE_MANIFEST) == (d->kind == DOCUMENT_INDEX) ||
                d->descriptors[i].role == ROLE_BLOB);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    const char *line_end = size ? memchr(text, '\n', size) : NULL;
    if (!line_end)
        return 0;
    size_t type_len = (size_t)(line_end - text);
    char *type = strndup(text, type_len);
    struct document d;
    struct err err = {0};
    enum document_verdict v =
        document_judge(line_end + 1, size - type_len - 1, *type ? type : NULL, NULL, NULL, &d, &err);
    require((v == DOCUMENT_OK) == (err.text[0] == '\0'));
    if (v == DOCUMENT_OK)
        check_accepted(&d);
    if (v == DOCUMENT_OK)
        document_deinit(&d);
    free(type);
    return 0;
}
