// SPDX-License-Identifier: Apache-2.0
//
// A bounded table: buckets of singly linked chains for finding, one doubly linked list for the order
// of use. The table owns its entries and their copies of the keys, and the values it was given. The
// number of buckets doubles as entries come, so that a large cap costs nothing while unused. Not
// thread-safe: the owner locks.

#include "mirrors/base/lru.h"

#include "mirrors/base/hash.h"
#include "mirrors/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LRU_FIRST_BUCKETS = 16 };

struct entry {
    struct entry *chain;         // The next in the same bucket.
    struct entry *newer, *older; // In order of use.
    void *value;
    uint64_t hash;
    size_t cost;
    size_t key_len;
    unsigned char key[];
};

struct lru {
    struct entry **buckets;
    size_t bucket_count; // A power of two.
    struct entry *newest, *oldest;
    size_t count, max_entries;
    size_t cost, max_cost;
    void (*free_value)(void *value);
    struct hash_key hash;
};

struct lru *lru_new(size_t max_entries, size_t max_cost, void (*free_value)(void *value)) {
    struct lru *t = mem_zalloc(1, sizeof *t);
    t->max_entries = max_entries;
    t->max_cost = max_cost;
    t->free_value = free_value;
    t->bucket_count = LRU_FIRST_BUCKETS;
    t->buckets = mem_zalloc(t->bucket_count, sizeof *t->buckets);
    hash_key_random(&t->hash);
    return t;
}

static void free_value(const struct lru *t, void *value) {
    if (t->free_value != NULL && value != NULL)
        t->free_value(value);
}

void lru_free(struct lru *t) {
    if (t == NULL)
        return;
    for (struct entry *e = t->newest; e != NULL;) {
        struct entry *older = e->older;
        free_value(t, e->value);
        free(e);
        e = older;
    }
    free(t->buckets);
    free(t);
}

// --- the order of use ---

static void list_unlink(struct lru *t, struct entry *e) {
    *(e->newer != NULL ? &e->newer->older : &t->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &t->oldest) = e->newer;
}

static void list_push(struct lru *t, struct entry *e) {
    e->newer = NULL;
    e->older = t->newest;
    *(t->newest != NULL ? &t->newest->newer : &t->oldest) = e;
    t->newest = e;
}

// --- the buckets ---

static struct entry **bucket_of(const struct lru *t, uint64_t hash) {
    return &t->buckets[hash & (t->bucket_count - 1)];
}

// The pointer that points to the entry, so that it can be unlinked; it points to NULL when there is none.
static struct entry **find(const struct lru *t, const void *key, size_t key_len) {
    uint64_t hash = hash_bytes(&t->hash, key, key_len);
    struct entry **at = bucket_of(t, hash);
    for (; *at != NULL; at = &(*at)->chain) {
        const struct entry *e = *at;
        if (e->hash == hash && e->key_len == key_len && (key_len == 0 || memcmp(e->key, key, key_len) == 0))
            break;
    }
    return at;
}

static void rehash(struct lru *t) {
    struct entry **old = t->buckets;
    t->bucket_count *= 2;
    t->buckets = mem_zalloc(t->bucket_count, sizeof *t->buckets);
    for (struct entry *e = t->newest; e != NULL; e = e->older) {
        struct entry **bucket = bucket_of(t, e->hash);
        e->chain = *bucket;
        *bucket = e;
    }
    free(old);
}

// Out of the table; the caller has the entry now.
static struct entry *detach(struct lru *t, struct entry **at) {
    struct entry *e = *at;
    *at = e->chain;
    list_unlink(t, e);
    t->count--;
    t->cost -= e->cost;
    return e;
}

static void drop(struct lru *t, struct entry **at) {
    struct entry *e = detach(t, at);
    // The value may point into nothing of ours, but free_value may look at the table: detached first.
    free_value(t, e->value);
    free(e);
}

static void make_room(struct lru *t, size_t cost) {
    while (t->oldest != NULL && (t->count >= t->max_entries || (t->max_cost != 0 && cost > t->max_cost - t->cost)))
        drop(t, find(t, t->oldest->key, t->oldest->key_len));
}

static struct entry *entry_new(const struct lru *t, const void *key, size_t key_len, void *value, size_t cost) {
    struct entry *e = mem_alloc(sizeof *e + key_len);
    *e = (struct entry){.value = value, .hash = hash_bytes(&t->hash, key, key_len), .cost = cost, .key_len = key_len};
    if (key_len > 0)
        memcpy(e->key, key, key_len);
    return e;
}

// --- the interface ---

void *lru_get(struct lru *t, const void *key, size_t key_len) {
    struct entry *e = *find(t, key, key_len);
    if (e == NULL)
        return NULL;
    list_unlink(t, e);
    list_push(t, e);
    return e->value;
}

void *lru_peek(const struct lru *t, const void *key, size_t key_len) {
    const struct entry *e = *find(t, key, key_len);
    return e == NULL ? NULL : e->value;
}

bool lru_put(struct lru *t, const void *key, size_t key_len, void *value, size_t cost) {
    // A key may stand in memory that the replaced value owns: copy it before anything is freed.
    struct entry *e = entry_new(t, key, key_len, value, cost);
    void *replaced = lru_take(t, e->key, e->key_len);
    if (replaced != value)
        free_value(t, replaced);
    if (t->max_entries == 0 || (t->max_cost != 0 && cost > t->max_cost)) {
        free_value(t, value);
        free(e);
        return false;
    }
    make_room(t, cost);
    if (t->count >= t->bucket_count)
        rehash(t);
    struct entry **bucket = bucket_of(t, e->hash);
    e->chain = *bucket;
    *bucket = e;
    list_push(t, e);
    t->count++;
    t->cost += cost;
    return true;
}

bool lru_remove(struct lru *t, const void *key, size_t key_len) {
    struct entry **at = find(t, key, key_len);
    if (*at == NULL)
        return false;
    drop(t, at);
    return true;
}

void *lru_take(struct lru *t, const void *key, size_t key_len) {
    struct entry **at = find(t, key, key_len);
    if (*at == NULL)
        return NULL;
    struct entry *e = detach(t, at);
    void *value = e->value;
    free(e);
    return value;
}

size_t lru_count(const struct lru *t) {
    return t->count;
}

size_t lru_cost(const struct lru *t) {
    return t->cost;
}

void lru_each(const struct lru *t, bool (*visit)(void *ctx, const void *key, size_t key_len, void *value), void *ctx) {
    for (const struct entry *e = t->newest; e != NULL; e = e->older)
        if (!visit(ctx, e->key, e->key_len, e->value))
            return;
}
