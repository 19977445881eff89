// SPDX-License-Identifier: Apache-2.0
//
// Counters by a name: an open hash of pointers that are set once.

#include "gateway/metrics/slots.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/hash.h"
#include "mirrors/base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 512 }; // A power of two, and never more than half full: a search ends at an empty one.

static const char other[] = "other";

struct slots {
    size_t counters;
    struct hash_key key;
    pthread_mutex_t lock; ///< Taken to make a slot.
    atomic_size_t count;
    _Atomic(struct slot *) list[SLOTS_MAX + 1]; ///< [0]: "other".
    _Atomic(struct slot *) buckets[BUCKETS];
};

static struct slot *slot_new(const char *name, size_t counters) {
    struct slot *s = mem_zalloc(1, sizeof(*s) + counters * sizeof(s->counters[0]));
    s->name = mem_strdup(name);
    return s;
}

static void append(struct slots *t, struct slot *s) {
    size_t at = atomic_load_explicit(&t->count, memory_order_relaxed);
    atomic_store_explicit(&t->list[at], s, memory_order_release);
    atomic_store_explicit(&t->count, at + 1, memory_order_release);
}

struct slots *slots_new(size_t counters) {
    struct slots *t = mem_zalloc(1, sizeof(*t));
    t->counters = counters;
    hash_key_random(&t->key);
    pthread_mutex_init(&t->lock, NULL);
    append(t, slot_new(other, counters));
    return t;
}

void slots_free(struct slots *t) {
    for (size_t i = 0; i < slots_count(t); i++) {
        struct slot *s = atomic_load(&t->list[i]);
        free(s->name);
        free(s);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/// The bucket that holds `name`, or the empty one where it belongs.
static _Atomic(struct slot *) *bucket_of(struct slots *t, const char *name, size_t len) {
    for (uint64_t at = hash_bytes(&t->key, name, len);; at++) {
        _Atomic(struct slot *) *bucket = &t->buckets[at % BUCKETS];
        const struct slot *s = atomic_load_explicit(bucket, memory_order_acquire);
        if (s == NULL || strcmp(s->name, name) == 0)
            return bucket;
    }
}

static struct slot *make(struct slots *t, const char *name, size_t len) {
    pthread_mutex_lock(&t->lock);
    _Atomic(struct slot *) *bucket = bucket_of(t, name, len);
    struct slot *s = atomic_load(bucket); // Somebody else may have been faster.
    if (s == NULL && slots_count(t) <= SLOTS_MAX) {
        s = slot_new(name, t->counters);
        atomic_store_explicit(bucket, s, memory_order_release);
        append(t, s);
    }
    pthread_mutex_unlock(&t->lock);
    return s != NULL ? s : atomic_load(&t->list[0]);
}

/// No more names are told apart: nobody needs to wait for the lock to learn that.
static bool full(const struct slots *t) {
    return slots_count(t) > SLOTS_MAX;
}

static bool is_text(const char *name, size_t len) {
    for (size_t at = 0, one; at < len; at += one)
        if ((one = buf_utf8_len((const unsigned char *)name + at, len - at)) == 0)
            return false;
    return true;
}

struct slot *slots_find(struct slots *t, const char *name) {
    size_t len = strlen(name);
    if (len > SLOTS_NAME_MAX || strcmp(name, other) == 0)
        return atomic_load(&t->list[0]);
    struct slot *s = atomic_load_explicit(bucket_of(t, name, len), memory_order_acquire);
    if (s != NULL)
        return s;
    return full(t) || !is_text(name, len) ? atomic_load(&t->list[0]) : make(t, name, len);
}

size_t slots_count(const struct slots *t) {
    return atomic_load_explicit(&t->count, memory_order_acquire);
}

const struct slot *slots_at(const struct slots *t, size_t index) {
    return atomic_load_explicit(&t->list[index], memory_order_acquire);
}

void slot_add(struct slot *s, size_t counter, uint64_t n) {
    atomic_fetch_add_explicit(&s->counters[counter], n, memory_order_relaxed);
}

uint64_t slot_read(const struct slot *s, size_t counter) {
    return atomic_load_explicit(&s->counters[counter], memory_order_relaxed);
}
