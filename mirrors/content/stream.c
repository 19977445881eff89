// SPDX-License-Identifier: Apache-2.0
//
// A stream in memory: a ring of at most `window` bytes between one writer (an intake) and one reader (a front loop).
//
// `lock` guards the ring, the state and the two flags that say who sleeps. The writer and the reader hold a reference
// each.

#include "mirrors/content/stream.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM_WINDOW_MIN = 64 * 1024 };

struct stream {
    atomic_int refs;
    struct stream_callbacks callbacks;
    void *ctx;
    struct intake *intake; ///< The reader's.
    bool head_only;

    // The writer's alone.
    bool answered, verified, begun;

    pthread_mutex_t lock;
    char *ring;
    size_t window, start, used;
    bool hold_back; ///< The last byte stays until the digest is verified.
    bool reader_waits, writer_waits, closed;
    enum reader_state state;
    bool wrong_content;
    struct err err;
};

static void unref(struct stream *s) {
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    s->callbacks.released(s->ctx);
    intake_unref(s->intake);
    pthread_mutex_destroy(&s->lock);
    free(s->ring);
    free(s);
}

// --- the writer ---

static enum transfer_flow on_head(void *ctx, const struct intake_head *head) {
    struct stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    if (head->length < s->window)
        s->window = head->length > STREAM_WINDOW_MIN ? (size_t)head->length : STREAM_WINDOW_MIN;
    if (!s->head_only)
        s->ring = mem_alloc(s->window);
    s->hold_back = head->verified;
    pthread_mutex_unlock(&s->lock);
    s->answered = true;
    s->verified = head->verified;
    s->callbacks.answered(s->ctx, head, INTAKE_COMPLETE, head->so_far, NULL);
    return TRANSFER_CONTINUE;
}

static void ring_write(struct stream *s, const char *data, size_t len) {
    size_t at = (s->start + s->used) % s->window;
    size_t first = s->window - at < len ? s->window - at : len;
    memcpy(s->ring + at, data, first);
    memcpy(s->ring, data + first, len - first);
    s->used += len;
}

/// Wake the reader once for all that one turn of the fetch thread brought, not for each piece.
static void on_turn(void *ctx) {
    struct stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    bool wake = s->reader_waits && !s->closed && s->used > (s->hold_back ? 1U : 0U);
    s->reader_waits = s->reader_waits && !wake;
    pthread_mutex_unlock(&s->lock);
    if (wake)
        s->callbacks.readable(s->ctx);
}

static enum transfer_flow write_or_wait(struct stream *s, const char *data, size_t len) {
    if (s->closed)
        return TRANSFER_STOP;
    if (s->used + len <= s->window) {
        ring_write(s, data, len);
        return TRANSFER_CONTINUE;
    }
    s->writer_waits = true;
    return TRANSFER_PAUSE;
}

static enum transfer_flow on_body(void *ctx, const char *data, size_t len) {
    struct stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    enum transfer_flow flow = write_or_wait(s, data, len);
    pthread_mutex_unlock(&s->lock);
    if (flow == TRANSFER_CONTINUE && !s->begun) {
        s->begun = true;
        on_turn(s); // The client waits for its first byte.
    }
    return flow;
}

static void set_end(struct stream *s, enum intake_end end, const struct err *err) {
    pthread_mutex_lock(&s->lock);
    s->state = end == INTAKE_COMPLETE ? READER_COMPLETE : READER_FAILED;
    s->wrong_content = end == INTAKE_WRONG;
    if (end != INTAKE_COMPLETE) {
        s->used -= s->hold_back && s->used > 0; // The byte that was held back never leaves.
        s->err = *err;
    }
    s->hold_back = false;
    bool wake = s->reader_waits && !s->closed;
    s->reader_waits = false;
    pthread_mutex_unlock(&s->lock);
    if (wake)
        s->callbacks.readable(s->ctx);
}

static void on_end(void *ctx, enum intake_end end, const struct fetch_result *result, const struct err *err) {
    struct stream *s = ctx;
    if (!s->answered)
        s->callbacks.answered(s->ctx, NULL, end, result, err);
    if (end == INTAKE_COMPLETE && s->verified && s->callbacks.whole != NULL)
        s->callbacks.whole(s->ctx);
    set_end(s, end, err);
    unref(s);
}

// --- the reader ---

enum reader_state stream_peek(struct stream *s, struct iovec *spans, size_t *count) {
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    size_t ready = s->hold_back && s->used > 0 ? s->used - 1 : s->used;
    size_t first = s->window - s->start < ready ? s->window - s->start : ready;
    if (first > 0)
        spans[n++] = (struct iovec){s->ring + s->start, first};
    if (ready > first)
        spans[n++] = (struct iovec){s->ring, ready - first};
    enum reader_state state = s->state;
    s->reader_waits = n == 0 && state == READER_RUNNING;
    pthread_mutex_unlock(&s->lock);
    *count = n;
    return state;
}

void stream_consume(struct stream *s, size_t bytes) {
    pthread_mutex_lock(&s->lock);
    s->start = (s->start + bytes) % s->window;
    s->used -= bytes;
    bool resume = s->writer_waits && s->used <= s->window / 2;
    if (resume)
        s->writer_waits = false;
    pthread_mutex_unlock(&s->lock);
    if (resume)
        intake_resume(s->intake);
}

void stream_failure(struct stream *s, struct err *err, bool *wrong_content) {
    pthread_mutex_lock(&s->lock);
    *err = s->err;
    *wrong_content = s->wrong_content;
    pthread_mutex_unlock(&s->lock);
}

void stream_close(struct stream *s) {
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    bool running = s->state == READER_RUNNING;
    pthread_mutex_unlock(&s->lock);
    if (running)
        intake_cancel(s->intake);
    unref(s);
}

struct stream *stream_new(struct content *c, const struct intake_spec *spec, size_t window,
                          const struct stream_callbacks *callbacks, void *ctx) {
    static const struct intake_callbacks from_intake = {on_head, on_body, on_turn, on_end};
    struct stream *s = mem_zalloc(1, sizeof(*s));
    atomic_init(&s->refs, 2);
    s->callbacks = *callbacks;
    s->ctx = ctx;
    s->head_only = spec->head;
    s->window = window > STREAM_WINDOW_MIN ? window : STREAM_WINDOW_MIN;
    pthread_mutex_init(&s->lock, NULL);
    s->intake = intake_start(c, spec, &from_intake, s);
    return s;
}
