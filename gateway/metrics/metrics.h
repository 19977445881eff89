// SPDX-License-Identifier: Apache-2.0
//
// What the gateway counts, and how Prometheus reads it. docs/metrics.md has every name.
//
// Front loops count without a lock: relaxed atomics in slots that are found by name (slots.h). Label values are
// bounded: registries and rules by the configuration's own names, up to SLOTS_MAX of each; the rest are "other".
// Counters only grow, also over reloads. What other rooms count themselves (content, store, fetcher, log) is gathered
// by whoever writes, as `struct metrics_figures`. Any thread.

#pragma once

#include "gateway/compliance/verdict.h"
#include "gateway/denial/denial.h"
#include "gateway/metrics/slots.h"
#include "mirrors/base/buf.h"
#include "mirrors/content/content.h"
#include "mirrors/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    METRICS_TEXT_MAX = 16 * 1024 * 1024, ///< More than all names within their bounds can make.
    METRICS_LOOPS_MAX = 64,
    METRICS_CERTIFICATES_MAX = 64
};

struct metrics;

struct metrics *metrics_new(void);

/// Nobody may be counting any more.
void metrics_free(struct metrics *m);

// --- requests ---

enum metrics_kind {
    METRICS_MANIFEST,
    METRICS_BLOB,
    METRICS_TAGS,
    METRICS_REFERRERS,
    METRICS_BASE,
    METRICS_OTHER, ///< Pushes, and what is no request of the protocol.
    METRICS_KINDS
};

enum metrics_result {
    METRICS_HIT,
    METRICS_FOLLOW,
    METRICS_MISS,
    METRICS_STALE,
    METRICS_DENIED,
    METRICS_ERROR, ///< Any other answer of 400 or more.
    METRICS_RESULTS
};

struct metrics_request {
    const char *registry; ///< As the configuration names it (wildcards as such); NULL: none that is listed.
    enum metrics_kind kind;
    enum metrics_result result;
    uint64_t bytes; ///< Of the body, sent.
    uint64_t ms;    ///< From the request's head to the answer's end.
    enum denial_reason reason;
    const char *rule; ///< METRICS_DENIED: the rule that decided, "" for none.
    bool would_deny;  ///< Let pass by monitor mode or a monitored rule.
};

/// One that has ended.
void metrics_request(struct metrics *m, const struct metrics_request *r);

// --- loops ---

/// How late a loop runs its tick; one thread reports, any reads.
struct metrics_loop;

/// A loop that ticks every `period_ms` from `now_ms` (clock_ms()) on. NULL: METRICS_LOOPS_MAX are there.
struct metrics_loop *metrics_loop_new(struct metrics *m, int64_t now_ms, unsigned period_ms);

/// A tick runs. `l` NULL is allowed.
void metrics_loop_tick(struct metrics_loop *l, int64_t now_ms);

/// It ticks no more. `l` NULL is allowed.
void metrics_loop_end(struct metrics_loop *l);

// --- the configuration ---

struct metrics_certificate {
    char listener[256];
    int64_t expires; ///< Unix seconds.
};

struct metrics_configuration {
    char hash[64];
    bool enforced; ///< Not monitor mode.
    size_t certificate_count;
    struct metrics_certificate certificates[METRICS_CERTIFICATES_MAX];
    size_t revocation_count; ///< Lists of revoked client certificates: when they are to be renewed.
    struct metrics_certificate revocations[METRICS_CERTIFICATES_MAX];
};

/// This is served from now on (Unix seconds).
void metrics_configured(struct metrics *m, const struct metrics_configuration *c, int64_t now);

/// A reload failed; what was served still is.
void metrics_reload_failed(struct metrics *m);

// --- writing ---

/// One registry, as the fetcher counts it.
struct metrics_upstream {
    const char *registry;
    uint64_t requests, errors, limited, us;
    int64_t ratelimit_remaining; ///< -1: it never said.
};

struct metrics_figures {
    const struct metrics_upstream *upstreams; ///< Each registry once.
    size_t upstream_count;
    struct content_stats content;
    bool stored; ///< There is a store; else `store` is not looked at.
    struct store_stats store;
    uint64_t machines[COMPLIANCE_COUNT]; ///< That reported, or were to.
    uint64_t connections, connections_max, log_dropped;
    const char *version;
};

/// Write everything. False: it did not fit `b`. Resets the greatest lag of each loop.
bool metrics_write(struct metrics *m, const struct metrics_figures *f, struct buf *b);
