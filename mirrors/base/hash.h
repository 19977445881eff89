// SPDX-License-Identifier: Apache-2.0
//
// A hash that strangers cannot steer: SipHash-1-3 under a random key.
//
// For tables in memory only; never for content (that is oci/digest.h). Pure but for
// hash_key_random(); any thread.

#pragma once

#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint64_t k0, k1;
};

/// A fresh key from the kernel. Each table has its own.
void hash_key_random(struct hash_key *key);

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t len);
