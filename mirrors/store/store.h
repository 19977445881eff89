// SPDX-License-Identifier: Apache-2.0
//
// The store: verified content by digest in files, and an index of what is known about it.
//
// It knows nothing of upstreams, policies or clients. Content is visible under its name only when it is whole, verified
// and synced. Everything here may be deleted at any time: it is a cache, but for one thing that must never be wrong:
// who may read what. Whatever is damaged is therefore reported and set aside, never believed.
//
// Threads: functions under "memory" may be called by anyone, never block and take only short locks; those under
// "blocking" touch the disk and are for store_work(), fetch threads (files) and commands. The store has threads of its
// own: one writes the index in batches, evicts and sweeps; a few do store_work().

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/oci/digest.h"
#include "mirrors/oci/document.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    STORE_WORKERS = 2,
    STORE_WORK_MAX = 4096,            ///< Jobs that wait; more are refused.
    STORE_NOTES_MAX = 100000,         ///< Notes that wait for the index; more are dropped and counted.
    STORE_BATCH_MAX = 1000,           ///< Records of one transaction...
    STORE_BATCH_MS = 1000,            ///< ... which waits no longer than this.
    STORE_OPEN_MAX = 512,             ///< Files of content kept open for those who ask next.
    STORE_SMALL_MAX = 64 * 1024,      ///< Content of at most this size is kept in memory once asked for...
    STORE_SMALL_BYTES_MAX = 16 << 20, ///< ... up to this much together.
    STORE_KNOWN_MAX = 50000,          ///< Facts of each kind in memory; the index has the rest.
    STORE_FULL_MS = 60000,            ///< That there is no room for something is told no more often.
    STORE_REST_MS = 10000,            ///< After a failing disk nothing is written for so long.
    STORE_ETAG_MAX = 255
};

struct store_settings {
    const char *directory; ///< Made if missing, 0700.
    uint64_t max_size;     ///< Bytes on the disk, as the file system counts them. 0: no cap.
    unsigned min_free;     ///< Percent of the file system that stay free, 0 to 99.
    /// Is this kept whatever its age? May be NULL. Called on the store's thread with each repository that holds it.
    bool (*keep)(void *ctx, const char *registry, const char *repository, const char *tag);
    void *ctx;
    /// What an operator should read: "store_failing", "store_recovered", "store_index", "store_evict", "store_content"
    /// (something held was wrong and has been removed) and a sentence. Any thread; must not block. May be NULL.
    void (*event)(void *ctx, const char *event, const char *sentence);
    bool read_only; ///< Commands that only look, without a gateway: nothing is written, swept or evicted.
};

struct store;

/// Take the directory's lock and open it. Refused with a sentence: another gateway has it, a network file system, a
/// format newer than this program's, a directory of somebody else. A damaged index is set aside
/// (index.db.damaged-TIME), told by `event`, and begun anew. Leftovers and unknown files are swept in the background.
struct store *store_open(const struct store_settings *settings, struct err *err);

/// Write what waits, stop the threads, give the lock back. Nothing else may be using it; pieces may outlive it. NULL is
/// allowed.
void store_close(struct store *s);

/// The cap and what is kept may change by a reload. Any thread.
void store_reconfigure(struct store *s, const struct store_settings *settings);

const char *store_directory(const struct store *s);

// --- a piece: content that is held; immutable, counted by reference, any thread ---

struct piece;

struct piece *piece_ref(struct piece *p);
void piece_unref(struct piece *p); ///< NULL is allowed.

const char *piece_digest(const struct piece *p);
uint64_t piece_size(const struct piece *p);

/// An open descriptor that stays readable as long as the piece, evicted or not.
int piece_fd(const struct piece *p);

/// Its bytes where they are in memory, else NULL.
const char *piece_bytes(const struct piece *p);

// --- facts ---

/// What the index knows about one digest in one repository.
struct store_facts {
    bool known;          ///< Everything below is certain; memory alone may not know (then ask store_look()).
    struct piece *piece; ///< A reference for the caller, or NULL: not held.
    int64_t confirmed;   ///< Unix seconds: when this repository's own upstream last answered 200 for it; 0: never.
    bool delivered;      ///< This registry has delivered it whole at least once.
    char media_type[MEDIA_TYPE_MAX + 1]; ///< Of a manifest, as its upstream said; "" for blobs.
};

struct store_tag {
    char digest[DIGEST_TEXT_MAX + 1];
    char media_type[MEDIA_TYPE_MAX + 1];
    char etag[STORE_ETAG_MAX + 1]; ///< "" without.
    int64_t confirmed;             ///< Unix seconds.
};

/// One link: see links.h. `flags` are the caller's own, 0 to 255.
struct store_edge {
    const char *parent, *child;
    unsigned flags;
};

// --- memory: never blocks ---

/// What memory knows. Where `known` is false the rest is empty.
void store_recall(struct store *s, const char *registry, const char *repository, const char *digest,
                  struct store_facts *out);

/// 1: there; 0: there is none; -1: memory does not know, ask store_look_tag().
int store_recall_tag(struct store *s, const char *registry, const char *repository, const char *tag,
                     struct store_tag *out);

