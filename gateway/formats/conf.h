// SPDX-License-Identifier: Apache-2.0
//
// Configuration files of other programs: TOML, YAML and JSON, read into one kind of tree that knows where in the text
// each value stands, and edited as text at those places.
//
// Nothing is ever written out again from the tree: what an edit does not touch, comments included, stays byte for byte.
// What cannot be edited safely (a YAML anchor or alias on the way, a flow collection or an inline table at the spot, a
// text that does not parse) is refused with CONF_UNSAFE and left as it was.
//
// TOML is read by a small reader of our own (1.0, every decoder test of toml-test): Debian 12 has no C library for it
// (docs/architecture.md). YAML is read with libyaml's event parser (first document; anchors and merge keys resolve for
// reading), JSON with yajl's. A key given twice is an error in all three. A byte order mark is passed over in TOML and
// YAML and stays the first through edits; in JSON it is an error, as it is for dockerd before 23.0 (newer ones pass
// it over). Pure; any thread.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONF_TEXT_MAX = 1024 * 1024, CONF_DEPTH_MAX = 32, CONF_VALUES_MAX = 100000, CONF_PATH_MAX = 8 };

enum conf_format { CONF_TOML, CONF_YAML, CONF_JSON };

enum conf_type {
    CONF_NULL, ///< YAML, JSON.
    CONF_BOOL,
    CONF_INTEGER, ///< `integer` where it fits 64 bits, else CONF_FLOAT.
    CONF_FLOAT,
    CONF_STRING,
    CONF_TIME, ///< TOML's four kinds; `string` is what was written.
    CONF_LIST,
    CONF_TABLE,
};

struct conf {
    enum conf_type type;
    bool boolean;
    int64_t integer;
    double number;
    const char *string; ///< CONF_STRING, CONF_TIME: NUL-terminated; may hold NULs in TOML ("\u0000"), see string_len.
    size_t string_len;
    const char *key; ///< The name under which it stands in its table, else NULL.
    size_t key_len;
    const struct conf *child, *next; ///< Members in document order.
    size_t count;
    size_t begin,
        end; ///< The value as it is written: [begin, end) of the text. A TOML table made by headers: its first header.
    size_t key_begin; ///< Where its key begins; `begin` without one.
    unsigned line;    ///< Of its key or value, from 1.
    bool flow;        ///< An inline table or array, a YAML flow collection, all of JSON.
    bool shared;      ///< YAML: an anchor, or read through an alias or merge key.
};

struct conf_document;

/// Parse; NULL with line and sentence in `err`. Freed with conf_free(). `text` is not needed afterwards. An empty text
/// is an empty table in TOML and YAML, and an error in JSON.
struct conf_document *conf_parse(enum conf_format format, const char *text, size_t len, struct err *err);
void conf_free(struct conf_document *d);

/// The outermost value, owned by the document (a table in TOML always).
const struct conf *conf_root(const struct conf_document *d);

/// The member `key` of a table; NULL when `table` is NULL, no table, or has no such member.
const struct conf *conf_get(const struct conf *table, const char *key);

/// The value at a path of keys that ends with NULL; NULL when there is none.
const struct conf *conf_at(const struct conf *root, const char *const *path);

/// The text of a string member, else NULL.
const char *conf_get_string(const struct conf *table, const char *key);

/// "a string", "a list": for error texts.
const char *conf_type_words(enum conf_type type);

// --- edits ---

enum conf_edit {
    CONF_SAME,    ///< It is so already: the text was not touched.
    CONF_CHANGED, ///< The text now says so.
    CONF_UNSAFE,  ///< It cannot be said safely at that spot; `err` says why, and the text is as it was.
};

/// Have the value at `path` (ends with NULL, at most CONF_PATH_MAX keys) be `value`, which is written in JSON: a
/// string, a number, a boolean, null (YAML, JSON), a list or an object of those ("{}" makes an empty table that stays:
/// in TOML a header). Tables on the way are made: in TOML by a header at the end, in YAML and JSON in the
/// indentation that the text has. Equal values (not equal spelling) are CONF_SAME. `comment` (may be NULL; one line
/// each) is written above a value that is new, where the format has comments; never twice. The result is parsed again
/// and must say what was asked and the same as before elsewhere, else CONF_UNSAFE. A blank JSON text is taken for `{}`,
/// as dockerd does. A list or table is replaced as a whole; one with comments inside of it is CONF_UNSAFE, but what
/// TOML headers made goes as by conf_remove() and comes anew at the end.
enum conf_edit conf_set(enum conf_format format, struct buf *text, const char *const *path, const char *value,
                        const char *comment, struct err *err);

/// Have nothing at `path`: the member, its TOML headers and its own lines go; comments around it stay.
enum conf_edit conf_remove(enum conf_format format, struct buf *text, const char *const *path, struct err *err);
