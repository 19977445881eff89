// SPDX-License-Identifier: Apache-2.0
//
// The inside of a reader: what blob.c (finding a source for it and answering) and reader.c (reading from it) share.
//
// Until it is answered, one thread at a time works for it: the caller of content_blob(), a worker of the store, a fetch
// thread, each handing on to the next. After that the front reads, and nobody else changes anything but `waits`.
// `lock` makes that hand-over visible and guards what reader_close() takes away: `fill` and `stream`. Lock order:
// reader, then what it reads from. Nothing is called back with it.

#pragma once

#include "mirrors/content/fill.h"
#include "mirrors/content/stream.h"

enum {
    READER_ROUNDS_MAX = 3
}; ///< So often a reader looks for a source that it shares, before it takes one of its own.

enum reading {
    READING_NOTHING, ///< Yet; or there is nothing to read (HEAD).
    READING_PIECE,
    READING_FILL,
    READING_STREAM,
    READING_FAILED
};

struct reader {
    atomic_int refs; ///< The front's, and one for each that may still call it.
    struct content *content;
    struct reader_callbacks callbacks;
    void *ctx;
    struct content_place place; ///< Its strings stand behind the reader.
    char digest[DIGEST_TEXT_MAX + 1];
    bool head;
    struct range range;
    size_t window;
    bool urls_pass; ///< Refused as a manifest for its `urls`, which monitor mode lets pass.

    unsigned rounds;
    bool filling; ///< Asked for confirmation because of another repository's fill.
    bool foreign; ///< Its stream is the delivery by this registry.

    pthread_mutex_t lock;
    bool answered, closed;
    bool waits; ///< The front peeked and got nothing: `readable` is owed.
    enum reading reading;
    struct piece *piece;
    struct fill *fill; ///< Followed; a reader with a stream may do so without reading from it, to keep it going.
    struct fill_follower follower;
    bool began; ///< The fill.
    struct stream *stream;
    uint64_t position, end; ///< In the blob; `end` UINT64_MAX: unknown. A stream is cut at it.
    uint64_t skip;          ///< Bytes of the stream that come before `position`.
    bool unverified;        ///< The disk failed under a range that had been told to be verified.
    struct err *err;        ///< READING_FAILED.
    bool wrong_content;
};

struct reader *reader_ref(struct reader *r);
void reader_unref(struct reader *r);

/// With its lock. What it fails with, for reader_failure().
void reader_fail(struct reader *r, const struct err *err, bool wrong_content);

/// With its lock: read from an upstream transfer of its own.
void reader_stream(struct reader *r, const struct intake_spec *spec);

/// Without its lock: call `readable` if it is owed.
void reader_wake(struct reader *r);
