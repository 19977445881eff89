// SPDX-License-Identifier: Apache-2.0
//
// Content of upstream registries: manifests read whole and judged, blobs streamed through a fill and
// verified, listings.
//
// The one interface between the front and upstream content; what keeps content slips in behind it. Any thread may
// call; answers come by callback on a fetch thread, or on the caller's own before the call returns.

#pragma once

#include "mirrors/content/fill.h"
#include "mirrors/content/links.h"
#include "mirrors/upstream/fetch.h"

#include <stdatomic.h>

enum {
    CONTENT_JUDGED_MAX = 20000,                  ///< Manifests remembered with their verdict...
    CONTENT_JUDGED_BYTES_MAX = 64 * 1024 * 1024, ///< ... and their bytes.
    CONTENT_CONFIRMED_S = 300,  ///< A manifest by digest is not asked for again so soon after its repository gave it.
    CONTENT_SIZES_MAX = 200000, ///< Sizes that manifests gave for what they name.
    CONTENT_REFUSED_MAX = 20000,
    CONTENT_LISTING_MAX = 4 * 1024 * 1024
};

struct content;

/// Where something is asked for, and on whose behalf.
struct content_place {
    struct fetch_owner owner; ///< Keeps `registry` alive.
    const struct registry *registry;
    const char *name;       ///< The registry's canonical name as asked.
    const char *repository; ///< Canonical.
    bool monitor;           ///< Follow unlisted hosts, without credentials, and tell.
    unsigned deadline_ms;
    unsigned connect_timeout_ms;
};

struct content *content_new(struct fetcher *fetcher);

/// Nothing may be in flight any more.
void content_free(struct content *c);

struct links *content_links(struct content *c);

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
    atomic_llong confirmed_ms; ///< When this repository's upstream last answered 200 for it.
};

struct manifest *manifest_ref(struct manifest *m);
void manifest_unref(struct manifest *m);

struct manifest_answer {
    struct manifest *manifest;        ///< Lent; NULL when there is none.
    const struct fetch_result *fetch; ///< Why there is none, and by which way it came.
};

typedef void (*manifest_fn)(void *ctx, const struct manifest_answer *answer);

/// Read a manifest by tag (`digest` NULL: the upstream is asked by HEAD first, which does not count against rate
/// limits, then by digest) or by digest. Links are remembered. `error_body`: the caller will show the upstream's own
/// words, so a refusal is asked for by GET.
void content_manifest(struct content *c, const struct content_place *place, const char *tag, const char *digest,
                      bool error_body, manifest_fn answer, void *ctx);

// --- blobs ---

/// Start a blob's way in; see fill.h. `range` NULL: all of it. The fill is the caller's, to be given back by
/// fill_close().
struct fill *content_blob(struct content *c, const struct content_place *place, const char *digest, bool head,
                          const struct range *range, size_t window, const struct fill_callbacks *callbacks, void *ctx);

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
