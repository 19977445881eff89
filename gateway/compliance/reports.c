// SPDX-License-Identifier: Apache-2.0
//
// The kept set. `lock` guards everything but what is set once; the writer's thread holds it only to copy pointers.

#include "gateway/compliance/reports.h"

#include "gateway/compliance/kept.h"
#include "gateway/compliance/rate.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/host.h"
#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

enum { RATE_KEY_MAX = 1024, SET_KEY_MAX = 1200, MILLION = 1000000, THOUSAND = 1000 };

enum { PLACE_LEN = 16 };

struct entry {
    struct kept *kept; ///< A reference.
    TAILQ_ENTRY(entry) order;
    struct place *place; ///< Of one that is not identified.
    TAILQ_ENTRY(entry) beside;
};

TAILQ_HEAD(entries, entry);

/// An address with those that were not identified there; who reported last stands first.
struct place {
    uint8_t address[PLACE_LEN];
    struct entries machines;
    size_t count;
};

/// The identified, or the others; who reported last stands first.
struct half {
    struct entries order;
    size_t count;
};

struct reports {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct lru *index;  ///< From a key to its entry.
    struct lru *places; ///< From an address to its place.
    struct half verified, others;
    struct rate *rate;
    bool dirty, stopping, failing;
    char *directory; ///< NULL: memory only.
    void (*event)(void *ctx, const char *sentence);
    void *ctx;
    pthread_t thread;
    bool running;
};

// --- addresses ---

/// An IPv6 address counts as its /64: whoever has one has all of it.
static void place_of(const char *address, uint8_t out[PLACE_LEN]) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memset(out, 0, PLACE_LEN);
    if (address_from_text(address, out) && memcmp(out, mapped, sizeof mapped) != 0)
        memset(out + PLACE_LEN / 2, 0, PLACE_LEN / 2);
}

// --- the set; the lock is held ---

struct set_key {
    char bytes[SET_KEY_MAX];
    size_t len;
};

static void add(struct set_key *k, const char *text) {
    size_t room = sizeof k->bytes - k->len, n = strlen(text) < room ? strlen(text) : room;
    memcpy(k->bytes + k->len, text, n);
    k->len += n;
}

static struct set_key key_of(const struct kept *k) {
    struct set_key key = {.len = 0};
    add(&key, k->verified ? "n" : "a");
    add(&key, k->name); // Of the others that is the address and the machine-id.
    return key;
}

static struct half *half_of(struct reports *r, const struct kept *k) {
    return k->verified ? &r->verified : &r->others;
}

static void unref(struct kept *k) {
    if (--k->refs == 0)
        kept_free(k);
}

static void leave_place(struct reports *r, struct entry *e) {
    struct place *p = e->place;
    if (p == NULL)
        return;
    TAILQ_REMOVE(&p->machines, e, beside);
    if (--p->count == 0)
        lru_remove(r->places, p->address, PLACE_LEN);
}

static void enter_place(struct reports *r, struct entry *e) {
    uint8_t address[PLACE_LEN];
    place_of(e->kept->address, address);
    struct place *p = lru_get(r->places, address, PLACE_LEN);
    if (p == NULL) {
        p = mem_zalloc(1, sizeof *p);
        memcpy(p->address, address, PLACE_LEN);
        TAILQ_INIT(&p->machines);
        lru_put(r->places, address, PLACE_LEN, p, 0);
    }
    TAILQ_INSERT_HEAD(&p->machines, e, beside);
    p->count++;
    e->place = p;
}

static void drop(struct reports *r, struct entry *e) {
    struct set_key key = key_of(e->kept);
    struct half *half = half_of(r, e->kept);
    lru_remove(r->index, key.bytes, key.len);
    leave_place(r, e);
    TAILQ_REMOVE(&half->order, e, order);
    half->count--;
    unref(e->kept);
    free(e);
}

