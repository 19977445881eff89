// SPDX-License-Identifier: Apache-2.0
//
// The keeper: the one thread that writes the index, evicts and sweeps.
//
// It wakes at least once a second, does a bounded piece of each of its duties and looks again. Notes wait here while
// the disk fails; they are put back in their order when a batch is not taken.

#include "mirrors/store/keeper.h"
#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TURN_BATCHES = 8,             // So many batches, then the other duties.
    SUMS_MS = 2000,               // The index is counted so often at most.
    STUCK_MS = 10000,             // Nothing could be evicted: tried again after this.
    PRUNE_MS = 3600 * 1000,       // Old facts are forgotten so often...
    PRUNE_MAX = 1000,             // ... a few at a time...
    PRUNE_AGE_S = 400 * 24 * 3600 // ... when they are so old.
};

// --- the index: opening, checking, replacing ---

static void begin_sweep(struct keeper *k) {
    k->sweep = true;
    k->swept = (struct sweep){0};
    atomic_store(&k->store->sweeping, true);
}

static void index_gone(struct keeper *k) {
    index_close(k->index);
    k->index = NULL;
    k->marked = false;
}

// Open it (again). While this runs whoever looks waits.
static bool open_index(struct keeper *k, bool check) {
    struct store *s = k->store;
    struct err err = {0};
    bool aside;
    readers_set(s, STANDING_CHECKING, false);
    index_gone(k);
    k->index = aside_open(s, check, &aside, &err);
    if (aside)
        begin_sweep(k);
    if (k->index == NULL)
        health_failed_index(s, err.text);
    readers_set(s, k->index == NULL ? STANDING_NONE : STANDING_READY, aside);
    return k->index != NULL;
}

// What is there is damaged, whatever it says when it is opened again.
static void replace_index(struct keeper *k, const char *why) {
    struct store *s = k->store;
    readers_set(s, STANDING_CHECKING, false);
    char *reason = mem_strdup(why);
    index_gone(k);
    bool aside = aside_put(s, reason);
    free(reason);
    if (!aside)
        health_failed_index(s, "it is damaged and cannot be set aside");
    struct err err = {0};
    bool again = false;
    k->index = aside ? aside_open(s, false, &again, &err) : NULL;
    if (aside)
        begin_sweep(k);
    if (aside && k->index == NULL)
        health_failed_index(s, err.text);
    readers_set(s, k->index == NULL ? STANDING_NONE : STANDING_READY, true);
}

static void replace_if_damaged(struct keeper *k) {
    pthread_mutex_lock(&k->lock);
    uint64_t damaged = k->damaged;
    k->damaged = 0;
    pthread_mutex_unlock(&k->lock);
    if (damaged != 0 && damaged == readers_generation(k->store) && k->index != NULL)
        replace_index(k, "found while it was read");
}

// --- writing ---

// Before anything else is written: that this process has not ended well yet.
static enum index_result mark(struct keeper *k) {
    if (k->marked)
        return INDEX_OK;
    enum index_result r = index_set_unclean(k->index, true);
    k->marked = r == INDEX_OK;
    atomic_store(&k->store->marked, k->marked);
    return r;
}

static enum index_result apply(struct keeper *k, const struct note *batch, size_t count) {
    struct index_note *notes = mem_zalloc(count, sizeof *notes);
    size_t n = 0;
    for (const struct note *at = batch; at != NULL; at = at->next)
        notes[n++] = at->n;
    enum index_result r = mark(k);
    if (r == INDEX_OK)
        r = index_apply(k->index, notes, count);
    free(notes);
    return r == INDEX_NOTHING ? INDEX_OK : r;
}

static void finish_batch(struct keeper *k, struct note *batch, size_t count) {
    while (batch != NULL) {
        struct note *next = batch->next;
        if (batch->n.kind == NOTE_DELIVERED && !batch->filed)
            adopt_mark_also(k->store, batch->n.digest, batch->n.registry);
        free(batch);
        batch = next;
    }
    k->changed = true;
    queue_done(k, count);
}

// One transaction of at most `max` notes. INDEX_NOTHING: none waits.
static enum index_result write_batch(struct keeper *k, size_t max) {
    size_t count;
    struct note *batch = k->index == NULL ? NULL : queue_take(k, max, &count);
    if (batch == NULL)
        return k->index == NULL ? INDEX_FAILED : INDEX_NOTHING;
    enum index_result r = apply(k, batch, count);
    if (r == INDEX_OK)
        finish_batch(k, batch, count);
    else
        queue_put_back(k, batch, count);
    return r;
}

static void write_notes(struct keeper *k) {
    enum index_result r = INDEX_OK;
    for (unsigned n = 0; n < TURN_BATCHES && r == INDEX_OK; n++)
        r = write_batch(k, STORE_BATCH_MAX);
    if (r == INDEX_DAMAGED)
        replace_index(k, index_error(k->index));
    if (r == INDEX_FAILED)
        health_failed_index(k->store, k->index == NULL ? "it cannot be opened" : index_error(k->index));
}

