// SPDX-License-Identifier: Apache-2.0
//
// Streams against a scripted upstream: no answer may look complete that is not the blob, and memory stays within the
// window.

#include "tests/unit/bed.h"

#include "mirrors/base/mem.h"
#include "mirrors/content/stream.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 64 * 1024 };

// --- one reader ---

struct reading {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int answered, released, whole;
    bool readable;
    bool ok;
    struct intake_head head;
    struct fetch_result fetch;
    struct stream *stream;
    char *body;
    size_t len;
    enum reader_state state;
    struct err err;
    bool wrong_content;
};

static void on_answered(void *ctx, const struct intake_head *head, enum intake_end end,
                        const struct fetch_result *result, const struct err *err) {
    struct reading *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->answered++;
    r->ok = head != NULL;
    if (head != NULL)
        r->head = *head;
    r->fetch = *result;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_readable(void *ctx) {
    struct reading *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->readable = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_released(void *ctx) {
    struct reading *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->released++;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_whole(void *ctx) {
    struct reading *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->whole++;
    pthread_mutex_unlock(&r->lock);
}

static struct reading *open_stream(struct bed *b, const char *digest, bool head, const struct range *range) {
    static const struct stream_callbacks callbacks = {on_answered, on_readable, on_whole, on_released};
    struct intake_spec spec = {&b->place, digest, head, range, UINT64_MAX, 0, NULL};
    struct reading *r = mem_zalloc(1, sizeof(*r));
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->body = mem_alloc(BED_BIG + WINDOW);
    r->stream = stream_new(b->content, &spec, WINDOW, &callbacks, r);
    return r;
}

static bool patience(struct reading *r, const struct timespec *until) {
    return pthread_cond_timedwait(&r->changed, &r->lock, until) == 0;
}

static void await_answer(struct reading *r) {
    struct timespec until = bed_soon();
    pthread_mutex_lock(&r->lock);
    while (r->answered == 0 && patience(r, &until)) {
    }
    pthread_mutex_unlock(&r->lock);
    cr_assert_eq(r->answered, 1, "answered once");
}

static void await_readable(struct reading *r) {
    struct timespec until = bed_soon();
    pthread_mutex_lock(&r->lock);
    while (!r->readable && patience(r, &until)) {
    }
    cr_assert(r->readable, "woken");
    r->readable = false;
    pthread_mutex_unlock(&r->lock);
}

/// Take what is there now; false when there is nothing.
static bool take(struct reading *r) {
    struct iovec spans[2];
    size_t bytes = 0, n;
    r->state = stream_peek(r->stream, spans, &n);
    for (size_t i = 0; i < n; i++) {
        memcpy(r->body + r->len, spans[i].iov_base, spans[i].iov_len);
        r->len += spans[i].iov_len;
        bytes += spans[i].iov_len;
    }
    cr_assert(bytes <= WINDOW, "never more than the window");
    if (bytes > 0)
        stream_consume(r->stream, bytes);
    return bytes > 0;
}

static void read_all(struct reading *r) {
    for (;;) {
        if (take(r))
            continue;
        if (r->state != READER_RUNNING)
            break;
        await_readable(r);
    }
    stream_failure(r->stream, &r->err, &r->wrong_content);
}

static void reading_close(struct reading *r) {
    struct timespec until = bed_soon();
    stream_close(r->stream);
    pthread_mutex_lock(&r->lock);
    while (r->released == 0 && patience(r, &until)) {
    }
    pthread_mutex_unlock(&r->lock);
    cr_assert_eq(r->released, 1, "released once");
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r->body);
    free(r);
}

// --- what a reader may see of one answer ---

struct script {
    const char *head, *body;
};

static bool play(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    const struct script *s = ctx;
    upstream_send(fd, "%s\r\n\r\n%s", s->head, strcmp(q->method, "HEAD") == 0 ? "" : s->body);
    return false;
}

Test(stream, one_answer) {
    static const struct range none = {.kind = RANGE_NONE}, tail = {.kind = RANGE_BYTES, .first = 4, .last = UINT64_MAX};
    static const struct range start = {.kind = RANGE_BYTES, .first = 0, .last = 3};
    static const struct range all = {.kind = RANGE_BYTES, .first = 0, .last = UINT64_MAX};
    static const struct range all_named = {.kind = RANGE_BYTES, .first = 0, .last = 9};
    static const struct range suffix = {.kind = RANGE_SUFFIX, .suffix = 4}, long_suffix = {RANGE_SUFFIX, 0, 0, 99};
    static const struct {
        const struct range *range;
        struct script script;
        bool ok, complete, verified, wrong, remembered;
        const char *seen; ///< All bytes that may have left.
        const char *why;
    } rows[] = {
        {&none,
         {"HTTP/1.1 200 OK\r\nContent-Length: 10", "0123456789"},
         true,
         true,
         true,
         false,
         false,
         "0123456789",
         "all is well"},
        {&all,
         {"HTTP/1.1 200 OK\r\nContent-Length: 10", "0123456789"},
         true,
         true,
         true,
         false,
         false,
         "0123456789",
         "bytes=0- is all of it"},
        {&none,
         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "a\r\n0123456789\r\n0\r\n\r\n"},
         true,
         true,
         true,
         false,
         false,
         "0123456789",
         "chunks"},
        {&none,
         {"HTTP/1.1 200 OK", "0123456789"},
         true,
         true,
         true,
         false,
         false,
         "0123456789",
         "unframed, but the digest says that it is all"},
        {&none,
         {"HTTP/1.1 200 OK\r\nContent-Length: 10", "0123456_89"},
         true,
         false,
         true,
         true,
         true,
         "0123456_8",
         "another content: the last byte never leaves"},
        {&none,
         {"HTTP/1.1 200 OK\r\nContent-Length: 11", "0123456789x"},
         true,
         false,
         true,
         true,
         true,
         "0123456789",
         "a byte more"},
        {&none,
         {"HTTP/1.1 200 OK\r\nContent-Length: 9", "012345678"},
         true,
         false,
         true,
         true,
         true,
         "01234567",
         "a byte less"},
        {&none,
         {"HTTP/1.1 200 OK\r\nContent-Length: 0", ""},
         false,
         false,
         false,
         false,
         true,
         "",
         "nothing at all would be complete with its head"},
        {&none,
         {"HTTP/1.1 200 OK\r\nContent-Length: 10", "01234567"},
         true,
         false,
         true,
         false,
         false,
         "0123456",
         "cut short"},
        {&none,
         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "9\r\n012345678\r\n"},
         true,
         false,
         true,
         false,
         false,
         "01234567",
         "cut between chunks"},
        {&none, {"HTTP/1.1 200 OK", "012345678"}, true, false, true, true, true, "01234567", "an unframed end"},
        {&none,
         {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", "a\r\n0123456789\r\n0\r\n\r\n"},
         true,
         true,
         true,
         false,
         false,
         "0123456789",
         "chunks win over a length"},
        {&none,
         {"HTTP/1.1 206 OK\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/10", "0123456789"},
         false,
         false,
         false,
         false,
         false,
         "",
         "a range that nobody asked for"},
        {&start,
         {"HTTP/1.1 206 OK\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/10", "0123"},
         true,
         true,
         false,
         false,
         false,
         "0123",
         "the beginning: not the last byte, so it may leave"},
        {&all_named,
         {"HTTP/1.1 206 OK\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/10", "0123456_89"},
         true,
         false,
         true,
         true,
         true,
         "0123456_8",
         "a range that is all of it is verified"},
        {&all_named,
         {"HTTP/1.1 206 OK\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/*", "0123456789"},
         false,
         false,
         false,
         false,
         false,
         "",
         "a range from 0 that does not say whether it is all"},
        {&tail,
         {"HTTP/1.1 206 OK\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10", "456789"},
         true,
         true,
         false,
         false,
         false,
         "456789",
         "a range past 0 is passed on unverified"},
        {&tail,
         {"HTTP/1.1 206 OK\r\nContent-Range: bytes 4-9/10", "456"},
         true,
         false,
         false,
         false,
         false,
         "456",
         "an unframed range that ends early"},
        {&tail,
         {"HTTP/1.1 206 OK\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 4-9/10", "8\r\n456789xx\r\n0\r\n\r\n"},
         true,
         false,
         false,
         false,
         false,
         "",
         "more than the range that the client was promised"},
        {&tail,
         {"HTTP/1.1 206 OK\r\nContent-Length: 5\r\nContent-Range: bytes 4-9/10", "45678"},
         false,
         false,
         false,
         false,
         false,
         "",
         "a length that is not the range's"},
        {&tail,
         {"HTTP/1.1 206 OK\r\nContent-Length: 6\r\nContent-Range: bytes 3-8/10", "345678"},
         false,
         false,
         false,
         false,
         false,
         "",
         "another range"},
        {&tail,
         {"HTTP/1.1 206 OK\r\nContent-Length: 6", "456789"},
         false,
         false,
         false,
         false,
         false,
         "",
         "no Content-Range"},
        {&tail,
         {"HTTP/1.1 200 OK\r\nContent-Length: 10", "0123456789"},
         true,
         true,
         true,
         false,
         false,
         "0123456789",
         "the whole blob instead of a range"},
        {&suffix,
         {"HTTP/1.1 206 OK\r\nContent-Length: 4\r\nContent-Range: bytes 6-9/10", "6789"},
         true,
         true,
         false,
         false,
         false,
         "6789",
         "a suffix"},
        {&suffix,
         {"HTTP/1.1 206 OK\r\nContent-Length: 5\r\nContent-Range: bytes 5-9/10", "56789"},
         false,
         false,
         false,
         false,
         false,
         "",
         "more than the suffix"},
        {&long_suffix,
         {"HTTP/1.1 206 OK\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/10", "0123456_89"},
         true,
         false,
         true,
         true,
         true,
         "0123456_8",
         "a suffix that is all of it is verified"},
        {&tail, {"HTTP/1.1 416 No\r\nContent-Length: 0", ""}, false, false, false, false, false, "", "416"},
    };
    char digest[DIGEST_TEXT_MAX + 1];
    bed_digest("0123456789", digest);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct bed b;
        bed_open(&b, play, (void *)&rows[i].script);
        struct reading *r = open_stream(&b, digest, false, rows[i].range);
        await_answer(r);
        cr_expect_eq(r->ok, rows[i].ok, "%s: %s", rows[i].why, r->fetch.err.text);
        read_all(r);
        cr_expect_eq(r->state == READER_COMPLETE, rows[i].complete, "%s: complete (%s)", rows[i].why, r->err.text);
        cr_expect(r->len == strlen(rows[i].seen) && memcmp(r->body, rows[i].seen, r->len) == 0, "%s: %.*s", rows[i].why,
                  (int)r->len, r->body);
        if (r->ok && r->state == READER_COMPLETE && r->head.length != UINT64_MAX)
            cr_expect_eq(r->len, r->head.length, "%s: what was announced", rows[i].why);
        cr_expect_eq(r->head.verified, rows[i].verified, "%s: verified", rows[i].why);
        cr_expect_eq(r->wrong_content, rows[i].wrong, "%s: wrong content (%s)", rows[i].why, r->err.text);
        cr_expect_eq(r->whole, rows[i].complete && rows[i].verified, "%s: told that it is whole", rows[i].why);
        reading_close(r);
        r = open_stream(&b, digest, false, rows[i].range);
        await_answer(r);
        cr_expect_eq(r->fetch.outcome == FETCH_MISMATCH, rows[i].remembered, "%s: remembered: %s", rows[i].why,
                     r->fetch.err.text);
        cr_expect_eq(upstream_count(b.upstream, "GET ") == 1, rows[i].remembered, "%s: asked again", rows[i].why);
        reading_close(r);
        bed_close(&b);
    }
}

