// SPDX-License-Identifier: Apache-2.0
//
// A growable string with a bound.
//
// Once an addition would pass `max`, the buffer is marked `overflow`, keeps what it has and ignores
// further additions: a writer checks once, at the end. `data` is always NUL-terminated after the
// first addition. Not shared between threads.

#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;    ///< NULL while empty; NUL-terminated otherwise.
    size_t len;    ///< Bytes without the NUL.
    size_t cap;    ///< Allocated bytes.
    size_t max;    ///< `len` never exceeds this.
    bool overflow; ///< An addition did not fit and was dropped.
};

void buf_init(struct buf *b, size_t max);
void buf_deinit(struct buf *b);

/// Forget the content, keep the memory.
void buf_clear(struct buf *b);

bool buf_add(struct buf *b, const void *data, size_t len);
bool buf_adds(struct buf *b, const char *s);
bool buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// Append `s` as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD, control
/// characters are escaped: strings from strangers are safe in the log and in error bodies.
bool buf_add_json(struct buf *b, const char *s, size_t len);

/// The content as fresh memory that the caller frees (never NULL); the buffer is empty afterwards.
char *buf_steal(struct buf *b);

/// The bytes of the well-formed UTF-8 character at the start of `s`; 0 when there is none.
size_t buf_utf8_len(const unsigned char *s, size_t len);
