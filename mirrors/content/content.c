// SPDX-License-Identifier: Apache-2.0
//
// What is remembered of content in memory: judged manifests, refused digests, sizes. Bounded tables under one lock.

#include "mirrors/base/mem.h"
#include "mirrors/content/fill.h"
#include "mirrors/content/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void unref_manifest(void *value) {
    manifest_unref(value);
}

static void tables_new(struct content *c) {
    size_t bytes = c->store != NULL ? CONTENT_JUDGED_STORE_BYTES_MAX : CONTENT_JUDGED_BYTES_MAX;
    c->judged = lru_new(CONTENT_JUDGED_MAX, bytes, unref_manifest);
    c->refused = lru_new(CONTENT_REFUSED_MAX, 0, free);
    c->sizes = lru_new(CONTENT_SIZES_MAX, 0, free);
    c->negative = negative_new();
}

static void tables_free(struct content *c) {
    lru_free(c->judged);
    lru_free(c->refused);
    lru_free(c->sizes);
    lru_free(c->negative);
}

struct content *content_new(struct fetcher *fetcher, struct store *store) {
    struct content *c = mem_zalloc(1, sizeof(*c));
    c->fetcher = fetcher;
    c->store = store;
    c->links = links_new(store != NULL ? content_learned : NULL, c);
    c->fills = fills_new();
    c->jobs = jobs_new();
    pthread_mutex_init(&c->lock, NULL);
    tables_new(c);
    return c;
}

