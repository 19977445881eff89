// SPDX-License-Identifier: Apache-2.0
//
// Writing to the index: a batch of notes, and forgetting what is old, each one transaction.
//
// A note that does not fit the bounds of names fails its batch: nothing is written that would not be believed when
// read.

#include "mirrors/store/index_inside.h"

#include <string.h>

// --- statements that give no rows ---

static enum index_result finish(struct index *i, sqlite3_stmt *st, enum index_result begun) {
    enum index_result r = begun == INDEX_OK ? index_step(i, st) : begun;
    index_end(st);
    return r == INDEX_NOTHING ? INDEX_OK : r;
}

static enum index_result run(struct index *i, enum index_statement s) {
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, s, &st, "");
    return finish(i, st, r);
}

static enum index_result run_for_id(struct index *i, enum index_statement s, int64_t id) {
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, s, &st, "n", id);
    return finish(i, st, r);
}

// --- transactions ---

static enum index_result state_is_sound(struct index *i) {
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_STATE, &st, "");
    if (r == INDEX_OK)
        r = index_step_sealed(i, st);
    index_end(st);
    return r == INDEX_NOTHING ? index_damaged(i, "its state is missing") : r;
}

// The sentence of what failed first is the one to keep.
static void roll_back(struct index *i) {
    struct err err = i->err;
    if (sqlite3_get_autocommit(i->db) == 0)
        run(i, SQL_ROLLBACK);
    i->err = err;
}

static enum index_result begin(struct index *i) {
    enum index_result r = run(i, SQL_BEGIN);
    if (r != INDEX_OK)
        return r;
    r = state_is_sound(i);
    if (r != INDEX_OK)
        roll_back(i);
    return r;
}

static enum index_result end(struct index *i, enum index_result so_far) {
    enum index_result r = so_far;
    if (r == INDEX_OK)
        r = run(i, SQL_SEAL_STATE);
    if (r == INDEX_OK)
        r = run(i, SQL_COMMIT);
    if (r != INDEX_OK)
        roll_back(i);
    return r;
}

// --- what a note must be ---

// The fields that a kind names: registry, (repository) name, tag, parent, digest, media type, etag, flags, size and
// disk.
static const char *const FIELDS[] = {
    [NOTE_CONTENT] = "ds", [NOTE_DROPPED] = "d",          [NOTE_USED] = "d",     [NOTE_CONFIRMED] = "rndm",
    [NOTE_GONE] = "rnd",   [NOTE_DELIVERED] = "rd",       [NOTE_TAG] = "rntdme", [NOTE_TAG_GONE] = "rnt",
    [NOTE_EDGE] = "rnpdf", [NOTE_REPOSITORY_GONE] = "rn",
};

static bool text_fits(const char *text, size_t min, size_t max) {
    size_t len = text == NULL ? 0 : strnlen(text, max + 1);
    return text != NULL && len >= min && len <= max;
}

static bool is_digest(const char *text) {
    return text_fits(text, 1, DIGEST_TEXT_MAX) && digest_check(text, strlen(text), NULL) == DIGEST_OK;
}

static bool is_tag(const char *text) {
    return text_fits(text, 1, TAG_MAX) && strchr(text, ':') == NULL;
}

static bool field_fits(const struct index_note *n, char field) {
    switch (field) {
    case 'r':
        return text_fits(n->registry, 1, REGISTRY_MAX);
    case 'n':
        return text_fits(n->repository, 1, REPOSITORY_MAX);
    case 't':
        return is_tag(n->tag);
    case 'p':
        return is_digest(n->tag) || is_tag(n->tag);
    case 'd':
        return is_digest(n->digest);
    case 'm':
        return n->media_type == NULL || text_fits(n->media_type, 0, MEDIA_TYPE_MAX);
    case 'e':
        return n->etag == NULL || text_fits(n->etag, 0, STORE_ETAG_MAX);
    case 'f':
        return n->flags <= UINT8_MAX;
    default:
        return n->size <= INT64_MAX && n->disk <= INDEX_BYTES_MAX;
    }
}

static bool note_fits(const struct index_note *n) {
    if ((size_t)n->kind >= sizeof FIELDS / sizeof *FIELDS)
        return false;
    for (const char *f = FIELDS[n->kind]; *f != '\0'; f++)
        if (!field_fits(n, *f))
            return false;
    return true;
}

// --- notes ---

static const char *or_empty(const char *text) {
    return text == NULL ? "" : text;
}

// Before 1970 is a clock that was never set.
static int64_t time_of(const struct index_note *n) {
    return n->time < 0 ? 0 : n->time;
}

static enum index_result find_repository(struct index *i, const char *registry, const char *repository, int64_t *id) {
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_REPOSITORY, &st, "tt", registry, repository);
    if (r == INDEX_OK)
        r = index_step(i, st);
    if (r == INDEX_OK)
        *id = sqlite3_column_int64(st, 0);
    index_end(st);
    return r;
}

static enum index_result make_repository(struct index *i, const char *registry, const char *repository, int64_t *id) {
    enum index_result r = find_repository(i, registry, repository, id);
    if (r != INDEX_NOTHING)
        return r;
    sqlite3_stmt *st = NULL;
    r = index_begin(i, SQL_ADD_REPOSITORY, &st, "tt", registry, repository);
    r = finish(i, st, r);
    *id = sqlite3_last_insert_rowid(i->db);
    return r;
}

