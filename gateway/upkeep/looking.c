// SPDX-License-Identifier: Apache-2.0
//
// ls, stat, verify and rm.

#include "gateway/policy/policy.h"
#include "gateway/upkeep/inside.h"

#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// --- patterns ---

struct patterns {
    struct pattern *all;
    size_t count;
};

static void patterns_free(struct patterns *p) {
    for (size_t i = 0; i < p->count; i++)
        pattern_deinit(&p->all[i]);
    free(p->all);
}

static bool patterns_read(struct task *t, struct patterns *out) {
    const char *word;
    *out = (struct patterns){0};
    for (size_t n = 0; (word = task_word(t, n)) != NULL; n++) {
        out->all = mem_resize(out->all, n + 1, sizeof(*out->all));
        if (!pattern_parse(word, &out->all[n], &t->end)) {
            err_prefix(&t->end, "%s: ", word);
            t->failed = t->unusable = true;
            patterns_free(out);
            return false;
        }
        out->count = n + 1;
    }
    return true;
}

static bool pattern_covers(const struct pattern *p, const struct store_item *i) {
    return pattern_match_registry(p, i->registry) && pattern_match_repository(p->repository, i->repository) &&
           (p->tag == NULL || (i->tag[0] != '\0' && pattern_match_tag(p->tag, i->tag))) &&
           (p->digest == NULL || strcmp(p->digest, i->digest) == 0);
}

static bool covered(const struct patterns *p, const struct store_item *i) {
    for (size_t n = 0; n < p->count; n++)
        if (pattern_covers(&p->all[n], i))
            return true;
    return p->count == 0;
}

// --- ls ---

struct listing {
    struct task *task;
    struct patterns patterns;
    struct buf line;
    uint64_t count;
};

static bool list_one(void *ctx, const struct store_item *i) {
    struct listing *l = ctx;
    if (!covered(&l->patterns, i))
        return true;
    l->count++;
    line_begin(&l->line, "item");
    line_string(&l->line, "registry", i->registry);
    line_string(&l->line, "repository", i->repository);
    line_string(&l->line, "tag", i->tag);
    line_string(&l->line, "digest", i->digest);
    line_string(&l->line, "media_type", i->media_type);
    if (i->size != UINT64_MAX) {
        line_number(&l->line, "size", i->size);
        line_number(&l->line, "disk", i->disk);
        line_number(&l->line, "used", (uint64_t)i->used);
        line_number(&l->line, "added", (uint64_t)i->added);
    }
    line_boolean(&l->line, "held", i->size != UINT64_MAX);
    line_end(&l->line);
    return task_say(l->task, &l->line);
}

static bool is_true(const struct json *request, const char *key) {
    const struct json *value = json_get(request, key);
    return value != NULL && value->type == JSON_BOOL && value->boolean;
}

void task_ls(struct task *t) {
    struct listing l = {.task = t};
    bool digests = is_true(t->request, "digests");
    if (!patterns_read(t, &l.patterns))
        return;
    buf_init(&l.line, UPKEEP_LINE_MAX);
    t->failed = !store_list(t->upkeep->store, digests, list_one, &l);
    if (t->failed)
        err_set(&t->end, "the index cannot be read to its end (see the log)");
    else
        err_set(&t->end, "%" PRIu64 " %s%s", l.count, digests ? "digest" : "tag", l.count == 1 ? "" : "s");
    buf_deinit(&l.line);
    patterns_free(&l.patterns);
}

// --- stat ---

void task_stat(struct task *t) {
    struct store_stats s;
    struct buf b;
    store_count(t->upkeep->store, &s);
    buf_init(&b, UPKEEP_LINE_MAX);
    line_begin(&b, "stat");
    line_string(&b, "directory", store_directory(t->upkeep->store));
    line_number(&b, "bytes", s.bytes);
    line_number(&b, "max_size", s.max_size);
    line_number(&b, "file_system_free", s.file_system_free);
    line_number(&b, "pieces", s.pieces);
    line_number(&b, "tags", s.tags);
    line_number(&b, "repositories", s.repositories);
    line_number(&b, "evicted", s.evicted);
    line_number(&b, "evicted_bytes", s.evicted_bytes);
    line_number(&b, "write_errors", s.write_errors);
    line_number(&b, "notes_dropped", s.notes_dropped);
    line_boolean(&b, "writable", s.writable);
    line_end(&b);
    task_say(t, &b);
    buf_deinit(&b);
}

// --- verify ---

static bool verify_progress(void *ctx, uint64_t done, uint64_t all) {
    return task_progress(ctx, "verified", done, all);
}

static void verify_bad(void *ctx, const char *digest, const char *why) {
    struct task *t = ctx;
    struct buf b;
    buf_init(&b, UPKEEP_LINE_MAX);
    line_begin(&b, "bad");
    line_string(&b, "digest", digest);
    line_string(&b, "why", why);
    line_end(&b);
    task_say(t, &b);
    buf_deinit(&b);
}

