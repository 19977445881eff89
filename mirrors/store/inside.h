// SPDX-License-Identifier: Apache-2.0
//
// The inside of mirrors/store/: what its files share. Nobody else includes this.
//
// Locks, in the order in which one thread may hold them: names, facts, the keeper's queue. None is held during I/O but
// `names`, which is held for a rename or an unlink and is never taken by a thread that must not block.

#pragma once

#include "mirrors/oci/name.h"
#include "mirrors/store/index.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    STORE_RECENT_S = 10,         ///< What was used so lately is not evicted.
    STORE_USES_S = 60,           ///< Uses are written so often.
    STORE_LOW_WATER = 95,        ///< Percent of the cap at which eviction stops.
    STORE_PATH_MAX = 192,        ///< "blobs/sha512/ab/HEX" and the like, below the directory.
    STORE_READERS_MAX = 4,       ///< Indexes kept open for reading.
    STORE_REGISTRIES_MAX = 4096, ///< Bytes of the attribute that names who delivered a file.
    STORE_ASIDE_MAX = 3          ///< Damaged indexes that are kept.
};

#define STORE_INDEX_NAME "index.db"
#define STORE_ATTRIBUTE "user.pullgate.delivered"
#define STORE_SIZE_ATTRIBUTE "user.pullgate.size"

struct facts;
struct keeper;
struct workers;
struct graves;

/// Is the index to be believed?
enum index_standing {
    STANDING_CHECKING, ///< Being checked or replaced: whoever looks waits.
    STANDING_READY,
    STANDING_NONE ///< It cannot be had: only memory knows.
};

/// Indexes for reading, lent to one thread at a time.
struct readers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum index_standing standing;
    uint64_t generation; ///< Which index: counts up when one is set aside; from 1.
    struct index *idle[STORE_READERS_MAX];
    size_t count;
};

struct store {
    char *directory;
    int dir;  ///< Everything is named from here.
    int lock; ///< Holds the flock.
    bool read_only;
    bool in_memory_fs; ///< tmpfs: reserving room there costs as much as writing.
    char instance[17]; ///< Begins the names of this process's temporary files.
    atomic_ullong next_file;

    pthread_mutex_t settings_lock;
    struct store_settings settings;

    pthread_mutex_t names; ///< Held while a file gets or loses its name.
    struct facts *facts;
    struct readers readers;
    struct keeper *keeper; ///< NULL: read_only.
    struct workers *workers;
    struct graves *graves;

    // The disk.
    atomic_bool failing, full;
    atomic_llong rest_until; ///< clock_ms(); 0: not resting.
    atomic_llong blob_bytes; ///< On the disk; put right from the index now and then.
    atomic_llong writing_bytes;
    atomic_llong kept_bytes; ///< Of what the last pass could not evict; 0: not known.
    atomic_ullong index_bytes, file_system_free, file_system_size;
    atomic_ullong pieces, tags, repositories, evicted, evicted_bytes, write_errors, notes_dropped, refused;
    atomic_llong refused_told; ///< clock_ms() of the last time.
    atomic_bool marked;        ///< The index knows that this process has not ended well yet.
    atomic_bool sweeping;      ///< There may be files that the index does not know.
};

/// What is configured now.
struct store_settings store_settings_now(struct store *s);
void store_tell(struct store *s, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));
int64_t store_now(void); ///< Unix seconds.

// --- lock.c ---

/// Open (and make, unless read_only) the directory and take its lock. *tmpfs: it is in memory.
bool lock_take(const char *directory, bool read_only, int *dir, int *lock, bool *tmpfs, struct err *err);
void lock_give(int dir, int lock);

// --- pieces.c ---

/// Takes over `fd` (or -1) and `bytes` (or NULL).
struct piece *piece_new(struct graves *g, const char *digest, uint64_t size, int fd, char *bytes);
/// Its file has lost its name: closing it may take long, and is left to the keeper.
void piece_nameless(struct piece *p);
/// True if a use at `now` is worth a note: not noted within half of STORE_RECENT_S.
bool piece_use(struct piece *p, int64_t now);

/// Where descriptors wait whose closing may take long; pieces outlive the store, so it is counted.
struct graves *graves_new(void);
void graves_close(struct graves *g); ///< Close what waits; from now on pieces close their own.
void graves_clear(struct graves *g); ///< Close what waits.
/// Leave a descriptor to the keeper. False: nobody comes any more, close it.
bool graves_lay(struct graves *g, int fd);

// --- facts.c: what memory knows ---

