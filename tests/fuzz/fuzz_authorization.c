// SPDX-License-Identifier: Apache-2.0
//
// What stands in Authorization.

#include "gateway/identity/credential.h"
#include "gateway/identity/identity.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct credential c;
    struct err err = {""};
    char *copy = malloc(size ? size : 1); // Of exactly this size, so that a step too far is seen.
    memcpy(copy, data, size);
    credential_parse(copy, size, &c, &err);
    require((c.kind == CREDENTIAL_BAD) == (err.text[0] != '\0'));
    require((c.kind == CREDENTIAL_PASSWORD) == (c.user != NULL));
    require((c.kind == CREDENTIAL_PASSWORD || c.kind == CREDENTIAL_TOKEN) == (c.secret != NULL));
    if (c.kind == CREDENTIAL_PASSWORD)
        require(name_fits(c.user, strlen(c.user)) && c.secret[0] != '\0' &&
                strlen(c.secret) <= CREDENTIAL_PASSWORD_MAX);
    if (c.kind == CREDENTIAL_TOKEN)
        require(looks_like_jwt(c.secret, strlen(c.secret)) && strlen(c.secret) <= IDENTITY_CREDENTIAL_MAX);
    credential_deinit(&c);
    free(copy);
    return 0;
}
