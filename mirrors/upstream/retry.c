// SPDX-License-Identifier: Apache-2.0
//
// Retry-After and rate limits. Pure.

#include "mirrors/upstream/retry.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <string.h>

enum { DIGITS_MAX = 9 }; ///< What an int holds.

/// Digits up to one of `ends` or the end of the text; -1 without any or with too many.
static int number(const char *text, const char *ends, bool *too_many) {
    int n = 0;
    size_t digits = strspn(text, "0123456789");
    char end = text[digits];
    *too_many = digits > DIGITS_MAX;
    if (digits == 0 || (end != '\0' && strchr(ends, end) == NULL))
        return -1;
    for (size_t i = 0; i < digits && !*too_many; i++)
        n = n * 10 + (text[i] - '0');
    return n;
}

static int bounded(time_t seconds) {
    if (seconds < RETRY_MIN_S)
        return RETRY_MIN_S;
    return seconds > RETRY_MAX_S ? RETRY_MAX_S : (int)seconds;
}

/// A date begins with the name of a day; curl_getdate() alone would take much that is none.
static bool looks_like_date(const char *value) {
    static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    for (size_t i = 0; i < sizeof(days) / sizeof(*days); i++)
        if (strncmp(value, days[i], 3) == 0)
            return true;
    return false;
}

int retry_after_seconds(const char *value, time_t now) {
    bool too_many = false;
    int n = number(value, "", &too_many);
    if (n >= 0)
        return too_many ? RETRY_MAX_S : bounded(n);
    time_t at = looks_like_date(value) ? curl_getdate(value, NULL) : -1;
    return at == -1 ? -1 : bounded(at - now);
}

int retry_ratelimit(const char *value) {
    bool too_many = false;
    int n = number(value, ";, ", &too_many);
    return too_many ? -1 : n;
}
