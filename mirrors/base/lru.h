// SPDX-License-Identifier: Apache-2.0
//
// A bounded table: what pullgate remembers about strangers' names.
//
// A hash table from byte strings to values with a cap on the number of entries and on the sum of
// their costs; the least recently used entry makes room. Keys are hashed with a per-process random
// key (SipHash), so that nobody can choose keys that collide. Not thread-safe: the owner locks.

#pragma once

#include <stdbool.h>
#include <stddef.h>

struct lru;

/// `max_cost` 0 means that only entries count. `free_value` (may be NULL) is called for each value
/// that leaves the table, by eviction, replacement, removal or lru_free().
struct lru *lru_new(size_t max_entries, size_t max_cost, void (*free_value)(void *value));
void lru_free(struct lru *t);

/// The value under `key`, now the most recently used; NULL when there is none. It stays valid until
/// the next lru_put(), lru_remove() or lru_free().
void *lru_get(struct lru *t, const void *key, size_t key_len);

/// Like lru_get(), without counting as a use.
void *lru_peek(const struct lru *t, const void *key, size_t key_len);

/// Take over `value` under a copy of `key`, replacing what was there. A value whose cost alone is
/// over the cap is freed at once and false returned; what was there is gone all the same.
bool lru_put(struct lru *t, const void *key, size_t key_len, void *value, size_t cost);

/// Remove and free; false when there was none.
bool lru_remove(struct lru *t, const void *key, size_t key_len);

/// Remove without freeing: the caller owns the value now; NULL when there was none.
void *lru_take(struct lru *t, const void *key, size_t key_len);

size_t lru_count(const struct lru *t);
size_t lru_cost(const struct lru *t);

/// Call `visit` for every entry, most recently used first, until it returns false. It must not
/// change the table.
void lru_each(const struct lru *t, bool (*visit)(void *ctx, const void *key, size_t key_len, void *value), void *ctx);
