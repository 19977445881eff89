// SPDX-License-Identifier: Apache-2.0
//
// The index for those who look: a few open ones, lent to one thread at a time.
//
// Nobody looks into an index that has not been checked after an unclean stop, or while it is being replaced: they wait
// here, which is why only workers and commands look. When an index is set aside, those open on it are closed.

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <stdlib.h>

void readers_init(struct readers *r) {
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->standing = STANDING_CHECKING;
    r->generation = 1;
}

static void close_idle(struct readers *r) {
    for (size_t n = 0; n < r->count; n++)
        index_close(r->idle[n]);
    r->count = 0;
}

void readers_deinit(struct readers *r) {
    close_idle(r);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
}

void readers_set(struct store *s, enum index_standing standing, bool new_generation) {
    struct readers *r = &s->readers;
    pthread_mutex_lock(&r->lock);
    r->standing = standing;
    if (standing != STANDING_READY)
        close_idle(r);
    if (new_generation)
        r->generation++;
    uint64_t generation = r->generation;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (new_generation)
        facts_generation(s->facts, generation);
}

uint64_t readers_generation(struct store *s) {
    pthread_mutex_lock(&s->readers.lock);
    uint64_t generation = s->readers.generation;
    pthread_mutex_unlock(&s->readers.lock);
    return generation;
}

static struct index *open_one(struct store *s, uint64_t generation) {
    char *path = mem_printf("%s/%s", s->directory, STORE_INDEX_NAME);
    struct index *i = NULL;
    enum index_result r = index_open(path, INDEX_READ, false, &i, NULL);
    free(path);
    if (r == INDEX_DAMAGED)
        keeper_damaged(s, generation);
    if (r == INDEX_OK)
        return i;
    index_close(i);
    return NULL;
}

struct index *readers_take(struct store *s, uint64_t *generation) {
    struct readers *r = &s->readers;
    pthread_mutex_lock(&r->lock);
    while (r->standing == STANDING_CHECKING)
        pthread_cond_wait(&r->changed, &r->lock);
    *generation = r->generation;
    bool none = r->standing == STANDING_NONE;
    struct index *i = !none && r->count > 0 ? r->idle[--r->count] : NULL;
    pthread_mutex_unlock(&r->lock);
    return i != NULL || none ? i : open_one(s, *generation);
}

void readers_give(struct store *s, struct index *i, uint64_t generation, enum index_result result) {
    struct readers *r = &s->readers;
    pthread_mutex_lock(&r->lock);
    bool sound = result == INDEX_OK || result == INDEX_NOTHING;
    bool keep = sound && r->standing == STANDING_READY && r->generation == generation && r->count < STORE_READERS_MAX;
    if (keep)
        r->idle[r->count++] = i;
    pthread_mutex_unlock(&r->lock);
    if (!keep)
        index_close(i);
    if (result == INDEX_DAMAGED)
        keeper_damaged(s, generation);
}
