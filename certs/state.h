// SPDX-License-Identifier: Apache-2.0
//
// The state directory: what must not be lost and nobody else may read (the authority, keys, revocations).
//
// Files are replaced whole (written aside, synced, named), so that a crash leaves the old or the new one. Several
// gateways may share a directory: who makes a file first wins. Any thread.

#pragma once

#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { STATE_FILE_MAX = 4 * 1024 * 1024 };

enum state_result { STATE_OK, STATE_MISSING, STATE_FAILED };

/// Make it if it is missing (with `make`), 0700. Refused: one that is not ours, or that others may enter. Root may use
/// another user's; what it writes there then belongs to that user.
enum state_result state_directory(const char *directory, bool make, struct err *err);

/// Read a file whole; `*out` is the caller's, wiped and freed by state_free(). A `secret` that others may read is
/// refused.
enum state_result state_read(const char *directory, const char *name, bool secret, char **out, size_t *len,
                             struct err *err);
/// The same for a file of the site's, which may be a link; its group may read a secret one.
enum state_result state_read_site(const char *path, bool secret, char **out, size_t *len, struct err *err);

void state_free(char *data, size_t len); ///< NULL is allowed.

/// Write a file whole, 0600 or 0644. Not `replace`: where one of that name is there it stays, and STATE_MISSING is
/// returned ("not written").
enum state_result state_write(const char *directory, const char *name, const void *data, size_t len, bool secret,
                              bool replace, struct err *err);
