// SPDX-License-Identifier: Apache-2.0
//
// Reading: what the front may send now, from a piece, a fill or a stream. Threads and lock as reading.h says; the front
// alone comes here, but for reader_wake() and what warms a file.

#include "mirrors/content/reading.h"

#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    WARM_MAX = 4 << 20,
    WARM_STEP = 64 * 1024,
    COLD_BEHIND = 8 << 20 ///< So far behind a fill's end its pages may have left memory.
};

struct reader *reader_ref(struct reader *r) {
    atomic_fetch_add(&r->refs, 1);
    return r;
}

void reader_unref(struct reader *r) {
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    struct fetch_owner owner = r->place.owner;
    void (*released)(void *) = r->callbacks.released;
    void *ctx = r->ctx;
    atomic_fetch_sub(&r->content->readers, 1);
    piece_unref(r->piece);
    pthread_mutex_destroy(&r->lock);
    free(r->err);
    free(r);
    owner.unref(owner.object);
    released(ctx);
}

void reader_fail(struct reader *r, const struct err *err, bool wrong_content) {
    if (r->reading == READING_FAILED)
        return;
    r->reading = READING_FAILED;
    r->err = mem_alloc(sizeof(*r->err));
    *r->err = *err;
    r->wrong_content = wrong_content;
}

void reader_wake(struct reader *r) {
    pthread_mutex_lock(&r->lock);
    bool wake = r->waits && r->answered && !r->closed;
    r->waits = r->waits && !wake;
    pthread_mutex_unlock(&r->lock);
    if (wake)
        r->callbacks.readable(r->ctx);
}

// --- what there is ---

static void show_file(const struct reader *r, struct reader_view *view, int fd, uint64_t until) {
    view->fd = fd;
    view->offset = r->position;
    view->length = until - r->position;
}

static enum reader_state peek_piece(const struct reader *r, struct reader_view *view) {
    const char *bytes = piece_bytes(r->piece);
    if (r->position == r->end)
        return READER_COMPLETE;
    if (bytes != NULL) {
        view->spans[0] = (struct iovec){(char *)bytes + r->position, (size_t)(r->end - r->position)};
        view->count = 1;
    } else {
        show_file(r, view, piece_fd(r->piece), r->end);
        view->cold = true;
    }
    return READER_COMPLETE;
}

/// Throw away what comes before the reader's position.
static void skip(struct reader *r, const struct reader_view *view) {
    size_t all = 0;
    for (size_t i = 0; i < view->count; i++)
        all += view->spans[i].iov_len;
    size_t n = r->skip < all ? (size_t)r->skip : all;
    stream_consume(r->stream, n);
    r->skip -= n;
}

/// The stream may go on past the end of the range that is wanted.
static bool cut(const struct reader *r, struct reader_view *view) {
    uint64_t room = r->end - r->position;
    for (size_t i = 0; i < view->count; i++) {
        if (view->spans[i].iov_len > room)
            view->spans[i].iov_len = (size_t)room;
        room -= view->spans[i].iov_len;
    }
    while (view->count > 0 && view->spans[view->count - 1].iov_len == 0)
        view->count--;
    return room == 0;
}

static enum reader_state peek_stream(struct reader *r, struct reader_view *view) {
    enum reader_state state = stream_peek(r->stream, view->spans, &view->count);
    while (r->skip > 0 && view->count > 0) {
        skip(r, view);
        state = stream_peek(r->stream, view->spans, &view->count);
    }
    return r->end != UINT64_MAX && cut(r, view) ? READER_COMPLETE : state;
}

/// The disk failed: from here on by a transfer of its own, with the fill's hash where it is of just what was read.
static void go_on(struct reader *r, const struct fill_view *v) {
    struct range rest = {.kind = RANGE_BYTES, .first = r->position, .last = r->end - 1};
    struct intake_spec spec = {.place = &r->place, .digest = r->digest, .total = v->total};
    if (r->end == UINT64_MAX)
        rest.last = UINT64_MAX;
    if (r->position == v->ready) {
        spec.from = v->ready;
        spec.hasher = fill_hash(r->fill);
    } else {
        spec.range = &rest;
        r->skip = UINT64_MAX; // Until the stream's head says how much.
        r->unverified = true;
    }
    struct fill *f = r->fill;
    r->fill = NULL;
    reader_stream(r, &spec);
    fill_leave(f, &r->follower);
}

static enum reader_state fail_with_fill(struct reader *r, bool wrong_content) {
    struct err err;
    fill_result(r->fill, NULL, &err);
    reader_fail(r, &err, wrong_content);
    return READER_FAILED;
}

static enum reader_state peek_fill(struct reader *r, struct reader_view *view) {
    struct fill_view v;
    fill_look(r->fill, &r->follower, true, r->position, &v);
    if (v.state == FILL_COMPLETE && r->end == UINT64_MAX)
        r->end = v.ready;
    if (r->position == r->end)
        return READER_COMPLETE;
    if (v.wrong_content)
        return fail_with_fill(r, true);
    uint64_t ready = v.ready < r->end ? v.ready : r->end;
    if (ready > r->position) {
        show_file(r, view, v.fd, ready);
        view->cold = v.ready - r->position > COLD_BEHIND; // Else it was written a moment ago.
        return ready == r->end ? READER_COMPLETE : READER_RUNNING;
    }
    if (v.state == FILL_FAILED)
        return fail_with_fill(r, false);
    if (v.state != FILL_BROKEN)
        return READER_RUNNING;
    go_on(r, &v);
    return peek_stream(r, view);
}

