// SPDX-License-Identifier: Apache-2.0
//
// Readers through content_blob(): ranges on what is held, on what is coming and past it; answers that need nobody; and
// the same without a store.

#include "tests/unit/client.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAR = 20 << 20, HERE = 1 << 20, SMALL = 1000 };

static void read_to_the_end(struct client *c) {
    client_read(c, c->room);
}

/// Everything that an answer promised came.
static void expect_promised(struct client *c, const struct shop *s, const char *why) {
    cr_expect_eq(c->state, READER_COMPLETE, "%s: state %d at %zu: %s", why, (int)c->state, c->len, c->err.text);
    cr_expect(client_has(c, s, c->answer.first, c->answer.length), "%s: %zu bytes from %zu, promised %zu", why, c->len,
              (size_t)c->answer.first, (size_t)c->answer.length);
}

/// Have it held.
static void stock(struct house *h) {
    struct client *c = client_open(h, &h->place, false, NULL);
    client_await(c);
    read_to_the_end(c);
    client_close(c);
    cr_assert(house_holds(h, &h->place));
}

// --- ranges ---

struct row {
    struct range range;
    bool ok, partial;
    size_t first, length;
    const char *why;
};

static const struct row ROWS[] = {
    {{RANGE_NONE, 0, 0, 0}, true, false, 0, FAR, "all of it"},
    {{RANGE_BYTES, 0, UINT64_MAX, 0}, true, true, 0, FAR, "all of it as a range"},
    {{RANGE_BYTES, 0, 0, 0}, true, true, 0, 1, "the first byte"},
    {{RANGE_BYTES, 1000, 1999, 0}, true, true, 1000, 1000, "inside"},
    {{RANGE_BYTES, HERE + 1000, HERE + 1999, 0}, true, true, HERE + 1000, 1000, "a little ahead"},
    {{RANGE_BYTES, HERE - 10, HERE + 9, 0}, true, true, HERE - 10, 20, "across"},
    {{RANGE_BYTES, FAR - 1000, UINT64_MAX, 0}, true, true, FAR - 1000, 1000, "far ahead"},
    {{RANGE_BYTES, FAR - 1, FAR - 1, 0}, true, true, FAR - 1, 1, "the last byte"},
    {{RANGE_BYTES, FAR - 10, FAR + 10, 0}, true, true, FAR - 10, 10, "past the end"},
    {{RANGE_SUFFIX, 0, 0, 500}, true, true, FAR - 500, 500, "a suffix"},
    {{RANGE_SUFFIX, 0, 0, FAR + 1}, true, true, 0, FAR, "a suffix that is all"},
    {{RANGE_SUFFIX, 0, 0, 0}, false, false, 0, 0, "no suffix"},
    {{RANGE_BYTES, FAR, UINT64_MAX, 0}, false, false, 0, 0, "behind the end"},
    {{RANGE_BYTES, UINT64_MAX, UINT64_MAX, 0}, false, false, 0, 0, "far behind it"},
};

enum { ROW_COUNT = sizeof(ROWS) / sizeof(*ROWS) };

static void expect_row(struct client *c, const struct row *row, const char *where) {
    cr_expect_eq(c->answer.ok, row->ok, "%s, %s: %s", where, row->why, c->fetch.err.text);
    cr_expect_eq(c->answer.total, FAR, "%s, %s: how much there is", where, row->why);
    if (!row->ok) {
        cr_expect_eq(c->fetch.outcome, FETCH_RANGE, "%s, %s", where, row->why);
        cr_expect_str_eq(c->fetch.content_range, "bytes */20971520", "%s, %s", where, row->why);
        return;
    }
    cr_expect_eq(c->answer.partial, row->partial, "%s, %s: partial", where, row->why);
    cr_expect_eq(c->answer.first, row->first, "%s, %s: from %zu", where, row->why, (size_t)c->answer.first);
    cr_expect_eq(c->answer.length, row->length, "%s, %s: %zu bytes", where, row->why, (size_t)c->answer.length);
    cr_expect_eq(c->answer.last, row->first + row->length - 1, "%s, %s: to", where, row->why);
}

