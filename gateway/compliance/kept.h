// SPDX-License-Identifier: Apache-2.0
//
// What the files of the kept set share. Nobody outside includes it.

#pragma once

#include "gateway/compliance/reports.h"
#include "mirrors/base/err.h"

#include <stddef.h>

enum { KEPT_LINE_MAX = TOLD_TEXT_MAX + 2048, KEPT_FILE_MAX = 128 * 1024 * 1024 };

/// A report as it came from `name` (NULL: not identified) at `address`; takes over `told`. One reference.
struct kept *kept_new(const char *name, const char *address, struct told *told, int64_t received);
void kept_free(struct kept *k);

/// Write them, in this order, one a line: aside, synced, named. The directory is made where it is missing.
bool kept_write(const char *directory, struct kept *const *list, size_t count, struct err *err);

/// Read them in the file's order; each is the visitor's. True also where there is no file; lines that cannot be read
/// are left out and told in `err`, with false.
bool kept_read(const char *directory, void (*visit)(void *ctx, struct kept *k), void *ctx, struct err *err);
