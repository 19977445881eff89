// SPDX-License-Identifier: Apache-2.0
//
// Notes: what is learned goes into memory at once and into the queue for the index, in one order for both.

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <stdlib.h>
#include <string.h>

static size_t room(const char *s) {
    return s == NULL ? 0 : strlen(s) + 1;
}

static const char *put(char **at, const char *s) {
    size_t len = room(s);
    if (len == 0)
        return "";
    char *copy = memcpy(*at, s, len);
    *at += len;
    return copy;
}

struct note *note_new(const struct index_note *n) {
    size_t size =
        room(n->registry) + room(n->repository) + room(n->tag) + room(n->digest) + room(n->media_type) + room(n->etag);
    struct note *note = mem_alloc(sizeof *note + size);
    *note = (struct note){.n = *n};
    char *at = note->text;
    note->n.registry = put(&at, n->registry);
    note->n.repository = put(&at, n->repository);
    note->n.tag = put(&at, n->tag);
    note->n.digest = put(&at, n->digest);
    note->n.media_type = put(&at, n->media_type);
    note->n.etag = put(&at, n->etag);
    return note;
}

// What the tables call under their lock.
struct putting {
    struct store *s;
    struct note *n;
};

static void put_note(void *ctx) {
    const struct putting *p = ctx;
    keeper_put(p->s, p->n);
}

void note_delivered(struct store *s, const char *registry, const char *digest, bool filed) {
    struct putting p = {s, note_new(&(struct index_note){NOTE_DELIVERED, .registry = registry, .digest = digest})};
    p.n->filed = filed;
    facts_delivered(s->facts, registry, digest, put_note, &p);
}

void note_confirmed(struct store *s, const char *registry, const char *repository, const char *digest,
                    const char *media_type, int64_t now) {
    struct putting p = {s, note_new(&(struct index_note){NOTE_CONFIRMED, .registry = registry, .repository = repository,
                                                         .digest = digest, .media_type = media_type, .time = now})};
    facts_confirmed(s->facts, registry, repository, digest, media_type, now, put_note, &p);
}

void store_note_delivered(struct store *s, const char *registry, const char *digest) {
    note_delivered(s, registry, digest, false);
}

void store_note_confirmed(struct store *s, const char *registry, const char *repository, const char *digest,
                          int64_t now) {
    note_confirmed(s, registry, repository, digest, NULL, now);
}

void store_note_gone(struct store *s, const char *registry, const char *repository, const char *digest) {
    struct putting p = {
        s, note_new(&(struct index_note){NOTE_GONE, .registry = registry, .repository = repository, .digest = digest})};
    facts_gone(s->facts, registry, repository, digest, put_note, &p);
}

void store_note_tag(struct store *s, const char *registry, const char *repository, const char *tag,
                    const struct store_tag *t) {
    struct putting p = {s, note_new(&(struct index_note){NOTE_TAG, .registry = registry, .repository = repository,
                                                         .tag = tag, .digest = t->digest, .media_type = t->media_type,
                                                         .etag = t->etag, .time = t->confirmed})};
    facts_tag(s->facts, registry, repository, tag, t, put_note, &p);
}

void store_note_tag_gone(struct store *s, const char *registry, const char *repository, const char *tag) {
    struct putting p = {
        s, note_new(&(struct index_note){NOTE_TAG_GONE, .registry = registry, .repository = repository, .tag = tag})};
    facts_tag(s->facts, registry, repository, tag, NULL, put_note, &p);
}

void store_note_edge(struct store *s, const char *registry, const char *repository, const struct store_edge *e) {
    keeper_put(s, note_new(&(struct index_note){NOTE_EDGE, .registry = registry, .repository = repository,
                                                .tag = e->parent, .digest = e->child, .flags = e->flags}));
}
