// SPDX-License-Identifier: Apache-2.0
//
// See canary.h.

#include "gateway/policy/canary.h"

#include <string.h>

static bool is_named(const char *registry, const char *name) {
    size_t len = strlen(name);
    return strncmp(registry, name, len) == 0 && (registry[len] == '\0' || registry[len] == ':');
}

bool is_canary(const char *registry) {
    return is_named(registry, CANARY_REGISTRY);
}

bool is_unlisted_stand_in(const char *registry) {
    return is_named(registry, UNLISTED_REGISTRY);
}