/// What is known about one digest in one repository, each part by itself.
struct view {
    bool content_known; ///< Held with `size`, or `absent`.
    bool absent;
    uint64_t size;
    struct piece *piece;  ///< A reference.
    bool confirmed_known; ///< The time is.
    bool media_known;
    int64_t confirmed;
    char media_type[MEDIA_TYPE_MAX + 1];
    bool delivered_known, delivered;
};

/// The same as the index has it, from the index of that generation.
struct found {
    uint64_t generation;
    bool content, confirmed, delivered; ///< This was looked up.
    struct view view;
};

struct facts *facts_new(void);
void facts_free(struct facts *f);

/// From memory alone; false: not all of it is known.
bool facts_recall(struct facts *f, const char *registry, const char *repository, const char *digest,
                  struct store_facts *out);

/// Facts that came from an index before this generation count no longer.
void facts_generation(struct facts *f, uint64_t generation);

void facts_view(struct facts *f, const char *registry, const char *repository, const char *digest, struct view *out);
/// Take what the index has where memory knows nothing newer; `out` is the result.
void facts_learn(struct facts *f, const char *registry, const char *repository, const char *digest,
                 const struct found *found, struct view *out);

/// `put` is called under the lock, so that memory and the queue of notes have one order.
typedef void (*facts_put_fn)(void *ctx);
void facts_confirmed(struct facts *f, const char *registry, const char *repository, const char *digest,
                     const char *media_type, int64_t now, facts_put_fn put, void *ctx);
void facts_gone(struct facts *f, const char *registry, const char *repository, const char *digest, facts_put_fn put,
                void *ctx);
void facts_delivered(struct facts *f, const char *registry, const char *digest, facts_put_fn put, void *ctx);
void facts_tag(struct facts *f, const char *registry, const char *repository, const char *tag,
               const struct store_tag *t, facts_put_fn put, void *ctx);
/// 1, 0, -1 as store_recall_tag().
int facts_recall_tag(struct facts *f, const char *registry, const char *repository, const char *tag,
                     struct store_tag *out);
/// As facts_learn(): `t` is what the index has, NULL for nothing. True: there is one, in `out`.
bool facts_learn_tag(struct facts *f, const char *registry, const char *repository, const char *tag,
                     const struct store_tag *t, uint64_t generation, struct store_tag *out);
/// Everything that is known about a repository is forgotten.
void facts_forget(struct facts *f, const char *registry, const char *repository);

/// A file has got its name; `p` may be NULL.
void facts_held(struct facts *f, const char *digest, uint64_t size, struct piece *p);
/// Keep a piece for those who ask next, unless the content has gone meanwhile.
void facts_keep(struct facts *f, const char *digest, struct piece *p);
/// The content is going. False: it was written so lately that it stays (only asked with `unless_recent`).
bool facts_absent(struct facts *f, const char *digest, bool unless_recent);
bool facts_is_absent(struct facts *f, const char *digest);
/// A file was found that the index does not know. False: memory knows better, it is going.
bool facts_adopt(struct facts *f, const char *digest, uint64_t size);
/// Close some of the files that are kept open.
void facts_close_some(struct facts *f);

void facts_used(struct facts *f, const char *digest, int64_t now);
/// Hand out all uses since the last call.
void facts_take_uses(struct facts *f, void (*use)(void *ctx, const char *digest, int64_t time), void *ctx);

// --- files.c: the layout of the directory ---

/// The name of a digest's file below the directory; false where it is no digest.
bool files_path(const char *digest, char out[STORE_PATH_MAX]);
/// The digest of a file "HEX" in blobs/ALGORITHM/ab/; false where it is none.
bool files_digest(const char *algorithm, const char *folder, const char *name, char out[DIGEST_TEXT_MAX + 1]);
bool files_prepare(struct store *s, struct err *err);
/// Open a held file and check that it is what the index says. NULL: `*gone` says whether it is missing or wrong, and
/// has been removed; else it could not be opened just now.
struct piece *files_open(struct store *s, const char *digest, uint64_t size, bool *gone);
/// Unlink the files of content that has gone from the index, unless it has come back meanwhile.
void files_unlink(struct store *s, const char *digest);
/// Its content or its file turned out wrong or missing: forget it everywhere. `why` is told unless NULL.
void files_lost(struct store *s, const char *digest, uint64_t size, bool wrong_content, const char *why);
/// Read content of at most STORE_SMALL_MAX and check its digest; NULL: unreadable, or `*wrong`.
char *files_read_small(int fd, const char *digest, uint64_t size, bool *wrong);
/// A regular file of ours under the digest's name: its sizes.
bool files_stat(struct store *s, const char *digest, uint64_t *size, uint64_t *disk);

// --- adopt.c: files that the index does not know ---

