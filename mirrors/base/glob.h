// SPDX-License-Identifier: Apache-2.0
//
// Patterns over '/'-separated names: repositories in rules and in credentials.
//
// Pure; any thread. The time is bounded by the product of the lengths: there is no exponential backtracking.

#pragma once

#include <stdbool.h>
#include <stddef.h>

/// Does the whole of `text` match? `*` is any number of characters (also none) within one component; a component that
/// is `**` is one or more whole components, so `a/**` does not match `a`, and `**` alone matches everything. A
/// component that holds `**` beside other characters means the same as with a single `*`. Everything else stands for
/// itself.
bool glob_components(const char *pattern, const char *text);

/// The same for one component, or any text in which '/' is not special: `*` is any number of any characters.
bool glob_text(const char *pattern, size_t pattern_len, const char *text, size_t text_len);
