// SPDX-License-Identifier: Apache-2.0
//
// Fills through content_blob() with a store: one transfer for all, what becomes of it when readers leave, when the
// content is wrong and when the disk fails, and who may follow whose.

#include "tests/unit/client.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BIG = 3 * 1024 * 1024 + 17, HALF = BIG / 2, MANY = 32 };

static void expect_all(struct client *c, const struct shop *s, const char *why) {
    client_await(c);
    cr_expect(c->answer.ok, "%s: %s", why, c->fetch.err.text);
    client_read(c, s->size);
    while (client_take(c, s->size)) {
    }
    cr_expect_eq(c->state, READER_COMPLETE, "%s: state %d at %zu: %s", why, (int)c->state, c->len, c->err.text);
    cr_expect(client_has(c, s, 0, s->size), "%s: every byte, in order (%zu)", why, c->len);
    cr_expect(c->answer.verified, "%s: verified", why);
}

/// Read all of it as a client of its own; returns whence it came.
static enum content_source read_once(struct house *h, const struct content_place *place, const char *why) {
    struct client *c = client_open(h, place, false, NULL);
    expect_all(c, &h->shop, why);
    enum content_source source = c->answer.source;
    client_close(c);
    return source;
}

// --- one transfer for many ---

struct crowd {
    struct house *house;
    atomic_int misses, follows, hits;
};

static void *one_of_many(void *arg) {
    struct crowd *crowd = arg;
    for (int i = 0; i < MANY / 8; i++) {
        enum content_source source = read_once(crowd->house, &crowd->house->place, "one of many");
        atomic_fetch_add(source == SOURCE_MISS     ? &crowd->misses
                         : source == SOURCE_FOLLOW ? &crowd->follows
                                                   : &crowd->hits,
                         1);
    }
    return NULL;
}