/// Tell the index of a file that lies under its name, and who delivered it. False: there is none.
bool adopt(struct store *s, const char *digest, uint64_t *size);
/// Note who delivered it and how long it is, before it gets its name.
void adopt_mark(int fd, const char *registry, uint64_t size);
void adopt_mark_also(struct store *s, const char *digest, const char *registry);

/// A walk through blobs/ and then the index, a folder or a batch of rows a turn.
struct sweep {
    unsigned at;                     ///< Which folder; then the rows of the index.
    char after[DIGEST_TEXT_MAX + 1]; ///< Rows: the last one that was looked at.
    uint64_t adopted, missing;
};
enum index_result sweep_turn(struct store *s, struct index *i, struct sweep *w, bool *through);
void sweep_temporary(struct store *s);

// --- readers.c: the index for those who look ---

void readers_init(struct readers *r);
void readers_deinit(struct readers *r);
/// Waits while the index is being checked. NULL: there is none to be had.
struct index *readers_take(struct store *s, uint64_t *generation);
/// Give it back with what the last call on it said; damage is passed on.
void readers_give(struct store *s, struct index *i, uint64_t generation, enum index_result result);
void readers_set(struct store *s, enum index_standing standing, bool new_generation);
uint64_t readers_generation(struct store *s);

// --- aside.c: opening and setting aside ---

/// Open the index for writing; a damaged one is set aside (*aside) and a new one begun. NULL with a sentence.
struct index *aside_open(struct store *s, bool check, bool *aside, struct err *err);
/// Rename the index (nobody may write it any more) and say so.
bool aside_put(struct store *s, const char *why);

// --- notes.c ---

struct note {
    struct note *next;
    struct index_note n; ///< Its strings are in `text`.
    bool filed;          ///< NOTE_DELIVERED: the file's attribute has it already.
    char text[];
};

struct note *note_new(const struct index_note *n);
/// Into memory and the queue. `filed`: as in the note. `media_type` NULL: not known.
void note_delivered(struct store *s, const char *registry, const char *digest, bool filed);
void note_confirmed(struct store *s, const char *registry, const char *repository, const char *digest,
                    const char *media_type, int64_t now);

// --- keeper.c: the one thread that writes the index ---

/// `index` NULL: it cannot be had now; it is tried again. `unclean`: it is to be checked before it is believed.
struct keeper *keeper_new(struct store *s, struct index *index, bool unclean, bool sweep);
bool keeper_start(struct keeper *k);
/// Writes what waits, as far as the disk takes it, if it was started.
void keeper_free(struct keeper *k, bool started);
/// Take over the note; without a keeper it is freed.
void keeper_put(struct store *s, struct note *n);
/// Wait until everything put before is in the index. False: the disk does not take it now.
bool keeper_flush(struct store *s);
/// Make room, so that `want` more bytes can be written.
void keeper_evict(struct store *s, uint64_t want);
void keeper_evict_anew(struct store *s); ///< What may be evicted has changed.
void keeper_damaged(struct store *s, uint64_t generation);

// --- evict.c ---

enum evict_result { EVICT_ENOUGH, EVICT_MORE, EVICT_STUCK, EVICT_DAMAGED };

/// One pass over what is held, the oldest first.
struct evict {
    size_t skip;   ///< Of the oldest, so many are to stay.
    uint64_t want; ///< Room for this is asked for.
};

/// Is there more than the cap and the file system's share allow, with `want` more?
bool evict_needed(struct store *s, uint64_t want);
/// Would `want` more bytes fit if everything were evicted?
bool evict_could_ever_fit(struct store *s, uint64_t want);
/// The same, of what could be evicted when that was last tried.
bool evict_could_fit(struct store *s, uint64_t want);
enum evict_result evict_turn(struct store *s, struct index *i, struct evict *e);

// --- health.c: a disk that fails ---

void health_failed(struct store *s, int error, const char *what);
/// The same, with a sentence of the index.
void health_failed_index(struct store *s, const char *sentence);
/// May it be tried again by now?
/// Content of this size is not taken: told now and then, counted always.
void health_no_room(struct store *s, const char *digest, uint64_t size);
bool health_rested(struct store *s);
/// Does the disk take a small file? Nothing is told.
bool health_probe(struct store *s);
void health_rest_on(struct store *s);
void health_recovered(struct store *s);
void health_measure(struct store *s); ///< The file system's and the index's bytes.

// --- work.c ---

/// Returns when every job that was put has been done.
void workers_settle(struct workers *w);

struct workers *workers_new(void);
void workers_free(struct workers *w); ///< Runs what waits.
/// `slow`: is never refused, and never takes all of the threads.
bool workers_put(struct workers *w, bool slow, void (*work)(void *ctx), void *ctx);
