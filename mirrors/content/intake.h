// SPDX-License-Identifier: Apache-2.0
//
// The upstream side of one blob's way in: asks for it, holds the answer against what is known of the blob, hashes,
// takes a broken transfer up where it ended, and says at the end whether all of it is right.
//
// A GET whose head was good and whose body breaks off is asked for anew at the registry (never at where it redirected
// to), from the next byte on, as part of the same intake: at most CONTENT_RESUMES_MAX times without a MiB of progress,
// each within the place's deadline. What the digest says at the end holds for the whole.
//
// Inside of mirrors/content/. All callbacks come on fetch threads, one at a time and in order: head at most once (again
// not after a resume), then body and turn, then end exactly once. After a resume they may come on another fetch thread
// than before, but never overlap: the new fetch is started when the old one is done.

#pragma once

#include "mirrors/content/inside.h"

/// What the first good head says.
struct intake_head {
    const struct fetch_result *so_far;
    bool partial;
    uint64_t first, last, length, total; ///< As in struct reader_answer.
    bool verified;                       ///< The digest will be verified.
};

enum intake_end { INTAKE_COMPLETE, INTAKE_FAILED, INTAKE_WRONG };

struct intake_callbacks {
    enum transfer_flow (*head)(void *ctx, const struct intake_head *head);
    /// Never more bytes than promised. Bytes that were taken (TRANSFER_CONTINUE) are hashed.
    enum transfer_flow (*body)(void *ctx, const char *data, size_t len);
    void (*turn)(void *ctx);
    /// INTAKE_COMPLETE: all came and is right; the last byte may leave. INTAKE_WRONG: the digest is another. Without a
    /// head before it, this is the answer: `result` and `err` say why there is none (FETCH_MISMATCH: the head already
    /// told that the content is wrong). After a head an answer that was taken up in vain is FETCH_BROKEN, whatever the
    /// upstream said to the last attempt.
    void (*end)(void *ctx, enum intake_end end, const struct fetch_result *result, const struct err *err);
};

struct intake_spec {
    const struct content_place *place;
    const char *digest;
    bool head;                 ///< HEAD: no body is expected.
    const struct range *range; ///< NULL or RANGE_NONE: all of it. "bytes=0-" is asked for as all of it.
    uint64_t total;            ///< UINT64_MAX: unknown; content_size() is asked, too.
    /// Go on at `from` with a hash that already has what is before: takes it over. The upstream is asked for the rest
    /// (a 200 is skipped up to there), the digest is verified. Its head tells of the whole blob, its bodies begin at
    /// `from`. 0 and NULL otherwise. Not together with `range`.
    uint64_t from;
    struct digest_hasher *hasher;
};

struct intake;

/// Callbacks may come before it returns. To be given back by intake_unref().
struct intake *intake_start(struct content *c, const struct intake_spec *spec, const struct intake_callbacks *callbacks,
                            void *ctx);

/// Ask for the end; `end` follows unless it was already called.
void intake_cancel(struct intake *i);

/// Go on after TRANSFER_PAUSE. Any thread.
void intake_resume(struct intake *i);

/// A copy of the hash of all bytes taken so far (never of those that a body callback is just being given); NULL where
/// none is made, and at the end once it was verified. Only in callbacks.
struct digest_hasher *intake_hash(const struct intake *i);

void intake_unref(struct intake *i); ///< NULL is allowed.