Test(reader, ranges_of_what_is_held) {
    struct house h;
    house_open(&h, FAR, true);
    stock(&h);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct client *c = client_open(&h, &h.place, false, &ROWS[i].range);
        cr_expect_eq(c->answered, 1, "%s: answered before content_blob() returned", ROWS[i].why);
        expect_row(c, &ROWS[i], "held");
        read_to_the_end(c);
        if (ROWS[i].ok) {
            expect_promised(c, &h.shop, ROWS[i].why);
            cr_expect_eq(c->answer.source, SOURCE_HIT, "%s", ROWS[i].why);
            cr_expect(c->answer.verified && c->cold, "%s", ROWS[i].why);
        }
        client_close(c);
    }
    cr_expect_eq(h.shop.whole + h.shop.ranges + h.shop.heads, 1, "nobody was asked");
    house_close(&h);
}

Test(reader, ranges_of_what_is_coming, .timeout = 100) {
    struct house h;
    struct client *c[ROW_COUNT];
    house_open(&h, FAR, true);
    h.shop.gate = HERE;
    struct client *first = client_open(&h, &h.place, false, NULL);
    client_await(first);
    client_read(first, HERE - 1);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        c[i] = client_open(&h, &h.place, false, &ROWS[i].range);
        client_await(c[i]);
        expect_row(c[i], &ROWS[i], "coming");
    }
    read_to_the_end(c[3]);
    expect_promised(c[3], &h.shop, "what is ready needs nothing more");
    read_to_the_end(c[6]);
    expect_promised(c[6], &h.shop, "what is far ahead comes by itself");
    cr_expect(!c[6]->answer.verified, "and unverified");
    cr_expect(!client_take(c[4], 1), "what is a little ahead waits");
    h.shop.gate = SIZE_MAX;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        read_to_the_end(c[i]);
        if (ROWS[i].ok)
            expect_promised(c[i], &h.shop, ROWS[i].why);
        client_close(c[i]);
    }
    client_close(first);
    cr_expect_eq(h.shop.whole, 1, "one transfer");
    cr_expect(h.shop.ranges >= 3, "and one for each that was far ahead");
    house_close(&h);
}

Test(reader, range_of_an_unknown_size) {
    struct house h;
    static const struct range tail = {.kind = RANGE_BYTES, .first = 500, .last = UINT64_MAX};
    house_open(&h, SMALL, true);
    h.shop.chunked = true;
    h.shop.end_waits = true;
    struct client *first = client_open(&h, &h.place, false, NULL), *c = client_open(&h, &h.place, false, &tail);
    client_await(first);
    client_await(c);
    read_to_the_end(c);
    expect_promised(c, &h.shop, "by a request of its own");
    cr_expect_eq(c->answer.total, SMALL);
    client_close(c);
    h.shop.end_waits = false;
    client_read(first, SMALL);
    cr_expect(client_has(first, &h.shop, 0, SMALL));
    client_close(first);
    house_close(&h);
}

/// As containerd asks: "bytes=N-" several times at once, each dropped after its chunk.
Test(reader, chunks_at_once) {
    enum { CHUNK = 1 << 20, LANES = 4 };
    struct house h;
    house_open(&h, FAR, true);
    h.place.terms.finish_percent = 101;
    for (size_t at = 0; at < FAR; at += LANES * CHUNK) {
        struct client *c[LANES];
        for (size_t k = 0; k < LANES; k++) {
            struct range range = {.kind = RANGE_BYTES, .first = at + k * CHUNK, .last = UINT64_MAX};
            c[k] = client_open(&h, &h.place, false, &range);
        }
        for (size_t k = 0; k < LANES; k++) {
            client_await(c[k]);
            client_read(c[k], CHUNK);
            cr_expect(client_has(c[k], &h.shop, at + k * CHUNK, CHUNK), "the chunk at %zu", at + k * CHUNK);
        }
        for (size_t k = 0; k < LANES; k++)
            client_close(c[k]);
    }
    cr_expect_eq(h.shop.whole, 1, "one transfer, not %u", h.shop.whole);
    cr_expect(house_holds(&h, &h.place));
    house_close(&h);
}

Test(reader, far_ahead_keeps_it_coming) {
    static const struct range far = {.kind = RANGE_BYTES, .first = FAR - 1000, .last = UINT64_MAX};
    struct house h;
    house_open(&h, FAR, true);
    h.place.terms.finish_percent = 101;
    h.shop.gate = HERE;
    struct client *c = client_open(&h, &h.place, false, &far);
    client_await(c);
    client_read(c, 10);
    usleep((CONTENT_ORPHAN_MS + 1000) * 1000);
    h.shop.gate += 100; // Were it an orphan, it would end now.
    usleep(300000);
    h.shop.gate = SIZE_MAX;
    cr_expect(house_holds(&h, &h.place), "its follower does not read it, but is there");
    cr_expect_eq(h.shop.whole, 1);
    client_close(c);
    house_close(&h);
}

