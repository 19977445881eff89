// SPDX-License-Identifier: Apache-2.0
//
// A reader: one client's way through one blob, wherever its bytes come from.
//
// They come from the store (a piece), from a fill that others may be following too (a file that grows), or from an
// upstream transfer of the reader's own (a bounded window of memory with back-pressure: when it is full the transfer is
// paused). A reader may go from one to another on its way: when the disk fails in the middle of a fill, each of its
// readers goes on with a transfer of its own from where it stands. The last byte of a blob is held back until the whole
// digest is verified, so that a wrong or cut upstream makes the client's transfer fail, never succeed. Only a range
// past 0 that is fetched for itself passes through unverified (`verified` false).
//
// Threads: a reader belongs to one thread (a front loop); callbacks come on any thread, without a lock, also before
// content_blob() has returned.

#pragma once

#include "mirrors/oci/range.h"
#include "mirrors/upstream/fetch.h"

#include <sys/uio.h>

/// Whence content came; for the log, the metrics and a client's Warning.
enum content_source {
    SOURCE_NONE,
    SOURCE_HIT,    ///< From the store (or memory), the upstream was not asked, or only whether it still stands.
    SOURCE_FOLLOW, ///< Followed a fill that somebody else had begun.
    SOURCE_MISS,   ///< Fetched for this asker.
    SOURCE_STALE   ///< From the store although the upstream could not be asked: older than it should be.
};

/// The head of an answer, or its failure: exactly one of them, once.
struct reader_answer {
    bool ok;
    enum content_source source;
    const struct fetch_result *fetch; ///< Why not; or the way by which it comes (SOURCE_STALE: why the upstream was no
                                      ///< help). FETCH_RANGE: `total` is the blob's size where it is known.
    enum document_verdict refused;    ///< Not DOCUMENT_OK: this digest was refused as a manifest; `err` says why. With
                                      ///< `ok`: monitor mode lets it pass.
    struct err err;
    bool partial; ///< 206: `first`..`last`.
    uint64_t first, last;
    uint64_t length; ///< Bytes that will come; UINT64_MAX: the upstream does not say.
    uint64_t total;  ///< Of the whole blob; UINT64_MAX: unknown.
    bool verified;   ///< The digest is verified, or will be before the last byte leaves.
};

struct reader_callbacks {
    void (*answered)(void *ctx, const struct reader_answer *answer);
    /// After a reader_peek() that gave nothing, or reader_warm(): there is more, or it has ended.
    void (*readable)(void *ctx);
    /// Neither comes any more: the reader was closed and all that worked for it has ended. Once, last.
    void (*released)(void *ctx);
};

enum reader_state {
    READER_RUNNING,
    READER_COMPLETE, ///< Everything came and, where it is to be, is verified: when peek gives nothing more, all was
                     ///< sent.
    READER_FAILED    ///< reader_failure() says why. The client's transfer must not look complete.
};

/// What may be sent now: spans of memory, or (count 0, length > 0) a part of a file.
struct reader_view {
    size_t count;
    struct iovec spans[2];
    int fd;
    uint64_t offset, length;
    bool cold; ///< The file's part may not be in memory: read it with RWF_NOWAIT, and ask reader_warm() on EAGAIN.
};

struct reader;

/// The view stays valid until reader_consume() or reader_close(). Where it is empty and the state is READER_RUNNING,
/// `readable` will be called.
enum reader_state reader_peek(struct reader *r, struct reader_view *view);

/// The first `bytes` of what was peeked are sent.
void reader_consume(struct reader *r, uint64_t bytes);

/// Have up to `length` bytes of the file's part that was peeked read into memory on a thread that may wait; `readable`
/// follows.
void reader_warm(struct reader *r, uint64_t length);

/// Does what the answer said of `verified` still hold? Not where the disk failed under a range: it then came by itself.
bool reader_is_verified(struct reader *r);

/// The file's part that was peeked ended early, or could not be read: it is not to be served to others.
void reader_doubt(struct reader *r);

/// The sentence of a failed reader, and whether its content was wrong (digest) rather than cut short.
void reader_failure(struct reader *r, struct err *err, bool *wrong_content);

/// The reader leaves. Callbacks may still come until `released`.
void reader_close(struct reader *r);
