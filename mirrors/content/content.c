// SPDX-License-Identifier: Apache-2.0
//
// What is remembered of content: judged manifests, refused digests, sizes. Bounded tables under one lock.

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void unref_manifest(void *value) {
    manifest_unref(value);
}

static struct lru *judged_new(void) {
    return lru_new(CONTENT_JUDGED_MAX, CONTENT_JUDGED_BYTES_MAX, unref_manifest);
}

struct content *content_new(struct fetcher *fetcher) {
    struct content *c = mem_zalloc(1, sizeof(*c));
    c->fetcher = fetcher;
    c->links = links_new();
    pthread_mutex_init(&c->lock, NULL);
    c->judged = judged_new();
    c->refused = lru_new(CONTENT_REFUSED_MAX, 0, free);
    c->sizes = lru_new(CONTENT_SIZES_MAX, 0, free);
    return c;
}

void content_free(struct content *c) {
    if (c == NULL)
        return;
    lru_free(c->judged);
    lru_free(c->refused);
    lru_free(c->sizes);
    links_free(c->links);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

struct links *content_links(struct content *c) {
    return c->links;
}

void content_forget(struct content *c) {
    pthread_mutex_lock(&c->lock);
    lru_free(c->judged);
    lru_free(c->refused);
    lru_free(c->sizes);
    c->judged = judged_new();
    c->refused = lru_new(CONTENT_REFUSED_MAX, 0, free);
    c->sizes = lru_new(CONTENT_SIZES_MAX, 0, free);
    pthread_mutex_unlock(&c->lock);
}

struct manifest *manifest_ref(struct manifest *m) {
    atomic_fetch_add(&m->refs, 1);
    return m;
}

void manifest_unref(struct manifest *m) {
    if (m == NULL || atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    if (m->verdict == DOCUMENT_OK)
        document_deinit(&m->document);
    free(m->body);
    free(m);
}

/// A verdict holds for the configuration that it was made under, and for no other: a judgement that ends after a
/// reload must not speak for the new one.
static char *verdict_key(const struct content_place *place, const char *digest) {
    return mem_printf("%p\n%s\n%s\n%s", place->owner.object, place->name, place->repository, digest);
}

/// What is refused for its `urls` or as schema 1 is so in the whole registry. Anything else may be good content in
/// another repository: `{}` is no manifest, and the empty configuration of many an artifact.
static char *refusal_key(const struct content_place *place, bool everywhere, const char *digest) {
    return mem_printf("%p\n%s\n%s\n%s", place->owner.object, place->name, everywhere ? "" : place->repository, digest);
}

static char *key_of(const struct content_place *place, const char *digest) {
    return mem_printf("%s\n%s\n%s", place->name, place->repository, digest);
}

static void remember_sizes(struct content *c, const struct content_place *place, const struct manifest *m) {
    for (size_t i = 0; i < m->document.count; i++) {
        char *key = key_of(place, m->document.descriptors[i].digest);
        const uint64_t *known = lru_peek(c->sizes, key, strlen(key));
        uint64_t *size = mem_alloc(sizeof(*size));
        // Manifests that disagree: one is wrong, and must not keep the blob from those who have the right one.
        bool disagree = known != NULL && *known != m->document.descriptors[i].size;
        *size = disagree ? UINT64_MAX : m->document.descriptors[i].size;
        lru_put(c->sizes, key, strlen(key), size, 0);
        free(key);
    }
}

static void remember_refusal(struct content *c, const struct content_place *place, const struct manifest *m,
                             const char *digest) {
    bool everywhere = m->verdict == DOCUMENT_URLS || m->verdict == DOCUMENT_SCHEMA1;
    char *key = refusal_key(place, everywhere, digest);
    struct refusal *r = mem_zalloc(1, sizeof(*r));
    r->verdict = m->verdict;
    r->err = m->err;
    lru_put(c->refused, key, strlen(key), r, 0);
    free(key);
}

static size_t manifest_cost(const struct manifest *m) {
    size_t descriptors = m->verdict == DOCUMENT_OK ? m->document.count : 0;
    return sizeof(*m) + m->len + descriptors * sizeof(struct descriptor);
}

void content_remember(struct content *c, const struct content_place *place, struct manifest *m) {
    char *key = verdict_key(place, m->digest);
    pthread_mutex_lock(&c->lock);
    lru_put(c->judged, key, strlen(key), manifest_ref(m), manifest_cost(m));
    if (m->verdict == DOCUMENT_OK)
        remember_sizes(c, place, m);
    else
        remember_refusal(c, place, m, m->digest);
    if (m->verdict != DOCUMENT_OK && m->sha256[0] != '\0')
        remember_refusal(c, place, m, m->sha256);
    pthread_mutex_unlock(&c->lock);
    free(key);
}

struct manifest *content_recall(struct content *c, const struct content_place *place, const char *digest) {
    char *key = verdict_key(place, digest);
    pthread_mutex_lock(&c->lock);
    struct manifest *m = lru_get(c->judged, key, strlen(key));
    if (m != NULL)
        manifest_ref(m);
    pthread_mutex_unlock(&c->lock);
    free(key);
    return m;
}

static bool refused_locked(struct content *c, char *key, struct refusal *out) {
    const struct refusal *r = lru_get(c->refused, key, strlen(key));
    if (r != NULL)
        *out = *r;
    free(key);
    return r != NULL;
}

bool content_refused(struct content *c, const struct content_place *place, const char *digest, struct refusal *out) {
    pthread_mutex_lock(&c->lock);
    bool refused = refused_locked(c, refusal_key(place, true, digest), out) ||
                   refused_locked(c, refusal_key(place, false, digest), out);
    pthread_mutex_unlock(&c->lock);
    return refused;
}

uint64_t content_size(struct content *c, const struct content_place *place, const char *digest) {
    char *key = key_of(place, digest);
    pthread_mutex_lock(&c->lock);
    const uint64_t *size = lru_get(c->sizes, key, strlen(key));
    uint64_t result = size != NULL ? *size : UINT64_MAX;
    pthread_mutex_unlock(&c->lock);
    free(key);
    return result;
}

struct fetch_spec content_spec(const struct content_place *place, enum fetch_resource resource, const char *reference) {
    return (struct fetch_spec){
        .owner = place->owner,
        .registry = place->registry,
        .name = place->name,
        .repository = place->repository,
        .resource = resource,
        .reference = reference,
        .monitor = place->monitor,
        .deadline_ms = place->deadline_ms,
        .connect_timeout_ms = place->connect_timeout_ms,
    };
}

// --- listings ---

struct listing {
    listing_fn answer;
    void *ctx;
};

static void listing_read(void *ctx, const struct whole *w) {
    struct listing *l = ctx;
    struct fetch_result result = *w->result;
    struct listing_answer a = {.fetch = &result};
    if (w->body.overflow) {
        result.outcome = FETCH_BROKEN;
        err_set(&result.err, "the listing of %s is over %d bytes", result.where, CONTENT_LISTING_MAX);
    } else if (result.outcome == FETCH_OK) {
        a.body = w->body.data != NULL ? w->body.data : "";
        a.len = w->body.len;
        a.content_type = w->head.content_type;
        a.link = w->head.link;
        a.filters_applied = w->head.filters_applied;
    }
    l->answer(l->ctx, &a);
    free(l);
}

void content_listing(struct content *c, const struct content_place *place, enum fetch_resource resource,
                     const char *reference, const char *query, listing_fn answer, void *ctx) {
    struct listing *l = mem_zalloc(1, sizeof(*l));
    l->answer = answer;
    l->ctx = ctx;
    struct fetch_spec spec = content_spec(place, resource, reference);
    spec.query = query;
    whole_start(c->fetcher, &spec, CONTENT_LISTING_MAX, listing_read, l);
}
