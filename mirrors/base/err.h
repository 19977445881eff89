// SPDX-License-Identifier: Apache-2.0
//
// Errors are values that carry a sentence for a person.
//
// A function that can fail takes a `struct err *` (NULL: the caller does not care) and returns
// false or NULL after filling it. The sentence names what was expected and where; it never holds a
// secret. Any thread may call these on its own `struct err`.

#pragma once

#include <stdbool.h>

enum { ERR_TEXT_MAX = 1024 };

struct err {
    char text[ERR_TEXT_MAX]; ///< One line, NUL-terminated, cut when too long; "" while nothing failed.
};

/// Set the sentence; a NULL `err` is allowed. Always returns false, so that a function can end with
/// `return err_set(err, "...")`. Control characters are replaced by '?', strangers' strings are welcome.
bool err_set(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// Put more context before the sentence that is already there ("FILE: " ...). Always returns false.
bool err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
