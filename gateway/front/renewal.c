// SPDX-License-Identifier: Apache-2.0
//
// The thread that looks.

#include "gateway/front/renewal.h"

#include "certs/server.h"
#include "mirrors/base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct renewal {
    pthread_t thread;
    void (*changed)(void *ctx);
    void *ctx;
    pthread_mutex_t lock; ///< Guards the rest.
    pthread_cond_t wake;
    bool stop;
    struct certs_watch watch;
};

/// False: it is to end.
static bool wait_for_turn(struct renewal *r) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RENEWAL_LOOK_S;
    while (!r->stop && pthread_cond_timedwait(&r->wake, &r->lock, &until) == 0)
        ;
    return !r->stop;
}

static void *run(void *arg) {
    struct renewal *r = arg;
    pthread_mutex_lock(&r->lock);
    while (wait_for_turn(r)) {
        if (!certs_files_changed(&r->watch))
            continue;
        pthread_mutex_unlock(&r->lock);
        r->changed(r->ctx);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

struct renewal *renewal_new(void (*changed)(void *ctx), void *ctx) {
    struct renewal *r = mem_zalloc(1, sizeof(*r));
    pthread_condattr_t monotonic;
    r->changed = changed;
    r->ctx = ctx;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&r->thread, NULL, run, r) == 0)
        return r;
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

void renewal_free(struct renewal *r) {
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    certs_watch_clear(&r->watch);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void renewal_watch(struct renewal *r, const struct config *c) {
    pthread_mutex_lock(&r->lock);
    certs_watch_clear(&r->watch);
    for (size_t i = 0; i < c->listener_count; i++) {
        const struct listener_config *l = &c->listeners[i];
        certs_watch_add(&r->watch, l->certificate);
        certs_watch_add(&r->watch, l->key);
        certs_watch_add(&r->watch, l->client_ca);
        certs_watch_add(&r->watch, l->client_crl);
    }
    certs_watch_add(&r->watch, c->ca_certificate);
    certs_watch_add(&r->watch, c->ca_key);
    pthread_mutex_unlock(&r->lock);
}
