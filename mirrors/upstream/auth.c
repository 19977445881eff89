// SPDX-License-Identifier: Apache-2.0
//
// Authorization values and turns. `lock` guards everything, the waiters included: they are woken under it.

#include "mirrors/upstream/auth.h"

#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WAITERS_MAX = 10000 };

struct value {
    int64_t expires_ms;
    char *text;
};

/// A key whose value is being asked for.
struct turn {
    char *key;
    struct auth_waiter *waiters;
    size_t count;
    struct turn *next;
};

struct auth {
    pthread_mutex_t lock;
    struct lru *values;
    struct turn *turns; ///< Few: as many as token requests are in flight.
};

static void value_free(void *p) {
    struct value *v = p;
    mem_wipe(v->text);
    free(v);
}

struct auth *auth_new(size_t max_entries) {
    struct auth *a = mem_zalloc(1, sizeof(*a));
    pthread_mutex_init(&a->lock, NULL);
    a->values = lru_new(max_entries, 0, value_free);
    return a;
}

void auth_free(struct auth *a) {
    if (a == NULL)
        return;
    while (a->turns != NULL) {
        struct turn *t = a->turns;
        a->turns = t->next;
        free(t->key);
        free(t);
    }
    lru_free(a->values);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static char *get_locked(struct auth *a, const char *key, int64_t now_ms) {
    const struct value *v = lru_get(a->values, key, strlen(key));
    return v != NULL && v->expires_ms > now_ms ? mem_strdup(v->text) : NULL;
}

static void put_locked(struct auth *a, const char *key, const char *text, int64_t expires_ms) {
    struct value *v = mem_zalloc(1, sizeof(*v));
    v->expires_ms = expires_ms;
    v->text = mem_strdup(text);
    lru_put(a->values, key, strlen(key), v, 0);
}

static void forget_locked(struct auth *a, const char *key, const char *text) {
    const struct value *v = lru_peek(a->values, key, strlen(key));
    if (v != NULL && text != NULL && strcmp(v->text, text) == 0)
        lru_remove(a->values, key, strlen(key));
}

char *auth_get(struct auth *a, const char *key, int64_t now_ms) {
    pthread_mutex_lock(&a->lock);
    char *text = get_locked(a, key, now_ms);
    pthread_mutex_unlock(&a->lock);
    return text;
}

void auth_put(struct auth *a, const char *key, const char *value, int64_t expires_ms) {
    pthread_mutex_lock(&a->lock);
    put_locked(a, key, value, expires_ms);
    pthread_mutex_unlock(&a->lock);
}

void auth_forget(struct auth *a, const char *key, const char *value) {
    pthread_mutex_lock(&a->lock);
    forget_locked(a, key, value);
    pthread_mutex_unlock(&a->lock);
}

static struct turn *find_turn(struct auth *a, const char *key) {
    struct turn *t = a->turns;
    while (t != NULL && strcmp(t->key, key) != 0)
        t = t->next;
    return t;
}

static enum auth_turn join(struct auth *a, const char *key, struct auth_waiter *w) {
    struct turn *t = find_turn(a, key);
    enum auth_turn turn = t == NULL ? AUTH_ASK : AUTH_WAIT;
    if (t == NULL) {
        t = mem_zalloc(1, sizeof(*t));
        t->key = mem_strdup(key);
        t->next = a->turns;
        a->turns = t;
    }
    if (t->count >= WAITERS_MAX)
        return AUTH_FULL;
    w->waiting = true;
    w->next = t->waiters;
    t->waiters = w;
    t->count++;
    return turn;
}

enum auth_turn auth_begin(struct auth *a, const char *key, const char *used, int64_t now_ms, struct auth_waiter *w,
                          char **value) {
    pthread_mutex_lock(&a->lock);
    forget_locked(a, key, used);
    *value = get_locked(a, key, now_ms);
    enum auth_turn turn = *value != NULL ? AUTH_USE : join(a, key, w);
    pthread_mutex_unlock(&a->lock);
    return turn;
}

static struct turn *take_turn(struct auth *a, const char *key) {
    for (struct turn **p = &a->turns; *p != NULL; p = &(*p)->next) {
        if (strcmp((*p)->key, key) == 0) {
            struct turn *t = *p;
            *p = t->next;
            return t;
        }
    }
    return NULL;
}

void auth_end(struct auth *a, const char *key, const char *value, int64_t expires_ms, const void *failure) {
    pthread_mutex_lock(&a->lock);
    if (value != NULL)
        put_locked(a, key, value, expires_ms);
    struct turn *t = take_turn(a, key);
    // Under the lock, so that auth_leave() on another thread either takes a waiter out before or
    // finds it woken; a wake only posts a message and never calls back in here.
    for (struct auth_waiter *w = t != NULL ? t->waiters : NULL, *next; w != NULL; w = next) {
        next = w->next;
        w->waiting = false;
        w->wake(w, value, failure);
    }
    pthread_mutex_unlock(&a->lock);
    if (t != NULL)
        free(t->key);
    free(t);
}

void auth_leave(struct auth *a, const char *key, struct auth_waiter *w) {
    pthread_mutex_lock(&a->lock);
    struct turn *t = w->waiting ? find_turn(a, key) : NULL;
    for (struct auth_waiter **p = t != NULL ? &t->waiters : NULL; p != NULL && *p != NULL; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            t->count--;
            break;
        }
    }
    w->waiting = false;
    pthread_mutex_unlock(&a->lock);
}
