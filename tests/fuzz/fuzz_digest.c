// SPDX-License-Identifier: Apache-2.0
//
// Digests from strangers: what is accepted has exactly the length of its algorithm.

#include "mirrors/oci/digest.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum digest_algorithm algorithm;
    if (digest_check((const char *)data, size, &algorithm) == DIGEST_OK) {
        require(size == (algorithm == DIGEST_SHA512 ? 135 : 71));
        require(memchr(data, '/', size) == NULL && memchr(data, '.', size) == NULL);
    }
    char text[DIGEST_TEXT_MAX + 1];
    digest_of(size % 2 == 0 ? DIGEST_SHA256 : DIGEST_SHA512, data, size, text);
    require(digest_check(text, strlen(text), &algorithm) == DIGEST_OK);
    return 0;
}
