// SPDX-License-Identifier: Apache-2.0
//
// WWW-Authenticate (RFC 9110 section 11.6.1) as registries really send it: several challenges in one header or in
// several, quoted commas and escapes, tokens unquoted, odd spacing, unknown schemes to be skipped. Pure; any thread.

#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { CHALLENGES_MAX = 8, CHALLENGE_REALM_MAX = 2048, CHALLENGE_VALUE_MAX = 1024 };

enum challenge_scheme { CHALLENGE_BEARER, CHALLENGE_BASIC, CHALLENGE_OTHER };

struct challenge {
    enum challenge_scheme scheme;
    char realm[CHALLENGE_REALM_MAX + 1]; ///< "" where absent.
    char service[CHALLENGE_VALUE_MAX + 1];
    char scope[CHALLENGE_VALUE_MAX + 1];
    char error[64 + 1];
};

struct challenge_list {
    struct challenge item[CHALLENGES_MAX];
    size_t count;
};

/// Add the challenges of one header's value to the list. What cannot be parsed ends that header, keeping
/// what came before it; a challenge with an over-long or twice-given parameter is dropped whole.
void challenge_parse(const char *value, size_t len, struct challenge_list *list);

/// The one to answer: a Bearer with a realm before a Basic; NULL when neither is there.
const struct challenge *challenge_choose(const struct challenge_list *list);
