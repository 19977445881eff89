// SPDX-License-Identifier: Apache-2.0
//
// What memory knows about tags; and forgetting all about a repository. See facts.c for the rules.

#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"
#include "mirrors/store/facts.h"

#include <stdlib.h>
#include <string.h>

struct tag_fact {
    uint64_t generation;
    int64_t confirmed;
    bool there;
    char text[]; // digest, media type, ETag, each with its NUL.
};

// NULL: there is none.
static struct tag_fact *tag_new(const struct store_tag *t, uint64_t generation) {
    if (t == NULL) {
        struct tag_fact *none = mem_zalloc(1, sizeof *none);
        none->generation = generation;
        return none;
    }
    size_t digest = strlen(t->digest) + 1, media_type = strlen(t->media_type) + 1, etag = strlen(t->etag) + 1;
    struct tag_fact *f = mem_alloc(sizeof *f + digest + media_type + etag);
    *f = (struct tag_fact){.generation = generation, .confirmed = t->confirmed, .there = true};
    memcpy(f->text, t->digest, digest);
    memcpy(f->text + digest, t->media_type, media_type);
    memcpy(f->text + digest + media_type, t->etag, etag);
    return f;
}

static void tag_read(const struct tag_fact *f, struct store_tag *out) {
    const char *media_type = f->text + strlen(f->text) + 1;
    out->confirmed = f->confirmed;
    strcpy(out->digest, f->text);
    strcpy(out->media_type, media_type);
    strcpy(out->etag, media_type + strlen(media_type) + 1);
}

// 1, 0, -1; with the lock held.
static int look(struct facts *f, const struct key *k, struct store_tag *out) {
    const struct tag_fact *t = lru_get(f->tags, k->bytes, k->len);
    if (t == NULL || !fact_counts(f, t->generation))
        return lru_peek(f->gone, k->bytes, k->len) != NULL ? 0 : -1;
    if (t->there)
        tag_read(t, out);
    return t->there ? 1 : 0;
}

int facts_recall_tag(struct facts *f, const char *registry, const char *repository, const char *tag,
                     struct store_tag *out) {
    struct key k;
    if (!key_make(&k, registry, repository, tag))
        return -1;
    pthread_mutex_lock(&f->lock);
    int known = look(f, &k, out);
    pthread_mutex_unlock(&f->lock);
    return known;
}

bool facts_learn_tag(struct facts *f, const char *registry, const char *repository, const char *tag,
                     const struct store_tag *t, uint64_t generation, struct store_tag *out) {
    struct key k;
    if (!key_make(&k, registry, repository, tag))
        return false;
    pthread_mutex_lock(&f->lock);
    int known = look(f, &k, out);
    if (known < 0 && generation == f->generation) {
        lru_put(f->tags, k.bytes, k.len, tag_new(t, generation), 0);
        known = look(f, &k, out);
    }
    pthread_mutex_unlock(&f->lock);
    return known == 1;
}

void facts_tag(struct facts *f, const char *registry, const char *repository, const char *tag,
               const struct store_tag *t, facts_put_fn put, void *ctx) {
    struct key k;
    pthread_mutex_lock(&f->lock);
    if (key_make(&k, registry, repository, tag)) {
        lru_put(f->tags, k.bytes, k.len, tag_new(t, 0), 0);
        if (t == NULL)
            lru_put(f->gone, k.bytes, k.len, f, 0);
        else
            lru_remove(f->gone, k.bytes, k.len);
    }
    put(ctx);
    pthread_mutex_unlock(&f->lock);
}

// --- forgetting a repository ---

struct matching {
    const struct key *prefix;
    struct key *keys;
    size_t count, cap;
};

static bool note_matching(void *ctx, const void *key, size_t key_len, void *value) {
    struct matching *m = ctx;
    if (key_len < m->prefix->len || key_len > sizeof m->keys->bytes ||
        memcmp(key, m->prefix->bytes, m->prefix->len) != 0)
        return true;
    if (m->count == m->cap) {
        m->cap = m->cap == 0 ? 64 : 2 * m->cap;
        m->keys = mem_resize(m->keys, m->cap, sizeof *m->keys);
    }
    struct key *k = &m->keys[m->count++];
    k->len = key_len;
    memcpy(k->bytes, key, key_len);
    return true;
}

static void forget_in(struct lru *t, const struct key *prefix) {
    struct matching m = {.prefix = prefix};
    lru_each(t, note_matching, &m);
    for (size_t i = 0; i < m.count; i++)
        lru_remove(t, m.keys[i].bytes, m.keys[i].len);
    free(m.keys);
}

void facts_forget(struct facts *f, const char *registry, const char *repository) {
    struct key prefix;
    if (!key_make(&prefix, registry, repository, NULL))
        return;
    pthread_mutex_lock(&f->lock);
    forget_in(f->confirmed, &prefix);
    forget_in(f->tags, &prefix);
    pthread_mutex_unlock(&f->lock);
}
