// SPDX-License-Identifier: Apache-2.0
//
// What memory knows, in bounded tables: the answer to most requests.
//
// A fact is the process's own (generation 0: it was noted here) or was read from an index; when an index is set aside
// as damaged, those that came from it count no longer. What an upstream said is gone stands in a table of its own
// besides, which other facts cannot push out, so that an older word in the index, not yet overwritten, is never
// believed.
//
// One short lock; never held during I/O (closing a file that still has its name is none). Any thread.

#include "mirrors/store/facts.h"
#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_OVERHEAD = 256 };

struct confirmed {
    int64_t time;        // 0: never.
    uint64_t generation; // 0: our own.
    bool media_known;
    char media_type[];
};

struct delivered {
    uint64_t generation;
    bool yes;
};

struct held {
    uint64_t generation;
    uint64_t size;
    int64_t since; // When it was written by us, else 0.
    bool absent;
};

static void piece_free_value(void *value) {
    piece_unref(value);
}

struct facts *facts_new(void) {
    struct facts *f = mem_zalloc(1, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    f->generation = 1;
    f->confirmed = lru_new(STORE_KNOWN_MAX, 0, free);
    f->delivered = lru_new(STORE_KNOWN_MAX, 0, free);
    f->tags = lru_new(STORE_KNOWN_MAX, 0, free);
    f->gone = lru_new(STORE_KNOWN_MAX, 0, NULL);
    f->held = lru_new(STORE_KNOWN_MAX, 0, free);
    f->used = lru_new(STORE_KNOWN_MAX, 0, free);
    f->open = lru_new(STORE_OPEN_MAX, 0, piece_free_value);
    f->small = lru_new(STORE_KNOWN_MAX, STORE_SMALL_BYTES_MAX, piece_free_value);
    return f;
}

void facts_free(struct facts *f) {
    lru_free(f->confirmed);
    lru_free(f->delivered);
    lru_free(f->tags);
    lru_free(f->gone);
    lru_free(f->held);
    lru_free(f->used);
    lru_free(f->open);
    lru_free(f->small);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void facts_generation(struct facts *f, uint64_t generation) {
    pthread_mutex_lock(&f->lock);
    f->generation = generation;
    pthread_mutex_unlock(&f->lock);
}

// --- keys ---

bool key_make(struct key *k, const char *a, const char *b, const char *c) {
    const char *parts[] = {a, b, c};
    k->len = 0;
    for (size_t i = 0; i < 3 && parts[i] != NULL; i++) {
        size_t len = strlen(parts[i]) + 1;
        if (len > sizeof k->bytes - k->len)
            return false;
        memcpy(k->bytes + k->len, parts[i], len);
        k->len += len;
    }
    return true;
}

bool fact_counts(const struct facts *f, uint64_t generation) {
    return generation == 0 || generation == f->generation;
}

// Each of these needs the lock; NULL: memory does not know.

static struct confirmed *get_confirmed(struct facts *f, const struct key *k) {
    struct confirmed *c = lru_get(f->confirmed, k->bytes, k->len);
    return c != NULL && fact_counts(f, c->generation) ? c : NULL;
}

static struct delivered *get_delivered(struct facts *f, const struct key *k) {
    struct delivered *d = lru_get(f->delivered, k->bytes, k->len);
    return d != NULL && fact_counts(f, d->generation) ? d : NULL;
}

static struct held *get_held(struct facts *f, const char *digest, size_t len) {
    struct held *h = lru_get(f->held, digest, len);
    return h != NULL && fact_counts(f, h->generation) ? h : NULL;
}

static struct piece *get_piece(struct facts *f, const char *digest, size_t len) {
    struct piece *p = lru_get(f->small, digest, len);
    return p != NULL ? p : lru_get(f->open, digest, len);
}

static void put_confirmed(struct facts *f, const struct key *k, int64_t time, uint64_t generation,
                          const char *media_type) {
    size_t len = media_type == NULL ? 0 : strnlen(media_type, MEDIA_TYPE_MAX);
    struct confirmed *c = mem_zalloc(1, sizeof *c + len + 1);
    *c = (struct confirmed){.time = time, .generation = generation, .media_known = media_type != NULL};
    if (len > 0)
        memcpy(c->media_type, media_type, len);
    lru_put(f->confirmed, k->bytes, k->len, c, 0);
}

static void put_delivered(struct facts *f, const struct key *k, bool yes, uint64_t generation) {
    struct delivered *d = mem_alloc(sizeof *d);
    *d = (struct delivered){.generation = generation, .yes = yes};
    lru_put(f->delivered, k->bytes, k->len, d, 0);
}

static void put_held(struct facts *f, const char *digest, const struct held *value) {
    struct held *h = mem_alloc(sizeof *h);
    *h = *value;
    lru_put(f->held, digest, strlen(digest), h, 0);
}

static void put_piece(struct facts *f, struct piece *p) {
    const char *digest = piece_digest(p);
    if (piece_bytes(p) != NULL)
        lru_put(f->small, digest, strlen(digest), piece_ref(p), (size_t)piece_size(p) + SMALL_OVERHEAD);
    else
        lru_put(f->open, digest, strlen(digest), piece_ref(p), 0);
}

// --- recall ---

bool facts_recall(struct facts *f, const char *registry, const char *repository, const char *digest,
                  struct store_facts *out) {
    struct key k, d;
    size_t len = strlen(digest);
    if (!key_make(&k, registry, repository, digest) || !key_make(&d, registry, digest, NULL))
        return false;
    pthread_mutex_lock(&f->lock);
    struct piece *p = get_piece(f, digest, len);
    const struct held *h = p != NULL ? NULL : get_held(f, digest, len);
    const struct confirmed *c = p == NULL && (h == NULL || !h->absent) ? NULL : get_confirmed(f, &k);
    const struct delivered *by = c == NULL || !c->media_known ? NULL : get_delivered(f, &d);
    if (by != NULL) {
        out->known = true;
        out->piece = p == NULL ? NULL : piece_ref(p);
        out->confirmed = c->time;
        out->delivered = by->yes;
        strcpy(out->media_type, c->media_type);
    }
    pthread_mutex_unlock(&f->lock);
    return by != NULL;
}

static void view_content(struct facts *f, const char *digest, struct view *out) {
    size_t len = strlen(digest);
    struct piece *p = get_piece(f, digest, len);
    const struct held *h = p != NULL ? NULL : get_held(f, digest, len);
    out->content_known = p != NULL || h != NULL;
    out->absent = h != NULL && h->absent;
    out->size = p != NULL ? piece_size(p) : h != NULL ? h->size : 0;
    out->piece = p == NULL ? NULL : piece_ref(p);
}

static void view_confirmed(struct facts *f, const struct key *k, struct view *out) {
    const struct confirmed *c = get_confirmed(f, k);
    if (c == NULL && lru_peek(f->gone, k->bytes, k->len) != NULL) {
        out->confirmed_known = out->media_known = true;
        return;
    }
    out->confirmed_known = c != NULL;
    out->media_known = c != NULL && c->media_known;
    out->confirmed = c == NULL ? 0 : c->time;
    if (out->media_known)
        strcpy(out->media_type, c->media_type);
}

static void view_delivered(struct facts *f, const struct key *k, struct view *out) {
    const struct delivered *d = get_delivered(f, k);
    out->delivered_known = d != NULL;
    out->delivered = d != NULL && d->yes;
}

static void view_all(struct facts *f, const struct key *k, const struct key *d, const char *digest, struct view *out) {
    *out = (struct view){0};
    view_content(f, digest, out);
    view_confirmed(f, k, out);
    view_delivered(f, d, out);
}

void facts_view(struct facts *f, const char *registry, const char *repository, const char *digest, struct view *out) {
    struct key k, d;
    *out = (struct view){0};
    if (!key_make(&k, registry, repository, digest) || !key_make(&d, registry, digest, NULL))
        return;
    pthread_mutex_lock(&f->lock);
    view_all(f, &k, &d, digest, out);
    pthread_mutex_unlock(&f->lock);
}

// --- learning from the index ---

static void learn_confirmed(struct facts *f, const struct key *k, const struct found *found, const struct view *now) {
    const struct view *v = &found->view;
    if (!found->confirmed || now->media_known)
        return;
    // A time of our own without a media type: the index may know that, and no more.
    bool own = now->confirmed_known;
    put_confirmed(f, k, own ? now->confirmed : v->confirmed, own ? 0 : found->generation, v->media_type);
}

static void learn_content(struct facts *f, const char *digest, const struct found *found, const struct view *now) {
    if (!found->content || now->content_known)
        return;
    put_held(f, digest,
             &(struct held){.generation = found->generation, .size = found->view.size, .absent = found->view.absent});
}

void facts_learn(struct facts *f, const char *registry, const char *repository, const char *digest,
                 const struct found *found, struct view *out) {
    struct key k, d;
    *out = (struct view){0};
    if (!key_make(&k, registry, repository, digest) || !key_make(&d, registry, digest, NULL))
        return;
    pthread_mutex_lock(&f->lock);
    // What was read from an index that was set aside meanwhile is nothing.
    if (found->generation == f->generation) {
        struct view now;
        view_all(f, &k, &d, digest, &now);
        learn_confirmed(f, &k, found, &now);
        learn_content(f, digest, found, &now);
        if (found->delivered && !now.delivered_known)
            put_delivered(f, &d, found->view.delivered, found->generation);
        piece_unref(now.piece);
    }
    view_all(f, &k, &d, digest, out);
    pthread_mutex_unlock(&f->lock);
}

// --- notes ---

void facts_confirmed(struct facts *f, const char *registry, const char *repository, const char *digest,
                     const char *media_type, int64_t now, facts_put_fn put, void *ctx) {
    struct key k;
    pthread_mutex_lock(&f->lock);
    if (key_make(&k, registry, repository, digest)) {
        lru_remove(f->gone, k.bytes, k.len);
        struct confirmed *c = get_confirmed(f, &k);
        bool keep = c != NULL && (media_type == NULL || *media_type == '\0') && (c->media_known || media_type == NULL);
        if (keep) {
            c->time = now;
            c->generation = 0;
        } else {
            put_confirmed(f, &k, now, 0, media_type);
        }
    }
    put(ctx);
    pthread_mutex_unlock(&f->lock);
}

void facts_gone(struct facts *f, const char *registry, const char *repository, const char *digest, facts_put_fn put,
                void *ctx) {
    struct key k;
    pthread_mutex_lock(&f->lock);
    if (key_make(&k, registry, repository, digest)) {
        put_confirmed(f, &k, 0, 0, "");
        lru_put(f->gone, k.bytes, k.len, f, 0);
    }
    put(ctx);
    pthread_mutex_unlock(&f->lock);
}

void facts_delivered(struct facts *f, const char *registry, const char *digest, facts_put_fn put, void *ctx) {
    struct key k;
    pthread_mutex_lock(&f->lock);
    if (key_make(&k, registry, digest, NULL))
        put_delivered(f, &k, true, 0);
    put(ctx);
    pthread_mutex_unlock(&f->lock);
}

// --- content ---

void facts_held(struct facts *f, const char *digest, uint64_t size, struct piece *p) {
    pthread_mutex_lock(&f->lock);
    lru_remove(f->open, digest, strlen(digest));
    lru_remove(f->small, digest, strlen(digest));
    put_held(f, digest, &(struct held){.size = size, .since = store_now()});
    if (p != NULL)
        put_piece(f, p);
    pthread_mutex_unlock(&f->lock);
}

void facts_keep(struct facts *f, const char *digest, struct piece *p) {
    pthread_mutex_lock(&f->lock);
    const struct held *h = get_held(f, digest, strlen(digest));
    if (h == NULL || !h->absent)
        put_piece(f, p);
    pthread_mutex_unlock(&f->lock);
}

bool facts_absent(struct facts *f, const char *digest, bool unless_recent) {
    size_t len = strlen(digest);
    pthread_mutex_lock(&f->lock);
    const struct held *h = lru_peek(f->held, digest, len);
    bool stays = unless_recent && h != NULL && !h->absent && store_now() - h->since < STORE_RECENT_S;
    if (!stays) {
        struct piece *p = lru_peek(f->open, digest, len);
        if (p != NULL)
            piece_nameless(p);
        lru_remove(f->open, digest, len);
        lru_remove(f->small, digest, len);
        put_held(f, digest, &(struct held){.absent = true});
    }
    pthread_mutex_unlock(&f->lock);
    return !stays;
}

bool facts_is_absent(struct facts *f, const char *digest) {
    pthread_mutex_lock(&f->lock);
    const struct held *h = get_held(f, digest, strlen(digest));
    bool absent = h != NULL && h->absent;
    pthread_mutex_unlock(&f->lock);
    return absent;
}

bool facts_adopt(struct facts *f, const char *digest, uint64_t size) {
    pthread_mutex_lock(&f->lock);
    const struct held *h = get_held(f, digest, strlen(digest));
    bool going = h != NULL && h->absent && h->generation == 0;
    if (h == NULL || (h->absent && !going))
        put_held(f, digest, &(struct held){.size = size});
    pthread_mutex_unlock(&f->lock);
    return !going;
}

struct oldest {
    const void *key;
    size_t len;
};

static bool note_oldest(void *ctx, const void *key, size_t key_len, void *value) {
    *(struct oldest *)ctx = (struct oldest){key, key_len};
    return true;
}

void facts_close_some(struct facts *f) {
    pthread_mutex_lock(&f->lock);
    for (size_t left = lru_count(f->open) / 8 + 1; left > 0 && lru_count(f->open) > 0; left--) {
        struct oldest o = {0};
        lru_each(f->open, note_oldest, &o);
        piece_unref(lru_take(f->open, o.key, o.len));
    }
    pthread_mutex_unlock(&f->lock);
}

// --- uses ---

void facts_used(struct facts *f, const char *digest, int64_t now) {
    size_t len = strlen(digest);
    pthread_mutex_lock(&f->lock);
    int64_t *time = lru_get(f->used, digest, len);
    if (time == NULL) {
        time = mem_alloc(sizeof *time);
        lru_put(f->used, digest, len, time, 0);
    }
    *time = now;
    pthread_mutex_unlock(&f->lock);
}

struct hand_out {
    void (*use)(void *ctx, const char *digest, int64_t time);
    void *ctx;
};

static bool hand_out_one(void *ctx, const void *key, size_t key_len, void *value) {
    const struct hand_out *h = ctx;
    char digest[DIGEST_TEXT_MAX + 1];
    if (key_len > DIGEST_TEXT_MAX)
        return true;
    memcpy(digest, key, key_len);
    digest[key_len] = '\0';
    h->use(h->ctx, digest, *(const int64_t *)value);
    return true;
}

void facts_take_uses(struct facts *f, void (*use)(void *ctx, const char *digest, int64_t time), void *ctx) {
    struct lru *fresh = lru_new(STORE_KNOWN_MAX, 0, free);
    pthread_mutex_lock(&f->lock);
    struct lru *taken = f->used;
    f->used = fresh;
    pthread_mutex_unlock(&f->lock);
    struct hand_out h = {use, ctx};
    lru_each(taken, hand_out_one, &h);
    lru_free(taken);
}
