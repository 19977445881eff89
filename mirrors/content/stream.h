// SPDX-License-Identifier: Apache-2.0
//
// A stream: a blob, or a part of one, that passes through a bounded window of memory from one upstream transfer to one
// reader, with back-pressure.
//
// Inside of mirrors/content/. Threads as in reader.h: the writer is a fetch thread, the reader a front loop.

#pragma once

#include "mirrors/content/intake.h"

struct stream_callbacks {
    /// The head (`end` INTAKE_COMPLETE) or why there is none. Once. On a fetch thread.
    void (*answered)(void *ctx, const struct intake_head *head, enum intake_end end, const struct fetch_result *result,
                     const struct err *err);
    void (*readable)(void *ctx);
    /// All of it came and was verified (also when the reader has left meanwhile). May be NULL.
    void (*whole)(void *ctx);
    void (*released)(void *ctx);
};

struct stream;

struct stream *stream_new(struct content *c, const struct intake_spec *spec, size_t window,
                          const struct stream_callbacks *callbacks, void *ctx);

/// As reader_peek(): up to two spans.
enum reader_state stream_peek(struct stream *s, struct iovec *spans, size_t *count);
void stream_consume(struct stream *s, size_t bytes);
void stream_failure(struct stream *s, struct err *err, bool *wrong_content);
void stream_close(struct stream *s);
