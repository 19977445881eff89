// SPDX-License-Identifier: Apache-2.0
//
// Reading the index: lookups of one row, and walks over many.
//
// A walk holds a view of the file while it lasts, and the log cannot be cut back meanwhile: callbacks must not wait.

#include "mirrors/store/index_inside.h"

#include <string.h>

static enum index_result strange(struct index *i) {
    return index_damaged(i, "a row holds what this program does not write");
}

// --- lookups: a statement that was begun gives one row or none ---

static enum index_result first_row(struct index *i, sqlite3_stmt *st, enum index_result begun) {
    return begun == INDEX_OK ? index_step_sealed(i, st) : begun;
}

static bool read_content(sqlite3_stmt *st, int column, struct index_content *out) {
    return index_count(st, column, &out->size) && index_count(st, column + 1, &out->disk) &&
           index_time(st, column + 2, &out->used) && index_time(st, column + 3, &out->added);
}

enum index_result index_content(struct index *i, const char *digest, struct index_content *out) {
    *out = (struct index_content){0};
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_CONTENT, &st, "d", digest);
    r = first_row(i, st, r);
    if (r == INDEX_OK && !read_content(st, 1, out))
        r = strange(i);
    index_end(st);
    return r;
}

enum index_result index_confirmed(struct index *i, const char *registry, const char *repository, const char *digest,
                                  int64_t *confirmed, char *media_type) {
    *confirmed = 0;
    media_type[0] = '\0';
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_CONFIRMED, &st, "ttd", registry, repository, digest);
    r = first_row(i, st, r);
    int64_t time = 0;
    if (r == INDEX_OK && (!index_time(st, 1, &time) || !index_copy(st, 2, MEDIA_TYPE_MAX, media_type)))
        r = strange(i);
    if (r == INDEX_OK)
        *confirmed = time;
    else
        media_type[0] = '\0';
    index_end(st);
    return r;
}

enum index_result index_delivered(struct index *i, const char *registry, const char *digest, bool *delivered) {
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_DELIVERED, &st, "td", registry, digest);
    r = first_row(i, st, r);
    *delivered = r == INDEX_OK;
    index_end(st);
    return r;
}

static bool read_tag(sqlite3_stmt *st, struct store_tag *out) {
    return index_digest(st, 1, out->digest) && index_copy(st, 2, MEDIA_TYPE_MAX, out->media_type) &&
           index_copy(st, 3, STORE_ETAG_MAX, out->etag) && index_time(st, 4, &out->confirmed);
}

enum index_result index_tag(struct index *i, const char *registry, const char *repository, const char *tag,
                            struct store_tag *out) {
    memset(out, 0, sizeof *out);
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_TAG, &st, "ttt", registry, repository, tag);
    r = first_row(i, st, r);
    if (r == INDEX_OK && !read_tag(st, out))
        r = strange(i);
    if (r != INDEX_OK)
        memset(out, 0, sizeof *out);
    index_end(st);
    return r;
}

enum index_result index_sum(struct index *i, struct index_sums *out) {
    *out = (struct index_sums){0};
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_STATE, &st, "");
    r = first_row(i, st, r);
    if (r == INDEX_NOTHING)
        r = index_damaged(i, "its state is missing");
    if (r == INDEX_OK && (!index_count(st, 1, &out->pieces) || !index_count(st, 2, &out->disk) ||
                          !index_count(st, 3, &out->tags) || !index_count(st, 4, &out->repositories)))
        r = strange(i);
    index_end(st);
    return r;
}

// --- walks ---

/// One row of a walk: INDEX_NOTHING ends it without more.
typedef enum index_result (*row_fn)(struct index *i, sqlite3_stmt *st, void *ctx);

// Give each row to `row`. INDEX_OK when all were given, or enough.
static enum index_result walk(struct index *i, sqlite3_stmt *st, enum index_result begun, row_fn row, void *ctx) {
    enum index_result r = begun;
    while (r == INDEX_OK) {
        r = index_step_sealed(i, st);
        if (r == INDEX_OK)
            r = row(i, st, ctx);
    }
    index_end(st);
    return r == INDEX_NOTHING ? INDEX_OK : r;
}

struct edges_walk {
    void (*edge)(void *ctx, const struct store_edge *e);
    void *ctx;
};

static enum index_result edge_row(struct index *i, sqlite3_stmt *st, void *ctx) {
    struct edges_walk *w = ctx;
    char parent[DIGEST_TEXT_MAX + 1], child[DIGEST_TEXT_MAX + 1];
    uint64_t flags = 0;
    if (!index_parent(st, 1, parent) || !index_digest(st, 2, child) || !index_count(st, 3, &flags) || flags > UINT8_MAX)
        return strange(i);
    w->edge(w->ctx, &(struct store_edge){.parent = parent, .child = child, .flags = (unsigned)flags});
    return INDEX_OK;
}

enum index_result index_edges(struct index *i, const char *registry, const char *repository,
                              void (*edge)(void *ctx, const struct store_edge *e), void *ctx) {
    struct edges_walk w = {.edge = edge, .ctx = ctx};
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_EDGES, &st, "tt", registry, repository);
    return walk(i, st, r, edge_row, &w);
}

struct oldest_walk {
    struct index_oldest *out;
    size_t count;
};

