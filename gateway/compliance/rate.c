// SPDX-License-Identifier: Apache-2.0
//
// See rate.h.

#include "gateway/compliance/rate.h"

#include "mirrors/base/lru.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>

struct window {
    int64_t since;
    unsigned count;
};

struct rate {
    unsigned window_s;
    struct lru *windows;
};

struct rate *rate_new(unsigned window_s) {
    struct rate *r = mem_zalloc(1, sizeof *r);
    *r = (struct rate){window_s, lru_new(RATE_ENTRIES_MAX, 0, free)};
    return r;
}

void rate_free(struct rate *r) {
    if (r == NULL)
        return;
    lru_free(r->windows);
    free(r);
}

unsigned rate_take(struct rate *r, const void *key, size_t len, unsigned most, int64_t now) {
    struct window *w = lru_get(r->windows, key, len);
    if (w == NULL) {
        w = mem_zalloc(1, sizeof *w);
        lru_put(r->windows, key, len, w, 0);
    }
    if (w->count == 0 || now < w->since || now - w->since >= r->window_s) // A clock that went back opens a new one.
        *w = (struct window){.since = now};
    if (w->count >= most)
        return (unsigned)(w->since + r->window_s - now);
    w->count++;
    return 0;
}
