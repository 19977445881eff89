// SPDX-License-Identifier: Apache-2.0
//
// A site's own issuer: what makes its JWT good here, and whom it names.
//
// Pure: keys and time are arguments; issuers.c has the keys fetched.

#pragma once

#include "gateway/identity/identity.h"
#include "gateway/identity/jwt.h"
#include "gateway/identity/token.h"

/// `out` gets the name ("user:..."), groups, id, times.
bool oidc_verify(const struct oidc_settings *settings, const struct jwks *keys, const struct jwt *t, int64_t now,
                 struct token_claims *out, struct err *err);
