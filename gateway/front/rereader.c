// SPDX-License-Identifier: Apache-2.0
//
// Looking at files again. One lock guards what is watched and whether the thread is to end; it is not held during a
// call, so that a call may follow another configuration.

#include "gateway/front/rereader.h"

#include "certs/server.h"
#include "mirrors/base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct rereader {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool ending;
    struct certs_watch watch;
    bool (*reread)(void *ctx);
    void *ctx;
};

static void collect(const struct config *c, struct certs_watch *w) {
    for (size_t i = 0; i < c->listener_count; i++) {
        const struct listener_config *l = &c->listeners[i];
        certs_watch_add(w, l->certificate);
        certs_watch_add(w, l->key);
        certs_watch_add(w, l->client_ca);
        certs_watch_add(w, l->client_crl);
    }
    certs_watch_add(w, c->ca_certificate);
    certs_watch_add(w, c->ca_key);
}

void rereader_follow(struct rereader *r, const struct config *config) {
    struct certs_watch fresh = {0};
    collect(config, &fresh);
    pthread_mutex_lock(&r->lock);
    struct certs_watch old = r->watch;
    r->watch = fresh;
    pthread_mutex_unlock(&r->lock);
    certs_watch_clear(&old);
}

/// With the lock. What is seen now is what `reread` will read, or older: a change in between is met the next time.
static bool wait_for_change(struct rereader *r) {
    struct timespec until;
    while (!r->ending) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += REREADER_EVERY_S;
        while (!r->ending && pthread_cond_timedwait(&r->wake, &r->lock, &until) == 0)
            continue;
        if (!r->ending && certs_files_changed(&r->watch))
            return true;
    }
    return false;
}

static void *run(void *arg) {
    struct rereader *r = arg;
    pthread_mutex_lock(&r->lock);
    while (wait_for_change(r)) {
        struct certs_watch seen = certs_watch_again(&r->watch);
        pthread_mutex_unlock(&r->lock);
        bool done = r->reread(r->ctx);
        pthread_mutex_lock(&r->lock);
        if (done)
            certs_watch_take(&r->watch, &seen);
        certs_watch_clear(&seen);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

struct rereader *rereader_new(const struct config *config, bool (*reread)(void *ctx), void *ctx) {
    struct rereader *r = mem_zalloc(1, sizeof(*r));
    pthread_condattr_t clock;
    r->reread = reread;
    r->ctx = ctx;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, &clock);
    pthread_condattr_destroy(&clock);
    collect(config, &r->watch);
    if (pthread_create(&r->thread, NULL, run, r) == 0)
        return r;
    r->ending = true; // Without a thread files are read again at a reload only.
    return r;
}

void rereader_free(struct rereader *r) {
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    bool started = !r->ending;
    r->ending = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (started)
        pthread_join(r->thread, NULL);
    certs_watch_clear(&r->watch);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
    free(r);
}