/// Of one address's machines, the one that reported least recently; NULL while there are few.
static struct entry *too_many(struct reports *r, const char *address) {
    uint8_t at[PLACE_LEN];
    place_of(address, at);
    struct place *p = lru_get(r->places, at, PLACE_LEN);
    return p != NULL && p->count >= REPORTS_PER_ADDRESS_MAX ? TAILQ_LAST(&p->machines, entries) : NULL;
}

/// False: all that are kept are identified, and this one is not.
static bool make_room(struct reports *r, const struct kept *k) {
    struct entry *e = k->verified ? NULL : too_many(r, k->address);
    if (e != NULL)
        drop(r, e);
    if (r->verified.count + r->others.count < REPORTS_MAX)
        return true;
    e = TAILQ_LAST(&r->others.order, entries);
    if (e == NULL && k->verified)
        e = TAILQ_LAST(&r->verified.order, entries);
    if (e != NULL)
        drop(r, e);
    return e != NULL;
}

/// Takes over `k`; false: there was no room.
static bool insert(struct reports *r, struct kept *k) {
    struct half *half = half_of(r, k);
    struct set_key key = key_of(k);
    struct entry *e = lru_get(r->index, key.bytes, key.len);
    if (e != NULL)
        drop(r, e);
    if (!make_room(r, k)) {
        unref(k);
        return false;
    }
    e = mem_zalloc(1, sizeof *e);
    e->kept = k;
    TAILQ_INSERT_HEAD(&half->order, e, order);
    half->count++;
    lru_put(r->index, key.bytes, key.len, e, 0);
    if (!k->verified)
        enter_place(r, e);
    return true;
}

static void copy_half(const struct half *half, struct kept **list, size_t *count) {
    struct entry *e;
    TAILQ_FOREACH(e, &half->order, order) {
        e->kept->refs++;
        list[(*count)++] = e->kept;
    }
}

// --- the file, on its own thread ---

static void tell(struct reports *r, const char *sentence) {
    if (r->event != NULL)
        r->event(r->ctx, sentence);
}

static void reverse(struct kept **list, size_t count) {
    for (size_t i = 0; i < count / 2; i++) {
        struct kept *k = list[i];
        list[i] = list[count - 1 - i];
        list[count - 1 - i] = k;
    }
}

/// The least recent first, as they are put in again. Told when it begins to fail, and when that is over.
static bool write_file(struct reports *r) {
    struct err err = {""};
    size_t count = 0;
    struct kept **list = reports_all(r, &count);
    reverse(list, count);
    bool ok = kept_write(r->directory, list, count, &err);
    if (!ok && !r->failing)
        tell(r, err.text);
    if (ok && r->failing)
        tell(r, "reports are written again");
    r->failing = !ok;
    reports_release(r, list, count);
    return ok;
}

static struct timespec later(unsigned ms) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / THOUSAND;
    at.tv_nsec += (long)(ms % THOUSAND) * MILLION;
    if (at.tv_nsec >= (long)THOUSAND * MILLION) {
        at.tv_sec++;
        at.tv_nsec -= (long)THOUSAND * MILLION;
    }
    return at;
}

