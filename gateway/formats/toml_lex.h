// SPDX-License-Identifier: Apache-2.0
//
// The words of a TOML text: blanks, comments, strings, keys, numbers, dates. toml.c makes tables of them. Inside of
// gateway/formats only.

#pragma once

#include "gateway/formats/node.h"

struct toml {
    const char *text;
    size_t len, at;
    size_t comments; ///< How many were passed.
    struct conf_document *document;
    struct conf_node *table; ///< Where lines of the form key = value go.
    struct conf_lines lines;
    struct buf scratch; ///< The string that is being read.
    struct err *err;
};

/// One part of a key that may be dotted.
struct toml_part {
    const char *name; ///< In the arena.
    size_t len, begin, end;
};

/// The next character, -1 at the end.
int toml_peek(const struct toml *p);

/// Whether `s` comes next.
bool toml_next_is(const struct toml *p, const char *s);

/// Pass the character `c`; false when another comes next.
bool toml_take(struct toml *p, char c);

void toml_skip_blanks(struct toml *p);

/// Pass one line end. False without an error when something else comes next.
bool toml_take_newline(struct toml *p);

/// Pass blanks, comments and line ends; false with an error for characters that no comment may hold.
bool toml_skip_lines(struct toml *p);

/// A comment, when one comes next.
bool toml_skip_comment(struct toml *p);

/// A key, its dotted parts in `parts`; the number of them, 0 with an error.
size_t toml_key(struct toml *p, struct toml_part parts[CONF_DEPTH_MAX + 1]);

/// A string in any of the four ways, decoded into p->scratch.
bool toml_string(struct toml *p);

/// A boolean, number, date or time.
bool toml_scalar(struct toml *p, struct conf *out);