void content_free(struct content *c) {
    if (c == NULL)
        return;
    tables_free(c);
    jobs_free(c->jobs);
    fills_free(c->fills);
    links_free(c->links);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void content_settle(struct content *c) {
    fetcher_stop(c->fetcher);
    do {
        if (c->store != NULL)
            store_settle(c->store);
    } while (fetcher_drain(c->fetcher));
}

struct links *content_links(struct content *c) {
    return c->links;
}

void content_forget(struct content *c) {
    pthread_mutex_lock(&c->lock);
    tables_free(c);
    tables_new(c);
    pthread_mutex_unlock(&c->lock);
}

void content_stats(struct content *c, struct content_stats *out) {
    *out = (struct content_stats){
        .fills = fills_count(c->fills),
        .readers = atomic_load(&c->readers),
        .stale = atomic_load(&c->stale),
        .mismatches = atomic_load(&c->mismatches),
        .resumes = atomic_load(&c->resumes),
    };
    pthread_mutex_lock(&c->lock);
    out->manifests = lru_count(c->judged);
    out->manifest_bytes = lru_cost(c->judged);
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

void content_key_begin(struct content_key *key, const void *owner, const char *registry) {
    memcpy(key->bytes, &owner, sizeof(owner));
    key->len = sizeof(owner);
    content_key_add(key, registry);
}

void content_key_add(struct content_key *key, const char *part) {
    size_t len = strlen(part) + 1; // With its NUL, which no part has inside.
    assert(key->len + len <= sizeof(key->bytes));
    memcpy(key->bytes + key->len, part, len);
    key->len += len;
}

static struct content_key key_of(const void *owner, const struct content_place *place, const char *repository,
                                 const char *digest) {
    struct content_key key;
    content_key_begin(&key, owner, place->name);
    content_key_add(&key, repository);
    content_key_add(&key, digest);
    return key;
}

/// A verdict holds for the configuration that it was made under, and for no other: a judgement that ends after a
/// reload must not speak for the new one.
static struct content_key verdict_key(const struct content_place *place, const char *digest) {
    return key_of(place->owner.object, place, place->repository, digest);
}

/// What is refused for its `urls` or as schema 1 is so in the whole registry. Anything else may be good content in
/// another repository: `{}` is no manifest, and the empty configuration of many an artifact.
static struct content_key refusal_key(const struct content_place *place, bool everywhere, const char *digest) {
    return key_of(place->owner.object, place, everywhere ? "" : place->repository, digest);
}

static struct content_key size_key(const struct content_place *place, const char *digest) {
    return key_of(NULL, place, place->repository, digest);
}

static void remember_sizes(struct content *c, const struct content_place *place, const struct manifest *m) {
    for (size_t i = 0; i < m->document.count; i++) {
        struct content_key key = size_key(place, m->document.descriptors[i].digest);
        const uint64_t *known = lru_peek(c->sizes, key.bytes, key.len);
        uint64_t *size = mem_alloc(sizeof(*size));
        // Manifests that disagree: one is wrong, and must not keep the blob from those who have the right one.
        bool disagree = known != NULL && *known != m->document.descriptors[i].size;
        *size = disagree ? UINT64_MAX : m->document.descriptors[i].size;
        lru_put(c->sizes, key.bytes, key.len, size, 0);
    }
}

static void remember_refusal(struct content *c, const struct content_place *place, const struct manifest *m,
                             const char *digest) {
    bool everywhere = m->verdict == DOCUMENT_URLS || m->verdict == DOCUMENT_SCHEMA1;
    struct content_key key = refusal_key(place, everywhere, digest);
    struct refusal *r = mem_zalloc(1, sizeof(*r));
    r->verdict = m->verdict;
    r->err = m->err;
    lru_put(c->refused, key.bytes, key.len, r, 0);
}

static size_t manifest_cost(const struct manifest *m) {
    size_t descriptors = m->verdict == DOCUMENT_OK ? m->document.count : 0;
    return sizeof(*m) + m->len + descriptors * sizeof(struct descriptor);
}

void content_remember(struct content *c, const struct content_place *place, struct manifest *m) {
    struct content_key key = verdict_key(place, m->digest);
    pthread_mutex_lock(&c->lock);
    lru_put(c->judged, key.bytes, key.len, manifest_ref(m), manifest_cost(m));
    if (m->verdict == DOCUMENT_OK)
        remember_sizes(c, place, m);
    else
        remember_refusal(c, place, m, m->digest);
    if (m->verdict != DOCUMENT_OK && m->sha256[0] != '\0')
        remember_refusal(c, place, m, m->sha256);
    pthread_mutex_unlock(&c->lock);
}

struct manifest *content_recall(struct content *c, const struct content_place *place, const char *digest) {
    struct content_key key = verdict_key(place, digest);
    pthread_mutex_lock(&c->lock);
    struct manifest *m = lru_get(c->judged, key.bytes, key.len);
    if (m != NULL)
        manifest_ref(m);
    pthread_mutex_unlock(&c->lock);
    return m;
}

void content_unconfirm(struct content *c, const struct content_place *place, const char *digest) {
    struct manifest *m = content_recall(c, place, digest);
    if (m != NULL)
        atomic_store(&m->confirmed_ms, 0);
    manifest_unref(m);
}

static bool refused_locked(struct content *c, const struct content_key *key, struct refusal *out) {
    const struct refusal *r = lru_get(c->refused, key->bytes, key->len);
    if (r != NULL)
        *out = *r;
    return r != NULL;
}

bool content_refused(struct content *c, const struct content_place *place, const char *digest, struct refusal *out) {
    struct content_key everywhere = refusal_key(place, true, digest), here = refusal_key(place, false, digest);
    pthread_mutex_lock(&c->lock);
    bool refused = refused_locked(c, &everywhere, out) || refused_locked(c, &here, out);
    pthread_mutex_unlock(&c->lock);
    return refused;
}

uint64_t content_size(struct content *c, const struct content_place *place, const char *digest) {
    struct content_key key = size_key(place, digest);
    pthread_mutex_lock(&c->lock);
    const uint64_t *size = lru_get(c->sizes, key.bytes, key.len);
    uint64_t result = size != NULL ? *size : UINT64_MAX;
    pthread_mutex_unlock(&c->lock);
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

void content_place_copy(struct content_place *to, const struct content_place *from) {
    *to = *from;
    to->owner.ref(to->owner.object);
    to->name = mem_strdup(from->name);
    to->repository = mem_strdup(from->repository);
}

void content_place_deinit(struct content_place *place) {
    free((char *)place->name);
    free((char *)place->repository);
    place->owner.unref(place->owner.object);
}

bool content_revokes(const struct fetch_result *result) {
    return result->outcome == FETCH_NOT_FOUND || result->outcome == FETCH_REFUSED ||
           (result->outcome == FETCH_CREDENTIAL && result->credential_good);
}

bool content_may_be_stale(const struct fetch_result *result) {
    switch (result->outcome) {
    case FETCH_CREDENTIAL:
        return !result->credential_good; // Else it is the repository that is refused.
    case FETCH_LIMITED:
    case FETCH_UNREACHABLE:
    case FETCH_TIMEOUT:
    case FETCH_REDIRECT:
    case FETCH_ENCODED:
    case FETCH_MISMATCH:
    case FETCH_BROKEN:
        return true;
    case FETCH_STATUS:
        return result->status >= 500;
    case FETCH_OK:
    case FETCH_NOT_FOUND:
    case FETCH_RANGE:
    case FETCH_REFUSED:
    case FETCH_REDIRECT_HOST: // These three are this site's own rules.
    case FETCH_REALM_HOST:
    case FETCH_ADDRESS:
    case FETCH_CANCELLED:
        return false;
    }
    return false;
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
