// SPDX-License-Identifier: Apache-2.0
//
// The inside of mirrors/content/: what its files share. Nobody else includes this.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/base/lru.h"
#include "mirrors/content/content.h"
#include "mirrors/content/jobs.h"
#include "mirrors/oci/name.h"

#include <pthread.h>

struct fills;

enum {
    CONTENT_CONFIRM_MS = 10000, ///< Where there is something to serve without it, a HEAD may take no longer.
    CONTENT_JUDGED_STORE_BYTES_MAX = 16 * 1024 * 1024, ///< Of judged manifests where a store has them, too.
    CONTENT_KEY_MAX = sizeof(void *) + REGISTRY_MAX + REPOSITORY_MAX + DIGEST_TEXT_MAX + 64
};

struct content {
    struct fetcher *fetcher;
    struct store *store; ///< NULL: nothing is kept.
    struct links *links;
    struct fills *fills;  ///< fill.h
    struct jobs *jobs;    ///< jobs.h: what is being asked at the moment, and who waits for it.
    pthread_mutex_t lock; ///< Guards the tables below; never held across I/O.
    struct lru *judged;   ///< owner, registry, repository, digest -> struct manifest
    struct lru *refused;  ///< owner, registry, digest -> struct refusal
    struct lru *sizes;    ///< registry, repository, digest -> uint64_t
    struct lru *negative; ///< owner, registry, repository, reference -> struct negative (negative.c)
    atomic_ullong readers, stale, mismatches, resumes;
};

/// What something is remembered under. On the stack: these are made for each request.
struct content_key {
    char bytes[CONTENT_KEY_MAX];
    size_t len;
};

/// `owner`: what is remembered speaks for this configuration alone; NULL: for any.
void content_key_begin(struct content_key *key, const void *owner, const char *registry);
void content_key_add(struct content_key *key, const char *part);

/// A digest that was refused as a manifest, and is therefore refused as a blob.
struct refusal {
    enum document_verdict verdict;
    struct err err;
};

bool content_refused(struct content *c, const struct content_place *place, const char *digest, struct refusal *out);
void content_remember(struct content *c, const struct content_place *place, struct manifest *m);
struct manifest *content_recall(struct content *c, const struct content_place *place, const char *digest);

/// The upstream says that it has no such manifest (any more).
void content_unconfirm(struct content *c, const struct content_place *place, const char *digest);

/// The size that a manifest of this repository gives for a digest; UINT64_MAX: unknown.
uint64_t content_size(struct content *c, const struct content_place *place, const char *digest);

/// A spec for the fetcher from a place.
struct fetch_spec content_spec(const struct content_place *place, enum fetch_resource resource, const char *reference);

/// A place with strings of its own and a reference of its owner; for what outlives the call.
void content_place_copy(struct content_place *to, const struct content_place *from);
void content_place_deinit(struct content_place *place);

/// Does the upstream say that this repository has not got it, or may not have it for us? Then what was learned before
/// is void.
bool content_revokes(const struct fetch_result *result);

/// Did the upstream fail to say anything that counts, so that what is kept may be served in its place? (No connection,
/// time, 429, 5xx, a broken answer, credentials of ours refused; never 404, nor a refusal without credentials of ours.)
bool content_may_be_stale(const struct fetch_result *result);

// negative.c: answers of 404, remembered for `negative_ttl_s`. `reference` is a blob's digest, or what
// negative_manifest() makes of a manifest's reference: no manifest of that digest does not mean no such blob.

enum { NEGATIVE_REFERENCE_MAX = 16 + DIGEST_TEXT_MAX };

struct lru *negative_new(void);

/// "manifests/REFERENCE" into `out` of NEGATIVE_REFERENCE_MAX bytes.
void negative_manifest(char *out, const char *reference);

/// True: this was answered 404 a moment ago; `out` says so, with `code` and `message` as then.
bool negative_recall(struct content *c, const struct content_place *place, const char *reference,
                     struct fetch_result *out);

/// Remembered if it is a 404, forgotten if it is FETCH_OK, else nothing.
void negative_note(struct content *c, const struct content_place *place, const char *reference,
                   const struct fetch_result *result);

