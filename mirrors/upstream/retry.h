// SPDX-License-Identifier: Apache-2.0
//
// What an upstream says about being asked again: Retry-After and what is left of its rate limit. Pure; any thread.

#pragma once

#include <time.h>

enum {
    RETRY_DEFAULT_S = 5, ///< After a 429 that does not say (or not in a form that is known) how long.
    RETRY_MIN_S = 1,
    RETRY_MAX_S = 3600 ///< A longer Retry-After is cut to this: a registry's mistake is not to last for days.
};

/// The seconds of a Retry-After, either a number of seconds or a date (RFC 9110, 10.2.3), within RETRY_MIN_S and
/// RETRY_MAX_S; -1 where there is none in either form.
int retry_after_seconds(const char *value, time_t now);

/// "76;w=21600", docker.io's form, or "76"; -1 for anything else.
int retry_ratelimit(const char *value);
