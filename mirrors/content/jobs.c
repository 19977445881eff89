// SPDX-License-Identifier: Apache-2.0
//
// See jobs.h. A table of lists under one lock.

#include "mirrors/content/jobs.h"

#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

struct job {
    struct waiter *first, **end;
    size_t count;
};

struct jobs {
    pthread_mutex_t lock;
    struct lru *running; // key -> struct job; never evicts.
};

struct jobs *jobs_new(void) {
    struct jobs *j = mem_zalloc(1, sizeof(*j));
    pthread_mutex_init(&j->lock, NULL);
    j->running = lru_new(SIZE_MAX, 0, free);
    return j;
}

void jobs_free(struct jobs *j) {
    if (j == NULL)
        return;
    lru_free(j->running);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

static struct job *job_begin(struct jobs *j, const void *key, size_t key_len) {
    struct job *job = mem_zalloc(1, sizeof(*job));
    job->end = &job->first;
    lru_put(j->running, key, key_len, job, 0);
    return job;
}

static void job_add(struct job *job, struct waiter *w) {
    w->next = NULL;
    *job->end = w;
    job->end = &w->next;
    job->count++;
}

enum jobs_joined jobs_join(struct jobs *j, const void *key, size_t key_len, struct waiter *w) {
    pthread_mutex_lock(&j->lock);
    struct job *job = lru_get(j->running, key, key_len);
    enum jobs_joined joined = job == NULL ? JOBS_FIRST : job->count < JOBS_WAITERS_MAX ? JOBS_WAITS : JOBS_FULL;
    if (joined == JOBS_FIRST)
        job = job_begin(j, key, key_len);
    if (joined != JOBS_FULL)
        job_add(job, w);
    pthread_mutex_unlock(&j->lock);
    return joined;
}

struct waiter *jobs_end(struct jobs *j, const void *key, size_t key_len) {
    pthread_mutex_lock(&j->lock);
    struct job *job = lru_take(j->running, key, key_len);
    pthread_mutex_unlock(&j->lock);
    struct waiter *first = job != NULL ? job->first : NULL;
    free(job);
    return first;
}
