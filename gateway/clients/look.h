// SPDX-License-Identifier: Apache-2.0
//
// Looking at what a client machine has below `root` ("" or "/": the machine itself), before anything is planned for it.
//
// Only reads. What cannot be read counts as not there: a plan is made for what can be seen, and doctor is who says what
// could not be. One thread.

#pragma once

#include "gateway/formats/conf.h"
#include "mirrors/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum { LOOK_NAMES_MAX = 1000 };

/// Is there anything at ROOT/path?
bool look_exists(const char *root, const char *path);

/// The text of a regular file of at most CONF_TEXT_MAX bytes, to be freed; NULL when there is none.
char *look_text(const char *root, const char *path);

/// The file parsed, to be freed with conf_free(); NULL when there is none or it does not parse.
struct conf_document *look_conf(const char *root, const char *path, enum conf_format format);

/// The paths (without `root`) of what `dir` holds whose names end in `suffix`, sorted by name as byte strings; at most
/// LOOK_NAMES_MAX. Freed with look_names_free(). A name that begins with a dot is left out.
struct look_names {
    char **paths;
    size_t count;
};
void look_names(const char *root, const char *dir, const char *suffix, struct look_names *out);
void look_names_free(struct look_names *names);