// --- heads ---

Test(reader, head) {
    static const struct {
        bool with_store, held;
        const char *repository;
        bool ok;
        unsigned heads;
        const char *why;
    } rows[] = {
        {false, false, "a/b", true, 1, "asked"},       {true, false, "a/b", true, 1, "not held: asked"},
        {true, true, "a/b", true, 0, "held"},          {true, true, "c/d", true, 1, "held, but by whom: asked"},
        {true, true, "none/d", false, 1, "not there"}, {false, false, "none/d", false, 1, "nor without a store"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct house h;
        house_open(&h, SMALL, rows[i].with_store);
        if (rows[i].held)
            stock(&h);
        struct content_place place = h.place;
        place.repository = rows[i].repository;
        struct client *c = client_open(&h, &place, true, NULL);
        client_await(c);
        cr_expect_eq(c->answer.ok, rows[i].ok, "%s: %s", rows[i].why, c->fetch.err.text);
        if (rows[i].ok)
            cr_expect_eq(c->answer.length, SMALL, "%s", rows[i].why);
        read_to_the_end(c);
        cr_expect_eq(c->state, rows[i].ok ? READER_COMPLETE : READER_FAILED, "%s", rows[i].why);
        cr_expect_eq(c->len, 0, "%s", rows[i].why);
        cr_expect_eq(h.shop.heads, rows[i].heads, "%s: %u", rows[i].why, h.shop.heads);
        client_close(c);
        house_close(&h);
    }
}

// --- what is kept, and what is not to be asked ---

Test(reader, small_pieces_are_in_memory) {
    struct house h;
    house_open(&h, SMALL, true);
    stock(&h);
    for (int i = 0; i < 3; i++) {
        struct reader_view view;
        struct client *c = client_open(&h, &h.place, false, NULL);
        cr_assert_eq(c->answered, 1);
        cr_expect_eq(reader_peek(c->reader, &view), READER_COMPLETE);
        cr_expect(i == 0 || view.count == 1, "a span of memory once asked for");
        read_to_the_end(c);
        expect_promised(c, &h.shop, "small");
        client_close(c);
    }
    house_close(&h);
}

Test(reader, warmed) {
    static const uint64_t lengths[] = {1, 100000, UINT64_MAX};
    struct house h;
    house_open(&h, FAR, true);
    stock(&h);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        struct reader_view view;
        struct client *c = client_open(&h, &h.place, false, NULL);
        reader_peek(c->reader, &view);
        cr_expect(view.cold && view.fd >= 0 && view.length == FAR);
        reader_warm(c->reader, lengths[i]);
        struct timespec until = bed_soon();
        pthread_mutex_lock(&c->lock);
        while (!c->readable && pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0) {
        }
        cr_expect(c->readable && c->wakes == 1, "readable follows, once");
        pthread_mutex_unlock(&c->lock);
        read_to_the_end(c);
        expect_promised(c, &h.shop, "after warming");
        client_close(c);
        c = client_open(&h, &h.place, false, NULL);
        reader_warm(c->reader, lengths[i]);
        client_close(c); // While it is being warmed.
    }
    house_close(&h);
}

