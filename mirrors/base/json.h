// SPDX-License-Identifier: Apache-2.0
//
// Strict JSON, read into a tree.
//
// Built on yajl's event parser with explicit lengths only (its own tree crashes on deep nesting and
// cuts strings at \u0000). Refused: depth over JSON_DEPTH_MAX, a NUL in a key or string, a key given
// twice in one object, half a surrogate pair, UTF-8 that is none, trailing content, more than JSON_NODES_MAX values, a
// byte order mark (with a text of its own), and comments unless asked for. The whole tree lives in one arena:
// json_free() of the root frees all, without recursion. Pure; any thread.

#pragma once

#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 32, JSON_NODES_MAX = 500000 };

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    bool boolean;       ///< JSON_BOOL.
    bool is_integer;    ///< JSON_NUMBER: `integer` is exact (fits int64_t, written without fraction and exponent).
    int64_t integer;    ///< JSON_NUMBER with is_integer.
    double number;      ///< JSON_NUMBER; infinite when too large for a double.
    const char *string; ///< JSON_STRING: NUL-terminated, holds no other NUL.
    size_t string_len;  ///< JSON_STRING.
    const char *key;    ///< The name under which this value stands in its object, else NULL.
    size_t key_len;
    const struct json *child; ///< JSON_ARRAY, JSON_OBJECT: the first member, in document order.
    const struct json *next;  ///< The next member of the same parent.
    size_t count;             ///< JSON_ARRAY, JSON_OBJECT: number of members.
};

enum json_flags {
    JSON_STRICT = 0,
    JSON_COMMENTS = 1, ///< Allow // and /* */: configuration files only.
};

/// Parse `len` bytes. Returns the root, freed with json_free(), or NULL with the line (counted from
/// 1) and a sentence in `err`.
struct json *json_parse(const char *text, size_t len, unsigned flags, struct err *err);
void json_free(struct json *root);

/// The member `key` of an object; NULL when `object` is NULL, no object, or has no such member.
const struct json *json_get(const struct json *object, const char *key);

/// The member's string; NULL unless it is there and is a string.
const char *json_get_string(const struct json *object, const char *key);

/// "null", "a boolean", "a number", "a string", "a list", "an object": for error texts.
const char *json_type_words(enum json_type type);