Test(stream, empty_blob) {
    static const struct script script = {"HTTP/1.1 200 OK\r\nContent-Length: 0", ""};
    char digest[DIGEST_TEXT_MAX + 1];
    struct bed b;
    bed_digest("", digest);
    bed_open(&b, play, (void *)&script);
    struct reading *r = open_stream(&b, digest, false, NULL);
    await_answer(r);
    cr_expect(r->ok);
    read_all(r);
    cr_expect_eq(r->state, READER_COMPLETE, "%s", r->err.text);
    reading_close(r);
    bed_close(&b);
}

// --- sizes of manifests ---

Test(stream, descriptor_size) {
    static const struct {
        uint64_t size;
        bool head;
        struct script script;
        bool ok, complete;
        const char *why;
    } rows[] = {
        {10, false, {"HTTP/1.1 200 OK\r\nContent-Length: 10", "0123456789"}, true, true, "it agrees"},
        {11, false, {"HTTP/1.1 200 OK\r\nContent-Length: 10", "0123456789"}, false, false, "it does not"},
        {11, true, {"HTTP/1.1 200 OK\r\nContent-Length: 10", ""}, false, false, "nor by HEAD"},
        {10, true, {"HTTP/1.1 200 OK\r\nContent-Length: 10", ""}, true, true, "HEAD agrees"},
        {10,
         false,
         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "a\r\n0123456789\r\n0\r\n\r\n"},
         true,
         true,
         "chunks agree"},
        {9,
         false,
         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "a\r\n0123456789\r\n0\r\n\r\n"},
         true,
         false,
         "chunks bring more"},
        {11,
         false,
         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "a\r\n0123456789\r\n0\r\n\r\n"},
         true,
         false,
         "chunks bring less"},
    };
    char digest[DIGEST_TEXT_MAX + 1];
    bed_digest("0123456789", digest);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct bed b;
        bed_open(&b, play, (void *)&rows[i].script);
        bed_tell_size(&b, digest, rows[i].size);
        struct reading *r = open_stream(&b, digest, rows[i].head, NULL);
        await_answer(r);
        cr_expect_eq(r->ok, rows[i].ok, "%s: %s", rows[i].why, r->fetch.err.text);
        if (!rows[i].ok)
            cr_expect_eq(r->fetch.outcome, FETCH_MISMATCH, "%s", rows[i].why);
        read_all(r);
        cr_expect_eq(r->state == READER_COMPLETE, rows[i].complete, "%s: %s", rows[i].why, r->err.text);
        reading_close(r);
        bed_close(&b);
    }
}

