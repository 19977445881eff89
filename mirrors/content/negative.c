// SPDX-License-Identifier: Apache-2.0
//
// Answers of 404, remembered for a moment: clients repeat them in bursts, and an upstream counts each. A note speaks
// for one configuration, by its owner's address; content_forget() forgets them all.

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// What of a result says that there is nothing; the rest of it is large and empty.
struct negative {
    int64_t noted_ms;
    int status;
    char code[sizeof(((struct fetch_result *)NULL)->code)];
    char message[sizeof(((struct fetch_result *)NULL)->message)];
    char *upstream, *where, *sentence;
};

static void negative_free(void *value) {
    struct negative *n = value;
    free(n->upstream);
    free(n->where);
    free(n->sentence);
    free(n);
}

struct lru *negative_new(void) {
    return lru_new(CONTENT_NEGATIVE_MAX, 0, negative_free);
}

void negative_manifest(char *out, const char *reference) {
    snprintf(out, NEGATIVE_REFERENCE_MAX, "manifests/%s", reference);
}

static struct content_key key_of(const struct content_place *place, const char *reference) {
    struct content_key key;
    content_key_begin(&key, place->owner.object, place->name);
    content_key_add(&key, place->repository);
    content_key_add(&key, reference);
    return key;
}

static void write_result(const struct negative *n, struct fetch_result *out) {
    *out = (struct fetch_result){.outcome = FETCH_NOT_FOUND, .status = n->status};
    memcpy(out->code, n->code, sizeof(out->code));
    memcpy(out->message, n->message, sizeof(out->message));
    snprintf(out->upstream, sizeof(out->upstream), "%s", n->upstream);
    snprintf(out->where, sizeof(out->where), "%s", n->where);
    err_set(&out->err, "%s", n->sentence);
}

bool negative_recall(struct content *c, const struct content_place *place, const char *reference,
                     struct fetch_result *out) {
    if (place->terms.negative_ttl_s == 0)
        return false;
    struct content_key key = key_of(place, reference);
    int64_t since = clock_ms() - (int64_t)place->terms.negative_ttl_s * 1000;
    pthread_mutex_lock(&c->lock);
    const struct negative *n = lru_get(c->negative, key.bytes, key.len);
    bool holds = n != NULL && n->noted_ms > since;
    if (holds)
        write_result(n, out);
    pthread_mutex_unlock(&c->lock);
    return holds;
}

static struct negative *from_result(const struct fetch_result *result) {
    struct negative *n = mem_zalloc(1, sizeof(*n));
    n->noted_ms = clock_ms();
    n->status = result->status;
    memcpy(n->code, result->code, sizeof(n->code));
    memcpy(n->message, result->message, sizeof(n->message));
    n->upstream = mem_strdup(result->upstream);
    n->where = mem_strdup(result->where);
    n->sentence = mem_strdup(result->err.text);
    return n;
}

void negative_note(struct content *c, const struct content_place *place, const char *reference,
                   const struct fetch_result *result) {
    bool gone = result->outcome == FETCH_NOT_FOUND;
    if (!gone && result->outcome != FETCH_OK)
        return;
    struct content_key key = key_of(place, reference);
    struct negative *n = gone ? from_result(result) : NULL;
    pthread_mutex_lock(&c->lock);
    if (gone)
        lru_put(c->negative, key.bytes, key.len, n, 0);
    else
        lru_remove(c->negative, key.bytes, key.len);
    pthread_mutex_unlock(&c->lock);
}
