// SPDX-License-Identifier: Apache-2.0
//
// An issuer for tests: keys of each type, and tokens with whatever header and claims, signed however.

#pragma once

#include <stddef.h>

enum kit_type { KIT_RSA, KIT_RSA_SMALL, KIT_P256, KIT_P384, KIT_ED25519 };

struct kit_key;

struct kit_key *kit_key_new(enum kit_type type);
void kit_key_free(struct kit_key *k);

/// The public key as a JWK; `more` are further members ("\"alg\":\"RS256\",") or "".
char *kit_jwk(const struct kit_key *k, const char *kid, const char *more);

/// {"keys":[a,b...]} of those JWKs, which are freed. The list ends with NULL.
char *kit_jwks(char *first, ...);

/// HEADER.CLAIMS.SIGNATURE, signed as `alg` says, whatever the header says. "none": an empty signature. "HS256": the
/// key is `secret`.
char *kit_token(const struct kit_key *k, const char *alg, const char *secret, const char *header, const char *claims);

/// The public key as PEM: what a confused verifier takes for a symmetric secret.
char *kit_pem(const struct kit_key *k);

/// What stands in Authorization for a user and password.
char *kit_basic(const char *user, const char *password);