/// This repository's upstream answered 200 for the digest at `now` (Unix seconds).
void store_note_confirmed(struct store *s, const char *registry, const char *repository, const char *digest,
                          int64_t now);

/// This repository's upstream says that it has not got it (404).
void store_note_gone(struct store *s, const char *registry, const char *repository, const char *digest);

/// This registry delivered the digest's content, whole and verified.
void store_note_delivered(struct store *s, const char *registry, const char *digest);

void store_note_tag(struct store *s, const char *registry, const char *repository, const char *tag,
                    const struct store_tag *t);
void store_note_tag_gone(struct store *s, const char *registry, const char *repository, const char *tag);
void store_note_edge(struct store *s, const char *registry, const char *repository, const struct store_edge *e);

/// Somebody was served from it. Kept in memory and written now and then.
void store_used(struct store *s, struct piece *p);

/// A file that is held ended early or could not be read while it was served: it is looked at on a worker, and removed
/// if that is so.
void store_doubt(struct store *s, struct piece *p);

/// Run `work` on a worker. False: too much waits already, or the store is being closed; `work` will not run.
bool store_work(struct store *s, void (*work)(void *ctx), void *ctx);

/// Returns when all that store_work() and commits were given has been done (and nothing gave more meanwhile).
void store_settle(struct store *s);

/// Is the disk taken for good at the moment? While it is not, store_file_new() returns NULL.
bool store_writable(struct store *s);

// --- blocking ---

void store_look(struct store *s, const char *registry, const char *repository, const char *digest,
                struct store_facts *out);
bool store_look_tag(struct store *s, const char *registry, const char *repository, const char *tag,
                    struct store_tag *out);

/// Every link of a repository, oldest first. The strings live during the call.
void store_look_edges(struct store *s, const char *registry, const char *repository,
                      void (*edge)(void *ctx, const struct store_edge *e), void *ctx);

/// Content on its way into the store: a file under a temporary name, written by one thread at a time, read by anyone.
struct store_file;

/// NULL where it cannot be had now (failing, no room, closed): the content then passes through memory. `size` is what
/// it will have, UINT64_MAX if nobody knows.
struct store_file *store_file_new(struct store *s, const char *digest, uint64_t size);

/// Append. False: the disk does not take it; the store has told its operator and rests.
bool store_file_write(struct store_file *f, const void *data, size_t len);

int store_file_fd(const struct store_file *f);

/// The content is whole and its digest verified: sync it, give it its name, tell the index; on a worker. Takes over the
/// file. `done` gets a reference for the caller, or NULL where the disk failed. `registry` has thereby delivered it,
/// and `repository` been confirmed. `media_type`: "" for a blob.
void store_file_commit(struct store_file *f, const char *registry, const char *repository, const char *media_type,
                       void (*done)(void *ctx, struct piece *piece), void *ctx);

/// It will not be whole: remove it. NULL is allowed. Any thread.
void store_file_drop(struct store_file *f);

// --- looking after it (commands; on the caller's thread, beside whatever else runs) ---

/// One thing that is held, with where it belongs.
struct store_item {
    const char *digest;
    uint64_t size, disk;               ///< Bytes of content, bytes on the disk.
    int64_t used, added;               ///< Unix seconds.
    const char *registry, *repository; ///< "" where only the content is left.
    const char *tag;                   ///< "" for what no tag names directly.
    const char *media_type;            ///< "" for blobs.
};

/// Every tag (all of its fields; of a tag whose content is not held `size` is UINT64_MAX), or with `digests` every
/// digest, until `item` returns false.
/// False: the index could not be read to its end.
bool store_list(struct store *s, bool digests, bool (*item)(void *ctx, const struct store_item *i), void *ctx);

/// Forget a tag: a non-NULL `tag`; or everything that a repository holds: `tag` NULL. Content that nothing holds any
/// longer is removed. Returns the number of bytes freed.
uint64_t store_remove(struct store *s, const char *registry, const char *repository, const char *tag);

/// Read every file and compare its digest, at most `bytes_per_second` (0: as fast as it goes). Wrong or unreadable
/// content is removed (unless read_only) and handed to `bad`. `progress` gets bytes done and bytes in all, and ends it
/// by returning false. Returns how many were wrong.
uint64_t store_verify(struct store *s, uint64_t bytes_per_second,
                      bool (*progress)(void *ctx, uint64_t done, uint64_t all),
                      void (*bad)(void *ctx, const char *digest, const char *why), void *ctx);

struct store_stats {
    uint64_t bytes, max_size;            ///< On the disk, all of it; the cap.
    uint64_t pieces, tags, repositories; ///< Held.
    uint64_t evicted, evicted_bytes;     ///< Since the start.
    uint64_t write_errors;               ///< Times that the disk failed.
    uint64_t refused;                    ///< Contents that were not taken for want of room.
    uint64_t notes_dropped;              ///< For want of room in the queue.
    uint64_t file_system_free;           ///< Bytes.
    bool writable;
};

/// Never blocks; figures of the index are at most a few seconds old.
void store_stats(struct store *s, struct store_stats *out);

/// The same, counted now. Blocking.
void store_count(struct store *s, struct store_stats *out);
