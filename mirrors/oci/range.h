// SPDX-License-Identifier: Apache-2.0
//
// Range requests by RFC 9110, as registries' clients send them. Pure; any thread.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum range_kind {
    RANGE_NONE,   ///< No header, another unit, several ranges or a malformed one: RFC 9110 lets a server ignore it;
                  ///< answer 200.
    RANGE_BYTES,  ///< first-last; `last` is UINT64_MAX for an open end.
    RANGE_SUFFIX, ///< The last `suffix` bytes.
};

struct range {
    enum range_kind kind;
    uint64_t first, last; ///< RANGE_BYTES, inclusive.
    uint64_t suffix;      ///< RANGE_SUFFIX.
};

/// Parse a Range header's value. Numbers that overflow are clamped to UINT64_MAX.
struct range range_parse(const char *value, size_t len);

enum range_fit { RANGE_WHOLE, RANGE_PARTIAL, RANGE_UNSATISFIABLE };

/// What the range means for content of `size` bytes: all of it by 200 (RANGE_NONE), `*first`..`*last`
/// inclusive by 206 (also when it covers everything), or 416. Size 0 with any range is unsatisfiable but for
/// RANGE_NONE.
enum range_fit range_resolve(const struct range *r, uint64_t size, uint64_t *first, uint64_t *last);

/// Parse a Content-Range of a 206 ("bytes 5-9/10", total may be '*' = UINT64_MAX).
bool content_range_parse(const char *value, size_t len, uint64_t *first, uint64_t *last, uint64_t *total);
