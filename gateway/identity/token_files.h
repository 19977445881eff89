// SPDX-License-Identifier: Apache-2.0
//
// Inside of token_*.c.

#pragma once

#include "gateway/identity/token.h"

#include <stdatomic.h>

struct token_key {
    struct jwk jwk;
    char *d;         ///< Its private part.
    int64_t created; ///< The greatest signs.
    int64_t until;   ///< No token that it signed ends later.
};

struct token_keys {
    atomic_int refs;
    struct token_key *keys; ///< Newest first.
    size_t count;           ///< At least 1.
};

/// The newest that is ripe; where none is, the oldest.
const struct token_key *token_keys_signing(const struct token_keys *k, int64_t now);

/// Note in the file that a token of this key lasts until then. Under token_lock().
bool token_keys_keep(const char *directory, const char *kid, int64_t until, struct err *err);

/// Who changes a file of ours holds this; -1 on failure, and when another has it and this one would not `wait`.
int token_lock(const char *state_directory, bool wait, struct err *err);
void token_unlock(int fd);

/// `bytes` random bytes as text: 2 * bytes + 1.
bool token_random_hex(char *out, size_t bytes);
