// SPDX-License-Identifier: Apache-2.0
//
// A list of strings that owns them. Plain memory; one thread.

#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { NAMES_MAX = 100000 };

struct names {
    char **at;
    size_t count;
};

/// Copied; ignored beyond NAMES_MAX.
void names_add(struct names *n, const char *s);
void names_add_len(struct names *n, const char *s, size_t len);

/// Only where it is not there yet.
void names_add_once(struct names *n, const char *s);
bool names_have(const struct names *n, const char *s);

/// The parts of `text` between any of `separators`, without spaces around them; empty ones are left out.
void names_split(struct names *n, const char *text, const char *separators);
void names_sort(struct names *n);

/// "a, b and 3 more": fresh memory.
char *names_text(const struct names *n, size_t shown);
void names_deinit(struct names *n);
