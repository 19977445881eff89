// SPDX-License-Identifier: Apache-2.0
//
// A password file.

#include "gateway/identity/htpasswd.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {""};
    char *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    struct htpasswd *h = htpasswd_parse(copy, size, &err);
    if ((h == NULL) != (err.text[0] != '\0'))
        abort();
    if (h != NULL && htpasswd_count(h) > size)
        abort();
    htpasswd_unref(h);
    free(copy);
    return 0;
}
