// SPDX-License-Identifier: Apache-2.0
//
// What the counters are made of: between metrics.c, which counts, and write.c, which writes.

#pragma once

#include "gateway/metrics/metrics.h"
#include "gateway/metrics/slots.h"

#include <pthread.h>

enum {
    METRICS_REASONS = REASON_LOOP + 1,
    METRICS_BUCKETS = 9, ///< Of durations; the last has no end.
    REQUEST_CELLS = METRICS_KINDS * METRICS_RESULTS
};

/// The ends of the duration buckets but the last, in milliseconds.
extern const unsigned metrics_bucket_ms[METRICS_BUCKETS - 1];

/// Of a registry's slot: requests, then bytes, by kind and result.
static inline size_t request_cell(size_t kind, size_t result) {
    return kind * METRICS_RESULTS + result;
}

static inline size_t bytes_cell(size_t kind, size_t result) {
    return REQUEST_CELLS + request_cell(kind, result);
}

struct duration {
    atomic_uint_fast64_t buckets[METRICS_BUCKETS]; ///< Each its own, not those below.
    atomic_uint_fast64_t sum_ms;
};

struct metrics_loop {
    int64_t period_ms;
    atomic_llong due_ms; ///< When the next tick is to run; 0: none is.
    atomic_llong late_ms, most_late_ms;
};

struct metrics {
    struct slots *registries; ///< request_cell(), bytes_cell().
    struct slots *rules;      ///< A counter a reason.
    struct duration durations[METRICS_KINDS];
    atomic_uint_fast64_t would_deny;
    struct metrics_loop loops[METRICS_LOOPS_MAX];
    atomic_size_t loop_count;
    pthread_mutex_t lock; ///< Guards what follows; not taken by a loop.
    struct metrics_configuration configuration;
    int64_t reloaded_at; ///< Unix seconds of the last success.
    bool reload_failed;  ///< The last one.
};
