// SPDX-License-Identifier: Apache-2.0
//
// Links that outlive the process: each that is learned is noted in the store, and those of a repository are read back
// before the first digest of it is asked for. A store that cannot do that now is as if nothing had been kept.

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <stdlib.h>

struct load_waiter {
    struct waiter waiter;
    void (*ready)(void *ctx);
    void *ctx;
};

struct load {
    struct content *content;
    struct content_key key;
    char *registry, *repository;
};

void content_learned(void *ctx, const char *registry, const char *repository, const char *parent, const char *child,
                     unsigned flags) {
    const struct content *c = ctx;
    store_note_edge(c->store, registry, repository, &(struct store_edge){parent, child, flags});
}

static void on_edge(void *ctx, const struct store_edge *e) {
    const struct load *l = ctx;
    links_load(l->content->links, l->registry, l->repository, e->parent, e->child, e->flags);
}

static void load_free(struct load *l) {
    free(l->registry);
    free(l->repository);
    free(l);
}

/// What is in the store was read; `ready` is the last use of the content.
static void load(void *ctx) {
    struct load *l = ctx;
    struct content *c = l->content;
    store_look_edges(c->store, l->registry, l->repository, on_edge, l);
    links_loaded(c->links, l->registry, l->repository);
    struct waiter *w = jobs_end(c->jobs, l->key.bytes, l->key.len);
    load_free(l);
    while (w != NULL) {
        struct load_waiter *one = (struct load_waiter *)w;
        w = w->next;
        one->ready(one->ctx);
        free(one);
    }
}

static struct content_key key_of(const char *registry, const char *repository) {
    struct content_key key;
    content_key_begin(&key, NULL, registry);
    content_key_add(&key, repository);
    content_key_add(&key, "links");
    return key;
}

/// The first who waits sees to it. False: the store does not take work, and nobody waits any more.
static bool start(struct content *c, const struct content_key *key, const char *registry, const char *repository) {
    struct load *l = mem_zalloc(1, sizeof(*l));
    l->content = c;
    l->key = *key;
    l->registry = mem_strdup(registry);
    l->repository = mem_strdup(repository);
    if (store_work(c->store, load, l))
        return true;
    load_free(l);
    return false;
}

/// The store takes no work: those who joined meanwhile go on, too.
static void give_up(struct content *c, const struct content_key *key, const struct load_waiter *self) {
    struct waiter *w = jobs_end(c->jobs, key->bytes, key->len);
    while (w != NULL) {
        struct load_waiter *one = (struct load_waiter *)w;
        w = w->next;
        if (one != self)
            one->ready(one->ctx);
        free(one);
    }
}

bool content_load_links(struct content *c, const char *registry, const char *repository, void (*ready)(void *ctx),
                        void *ctx) {
    if (c->store == NULL || links_is_loaded(c->links, registry, repository))
        return true;
    struct content_key key = key_of(registry, repository);
    struct load_waiter *w = mem_zalloc(1, sizeof(*w));
    w->ready = ready;
    w->ctx = ctx;
    enum jobs_joined joined = jobs_join(c->jobs, key.bytes, key.len, &w->waiter);
    if (joined == JOBS_WAITS)
        return false;
    if (joined == JOBS_FULL) {
        free(w);
        return true;
    }
    if (start(c, &key, registry, repository))
        return false;
    give_up(c, &key, w);
    return true;
}