// A single note that the index will never take must not hold up all others: one by one, those refused are dropped, if
// the disk takes the rest.
static bool write_singly(struct keeper *k) {
    bool any = false;
    for (size_t n = 0; n < STORE_BATCH_MAX; n++) {
        enum index_result r = write_batch(k, 1);
        if (r == INDEX_NOTHING)
            return true;
        if (r == INDEX_DAMAGED)
            return false;
        any = any || r == INDEX_OK;
        if (r == INDEX_OK)
            continue;
        size_t count;
        struct note *refused = any ? queue_take(k, 1, &count) : NULL;
        if (refused == NULL)
            return false;
        free(refused);
        atomic_fetch_add(&k->store->notes_dropped, 1);
        queue_done(k, 1);
    }
    return any;
}

// The rest is over: does the disk work again?
static bool try_again(struct keeper *k) {
    if (!health_probe(k->store))
        return false;
    if (k->index == NULL && !open_index(k, true))
        return false;
    enum index_result r = write_batch(k, STORE_BATCH_MAX);
    if (r == INDEX_DAMAGED)
        replace_index(k, index_error(k->index));
    if (r == INDEX_FAILED && k->index != NULL)
        return write_singly(k);
    return r != INDEX_FAILED;
}

static void recover(struct keeper *k) {
    struct store *s = k->store;
    if (!health_rested(s))
        return;
    if (try_again(k))
        health_recovered(s);
    else
        health_rest_on(s);
}

// --- other duties ---

static void note_use(void *ctx, const char *digest, int64_t time) {
    keeper_put(ctx, note_new(&(struct index_note){.kind = NOTE_USED, .digest = digest, .time = time}));
}

static void write_uses(struct keeper *k, int64_t now) {
    k->next_uses = now + STORE_USES_S * 1000;
    facts_take_uses(k->store->facts, note_use, k->store);
}

static bool is_idle(struct keeper *k, long long *blob_bytes) {
    pthread_mutex_lock(&k->lock);
    bool idle = k->count == 0;
    *blob_bytes = atomic_load(&k->store->blob_bytes);
    pthread_mutex_unlock(&k->lock);
    return idle;
}

// The sums of the index; what memory counted is put right by them when nothing waits to be written.
static void count_all(struct keeper *k, int64_t now) {
    struct store *s = k->store;
    struct index_sums sums;
    long long before = 0;
    // While files are being taken back the index has not got them all.
    bool idle = !k->counted || (is_idle(k, &before) && !k->sweep);
    k->next_sums = now + SUMS_MS;
    k->changed = false;
    enum index_result r = index_sum(k->index, &sums);
    if (r == INDEX_DAMAGED)
        replace_index(k, index_error(k->index));
    if (r != INDEX_OK)
        return;
    atomic_store(&s->pieces, sums.pieces);
    atomic_store(&s->tags, sums.tags);
    atomic_store(&s->repositories, sums.repositories);
    // The first time nothing of what was counted can be in the index yet.
    if (idle)
        atomic_fetch_add(&s->blob_bytes, (long long)sums.disk - before);
    k->changed = !idle;
    k->counted = true;
}

static void prune(struct keeper *k, int64_t now) {
    size_t count = 0;
    if (index_prune(k->index, store_now() - PRUNE_AGE_S, PRUNE_MAX, &count) == INDEX_DAMAGED)
        replace_index(k, index_error(k->index));
    k->next_prune = count == PRUNE_MAX ? now : now + PRUNE_MS;
}

// --- eviction ---

static void begin_evict(struct keeper *k, int64_t now) {
    struct store *s = k->store;
    pthread_mutex_lock(&k->lock);
    uint64_t want = k->want;
    if (k->evict_anew) {
        k->next_evict = 0;
        atomic_store(&s->kept_bytes, 0);
    }
    k->evict_asked = k->evict_anew = false;
    k->want = 0;
    pthread_mutex_unlock(&k->lock);
    if (k->evicting) {
        k->evict.want = want > k->evict.want ? want : k->evict.want;
        return;
    }
    if (!evict_needed(s, want)) {
        atomic_store(&s->full, false);
        return;
    }
    if (now < k->next_evict)
        return;
    // What is used but not yet written counts.
    write_uses(k, now);
    write_notes(k);
    k->evicting = true;
    k->evict = (struct evict){.want = want};
}

static void evict_over(struct keeper *k, enum evict_result r, int64_t now) {
    struct store *s = k->store;
    k->evicting = false;
    k->changed = true;
    if (r == EVICT_ENOUGH) {
        atomic_store(&s->full, false);
        atomic_store(&s->kept_bytes, 0);
        k->told_full = false;
        return;
    }
    k->next_evict = now + STUCK_MS;
    long long held = atomic_load(&s->blob_bytes);
    atomic_store(&s->kept_bytes, held > 0 ? held : 0);
    // Down to the low-water mark it may not come; what counts is the cap.
    if (!evict_needed(s, k->evict.want))
        return;
    atomic_store(&s->full, evict_needed(s, 0));
    if (!k->told_full)
        store_tell(s, "store_evict",
                   "the store in %s is full and nothing in it may be evicted: what is new passes through memory",
                   s->directory);
    k->told_full = true;
}

