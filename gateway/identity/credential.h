// SPDX-License-Identifier: Apache-2.0
//
// What stands in Authorization: Basic or Bearer, and nothing else.
//
// Basic whose password is a JWT is that token (docker login asks for a user name; it is ignored then). podman's `Og==`,
// an empty user with an empty password, is nobody. Everything else that is not exactly right is bad, never nobody.
// Pure; any thread.

#pragma once

#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { CREDENTIAL_USER_MAX = 250, CREDENTIAL_PASSWORD_MAX = 511 }; // libcrypt takes no more than 511.

enum credential_kind { CREDENTIAL_NOBODY, CREDENTIAL_PASSWORD, CREDENTIAL_TOKEN, CREDENTIAL_BAD };

struct credential {
    enum credential_kind kind;
    char *user;   ///< CREDENTIAL_PASSWORD.
    char *secret; ///< The password, or the token.
};

/// `authorization`: the header's value; NULL: there is none. BAD: `err` says what is wrong, without quoting it.
void credential_parse(const char *authorization, size_t len, struct credential *out, struct err *err);

/// The same from the fields of a form. Both are NUL-terminated texts.
void credential_of_fields(const char *user, const char *password, struct credential *out, struct err *err);

/// Take over a token.
void credential_of_token(const char *token, struct credential *out, struct err *err);

void credential_deinit(struct credential *c);

/// Does this text have the form of a compact JWS: three dots-parts, the first an encoded object?
bool looks_like_jwt(const char *text, size_t len);

/// A name that may be logged, signed and matched: 1 to CREDENTIAL_USER_MAX bytes of UTF-8 without control characters.
bool name_fits(const char *name, size_t len);