static enum index_result note_content(struct index *i, const struct index_note *n) {
    sqlite3_stmt *st = NULL;
    enum index_result r;
    if (n->kind == NOTE_DROPPED)
        r = index_begin(i, SQL_DROP_CONTENT, &st, "d", n->digest);
    else if (n->kind == NOTE_USED)
        r = index_begin(i, SQL_PUT_USED, &st, "dn", n->digest, time_of(n));
    else
        r = index_begin(i, SQL_PUT_CONTENT, &st, "dnnn", n->digest, (int64_t)n->size, (int64_t)n->disk, time_of(n));
    return finish(i, st, r);
}

static enum index_result note_delivered(struct index *i, const struct index_note *n) {
    int64_t id = 0;
    sqlite3_stmt *st = NULL;
    enum index_result r = make_repository(i, n->registry, "", &id);
    if (r == INDEX_OK)
        r = index_begin(i, SQL_PUT_DELIVERED, &st, "ttnd", n->registry, "", id, n->digest);
    return finish(i, st, r);
}

// What a repository learns.
static enum index_result note_more(struct index *i, const struct index_note *n) {
    int64_t id = 0;
    sqlite3_stmt *st = NULL;
    enum index_result r = make_repository(i, n->registry, n->repository, &id);
    if (r != INDEX_OK)
        return r;
    if (n->kind == NOTE_CONFIRMED)
        r = index_begin(i, SQL_PUT_CONFIRMED, &st, "ttndnt", n->registry, n->repository, id, n->digest, time_of(n),
                        or_empty(n->media_type));
    else if (n->kind == NOTE_TAG)
        r = index_begin(i, SQL_PUT_TAG, &st, "ttntdttn", n->registry, n->repository, id, n->tag, n->digest,
                        or_empty(n->media_type), or_empty(n->etag), time_of(n));
    else
        r = index_begin(i, SQL_PUT_EDGE, &st, "ttnpdn", n->registry, n->repository, id, n->tag, n->digest,
                        (int64_t)n->flags);
    return finish(i, st, r);
}

static enum index_result drop_repository(struct index *i, int64_t id) {
    static const enum index_statement ALL[] = {SQL_DROP_ALL_TAGS, SQL_DROP_ALL_CONFIRMED, SQL_DROP_ALL_EDGES,
                                               SQL_DROP_REPOSITORY};
    enum index_result r = INDEX_OK;
    for (size_t s = 0; r == INDEX_OK && s < sizeof ALL / sizeof *ALL; s++)
        r = run_for_id(i, ALL[s], id);
    return r;
}

// What a repository loses.
static enum index_result note_less(struct index *i, const struct index_note *n) {
    int64_t id = 0;
    sqlite3_stmt *st = NULL;
    enum index_result r = find_repository(i, n->registry, n->repository, &id);
    if (r != INDEX_OK)
        return r == INDEX_NOTHING ? INDEX_OK : r;
    if (n->kind == NOTE_REPOSITORY_GONE)
        return drop_repository(i, id);
    if (n->kind == NOTE_GONE)
        r = index_begin(i, SQL_DROP_CONFIRMED, &st, "nd", id, n->digest);
    else
        r = index_begin(i, SQL_DROP_TAG, &st, "nt", id, n->tag);
    return finish(i, st, r);
}

static enum index_result apply(struct index *i, const struct index_note *n) {
    switch (n->kind) {
    case NOTE_CONTENT:
    case NOTE_DROPPED:
    case NOTE_USED:
        return note_content(i, n);
    case NOTE_DELIVERED:
        return note_delivered(i, n);
    case NOTE_CONFIRMED:
    case NOTE_TAG:
    case NOTE_EDGE:
        return note_more(i, n);
    case NOTE_GONE:
    case NOTE_TAG_GONE:
    case NOTE_REPOSITORY_GONE:
        return note_less(i, n);
    }
    return INDEX_FAILED;
}

enum index_result index_apply(struct index *i, const struct index_note *notes, size_t count) {
    for (size_t n = 0; n < count; n++)
        if (!note_fits(&notes[n])) {
            err_set(&i->err, "note %zu of the batch (kind %d) is not within the bounds", n, (int)notes[n].kind);
            return INDEX_FAILED;
        }
    enum index_result r = begin(i);
    if (r != INDEX_OK)
        return r;
    for (size_t n = 0; r == INDEX_OK && n < count; n++)
        r = apply(i, &notes[n]);
    return end(i, r);
}

// --- forgetting ---

static enum index_result prune(struct index *i, enum index_statement s, int64_t before, size_t max, size_t *count) {
    if (*count >= max)
        return INDEX_OK;
    bool by_age = s == SQL_PRUNE_CONFIRMED || s == SQL_PRUNE_TAGS;
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, s, &st, by_age ? "nn" : "n", (int64_t)(max - *count), before);
    r = finish(i, st, r);
    if (r == INDEX_OK)
        *count += (size_t)sqlite3_changes(i->db);
    return r;
}

// Confirmations and tags make a repository's edges worth keeping, so they go first.
enum index_result index_prune(struct index *i, int64_t before, size_t max, size_t *count) {
    static const enum index_statement ALL[] = {SQL_PRUNE_CONFIRMED, SQL_PRUNE_TAGS, SQL_PRUNE_EDGES,
                                               SQL_PRUNE_DELIVERED, SQL_PRUNE_REPOSITORIES};
    *count = 0;
    size_t all = 0;
    enum index_result r = begin(i);
    if (r != INDEX_OK)
        return r;
    for (size_t s = 0; r == INDEX_OK && s < sizeof ALL / sizeof *ALL; s++)
        r = prune(i, ALL[s], before, max, &all);
    r = end(i, r);
    if (r == INDEX_OK)
        *count = all;
    return r;
}
