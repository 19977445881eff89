// SPDX-License-Identifier: Apache-2.0
//
// See glob.h. Both levels use the same scheme: on a mismatch go back to the last star only and let it take one more,
// which is enough because an earlier star can never need more than it has.

#include "mirrors/base/glob.h"

#include <stdint.h>
#include <string.h>

bool glob_text(const char *pattern, size_t pattern_len, const char *text, size_t text_len) {
    size_t p = 0, t = 0, star = SIZE_MAX, taken = 0;
    while (t < text_len) {
        if (p < pattern_len && pattern[p] == '*') {
            star = p++;
            taken = t;
        } else if (p < pattern_len && pattern[p] == text[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++taken;
        } else {
            return false;
        }
    }
    while (p < pattern_len && pattern[p] == '*')
        p++;
    return p == pattern_len;
}

static size_t component_len(const char *s) {
    return strcspn(s, "/");
}

/// The component after this one; NULL after the last.
static const char *component_next(const char *s) {
    const char *slash = strchr(s, '/');
    return slash ? slash + 1 : NULL;
}

static bool is_double_star(const char *p) {
    return component_len(p) == 2 && p[0] == '*' && p[1] == '*';
}

/// Up to its first star a pattern is compared as it stands: that rejects most.
static bool begins_alike(const char *pattern, const char *text) {
    while (*pattern != '*' && *pattern != '\0' && *pattern == *text) {
        pattern++;
        text++;
    }
    return *pattern == '*' || *pattern == *text;
}

bool glob_components(const char *pattern, const char *text) {
    const char *p = pattern, *t = text;
    const char *after_stars = NULL, *taken = NULL;
    bool stars = false; // `after_stars` may be NULL: the pattern ended with `**`.
    if (!begins_alike(pattern, text))
        return false;
    if (strcmp(pattern, "**") == 0)
        return true;
    while (t) {
        if (p && is_double_star(p)) {
            stars = true;
            after_stars = component_next(p);
            taken = t;
            p = after_stars;
            t = component_next(t);
        } else if (p && glob_text(p, component_len(p), t, component_len(t))) {
            p = component_next(p);
            t = component_next(t);
        } else if (stars) {
            taken = component_next(taken);
            if (!taken)
                return false;
            p = after_stars;
            t = component_next(taken);
        } else {
            return false;
        }
    }
    return p == NULL;
}
