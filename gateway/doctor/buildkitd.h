// SPDX-License-Identifier: Apache-2.0
//
// buildkitd.toml: the mirrors of each registry. buildkitd always goes to the registry itself after them, and
// `[registry."*"]` means nothing to it. Pure; any thread.

#pragma once

#include "gateway/doctor/names.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct buildkitd_registry {
    char *name;
    struct names mirrors, ca;
    struct names keys; ///< Certificates and keys in pairs.
    bool plain, insecure;
    unsigned line;
};

struct buildkitd {
    bool usable; ///< Else buildkitd does not start with it.
    struct err why;
    struct buildkitd_registry *registries;
    size_t count;
};

void buildkitd_read(const char *text, size_t len, struct buildkitd *out);

/// NULL: the file does not name it.
const struct buildkitd_registry *buildkitd_registry(const struct buildkitd *b, const char *name);
void buildkitd_deinit(struct buildkitd *b);
