// SPDX-License-Identifier: Apache-2.0
//
// A reader's bytes on their way to one client: memory and pieces of files by libh2o, files to plain sockets by the
// kernel.
//
// On the exchange's loop. While bytes are under way (`writing`) the client owes: either libh2o has something to write,
// or the socket is awaited here, which libh2o does not know of. A connection costs no memory of its own while it waits,
// but for what libh2o has encrypted, which is kept small for slow clients. A file that is not in memory is read by
// others.

#pragma once

#include "gateway/front/loop.h"
#include "mirrors/content/reader.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SENDING_PIECE_MAX =
        LOOP_SCRATCH_MAX, ///< Of a file through memory, as its beginning with the head; over TLS of anything.
    SENDING_SLOW_PIECE_MAX = 16 * 1024, ///< The same for a client that kept the last piece waiting...
    SENDING_SLOW_MS = 20,               ///< ... so long.
    SENDING_TURN_MAX = 512 * 1024,      ///< By the kernel, before other connections have their turn.
    SENDING_WARM_MAX = 2 * 1024 * 1024, ///< Asked of reader_warm() at once.
    SENDING_PROBE_STEP = 128 * 1024     ///< The kernel reads ahead so far: one byte in so many tells of the others.
};

struct exchange;

struct sending {
    struct reader *reader; ///< NULL: none, or it has been given back.
    bool headed;           ///< The head has left.
    bool writing;          ///< Bytes are under way; see above.
    bool warming;          ///< reader_warm() works for it.
    bool by_kernel;        ///< Files go to the socket by sendfile().
    uint64_t left;         ///< Bytes of the body that have not been handed over; UINT64_MAX: unknown.
    size_t handed;         ///< Bytes that were peeked and are with libh2o.
    uint64_t warmed_at;    ///< Where in the file reader_warm() was asked last; UINT64_MAX: never.
    int64_t handed_ms;     ///< When.
    bool slow;
    char *buffer; ///< What libh2o has of a file, or NULL.
};

/// Send the head (libh2o's answer was started) and `length` bytes (UINT64_MAX: until the end) of `ex->sending.reader`.
void sending_begin(struct exchange *ex, uint64_t length);

/// Go on: `proceed` of libh2o, `readable` of the reader.
void sending_proceed(struct exchange *ex);
void sending_readable(struct exchange *ex);

/// The client has gone, while nothing was under way: libh2o watches no socket that it does not write to.
void sending_abandon(struct exchange *ex);

/// Give the reader and all memory back.
void sending_end(struct exchange *ex);
