// SPDX-License-Identifier: Apache-2.0
//
// Writing all that is counted, family by family. docs/metrics.md lists them in this order.

#include "gateway/metrics/inside.h"
#include "gateway/metrics/process.h"
#include "gateway/metrics/text.h"
#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const kind_words[METRICS_KINDS] = {"manifest", "blob", "tags", "referrers", "base", "other"};
static const char *const result_words[METRICS_RESULTS] = {"hit", "follow", "miss", "stale", "denied", "error"};

static uint64_t load(const atomic_uint_fast64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

// --- requests ---

/// `requests` and `cell`: what was never asked is not shown; what was is shown in both families.
static void write_cells(struct buf *b, const struct slot *s, const char *name, size_t (*cell)(size_t, size_t)) {
    for (size_t kind = 0; kind < METRICS_KINDS; kind++) {
        for (size_t result = 0; result < METRICS_RESULTS; result++) {
            if (slot_read(s, request_cell(kind, result)) == 0)
                continue;
            struct text_label labels[] = {
                {"registry", s->name}, {"kind", kind_words[kind]}, {"result", result_words[result]}, {0}};
            text_sample(b, name, labels, slot_read(s, cell(kind, result)), TEXT_WHOLE);
        }
    }
}

static void write_by_registry(struct buf *b, const struct metrics *m, const char *name, const char *help,
                              size_t (*cell)(size_t, size_t)) {
    text_family(b, name, "counter", help);
    for (size_t i = 0; i < slots_count(m->registries); i++)
        write_cells(b, slots_at(m->registries, i), name, cell);
}

static void write_duration(struct buf *b, const struct duration *d, const char *kind) {
    uint64_t count = 0;
    char end[24] = "+Inf";
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        count += load(&d->buckets[i]);
        if (i < METRICS_BUCKETS - 1)
            snprintf(end, sizeof(end), "%g", metrics_bucket_ms[i] / 1000.0);
        struct text_label labels[] = {{"kind", kind}, {"le", i < METRICS_BUCKETS - 1 ? end : "+Inf"}, {0}};
        text_sample(b, "pullgate_request_duration_seconds_bucket", labels, count, TEXT_WHOLE);
    }
    struct text_label labels[] = {{"kind", kind}, {0}};
    text_sample(b, "pullgate_request_duration_seconds_sum", labels, load(&d->sum_ms), TEXT_MILLI);
    text_sample(b, "pullgate_request_duration_seconds_count", labels, count, TEXT_WHOLE);
}

static void write_denials(struct buf *b, const struct metrics *m) {
    text_family(b, "pullgate_denials_total", "counter", "Requests that were denied, by the rule that decided and why.");
    for (size_t i = 0; i < slots_count(m->rules); i++) {
        const struct slot *s = slots_at(m->rules, i);
        for (size_t reason = 0; reason < METRICS_REASONS; reason++) {
            struct text_label labels[] = {
                {"rule", s->name}, {"reason", denial_reason_word((enum denial_reason)reason)}, {0}};
            if (slot_read(s, reason) != 0)
                text_sample(b, "pullgate_denials_total", labels, slot_read(s, reason), TEXT_WHOLE);
        }
    }
}

static void write_requests(struct buf *b, const struct metrics *m) {
    write_by_registry(b, m, "pullgate_requests_total", "Requests that have ended.", request_cell);
    write_by_registry(b, m, "pullgate_response_bytes_total", "Bytes of answers' bodies sent to clients.", bytes_cell);
    text_family(b, "pullgate_request_duration_seconds", "histogram",
                "From a request's head to the end of its answer, the client's own pace included.");
    for (size_t kind = 0; kind < METRICS_KINDS; kind++)
        write_duration(b, &m->durations[kind], kind_words[kind]);
    write_denials(b, m);
    text_single(b, "pullgate_would_denials_total", "counter",
                "Requests let pass by monitor mode or a monitored rule that would have been denied.",
                load(&m->would_deny), TEXT_WHOLE);
}

// --- upstreams and content ---

static void write_ratelimits(struct buf *b, const struct metrics_figures *f) {
    static const char name[] = "pullgate_upstream_ratelimit_remaining";
    text_family(b, name, "gauge", "What the registry last said is left of its rate limit.");
    for (const struct metrics_upstream *u = f->upstreams; u < f->upstreams + f->upstream_count; u++) {
        struct text_label labels[] = {{"registry", u->registry}, {0}};
        if (u->ratelimit_remaining >= 0)
            text_sample(b, name, labels, (uint64_t)u->ratelimit_remaining, TEXT_WHOLE);
    }
}