static enum index_result oldest_row(struct index *i, sqlite3_stmt *st, void *ctx) {
    struct oldest_walk *w = ctx;
    struct index_oldest *o = &w->out[w->count];
    if (!index_digest(st, 1, o->digest) || !index_count(st, 2, &o->disk) || !index_time(st, 3, &o->used))
        return strange(i);
    w->count++;
    return INDEX_OK;
}

enum index_result index_oldest(struct index *i, size_t skip, struct index_oldest *out, size_t max, size_t *count) {
    struct oldest_walk w = {.out = out};
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_OLDEST, &st, "nn", (int64_t)max, (int64_t)skip);
    r = walk(i, st, r, oldest_row, &w);
    *count = r == INDEX_OK ? w.count : 0;
    return r;
}

struct contents_walk {
    bool (*content)(void *ctx, const char *digest, const struct index_content *c);
    void *ctx;
};

static enum index_result content_row(struct index *i, sqlite3_stmt *st, void *ctx) {
    struct contents_walk *w = ctx;
    char digest[DIGEST_TEXT_MAX + 1];
    struct index_content c;
    if (!index_digest(st, 1, digest) || !read_content(st, 2, &c))
        return strange(i);
    return w->content(w->ctx, digest, &c) ? INDEX_OK : INDEX_NOTHING;
}

enum index_result index_contents(struct index *i, const char *after,
                                 bool (*content)(void *ctx, const char *digest, const struct index_content *c),
                                 void *ctx) {
    struct contents_walk w = {.content = content, .ctx = ctx};
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_CONTENTS, &st, after[0] == '\0' ? "t" : "d", after);
    return walk(i, st, r, content_row, &w);
}

// --- who holds a digest ---

struct holders_walk {
    const char *digest, *registry, *repository; // Of the row at hand.
    bool (*holder)(void *ctx, const char *registry, const char *repository, const char *tag);
    void *ctx;
    bool any, enough;
};

static enum index_result leading_row(struct index *i, sqlite3_stmt *st, void *ctx) {
    struct holders_walk *w = ctx;
    const char *tag = NULL;
    if (!index_text(st, 1, TAG_MAX, &tag))
        return strange(i);
    w->any = true;
    w->enough = !w->holder(w->ctx, w->registry, w->repository, tag);
    return w->enough ? INDEX_NOTHING : INDEX_OK;
}

static enum index_result holder_row(struct index *i, sqlite3_stmt *st, void *ctx) {
    struct holders_walk *w = ctx;
    if (!index_text(st, 2, REGISTRY_MAX, &w->registry) || !index_text(st, 3, REPOSITORY_MAX, &w->repository))
        return strange(i);
    w->any = false;
    sqlite3_stmt *leading = NULL;
    enum index_result r =
        index_begin(i, SQL_LEADING, &leading, "ttndnn", w->registry, w->repository, sqlite3_column_int64(st, 1),
                    w->digest, (int64_t)INDEX_DEPTH_MAX, (int64_t)INDEX_STEPS_MAX);
    r = walk(i, leading, r, leading_row, w);
    if (r == INDEX_OK && !w->any)
        w->enough = !w->holder(w->ctx, w->registry, w->repository, "");
    return r == INDEX_OK && w->enough ? INDEX_NOTHING : r;
}

enum index_result
index_holders(struct index *i, const char *digest,
              bool (*holder)(void *ctx, const char *registry, const char *repository, const char *tag), void *ctx) {
    struct holders_walk w = {.digest = digest, .holder = holder, .ctx = ctx};
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, SQL_HOLDERS, &st, "d", digest);
    return walk(i, st, r, holder_row, &w);
}

// --- lists ---

struct list_walk {
    bool (*item)(void *ctx, const struct store_item *item);
    void *ctx;
};

// Of a tag whose content is not held the size is -1.
static bool read_size(sqlite3_stmt *st, uint64_t *out) {
    if (sqlite3_column_type(st, 2) != SQLITE_INTEGER)
        return false;
    int64_t size = sqlite3_column_int64(st, 2);
    *out = size == -1 ? UINT64_MAX : (uint64_t)size;
    return size >= -1;
}

static bool read_item(sqlite3_stmt *st, struct store_item *item) {
    return read_size(st, &item->size) && index_count(st, 3, &item->disk) && index_time(st, 4, &item->used) &&
           index_time(st, 5, &item->added) && index_text(st, 6, REGISTRY_MAX, &item->registry) &&
           index_text(st, 7, REPOSITORY_MAX, &item->repository) && index_text(st, 8, TAG_MAX, &item->tag) &&
           index_text(st, 9, MEDIA_TYPE_MAX, &item->media_type);
}

static enum index_result list_row(struct index *i, sqlite3_stmt *st, void *ctx) {
    struct list_walk *w = ctx;
    char digest[DIGEST_TEXT_MAX + 1];
    struct store_item item = {.digest = digest};
    if (!index_digest(st, 1, digest) || !read_item(st, &item))
        return strange(i);
    return w->item(w->ctx, &item) ? INDEX_OK : INDEX_NOTHING;
}

enum index_result index_list(struct index *i, bool digests, bool (*item)(void *ctx, const struct store_item *item),
                             void *ctx) {
    struct list_walk w = {.item = item, .ctx = ctx};
    sqlite3_stmt *st = NULL;
    enum index_result r = index_begin(i, digests ? SQL_LIST_DIGESTS : SQL_LIST_TAGS, &st, "");
    return walk(i, st, r, list_row, &w);
}
