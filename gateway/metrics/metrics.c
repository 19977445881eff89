// SPDX-License-Identifier: Apache-2.0
//
// Counting. Order between counters does not matter: everything is relaxed.

#include "gateway/metrics/metrics.h"

#include "gateway/metrics/inside.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

const unsigned metrics_bucket_ms[METRICS_BUCKETS - 1] = {5, 20, 100, 500, 2000, 10000, 60000, 300000};

struct metrics *metrics_new(void) {
    struct metrics *m = mem_zalloc(1, sizeof(*m));
    m->registries = slots_new(2 * REQUEST_CELLS);
    m->rules = slots_new(METRICS_REASONS);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void metrics_free(struct metrics *m) {
    if (m == NULL)
        return;
    slots_free(m->registries);
    slots_free(m->rules);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

// --- requests ---

static void add(atomic_uint_fast64_t *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void count_duration(struct duration *d, uint64_t ms) {
    size_t bucket = 0;
    while (bucket < METRICS_BUCKETS - 1 && ms > metrics_bucket_ms[bucket])
        bucket++;
    add(&d->buckets[bucket], 1);
    add(&d->sum_ms, ms);
}

void metrics_request(struct metrics *m, const struct metrics_request *r) {
    struct slot *registry = slots_find(m->registries, r->registry != NULL ? r->registry : "other");
    slot_add(registry, request_cell(r->kind, r->result), 1);
    slot_add(registry, bytes_cell(r->kind, r->result), r->bytes);
    count_duration(&m->durations[r->kind], r->ms);
    if (r->result == METRICS_DENIED)
        slot_add(slots_find(m->rules, r->rule), r->reason, 1);
    if (r->would_deny)
        add(&m->would_deny, 1);
}

// --- loops ---

struct metrics_loop *metrics_loop_new(struct metrics *m, int64_t now_ms, unsigned period_ms) {
    size_t at = atomic_load(&m->loop_count);
    do {
        if (at >= METRICS_LOOPS_MAX)
            return NULL;
    } while (!atomic_compare_exchange_weak(&m->loop_count, &at, at + 1));
    struct metrics_loop *l = &m->loops[at];
    l->period_ms = period_ms;
    atomic_store(&l->due_ms, now_ms + period_ms);
    return l;
}

/// The greatest is taken away by whoever reads, meanwhile.
static void keep_most(atomic_llong *most, int64_t value) {
    long long before = atomic_load(most);
    while (value > before && !atomic_compare_exchange_weak(most, &before, value))
        ;
}

void metrics_loop_tick(struct metrics_loop *l, int64_t now_ms) {
    if (l == NULL)
        return;
    int64_t due = atomic_load(&l->due_ms);
    int64_t late = now_ms > due ? now_ms - due : 0;
    atomic_store(&l->due_ms, due + l->period_ms * (late / l->period_ms + 1)); // The timer skips what was missed.
    atomic_store(&l->late_ms, late);
    keep_most(&l->most_late_ms, late);
}

void metrics_loop_end(struct metrics_loop *l) {
    if (l == NULL)
        return;
    atomic_store(&l->due_ms, 0);
    atomic_store(&l->late_ms, 0);
}

// --- the configuration ---

void metrics_configured(struct metrics *m, const struct metrics_configuration *c, int64_t now) {
    pthread_mutex_lock(&m->lock);
    m->configuration = *c;
    m->reloaded_at = now;
    m->reload_failed = false;
    pthread_mutex_unlock(&m->lock);
}

void metrics_reload_failed(struct metrics *m) {
    pthread_mutex_lock(&m->lock);
    m->reload_failed = true;
    pthread_mutex_unlock(&m->lock);
}
