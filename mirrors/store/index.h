// SPDX-License-Identifier: Apache-2.0
//
// The index of the store: what must survive a restart and be looked up, in SQLite.
//
// Inside of mirrors/store/. WAL, synchronous=NORMAL, STRICT tables, `user_version` is the format's number. SQLite
// reports damage instead of crashing: whatever call meets it returns INDEX_DAMAGED, and the store sets the file aside.
//
// Threads: one `struct index` belongs to one thread at a time; several on one file (one that writes, others that read)
// do not disturb each other. No function waits for a lock longer than INDEX_BUSY_MS.

#pragma once

#include "mirrors/store/store.h"

enum { INDEX_FORMAT = 1, INDEX_BUSY_MS = 5000 };

enum index_result { INDEX_OK, INDEX_NOTHING, INDEX_DAMAGED, INDEX_FAILED };

enum index_mode {
    INDEX_WRITE, ///< Made if it is missing.
    INDEX_READ
};

struct index;

/// Open. INDEX_DAMAGED: not a database, or not a sound one (`check`: quick_check is run, after an unclean stop);
/// INDEX_FAILED: anything else, a newer format among them; `err` says it.
enum index_result index_open(const char *path, enum index_mode mode, bool check, struct index **out, struct err *err);
void index_close(struct index *i); ///< NULL is allowed. Checkpoints the WAL where it wrote.

/// The sentence of the last call that did not return INDEX_OK or INDEX_NOTHING.
const char *index_error(const struct index *i);

// --- what is written: a batch is one transaction; nothing of it is there if it fails ---

enum index_note_kind {
    NOTE_CONTENT,   ///< digest is held: size, disk, time
    NOTE_DROPPED,   ///< digest is no longer held
    NOTE_USED,      ///< digest: time
    NOTE_CONFIRMED, ///< registry, repository, digest: time; media_type ("": leave as it was)
    NOTE_GONE,      ///< registry, repository, digest
    NOTE_DELIVERED, ///< registry, digest
    NOTE_TAG,       ///< registry, repository, tag, digest, media_type, etag, time
    NOTE_TAG_GONE,  ///< registry, repository, tag
    NOTE_EDGE,      ///< registry, repository, parent (in `tag`), child (in `digest`), flags; flags of a known edge are
                    ///< joined
    NOTE_REPOSITORY_GONE ///< registry, repository: its tags, confirmations and edges
};

/// One record. Strings belong to whoever made it; those that its kind does not name are not looked at. Names within the
/// bounds of oci/name.h, flags to 255; a batch with a note that is not is INDEX_FAILED.
struct index_note {
    enum index_note_kind kind;
    const char *registry, *repository, *tag, *digest, *media_type, *etag;
    uint64_t size, disk;
    int64_t time; ///< Unix seconds.
    unsigned flags;
};

enum index_result index_apply(struct index *i, const struct index_note *notes, size_t count);

/// The unclean mark: set (and synced) before anything else is written, cleared as the last thing by a clean stop.
enum index_result index_set_unclean(struct index *i, bool unclean);
bool index_is_unclean(struct index *i);

// --- what is read ---

struct index_content {
    uint64_t size, disk;
    int64_t used, added;
};

enum index_result index_content(struct index *i, const char *digest, struct index_content *out);

// A digest that is none is INDEX_NOTHING.

/// `*confirmed` 0: never. `media_type`: MEDIA_TYPE_MAX + 1 bytes.
enum index_result index_confirmed(struct index *i, const char *registry, const char *repository, const char *digest,
                                  int64_t *confirmed, char *media_type);
enum index_result index_delivered(struct index *i, const char *registry, const char *digest, bool *delivered);
enum index_result index_tag(struct index *i, const char *registry, const char *repository, const char *tag,
                            struct store_tag *out);
enum index_result index_edges(struct index *i, const char *registry, const char *repository,
                              void (*edge)(void *ctx, const struct store_edge *e), void *ctx);

struct index_sums {
    uint64_t pieces, disk, tags, repositories;
};

enum index_result index_sum(struct index *i, struct index_sums *out);

/// Up to `max` digests, the least recently used first, from the `skip`th on.
struct index_oldest {
    char digest[DIGEST_TEXT_MAX + 1];
    uint64_t disk;
    int64_t used;
};
enum index_result index_oldest(struct index *i, size_t skip, struct index_oldest *out, size_t max, size_t *count);

/// Each repository that holds the digest, with each tag under which it stands or that leads to it by edges ("" where
/// none does), until `holder` returns false.
enum index_result
index_holders(struct index *i, const char *digest,
              bool (*holder)(void *ctx, const char *registry, const char *repository, const char *tag), void *ctx);

/// Each digest that is held, in order, after `after` ("" for the first), until `content` returns false.
enum index_result index_contents(struct index *i, const char *after,
                                 bool (*content)(void *ctx, const char *digest, const struct index_content *c),
                                 void *ctx);

/// As store_list(), tags by registry, repository and name. With `digests` one that several repositories (or tags that
/// name it directly) hold comes once for each, one after the other.
enum index_result index_list(struct index *i, bool digests, bool (*item)(void *ctx, const struct store_item *item),
                             void *ctx);

/// Forget, at most `max` rows: tags and confirmations not confirmed since `before` whose content is not held; the edges
/// of repositories that are left with neither; and who delivered what nobody has confirmed or holds. Reads all of it:
/// for a quiet moment.
enum index_result index_prune(struct index *i, int64_t before, size_t max, size_t *count);
