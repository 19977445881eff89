// SPDX-License-Identifier: Apache-2.0
//
// The queue of notes for the index: anyone puts, the keeper takes. Bounded; what does not fit is dropped and counted.

#include "mirrors/base/mem.h"
#include "mirrors/store/keeper.h"

#include <stdlib.h>
#include <time.h>

enum { FLUSH_WAIT_MS = 30000 };

static void wake(struct keeper *k) {
    pthread_cond_signal(&k->wake);
}

void keeper_put(struct store *s, struct note *n) {
    struct keeper *k = s->keeper;
    if (k == NULL) {
        free(n);
        return;
    }
    pthread_mutex_lock(&k->lock);
    bool fits = k->count < STORE_NOTES_MAX;
    if (fits) {
        *k->end = n;
        k->end = &n->next;
        k->put++;
        if (++k->count == STORE_BATCH_MAX)
            wake(k);
    }
    pthread_mutex_unlock(&k->lock);
    if (fits)
        return;
    atomic_fetch_add(&s->notes_dropped, 1);
    free(n);
}

static struct timespec after_ms(int64_t ms) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

bool keeper_flush(struct store *s) {
    struct keeper *k = s->keeper;
    if (k == NULL)
        return true;
    struct timespec until = after_ms(FLUSH_WAIT_MS);
    pthread_mutex_lock(&k->lock);
    uint64_t mine = k->put;
    int waited = 0;
    while ((k->done < mine || !atomic_load(&s->marked)) && !k->refusing && waited == 0) {
        k->urgent = true;
        wake(k);
        waited = pthread_cond_timedwait(&k->written, &k->lock, &until);
    }
    bool written = k->done >= mine;
    pthread_mutex_unlock(&k->lock);
    return written;
}

void keeper_evict(struct store *s, uint64_t want) {
    struct keeper *k = s->keeper;
    if (k == NULL)
        return;
    pthread_mutex_lock(&k->lock);
    k->evict_asked = true;
    if (want > k->want)
        k->want = want;
    wake(k);
    pthread_mutex_unlock(&k->lock);
}

void keeper_evict_anew(struct store *s) {
    struct keeper *k = s->keeper;
    if (k == NULL)
        return;
    pthread_mutex_lock(&k->lock);
    k->evict_asked = k->evict_anew = true;
    wake(k);
    pthread_mutex_unlock(&k->lock);
}

void keeper_damaged(struct store *s, uint64_t generation) {
    struct keeper *k = s->keeper;
    if (k == NULL)
        return;
    pthread_mutex_lock(&k->lock);
    k->damaged = generation;
    wake(k);
    pthread_mutex_unlock(&k->lock);
}

struct note *queue_take(struct keeper *k, size_t max, size_t *count) {
    pthread_mutex_lock(&k->lock);
    struct note *batch = k->first, **at = &batch;
    for (*count = 0; *at != NULL && *count < max; ++*count)
        at = &(*at)->next;
    k->first = *at;
    *at = NULL;
    if (k->first == NULL)
        k->end = &k->first;
    k->count -= *count;
    pthread_mutex_unlock(&k->lock);
    return batch;
}

void queue_put_back(struct keeper *k, struct note *batch, size_t count) {
    if (batch == NULL)
        return;
    struct note *last = batch;
    while (last->next != NULL)
        last = last->next;
    pthread_mutex_lock(&k->lock);
    last->next = k->first;
    if (k->first == NULL)
        k->end = &last->next;
    k->first = batch;
    k->count += count;
    pthread_mutex_unlock(&k->lock);
}

void queue_done(struct keeper *k, size_t count) {
    pthread_mutex_lock(&k->lock);
    k->done += count;
    pthread_cond_broadcast(&k->written);
    pthread_mutex_unlock(&k->lock);
}

void queue_refuse(struct keeper *k, bool refusing) {
    pthread_mutex_lock(&k->lock);
    k->refusing = refusing;
    pthread_cond_broadcast(&k->written);
    pthread_mutex_unlock(&k->lock);
}

// --- the keeper waits ---

static bool has_work(const struct keeper *k) {
    return k->stop || k->urgent || k->evict_asked || k->damaged != 0 || k->count >= STORE_BATCH_MAX;
}

bool queue_wait(struct keeper *k, bool busy) {
    struct timespec until = after_ms(STORE_BATCH_MS);
    pthread_mutex_lock(&k->lock);
    int waited = 0;
    // While the disk fails there is no hurry, whatever waits.
    while (!busy && waited == 0 && !(k->refusing ? k->stop : has_work(k)))
        waited = pthread_cond_timedwait(&k->wake, &k->lock, &until);
    k->urgent = false;
    bool go_on = !k->stop;
    pthread_mutex_unlock(&k->lock);
    return go_on;
}
