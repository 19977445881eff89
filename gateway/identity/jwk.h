// SPDX-License-Identifier: Apache-2.0
//
// Public keys that tokens are verified with: a JWK set, from an issuer or of our own.
//
// Only the members that make a public RSA (2048 to 8192 bits), P-256, P-384 or Ed25519 key are taken over, after the
// strict JSON reader has had the document; everything else in it (symmetric keys, private parts, addresses of
// certificates) is left. A key's type, and its `alg` where it has one, say which algorithms it may be used with: what a
// token's header says is only compared. A key id is a text to compare and nothing else. Immutable, counted; any thread.

#pragma once

#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    JWKS_BYTES_MAX = 1024 * 1024,
    JWKS_KEYS_MAX = 200,
    KID_MAX = 255,
    JWK_ALG_MAX = 15,
    RSA_BITS_MIN = 2048,
    RSA_BITS_MAX = 8192
};

struct json;

enum jwk_type { JWK_RSA, JWK_P256, JWK_P384, JWK_ED25519 };

struct jwk {
    enum jwk_type type;
    bool has_kid;
    char kid[KID_MAX + 1];
    char alg[JWK_ALG_MAX + 1]; ///< "": whatever its type permits.
    char *a, *b;               ///< In base64url: n and e, x and y, or x alone.
};

/// One key; false: not fit for verifying.
bool jwk_read(const struct json *object, struct jwk *out, struct err *err);
void jwk_deinit(struct jwk *k);

/// May a signature with this `alg` be verified with the key?
bool jwk_permits(const struct jwk *k, const char *alg);

struct jwks;

/// A set of which at least one key is fit; those that are not are left out.
struct jwks *jwks_parse(const char *text, size_t len, struct err *err);
struct jwks *jwks_ref(struct jwks *s);
void jwks_unref(struct jwks *s); ///< NULL is allowed.
size_t jwks_count(const struct jwks *s);

/// The key with this id that `alg` may be used with. `kid` NULL: the only one that fits `alg`, if it is the only one.
const struct jwk *jwks_find(const struct jwks *s, const char *kid, const char *alg);

/// Is there any key of this id?
bool jwks_has(const struct jwks *s, const char *kid);
