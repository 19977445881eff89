// SPDX-License-Identifier: Apache-2.0
//
// A compact JWS against fixed keys, of which nobody has the private parts: whatever comes, nothing is good. An input
// that begins with `{` is a key set.

#include "gateway/identity/oidc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char keys[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"d\","
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},{\"kty\":\"RSA\",\"kid\":\"r\",\"e\":\"AQAB\",\"n\":"
    "\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
    "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"
    "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL"
    "5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
    "kEgU8awapJzKnqDKgw"
    "\"}]}";

static void as_token(const char *text, size_t len, const struct jwks *set) {
    static const struct oidc_settings settings = {
        .issuer = "https://i", .audience = "a", .name_claim = "sub", .groups_claim = "groups"};
    struct token_claims claims;
    struct jwt t;
    if (!jwt_parse(text, len, &t, NULL))
        return;
    char **groups = NULL;
    size_t count = 0;
    if (jwt_texts(&t, "groups", &groups, &count, NULL))
        jwt_texts_free(groups, count);
    jwt_times(&t, 2000000000, JWT_LEEWAY_S, NULL, NULL);
    jwt_audience(&t, "a");
    if (oidc_verify(&settings, set, &t, 2000000000, &claims, NULL))
        abort();
    jwt_deinit(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct jwks *set = jwks_parse(keys, sizeof keys - 1, NULL);
    char *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    if (size > 0 && data[0] == '{')
        jwks_unref(jwks_parse(copy, size, NULL));
    else
        as_token(copy, size, set);
    jwks_unref(set);
    free(copy);
    return 0;
}
