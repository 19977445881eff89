// SPDX-License-Identifier: Apache-2.0
//
// Sending a reader's bytes. See sending.h for the rule.

#include "gateway/front/sending.h"

#include "gateway/front/exchange.h"

#include "mirrors/base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SPANS_MAX = 2 };

static void pump(struct exchange *ex);

static h2o_socket_t *socket_of(const struct exchange *ex) {
    return loop_connection(ex->req)->sock;
}

static bool encrypted(const struct exchange *ex) {
    return socket_of(ex)->ssl != NULL;
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

// --- the end ---

static void note_verified(struct exchange *ex) {
    if (ex->to_verify)
        ex->verified = reader_is_verified(ex->sending.reader);
}

static void finish(struct exchange *ex) {
    note_verified(ex);
    ex->sending.writing = true;
    h2o_send(ex->req, NULL, 0, H2O_SEND_STATE_FINAL);
}

static void cut(struct exchange *ex) {
    ex->sending.writing = true;
    h2o_send(ex->req, NULL, 0, H2O_SEND_STATE_ERROR);
}

static void fail_reader(struct exchange *ex) {
    bool wrong_content;
    reader_failure(ex->sending.reader, &ex->message, &wrong_content);
    ex->reason = wrong_content ? REASON_DIGEST : REASON_UPSTREAM_ERROR;
    if (wrong_content)
        ex->verified = 0;
    cut(ex);
}

static void fail_file(struct exchange *ex, int error) {
    err_set(&ex->message, "the store's file cannot be read: %s", error != 0 ? strerror(error) : "it is too short");
    ex->reason = REASON_UPSTREAM_ERROR;
    reader_doubt(ex->sending.reader);
    cut(ex);
}

// --- by libh2o ---

/// Is this all that is still to come, and known to be right?
static bool is_last(const struct sending *s, enum reader_state state, uint64_t bytes) {
    return state == READER_COMPLETE && s->left == bytes;
}

static void hand_over(struct exchange *ex, h2o_iovec_t *bufs, size_t count, uint64_t bytes, bool last) {
    struct sending *s = &ex->sending;
    s->headed = true;
    s->writing = true;
    s->handed = (size_t)bytes;
    s->handed_ms = clock_ms();
    if (s->left != UINT64_MAX)
        s->left -= bytes;
    if (last)
        note_verified(ex);
    h2o_send(ex->req, bufs, count, last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

/// An empty first send is the head alone.
static void flush_head(struct exchange *ex) {
    if (!ex->sending.headed)
        hand_over(ex, NULL, 0, 0, false);
}

static uint64_t piece_max(const struct exchange *ex) {
    return ex->sending.slow ? SENDING_SLOW_PIECE_MAX : SENDING_PIECE_MAX;
}

static void send_spans(struct exchange *ex, const struct reader_view *view, enum reader_state state) {
    h2o_iovec_t out[SPANS_MAX];
    uint64_t room = encrypted(ex) ? piece_max(ex) : GATEWAY_SEND_MAX, bytes = 0;
    size_t n = 0;
    for (; n < view->count && bytes < room; n++) {
        size_t len = (size_t)least(view->spans[n].iov_len, room - bytes);
        out[n] = h2o_iovec_init(view->spans[n].iov_base, len);
        bytes += len;
    }
    hand_over(ex, out, n, bytes, is_last(&ex->sending, state, bytes));
}

// --- files that may not be in memory ---

/// Have the part read by a thread that may wait. False: that was done already, and it is cold again: read it here.
static bool warm(struct exchange *ex, const struct reader_view *view) {
    struct sending *s = &ex->sending;
    if (s->warmed_at == view->offset)
        return false;
    s->warmed_at = view->offset;
    s->warming = true;
    reader_warm(s->reader, least(view->length, SENDING_WARM_MAX));
    return true;
}

/// Read without waiting for the disk; -1 and EAGAIN where that cannot be. File systems that cannot say are believed to
/// be quick.
static ssize_t read_now(int fd, void *out, size_t len, uint64_t offset) {
    struct iovec iov = {out, len};
    ssize_t n = preadv2(fd, &iov, 1, (off_t)offset, RWF_NOWAIT);
    return n < 0 && errno == EOPNOTSUPP ? pread(fd, out, len, (off_t)offset) : n;
}

static bool in_memory(int fd, uint64_t offset) {
    char byte;
    return read_now(fd, &byte, 1, offset) >= 0 || errno != EAGAIN;
}

/// How much from the beginning of the part is in memory, of at most `max` bytes.
static uint64_t warm_part(const struct reader_view *view, uint64_t max) {
    uint64_t length = least(view->length, max);
    if (!view->cold)
        return length;
    for (uint64_t at = 0; at < length; at += SENDING_PROBE_STEP)
        if (!in_memory(view->fd, view->offset + at))
            return at;
    return in_memory(view->fd, view->offset + length - 1) ? length
                                                          : (length - 1) / SENDING_PROBE_STEP * SENDING_PROBE_STEP;
}

// --- files through memory ---

/// Over TLS libh2o encrypts all it is given before h2o_send() returns, so that the loop's connections can share.
static char *buffer_for(struct exchange *ex) {
    if (encrypted(ex))
        return loop_scratch(ex->loop);
    if (ex->sending.buffer == NULL)
        ex->sending.buffer = mem_alloc(SENDING_PIECE_MAX);
    return ex->sending.buffer;
}

static void drop_buffer(struct sending *s) {
    free(s->buffer);
    s->buffer = NULL;
}

static void send_read(struct exchange *ex, const struct reader_view *view, enum reader_state state) {
    char *buffer = buffer_for(ex);
    size_t len = (size_t)least(view->length, piece_max(ex));
    ssize_t n =
        view->cold ? read_now(view->fd, buffer, len, view->offset) : pread(view->fd, buffer, len, (off_t)view->offset);
    if (n < 0 && errno == EAGAIN) {
        if (warm(ex, view)) {
            flush_head(ex);
            return;
        }
        n = pread(view->fd, buffer, len, (off_t)view->offset);
    }
    if (n <= 0) {
        fail_file(ex, n < 0 ? errno : 0);
        return;
    }
    h2o_iovec_t out = h2o_iovec_init(buffer, (size_t)n);
    hand_over(ex, &out, 1, (uint64_t)n, is_last(&ex->sending, state, (uint64_t)n));
}

// --- files by the kernel ---

static void on_writable(h2o_socket_t *sock, const char *err) {
    struct connection *c = sock->on_close.data;
    struct exchange *ex = c->exchange;
    ex->sending.writing = false;
    pump(ex); // Whether the client has gone is for the next write to say.
}

static void await_socket(struct exchange *ex) {
    ex->sending.writing = true;
    h2o_socket_notify_write(socket_of(ex), on_writable);
}

/// Returns what the socket took; 0: nothing more in this turn.
static uint64_t send_file(struct exchange *ex, const struct reader_view *view, uint64_t budget) {
    struct sending *s = &ex->sending;
    uint64_t part = warm_part(view, budget);
    off_t offset = (off_t)view->offset;
    if (part == 0) {
        if (warm(ex, view))
            return 0;
        part = least(view->length, SENDING_PROBE_STEP);
    }
    ssize_t n = sendfile(h2o_socket_get_fd(socket_of(ex)), view->fd, &offset, (size_t)part);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        await_socket(ex);
    } else if (n < 0 && (errno == EIO || errno == ENOMEM)) {
        fail_file(ex, errno);
    } else if (n < 0) {
        sending_abandon(ex);
    } else if (n == 0) {
        fail_file(ex, 0);
    } else {
        ex->req->bytes_sent += (size_t)n;
        s->left -= (uint64_t)n;
        reader_consume(s->reader, (uint64_t)n);
    }
    return n > 0 ? (uint64_t)n : 0;
}

// --- in order ---

/// Send what comes next. True: it was taken on the spot, `*budget` says how much is left of the turn.
static bool step(struct exchange *ex, uint64_t *budget) {
    struct sending *s = &ex->sending;
    struct reader_view view = {.count = 0};
    enum reader_state state = reader_peek(s->reader, &view);
    if (view.count > 0) {
        send_spans(ex, &view, state);
    } else if (view.length > 0 && s->by_kernel && s->headed) {
        uint64_t taken = send_file(ex, &view, *budget);
        *budget -= taken;
        return taken > 0;
    } else if (view.length > 0) {
        send_read(ex, &view, state);
    } else if (state == READER_COMPLETE) {
        finish(ex);
    } else if (state == READER_FAILED) {
        fail_reader(ex);
    } else {
        flush_head(ex);
    }
    return false;
}

static void pump(struct exchange *ex) {
    uint64_t budget = SENDING_TURN_MAX;
    while (step(ex, &budget))
        if (budget == 0) {
            await_socket(ex);
            return;
        }
}

void sending_begin(struct exchange *ex, uint64_t length) {
    struct sending *s = &ex->sending;
    s->left = length;
    s->warmed_at = UINT64_MAX;
    // A filter (chunks, where the length is unknown) must see all that is sent.
    s->by_kernel = !encrypted(ex) && length != UINT64_MAX && ex->req->_ostr_top->next == NULL;
    pump(ex);
}

void sending_proceed(struct exchange *ex) {
    struct sending *s = &ex->sending;
    if (s->handed > 0)
        reader_consume(s->reader, s->handed);
    s->slow = s->handed > 0 && clock_ms() - s->handed_ms > SENDING_SLOW_MS;
    s->handed = 0;
    s->writing = false;
    drop_buffer(s);
    if (!s->warming)
        pump(ex);
}

void sending_readable(struct exchange *ex) {
    struct sending *s = &ex->sending;
    s->warming = false;
    if (!s->writing) // Else it goes on by itself, or has ended.
        pump(ex);
}

void sending_abandon(struct exchange *ex) {
    exchange_client_left(ex);
    cut(ex);
}

void sending_end(struct exchange *ex) {
    struct sending *s = &ex->sending;
    if (s->reader != NULL)
        reader_close(s->reader);
    s->reader = NULL;
    drop_buffer(s);
}