Test(fill, one_transfer_for_many) {
    static const struct {
        size_t size;
        bool chunked;
        const char *why;
    } rows[] = {
        {BIG, false, "a length"}, {BIG, true, "chunks"},        {1, false, "one byte"},
        {1, true, "one chunk"},   {0, false, "nothing at all"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct house h;
        struct crowd crowd = {.house = &h};
        pthread_t threads[8];
        house_open(&h, rows[i].size, true);
        h.shop.chunked = rows[i].chunked;
        for (int k = 0; k < 8; k++)
            pthread_create(&threads[k], NULL, one_of_many, &crowd);
        for (int k = 0; k < 8; k++)
            pthread_join(threads[k], NULL);
        cr_expect_eq(h.shop.whole, 1, "%s: one transfer, not %u", rows[i].why, h.shop.whole);
        cr_expect_eq(h.shop.ranges + h.shop.heads, 0, "%s: and nothing else", rows[i].why);
        cr_expect_eq(crowd.misses, 1, "%s: one began it", rows[i].why);
        cr_expect(house_holds(&h, &h.place), "%s: kept", rows[i].why);
        cr_expect_eq(read_once(&h, &h.place, rows[i].why), SOURCE_HIT, "%s: a hit", rows[i].why);
        house_reopen(&h);
        cr_expect_eq(read_once(&h, &h.place, rows[i].why), SOURCE_HIT, "%s: also after a restart", rows[i].why);
        cr_expect_eq(h.shop.whole + h.shop.heads, 1, "%s: without asking", rows[i].why);
        house_close(&h);
    }
}

Test(fill, taken_up_after_a_break) {
    struct house h;
    house_open(&h, BIG, true);
    h.shop.cut = HALF;
    cr_expect_eq(read_once(&h, &h.place, "a break that nobody notices"), SOURCE_MISS);
    cr_expect_eq(h.shop.whole, 1);
    cr_expect_eq(h.shop.ranges, 1, "the rest was asked for");
    cr_expect(house_holds(&h, &h.place));
    house_close(&h);
}

// --- who leaves ---

Test(fill, first_leaves_half_way) {
    struct house h;
    house_open(&h, BIG, true);
    h.shop.gate = HALF;
    struct client *first = client_open(&h, &h.place, false, NULL);
    client_await(first);
    struct client *second = client_open(&h, &h.place, false, NULL);
    client_await(second);
    client_read(first, HALF / 2);
    cr_expect(client_has(first, &h.shop, 0, HALF / 2));
    client_close(first);
    h.shop.gate = SIZE_MAX;
    expect_all(second, &h.shop, "the second");
    cr_expect_eq(second->answer.source, SOURCE_FOLLOW);
    client_close(second);
    cr_expect_eq(h.shop.whole, 1, "one transfer");
    house_close(&h);
}

static void leave_at_gate(struct house *h) {
    struct client *c = client_open(h, &h->place, false, NULL);
    client_await(c);
    client_read(c, h->shop.gate - 1);
    client_close(c);
}

Test(fill, all_leave) {
    static const struct {
        unsigned percent;
        size_t gate;
        size_t then;               ///< The gate half a second after; 0: as before.
        unsigned returns_after_ms; ///< A reader that comes back; 0: none.
        unsigned transfers;
        const char *why;
    } rows[] = {
        {50, BIG / 10 * 6, 0, 0, 1, "enough is there: it goes on"},
        {0, BIG / 10, 0, 0, 1, "it always goes on"},
        {50, BIG / 10, 0, 2000, 1, "too little, but somebody comes in time"},
        {50, BIG / 10, BIG / 10 * 7, CONTENT_ORPHAN_MS + 1000, 1, "enough came while it waited"},
        {101, BIG / 10 * 9, 0, CONTENT_ORPHAN_MS + 1000, 2, "never: it ends, and the next begins anew"},
        {50, BIG / 10, 0, CONTENT_ORPHAN_MS + 1000, 2, "too little: it ends, and the next begins anew"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct house h;
        house_open(&h, BIG, true);
        h.place.terms.finish_percent = rows[i].percent;
        h.shop.gate = rows[i].gate;
        leave_at_gate(&h);
        usleep(500000);
        if (rows[i].then > 0)
            h.shop.gate = rows[i].then;
        usleep(rows[i].returns_after_ms * 1000);
        if (rows[i].returns_after_ms > CONTENT_ORPHAN_MS) { // The next bytes show it that it is an orphan.
            h.shop.gate += 100;
            usleep(500000);
        }
        h.shop.gate = SIZE_MAX;
        if (rows[i].returns_after_ms > 0)
            read_once(&h, &h.place, rows[i].why);
        cr_expect(house_holds(&h, &h.place), "%s: kept", rows[i].why);
        cr_expect_eq(h.shop.whole, rows[i].transfers, "%s: %u transfers", rows[i].why, h.shop.whole);
        house_close(&h);
    }
}

// --- the last byte ---

Test(fill, last_byte_is_held_back) {
    struct house h;
    house_open(&h, BIG, true);
    h.shop.chunked = true;
    h.shop.end_waits = true;
    struct client *c = client_open(&h, &h.place, false, NULL);
    client_await(c);
    client_read(c, BIG - 1);
    usleep(200000);
    cr_expect(!client_take(c, 1), "all has come, but not its end: the last byte waits");
    cr_expect_eq(c->state, READER_RUNNING);
    cr_expect(client_has(c, &h.shop, 0, BIG - 1));
    h.shop.end_waits = false;
    client_close(c);
    house_close(&h);
}

Test(fill, end_never_comes) {
    struct house h;
    house_open(&h, BIG, true);
    h.shop.chunked = true;
    h.shop.end_waits = true;
    h.shop.end_breaks = true;
    struct client *c = client_open(&h, &h.place, false, NULL);
    client_await(c);
    h.shop.status = 404; // To who takes it up.
    h.shop.end_waits = false;
    client_read(c, c->room);
    cr_expect_eq(c->state, READER_FAILED);
    cr_expect(!c->wrong_content, "it may have been right: %s", c->err.text);
    cr_expect(client_has(c, &h.shop, 0, BIG - 1), "the last byte never leaves (%zu)", c->len);
    client_close(c);
    house_close(&h);
}

Test(fill, wrong_content) {
    static const struct {
        bool chunked;
        struct range range;
        const char *why;
    } rows[] = {
        {false, {.kind = RANGE_NONE}, "a length"},
        {true, {.kind = RANGE_NONE}, "chunks"},
        {false, {.kind = RANGE_BYTES, .first = BIG - 10, .last = UINT64_MAX}, "the end of it"},
        {false, {.kind = RANGE_BYTES, .first = BIG - 1, .last = BIG - 1}, "its last byte"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct house h;
        house_open(&h, BIG, true);
        h.shop.wrong = true;
        h.shop.chunked = rows[i].chunked;
        size_t gate = h.shop.gate = BIG - 1; // So that the head is known first.
        struct client *c = client_open(&h, &h.place, false, &rows[i].range),
                      *d = client_open(&h, &h.place, false, NULL);
        client_await(c);
        client_await(d);
        cr_expect(c->answer.ok, "%s", rows[i].why);
        h.shop.gate = SIZE_MAX;
        client_read(c, BIG);
        client_read(d, BIG);
        cr_expect_eq(c->state, READER_FAILED, "%s", rows[i].why);
        cr_expect_eq(d->state, READER_FAILED, "%s: the other, too", rows[i].why);
        cr_expect(c->wrong_content && d->wrong_content, "%s: %s", rows[i].why, c->err.text);
        cr_expect(c->answer.first + c->len <= gate, "%s: the last byte never left (%zu)", rows[i].why, c->len);
        cr_expect(d->len <= gate, "%s: the last byte never left (%zu)", rows[i].why, d->len);
        client_close(c);
        client_close(d);
        c = client_open(&h, &h.place, false, NULL);
        client_await(c);
        cr_expect(!c->answer.ok, "%s: remembered, and nothing is kept", rows[i].why);
        cr_expect_eq(c->fetch.outcome, FETCH_MISMATCH, "%s", rows[i].why);
        client_close(c);
        house_close(&h);
    }
}

// --- who may follow ---

Test(fill, another_registry) {
    struct house h;
    house_open(&h, BIG, true);
    struct content_place other = h.place;
    other.name = "other";
    h.shop.gate = HALF;
    struct client *c = client_open(&h, &h.place, false, NULL), *d = client_open(&h, &other, false, NULL);
    client_await(c);
    client_await(d);
    client_read(c, HALF - 1);
    client_read(d, HALF - 1);
    cr_expect_eq(h.shop.whole, 2, "nothing is shared between registries");
    client_close(d);
    h.shop.gate = SIZE_MAX;
    expect_all(c, &h.shop, "the first registry");
    client_close(c);
    cr_assert(house_holds(&h, &h.place));
    struct content_place third = h.place;
    third.name = "third";
    unsigned before = h.shop.whole;
    cr_expect_eq(read_once(&h, &third, "held, but this registry has not delivered it"), SOURCE_MISS);
    cr_expect_eq(h.shop.whole, before + 1, "it must, once");
    cr_expect_eq(read_once(&h, &third, "it has"), SOURCE_HIT);
    cr_expect_eq(h.shop.whole, before + 1);
    house_close(&h);
}

Test(fill, another_repository) {
    static const struct {
        const char *repository;
        bool while_filling, ok;
        unsigned whole; ///< Transfers asked for.
        const char *why;
    } rows[] = {
        {"c/d", true, true, 1, "its upstream says that it has it: it follows"},
        {"none/d", true, false, 1, "its upstream says no: refused, though the bytes are there"},
        {"nohead/d", true, true, 2, "its upstream does not say: a transfer of its own"},
        {"nothead/d", true, false, 2, "its upstream does not say, and has it not"},
        {"c/d", false, true, 1, "the same of what is held"},
        {"none/d", false, false, 1, "the same refusal"},
        {"nothead/d", false, false, 2, "and the same silence"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct house h;
        house_open(&h, BIG, true);
        struct content_place other = h.place;
        other.repository = rows[i].repository;
        h.shop.gate = rows[i].while_filling ? HALF : SIZE_MAX;
        struct client *c = client_open(&h, &h.place, false, NULL);
        client_await(c);
        if (!rows[i].while_filling) {
            expect_all(c, &h.shop, rows[i].why);
            cr_assert(house_holds(&h, &h.place));
        }
        struct client *d = client_open(&h, &other, false, NULL);
        client_await(d);
        cr_expect_eq(d->answer.ok, rows[i].ok, "%s: %s", rows[i].why, d->fetch.err.text);
        cr_expect_eq(h.shop.heads, 1, "%s: asked", rows[i].why);
        cr_expect_eq(h.shop.whole, rows[i].whole, "%s: %u transfers", rows[i].why, h.shop.whole);
        h.shop.gate = SIZE_MAX;
        if (rows[i].ok)
            expect_all(d, &h.shop, rows[i].why);
        else
            cr_expect_eq(d->fetch.outcome, FETCH_NOT_FOUND, "%s", rows[i].why);
        client_close(d);
        client_close(c);
        house_close(&h);
    }
}

Test(fill, not_found) {
    struct house h;
    house_open(&h, BIG, true);
    struct content_place none = h.place;
    none.repository = "none/b";
    none.terms.negative_ttl_s = 60;
    for (int i = 0; i < 3; i++) {
        struct client *c = client_open(&h, &none, false, NULL);
        client_await(c);
        cr_expect(!c->answer.ok);
        cr_expect_eq(c->fetch.outcome, FETCH_NOT_FOUND);
        client_read(c, 1);
        cr_expect_eq(c->state, READER_FAILED);
        client_close(c);
    }
    cr_expect_eq(h.shop.whole, 1, "asked once, then remembered");
    house_close(&h);
}

// --- the disk ---

static void limit_files(size_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);
}

static void expect_wrong(struct client *c, const char *why) {
    client_read(c, c->room);
    cr_expect_eq(c->state, READER_FAILED, "%s", why);
    cr_expect_not_null(strstr(c->err.text, "digest"), "%s: %s", why, c->err.text);
    cr_expect_lt(c->len, BIG, "%s: the last byte never leaves", why);
}

static void expect_promised(struct client *c, const struct shop *s, const char *why) {
    client_read(c, c->room);
    cr_expect_eq(c->state, READER_COMPLETE, "%s: from %zu: %s", why, (size_t)c->answer.first, c->err.text);
    cr_expect(client_has(c, s, c->answer.first, c->answer.length), "%s: from %zu: %zu bytes", why,
              (size_t)c->answer.first, c->len);
}

Test(fill, disk_fails) {
    static const struct {
        bool chunked, no_ranges, wrong;
        const char *why;
    } rows[] = {
        {true, false, false, "in the middle: each goes on by itself"},
        {true, true, false, "the same, from an upstream that knows no ranges"},
        {true, false, true, "the same, and the content is wrong"},
        {false, false, false, "there is no room from the start"},
    };
    static const struct range ahead = {.kind = RANGE_BYTES, .first = HALF + 1000, .last = UINT64_MAX};
    static const struct range across = {.kind = RANGE_BYTES, .first = 1000, .last = BIG - 100};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct house h;
        house_open(&h, BIG, true);
        h.shop.chunked = rows[i].chunked;
        h.shop.no_ranges = rows[i].no_ranges;
        h.shop.wrong = rows[i].wrong;
        h.shop.gate = 500000;
        bed_tell_size(&h.bed, h.shop.digest, BIG);
        if (!rows[i].chunked)
            limit_files(1 << 20);
        struct client *c[4] = {client_open(&h, &h.place, false, NULL), client_open(&h, &h.place, false, NULL),
                               client_open(&h, &h.place, false, &ahead), client_open(&h, &h.place, false, &across)};
        for (int k = 0; k < 4; k++) {
            client_await(c[k]);
            cr_expect(c[k]->answer.ok, "%s: %d: %s", rows[i].why, k, c[k]->fetch.err.text);
        }
        client_read(c[0], 400000);
        limit_files(1 << 20);
        h.shop.gate = SIZE_MAX;
        for (int k = 0; k < 4; k++) {
            if (rows[i].wrong && k < 2)
                expect_wrong(c[k], rows[i].why);
            else if (!rows[i].wrong) // The others are refused as soon as that is known, or not.
                expect_promised(c[k], &h.shop, rows[i].why);
            client_close(c[k]);
        }
        if (!rows[i].wrong)
            cr_expect_eq(read_once(&h, &h.place, "afterwards, through memory"), SOURCE_MISS);
        limit_files(RLIM_INFINITY);
        house_close(&h);
    }
}

// --- any order ---

static void *come_and_go(void *arg) {
    struct house *h = arg;
    unsigned seed = (unsigned)(uintptr_t)pthread_self();
    for (int i = 0; i < 60; i++) {
        struct range range = {.kind = i % 3 == 0 ? RANGE_BYTES : RANGE_NONE, .last = UINT64_MAX};
        range.first = (uint64_t)rand_r(&seed) % BIG;
        struct client *c = client_open(h, &h->place, i % 7 == 0, &range);
        if (i % 4 != 0) {
            client_await(c);
            cr_expect(c->answer.ok, "%d: %s", i, c->fetch.err.text);
            for (unsigned k = (unsigned)rand_r(&seed) % 40; k > 0; k--)
                if (!client_take(c, 30000))
                    usleep(k);
            cr_expect(c->len == 0 || client_has(c, &h->shop, c->answer.first, c->len), "%d: the right bytes", i);
        }
        client_close(c);
    }
    return NULL;
}

Test(fill, closed_at_any_time) {
    struct house h;
    pthread_t threads[4];
    house_open(&h, BIG, true);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, come_and_go, &h);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    read_once(&h, &h.place, "at last");
    struct content_stats stats;
    content_stats(h.bed.content, &stats);
    cr_expect_eq(stats.readers, 0, "none is left");
    house_close(&h);
}

Test(fill, ended_in_the_middle) {
    struct house h;
    house_open(&h, BIG, true);
    h.shop.gate = HALF;
    struct client *c = client_open(&h, &h.place, false, NULL);
    client_await(c);
    client_close(c);
    house_close(&h); // With a fill that nobody reads.
}
