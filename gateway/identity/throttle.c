// SPDX-License-Identifier: Apache-2.0
//
// Counting failures.

#include "gateway/identity/throttle.h"

#include "mirrors/base/host.h"
#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 16 + 1 + 256 };

struct failures {
    int64_t since; ///< When the window opened.
    unsigned count;
};

struct throttle {
    unsigned max, window_s;
    struct lru *addresses, *names, *pairs, *unheard; ///< The last two: of an address and a name.
};

struct key {
    char bytes[KEY_MAX];
    size_t len;
};

static void add(struct key *k, const void *data, size_t len) {
    size_t room = sizeof k->bytes - k->len, n = len < room ? len : room;
    memcpy(k->bytes + k->len, data, n);
    k->len += n;
}

static struct key key_of(const char *address, const char *name) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct key k = {.len = 0};
    uint8_t binary[16] = {0};
    if (address != NULL && address_from_text(address, binary))
        add(&k, binary, memcmp(binary, mapped, sizeof mapped) == 0 ? 16 : 8);
    if (name != NULL) {
        add(&k, "\0", 1);
        add(&k, name, strlen(name));
    }
    return k;
}

struct throttle *throttle_new(unsigned max, unsigned window_s) {
    struct throttle *t = mem_zalloc(1, sizeof *t);
    *t = (struct throttle){max,
                           window_s,
                           lru_new(THROTTLE_ENTRIES_MAX, 0, free),
                           lru_new(THROTTLE_ENTRIES_MAX, 0, free),
                           lru_new(THROTTLE_ENTRIES_MAX, 0, free),
                           lru_new(THROTTLE_ENTRIES_MAX, 0, free)};
    return t;
}

void throttle_free(struct throttle *t) {
    if (t == NULL)
        return;
    lru_free(t->addresses);
    lru_free(t->names);
    lru_free(t->pairs);
    lru_free(t->unheard);
    free(t);
}

void throttle_set(struct throttle *t, unsigned max, unsigned window_s) {
    t->max = max;
    t->window_s = window_s;
}

static bool open_at(const struct throttle *t, const struct failures *f, int64_t now) {
    return now >= f->since && now - f->since < t->window_s;
}

static unsigned wait_of(const struct throttle *t, const struct failures *f, int64_t now) {
    if (f == NULL || f->count < t->max || !open_at(t, f, now))
        return 0;
    return (unsigned)(f->since + t->window_s - now);
}

unsigned throttle_wait(struct throttle *t, const char *address, const char *name, int64_t now) {
    if (t->max == 0)
        return 0;
    struct key a = key_of(address, NULL), n = key_of(NULL, name);
    unsigned by_address = wait_of(t, lru_peek(t->addresses, a.bytes, a.len), now);
    unsigned by_name = name == NULL ? 0 : wait_of(t, lru_peek(t->names, n.bytes, n.len), now);
    return by_address > by_name ? by_address : by_name;
}

static void count(const struct throttle *t, struct lru *table, const struct key *k, int64_t now) {
    struct failures *f = lru_get(table, k->bytes, k->len);
    if (f == NULL) {
        f = mem_zalloc(1, sizeof *f);
        f->since = now;
        if (!lru_put(table, k->bytes, k->len, f, 0))
            return;
    }
    if (!open_at(t, f, now))
        *f = (struct failures){.since = now};
    if (f->count < UINT32_MAX)
        f->count++;
}

void throttle_failed(struct throttle *t, const char *address, const char *name, int64_t now) {
    if (t->max == 0)
        return;
    struct key a = key_of(address, NULL), n = key_of(NULL, name), both = key_of(address, name);
    count(t, t->addresses, &a, now);
    if (name == NULL)
        return;
    count(t, t->names, &n, now);
    count(t, t->pairs, &both, now);
}

void throttle_unheard(struct throttle *t, const char *address, const char *name, int64_t now) {
    struct key both = key_of(address, name);
    if (t->max > 0)
        count(t, t->unheard, &both, now);
}

unsigned throttle_wait_to_recall(struct throttle *t, const char *address, const char *name, int64_t now) {
    struct key both = key_of(address, name);
    unsigned by_address = throttle_wait(t, address, NULL, now);
    unsigned by_pair = t->max == 0 ? 0 : wait_of(t, lru_peek(t->unheard, both.bytes, both.len), now);
    return by_address > by_pair ? by_address : by_pair;
}

static void take_back(struct lru *table, const struct key *k, unsigned count_of_pair) {
    struct failures *f = lru_peek(table, k->bytes, k->len);
    if (f != NULL)
        f->count -= f->count < count_of_pair ? f->count : count_of_pair;
}

void throttle_succeeded(struct throttle *t, const char *address, const char *name) {
    struct key a = key_of(address, NULL), n = key_of(NULL, name), both = key_of(address, name);
    const struct failures *mine = lru_peek(t->pairs, both.bytes, both.len);
    if (mine == NULL)
        return;
    take_back(t->addresses, &a, mine->count);
    take_back(t->names, &n, mine->count);
    lru_remove(t->pairs, both.bytes, both.len);
}

size_t throttle_entries(const struct throttle *t) {
    return lru_count(t->addresses) + lru_count(t->names) + lru_count(t->pairs) + lru_count(t->unheard);
}