// confirm.c: is this digest this repository's to give?

enum standing {
    STANDING_HELD,    ///< Confirmed for this repository and delivered by this registry: `piece` may be served.
    STANDING_FOREIGN, ///< Confirmed, but this registry has not delivered it yet: it must, whole, once.
    STANDING_ABSENT,  ///< Not held; ask the upstream for it (which confirms it, or not).
    STANDING_FAILED   ///< The upstream says no, or nothing that counts and nothing is known: `fetch`.
};

struct confirmation {
    enum standing standing;
    struct piece *piece;        ///< STANDING_HELD, STANDING_FOREIGN: lent.
    bool confirmed;             ///< STANDING_ABSENT: the repository has it, as was learned earlier or just now.
    const char *media_type;     ///< Of a held manifest as it was stored, else "".
    enum content_source source; ///< SOURCE_HIT, or SOURCE_STALE.
    const struct fetch_result *fetch;
};

typedef void (*confirm_fn)(void *ctx, const struct confirmation *c);

/// Find out, from memory at once where it suffices (on the caller's thread), else on a worker; and ask the upstream by
/// HEAD where the repository's word is missing or too old, but only if there is something to serve by it: the content
/// is held, or `filling` (a fill of it is on its way for another repository of this registry). Never with a store of
/// NULL.
void content_confirm(struct content *c, const struct content_place *place, enum fetch_resource resource,
                     const char *digest, bool filling, confirm_fn done, void *ctx);

/// An answer that needed nobody, and what it lends.
struct confirm_now {
    struct confirmation answer;
    struct store_facts facts; ///< Its piece is the caller's to give back.
    struct fetch_result why;  ///< Behind `answer.fetch`.
};

/// content_confirm() where memory suffices. False: it does not, nothing is to be given back.
bool content_confirm_now(struct content *c, const struct content_place *place, const char *digest, bool filling,
                         struct confirm_now *out);

/// A HEAD that was not answered well may still be answered by GET: some registries know no HEAD, nor do some of the
/// hosts that they redirect to.
bool content_head_unknown(const struct fetch_result *result);

/// A registry that is not to be asked, and nothing to serve instead.
void content_offline(const struct content_place *place, const char *reference, struct fetch_result *out);

// judge.c: from bytes to a judged manifest, and into the store and back.

struct judging {
    const char *data;
    size_t len;
    const char *content_type; ///< As it came, "" without.
    const char *expected;     ///< The digest that it must have; malformed: whatever it has by sha256.
    const char *where;        ///< Whence it came, for sentences.
};

/// A reference for the caller. DOCUMENT_DIGEST: it is not what was expected, and has no body.
struct manifest *manifest_judge(const struct content_place *place, const struct judging *j);

/// One that could not be read whole.
struct manifest *manifest_too_large(const char *digest, const char *where);

/// Write it into the store, on a worker: this registry has delivered it, this repository has it.
void manifest_keep(struct content *c, const struct content_place *place, struct manifest *m);

/// A held piece, judged and remembered for this place; a reference for the caller. NULL: it is not what its name says,
/// cannot be read, or nobody knows what kind it is. Blocks where piece_bytes() gives nothing.
struct manifest *manifest_of_piece(struct content *c, const struct content_place *place, struct piece *piece,
                                   const char *media_type);

/// Somebody was served from it: tell the store now and then, so that it is not evicted.
void manifest_used(struct content *c, const struct content_place *place, struct manifest *m);

// learned.c: links that outlive the process.

/// A `links_learned_fn`; `ctx` is the content.
void content_learned(void *ctx, const char *registry, const char *repository, const char *parent, const char *child,
                     unsigned flags);

// whole.c: an answer that is read whole, with a bound.
struct whole {
    struct transfer_head head; ///< Its `location` is not kept.
    struct buf body;
    const struct fetch_result *result; ///< In `done` only.
};
typedef void (*whole_fn)(void *ctx, const struct whole *w);
void whole_start(struct fetcher *f, const struct fetch_spec *spec, size_t max, whole_fn done, void *ctx);
