// SPDX-License-Identifier: Apache-2.0
//
// warm: fetch images ahead of need. By the same way as a client's pull, rules included, so that the store has them.

#include "gateway/upkeep/inside.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WARM_DEPTH_MAX = 4,
    WARM_MANIFESTS_MAX = 1000,
    WARM_BLOBS_MAX = 10000,
    WARM_HELD_MS = 30000, ///< How long the store may take to give a name to what came...
    WARM_LOOK_MS = 10     ///< ... and how often it is asked.
};

/// One image on its way.
struct warming {
    struct task *task;
    const struct wanted *wanted;
    size_t manifests;
    struct wait_blob *blobs;
    char (*digests)[DIGEST_TEXT_MAX + 1]; ///< Of the blobs.
    size_t blob_count;
    uint64_t all;
    struct err err;
};

static bool is_known(const struct warming *w, const char *digest) {
    for (size_t i = 0; i < w->blob_count; i++)
        if (strcmp(w->digests[i], digest) == 0)
            return true;
    return false;
}

static bool add_blob(struct warming *w, const struct descriptor *d) {
    if (is_known(w, d->digest))
        return true;
    if (!task_permits(w->task, w->wanted, NULL, d->digest, &w->err))
        return false;
    if (w->blob_count == WARM_BLOBS_MAX)
        return err_set(&w->err, "it names more than %d blobs", (int)WARM_BLOBS_MAX);
    w->digests = mem_resize(w->digests, w->blob_count + 1, sizeof(*w->digests));
    w->blobs = mem_resize(w->blobs, w->blob_count + 1, sizeof(*w->blobs));
    memcpy(w->digests[w->blob_count], d->digest, sizeof(d->digest));
    w->blobs[w->blob_count++] = (struct wait_blob){.size = d->size};
    w->all += d->size;
    return true;
}

static bool walk(struct warming *w, const char *tag, const char *digest, int depth);

/// The entries of an index that are for the wanted platforms.
static bool walk_index(struct warming *w, const struct manifest *m, int depth) {
    struct json *index = json_parse(m->body, m->len, JSON_STRICT, &w->err);
    size_t before = w->manifests;
    bool ok = index != NULL;
    for (size_t i = 0; ok && i < m->document.count; i++) {
        const struct descriptor *d = &m->document.descriptors[i];
        if (platform_wanted(w->task, index, d->digest))
            ok = d->role == ROLE_MANIFEST ? walk(w, NULL, d->digest, depth + 1) : add_blob(w, d);
    }
    if (ok && w->manifests == before && m->document.count > 0)
        ok = err_set(&w->err, "it has nothing for these platforms");
    json_free(index);
    return ok;
}

static bool walk(struct warming *w, const char *tag, const char *digest, int depth) {
    if (depth > WARM_DEPTH_MAX || ++w->manifests > WARM_MANIFESTS_MAX)
        return err_set(&w->err, "it names more manifests, or deeper ones, than an image has");
    if (digest != NULL && !task_permits(w->task, w->wanted, NULL, digest, &w->err))
        return false;
    struct content_place place = w->wanted->place;
    struct manifest *m = wait_manifest(w->task, &place, tag, digest, &w->err);
    if (m == NULL)
        return false;
    bool ok = tag == NULL || task_permits(w->task, w->wanted, tag, m->digest, &w->err);
    if (ok && m->document.kind == DOCUMENT_INDEX)
        ok = walk_index(w, m, depth);
    else
        for (size_t i = 0; ok && i < m->document.count; i++)
            ok = add_blob(w, &m->document.descriptors[i]);
    manifest_unref(m);
    return ok;
}

static bool on_progress(void *ctx, uint64_t done) {
    struct warming *w = ctx;
    return task_progress(w->task, w->wanted->text, done, w->all);
}

static bool fetch_blobs(struct warming *w, uint64_t *fetched, uint64_t *held) {
    bool ok = true;
    for (size_t i = 0; i < w->blob_count; i++)
        w->blobs[i].digest = w->digests[i];
    wait_blobs(w->task, &w->wanted->place, w->blobs, w->blob_count, on_progress, w);
    for (size_t i = 0; i < w->blob_count; i++) {
        const struct wait_blob *b = &w->blobs[i];
        *(b->hit ? held : fetched) += b->ok ? b->size : 0;
        if (!b->ok && ok)
            ok = err_set(&w->err, "%s", b->err.text[0] != '\0' ? b->err.text : "it was interrupted");
    }
    return ok;
}

static bool is_held(struct warming *w, const char *digest) {
    struct store_facts facts;
    const struct content_place *p = &w->wanted->place;
    store_look(w->task->upkeep->store, p->name, p->repository, digest, &facts);
    bool held = facts.piece != NULL;
    piece_unref(facts.piece);
    return held;
}

/// What came is kept a moment after its last byte was read; or not, where the disk is full or fails.
static bool wait_until_held(struct warming *w) {
    const struct timespec pause = {.tv_nsec = WARM_LOOK_MS * 1000000L};
    int64_t until = clock_ms() + WARM_HELD_MS;
    for (size_t i = 0; i < w->blob_count; i++) {
        while (!is_held(w, w->digests[i])) {
            if (w->task->deaf || clock_ms() > until)
                return err_set(&w->err, "it was fetched, but the store could not keep %s (see the log)", w->digests[i]);
            nanosleep(&pause, NULL);
        }
    }
    return true;
}

static void report(struct task *t, const char *image, const struct err *err, uint64_t fetched, uint64_t held) {
    struct buf b;
    buf_init(&b, UPKEEP_LINE_MAX);
    line_begin(&b, "image");
    line_string(&b, "image", image);
    line_boolean(&b, "ok", err == NULL);
    line_string(&b, "message", err != NULL ? err->text : NULL);
    line_number(&b, "fetched", fetched);
    line_number(&b, "held", held);
    line_end(&b);
    task_say(t, &b);
    buf_deinit(&b);
}

static bool warm_one(struct task *t, const char *text) {
    struct wanted wanted;
    struct warming w = {.task = t, .wanted = &wanted};
    uint64_t fetched = 0, held = 0;
    if (!task_want(t, text, true, &wanted, &w.err)) {
        report(t, text, &w.err, 0, 0);
        return false;
    }
    bool by_digest = wanted.name.digest[0] != '\0';
    bool ok = walk(&w, by_digest ? NULL : wanted.name.tag, by_digest ? wanted.name.digest : NULL, 0) &&
              fetch_blobs(&w, &fetched, &held) && wait_until_held(&w);
    report(t, wanted.text, ok ? NULL : &w.err, fetched, held);
    free(w.blobs);
    free(w.digests);
    return ok;
}

void task_warm(struct task *t) {
    size_t done = 0, failed = 0;
    const char *word;
    for (; !t->deaf && (word = task_word(t, done)) != NULL; done++)
        failed += !warm_one(t, word);
    t->failed = failed > 0;
    err_set(&t->end, "%zu of %zu images are held", done - failed, done);
}