static enum reader_state peek(struct reader *r, struct reader_view *view) {
    if (!r->answered)
        return READER_RUNNING;
    switch (r->reading) {
    case READING_NOTHING:
        return READER_COMPLETE;
    case READING_PIECE:
        return peek_piece(r, view);
    case READING_FILL:
        return peek_fill(r, view);
    case READING_STREAM:
        return peek_stream(r, view);
    case READING_FAILED:
        break;
    }
    return READER_FAILED;
}

enum reader_state reader_peek(struct reader *r, struct reader_view *view) {
    *view = (struct reader_view){.fd = -1};
    pthread_mutex_lock(&r->lock);
    enum reader_state state = peek(r, view);
    r->waits = state == READER_RUNNING && view->count == 0 && view->length == 0;
    pthread_mutex_unlock(&r->lock);
    return state;
}

void reader_consume(struct reader *r, uint64_t bytes) {
    pthread_mutex_lock(&r->lock);
    r->position += bytes;
    if (r->reading == READING_STREAM)
        stream_consume(r->stream, (size_t)bytes);
    pthread_mutex_unlock(&r->lock);
}

void reader_failure(struct reader *r, struct err *err, bool *wrong_content) {
    pthread_mutex_lock(&r->lock);
    *err = (struct err){0};
    *wrong_content = r->wrong_content;
    if (r->reading == READING_FAILED)
        *err = *r->err;
    else if (r->reading == READING_STREAM)
        stream_failure(r->stream, err, wrong_content);
    pthread_mutex_unlock(&r->lock);
}

// --- warming ---

struct warming {
    struct reader *reader; ///< A reference, as the next two where they are not NULL.
    struct piece *piece;
    struct fill *fill;
    int fd;
    uint64_t at, until;
};

static void warming_free(struct warming *w) {
    struct reader *r = w->reader;
    piece_unref(w->piece);
    fill_release(w->fill);
    free(w);
    reader_wake(r);
    reader_unref(r);
}

static bool is_closed(struct reader *r) {
    pthread_mutex_lock(&r->lock);
    bool closed = r->closed;
    pthread_mutex_unlock(&r->lock);
    return closed;
}

/// Read, so that the pages are there; the bytes themselves are not wanted.
static void warm(void *ctx) {
    struct warming *w = ctx;
    char *scratch = mem_alloc(WARM_STEP);
    while (!is_closed(w->reader) && w->at < w->until) {
        ssize_t n = pread(w->fd, scratch, WARM_STEP, (off_t)w->at);
        if (n == 0 || (n < 0 && errno != EINTR))
            break; // Whoever sends it will see.
        w->at += n > 0 ? (uint64_t)n : 0;
    }
    free(scratch);
    warming_free(w);
}

/// What is to be read, held as long as that takes; NULL: nothing that can be cold.
static struct warming *warming_locked(struct reader *r, uint64_t length) {
    struct fill_view v;
    if (r->reading != READING_PIECE && r->reading != READING_FILL)
        return NULL;
    struct warming *w = mem_zalloc(1, sizeof(*w));
    w->reader = reader_ref(r);
    w->at = r->position;
    w->until = r->position + (length < WARM_MAX ? length : WARM_MAX);
    if (r->reading == READING_PIECE) {
        w->piece = piece_ref(r->piece);
        w->fd = piece_fd(r->piece);
    } else {
        w->fill = fill_hold(r->fill);
        fill_look(r->fill, &r->follower, false, 0, &v);
        w->fd = v.fd;
    }
    return w;
}

void reader_warm(struct reader *r, uint64_t length) {
    pthread_mutex_lock(&r->lock);
    r->waits = true;
    struct warming *w = warming_locked(r, length);
    pthread_mutex_unlock(&r->lock);
    if (w == NULL) {
        reader_wake(r);
    } else if (!store_work(r->content->store, warm, w)) { // Too much waits already: let the kernel do it.
        posix_fadvise(w->fd, (off_t)w->at, (off_t)(w->until - w->at), POSIX_FADV_WILLNEED);
        warming_free(w);
    }
}

void reader_doubt(struct reader *r) {
    pthread_mutex_lock(&r->lock);
    struct piece *p = r->reading == READING_PIECE ? piece_ref(r->piece) : NULL;
    pthread_mutex_unlock(&r->lock);
    if (p != NULL)
        store_doubt(r->content->store, p);
    piece_unref(p);
}

bool reader_is_verified(struct reader *r) {
    pthread_mutex_lock(&r->lock);
    bool verified = !r->unverified;
    pthread_mutex_unlock(&r->lock);
    return verified;
}

// --- the end ---

void reader_close(struct reader *r) {
    pthread_mutex_lock(&r->lock);
    r->closed = true;
    struct fill *f = r->fill;
    struct stream *s = r->stream;
    r->fill = NULL;
    r->stream = NULL;
    pthread_mutex_unlock(&r->lock);
    if (f != NULL)
        fill_leave(f, &r->follower);
    if (s != NULL)
        stream_close(s);
    reader_unref(r);
}
