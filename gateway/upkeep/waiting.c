// SPDX-License-Identifier: Apache-2.0
//
// The content's callbacks, waited for by the thread of a command.

#include "gateway/upkeep/inside.h"

#include "mirrors/base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPORT_MS = 500 };

// --- manifests ---

struct manifest_wait {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool answered;
    struct manifest *manifest;
    struct err err;
};

static void on_manifest(void *ctx, const struct manifest_answer *a) {
    struct manifest_wait *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->answered = true;
    if (a->manifest != NULL)
        w->manifest = manifest_ref(a->manifest);
    else
        w->err = a->fetch->err;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

struct manifest *wait_manifest(struct task *t, const struct content_place *place, const char *tag, const char *digest,
                               struct err *err) {
    struct manifest_wait w = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    content_manifest(t->upkeep->content, place, tag, digest, true, on_manifest, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.answered)
        pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.lock);
    if (w.manifest == NULL)
        *err = w.err;
    else if (w.manifest->verdict != DOCUMENT_OK && !(place->monitor && w.manifest->verdict == DOCUMENT_URLS)) {
        *err = w.manifest->err;
        manifest_unref(w.manifest);
        return NULL;
    }
    return w.manifest;
}

// --- blobs ---

/// What all slots share; `changed` wakes the command's thread.
struct wait {
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

struct slot {
    struct wait *wait;
    struct wait_blob *blob; ///< NULL: free.
    struct reader *reader;
    bool answered, ready, released; ///< Guarded by the lock, as is what `answered` brought.
    bool ok, hit;
    struct err err;
};

static void wake(struct slot *s, bool *flag) {
    pthread_mutex_lock(&s->wait->lock);
    *flag = true;
    pthread_cond_signal(&s->wait->changed);
    pthread_mutex_unlock(&s->wait->lock);
}

static void on_answered(void *ctx, const struct reader_answer *a) {
    struct slot *s = ctx;
    pthread_mutex_lock(&s->wait->lock);
    s->ok = a->ok;
    s->hit = a->source == SOURCE_HIT;
    if (!a->ok)
        s->err = a->refused != DOCUMENT_OK ? a->err : a->fetch->err;
    s->answered = s->ready = true;
    pthread_cond_signal(&s->wait->changed);
    pthread_mutex_unlock(&s->wait->lock);
}

static void on_readable(void *ctx) {
    struct slot *s = ctx;
    wake(s, &s->ready);
}

static void on_released(void *ctx) {
    struct slot *s = ctx;
    wake(s, &s->released);
}

static void begin(struct task *t, const struct content_place *place, struct slot *s, struct wait_blob *blob) {
    static const struct reader_callbacks callbacks = {on_answered, on_readable, on_released};
    struct wait *wait = s->wait;
    *s = (struct slot){.wait = wait, .blob = blob};
    s->reader = content_blob(t->upkeep->content, place, blob->digest, false, NULL, t->config->limits.transfer_window,
                             &callbacks, s);
}

/// Take what there is, without looking at it: what matters is that the store gets it. True: at its end.
static bool drain(struct slot *s, uint64_t *done) {
    struct reader_view view;
    bool wrong;
    for (;;) {
        enum reader_state state = reader_peek(s->reader, &view);
        uint64_t bytes = view.count == 0 ? view.length : 0;
        for (size_t i = 0; i < view.count; i++)
            bytes += view.spans[i].iov_len;
        if (bytes > 0) {
            reader_consume(s->reader, bytes);
            *done += bytes;
            continue;
        }
        if (state == READER_RUNNING)
            return false;
        s->blob->ok = state == READER_COMPLETE;
        if (state == READER_FAILED)
            reader_failure(s->reader, &s->blob->err, &wrong);
        return true;
    }
}

/// The slot's turn. True: it is free again.
static bool turn(struct slot *s, uint64_t *done) {
    pthread_mutex_lock(&s->wait->lock);
    bool answered = s->answered, ready = s->ready;
    s->ready = false;
    pthread_mutex_unlock(&s->wait->lock);
    if (!answered || !ready)
        return false;
    s->blob->hit = s->hit;
    if (!s->ok)
        s->blob->err = s->err;
    return !s->ok || drain(s, done);
}

static void end(struct slot *s) {
    reader_close(s->reader);
    pthread_mutex_lock(&s->wait->lock);
    while (!s->released)
        pthread_cond_wait(&s->wait->changed, &s->wait->lock);
    pthread_mutex_unlock(&s->wait->lock);
    s->blob = NULL;
}

static bool any_ready(const struct slot *slots) {
    for (size_t i = 0; i < WAIT_PARALLEL; i++)
        if (slots[i].blob != NULL && slots[i].ready)
            return true;
    return false;
}

/// Until a slot has something to do, or it is time to report.
static void pause_for(struct wait *w, const struct slot *slots) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += REPORT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&w->lock);
    while (!any_ready(slots) && pthread_cond_timedwait(&w->changed, &w->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&w->lock);
}

static void wait_init(struct wait *w) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, &attr);
    pthread_condattr_destroy(&attr);
}

void wait_blobs(struct task *t, const struct content_place *place, struct wait_blob *blobs, size_t count,
                bool (*progress)(void *ctx, uint64_t done), void *ctx) {
    struct wait w;
    struct slot slots[WAIT_PARALLEL] = {0};
    size_t next = 0, busy = 0;
    uint64_t done = 0;
    bool go_on = true;
    wait_init(&w);
    for (size_t i = 0; i < WAIT_PARALLEL; i++)
        slots[i].wait = &w;
    while ((next < count && go_on) || busy > 0) {
        for (size_t i = 0; i < WAIT_PARALLEL; i++) {
            if (slots[i].blob == NULL && next < count && go_on) {
                begin(t, place, &slots[i], &blobs[next++]);
                busy++;
            }
            if (slots[i].blob != NULL && (turn(&slots[i], &done) || !go_on)) {
                end(&slots[i]);
                busy--;
            }
        }
        go_on = go_on && progress(ctx, done);
        if (busy > 0 && go_on)
            pause_for(&w, slots);
    }
    pthread_cond_destroy(&w.changed);
    pthread_mutex_destroy(&w.lock);
}
