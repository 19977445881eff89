// SPDX-License-Identifier: Apache-2.0
//
// A fill: a blob on its way in, known by its digest.
//
// One fetcher writes, a reader follows. What is not to be kept passes through a bounded window of memory with
// back-pressure: when the window is full the upstream transfer is paused. The last byte is held back until the whole
// digest is verified, so that a wrong or cut upstream makes the client's transfer fail, never succeed. A range that
// does not begin at 0 passes through unverified (`verified` false).
//
// Threads: the writer is a fetch thread, the reader a front loop; `lock` guards what both touch. Callbacks come on the
// fetch thread, without the lock.

#pragma once

#include "mirrors/oci/range.h"
#include "mirrors/upstream/fetch.h"

#include <sys/uio.h>

/// The head of a fill's answer, or its failure: exactly one of them, once.
struct fill_answer {
    bool ok;
    const struct fetch_result *fetch; ///< Why not; or the way by which it comes.
    enum document_verdict refused;    ///< Not DOCUMENT_OK: this digest was refused as a manifest; `err` says why. With
                                      ///< `ok`: monitor mode lets it pass.
    struct err err;
    bool partial; ///< 206: `first`..`last`.
    uint64_t first, last;
    uint64_t length; ///< Bytes that will come; UINT64_MAX: the upstream does not say.
    uint64_t total;  ///< Of the whole blob; UINT64_MAX: unknown.
    bool verified;   ///< The digest will be verified before the last byte leaves.
};

struct fill_callbacks {
    void (*answered)(void *ctx, const struct fill_answer *answer);
    /// After a fill_peek() that gave nothing: there is more, or it has ended.
    void (*readable)(void *ctx);
    /// Neither comes any more: the reader has closed and the writer has ended. Once, last.
    void (*released)(void *ctx);
};

enum fill_state {
    FILL_RUNNING,
    FILL_COMPLETE, ///< Everything came and, where it is to be, is verified: when peek gives nothing more, all was sent.
    FILL_FAILED    ///< fill_failure() says why. The client's transfer must not look complete.
};

struct fill;

/// Up to `max` spans of bytes that may be sent now; they stay valid until fill_consume(). Returns their number. With 0
/// and FILL_RUNNING `readable` will be called.
size_t fill_peek(struct fill *f, struct iovec *spans, size_t max, enum fill_state *state);

/// The first `bytes` of what was peeked are sent: their place is free again.
void fill_consume(struct fill *f, size_t bytes);

/// The sentence of a failed fill, and whether its content was wrong (digest) rather than cut short.
void fill_failure(struct fill *f, struct err *err, bool *wrong_content);

/// The reader leaves; an unfinished transfer is ended. Callbacks may still come until `released`.
void fill_close(struct fill *f);
