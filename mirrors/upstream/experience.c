// SPDX-License-Identifier: Apache-2.0
//
// What was learned of upstreams lately. `lock` guards the tables.

#include "mirrors/upstream/experience.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct experience {
    pthread_mutex_t lock;
    struct lru *resting;    ///< Endpoint -> until when.
    struct lru *limited;    ///< Registry -> until when.
    struct lru *mismatched; ///< Registry, host, digest -> sentence and until when.
};

struct remembered {
    int64_t until_ms;
    struct err sentence;
};

struct experience *experience_new(void) {
    struct experience *x = mem_zalloc(1, sizeof(*x));
    pthread_mutex_init(&x->lock, NULL);
    x->resting = lru_new(EXPERIENCE_ENTRIES_MAX, 0, free);
    x->limited = lru_new(EXPERIENCE_ENTRIES_MAX, 0, free);
    x->mismatched = lru_new(EXPERIENCE_ENTRIES_MAX, 0, free);
    return x;
}

void experience_free(struct experience *x) {
    if (x == NULL)
        return;
    lru_free(x->resting);
    lru_free(x->limited);
    lru_free(x->mismatched);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

static bool recall(struct experience *x, const struct lru *table, const char *key, struct err *sentence) {
    pthread_mutex_lock(&x->lock);
    const struct remembered *r = lru_peek(table, key, strlen(key));
    bool holds = r != NULL && r->until_ms > clock_ms();
    if (holds && sentence != NULL)
        *sentence = r->sentence;
    pthread_mutex_unlock(&x->lock);
    return holds;
}

static void remember(struct experience *x, struct lru *table, const char *key, int seconds, const char *sentence) {
    struct remembered *r = mem_zalloc(1, sizeof(*r));
    r->until_ms = clock_ms() + (int64_t)seconds * 1000;
    err_set(&r->sentence, "%s", sentence);
    pthread_mutex_lock(&x->lock);
    lru_put(table, key, strlen(key), r, 0);
    pthread_mutex_unlock(&x->lock);
}

void experience_failed(struct experience *x, const char *endpoint) {
    remember(x, x->resting, endpoint, EXPERIENCE_REST_S, "");
}

void experience_good(struct experience *x, const char *endpoint) {
    pthread_mutex_lock(&x->lock);
    lru_remove(x->resting, endpoint, strlen(endpoint));
    pthread_mutex_unlock(&x->lock);
}

bool experience_rests(struct experience *x, const char *endpoint) {
    return recall(x, x->resting, endpoint, NULL);
}

int experience_limited_left(struct experience *x, const char *registry) {
    pthread_mutex_lock(&x->lock);
    const struct remembered *r = lru_peek(x->limited, registry, strlen(registry));
    int64_t left_ms = r != NULL ? r->until_ms - clock_ms() : 0;
    pthread_mutex_unlock(&x->lock);
    return left_ms > 0 ? (int)((left_ms + 999) / 1000) : 0;
}

void experience_limited(struct experience *x, const char *registry, int seconds) {
    if (seconds > experience_limited_left(x, registry))
        remember(x, x->limited, registry, seconds, "");
}

static char *key_of(const char *registry, const char *host, const char *digest) {
    return mem_printf("%s\n%s\n%s", registry, host, digest);
}

void experience_mismatched(struct experience *x, const char *registry, const char *host, const char *digest,
                           const char *sentence) {
    char *key = key_of(registry, host, digest);
    remember(x, x->mismatched, key, EXPERIENCE_MISMATCH_S, sentence);
    free(key);
}

bool experience_is_mismatched(struct experience *x, const char *registry, const char *host, const char *digest,
                              struct err *err) {
    char *key = key_of(registry, host, digest);
    bool found = recall(x, x->mismatched, key, err);
    free(key);
    return found;
}
