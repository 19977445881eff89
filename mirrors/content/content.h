// SPDX-License-Identifier: Apache-2.0
//
// Content of registries: manifests read whole and judged, blobs verified and streamed, listings; kept in a store where
// there is one.
//
// The one interface between the front and all content. **What is kept never widens what a client may read**: content is
// served through a repository only after that repository's own upstream has answered 200 for it, and through a registry
// only after that registry has delivered it whole. Whether the asker may have it is the caller's to decide, each time.
// Any thread may call; answers come by callback on another thread, or on the caller's own before the call returns.

#pragma once

#include "mirrors/content/links.h"
#include "mirrors/content/reader.h"
#include "mirrors/store/store.h"
#include "mirrors/upstream/fetch.h"

#include <stdatomic.h>

enum {
    CONTENT_JUDGED_MAX = 20000,                  ///< Manifests remembered with their verdict...
    CONTENT_JUDGED_BYTES_MAX = 64 * 1024 * 1024, ///< ... and their bytes.
    CONTENT_CONFIRMED_S = 300,    ///< Without a store: a manifest by digest is not asked for again so soon.
    CONTENT_NEGATIVE_MAX = 10000, ///< Answers of 404 that are remembered for a moment.
    CONTENT_RESUMES_MAX = 5,    ///< A transfer that breaks off is taken up so often without a MiB of progress between.
    CONTENT_FAR_MAX = 16 << 20, ///< A range that begins further than this past what a fill has is fetched for itself.
    CONTENT_ORPHAN_MS = 5000,   ///< A fill that nobody follows waits so long for the next reader, before it may end.
    CONTENT_SIZES_MAX = 200000, ///< Sizes that manifests gave for what they name.
    CONTENT_REFUSED_MAX = 20000,
    CONTENT_LISTING_MAX = 4 * 1024 * 1024
};

struct content;

/// For how long what is kept holds. Part of a configuration.
struct content_terms {
    unsigned tag_ttl_s;      ///< A tag is not asked about again so soon.
    int64_t stale_for_s;     ///< A tag that cannot be confirmed is served for so long after; -1: for ever.
    unsigned negative_ttl_s; ///< A 404 is repeated from memory for so long.
    int64_t learned_for_s;   ///< That a repository holds a digest is confirmed again after this.
    unsigned finish_percent; ///< A fill that all its readers left goes on if so much is there; over 100: never.
    bool offline;            ///< Never ask this registry: what is kept is served, whatever its age.
};

/// Where something is asked for, and on whose behalf.
struct content_place {
    struct fetch_owner owner; ///< Keeps `registry` and `terms` alive.
    const struct registry *registry;
    const char *name;       ///< The registry's canonical name as asked.
    const char *repository; ///< Canonical.
    bool monitor;           ///< Follow unlisted hosts, without credentials, and tell.
    unsigned deadline_ms;
    unsigned connect_timeout_ms;
    struct content_terms terms;
};

/// `store` NULL: nothing is kept; it must outlive the content.
struct content *content_new(struct fetcher *fetcher, struct store *store);

/// After content_settle().
void content_free(struct content *c);

/// The beginning of the end, before store_close(), fetcher_free() and content_free(): the fetcher is stopped, and this
/// returns when neither it nor the store works for anybody any more (each may give work to the other).
void content_settle(struct content *c);

struct links *content_links(struct content *c);

/// Have the repository's links read from the store, so that a digest can be asked for after a restart. True: they are
/// there (or nothing is kept). False: `ready` will be called, on another thread, once.
bool content_load_links(struct content *c, const char *registry, const char *repository, void (*ready)(void *ctx),
                        void *ctx);

/// The configuration changed: verdicts that depend on it (permitted `urls`) are made anew.
void content_forget(struct content *c);

// --- manifests ---

/// A manifest or index that was read and judged. Immutable, counted by reference.
struct manifest {
    atomic_int refs;
    char digest[DIGEST_TEXT_MAX + 1];
    char sha256[DIGEST_TEXT_MAX + 1]; ///< Its other name where it was asked for by another algorithm, else "".
    char media_type[MEDIA_TYPE_MAX + 1];
    enum document_verdict verdict;
    struct err err;           ///< Unless DOCUMENT_OK: what is wrong with it.
    char urls_host[256];      ///< DOCUMENT_URLS.
    struct document document; ///< DOCUMENT_OK: what it names.
    char *body;
    size_t len;
    atomic_llong used_ms; ///< When the store was last told that it is used (monotonic).
    atomic_llong
        confirmed_ms; ///< When this repository's upstream last answered 200 for it (monotonic; without a store).
};

struct manifest *manifest_ref(struct manifest *m);
void manifest_unref(struct manifest *m);

struct manifest_answer {
    struct manifest *manifest;        ///< Lent; NULL when there is none.
    const struct fetch_result *fetch; ///< Why there is none, and by which way it came; SOURCE_STALE: why it is stale.
    enum content_source source;
};

typedef void (*manifest_fn)(void *ctx, const struct manifest_answer *answer);

/// Read a manifest by tag (`digest` NULL) or by digest. A tag that was confirmed within its time to live is answered
/// from the store; else the upstream is asked by HEAD, which does not count against rate limits, then for the digest if
/// that is new. If it cannot be asked (no connection, too late, 429, 5xx, credentials of ours refused) the last known
/// digest is served as SOURCE_STALE; a tag that it says is gone is gone. One question in flight a tag or digest,
/// however many ask. Links are remembered. `error_body`: the caller will show the upstream's own words, so a refusal is
/// asked for by GET.
void content_manifest(struct content *c, const struct content_place *place, const char *tag, const char *digest,
                      bool error_body, manifest_fn answer, void *ctx);

// --- blobs ---

/// Start a blob's way out; see reader.h. `range` NULL: all of it. `window`: bytes of memory where it passes through
/// memory. The reader is the caller's, to be given back by reader_close().
struct reader *content_blob(struct content *c, const struct content_place *place, const char *digest, bool head,
                            const struct range *range, size_t window, const struct reader_callbacks *callbacks,
                            void *ctx);

// --- listings ---

struct listing_answer {
    const struct fetch_result *fetch;
    const char *body; ///< NULL unless FETCH_OK.
    size_t len;
    const char *content_type, *link, *filters_applied;
};

typedef void (*listing_fn)(void *ctx, const struct listing_answer *answer);

/// tags/list (`reference` "") or the referrers of a digest, read whole.
void content_listing(struct content *c, const struct content_place *place, enum fetch_resource resource,
                     const char *reference, const char *query, listing_fn answer, void *ctx);

// --- figures ---

struct content_stats {
    uint64_t fills;          ///< In flight.
    uint64_t readers;        ///< Of blobs, now.
    uint64_t stale;          ///< Answers served stale since the start.
    uint64_t mismatches;     ///< Content whose digest was wrong, since the start.
    uint64_t resumes;        ///< Transfers that were taken up after a break.
    uint64_t manifests;      ///< Judged, in memory...
    uint64_t manifest_bytes; ///< ... and their bytes.
};

/// Any thread; never blocks for long.
void content_stats(struct content *c, struct content_stats *out);