// --- back-pressure ---

struct big {
    char *data;
    char digest[DIGEST_TEXT_MAX + 1];
    _Atomic size_t sent;
    size_t piece; ///< Of chunks; 0: Content-Length.
};

static void big_init(struct big *g, size_t piece) {
    g->data = bed_big(g->digest);
    atomic_init(&g->sent, 0);
    g->piece = piece;
}

static bool send_piece(struct big *g, int fd, size_t at, size_t len) {
    if (g->piece > 0 && !upstream_send(fd, "%zx\r\n", len))
        return false;
    if (!upstream_write(fd, g->data + at, len) || (g->piece > 0 && !upstream_write(fd, "\r\n", 2)))
        return false;
    atomic_store(&g->sent, at + len);
    return true;
}

static bool send_big(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct big *g = ctx;
    size_t piece = g->piece > 0 ? g->piece : 10000;
    if (g->piece > 0)
        upstream_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    else
        upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BED_BIG);
    if (strcmp(q->method, "HEAD") == 0)
        return true;
    for (size_t at = 0; at < BED_BIG; at += piece)
        if (!send_piece(g, fd, at, BED_BIG - at < piece ? BED_BIG - at : piece))
            return false;
    return g->piece == 0 || upstream_send(fd, "0\r\n\r\n");
}

