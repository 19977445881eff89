// SPDX-License-Identifier: Apache-2.0
//
// Removing by hand: a tag with what only it leads to, or all that a repository holds. On the caller's thread; the index
// is written by the keeper, whom this waits for.

#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <stdlib.h>
#include <string.h>

enum { DIGESTS_MAX = 1000000, DEPTH_MAX = 16 };

// A set of digests, in the order in which they came.
struct digests {
    struct lru *known;
    char **text;
    size_t count, cap;
};

static void digests_init(struct digests *d) {
    *d = (struct digests){.known = lru_new(DIGESTS_MAX, 0, NULL)};
}

static void digests_deinit(struct digests *d) {
    for (size_t n = 0; n < d->count; n++)
        free(d->text[n]);
    free(d->text);
    lru_free(d->known);
}

static bool digests_has(const struct digests *d, const char *digest) {
    return lru_peek(d->known, digest, strlen(digest)) != NULL;
}

static void digests_add(struct digests *d, const char *digest) {
    if (d->count == DIGESTS_MAX || digests_has(d, digest))
        return;
    if (d->count == d->cap) {
        d->cap = d->cap == 0 ? 64 : 2 * d->cap;
        d->text = mem_resize(d->text, d->cap, sizeof *d->text);
    }
    d->text[d->count++] = mem_strdup(digest);
    lru_put(d->known, digest, strlen(digest), d, 0);
}

// --- what it is about ---

static void add_child(void *ctx, const struct store_edge *e) {
    struct digests *d = ctx;
    if (digests_has(d, e->parent))
        digests_add(d, e->child);
}

// What the tag leads to, itself included.
static void collect_tag(struct store *s, const char *registry, const char *repository, const char *tag,
                        struct digests *d) {
    struct store_tag t;
    if (!store_look_tag(s, registry, repository, tag, &t))
        return;
    digests_add(d, t.digest);
    size_t before = 0;
    for (unsigned depth = 0; depth < DEPTH_MAX && d->count != before; depth++) {
        before = d->count;
        store_look_edges(s, registry, repository, add_child, d);
    }
}

struct collecting {
    struct digests *d;
    const char *registry, *repository;
};

static bool collect_item(void *ctx, const struct store_item *i) {
    const struct collecting *c = ctx;
    if (strcmp(i->registry, c->registry) == 0 && strcmp(i->repository, c->repository) == 0)
        digests_add(c->d, i->digest);
    return true;
}

// --- what still holds it ---

struct holding {
    const char *registry, *repository;
    bool own, other; // By the repository itself without a tag; by a tag, or another repository.
};

static bool note_holder(void *ctx, const char *registry, const char *repository, const char *tag) {
    struct holding *h = ctx;
    bool own = strcmp(registry, h->registry) == 0 && strcmp(repository, h->repository) == 0 && *tag == '\0';
    h->own = h->own || own;
    h->other = h->other || !own;
    return !h->other;
}

// In doubt something holds it.
static bool is_free(struct store *s, const char *registry, const char *repository, const char *digest) {
    struct holding h = {.registry = registry, .repository = repository};
    uint64_t generation;
    struct index *i = readers_take(s, &generation);
    if (i == NULL)
        return false;
    enum index_result r = index_holders(i, digest, note_holder, &h);
    readers_give(s, i, generation, r);
    return (r == INDEX_OK || r == INDEX_NOTHING) && !h.other;
}

// --- removing ---

static uint64_t drop(struct store *s, const char *registry, const char *repository, const char *digest) {
    uint64_t size, disk = 0;
    bool there = files_stat(s, digest, &size, &disk);
    store_note_gone(s, registry, repository, digest);
    facts_absent(s->facts, digest, false);
    keeper_put(s, note_new(&(struct index_note){.kind = NOTE_DROPPED, .digest = digest}));
    return there ? disk : 0;
}

// The rows go first, then the files.
static uint64_t drop_free(struct store *s, const char *registry, const char *repository, const struct digests *d) {
    uint64_t freed = 0;
    struct digests dropped;
    digests_init(&dropped);
    for (size_t n = 0; n < d->count; n++)
        if (is_free(s, registry, repository, d->text[n])) {
            freed += drop(s, registry, repository, d->text[n]);
            digests_add(&dropped, d->text[n]);
        }
    keeper_flush(s);
    for (size_t n = 0; n < dropped.count; n++)
        files_unlink(s, dropped.text[n]);
    digests_deinit(&dropped);
    return freed;
}

static void forget_repository(struct store *s, const char *registry, const char *repository) {
    keeper_put(s, note_new(&(struct index_note){
                      .kind = NOTE_REPOSITORY_GONE, .registry = registry, .repository = repository}));
    keeper_flush(s);
    facts_forget(s->facts, registry, repository);
}

uint64_t store_remove(struct store *s, const char *registry, const char *repository, const char *tag) {
    struct digests d;
    if (s->read_only)
        return 0;
    digests_init(&d);
    if (tag != NULL) {
        collect_tag(s, registry, repository, tag, &d);
        store_note_tag_gone(s, registry, repository, tag);
        keeper_flush(s);
    } else {
        struct collecting c = {&d, registry, repository};
        store_list(s, true, collect_item, &c);
        forget_repository(s, registry, repository);
    }
    uint64_t freed = drop_free(s, registry, repository, &d);
    digests_deinit(&d);
    keeper_evict_anew(s);
    return freed;
}
