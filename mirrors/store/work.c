// SPDX-License-Identifier: Apache-2.0
//
// The store's workers: a few threads that take jobs in order.
//
// Slow jobs (those that sync a file) have a queue of their own and never take all of the threads, so that a look into
// the index does not wait behind a large layer's way to the disk. Whatever was accepted is run, at the latest by
// workers_free().

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <stdlib.h>

struct job {
    struct job *next;
    void (*work)(void *ctx);
    void *ctx;
};

struct queue {
    struct job *first, **end;
    size_t count;
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;    ///< For workers.
    pthread_cond_t settled; ///< Nothing waits or runs.
    struct queue quick, slow;
    unsigned slow_running, running; ///< Jobs that run: slow ones, all.
    bool stop;
    pthread_t threads[STORE_WORKERS];
};

static void queue_put(struct queue *q, struct job *j) {
    *q->end = j;
    q->end = &j->next;
    q->count++;
}

static struct job *queue_take(struct queue *q) {
    struct job *j = q->first;
    q->first = j->next;
    if (q->first == NULL)
        q->end = &q->first;
    q->count--;
    return j;
}

static bool may_be_slow(const struct workers *w) {
    return w->slow.first != NULL && w->slow_running < STORE_WORKERS - 1;
}

static bool is_idle(const struct workers *w) {
    return w->running == 0 && w->quick.first == NULL && w->slow.first == NULL;
}

static bool is_over(const struct workers *w) {
    return w->stop && w->quick.first == NULL && w->slow.first == NULL;
}

// The next job, or NULL at the end; with the lock held.
static struct job *next_job(struct workers *w, bool *slow) {
    while (true) {
        *slow = may_be_slow(w); // First, or a stream of quick ones would keep them waiting for ever.
        if (*slow) {
            w->slow_running++;
            return queue_take(&w->slow);
        }
        if (w->quick.first != NULL)
            return queue_take(&w->quick);
        if (is_over(w))
            return NULL;
        pthread_cond_wait(&w->wake, &w->lock);
    }
}

static void *worker_main(void *arg) {
    struct workers *w = arg;
    bool slow;
    pthread_mutex_lock(&w->lock);
    for (struct job *j = next_job(w, &slow); j != NULL; j = next_job(w, &slow)) {
        w->running++;
        pthread_mutex_unlock(&w->lock);
        j->work(j->ctx);
        free(j);
        pthread_mutex_lock(&w->lock);
        w->running--;
        w->slow_running -= slow;
        if (slow)
            pthread_cond_broadcast(&w->wake);
        if (is_idle(w))
            pthread_cond_broadcast(&w->settled);
    }
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static unsigned start_threads(struct workers *w) {
    unsigned started = 0;
    while (started < STORE_WORKERS && pthread_create(&w->threads[started], NULL, worker_main, w) == 0)
        started++;
    return started;
}

struct workers *workers_new(void) {
    struct workers *w = mem_zalloc(1, sizeof *w);
    w->quick.end = &w->quick.first;
    w->slow.end = &w->slow.first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    pthread_cond_init(&w->settled, NULL);
    unsigned started = start_threads(w);
    if (started == STORE_WORKERS)
        return w;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < started; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->wake);
    pthread_cond_destroy(&w->settled);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}

void workers_free(struct workers *w) {
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < STORE_WORKERS; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->wake);
    pthread_cond_destroy(&w->settled);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void workers_settle(struct workers *w) {
    pthread_mutex_lock(&w->lock);
    while (!is_idle(w))
        pthread_cond_wait(&w->settled, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

bool workers_put(struct workers *w, bool slow, void (*work)(void *ctx), void *ctx) {
    struct job *j = mem_alloc(sizeof *j);
    *j = (struct job){.work = work, .ctx = ctx};
    pthread_mutex_lock(&w->lock);
    bool taken = slow || (!w->stop && w->quick.count < STORE_WORK_MAX);
    if (taken)
        queue_put(slow ? &w->slow : &w->quick, j);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (!taken)
        free(j);
    return taken;
}
