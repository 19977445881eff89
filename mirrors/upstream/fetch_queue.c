// SPDX-License-Identifier: Apache-2.0
//
// How other threads reach a fetch: references, and messages in its thread's queue (`lock`), which multi_wake() makes
// known.

#include "mirrors/upstream/fetch_thread.h"

#include "mirrors/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void fetch_ref(struct fetch *f) {
    atomic_fetch_add(&f->refs, 1);
}

static void endpoint_drop(struct endpoint *e) {
    if (e == NULL)
        return;
    free(e->base);
    free(e->path);
    free(e);
}

void fetch_unref(struct fetch *f) {
    if (f == NULL || atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    assert(f->transfer == NULL);
    f->spec.owner.unref(f->spec.owner.object);
    free((char *)f->spec.name);
    free((char *)f->spec.repository);
    free((char *)f->spec.reference);
    free((char *)f->spec.query);
    free((char *)f->spec.range);
    endpoint_drop(f->named);
    free(f->url);
    mem_wipe(f->authorization);
    free(f->auth_key);
    free(f->head.location);
    buf_deinit(&f->error_body);
    free(f);
}

// --- messages ---

struct message *fetch_message(enum message_kind kind, struct fetch *f) {
    struct message *m = mem_zalloc(1, sizeof(*m));
    m->kind = kind;
    m->fetch = f;
    fetch_ref(f);
    return m;
}

void fetch_message_free(struct message *m) {
    mem_wipe(m->value);
    free(m->failure);
    fetch_unref(m->fetch);
    free(m);
}

void fetch_post(struct fetch *f, struct message *m) {
    struct fetch_thread *t = f->thread;
    pthread_mutex_lock(&t->lock);
    *t->queue_end = m;
    t->queue_end = &m->next;
    pthread_mutex_unlock(&t->lock);
    multi_wake(t->multi);
}
