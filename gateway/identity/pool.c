// SPDX-License-Identifier: Apache-2.0
//
// Passwords are hashed on threads of their own, a few at a time; the same password of the same user once for all who
// wait for it.

#include "gateway/identity/inside.h"

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct job {
    struct job *next;
    unsigned char digest[DIGEST_LEN];
    char *user, *password;
    bool running;
    struct waiter *waiters;
};

static void job_free(struct job *j) {
    free(j->user);
    mem_wipe(j->password);
    free(j);
}

bool pool_add(struct identities *x, const unsigned char *digest, struct credential *c, struct waiter *w) {
    struct job **at = &x->jobs;
    while (*at != NULL && memcmp((*at)->digest, digest, DIGEST_LEN) != 0)
        at = &(*at)->next;
    if (x->waiters >= WAITERS_MAX || (*at == NULL && x->jobs_waiting >= IDENTITY_CHECKS_MAX))
        return false;
    if (*at == NULL) {
        *at = mem_zalloc(1, sizeof **at);
        memcpy((*at)->digest, digest, DIGEST_LEN);
        (*at)->user = mem_strdup(c->user);
        (*at)->password = mem_strdup(c->secret);
        x->jobs_waiting++;
        pthread_cond_signal(&x->jobs_there);
    }
    w->next = (*at)->waiters;
    (*at)->waiters = w;
    x->waiters++;
    return true;
}

void pool_free(struct identities *x) {
    for (struct job *j = x->jobs, *next; j != NULL; j = next) {
        next = j->next;
        job_free(j);
    }
}

// --- on a thread of the pool ---

static struct job *next_job(struct identities *x) {
    for (;;) {
        for (struct job *j = x->jobs; j != NULL; j = j->next)
            if (!j->running)
                return j;
        if (x->stopping)
            return NULL;
        pthread_cond_wait(&x->jobs_there, &x->lock);
    }
}

static void drop(struct identities *x, struct job *j) {
    struct job **at = &x->jobs;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    job_free(j);
}

/// Those who became too many while they waited, taken off the job.
static struct waiter *take_slowed(struct identities *x, struct job *j, int64_t now) {
    struct waiter *slowed = NULL;
    for (struct waiter **at = &j->waiters, *w; (w = *at) != NULL;) {
        if (throttle_wait(x->throttle, w->address, j->user, now) == 0) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = slowed;
        slowed = w;
        x->waiters--;
    }
    return slowed;
}

static void answer_all_slowed(struct waiter *list, unsigned retry_after_s) {
    for (struct waiter *w = list, *next; w != NULL; w = next) {
        next = w->next;
        answer_slowed(w->to, retry_after_s, "too many failed logins from this address or for this name");
        waiter_free(w);
    }
}

static void free_remembered(struct remembered *r) {
    identity_unref(r->identity);
    free(r);
}

/// Under the lock: count, remember, and take those who wait.
static struct waiter *conclude(struct identities *x, struct job *j, uint64_t generation, struct identity *good) {
    int64_t now_ms = clock_ms();
    struct waiter *list = j->waiters;
    j->waiters = NULL;
    for (struct waiter *w = list; w != NULL; w = w->next) {
        x->waiters--;
        if (good != NULL)
            throttle_succeeded(x->throttle, w->address, j->user);
        else
            throttle_failed(x->throttle, w->address, j->user, now_ms / 1000);
    }
    if (good != NULL && x->known->generation == generation) {
        struct remembered *r = mem_zalloc(1, sizeof *r);
        *r = (struct remembered){identity_ref(good), now_ms + IDENTITY_REMEMBERED_S * 1000};
        if (!lru_put(x->remembered, j->digest, DIGEST_LEN, r, 0))
            free_remembered(r);
    }
    return list;
}

static void answer_all(struct waiter *list, struct identity *good, const struct err *reason) {
    for (struct waiter *w = list, *next; w != NULL; w = next) {
        next = w->next;
        if (good != NULL)
            answer_known(w->to, good, INT64_MAX, NULL, NULL);
        else
            answer_bad(w->to, reason);
        waiter_free(w);
    }
}

static struct identity *hash(struct identities *x, const struct known *k, const struct job *j, struct err *reason) {
    enum htpasswd_verdict verdict =
        k->passwords == NULL ? HTPASSWD_UNKNOWN : htpasswd_check(k->passwords, &x->stand_in_key, j->user, j->password);
    if (verdict != HTPASSWD_GOOD) {
        err_set(reason, verdict == HTPASSWD_WRONG ? "a wrong password of %s" : "unknown user %s", j->user);
        return NULL;
    }
    char *name = mem_printf("user:%s", j->user);
    struct identity *good = identity_new(name, HOW_PASSWORD, NULL, 0);
    free(name);
    return good;
}

/// Called and returns with the lock held.
static void work(struct identities *x, struct job *j) {
    int64_t now = clock_ms() / 1000;
    struct waiter *slowed = take_slowed(x, j, now), *list = NULL;
    unsigned wait = slowed == NULL ? 0 : throttle_wait(x->throttle, slowed->address, j->user, now);
    struct identity *good = NULL;
    struct known *k = known_ref(x->known);
    struct err reason = {""};
    if (j->waiters != NULL) {
        pthread_mutex_unlock(&x->lock);
        good = hash(x, k, j, &reason);
        pthread_mutex_lock(&x->lock);
        list = conclude(x, j, k->generation, good);
    }
    drop(x, j);
    pthread_mutex_unlock(&x->lock);
    known_unref(k);
    answer_all_slowed(slowed, wait);
    answer_all(list, good, &reason);
    identity_unref(good);
    pthread_mutex_lock(&x->lock);
}

void *pool_main(void *identities) {
    struct identities *x = identities;
    pthread_mutex_lock(&x->lock);
    for (struct job *j; (j = next_job(x)) != NULL;) {
        j->running = true;
        x->jobs_waiting--;
        work(x, j);
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}
