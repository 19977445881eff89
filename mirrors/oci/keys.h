// SPDX-License-Identifier: Apache-2.0
//
// Keys that Go's encoding/json would read as another key.
//
// It compares names without regard to ASCII case and takes U+017F for s and U+212A for k, so "urlſ" and "URLS" arrive
// as "urls", and the last of several wins. Pure; any thread.

#pragma once

#include "mirrors/base/json.h"

enum { KEYS_MAX = 64 };

enum keys_of { KEYS_OF_DOCUMENT, KEYS_OF_DESCRIPTOR };

enum keys_verdict {
    KEYS_OK,
    KEYS_TOO_MANY, ///< More than KEYS_MAX: nothing honest has as many.
    KEYS_FOLDED,   ///< Equal to a known name, or to another key of the object, only after folding.
};

struct keys_finding {
    const struct json *key; ///< The member whose key it is.
    const char *reads_as;   ///< The known name or the other key.
};

/// Judge the keys of an object, not of what is inside of it. `out` is set for KEYS_FOLDED.
enum keys_verdict keys_judge(const struct json *object, enum keys_of what, struct keys_finding *out);

/// Are two names the same to Go's encoding/json?
bool keys_equal_folded(const char *a, size_t a_len, const char *b, size_t b_len);
