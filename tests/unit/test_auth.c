// SPDX-License-Identifier: Apache-2.0
//
// Turns at token servers: one asks, all others wait, nobody is forgotten, on many threads.

#include "mirrors/base/mem.h"
#include "mirrors/upstream/auth.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct waiter {
    struct auth_waiter super; ///< First.
    int woken;
    char value[32];
    const void *failure;
};

static void woken(struct auth_waiter *w, const char *value, const void *failure) {
    struct waiter *me = (struct waiter *)(void *)w;
    me->woken++;
    me->failure = failure;
    snprintf(me->value, sizeof(me->value), "%s", value != NULL ? value : "-");
}

static void expect_value(struct auth *a, const char *key, int64_t now, const char *expected, const char *why) {
    char *value = auth_get(a, key, now);
    if (expected == NULL)
        cr_expect_null(value, "%s: %s", why, value);
    else
        cr_expect(value != NULL && strcmp(value, expected) == 0, "%s: %s", why, value);
    free(value);
}

Test(auth, values) {
    struct auth *a = auth_new(2);
    expect_value(a, "k", 0, NULL, "nothing yet");
    auth_put(a, "k", "one", 100);
    expect_value(a, "k", 99, "one", "until its end");
    expect_value(a, "k", 100, NULL, "not at its end");
    auth_forget(a, "k", "other");
    expect_value(a, "k", 0, "one", "another value was meant");
    auth_put(a, "k", "two", 100);
    auth_forget(a, "k", "one");
    expect_value(a, "k", 0, "two", "a newer value stays");
    auth_forget(a, "k", NULL);
    expect_value(a, "k", 0, "two", "none was used");
    auth_forget(a, "k", "two");
    expect_value(a, "k", 0, NULL, "forgotten");
    auth_put(a, "a", "1", 100);
    auth_put(a, "b", "2", 100);
    auth_put(a, "c", "3", 100);
    expect_value(a, "a", 0, NULL, "the table is bounded");
    auth_free(a);
}

Test(auth, turns) {
    struct auth *a = auth_new(10);
    struct waiter w[4] = {0};
    char *value = NULL;
    int failure;
    for (int i = 0; i < 4; i++)
        w[i].super.wake = woken;
    cr_expect_eq(auth_begin(a, "k", NULL, 0, &w[0].super, &value), AUTH_ASK, "the first asks");
    cr_expect_eq(auth_begin(a, "k", NULL, 0, &w[1].super, &value), AUTH_WAIT, "the second waits");
    cr_expect_eq(auth_begin(a, "other", NULL, 0, &w[2].super, &value), AUTH_ASK, "another key is another turn");
    cr_expect_eq(auth_begin(a, "k", NULL, 0, &w[3].super, &value), AUTH_WAIT, "the third waits");
    auth_leave(a, "k", &w[3].super);
    auth_leave(a, "k", &w[3].super);
    auth_end(a, "k", "v", 100, NULL);
    cr_expect_eq(w[0].woken, 1, "who asked is woken too");
    cr_expect_str_eq(w[0].value, "v");
    cr_expect_eq(w[1].woken, 1);
    cr_expect_eq(w[2].woken, 0, "the other key's is not");
    cr_expect_eq(w[3].woken, 0, "nor who left");
    auth_end(a, "k", "late", 100, NULL);
    cr_expect_eq(w[0].woken, 1, "an end without a turn wakes nobody");
    auth_end(a, "other", NULL, 0, &failure);
    cr_expect_eq(w[2].woken, 1);
    cr_expect_eq(w[2].failure, &failure, "a failure is told");
    cr_expect_eq(auth_begin(a, "k", NULL, 0, &w[0].super, &value), AUTH_USE, "there is a value");
    cr_expect_str_eq(value, "late");
    free(value);
    cr_expect_eq(auth_begin(a, "k", "older", 0, &w[0].super, &value), AUTH_USE, "somebody got a newer one");
    free(value);
    cr_expect_eq(auth_begin(a, "k", "late", 0, &w[0].super, &value), AUTH_ASK, "it was refused: ask again");
    cr_expect_null(value);
    auth_leave(a, "k", &w[0].super);
    cr_expect_eq(auth_begin(a, "k", NULL, 0, &w[1].super, &value), AUTH_WAIT, "the turn outlives who began it");
    auth_free(a);
}

// --- many threads ---

enum { THREADS = 8, ROUNDS = 3000, KEYS = 3 };

struct contest {
    struct auth *auth;
    atomic_int asking[KEYS];
    atomic_int overlaps, lost;
    atomic_int next;
};

struct thread_waiter {
    struct auth_waiter super; ///< First.
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken;
};

static void thread_woken(struct auth_waiter *w, const char *value, const void *failure) {
    struct thread_waiter *me = (struct thread_waiter *)(void *)w;
    pthread_mutex_lock(&me->lock);
    me->woken = true;
    pthread_cond_signal(&me->changed);
    pthread_mutex_unlock(&me->lock);
}

static void wait_woken(struct contest *c, struct thread_waiter *w) {
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&w->lock);
    while (!w->woken && rc == 0)
        rc = pthread_cond_timedwait(&w->changed, &w->lock, &until);
    pthread_mutex_unlock(&w->lock);
    if (rc != 0)
        atomic_fetch_add(&c->lost, 1);
}

static void answer_turn(struct contest *c, int k, const char *key) {
    char text[32];
    if (atomic_fetch_add(&c->asking[k], 1) != 0)
        atomic_fetch_add(&c->overlaps, 1);
    snprintf(text, sizeof(text), "value-%d", atomic_fetch_add(&c->next, 1));
    atomic_fetch_sub(&c->asking[k], 1);
    auth_end(c->auth, key, text, INT64_MAX, NULL);
}

static void *contend(void *arg) {
    struct contest *c = arg;
    struct thread_waiter w = {.super.wake = thread_woken};
    unsigned seed = (unsigned)(uintptr_t)&w;
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.changed, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        int k = rand_r(&seed) % KEYS;
        char key[8], *value = NULL;
        snprintf(key, sizeof(key), "k%d", k);
        char *used = auth_get(c->auth, key, 0);
        w.woken = false;
        enum auth_turn turn = auth_begin(c->auth, key, used, 0, &w.super, &value);
        if (turn == AUTH_ASK)
            answer_turn(c, k, key);
        if (turn == AUTH_WAIT && rand_r(&seed) % 2)
            auth_leave(c->auth, key, &w.super);
        else if (turn == AUTH_ASK || turn == AUTH_WAIT)
            wait_woken(c, &w);
        free(value);
        free(used);
    }
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.changed);
    return NULL;
}

Test(auth, threads) {
    struct contest c = {.auth = auth_new(100)};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, contend, &c);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&c.overlaps), 0, "one at a time a key");
    cr_expect_eq(atomic_load(&c.lost), 0, "everybody who waits is woken");
    auth_free(c.auth);
}
