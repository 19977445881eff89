// SPDX-License-Identifier: Apache-2.0
//
// Looking at files below a root: the machine itself, or a folder that holds an image of one.
//
// Symbolic links are followed as that machine would follow them (below the root). Nothing is ever written. Any thread.

#pragma once

#include "gateway/doctor/names.h"
#include "mirrors/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BELOW_TEXT_MAX = 1024 * 1024, BELOW_FOLDER_MAX = 100000 };

enum below {
    BELOW_OK,
    BELOW_MISSING,
    BELOW_FORBIDDEN, ///< It is there, or may be, and may not be read.
    BELOW_UNUSABLE,  ///< Too long, or not the kind of file that was expected.
};

/// The whole text; `out` is initialised and to be freed with buf_deinit() whatever the result. `out->data` is never
/// NULL.
enum below below_text(const char *root, const char *path, struct buf *out);

/// The names in a folder, sorted; without "." and "..".
enum below below_folder(const char *root, const char *path, struct names *out);

/// "a", "b" without the folder, ending with `suffix`, sorted; the paths are whole (without the root).
void below_matching(const char *root, const char *folder, const char *suffix, struct names *paths);

bool below_is_folder(const char *root, const char *path);
bool below_is_there(const char *root, const char *path);

/// It could not be told: something is in a folder that this user may not enter.
bool below_is_hidden(const char *root, const char *path);

/// When it was last changed, Unix milliseconds; 0: it is not there.
int64_t below_changed(const char *root, const char *path);

/// "there is none", "it may not be read by this user", ...
const char *below_words(enum below below);
