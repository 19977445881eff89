// SPDX-License-Identifier: Apache-2.0
//
// What a token server says, and what we ask it. Pure; any thread.

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/oci/challenge.h"

#include <stddef.h>
#include <stdint.h>

enum {
    TOKEN_MAX = 32 * 1024,         ///< Of one token; Azure's are long.
    TOKEN_ANSWER_MAX = 128 * 1024, ///< Of the answer's body.
    TOKEN_LIFETIME_DEFAULT_S = 60, ///< The specification's, where the answer names none.
    TOKEN_LIFETIME_MAX_S = 3600,   ///< Whatever the answer claims.
    TOKEN_MARGIN_S = 10            ///< A token is not used this shortly before its end.
};

/// The URL to GET: the challenge's realm with `service` and `scope` added to its query. Without a scope in the
/// challenge it is "repository:REPOSITORY:pull". Fresh memory; NULL when the realm is no URL.
char *token_url(const struct challenge *c, const char *repository);

/// The bearer token of an answer ({"token": ...} or {"access_token": ...}) as fresh memory, and how long it holds
/// in seconds. NULL: there is none, or it holds bytes that no header may have.
char *token_parse(const char *body, size_t len, int64_t *lifetime_s, struct err *err);

/// "Basic ..." for a user name and password; fresh memory, to be wiped by the caller.
char *token_basic(const char *username, const char *password);

/// The first message of an OCI error body (also Docker Hub's {"detail"|"details"|"message"}), printable, one line, cut
/// to `size`; "" when there is none. `code` (may be NULL; 65 bytes) gets the first error's code where it is a plain
/// word.
void token_error_message(const char *body, size_t len, char *out, size_t size, char *code);
