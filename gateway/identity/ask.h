// SPDX-License-Identifier: Apache-2.0
//
// What a client asks of /token: the parameters of a query or of a form.
//
// Everything is bounded; a parameter that may occur once and occurs twice is refused, as is a NUL in one. Unknown ones
// are ignored. Pure; any thread.

#pragma once

#include "gateway/identity/scope.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { ASK_TEXT_MAX = 32 * 1024, ASK_PARAMETERS_MAX = 200, ASK_SCOPES_TEXT_MAX = 4 * SCOPE_TEXT_MAX };

struct ask {
    char *grant_type, *username, *password, *refresh_token; ///< Or NULL.
    struct buf scopes;                                      ///< All of them, a space between.
};

/// `text`: name=value&...; percent signs decoded, `+` a space.
bool ask_parse(const char *text, size_t len, struct ask *out, struct err *err);
void ask_deinit(struct ask *a);