Test(stream, slow_reader) {
    static const size_t pieces[] = {0, 100, 5000, 100000};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        struct big g;
        struct bed b;
        big_init(&g, pieces[i]);
        bed_open(&b, send_big, &g);
        struct reading *r = open_stream(&b, g.digest, false, NULL);
        await_answer(r);
        unsigned seed = 3;
        for (;;) {
            struct iovec spans[2];
            size_t n;
            r->state = stream_peek(r->stream, spans, &n);
            if (n == 0 && r->state != READER_RUNNING)
                break;
            if (n == 0) {
                await_readable(r);
                continue;
            }
            size_t bytes = 1 + (size_t)rand_r(&seed) % spans[0].iov_len;
            memcpy(r->body + r->len, spans[0].iov_base, bytes);
            r->len += bytes;
            stream_consume(r->stream, bytes);
        }
        cr_expect_eq(r->state, READER_COMPLETE, "pieces of %zu", pieces[i]);
        cr_expect(r->len == BED_BIG && memcmp(r->body, g.data, BED_BIG) == 0, "pieces of %zu: every byte, in order",
                  pieces[i]);
        reading_close(r);
        bed_close(&b);
        free(g.data);
    }
}

static bool endless(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    _Atomic size_t *sent = ctx;
    static char zeros[65536];
    upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n");
    while (upstream_write(fd, zeros, sizeof(zeros)))
        atomic_fetch_add(sent, sizeof(zeros));
    return false;
}