static void write_upstreams(struct buf *b, const struct metrics_figures *f) {
    static const struct {
        const char *name, *help;
        size_t value; ///< Where in a struct metrics_upstream.
        enum text_unit unit;
    } rows[] = {
        {"pullgate_upstream_requests_total", "Requests sent to a registry, to where it redirects, and for its tokens.",
         offsetof(struct metrics_upstream, requests), TEXT_WHOLE},
        {"pullgate_upstream_errors_total", "Of these: no answer, 429, 5xx, or broken off.",
         offsetof(struct metrics_upstream, errors), TEXT_WHOLE},
        {"pullgate_upstream_limited_total", "Of these: 429, or 503 with Retry-After.",
         offsetof(struct metrics_upstream, limited), TEXT_WHOLE},
        {"pullgate_upstream_seconds_total", "How long these requests took, together.",
         offsetof(struct metrics_upstream, us), TEXT_MICRO},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text_family(b, rows[i].name, "counter", rows[i].help);
        for (const struct metrics_upstream *u = f->upstreams; u < f->upstreams + f->upstream_count; u++) {
            struct text_label labels[] = {{"registry", u->registry}, {0}};
            text_sample(b, rows[i].name, labels, *(const uint64_t *)((const char *)u + rows[i].value), rows[i].unit);
        }
    }
    write_ratelimits(b, f);
}

static void write_content(struct buf *b, const struct content_stats *c) {
    text_single(b, "pullgate_upstream_resumes_total", "counter",
                "Transfers from upstream taken up again after a break.", c->resumes, TEXT_WHOLE);
    text_single(b, "pullgate_digest_mismatches_total", "counter", "Times that content was not what its digest says.",
                c->mismatches, TEXT_WHOLE);
    text_single(b, "pullgate_stale_total", "counter",
                "Times that content older than it should be was served, since the registry could not be asked.",
                c->stale, TEXT_WHOLE);
    text_single(b, "pullgate_fills", "gauge", "Blobs being fetched.", c->fills, TEXT_WHOLE);
    text_single(b, "pullgate_blob_readers", "gauge", "Answers with a blob in progress.", c->readers, TEXT_WHOLE);
    text_single(b, "pullgate_memory_manifests", "gauge", "Manifests kept in memory.", c->manifests, TEXT_WHOLE);
    text_single(b, "pullgate_memory_manifest_bytes", "gauge", "Memory that the manifests kept take.", c->manifest_bytes,
                TEXT_WHOLE);
}

// --- the store ---

static void write_store(struct buf *b, const struct store_stats *s) {
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"pullgate_store_bytes", "gauge", "What the store takes on the disk.", s->bytes},
        {"pullgate_store_max_bytes", "gauge", "What it may take; 0: as much as there is.", s->max_size},
        {"pullgate_store_free_bytes", "gauge", "Free on its file system.", s->file_system_free},
        {"pullgate_store_writable", "gauge", "1: new content is kept; 0: the disk fails or is full.", s->writable},
        {"pullgate_store_pieces", "gauge", "Contents held, each digest once.", s->pieces},
        {"pullgate_store_tags", "gauge", "Tags known.", s->tags},
        {"pullgate_store_repositories", "gauge", "Repositories known.", s->repositories},
        {"pullgate_store_evictions_total", "counter", "Contents removed to make room.", s->evicted},
        {"pullgate_store_evicted_bytes_total", "counter", "Bytes removed to make room.", s->evicted_bytes},
        {"pullgate_store_write_errors_total", "counter", "Times that the disk did not take what was written.",
         s->write_errors},
        {"pullgate_store_refused_total", "counter", "Contents that were not kept for want of room.", s->refused},
        {"pullgate_store_notes_dropped_total", "counter", "Notes for the index lost for want of room in its queue.",
         s->notes_dropped},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        text_single(b, rows[i].name, rows[i].type, rows[i].help, rows[i].value, TEXT_WHOLE);
}

// --- the process ---

/// The last tick's, or that of the tick which has not come yet.
static uint64_t late_now(const struct metrics_loop *l, int64_t now_ms) {
    int64_t due = atomic_load(&l->due_ms), last = atomic_load(&l->late_ms);
    int64_t waits = due != 0 ? now_ms - due : 0; // 0: the loop is just beginning, or has ended.
    return (uint64_t)(waits > last ? waits : last);
}

static void write_lags(struct buf *b, const char *name, const char *help, const uint64_t *values, size_t count) {
    text_family(b, name, "gauge", help);
    for (size_t i = 0; i < count; i++) {
        char index[24];
        snprintf(index, sizeof(index), "%zu", i);
        struct text_label labels[] = {{"loop", index}, {0}};
        text_sample(b, name, labels, values[i], TEXT_MILLI);
    }
}

