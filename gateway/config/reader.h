// SPDX-License-Identifier: Apache-2.0
//
// How the configuration's objects are read: by tables of keys.
//
// Each object of the configuration has one table that names every key, the JSON types it takes, what a person should
// have written, and the function that reads it. Unknown keys, wrong types and missing keys are found here, once, and
// every error carries the path of the key at fault. The same tables say which keys there are (config_keys()), so that
// the schema and the documentation can be held against them. A reader lives on the stack of one load; one thread.

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    READER_STEPS_MAX = JSON_DEPTH_MAX + 2,
    READER_NAME_SHOWN_MAX = 80, ///< Of a key in an error's path.
    READER_LINE_MAX = 500,      ///< owner, note, and other lines for people.
    READER_NAME_MAX = 128       ///< Names of rules, listeners, credentials, the gateway.
};

struct loading;

struct reader_step {
    const char *key; ///< NULL: an index.
    size_t index;
};

struct reader {
    struct err *err;
    const char *file; ///< What errors begin with, or NULL.
    const char *dir;  ///< Relative paths count from here; NULL: files are not opened.
    struct loading *loading;
    size_t depth;
    struct reader_step steps[READER_STEPS_MAX];
};

/// What stands below a key, for config_keys().
enum read_shape { READ_LEAF, READ_OBJECT, READ_LIST, READ_MAP };

enum {
    TAKES_NULL = 1 << JSON_NULL,
    TAKES_BOOL = 1 << JSON_BOOL,
    TAKES_NUMBER = 1 << JSON_NUMBER,
    TAKES_STRING = 1 << JSON_STRING,
    TAKES_LIST = 1 << JSON_ARRAY,
    TAKES_OBJECT = 1 << JSON_OBJECT
};

struct read_key {
    const char *name; ///< NULL ends a table.
    unsigned takes;
    const char *expected; ///< "a URL that begins with https:// or http://": for the error.
    /// Read the value; `into` is what the object is read into. Null where the type is taken needs no test elsewhere.
    bool (*read)(struct reader *r, const struct read_key *key, const struct json *value, void *into);
    enum read_shape shape;
    const struct read_key *children; ///< Of the object, of each member of the list, or of each value of the map.
    bool required;
    size_t offset, width; ///< For the readers of numbers: the field of `into`.
    uint64_t least, most; ///< For the readers of numbers: the bounds.
};

/// Read one object: unknown keys first, then the keys in the table's order, whatever their order in the file.
bool read_object(struct reader *r, const struct json *object, const struct read_key *keys, void *into);

/// Fail at the current path: "FILE: PATH: SENTENCE". Always false.
bool read_fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// The same with the sentence that already stands in r->err. Always false.
bool read_fail_again(struct reader *r);

/// "expected WHAT, found a number". Always false.
bool read_expected(struct reader *r, const char *what, const struct json *found);

void read_enter_key(struct reader *r, const char *key);
void read_enter_index(struct reader *r, size_t index);
void read_leave(struct reader *r);

/// A key that the configuration ignores ("x-...").
bool read_ignored(const struct json *member);

/// Visit each member of a list or each (not ignored) member of a map with the path set; stops at the first failure.
bool read_each(struct reader *r, const struct json *parent, bool (*visit)(struct reader *, const struct json *, void *),
               void *into);

// --- values ---

/// "75s", "5m", "1h", "30d" within the key's bounds (seconds) into the key's field.
bool read_duration(struct reader *r, const struct read_key *key, const struct json *value, void *into);

/// "64KiB", "1MiB", "1TiB" within the key's bounds (bytes) into the key's field.
bool read_size(struct reader *r, const struct read_key *key, const struct json *value, void *into);

/// A whole number within the key's bounds into the key's field.
bool read_count(struct reader *r, const struct read_key *key, const struct json *value, void *into);

/// One printable line of at most `max` bytes, not empty, as fresh memory in *out (the old value is freed).
bool read_line(struct reader *r, const struct json *value, size_t max, char **out);

/// A name for logs: letters, digits and `._:/-[]`, at most READER_NAME_MAX bytes; spaces inside are fine.
bool read_name(struct reader *r, const struct json *value, char **out);

/// One of the words; `*out` is its index. `words` ends with NULL.
bool read_word(struct reader *r, const struct json *value, const char *const *words, int *out);

/// A path, absolute as far as r->dir is known.
bool read_path(struct reader *r, const struct json *value, char **out);

enum file_kind {
    FILE_PUBLIC,
    FILE_SECRET,      ///< Others can neither read nor change it.
    FILE_CERTIFICATES ///< Holds at least one certificate in PEM form.
};

/// Can we open this file, and is it of that kind? True without a look when r->dir is NULL.
bool read_check_file(struct reader *r, const char *path, enum file_kind kind);

/// A denial's message with known placeholders.
bool read_message(struct reader *r, const struct json *value, char **out);

/// "64KiB", "1MiB", "1TiB" in bytes.
bool size_parse(const char *text, uint64_t *out);

/// A moment as RFC 3339 has it ("2027-03-31T00:00:00Z") in Unix seconds; fractions are cut.
bool time_parse(const char *text, int64_t *out);

/// The word of the list that is nearest to `text`, or NULL when none is near. For "did you mean".
const char *nearest_word(const char *text, const char *const *words, size_t count);
