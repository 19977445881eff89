// SPDX-License-Identifier: Apache-2.0
//
// Content digests: sha256 and sha512, parsed, computed, compared.
//
// Any thread; a hasher belongs to one at a time.

#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
    DIGEST_HEX_MAX = 128,                ///< sha512.
    DIGEST_TEXT_MAX = 7 + DIGEST_HEX_MAX ///< "sha512:" and the hex.
};

enum digest_algorithm { DIGEST_SHA256, DIGEST_SHA512 };

enum digest_result {
    DIGEST_OK,
    DIGEST_MALFORMED,  ///< No digest at all.
    DIGEST_UNSUPPORTED ///< Well formed by the specification, another algorithm.
};

/// Check "algorithm:hex" (lower-case hex of the algorithm's exact length).
enum digest_result digest_check(const char *s, size_t len, enum digest_algorithm *algorithm);

struct digest_hasher;

struct digest_hasher *digest_hasher_new(enum digest_algorithm algorithm);
/// One of its own that has seen the same bytes.
struct digest_hasher *digest_hasher_copy(const struct digest_hasher *h);
void digest_hasher_free(struct digest_hasher *h);
void digest_hasher_add(struct digest_hasher *h, const void *data, size_t len);

/// End the hash and write "algorithm:hex" into `out` of DIGEST_TEXT_MAX + 1 bytes. Once.
void digest_hasher_end(struct digest_hasher *h, char *out);

/// The digest of `data`, into `out` of DIGEST_TEXT_MAX + 1 bytes.
void digest_of(enum digest_algorithm algorithm, const void *data, size_t len, char *out);
