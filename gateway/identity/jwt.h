// SPDX-License-Identifier: Apache-2.0
//
// A compact JWS with claims: read strictly, verified with one key, its times compared with the clock.
//
// The strict JSON reader (bounded, no duplicate keys, no NUL) has header and claims before any library does. The
// signature is verified by libjose, which has JWK and every RSA and EC algorithm of JOSE on OpenSSL; libjwt of the same
// Debian knows neither JWK, nor the PS algorithms, nor is it told apart there which key goes with which algorithm.
// libjose gets a key that was put together here, with the algorithm pinned in it, and never anything that points
// elsewhere. Ed25519, which it lacks, is verified by OpenSSL. Nothing of a token is believed before jwt_verify().
// Pure; any thread.

#pragma once

#include "gateway/identity/jwk.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json;

enum { JWT_MAX = 16 * 1024, JWT_LEEWAY_S = 60 };

struct jwt {
    char *text;                                   ///< The whole.
    size_t header_len, payload_len, signature_at; ///< Of its parts: the payload begins behind the first dot.
    char alg[JWK_ALG_MAX + 1];
    bool has_kid;
    char kid[KID_MAX + 1];
    struct json *claims; ///< Nobody's word until verified.
};

/// Refused: `alg` none or symmetric, `crit`, `jku`, `x5u`, `jwk`, `zip`, `b64` in the header.
bool jwt_parse(const char *text, size_t len, struct jwt *out, struct err *err);
void jwt_deinit(struct jwt *t);

/// Is it signed with this key?
bool jwt_verify(const struct jwt *t, const struct jwk *key, struct err *err);

/// `exp` is there and not past, `nbf` and `iat`, where there, not in the future; each by `leeway` seconds. `exp` (may
/// be NULL) is told the first.
bool jwt_times(const struct jwt *t, int64_t now, int64_t leeway, int64_t *exp, struct err *err);

/// A claim that is seconds; false: not there, or no number that can be a time.
bool jwt_time(const struct jwt *t, const char *claim, int64_t *out);

/// Is `wanted` the audience, or in the list that is?
bool jwt_audience(const struct jwt *t, const char *wanted);

/// The claim's list of texts, each a fitting name: `*out` is freed by jwt_texts_free(). Not there: none. False: of a
/// wrong type, or too many.
bool jwt_texts(const struct jwt *t, const char *claim, char ***out, size_t *count, struct err *err);
void jwt_texts_free(char **texts, size_t count);

/// Sign claims (a JSON text) as ES256; `d` is the key's private part in base64url. NULL: the key is none.
char *jwt_sign(const struct jwk *key, const char *d, const char *claims, size_t len);
