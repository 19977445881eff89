// SPDX-License-Identifier: Apache-2.0
//
// A site's user names and passwords: a file as `htpasswd -B` writes it.
//
// Only hashes that are slow to guess: bcrypt, SHA-512 and SHA-256 crypt; any other is refused by name when the file is
// read, and so is a cost that would hold a thread for seconds. Immutable, counted; any thread. A check takes as long
// as its hash costs (tens of milliseconds and more): never on a loop.

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/base/hash.h"

#include <stddef.h>

enum {
    HTPASSWD_USERS_MAX = 100000,
    HTPASSWD_BCRYPT_COST_MAX = 14,    ///< About a second.
    HTPASSWD_SHA_ROUNDS_MAX = 1000000 ///< Likewise.
};

struct htpasswd;

/// NULL: `err` names the line.
struct htpasswd *htpasswd_parse(const char *text, size_t len, struct err *err);
struct htpasswd *htpasswd_ref(struct htpasswd *h);
void htpasswd_unref(struct htpasswd *h); ///< NULL is allowed.
size_t htpasswd_count(const struct htpasswd *h);

enum htpasswd_verdict { HTPASSWD_GOOD, HTPASSWD_WRONG, HTPASSWD_UNKNOWN };

/// Is this the user's password? A user that is not in the file costs as much as one who is: the hash of one of the
/// file's users, chosen by `key` and the name, is computed for them.
enum htpasswd_verdict htpasswd_check(const struct htpasswd *h, const struct hash_key *key, const char *user,
                                     const char *password);
