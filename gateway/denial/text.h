// SPDX-License-Identifier: Apache-2.0
//
// One printable line of text out of anything.
//
// Private to gateway/denial. Printable is valid UTF-8 without control characters, line and paragraph separators, and
// the marks that reorder text on a terminal. Pure; any thread.

#pragma once

#include <stdbool.h>
#include <stddef.h>

/// The length of the printable character at `s`; 0 when there is none (`len` 0, invalid UTF-8, not printable).
size_t text_char(const char *s, size_t len);

/// How many bytes to step over at `s` (`len` > 0) when text_char() gave 0: a whole character where it is valid UTF-8,
/// else one byte.
size_t text_skip(const char *s, size_t len);

/// Copy `s` to `out` of `size` bytes (> 0), NUL included: tabs and line breaks become spaces, what else is not
/// printable becomes '?'. What does not fit is cut between characters. Gives the length; `*whole` (may be NULL) says
/// whether everything fitted.
size_t text_copy(const char *s, char *out, size_t size, bool *whole);

/// Shorten the printable `s` to at most `max` bytes: cut between characters, "..." at its end if that has room. Gives
/// the new length.
size_t text_shorten(char *s, size_t max);