static void evict(struct keeper *k, int64_t now) {
    if (k->index == NULL)
        return;
    begin_evict(k, now);
    if (!k->evicting || (!k->marked && mark(k) != INDEX_OK))
        return;
    enum evict_result r = evict_turn(k->store, k->index, &k->evict);
    if (r == EVICT_DAMAGED)
        replace_index(k, index_error(k->index));
    if (r != EVICT_MORE)
        evict_over(k, r, now);
}

// --- the sweep ---

static void end_sweep(struct keeper *k) {
    struct store *s = k->store;
    k->sweep = false;
    atomic_store(&s->sweeping, false);
    if (k->swept.adopted + k->swept.missing > 0)
        store_tell(s, "store_index", "the store in %s was swept: %llu files taken back, %llu forgotten", s->directory,
                   (unsigned long long)k->swept.adopted, (unsigned long long)k->swept.missing);
}

static void sweep(struct keeper *k) {
    bool through;
    if (!k->sweep || k->index == NULL || atomic_load(&k->store->failing))
        return;
    enum index_result r = sweep_turn(k->store, k->index, &k->swept, &through);
    if (r == INDEX_DAMAGED)
        replace_index(k, index_error(k->index));
    else if (through)
        end_sweep(k);
}

// --- the thread ---

static void mark_now(struct keeper *k) {
    enum index_result r = k->index == NULL ? INDEX_OK : mark(k);
    if (r == INDEX_DAMAGED)
        replace_index(k, index_error(k->index));
    if (r == INDEX_FAILED)
        health_failed_index(k->store, index_error(k->index));
}

static void turn(struct keeper *k) {
    struct store *s = k->store;
    int64_t now = clock_ms();
    replace_if_damaged(k);
    if (atomic_load(&s->failing))
        recover(k);
    else
        write_notes(k);
    if (!k->marked && !atomic_load(&s->failing))
        mark_now(k);
    if (now >= k->next_uses)
        write_uses(k, now);
    health_measure(s);
    evict(k, now);
    sweep(k);
    if (k->index != NULL && k->changed && now >= k->next_sums)
        count_all(k, now);
    if (k->index != NULL && !k->sweep && now >= k->next_prune && !atomic_load(&s->failing))
        prune(k, now);
    graves_clear(s->graves);
    queue_refuse(k, atomic_load(&s->failing));
}

static void begin(struct keeper *k) {
    struct store *s = k->store;
    if (k->unclean && k->index != NULL)
        open_index(k, true);
    else if (k->index != NULL)
        readers_set(s, STANDING_READY, false);
    else
        readers_set(s, STANDING_NONE, false);
    mark_now(k);
    sweep_temporary(s);
    health_measure(s);
    if (k->index != NULL)
        count_all(k, clock_ms());
}

static void end(struct keeper *k) {
    struct store *s = k->store;
    write_uses(k, 0);
    enum index_result r = INDEX_OK;
    while (r == INDEX_OK)
        r = write_batch(k, STORE_BATCH_MAX);
    if (r == INDEX_DAMAGED)
        replace_index(k, index_error(k->index));
    bool clean = r == INDEX_NOTHING && !k->sweep && !atomic_load(&s->failing);
    if (clean && k->marked)
        index_set_unclean(k->index, false);
    readers_set(s, STANDING_NONE, false); // Readers first: the last one to close cuts the log.
    index_gone(k);
}

static bool is_busy(struct keeper *k) {
    return k->evicting || (k->sweep && k->index != NULL && !atomic_load(&k->store->failing));
}

static void *keeper_main(void *arg) {
    struct keeper *k = arg;
    begin(k);
    while (queue_wait(k, is_busy(k)))
        turn(k);
    end(k);
    return NULL;
}

struct keeper *keeper_new(struct store *s, struct index *index, bool unclean, bool sweep) {
    struct keeper *k = mem_zalloc(1, sizeof *k);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->wake, &attr);
    pthread_cond_init(&k->written, &attr);
    pthread_condattr_destroy(&attr);
    k->store = s;
    k->end = &k->first;
    k->index = index;
    k->unclean = unclean;
    k->next_uses = clock_ms() + STORE_USES_S * 1000;
    k->next_prune = clock_ms() + PRUNE_MS;
    if (sweep || unclean)
        begin_sweep(k);
    return k;
}

bool keeper_start(struct keeper *k) {
    return pthread_create(&k->thread, NULL, keeper_main, k) == 0;
}

static void keeper_deinit(struct keeper *k) {
    size_t count;
    for (struct note *n = queue_take(k, SIZE_MAX, &count); n != NULL;) {
        struct note *next = n->next;
        free(n);
        n = next;
    }
    index_close(k->index);
    pthread_cond_destroy(&k->written);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

void keeper_free(struct keeper *k, bool started) {
    if (k == NULL)
        return;
    if (started) {
        pthread_mutex_lock(&k->lock);
        k->stop = true;
        pthread_cond_signal(&k->wake);
        pthread_mutex_unlock(&k->lock);
        pthread_join(k->thread, NULL);
    }
    keeper_deinit(k);
}
