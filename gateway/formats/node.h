// SPDX-License-Identifier: Apache-2.0
//
// What the readers of the three formats build, and the editors look at: the public `struct conf` with what only they
// need around it. Inside of gateway/formats only.
//
// All nodes and strings of a document live in its arena. Depth and number of values are bounded here, for all formats:
// whatever walks a tree by recursion goes CONF_DEPTH_MAX levels deep at most.

#pragma once

#include "gateway/formats/conf.h"

/// How a TOML table or list was made; the other formats have CONF_MADE_VALUE only.
enum conf_made {
    CONF_MADE_VALUE,    ///< It is written as one value: a scalar, an inline table, an array.
    CONF_MADE_ROOT,     ///< The outermost table.
    CONF_MADE_HEADER,   ///< [a.b], or one element of [[a.b]].
    CONF_MADE_SUPER,    ///< `a`, by [a.b] alone.
    CONF_MADE_DOTTED,   ///< `a`, by a.b = 1.
    CONF_MADE_ELEMENTS, ///< The list that [[a]] makes.
};

struct conf_node {
    struct conf pub; ///< First: a node's address is its public value's.
    struct conf_node *parent, *last;
    unsigned depth; ///< Of the outermost value: 0.
    enum conf_made made;
    size_t key_end;   ///< Past its key.
    size_t statement; ///< TOML: where the line's text begins that has the value or the header.
    size_t body_end;  ///< TOML tables by header, and the root: past the last of its own lines.
    size_t last_line; ///< TOML, the same tables: where the text of the last of those lines begins.
    size_t first_key; ///< YAML tables: where the first key stands that is written there.
    bool has_comment; ///< TOML: a comment stands inside of the value.
    bool merge;       ///< YAML: it stands under the merge key.
    bool copied;      ///< YAML: its place is elsewhere, where the anchor is.
};

struct conf_chunk;

struct conf_document {
    struct conf_node *root;
    struct conf_chunk *chunks;
    size_t values;
    struct conf_node **index; ///< While building: a hash table of (parent, key).
    size_t index_cap, index_count;
    uint64_t index_key[2];
    size_t first_header; ///< TOML: the first header, or the text's length.
};

/// Where lines are counted as a reader goes forward.
struct conf_lines {
    size_t at;
    unsigned line; ///< Line of `at`, from 0.
};

/// Bytes of a UTF-8 byte order mark at the beginning: 3 or 0.
size_t conf_bom(const char *text, size_t len);

/// The line (from 1) of an offset.
unsigned conf_line(struct conf_lines *lines, const char *text, size_t offset);

/// A copy in the arena, NUL-terminated.
const char *conf_keep(struct conf_document *d, const char *s, size_t len);

/// A new value at the end of `parent` (NULL: the outermost), with a kept key or NULL. NULL with a sentence when that is
/// too deep, one too many, or the key is there already.
struct conf_node *conf_add(struct conf_document *d, struct conf_node *parent, const char *key, size_t key_len,
                           struct err *err);

/// The member of a table, while the document is being built.
struct conf_node *conf_find(const struct conf_document *d, const struct conf_node *table, const char *key, size_t len);

/// Digits of the base `base` with a sign, without anything else, that fit 64 bits.
bool conf_integer(const char *s, size_t len, int base, int64_t *out);

/// The readers: fill `d`, false with line and sentence in `err`.
bool conf_read_toml(struct conf_document *d, const char *text, size_t len, struct err *err);
bool conf_read_yaml(struct conf_document *d, const char *text, size_t len, struct err *err);
bool conf_read_json(struct conf_document *d, const char *text, size_t len, struct err *err);

static inline const struct conf_node *conf_node_of(const struct conf *value) {
    return (const struct conf_node *)value;
}
