// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a request target, decoded: the part of routing that knows nothing of registries.
//
// Private to gateway/route. Pure; any thread.

#pragma once

#include "gateway/route/route.h"

/// The query parameters that pullgate reads. All others are checked for their percent-encoding and ignored.
enum param_name { PARAM_NS, PARAM_N, PARAM_LAST, PARAM_ARTIFACT_TYPE, PARAM_COUNT };

struct param {
    unsigned count;    ///< How often it was given.
    const char *value; ///< The last one, decoded; may hold any byte.
    size_t len;
};

struct request_target {
    char path[ROUTE_TARGET_MAX + 1]; ///< Decoded, without the leading slash and one trailing slash. NUL-terminated.
    size_t path_len;
    bool trailing_slash;
    struct param params[PARAM_COUNT];
    char values[ROUTE_TARGET_MAX + 1]; ///< What the params point into.
};

/// Decode `target` (origin-form only). No component of the path is empty, "." or "..", and each holds printable ASCII
/// without '/' only, so that the decoded path means what the raw one did. '+' in the query stays '+': no parameter of
/// ours may hold a space, and media types hold '+'. False with a sentence in `err`.
bool request_target_decode(const char *target, size_t len, struct request_target *out, struct err *err);
