// SPDX-License-Identifier: Apache-2.0
//
// See index.h. An open-addressed table of groups, keyed by the head's bytes under an incremental hash, so that one pass
// over the name yields the hash of each of its beginnings. The keys come from the configuration only: a client can
// choose what is looked up, never what stands in the table.

#include "gateway/policy/index.h"

#include "mirrors/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_FIRST_SLOTS = 64 };

struct group {
    char *head; // NULL: a free slot.
    size_t head_len;
    uint64_t hash;
    uint32_t *numbers;
    size_t count, cap;
};

struct index {
    struct group *slots;
    size_t slot_count; // A power of two.
    size_t group_count;
    bool length_used[INDEX_HEAD_MAX + 1];
    size_t longest;
};

static const uint64_t hash_start = 0xcbf29ce484222325U;

static uint64_t hash_step(uint64_t hash, char c) {
    return (hash ^ (unsigned char)c) * 0x100000001b3U;
}

static uint64_t hash_of(const char *s, size_t len) {
    uint64_t hash = hash_start;
    for (size_t i = 0; i < len; i++)
        hash = hash_step(hash, s[i]);
    return hash;
}

struct index *index_new(void) {
    struct index *x = mem_zalloc(1, sizeof *x);
    x->slot_count = INDEX_FIRST_SLOTS;
    x->slots = mem_zalloc(x->slot_count, sizeof *x->slots);
    return x;
}

void index_free(struct index *x) {
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->slot_count; i++) {
        free(x->slots[i].head);
        free(x->slots[i].numbers);
    }
    free(x->slots);
    free(x);
}

// The group of this head, or the free slot where it belongs.
static struct group *slot_of(const struct index *x, const char *head, size_t len, uint64_t hash) {
    for (size_t i = (hash ^ (hash >> 32)) & (x->slot_count - 1);; i = (i + 1) & (x->slot_count - 1)) {
        struct group *g = &x->slots[i];
        if (g->head == NULL || (g->hash == hash && g->head_len == len && memcmp(g->head, head, len) == 0))
            return g;
    }
}

static void grow(struct index *x) {
    struct group *old = x->slots;
    size_t old_count = x->slot_count;
    x->slot_count *= 2;
    x->slots = mem_zalloc(x->slot_count, sizeof *x->slots);
    for (size_t i = 0; i < old_count; i++)
        if (old[i].head != NULL)
            *slot_of(x, old[i].head, old[i].head_len, old[i].hash) = old[i];
    free(old);
}

static struct group *group_for(struct index *x, const char *head, size_t len) {
    uint64_t hash = hash_of(head, len);
    struct group *g = slot_of(x, head, len, hash);
    if (g->head != NULL)
        return g;
    if (2 * (x->group_count + 1) > x->slot_count) {
        grow(x);
        g = slot_of(x, head, len, hash);
    }
    *g = (struct group){.head = mem_strndup(head, len), .head_len = len, .hash = hash};
    x->group_count++;
    x->length_used[len] = true;
    if (len > x->longest)
        x->longest = len;
    return g;
}

void index_add(struct index *x, const char *head, size_t head_len, uint32_t number) {
    struct group *g = group_for(x, head, head_len > INDEX_HEAD_MAX ? INDEX_HEAD_MAX : head_len);
    if (g->count == g->cap) {
        g->cap = g->cap == 0 ? 1 : 2 * g->cap;
        g->numbers = mem_resize(g->numbers, g->cap, sizeof *g->numbers);
    }
    g->numbers[g->count++] = number;
}

void index_find(const struct index *x, const char *name, size_t name_len, struct index_walk *w) {
    w->count = 0;
    uint64_t hash = hash_start;
    for (size_t len = 0; len <= x->longest && len <= name_len; len++) {
        if (x->length_used[len]) {
            const struct group *g = slot_of(x, name, len, hash);
            if (g->head != NULL)
                w->cursors[w->count++] = (struct index_cursor){g->numbers, g->numbers + g->count};
        }
        if (len < name_len)
            hash = hash_step(hash, name[len]);
    }
}

int64_t index_next(struct index_walk *w) {
    struct index_cursor *least = NULL;
    for (size_t i = 0; i < w->count; i++) {
        struct index_cursor *c = &w->cursors[i];
        if (c->at < c->end && (least == NULL || *c->at < *least->at))
            least = c;
    }
    return least == NULL ? INDEX_END : (int64_t)*least->at++;
}

size_t index_left(const struct index_walk *w) {
    size_t left = 0;
    for (size_t i = 0; i < w->count; i++)
        left += (size_t)(w->cursors[i].end - w->cursors[i].at);
    return left;
}