/// The lock is held. Until there is something to write and its moment has come.
static void wait_for_changes(struct reports *r) {
    while (!r->dirty && !r->stopping)
        pthread_cond_wait(&r->changed, &r->lock);
    struct timespec until = later(REPORTS_WRITE_MS);
    while (!r->stopping && pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
        continue;
}

static void *run(void *arg) {
    struct reports *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->stopping || r->dirty) {
        wait_for_changes(r);
        bool write = r->dirty;
        r->dirty = false;
        pthread_mutex_unlock(&r->lock);
        bool failed = write && !write_file(r);
        pthread_mutex_lock(&r->lock);
        r->dirty = r->dirty || (failed && !r->stopping); // A full disk may have room later; an end waits for nothing.
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

// --- life ---

static void read_one(void *ctx, struct kept *k) {
    struct reports *r = ctx;
    pthread_mutex_lock(&r->lock);
    insert(r, k);
    pthread_mutex_unlock(&r->lock);
}

static void init_condition(pthread_cond_t *c) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct reports *reports_new(const char *directory, void (*event)(void *ctx, const char *sentence), void *ctx,
                            struct err *err) {
    struct reports *r = mem_zalloc(1, sizeof *r);
    struct err unread = {""};
    pthread_mutex_init(&r->lock, NULL);
    init_condition(&r->changed);
    TAILQ_INIT(&r->verified.order);
    TAILQ_INIT(&r->others.order);
    r->index = lru_new(REPORTS_MAX + 1, 0, NULL);
    r->places = lru_new(REPORTS_MAX + 1, 0, free);
    r->rate = rate_new(REPORTS_WINDOW_S);
    r->directory = mem_strdup(directory);
    r->event = event;
    r->ctx = ctx;
    if (directory != NULL && !kept_read(directory, read_one, r, &unread))
        tell(r, unread.text);
    r->running = directory != NULL && pthread_create(&r->thread, NULL, run, r) == 0;
    if (directory == NULL || r->running)
        return r;
    err_set(err, "cannot start a thread");
    reports_free(r);
    return NULL;
}

static void drop_all(struct reports *r, struct half *half) {
    for (struct entry *e; (e = TAILQ_FIRST(&half->order)) != NULL;)
        drop(r, e);
}

void reports_free(struct reports *r) {
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (r->running)
        pthread_join(r->thread, NULL);
    drop_all(r, &r->verified);
    drop_all(r, &r->others);
    lru_free(r->index);
    lru_free(r->places);
    rate_free(r->rate);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r->directory);
    free(r);
}

// --- reporting ---

static size_t rate_key(const char *name, const char *address, char *out) {
    size_t len = name != NULL ? strnlen(name, RATE_KEY_MAX - 1) : PLACE_LEN;
    uint8_t place[PLACE_LEN];
    place_of(address, place);
    out[0] = name != NULL ? 'n' : 'a';
    memcpy(out + 1, name != NULL ? name : (const char *)place, len);
    return len + 1;
}

unsigned reports_wait(struct reports *r, const char *name, const char *address, int64_t now) {
    char key[RATE_KEY_MAX];
    size_t len = rate_key(name, address, key);
    pthread_mutex_lock(&r->lock);
    unsigned wait = rate_take(r->rate, key, len, name != NULL ? REPORTS_BY_NAME : REPORTS_BY_ADDRESS, now);
    pthread_mutex_unlock(&r->lock);
    return wait;
}

static void mark_dirty(struct reports *r) {
    if (r->dirty)
        return;
    r->dirty = true;
    pthread_cond_signal(&r->changed);
}

bool reports_keep(struct reports *r, const char *name, const char *address, struct told *told, int64_t now) {
    struct kept *k = kept_new(name, address, told, now);
    pthread_mutex_lock(&r->lock);
    bool kept = insert(r, k);
    if (kept)
        mark_dirty(r);
    pthread_mutex_unlock(&r->lock);
    return kept;
}

/// Who reported least recently stands last. Clocks that went back leave some for the next time.
static bool forget_half(struct reports *r, struct half *half, int64_t before) {
    bool any = false;
    for (struct entry *e; (e = TAILQ_LAST(&half->order, entries)) != NULL && e->kept->received < before; any = true)
        drop(r, e);
    return any;
}

void reports_forget(struct reports *r, int64_t before) {
    pthread_mutex_lock(&r->lock);
    bool verified = forget_half(r, &r->verified, before), others = forget_half(r, &r->others, before);
    if (verified || others)
        mark_dirty(r);
    pthread_mutex_unlock(&r->lock);
}

struct kept **reports_all(struct reports *r, size_t *count) {
    *count = 0;
    pthread_mutex_lock(&r->lock);
    struct kept **list = mem_zalloc(r->verified.count + r->others.count + 1, sizeof *list);
    copy_half(&r->verified, list, count);
    copy_half(&r->others, list, count);
    pthread_mutex_unlock(&r->lock);
    return list;
}

void reports_release(struct reports *r, struct kept **list, size_t count) {
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < count; i++)
        unref(list[i]);
    pthread_mutex_unlock(&r->lock);
    free(list);
}
