// SPDX-License-Identifier: Apache-2.0
//
// What a token may be used for: "repository:org/app:pull,push repository:a/b:pull".
//
// A scope only narrows. `repository` is the one type that is kept; the others are left out, as the specification
// allows. Pure; any thread.

#pragma once

#include "mirrors/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum { SCOPE_TEXT_MAX = 4096, SCOPES_MAX = 64, SCOPE_NAME_MAX = 512 };

/// Add to `out` what `asked` (scopes with spaces between) names, as far as `within` (NULL: everything) permits it.
/// False: too many or too long.
bool scope_add(struct buf *out, const char *asked, const char *within);
