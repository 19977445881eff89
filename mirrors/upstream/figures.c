// SPDX-License-Identifier: Apache-2.0
//
// What is asked of each registry, counted. `lock` guards all of it.

#include "mirrors/upstream/figures.h"

#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct figures {
    pthread_mutex_t lock;
    struct lru *table; ///< Never full, so nothing leaves it. Registry -> struct counted.
    struct fetch_figures others;
};

struct counted {
    struct fetch_figures figures;
    char *name;
};

static void counted_free(void *value) {
    struct counted *c = value;
    free(c->name);
    free(c);
}

struct figures *figures_new(void) {
    struct figures *f = mem_zalloc(1, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    f->table = lru_new(FETCH_FIGURES_MAX, 0, counted_free);
    f->others = (struct fetch_figures){.registry = "other", .ratelimit_remaining = -1};
    return f;
}

void figures_free(struct figures *f) {
    if (f == NULL)
        return;
    lru_free(f->table);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static struct fetch_figures *of_registry(struct figures *f, const char *registry) {
    struct counted *c = lru_peek(f->table, registry, strlen(registry));
    if (c != NULL)
        return &c->figures;
    if (lru_count(f->table) >= FETCH_FIGURES_MAX)
        return &f->others;
    c = mem_zalloc(1, sizeof(*c));
    c->name = mem_strdup(registry);
    c->figures = (struct fetch_figures){.registry = c->name, .ratelimit_remaining = -1};
    lru_put(f->table, registry, strlen(registry), c, 0);
    return &c->figures;
}

void figures_add(struct figures *f, const char *registry, const struct figures_sample *sample) {
    pthread_mutex_lock(&f->lock);
    struct fetch_figures *x = of_registry(f, registry);
    x->requests++;
    x->errors += sample->error ? 1 : 0;
    x->limited += sample->limited ? 1 : 0;
    x->us += sample->us > 0 ? (uint64_t)sample->us : 0;
    if (sample->ratelimit_remaining >= 0 && x != &f->others) // Of many registries it would mean nothing.
        x->ratelimit_remaining = sample->ratelimit_remaining;
    pthread_mutex_unlock(&f->lock);
}

// --- reading ---

struct visiting {
    void (*visit)(void *ctx, const struct fetch_figures *figures);
    void *ctx;
};

static bool visit_one(void *ctx, const void *key, size_t key_len, void *value) {
    const struct visiting *v = ctx;
    const struct counted *c = value;
    v->visit(v->ctx, &c->figures);
    return true;
}

void figures_each(struct figures *f, void (*visit)(void *ctx, const struct fetch_figures *figures), void *ctx) {
    struct visiting v = {visit, ctx};
    pthread_mutex_lock(&f->lock);
    lru_each(f->table, visit_one, &v);
    if (f->others.requests > 0)
        visit(ctx, &f->others);
    pthread_mutex_unlock(&f->lock);
}
