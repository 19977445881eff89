// SPDX-License-Identifier: Apache-2.0
//
// What the editors of the three formats share: an edit under way, and pieces of text. Inside of gateway/formats only.
//
// An editor writes the whole new text into `out`; edit.c parses it again and decides whether it stands.

#pragma once

#include "gateway/formats/node.h"

struct edit {
    enum conf_format format;
    const char *text; ///< As it is.
    size_t len;
    const struct conf_document *document;
    const char *const *path;
    size_t keys;              ///< In the path, at least 1.
    const struct conf *value; ///< What is to be there; NULL: nothing.
    const char *literal;      ///< The JSON that `value` was read from.
    const char *comment;      ///< May be NULL.
    const char *eol;          ///< The text's line end.
    struct buf out;
    struct err *err;
};

/// The two editors of a format; false with a sentence when it cannot be done there.
bool edit_toml_set(struct edit *e);
bool edit_toml_remove(struct edit *e);
bool edit_yaml_set(struct edit *e);
bool edit_yaml_remove(struct edit *e);
bool edit_json_set(struct edit *e);
bool edit_json_remove(struct edit *e);

/// The value that is at the path now, or NULL.
const struct conf *edit_current(const struct edit *e);

/// The innermost table of the path that is there; `keys` says how many keys lead to it. NULL with a sentence when the
/// way goes through something else.
const struct conf *edit_table_on_way(struct edit *e, size_t *keys);

// --- places ---

size_t edit_line_begin(const struct edit *e, size_t at);

/// Past the line end of the line that holds `at`, or the text's length.
size_t edit_line_end(const struct edit *e, size_t at);

/// The line at `at` holds nothing but blanks.
bool edit_is_blank_line(const struct edit *e, size_t at);

/// Past the blanks at `at`.
size_t edit_skip_blanks(const struct edit *e, size_t at);

// --- writing ---

/// out = the text with [begin, end) replaced.
void edit_splice(struct edit *e, size_t begin, size_t end, const struct buf *with);

/// out = the text with `lines` (each with its end) put in before the line at `at`; the text's last line keeps or misses
/// its end as before.
void edit_insert_lines(struct edit *e, size_t at, const struct buf *lines);

/// Add the comment as lines with an indentation of [indent, indent + n) of the text, without those lines of it that
/// stand in [from, to) of the text already.
void edit_add_comment(const struct edit *e, struct buf *b, const char *indent, size_t n, size_t from, size_t to);

/// A string in double quotes with escapes that TOML, YAML and JSON all know.
void edit_add_quoted(struct buf *b, const char *s, size_t len);

/// A boolean or number (as the literal has it), a string, null.
void edit_add_scalar(const struct edit *e, struct buf *b, const struct conf *value);

/// Any value on one line, as the format writes it: { a = 1 } in TOML, {"a": 1} in the others.
void edit_add_inline(const struct edit *e, struct buf *b, const struct conf *value);

/// A key as TOML writes it.
void edit_add_toml_key(struct buf *b, const char *key, size_t len);