void task_verify(struct task *t) {
    const struct json *rate = json_get(t->request, "rate");
    uint64_t per_second = rate != NULL && rate->is_integer && rate->integer > 0 ? (uint64_t)rate->integer : 0;
    uint64_t bad = store_verify(t->upkeep->store, per_second, verify_progress, verify_bad, t);
    t->failed = bad > 0;
    if (bad > 0)
        err_set(&t->end, "%" PRIu64 " were not what their digest says, and are removed", bad);
    else
        err_set(&t->end, "all that is held is what its digest says");
}

// --- rm ---

/// What is to go, collected first: the list is not changed while it is walked.
struct doomed {
    char *registry, *repository, *tag; ///< `tag` NULL: the repository whole.
};

struct removal {
    struct task *task;
    struct patterns patterns;
    struct doomed *all;
    size_t count;
};

static int compare_doomed(const void *x, const void *y) {
    const struct doomed *a = x, *b = y;
    int order = strcmp(a->registry, b->registry);
    if (order == 0)
        order = strcmp(a->repository, b->repository);
    if (order == 0 && (a->tag == NULL || b->tag == NULL))
        return (b->tag == NULL) - (a->tag == NULL); // The repository whole stands before its tags.
    return order != 0 ? order : strcmp(a->tag, b->tag);
}

/// Does it go with the one before it?
static bool covered_by(const struct doomed *d, const struct doomed *before) {
    return strcmp(before->registry, d->registry) == 0 && strcmp(before->repository, d->repository) == 0 &&
           (before->tag == NULL || (d->tag != NULL && strcmp(before->tag, d->tag) == 0));
}

static void doom(struct removal *r, const struct store_item *i, bool whole) {
    struct doomed d = {(char *)i->registry, (char *)i->repository, whole ? NULL : (char *)i->tag};
    if (r->count > 0 && covered_by(&d, &r->all[r->count - 1]))
        return;
    r->all = mem_resize(r->all, r->count + 1, sizeof(*r->all));
    r->all[r->count++] =
        (struct doomed){mem_strdup(i->registry), mem_strdup(i->repository), whole ? NULL : mem_strdup(i->tag)};
}

static bool collect(void *ctx, const struct store_item *i) {
    struct removal *r = ctx;
    for (size_t n = 0; n < r->patterns.count && i->repository[0] != '\0'; n++)
        if (pattern_covers(&r->patterns.all[n], i))
            doom(r, i, r->patterns.all[n].tag == NULL);
    return true;
}

/// `freed` NULL: it was not removed, so nobody knows.
static bool report_removed(struct task *t, const struct doomed *d, const uint64_t *freed) {
    struct buf b;
    buf_init(&b, UPKEEP_LINE_MAX);
    line_begin(&b, "removed");
    line_string(&b, "registry", d->registry);
    line_string(&b, "repository", d->repository);
    line_string(&b, "tag", d->tag);
    if (freed != NULL)
        line_number(&b, "freed", *freed);
    line_end(&b);
    bool heard = task_say(t, &b);
    buf_deinit(&b);
    return heard;
}

static void remove_all(struct removal *r, bool dry_run) {
    uint64_t freed = 0;
    size_t done = 0;
    const struct doomed *last = NULL;
    if (r->count > 0)
        qsort(r->all, r->count, sizeof(*r->all), compare_doomed);
    for (size_t i = 0; i < r->count && !r->task->deaf; i++) {
        const struct doomed *d = &r->all[i];
        if (last != NULL && covered_by(d, last))
            continue;
        uint64_t bytes = dry_run ? 0 : store_remove(r->task->upkeep->store, d->registry, d->repository, d->tag);
        freed += bytes;
        done++;
        last = d;
        report_removed(r->task, d, dry_run ? NULL : &bytes);
    }
    if (dry_run)
        err_set(&r->task->end, "%zu would be removed", done);
    else
        err_set(&r->task->end, "%zu removed, %" PRIu64 " bytes freed", done, freed);
}

/// By tags and repositories: a digest may be held by many, and goes when nothing holds it any longer.
static bool names_no_digest(struct task *t, const struct patterns *p) {
    for (size_t i = 0; i < p->count; i++) {
        if (p->all[i].digest == NULL)
            continue;
        t->failed = t->unusable = true;
        return err_set(&t->end,
                       "what is removed is named by tag or repository: content goes when none of them holds it");
    }
    return true;
}

void task_rm(struct task *t) {
    struct removal r = {.task = t};
    if (!patterns_read(t, &r.patterns))
        return;
    if (r.patterns.count == 0) {
        t->failed = t->unusable = true;
        err_set(&t->end, "name what is to be removed; \"**\" is everything");
    } else if (names_no_digest(t, &r.patterns)) {
        // Then the repositories that hold digests without a tag.
        if (store_list(t->upkeep->store, false, collect, &r) && store_list(t->upkeep->store, true, collect, &r)) {
            remove_all(&r, is_true(t->request, "dry_run"));
            content_forget(t->upkeep->content); // What memory has of it goes, too.
        } else {
            t->failed = true;
            err_set(&t->end, "the index cannot be read to its end (see the log)");
        }
    }
    for (size_t i = 0; i < r.count; i++) {
        free(r.all[i].registry);
        free(r.all[i].repository);
        free(r.all[i].tag);
    }
    free(r.all);
    patterns_free(&r.patterns);
}
