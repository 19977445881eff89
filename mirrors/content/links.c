// SPDX-License-Identifier: Apache-2.0
//
// See links.h. The repositories' graphs in a bounded table, and how they learn: from what is answered, and from what
// was kept. Everything here is under the one lock but the calls of `learned`.

#include "mirrors/content/links.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"
#include "mirrors/content/links_graph.h"
#include "mirrors/oci/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- the repositories ---

struct links *links_new(links_learned_fn learned, void *ctx) {
    struct links *l = mem_zalloc(1, sizeof *l);
    l->learned = learned;
    l->ctx = ctx;
    pthread_mutex_init(&l->lock, NULL);
    l->repositories = lru_new(LINKS_REPOSITORIES_MAX, LINKS_EDGES_MAX, graph_free);
    return l;
}

void links_free(struct links *l) {
    if (l == NULL)
        return;
    lru_free(l->repositories);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

enum { KEY_MAX = REGISTRY_MAX + 1 + REPOSITORY_MAX };

struct key {
    char text[KEY_MAX + 1];
    size_t len; // 0: no such names.
};

static struct key key_of(const char *registry, const char *repository) {
    struct key k;
    int len = snprintf(k.text, sizeof k.text, "%s/%s", registry, repository);
    k.len = len < 0 || (size_t)len >= sizeof k.text ? 0 : (size_t)len;
    return k;
}

static struct graph *repository_find(struct links *l, const struct key *k) {
    return k->len == 0 ? NULL : lru_get(l->repositories, k->text, k->len);
}

struct graph *links_find(struct links *l, const char *registry, const char *repository) {
    struct key k = key_of(registry, repository);
    return repository_find(l, &k);
}

// Out of the table until repository_put().
static struct graph *repository_take(struct links *l, const struct key *k) {
    struct graph *r = lru_take(l->repositories, k->text, k->len);
    return r != NULL ? r : graph_new();
}

// The same repository, or a fresh one when `more` edges would be too many. That one starts anew: to load again what
// is too much would only come to the same.
static struct graph *with_room(struct graph *r, size_t more) {
    if (r->edge_count + more <= LINKS_REPOSITORY_EDGES_MAX)
        return r;
    bool loaded = r->loaded;
    graph_free(r);
    r = graph_new();
    r->loaded = loaded;
    return r;
}

// Back with its new cost, which may push out others. An empty one is counted, too.
static void repository_put(struct links *l, const struct key *k, struct graph *r) {
    lru_put(l->repositories, k->text, k->len, r, (size_t)r->edge_count + 1);
}

// --- learning ---

static bool name_fits(const char *s, size_t max) {
    size_t len = strnlen(s, max + 1);
    return len > 0 && len <= max;
}

// Tags and digests share one table of names: they must not be mistaken for each other.
static bool is_tag(const char *s) {
    return name_fits(s, TAG_MAX) && strchr(s, ':') == NULL;
}

static bool is_digest(const char *s) {
    return name_fits(s, DIGEST_TEXT_MAX) && strchr(s, ':') != NULL;
}

// A tag leads to a digest once more: the common case, of which nothing is new.
static bool tag_again(struct graph *r, const char *tag, const char *digest) {
    uint32_t from = graph_find(r, tag), to = graph_find(r, digest);
    if (from == GRAPH_NONE || to == GRAPH_NONE || !r->nodes[from].tag || !graph_has_edge(r, from, to))
        return false;
    graph_tag_used(r, from);
    r->nodes[to].led = ++r->turn;
    return true;
}

// One edge between two names; true: it is new.
static bool learn_edge(struct graph *r, const char *parent, const char *child) {
    uint32_t from = graph_add(r, parent);
    uint32_t to = graph_add(r, child);
    bool added = graph_add_edge(r, from, to);
    if (is_tag(parent)) {
        graph_tag_used(r, from);
        r->nodes[to].led = ++r->turn;
    }
    return added;
}

static bool learn(struct links *l, const struct key *k, const char *parent, const char *child) {
    struct graph *r = repository_find(l, k);
    if (r != NULL && is_tag(parent) && tag_again(r, parent, child))
        return false;
    r = with_room(repository_take(l, k), 1);
    bool added = learn_edge(r, parent, child);
    repository_put(l, k, r);
    return added;
}

static void learn_and_tell(struct links *l, const char *registry, const char *repository, const char *parent,
                           const char *child, unsigned flags) {
    struct key k = key_of(registry, repository);
    if (k.len == 0)
        return;
    pthread_mutex_lock(&l->lock);
    bool added = learn(l, &k, parent, child);
    pthread_mutex_unlock(&l->lock);
    if (added && l->learned != NULL)
        l->learned(l->ctx, registry, repository, parent, child, flags);
}

void links_tag(struct links *l, const char *registry, const char *repository, const char *tag, const char *digest) {
    if (is_tag(tag) && is_digest(digest))
        learn_and_tell(l, registry, repository, tag, digest, 0);
}

void links_referrer(struct links *l, const char *registry, const char *repository, const char *subject,
                    const char *child) {
    if (is_digest(subject) && is_digest(child))
        learn_and_tell(l, registry, repository, subject, child, LINKS_SUBJECT);
}

// What a document taught, to be told outside the lock; its strings are the document's and the caller's.
struct news {
    struct one_news {
        const char *parent, *child;
        unsigned flags;
    } * all;
    size_t count;
};

// `told` before: an edge that is there was kept with these flags already.
static void document_edge(struct graph *r, struct news *n, bool told, struct one_news one) {
    uint32_t parent = graph_add(r, one.parent);
    uint32_t child = graph_add(r, one.child);
    if (graph_add_edge(r, parent, child) || (!told && parent != child))
        n->all[n->count++] = one;
}

static void learn_document(struct graph *r, const char *digest, const struct document *d, struct news *n) {
    uint32_t self = graph_add(r, digest);
    bool told = r->nodes[self].read;
    n->all = mem_alloc((d->count + 1) * sizeof *n->all);
    // From the last to the first: lists of edges begin with the newest, so the walk meets them in document order.
    for (size_t i = d->count; i-- > 0;) {
        const struct descriptor *one = &d->descriptors[i];
        if (!is_digest(one->digest))
            continue;
        bool listed = d->kind == DOCUMENT_INDEX && one->role == ROLE_MANIFEST;
        unsigned flags = LINKS_DOCUMENT | (listed ? LINKS_LISTED : 0);
        document_edge(r, n, told, (struct one_news){digest, one->digest, flags});
        if (listed)
            graph_mark_listed(r, graph_find(r, one->digest));
    }
    if (is_digest(d->subject))
        document_edge(r, n, told, (struct one_news){d->subject, digest, LINKS_SUBJECT | LINKS_READ_CHILD});
    r->nodes[self].index = d->kind == DOCUMENT_INDEX;
    r->nodes[self].sure = true;
    graph_mark_read(r, self);
}

static void tell(struct links *l, const char *registry, const char *repository, const struct news *n) {
    for (size_t i = 0; i < n->count && l->learned != NULL; i++)
        l->learned(l->ctx, registry, repository, n->all[i].parent, n->all[i].child, n->all[i].flags);
}

// What a digest names never changes, so once is enough. A document that names nothing and that nothing names makes no
// edge, and what makes no edge is not bounded.
static bool document_is_news(const struct graph *r, const char *digest, const struct document *d) {
    uint32_t known = r != NULL ? graph_find(r, digest) : (uint32_t)GRAPH_NONE;
    return known == GRAPH_NONE ? d->count > 0 || d->subject[0] != '\0' : !r->nodes[known].sure;
}

void links_document(struct links *l, const char *registry, const char *repository, const char *digest,
                    const struct document *d) {
    struct key k = key_of(registry, repository);
    if (k.len == 0 || !is_digest(digest) || d->count >= LINKS_REPOSITORY_EDGES_MAX)
        return;
    struct news news = {0};
    pthread_mutex_lock(&l->lock);
    if (document_is_news(repository_find(l, &k), digest, d)) {
        struct graph *r = with_room(repository_take(l, &k), d->count + 1);
        learn_document(r, digest, d, &news);
        repository_put(l, &k, r);
    }
    pthread_mutex_unlock(&l->lock);
    tell(l, registry, repository, &news);
    free(news.all);
}

// --- what was kept ---

static bool loadable(const char *parent, const char *child, unsigned flags) {
    return is_digest(child) && (flags == 0 ? is_tag(parent) : is_digest(parent));
}

static void load_edge(struct graph *r, const char *parent, const char *child, unsigned flags) {
    uint32_t from = graph_add(r, parent);
    uint32_t to = graph_add(r, child);
    bool live = r->nodes[from].tag; // A tag that was used meanwhile keeps its place.
    graph_add_edge(r, from, to);
    if (flags == 0 && !live) {
        graph_tag_used(r, from);
        r->nodes[to].led = ++r->turn;
    }
    if (flags & LINKS_LISTED) {
        r->nodes[from].index = true;
        graph_mark_listed(r, to);
    }
    if (flags & LINKS_DOCUMENT)
        graph_mark_read(r, from);
    if (flags & LINKS_READ_CHILD)
        graph_mark_read(r, to);
}

void links_load(struct links *l, const char *registry, const char *repository, const char *parent, const char *child,
                unsigned flags) {
    struct key k = key_of(registry, repository);
    if (k.len == 0 || !loadable(parent, child, flags))
        return;
    pthread_mutex_lock(&l->lock);
    struct graph *r = with_room(repository_take(l, &k), 1);
    load_edge(r, parent, child, flags);
    repository_put(l, &k, r);
    pthread_mutex_unlock(&l->lock);
}

void links_loaded(struct links *l, const char *registry, const char *repository) {
    struct key k = key_of(registry, repository);
    if (k.len == 0)
        return;
    pthread_mutex_lock(&l->lock);
    struct graph *r = repository_take(l, &k);
    r->loaded = true;
    repository_put(l, &k, r);
    pthread_mutex_unlock(&l->lock);
}

bool links_is_loaded(struct links *l, const char *registry, const char *repository) {
    struct key k = key_of(registry, repository);
    pthread_mutex_lock(&l->lock);
    const struct graph *r = repository_find(l, &k);
    bool loaded = r != NULL && r->loaded;
    pthread_mutex_unlock(&l->lock);
    return loaded;
}

void links_skip(struct links *l, const char *registry, const char *repository, const char *digest) {
    struct key k = key_of(registry, repository);
    pthread_mutex_lock(&l->lock);
    struct graph *r = repository_find(l, &k);
    uint32_t number = r == NULL ? (uint32_t)GRAPH_NONE : graph_find(r, digest);
    if (number != GRAPH_NONE) {
        r->nodes[number].skipped = ++r->turn;
        r->nodes[number].skipped_ms = clock_ms();
    }
    pthread_mutex_unlock(&l->lock);
}
