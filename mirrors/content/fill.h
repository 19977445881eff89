// SPDX-License-Identifier: Apache-2.0
//
// A fill: a blob on its way into the store, known by its registry and digest. One upstream transfer writes, any number
// of readers follow; whoever asks for content that is already coming follows the same fill, on whichever loop.
//
// Inside of mirrors/content/. It stays in the table until the store has given the content its name (or it failed), so
// that nobody finds it in neither. Its readers finish on the verified digest, not on that. When the last of them leaves
// it goes on if enough is there, else it waits CONTENT_ORPHAN_MS for another and ends. When the disk fails it *breaks*:
// what was written stays readable to those who follow, and each goes on by itself from there.
//
// Threads: any; a lock each, never held across I/O nor callbacks.

#pragma once

#include "mirrors/content/inside.h"

enum { FILL_BUFFER = 256 * 1024, FILLS_MAX = 20000 };

enum fill_state {
    FILL_ASKING, ///< No head yet.
    FILL_RUNNING,
    FILL_COMPLETE, ///< All there and verified.
    FILL_FAILED,   ///< The upstream failed, or the content is wrong.
    FILL_BROKEN    ///< The disk failed: what is there stays readable; go on from there by fill_hash().
};

struct fill;
struct fills;

struct fills *fills_new(void);

/// Waits for what is being committed. No transfer may be running any more.
void fills_free(struct fills *f);
size_t fills_count(struct fills *f);

/// What a follower hears: something changed since it last looked (state, or more bytes than `seen`). At most once for
/// each fill_look() that asked for it. Any thread.
struct fill_follower {
    /// Called before each `changed`, under the fill's lock, so that `ctx` outlives that call even if the follower
    /// leaves meanwhile: take a reference, no more. `changed` gives it back.
    void (*hold)(void *ctx);
    void (*changed)(void *ctx);
    void *ctx;
    struct fill_follower *prev, *next; ///< From here on the fill's.
    bool waits;
    enum fill_state state;
    uint64_t seen;
};

struct fill_view {
    enum fill_state state;
    uint64_t ready; ///< Bytes from 0 that may be read from `fd`: the last one of the blob only when verified.
    uint64_t total; ///< UINT64_MAX: unknown yet.
    int fd;         ///< -1 while nothing is ready.
    bool wrong_content;
};

enum fill_origin {
    FILL_NOWHERE, ///< There is none.
    FILL_OWN,     ///< This repository began it.
    FILL_FOREIGN  ///< Another repository of the registry did.
};

/// Is the place's registry delivering this digest now, and for whom?
enum fill_origin fill_origin(struct content *c, const struct content_place *place, const char *digest);

/// Follow the fill of this registry and digest, or begin one; `*begun` says which. The follower is the caller's memory
/// until fill_leave(). Another repository's fill is followed only if the place's repository is `confirmed` to have the
/// content, too. NULL: that; or the store takes nothing now; or it has got the content meanwhile.
struct fill *fill_find_or_begin(struct content *c, const struct content_place *place, const char *digest,
                                bool confirmed, struct fill_follower *follower, bool *begun);

/// Did the place's repository begin it?
bool fill_is_own(const struct fill *f, const struct content_place *place);

/// Look at it; with `wait` the follower's `changed` is called when there is more than `seen` bytes ready, or another
/// state. UINT64_MAX: only another state.
void fill_look(struct fill *f, struct fill_follower *follower, bool wait, uint64_t seen, struct fill_view *out);

/// By which way it comes, or why it failed (both are copies; either may be NULL).
void fill_result(struct fill *f, struct fetch_result *result, struct err *err);

/// FILL_BROKEN: the hash of exactly the first `view.ready` bytes, for an intake that goes on from there; the caller's.
/// NULL when none are ready.
struct digest_hasher *fill_hash(struct fill *f);

/// A reference without a follower: what fill_look() gave stays readable until it is released.
struct fill *fill_hold(struct fill *f);
void fill_release(struct fill *f); ///< NULL is allowed.

/// The follower leaves. No `changed` begins any more; one that was already held may still be running.
void fill_leave(struct fill *f, struct fill_follower *follower);
