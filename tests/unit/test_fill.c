// SPDX-License-Identifier: Apache-2.0
//
// Fills against a scripted upstream: no answer may look complete that is not the blob, and memory stays within the
// window.

#include "tests/unit/upstream.h"

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 64 * 1024, BIG = 3 * 1024 * 1024 + 17, PATIENCE_S = 20 };

// --- one reader ---

struct reader {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int answered, released;
    bool readable;
    struct fill_answer answer;
    struct fetch_result fetch;
    struct fill *fill;
    char *body;
    size_t len;
    enum fill_state state;
    struct err err;
    bool wrong_content;
};

static void on_answered(void *ctx, const struct fill_answer *answer) {
    struct reader *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->answered++;
    r->answer = *answer;
    r->fetch = *answer->fetch;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_readable(void *ctx) {
    struct reader *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->readable = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_released(void *ctx) {
    struct reader *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->released++;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void nothing(void *object) {
    (void)object;
}

struct bed {
    struct upstream *upstream;
    struct registry *registry;
    struct fetcher *fetcher;
    struct content *content;
    struct content_place place;
};

static void bed_open(struct bed *b, upstream_fn answer, void *ctx) {
    struct err err;
    b->upstream = upstream_start(answer, ctx);
    uint16_t port = upstream_port(b->upstream);
    b->registry = upstream_registry(&port, 1);
    b->fetcher = fetcher_new(2, &err);
    b->content = content_new(b->fetcher);
    b->place = (struct content_place){
        .owner = {b, nothing, nothing},
        .registry = b->registry,
        .name = "test",
        .repository = "a/b",
        .deadline_ms = 5000,
        .connect_timeout_ms = 2000,
    };
}

static void bed_close(struct bed *b) {
    fetcher_free(b->fetcher);
    content_free(b->content);
    registry_free(b->registry);
    upstream_stop(b->upstream);
}

static struct reader *open_fill(struct bed *b, const char *digest, bool head, const struct range *range) {
    static const struct fill_callbacks callbacks = {on_answered, on_readable, on_released};
    struct reader *r = mem_zalloc(1, sizeof(*r));
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->body = mem_alloc(BIG + WINDOW);
    r->fill = content_blob(b->content, &b->place, digest, head, range, WINDOW, &callbacks, r);
    return r;
}

static bool patience(struct reader *r, const struct timespec *until) {
    return pthread_cond_timedwait(&r->changed, &r->lock, until) == 0;
}

static struct timespec soon(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    return until;
}

static void await_answer(struct reader *r) {
    struct timespec until = soon();
    pthread_mutex_lock(&r->lock);
    while (r->answered == 0 && patience(r, &until)) {
    }
    pthread_mutex_unlock(&r->lock);
    cr_assert_eq(r->answered, 1, "answered once");
}

static void await_readable(struct reader *r) {
    struct timespec until = soon();
    pthread_mutex_lock(&r->lock);
    while (!r->readable && patience(r, &until)) {
    }
    cr_assert(r->readable, "woken");
    r->readable = false;
    pthread_mutex_unlock(&r->lock);
}

/// Take what is there now; false when there is nothing.
static bool take(struct reader *r) {
    struct iovec spans[2];
    size_t bytes = 0, n = fill_peek(r->fill, spans, 2, &r->state);
    for (size_t i = 0; i < n; i++) {
        memcpy(r->body + r->len, spans[i].iov_base, spans[i].iov_len);
        r->len += spans[i].iov_len;
        bytes += spans[i].iov_len;
    }
    cr_assert(bytes <= WINDOW, "never more than the window");
    if (bytes > 0)
        fill_consume(r->fill, bytes);
    return bytes > 0;
}

static void read_all(struct reader *r) {
    for (;;) {
        if (take(r))
            continue;
        if (r->state != FILL_RUNNING)
            break;
        await_readable(r);
    }
    fill_failure(r->fill, &r->err, &r->wrong_content);
}

static void reader_close(struct reader *r) {
    struct timespec until = soon();
    fill_close(r->fill);
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

static void digest_text(const char *text, char *out) {
    digest_of(DIGEST_SHA256, text, strlen(text), out);
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

Test(fill, one_answer) {
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
    digest_text("0123456789", digest);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct bed b;
        bed_open(&b, play, (void *)&rows[i].script);
        struct reader *r = open_fill(&b, digest, false, rows[i].range);
        await_answer(r);
        cr_expect_eq(r->answer.ok, rows[i].ok, "%s: %s", rows[i].why, r->fetch.err.text);
        read_all(r);
        cr_expect_eq(r->state == FILL_COMPLETE, rows[i].complete, "%s: complete (%s)", rows[i].why, r->err.text);
        cr_expect(r->len == strlen(rows[i].seen) && memcmp(r->body, rows[i].seen, r->len) == 0, "%s: %.*s", rows[i].why,
                  (int)r->len, r->body);
        if (r->answer.ok && r->state == FILL_COMPLETE && r->answer.length != UINT64_MAX)
            cr_expect_eq(r->len, r->answer.length, "%s: what was announced", rows[i].why);
        cr_expect_eq(r->answer.verified, rows[i].verified, "%s: verified", rows[i].why);
        cr_expect_eq(r->wrong_content, rows[i].wrong, "%s: wrong content (%s)", rows[i].why, r->err.text);
        reader_close(r);
        r = open_fill(&b, digest, false, rows[i].range);
        await_answer(r);
        cr_expect_eq(r->fetch.outcome == FETCH_MISMATCH, rows[i].remembered, "%s: remembered: %s", rows[i].why,
                     r->fetch.err.text);
        cr_expect_eq(upstream_count(b.upstream, "GET "), rows[i].remembered ? 1 : 2, "%s: asked again", rows[i].why);
        reader_close(r);
        bed_close(&b);
    }
}

Test(fill, empty_blob) {
    static const struct script script = {"HTTP/1.1 200 OK\r\nContent-Length: 0", ""};
    char digest[DIGEST_TEXT_MAX + 1];
    struct bed b;
    digest_text("", digest);
    bed_open(&b, play, (void *)&script);
    struct reader *r = open_fill(&b, digest, false, NULL);
    await_answer(r);
    cr_expect(r->answer.ok);
    read_all(r);
    cr_expect_eq(r->state, FILL_COMPLETE, "%s", r->err.text);
    reader_close(r);
    bed_close(&b);
}

// --- sizes of manifests ---

static void tell_size(struct bed *b, const char *digest, uint64_t size) {
    struct manifest *m = mem_zalloc(1, sizeof(*m));
    atomic_init(&m->refs, 1);
    digest_text("the manifest", m->digest);
    m->document.descriptors = mem_zalloc(1, sizeof(*m->document.descriptors));
    m->document.count = 1;
    m->document.descriptors[0].size = size;
    strcpy(m->document.descriptors[0].digest, digest);
    content_remember(b->content, &b->place, m);
    manifest_unref(m);
}

Test(fill, descriptor_size) {
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
    digest_text("0123456789", digest);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct bed b;
        bed_open(&b, play, (void *)&rows[i].script);
        tell_size(&b, digest, rows[i].size);
        struct reader *r = open_fill(&b, digest, rows[i].head, NULL);
        await_answer(r);
        cr_expect_eq(r->answer.ok, rows[i].ok, "%s: %s", rows[i].why, r->fetch.err.text);
        if (!rows[i].ok)
            cr_expect_eq(r->fetch.outcome, FETCH_MISMATCH, "%s", rows[i].why);
        read_all(r);
        cr_expect_eq(r->state == FILL_COMPLETE, rows[i].complete, "%s: %s", rows[i].why, r->err.text);
        reader_close(r);
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
    unsigned seed = 7;
    g->data = mem_alloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        g->data[i] = (char)rand_r(&seed);
    digest_of(DIGEST_SHA256, g->data, BIG, g->digest);
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
        upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
    if (strcmp(q->method, "HEAD") == 0)
        return true;
    for (size_t at = 0; at < BIG; at += piece)
        if (!send_piece(g, fd, at, BIG - at < piece ? BIG - at : piece))
            return false;
    return g->piece == 0 || upstream_send(fd, "0\r\n\r\n");
}

Test(fill, slow_reader) {
    static const size_t pieces[] = {0, 100, 5000, 100000};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        struct big g;
        struct bed b;
        big_init(&g, pieces[i]);
        bed_open(&b, send_big, &g);
        struct reader *r = open_fill(&b, g.digest, false, NULL);
        await_answer(r);
        unsigned seed = 3;
        for (;;) {
            struct iovec spans[2];
            size_t n = fill_peek(r->fill, spans, 2, &r->state);
            if (n == 0 && r->state != FILL_RUNNING)
                break;
            if (n == 0) {
                await_readable(r);
                continue;
            }
            size_t bytes = 1 + (size_t)rand_r(&seed) % spans[0].iov_len;
            memcpy(r->body + r->len, spans[0].iov_base, bytes);
            r->len += bytes;
            fill_consume(r->fill, bytes);
        }
        cr_expect_eq(r->state, FILL_COMPLETE, "pieces of %zu", pieces[i]);
        cr_expect(r->len == BIG && memcmp(r->body, g.data, BIG) == 0, "pieces of %zu: every byte, in order", pieces[i]);
        reader_close(r);
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

Test(fill, reader_that_does_not_read) {
    enum { KERNEL_BUFFERS = 24 * 1024 * 1024 };
    _Atomic size_t sent = 0;
    char digest[DIGEST_TEXT_MAX + 1];
    struct bed b;
    digest_text("x", digest);
    bed_open(&b, endless, &sent);
    struct reader *r = open_fill(&b, digest, false, NULL);
    await_answer(r);
    size_t before;
    do {
        before = atomic_load(&sent);
        usleep(200000);
    } while (atomic_load(&sent) != before && before < KERNEL_BUFFERS);
    cr_expect(before < KERNEL_BUFFERS, "the upstream is paused: %zu bytes", before);
    usleep(300000);
    cr_expect_eq(atomic_load(&sent), before, "and stays so");
    reader_close(r); // While it is paused.
    r = open_fill(&b, digest, false, NULL);
    await_answer(r);
    cr_expect(r->answer.ok, "who leaves early leaves no mismatch behind: %s", r->fetch.err.text);
    reader_close(r);
    bed_close(&b);
}

Test(fill, closed_at_any_time) {
    struct big g;
    struct bed b;
    big_init(&g, 0);
    bed_open(&b, send_big, &g);
    unsigned seed = 5;
    for (int i = 0; i < 200; i++) {
        struct reader *r = open_fill(&b, g.digest, i % 7 == 0, NULL);
        if (i % 3 != 0) {
            await_answer(r);
            cr_expect(r->answer.ok, "%d: an early end is no mismatch: %s", i, r->fetch.err.text);
            for (unsigned k = (unsigned)rand_r(&seed) % 60; k > 0 && (take(r) || r->state == FILL_RUNNING); k--)
                usleep(k);
        }
        reader_close(r);
    }
    struct reader *r = open_fill(&b, g.digest, false, NULL);
    await_answer(r);
    read_all(r);
    cr_expect_eq(r->state, FILL_COMPLETE, "%s", r->err.text);
    reader_close(r);
    bed_close(&b);
    free(g.data);
}