static void write_loops(struct buf *b, struct metrics *m) {
    uint64_t late[METRICS_LOOPS_MAX], most[METRICS_LOOPS_MAX];
    size_t count = atomic_load(&m->loop_count);
    int64_t now = clock_ms();
    for (size_t i = 0; i < count; i++) {
        late[i] = late_now(&m->loops[i], now);
        most[i] = (uint64_t)atomic_exchange(&m->loops[i].most_late_ms, 0);
        most[i] = most[i] > late[i] ? most[i] : late[i];
    }
    write_lags(b, "pullgate_loop_lag_seconds", "How late the loop ran its last tick, or is with the next one.", late,
               count);
    write_lags(b, "pullgate_loop_lag_max_seconds", "The greatest lag since this was last read.", most, count);
}

static void write_ends(struct buf *b, const char *name, const char *help, const struct metrics_certificate *list,
                       size_t count) {
    text_family(b, name, "gauge", help);
    for (size_t i = 0; i < count; i++) {
        struct text_label labels[] = {{"listener", list[i].listener}, {0}};
        text_sample(b, name, labels, (uint64_t)list[i].expires, TEXT_WHOLE);
    }
}

static void write_configuration(struct buf *b, const struct metrics_configuration *c, int64_t at, bool failed) {
    struct text_label hash[] = {{"hash", c->hash}, {0}};
    text_family(b, "pullgate_config_info", "gauge", "The configuration that is served.");
    text_sample(b, "pullgate_config_info", hash, 1, TEXT_WHOLE);
    text_single(b, "pullgate_config_enforced", "gauge", "0: mode \"monitor\", nothing is enforced.", c->enforced,
                TEXT_WHOLE);
    text_single(b, "pullgate_config_last_reload_successful", "gauge", "0: the last reload failed and changed nothing.",
                !failed, TEXT_WHOLE);
    text_single(b, "pullgate_config_last_reload_success_timestamp_seconds", "gauge",
                "When the served configuration was read.", (uint64_t)at, TEXT_WHOLE);
    write_ends(b, "pullgate_certificate_expires_timestamp_seconds", "When a listener's certificate ends.",
               c->certificates, c->certificate_count);
    write_ends(b, "pullgate_client_crl_expires_timestamp_seconds",
               "When a listener's list of revoked client certificates is to be renewed.", c->revocations,
               c->revocation_count);
}

static void write_current_configuration(struct buf *b, struct metrics *m) {
    struct metrics_configuration *c = mem_alloc(sizeof(*c));
    pthread_mutex_lock(&m->lock);
    *c = m->configuration;
    int64_t at = m->reloaded_at;
    bool failed = m->reload_failed;
    pthread_mutex_unlock(&m->lock);
    write_configuration(b, c, at, failed);
    free(c);
}

static void write_machines(struct buf *b, const uint64_t *machines) {
    static const char name[] = "pullgate_compliance_machines";
    text_family(b, name, "gauge", "Client machines by what they last reported, those that are expected included.");
    for (int i = 0; i < COMPLIANCE_COUNT; i++) {
        struct text_label labels[] = {{"status", compliance_word((enum compliance)i)}, {0}};
        text_sample(b, name, labels, machines[i], TEXT_WHOLE);
    }
}

static void write_gateway(struct buf *b, struct metrics *m, const struct metrics_figures *f) {
    struct text_label version[] = {{"version", f->version}, {0}};
    write_loops(b, m);
    text_single(b, "pullgate_connections", "gauge", "Open connections of clients.", f->connections, TEXT_WHOLE);
    text_single(b, "pullgate_connections_max", "gauge", "How many of them are accepted at most.", f->connections_max,
                TEXT_WHOLE);
    text_single(b, "pullgate_log_dropped_total", "counter", "Lines of the log that were lost.", f->log_dropped,
                TEXT_WHOLE);
    text_family(b, "pullgate_build_info", "gauge", "The program.");
    text_sample(b, "pullgate_build_info", version, 1, TEXT_WHOLE);
    write_current_configuration(b, m);
}

bool metrics_write(struct metrics *m, const struct metrics_figures *f, struct buf *b) {
    write_requests(b, m);
    write_upstreams(b, f);
    write_content(b, &f->content);
    if (f->stored)
        write_store(b, &f->store);
    write_machines(b, f->machines);
    write_gateway(b, m, f);
    process_write(b);
    return !b->overflow;
}