Test(reader, offline) {
    static const struct {
        bool with_store, held, head, ok;
        const char *why;
    } rows[] = {
        {true, true, false, true, "held"},          {true, true, true, true, "held, by HEAD"},
        {true, false, false, false, "not held"},    {true, false, true, false, "not held, by HEAD"},
        {false, false, false, false, "nothing is"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct house h;
        house_open(&h, SMALL, rows[i].with_store);
        if (rows[i].held)
            stock(&h);
        h.place.terms.offline = true;
        struct client *c = client_open(&h, &h.place, rows[i].head, NULL);
        client_await(c);
        cr_expect_eq(c->answer.ok, rows[i].ok, "%s: %s", rows[i].why, c->fetch.err.text);
        if (!rows[i].ok) {
            cr_expect_eq(c->fetch.outcome, FETCH_UNREACHABLE, "%s", rows[i].why);
            cr_expect_not_null(strstr(c->fetch.err.text, "offline"), "%s: %s", rows[i].why, c->fetch.err.text);
        }
        read_to_the_end(c);
        cr_expect_eq(h.shop.whole + h.shop.heads + h.shop.ranges, rows[i].held ? 1 : 0, "%s: never asked", rows[i].why);
        client_close(c);
        house_close(&h);
    }
}

Test(reader, stale_word) {
    struct house h;
    house_open(&h, SMALL, true);
    stock(&h);
    h.place.terms.learned_for_s = 0;
    h.shop.status = 503;
    struct client *c = client_open(&h, &h.place, false, NULL);
    client_await(c);
    cr_expect(c->answer.ok, "the upstream is no help: %s", c->fetch.err.text);
    cr_expect_eq(c->answer.source, SOURCE_STALE);
    cr_expect_eq(c->fetch.status, 503, "and says so");
    read_to_the_end(c);
    expect_promised(c, &h.shop, "stale");
    client_close(c);
    h.shop.status = 404;
    c = client_open(&h, &h.place, false, NULL);
    client_await(c);
    cr_expect(!c->answer.ok && c->fetch.outcome == FETCH_NOT_FOUND, "it is gone");
    client_close(c);
    house_close(&h);
}

static void refuse(struct house *h, enum document_verdict verdict) {
    struct manifest *m = mem_zalloc(1, sizeof(*m));
    atomic_init(&m->refs, 1);
    strcpy(m->digest, h->shop.digest);
    m->verdict = verdict;
    err_set(&m->err, "it is not wanted");
    content_remember(h->bed.content, &h->place, m);
    manifest_unref(m);
}

Test(reader, refused_as_a_manifest) {
    static const struct {
        enum document_verdict verdict;
        bool monitor, with_store, ok;
        const char *why;
    } rows[] = {
        {DOCUMENT_URLS, false, true, false, "urls"},
        {DOCUMENT_URLS, true, true, true, "urls in monitor mode pass"},
        {DOCUMENT_URLS, true, false, true, "also without a store"},
        {DOCUMENT_SCHEMA1, true, true, false, "nothing else does"},
        {DOCUMENT_SCHEMA1, false, false, false, "nor without a store"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct house h;
        house_open(&h, SMALL, rows[i].with_store);
        h.place.monitor = rows[i].monitor;
        refuse(&h, rows[i].verdict);
        struct client *c = client_open(&h, &h.place, false, NULL);
        client_await(c);
        cr_expect_eq(c->answer.ok, rows[i].ok, "%s", rows[i].why);
        cr_expect_eq(c->answer.refused, rows[i].verdict, "%s: told", rows[i].why);
        read_to_the_end(c);
        cr_expect_eq(c->state, rows[i].ok ? READER_COMPLETE : READER_FAILED, "%s", rows[i].why);
        cr_expect_eq(h.shop.whole, rows[i].ok ? 1 : 0, "%s: asked", rows[i].why);
        client_close(c);
        house_close(&h);
    }
}

// --- without a store ---

Test(reader, without_a_store) {
    static const struct {
        struct range range;
        bool ok, verified;
        size_t first, length;
        const char *why;
    } rows[] = {
        {{RANGE_NONE, 0, 0, 0}, true, true, 0, SMALL, "all of it"},
        {{RANGE_BYTES, 0, UINT64_MAX, 0}, true, true, 0, SMALL, "all of it by another name"},
        {{RANGE_BYTES, 100, UINT64_MAX, 0}, true, false, 100, SMALL - 100, "past 0: unverified"},
        {{RANGE_SUFFIX, 0, 0, 10}, true, false, SMALL - 10, 10, "a suffix"},
        {{RANGE_BYTES, SMALL, UINT64_MAX, 0}, false, false, 0, 0, "behind the end"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct house h;
        house_open(&h, SMALL, false);
        for (int k = 0; k < 2; k++) {
            struct client *c = client_open(&h, &h.place, false, &rows[i].range);
            client_await(c);
            cr_expect_eq(c->answer.ok, rows[i].ok, "%s: %s", rows[i].why, c->fetch.err.text);
            read_to_the_end(c);
            if (rows[i].ok) {
                cr_expect_eq(c->answer.source, SOURCE_MISS, "%s", rows[i].why);
                cr_expect_eq(c->answer.verified, rows[i].verified, "%s: verified", rows[i].why);
                cr_expect_eq(c->answer.first, rows[i].first, "%s", rows[i].why);
                cr_expect_eq(c->answer.length, rows[i].length, "%s", rows[i].why);
                expect_promised(c, &h.shop, rows[i].why);
            }
            client_close(c);
        }
        cr_expect_eq(h.shop.whole + h.shop.ranges, 2, "%s: asked each time", rows[i].why);
        house_close(&h);
    }
}