Test(stream, reader_that_does_not_read) {
    enum { KERNEL_BUFFERS = 24 * 1024 * 1024 };
    _Atomic size_t sent = 0;
    char digest[DIGEST_TEXT_MAX + 1];
    struct bed b;
    bed_digest("x", digest);
    bed_open(&b, endless, &sent);
    struct reading *r = open_stream(&b, digest, false, NULL);
    await_answer(r);
    size_t before;
    do {
        before = atomic_load(&sent);
        usleep(200000);
    } while (atomic_load(&sent) != before && before < KERNEL_BUFFERS);
    cr_expect(before < KERNEL_BUFFERS, "the upstream is paused: %zu bytes", before);
    usleep(300000);
    cr_expect_eq(atomic_load(&sent), before, "and stays so");
    reading_close(r); // While it is paused.
    r = open_stream(&b, digest, false, NULL);
    await_answer(r);
    cr_expect(r->ok, "who leaves early leaves no mismatch behind: %s", r->fetch.err.text);
    reading_close(r);
    bed_close(&b);
}

Test(stream, closed_at_any_time) {
    struct big g;
    struct bed b;
    big_init(&g, 0);
    bed_open(&b, send_big, &g);
    unsigned seed = 5;
    for (int i = 0; i < 200; i++) {
        struct reading *r = open_stream(&b, g.digest, i % 7 == 0, NULL);
        if (i % 3 != 0) {
            await_answer(r);
            cr_expect(r->ok, "%d: an early end is no mismatch: %s", i, r->fetch.err.text);
            for (unsigned k = (unsigned)rand_r(&seed) % 60; k > 0 && (take(r) || r->state == READER_RUNNING); k--)
                usleep(k);
        }
        reading_close(r);
    }
    struct reading *r = open_stream(&b, g.digest, false, NULL);
    await_answer(r);
    read_all(r);
    cr_expect_eq(r->state, READER_COMPLETE, "%s", r->err.text);
    reading_close(r);
    bed_close(&b);
    free(g.data);
}

// --- breaks ---

/// Gives 300000 bytes of what was asked for, and breaks off.
static bool send_some(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct big *g = ctx;
    size_t at = 0;
    if (sscanf(q->range, "bytes=%zu-", &at) == 1)
        upstream_send(fd, "HTTP/1.1 206 Partial\r\nContent-Length: %zu\r\nContent-Range: bytes %zu-%d/%d\r\n\r\n",
                      BED_BIG - at, at, BED_BIG - 1, BED_BIG);
    else
        upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BED_BIG);
    send_piece(g, fd, at, BED_BIG - at < 300000 ? BED_BIG - at : 300000);
    return false;
}

Test(stream, a_reader_does_not_notice_breaks) {
    for (int slow = 0; slow < 2; slow++) {
        struct big g;
        struct bed b;
        big_init(&g, 0);
        bed_open(&b, send_some, &g);
        struct reading *r = open_stream(&b, g.digest, false, NULL);
        await_answer(r);
        while (slow && r->len < 1000000) // The ring is full, the upstream has gone.
            if (!take(r))
                await_readable(r);
            else
                usleep(20000);
        read_all(r);
        cr_expect_eq(r->state, READER_COMPLETE, "%s", r->err.text);
        cr_expect(r->len == BED_BIG && memcmp(r->body, g.data, BED_BIG) == 0, "every byte, in order");
        cr_expect_eq(r->answered, 1, "answered once");
        cr_expect_eq(r->whole, 1, "told that it is whole");
        cr_expect_eq(atomic_load(&b.content->resumes), BED_BIG / 300000, "taken up each time");
        reading_close(r);
        bed_close(&b);
        free(g.data);
    }
}
