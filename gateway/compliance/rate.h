// SPDX-License-Identifier: Apache-2.0
//
// How often the same may report. A window opens with the first report and lets so many pass. Bounded: whoever was heard
// of least recently makes room. Time is an argument. The owner locks.

#pragma once

#include <stddef.h>
#include <stdint.h>

enum { RATE_ENTRIES_MAX = 20000 };

struct rate;

struct rate *rate_new(unsigned window_s);
void rate_free(struct rate *r); ///< NULL is allowed.

/// Count one of `key`; seconds to wait, where there were `most` in this window already, or 0.
unsigned rate_take(struct rate *r, const void *key, size_t len, unsigned most, int64_t now);
