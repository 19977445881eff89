// SPDX-License-Identifier: Apache-2.0
//
// The life of the room: its threads, and a reload.

#include "gateway/identity/known.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <curl/curl.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct known *identities_known(struct identities *x) {
    pthread_mutex_lock(&x->lock);
    struct known *k = known_ref(x->known);
    pthread_mutex_unlock(&x->lock);
    return k;
}

void identities_say(struct identities *x, const char *sentence) {
    pthread_mutex_lock(&x->lock);
    void (*tell)(void *, const char *) = x->tell;
    void *ctx = x->tell_ctx;
    pthread_mutex_unlock(&x->lock);
    if (tell != NULL)
        tell(ctx, sentence);
}

void identities_tell(struct identities *x, void (*tell)(void *ctx, const char *sentence), void *ctx) {
    pthread_mutex_lock(&x->lock);
    x->tell = tell;
    x->tell_ctx = ctx;
    pthread_mutex_unlock(&x->lock);
}

static void free_remembered(void *value) {
    struct remembered *r = value;
    identity_unref(r->identity);
    free(r);
}

static void init_waiting(struct identities *x) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&x->lock, NULL);
    pthread_mutex_init(&x->writing, NULL);
    pthread_cond_init(&x->jobs_there, &monotonic);
    pthread_cond_init(&x->fetch_wanted, &monotonic);
    pthread_cond_init(&x->keeper_woken, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static bool start_threads(struct identities *x, struct err *err) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = cores < 1 ? 1 : cores > POOL_THREADS_MAX ? POOL_THREADS_MAX : (size_t)cores;
    while (x->pool_count < wanted && pthread_create(&x->pool[x->pool_count], NULL, pool_main, x) == 0)
        x->pool_count++;
    x->keeper_runs = pthread_create(&x->keeper, NULL, keeper_main, x) == 0;
    x->fetcher_runs = pthread_create(&x->fetcher, NULL, issuers_main, x) == 0;
    return (x->pool_count > 0 && x->keeper_runs && x->fetcher_runs) || err_set(err, "threads cannot be started");
}

struct identities *identities_new(const struct identity_settings *settings, struct err *err) {
    struct identities *x = mem_zalloc(1, sizeof *x);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    init_waiting(x);
    hash_key_random(&x->stand_in_key);
    x->remembered = lru_new(IDENTITY_REMEMBERED_MAX, 0, free_remembered);
    x->throttle = throttle_new(settings->failures_max, settings->failures_window_s);
    x->known = known_new(settings, ++x->generations, NULL, err);
    bool ok = x->known != NULL;
    if (ok && RAND_bytes(x->digest_key, DIGEST_LEN) != 1)
        ok = err_set(err, "there is no randomness");
    if (ok && start_threads(x, err))
        return x;
    identities_free(x);
    return NULL;
}

static void stop_threads(struct identities *x) {
    pthread_mutex_lock(&x->lock);
    x->stopping = true;
    pthread_cond_broadcast(&x->jobs_there);
    pthread_cond_broadcast(&x->fetch_wanted);
    pthread_cond_broadcast(&x->keeper_woken);
    pthread_mutex_unlock(&x->lock);
    for (size_t i = 0; i < x->pool_count; i++)
        pthread_join(x->pool[i], NULL);
    if (x->keeper_runs)
        pthread_join(x->keeper, NULL);
    if (x->fetcher_runs)
        pthread_join(x->fetcher, NULL);
}

void identities_free(struct identities *x) {
    if (x == NULL)
        return;
    stop_threads(x);
    pool_free(x);
    lru_free(x->remembered);
    throttle_free(x->throttle);
    known_unref(x->known);
    pthread_cond_destroy(&x->jobs_there);
    pthread_cond_destroy(&x->fetch_wanted);
    pthread_cond_destroy(&x->keeper_woken);
    pthread_mutex_destroy(&x->lock);
    pthread_mutex_destroy(&x->writing);
    OPENSSL_cleanse(x->digest_key, DIGEST_LEN);
    free(x);
}

/// Those who wait for issuers that are configured no more and are not being asked. Under the lock.
static struct waiter *left_behind(const struct known *old, const struct known *now) {
    struct waiter *list = NULL;
    for (size_t i = 0; i < old->issuer_count; i++) {
        struct issuer *gone = old->issuers[i];
        for (size_t n = 0; n < now->issuer_count && gone != NULL; n++)
            if (now->issuers[n] == gone)
                gone = NULL;
        while (gone != NULL && !gone->fetching && gone->waiters != NULL) {
            struct waiter *w = gone->waiters;
            gone->waiters = w->next;
            w->next = list;
            list = w;
        }
    }
    return list;
}

bool identities_reconfigure(struct identities *x, const struct identity_settings *settings, struct err *err) {
    pthread_mutex_lock(&x->writing);
    struct known *old = identities_known(x);
    struct known *k = known_new(settings, ++x->generations, old, err);
    if (k == NULL) {
        pthread_mutex_unlock(&x->writing);
        known_unref(old);
        return false;
    }
    struct lru *fresh = lru_new(IDENTITY_REMEMBERED_MAX, 0, free_remembered);
    pthread_mutex_lock(&x->lock);
    struct known *replaced = x->known;
    struct lru *forgotten = x->remembered;
    x->known = k;
    x->remembered = fresh;
    throttle_set(x->throttle, settings->failures_max, settings->failures_window_s);
    struct waiter *list = left_behind(old, k);
    pthread_cond_signal(&x->fetch_wanted);
    pthread_mutex_unlock(&x->lock);
    pthread_mutex_unlock(&x->writing);
    lru_free(forgotten);
    issuers_answer(x, list);
    known_unref(replaced);
    known_unref(old);
    return true;
}
