// SPDX-License-Identifier: Apache-2.0
//
// Recall and look: what memory knows at once, and what the index and the disk add to it.
//
// store_recall() takes one short lock. store_look() reads the index, lets memory have the last word (it is newer), and
// opens the file; from then on memory answers. An index that cannot be read is nothing known, never an error.

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- memory ---

void store_recall(struct store *s, const char *registry, const char *repository, const char *digest,
                  struct store_facts *out) {
    *out = (struct store_facts){0};
    facts_recall(s->facts, registry, repository, digest, out);
}

int store_recall_tag(struct store *s, const char *registry, const char *repository, const char *tag,
                     struct store_tag *out) {
    return facts_recall_tag(s->facts, registry, repository, tag, out);
}

void store_used(struct store *s, struct piece *p) {
    int64_t now = store_now();
    if (piece_use(p, now))
        facts_used(s->facts, piece_digest(p), now);
}

// --- the index ---

static bool is_answer(enum index_result r) {
    return r == INDEX_OK || r == INDEX_NOTHING;
}

static enum index_result read_content(struct index *i, const char *digest, struct found *f) {
    struct index_content c;
    enum index_result r = index_content(i, digest, &c);
    f->content = is_answer(r);
    f->view.absent = r != INDEX_OK;
    f->view.size = r == INDEX_OK ? c.size : 0;
    return r;
}

static enum index_result read_confirmed(struct index *i, const char *registry, const char *repository,
                                        const char *digest, struct found *f) {
    enum index_result r = index_confirmed(i, registry, repository, digest, &f->view.confirmed, f->view.media_type);
    f->confirmed = is_answer(r);
    if (r != INDEX_OK) {
        f->view.confirmed = 0;
        f->view.media_type[0] = '\0';
    }
    return r;
}

static enum index_result read_delivered(struct index *i, const char *registry, const char *digest, struct found *f) {
    enum index_result r = index_delivered(i, registry, digest, &f->view.delivered);
    f->delivered = is_answer(r);
    f->view.delivered = r == INDEX_OK && f->view.delivered;
    return r;
}

static void read_index(struct store *s, const char *registry, const char *repository, const char *digest,
                       const struct view *v, struct found *f) {
    struct index *i = readers_take(s, &f->generation);
    if (i == NULL)
        return;
    enum index_result r = INDEX_OK;
    if (!v->content_known)
        r = read_content(i, digest, f);
    if (is_answer(r) && !v->media_known)
        r = read_confirmed(i, registry, repository, digest, f);
    if (is_answer(r) && !v->delivered_known)
        r = read_delivered(i, registry, digest, f);
    readers_give(s, i, f->generation, r);
}

static bool is_whole(const struct view *v) {
    return v->content_known && v->media_known && v->delivered_known;
}

// A file that the index does not know, because it was not written or is lost, is taken back at once.
static void adopt_now(struct store *s, const char *digest, struct found *f) {
    uint64_t size;
    if (!atomic_load(&s->sweeping) || !f->content || !f->view.absent || !adopt(s, digest, &size))
        return;
    f->view.absent = false;
    f->view.size = size;
}

static void open_piece(struct store *s, const char *digest, struct view *v) {
    bool gone;
    if (!v->content_known || v->absent || v->piece != NULL)
        return;
    v->piece = files_open(s, digest, v->size, &gone);
    if (v->piece != NULL)
        facts_keep(s->facts, digest, v->piece);
}

void store_look(struct store *s, const char *registry, const char *repository, const char *digest,
                struct store_facts *out) {
    struct view v;
    *out = (struct store_facts){.known = true};
    facts_view(s->facts, registry, repository, digest, &v);
    if (!is_whole(&v)) {
        struct found found = {0};
        read_index(s, registry, repository, digest, &v, &found);
        adopt_now(s, digest, &found);
        piece_unref(v.piece);
        facts_learn(s->facts, registry, repository, digest, &found, &v);
    }
    open_piece(s, digest, &v);
    out->piece = v.piece;
    out->confirmed = v.confirmed;
    out->delivered = v.delivered;
    strcpy(out->media_type, v.media_type);
}

bool store_look_tag(struct store *s, const char *registry, const char *repository, const char *tag,
                    struct store_tag *out) {
    int known = store_recall_tag(s, registry, repository, tag, out);
    if (known >= 0)
        return known == 1;
    uint64_t generation;
    struct index *i = readers_take(s, &generation);
    if (i == NULL)
        return false;
    struct store_tag t;
    enum index_result r = index_tag(i, registry, repository, tag, &t);
    readers_give(s, i, generation, r);
    return is_answer(r) &&
           facts_learn_tag(s->facts, registry, repository, tag, r == INDEX_OK ? &t : NULL, generation, out);
}

void store_look_edges(struct store *s, const char *registry, const char *repository,
                      void (*edge)(void *ctx, const struct store_edge *e), void *ctx) {
    keeper_flush(s); // Memory has no edges: what was noted is to be seen.
    uint64_t generation;
    struct index *i = readers_take(s, &generation);
    if (i != NULL)
        readers_give(s, i, generation, index_edges(i, registry, repository, edge, ctx));
}

bool store_list(struct store *s, bool digests, bool (*item)(void *ctx, const struct store_item *i), void *ctx) {
    keeper_flush(s);
    uint64_t generation;
    struct index *i = readers_take(s, &generation);
    if (i == NULL)
        return false;
    enum index_result r = index_list(i, digests, item, ctx);
    readers_give(s, i, generation, r);
    return is_answer(r);
}

void store_count(struct store *s, struct store_stats *out) {
    struct index_sums sums;
    uint64_t generation;
    keeper_flush(s);
    store_stats(s, out);
    struct index *i = readers_take(s, &generation);
    if (i == NULL)
        return;
    enum index_result r = index_sum(i, &sums);
    readers_give(s, i, generation, r);
    if (r != INDEX_OK)
        return;
    out->pieces = sums.pieces;
    out->tags = sums.tags;
    out->repositories = sums.repositories;
}

// --- doubt ---

struct doubt {
    struct store *store;
    struct piece *piece; ///< A reference.
};

static void look_again(void *ctx) {
    struct doubt *d = ctx;
    uint64_t size = piece_size(d->piece);
    char last;
    bool readable = size == 0 || pread(piece_fd(d->piece), &last, 1, (off_t)size - 1) == 1;
    files_lost(d->store, piece_digest(d->piece), size, !readable, "its file ended early, or could not be read");
    piece_unref(d->piece);
    free(d);
}

void store_doubt(struct store *s, struct piece *p) {
    struct doubt *d = mem_alloc(sizeof *d);
    *d = (struct doubt){s, piece_ref(p)};
    if (store_work(s, look_again, d))
        return;
    piece_unref(p);
    free(d);
}
