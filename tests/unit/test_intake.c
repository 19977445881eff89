// SPDX-License-Identifier: Apache-2.0
//
// Intakes against an upstream that breaks off: a transfer is taken up where it ended, each byte comes once and in
// order, and the digest of the whole decides.

#include "tests/unit/bed.h"

#include "mirrors/base/mem.h"
#include "mirrors/content/intake.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyz";

enum { STEPS_MAX = 8 };

// --- an upstream by steps ---

enum how {
    NO_STEP,
    AS_ASKED, ///< 206 to a range, else 200.
    ALL,      ///< 200 whatever was asked.
    CHUNKED,  ///< The same without a length; whole, it is ended properly.
    LONGER,   ///< The same with a byte too many.
    EARLIER,  ///< 206 that begins a byte before.
    LARGER,   ///< 206 of content that is larger.
    NO_TOTAL, ///< 206 that does not say how large the content is.
    SHORTER,  ///< 206 of only some bytes of what was asked, complete with them.
    OTHER,    ///< As asked, but of another content.
    STATUS_404,
    STATUS_416,
    STATUS_429,
    STATUS_503,
    HANGS,
    GOES ///< Without a word.
};

struct step {
    enum how how;
    size_t bytes; ///< Of the body, then it breaks off; 0: all of it. NOTHING: none.
};

enum { NOTHING = 1 << 30 };

struct script {
    const char *data;
    size_t size;
    bool redirects;
    struct step steps[STEPS_MAX]; ///< For each request; the last one stays.
    int count;
    atomic_int asked;
    pthread_mutex_t lock; ///< Guards `ranges`.
    char ranges[64][128];
};

static void ask_of(const struct script *s, const char *range, size_t *first, size_t *last) {
    uint64_t a = 0, b = s->size - 1;
    if (sscanf(range, "bytes=-%" SCNu64, &a) == 1)
        a = s->size - a;
    else
        sscanf(range, "bytes=%" SCNu64 "-%" SCNu64, &a, &b);
    *first = (size_t)a;
    *last = (size_t)b;
}

static bool send_body(const struct script *s, const struct step *step, int fd, size_t first, size_t len) {
    size_t n = step->bytes == NOTHING ? 0 : step->bytes == 0 || step->bytes > len ? len : step->bytes;
    char *body = mem_alloc(n + 1);
    memcpy(body, s->data + first, n);
    if (step->how == OTHER && n > 0)
        body[n / 2] ^= 1;
    bool whole = upstream_write(fd, body, n) && n == len;
    free(body);
    return whole;
}

static bool send_chunks(const struct script *s, const struct step *step, int fd) {
    size_t n = step->bytes == 0 ? s->size : step->bytes;
    upstream_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", n);
    upstream_write(fd, s->data, n);
    upstream_send(fd, "\r\n");
    if (step->how == LONGER)
        upstream_send(fd, "1\r\n!\r\n");
    return step->bytes == 0 && upstream_send(fd, "0\r\n\r\n");
}

static bool send_part(const struct script *s, const struct step *step, int fd, const char *range) {
    size_t first, last, size = s->size;
    char total[32];
    ask_of(s, range, &first, &last);
    if (step->how == EARLIER)
        first--;
    if (step->how == LARGER)
        size++;
    if (step->how == SHORTER)
        last = first + step->bytes - 1;
    snprintf(total, sizeof(total), "%zu", size);
    upstream_send(fd, "HTTP/1.1 206 Partial\r\nContent-Length: %zu\r\nContent-Range: bytes %zu-%zu/%s\r\n\r\n",
                  last - first + 1, first, last, step->how == NO_TOTAL ? "*" : total);
    return send_body(s, step, fd, first, last - first + 1);
}

static bool play_step(const struct script *s, const struct step *step, struct upstream *u, int fd,
                      const struct upstream_request *q) {
    switch (step->how) {
    case CHUNKED:
    case LONGER:
        return send_chunks(s, step, fd);
    case STATUS_404:
        return upstream_say(fd, "404 Not Found", "", "");
    case STATUS_416:
        return upstream_say(fd, "416 No", "Content-Range: bytes */26\r\n", "");
    case STATUS_429:
        return upstream_say(fd, "429 Too Many", "", "");
    case STATUS_503:
        return upstream_say(fd, "503 Not Now", "", "");
    case HANGS:
        upstream_hang(u, fd);
        return false;
    case GOES:
        return false;
    default:
        break;
    }
    if (q->range[0] != '\0' && step->how != ALL)
        return send_part(s, step, fd, q->range);
    upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", s->size);
    return strcmp(q->method, "HEAD") == 0 || send_body(s, step, fd, 0, s->size);
}

static bool play(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct script *s = ctx;
    if (s->redirects && strncmp(q->path, "/v2/", 4) == 0)
        return upstream_say(fd, "307 There", "Location: /signed\r\n", "");
    int n = atomic_fetch_add(&s->asked, 1);
    pthread_mutex_lock(&s->lock);
    if (n < 64)
        snprintf(s->ranges[n], sizeof(s->ranges[n]), "%s", q->range);
    pthread_mutex_unlock(&s->lock);
    return play_step(s, &s->steps[n < s->count ? n : s->count - 1], u, fd, q);
}

static void script_init(struct script *s, const char *data, size_t size, const struct step *steps) {
    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->data = data;
    s->size = size;
    while (s->count < STEPS_MAX && steps[s->count].how != NO_STEP) {
        s->steps[s->count] = steps[s->count];
        s->count++;
    }
}

// --- one taker ---

struct taker {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct intake *intake;
    size_t pause_every; ///< Pieces; 0: never.
    atomic_int inside;  ///< Callbacks that run now.
    atomic_int pauses;
    int pieces, heads, turns, ends;
    struct intake_head head;
    enum intake_end end;
    struct fetch_result result;
    struct err err;
    char *body;
    size_t len;
};

static void enter(struct taker *t) {
    cr_expect_eq(atomic_fetch_add(&t->inside, 1), 0, "one callback at a time");
}

static void leave(struct taker *t) {
    atomic_fetch_sub(&t->inside, 1);
}

static enum transfer_flow on_head(void *ctx, const struct intake_head *head) {
    struct taker *t = ctx;
    enter(t);
    t->heads++;
    t->head = *head;
    leave(t);
    return TRANSFER_CONTINUE;
}

static enum transfer_flow on_body(void *ctx, const char *data, size_t len) {
    struct taker *t = ctx;
    enum transfer_flow flow = TRANSFER_CONTINUE;
    enter(t);
    pthread_mutex_lock(&t->lock);
    if (t->pause_every > 0 && (size_t)++t->pieces % t->pause_every == 0) {
        atomic_fetch_add(&t->pauses, 1);
        flow = TRANSFER_PAUSE;
    } else {
        memcpy(t->body + t->len, data, len);
        t->len += len;
    }
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    leave(t);
    return flow;
}

static void on_turn(void *ctx) {
    struct taker *t = ctx;
    enter(t);
    t->turns++;
    leave(t);
}

static void on_end(void *ctx, enum intake_end end, const struct fetch_result *result, const struct err *err) {
    struct taker *t = ctx;
    enter(t);
    leave(t);
    pthread_mutex_lock(&t->lock);
    t->ends++;
    t->end = end;
    t->result = *result;
    t->err = *err;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static struct taker *taker_new(void) {
    struct taker *t = mem_zalloc(1, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    t->body = mem_alloc(BED_BIG + 1);
    return t;
}

static void taker_start(struct taker *t, struct bed *b, struct intake_spec spec) {
    static const struct intake_callbacks callbacks = {on_head, on_body, on_turn, on_end};
    spec.place = &b->place;
    t->intake = intake_start(b->content, &spec, &callbacks, t);
}

static void await_end(struct taker *t) {
    struct timespec until = bed_soon();
    pthread_mutex_lock(&t->lock);
    while (t->ends == 0 && pthread_cond_timedwait(&t->changed, &t->lock, &until) == 0) {
    }
    pthread_mutex_unlock(&t->lock);
    cr_assert_eq(t->ends, 1, "it ends, once");
}

static void taker_free(struct taker *t) {
    intake_unref(t->intake);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->changed);
    free(t->body);
    free(t);
}

// --- what comes of what the upstream does ---

static struct digest_hasher *hash_of(const char *data, size_t len) {
    struct digest_hasher *h = digest_hasher_new(DIGEST_SHA256);
    digest_hasher_add(h, data, len);
    return h;
}

Test(intake, taken_up) {
    static const struct range part = {.kind = RANGE_BYTES, .first = 5, .last = 14};
    static const struct range tail = {.kind = RANGE_BYTES, .first = 20, .last = UINT64_MAX};
    static const struct range suffix = {.kind = RANGE_SUFFIX, .suffix = 6};
    static const struct range named = {.kind = RANGE_BYTES, .first = 5, .last = 25};
    static const struct {
        const char *why;
        struct step steps[STEPS_MAX];
        const char *seen; ///< Bytes that were passed on.
        enum intake_end end;
        int asked, resumes;
        const char *asks[3];        ///< The ranges asked for from the second request on.
        enum fetch_outcome outcome; ///< Unless it is complete.
        const struct range *range;
        uint64_t total; ///< By the spec; 0: unknown.
        bool head, redirects;
        unsigned deadline_ms;
        size_t from;
        const char *before; ///< What the hash has seen before `from`, unless it is the beginning.
    } rows[] = {
        {"nothing breaks", .steps = {{AS_ASKED, 0}}, LETTERS, INTAKE_COMPLETE, 1, 0},
        {"one break", .steps = {{ALL, 10}, {AS_ASKED, 0}}, LETTERS, INTAKE_COMPLETE, 2, 1, .asks = {"bytes=10-"}},
        {"two breaks", .steps = {{ALL, 10}, {AS_ASKED, 5}, {AS_ASKED, 0}}, LETTERS, INTAKE_COMPLETE, 3, 2,
         .asks = {"bytes=10-", "bytes=15-"}},
        {"five breaks",
         .steps = {{AS_ASKED, 1}, {AS_ASKED, 1}, {AS_ASKED, 1}, {AS_ASKED, 1}, {AS_ASKED, 1}, {AS_ASKED, 0}}, LETTERS,
         INTAKE_COMPLETE, 6, 5},
        {"six breaks", .steps = {{AS_ASKED, 1}}, "abcdef", INTAKE_FAILED, 6, 5, .outcome = FETCH_BROKEN},
        {"a break before the first byte", .steps = {{AS_ASKED, NOTHING}, {AS_ASKED, 0}}, LETTERS, INTAKE_COMPLETE, 2, 1,
         .asks = {""}},
        {"a break before the head is none", .steps = {{GOES, 0}, {AS_ASKED, 0}}, "", INTAKE_FAILED, 1, 0,
         .outcome = FETCH_BROKEN},
        {"nor is a refusal", .steps = {{STATUS_404, 0}, {AS_ASKED, 0}}, "", INTAKE_FAILED, 1, 0,
         .outcome = FETCH_NOT_FOUND},
        {"all of it instead of the rest", .steps = {{ALL, 10}, {ALL, 0}}, LETTERS, INTAKE_COMPLETE, 2, 1,
         .asks = {"bytes=10-"}},
        {"the same in chunks", .steps = {{ALL, 10}, {CHUNKED, 0}}, LETTERS, INTAKE_COMPLETE, 2, 1},
        {"all of it, broken before what is new", .steps = {{ALL, 10}, {ALL, 4}, {AS_ASKED, 0}}, LETTERS,
         INTAKE_COMPLETE, 3, 2, .asks = {"bytes=10-", "bytes=10-"}},
        {"a rest that begins elsewhere", .steps = {{ALL, 10}, {EARLIER, 0}, {AS_ASKED, 0}}, LETTERS, INTAKE_COMPLETE, 3,
         1, .asks = {"bytes=10-", "bytes=10-"}},
        {"always so", .steps = {{ALL, 10}, {EARLIER, 0}}, "abcdefghij", INTAKE_FAILED, 6, 0, .outcome = FETCH_BROKEN},
        {"a rest of something larger", .steps = {{ALL, 10}, {LARGER, 0}}, "abcdefghij", INTAKE_FAILED, 6, 0,
         .outcome = FETCH_BROKEN},
        {"a rest that does not say of what", .steps = {{ALL, 10}, {NO_TOTAL, 0}}, LETTERS, INTAKE_COMPLETE, 2, 1},
        {"a rest in two parts", .steps = {{ALL, 10}, {SHORTER, 6}, {AS_ASKED, 0}}, LETTERS, INTAKE_COMPLETE, 3, 2,
         .asks = {"bytes=10-", "bytes=16-"}},
        {"a rest that is longer", .steps = {{ALL, 10}, {LONGER, 0}}, NULL, INTAKE_FAILED, 2, 1,
         .outcome = FETCH_BROKEN},
        {"another content after the break", .steps = {{ALL, 10}, {OTHER, 0}}, NULL, INTAKE_WRONG, 2, 1},
        {"the upstream is ill for a moment", .steps = {{ALL, 10}, {STATUS_503, 0}, {GOES, 0}, {AS_ASKED, 0}}, LETTERS,
         INTAKE_COMPLETE, 4, 1, .asks = {"bytes=10-", "bytes=10-", "bytes=10-"}},
        {"it limits us", .steps = {{ALL, 10}, {STATUS_429, 0}}, "abcdefghij", INTAKE_FAILED, 0, 0,
         .outcome = FETCH_BROKEN},
        {"it no longer has it", .steps = {{ALL, 10}, {STATUS_404, 0}}, "abcdefghij", INTAKE_FAILED, 2, 0,
         .outcome = FETCH_BROKEN},
        {"it has less", .steps = {{ALL, 10}, {STATUS_416, 0}}, "abcdefghij", INTAKE_FAILED, 2, 0,
         .outcome = FETCH_BROKEN},
        {"an attempt has a deadline of its own", .steps = {{ALL, 10}, {HANGS, 0}, {AS_ASKED, 0}}, LETTERS,
         INTAKE_COMPLETE, 3, 1, .deadline_ms = 1000},
        {"the registry is asked again, not where it led to", .steps = {{ALL, 10}, {AS_ASKED, 0}}, LETTERS,
         INTAKE_COMPLETE, 2, 1, .redirects = true},
        {"chunks of unknown length", .steps = {{CHUNKED, 10}, {AS_ASKED, 0}}, LETTERS, INTAKE_COMPLETE, 2, 1,
         .asks = {"bytes=10-"}},
        {"chunks again", .steps = {{CHUNKED, 10}, {CHUNKED, 0}}, LETTERS, INTAKE_COMPLETE, 2, 1},
        {"chunks that lack only their end", .steps = {{CHUNKED, 26}, {STATUS_503, 0}}, LETTERS, INTAKE_COMPLETE, 1, 0,
         .total = 26},
        {"a part that is shorter than asked is what was announced", .steps = {{SHORTER, 6}, {AS_ASKED, 0}}, "fghijk",
         INTAKE_COMPLETE, 1, 0, .range = &named},
        {"a part", .steps = {{AS_ASKED, 3}, {AS_ASKED, 0}}, "fghijklmno", INTAKE_COMPLETE, 2, 1, .asks = {"bytes=8-14"},
         .range = &part},
        {"a part, from its beginning", .steps = {{AS_ASKED, NOTHING}, {AS_ASKED, 0}}, "fghijklmno", INTAKE_COMPLETE, 2,
         1, .asks = {"bytes=5-14"}, .range = &part},
        {"all of it instead of a part's rest", .steps = {{AS_ASKED, 3}, {ALL, 0}}, "fghijklmno", INTAKE_COMPLETE, 2, 1,
         .range = &part},
        {"the same in chunks", .steps = {{AS_ASKED, 3}, {CHUNKED, 0}}, "fghijklmno", INTAKE_COMPLETE, 2, 1,
         .range = &part},
        {"all of it instead of a part, broken", .steps = {{ALL, 12}, {AS_ASKED, 0}}, LETTERS, INTAKE_COMPLETE, 2, 1,
         .asks = {"bytes=12-"}, .range = &part},
        {"a part of unknown content", .steps = {{NO_TOTAL, 3}, {AS_ASKED, 0}}, "fghijklmno", INTAKE_COMPLETE, 2, 1,
         .asks = {"bytes=8-14"}, .range = &part},
        {"a tail", .steps = {{AS_ASKED, 3}, {AS_ASKED, 0}}, "uvwxyz", INTAKE_COMPLETE, 2, 1, .asks = {"bytes=23-25"},
         .range = &tail},
        {"a suffix", .steps = {{AS_ASKED, 3}, {ALL, 0}}, "uvwxyz", INTAKE_COMPLETE, 2, 1, .asks = {"bytes=23-25"},
         .range = &suffix},
        {"HEAD", .steps = {{ALL, 0}}, "", INTAKE_COMPLETE, 1, 0, .head = true},
        {"HEAD is not asked again", .steps = {{STATUS_503, 0}}, "", INTAKE_FAILED, 1, 0, .outcome = FETCH_STATUS,
         .head = true},
        {"go on at 10", .steps = {{AS_ASKED, 0}}, LETTERS + 10, INTAKE_COMPLETE, 1, 1, .from = 10},
        {"go on at 10, get all", .steps = {{ALL, 0}}, LETTERS + 10, INTAKE_COMPLETE, 1, 1, .from = 10, .total = 26},
        {"go on at 10, get chunks", .steps = {{CHUNKED, 0}}, LETTERS + 10, INTAKE_COMPLETE, 1, 1, .from = 10},
        {"go on at 10, twice", .steps = {{AS_ASKED, 3}, {AS_ASKED, 0}}, LETTERS + 10, INTAKE_COMPLETE, 2, 2,
         .asks = {"bytes=13-"}, .from = 10},
        {"go on at 10, at the second attempt", .steps = {{STATUS_503, 0}, {EARLIER, 0}, {AS_ASKED, 0}}, LETTERS + 10,
         INTAKE_COMPLETE, 3, 1, .asks = {"bytes=10-"}, .from = 10},
        {"go on at 10 after another beginning", .steps = {{AS_ASKED, 0}}, LETTERS + 10, INTAKE_WRONG, 1, 1, .from = 10,
         .before = "abcdefghi_"},
        {"go on past the end", .steps = {{CHUNKED, 0}}, "", INTAKE_FAILED, 6, 0, .outcome = FETCH_BROKEN, .from = 10,
         .total = 9},
        {"go on with what is gone", .steps = {{STATUS_404, 0}}, "", INTAKE_FAILED, 1, 0, .outcome = FETCH_NOT_FOUND,
         .from = 10},
    };
    char digest[DIGEST_TEXT_MAX + 1];
    bed_digest(LETTERS, digest);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *why = rows[i].why;
        struct script s;
        struct bed b;
        script_init(&s, LETTERS, 26, rows[i].steps);
        s.redirects = rows[i].redirects;
        bed_open(&b, play, &s);
        if (rows[i].deadline_ms > 0)
            b.place.deadline_ms = rows[i].deadline_ms;
        struct taker *t = taker_new();
        struct intake_spec spec = {.digest = digest, .head = rows[i].head, .range = rows[i].range};
        spec.total = rows[i].total > 0 ? rows[i].total : UINT64_MAX;
        spec.from = rows[i].from;
        if (spec.from > 0)
            spec.hasher = hash_of(rows[i].before != NULL ? rows[i].before : LETTERS, rows[i].from);
        taker_start(t, &b, spec);
        await_end(t);
        cr_expect_eq(t->end, rows[i].end, "%s: end %d (%s)", why, t->end, t->err.text);
        if (rows[i].seen != NULL)
            cr_expect(t->len == strlen(rows[i].seen) && memcmp(t->body, rows[i].seen, t->len) == 0, "%s: '%.*s'", why,
                      (int)t->len, t->body);
        if (rows[i].end == INTAKE_FAILED)
            cr_expect_eq(t->result.outcome, rows[i].outcome, "%s: outcome %d (%s)", why, t->result.outcome,
                         t->err.text);
        else
            cr_expect_eq(t->heads, 1, "%s: one head", why);
        cr_expect((t->end == INTAKE_COMPLETE) == (t->err.text[0] == '\0'), "%s: '%s'", why, t->err.text);
        if (t->end == INTAKE_COMPLETE && !rows[i].head && t->head.length != UINT64_MAX)
            cr_expect_eq(rows[i].from + t->len, t->head.length, "%s: what was announced", why);
        if (rows[i].asked > 0)
            cr_expect_eq(atomic_load(&s.asked), rows[i].asked, "%s: asked %d times", why, atomic_load(&s.asked));
        cr_expect_eq(atomic_load(&b.content->resumes), (unsigned)rows[i].resumes, "%s: taken up %llu times", why,
                     atomic_load(&b.content->resumes));
        cr_expect_eq(atomic_load(&b.content->mismatches), rows[i].end == INTAKE_WRONG ? 1U : 0U, "%s: mismatches", why);
        pthread_mutex_lock(&s.lock);
        for (int k = 0; k < 3 && rows[i].asks[k] != NULL; k++)
            cr_expect_str_eq(s.ranges[k + 1], rows[i].asks[k], "%s: range %d", why, k + 2);
        pthread_mutex_unlock(&s.lock);
        if (rows[i].redirects)
            cr_expect_eq(upstream_count(b.upstream, "GET /v2/"), 2, "%s", why);
        taker_free(t);
        bed_close(&b);
    }
}

Test(intake, size_by_the_manifest) {
    struct script s;
    struct bed b;
    char digest[DIGEST_TEXT_MAX + 1];
    bed_digest(LETTERS, digest);
    script_init(&s, LETTERS, 26, (struct step[STEPS_MAX]){{STATUS_416, 0}});
    bed_open(&b, play, &s);
    bed_tell_size(&b, digest, 26);
    struct taker *t = taker_new();
    taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
    await_end(t);
    cr_expect_eq(t->result.outcome, FETCH_RANGE);
    cr_expect_str_eq(t->result.content_range, "bytes */26", "what the manifest says goes to the client");
    taker_free(t);
    bed_close(&b);
}

// --- progress ---

Test(intake, breaks_with_progress) {
    static const struct {
        size_t bytes;
        bool complete;
        const char *why;
    } rows[] = {
        {300000, true, "a MiB of progress, and the breaks are counted anew"},
        {100000, false, "too little of it"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct script s;
        struct bed b;
        char digest[DIGEST_TEXT_MAX + 1], *big = bed_big(digest);
        script_init(&s, big, BED_BIG, (struct step[STEPS_MAX]){{AS_ASKED, rows[i].bytes}});
        bed_open(&b, play, &s);
        struct taker *t = taker_new();
        taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
        await_end(t);
        cr_expect_eq(t->end == INTAKE_COMPLETE, rows[i].complete, "%s: %s", rows[i].why, t->err.text);
        cr_expect_eq(t->len, rows[i].complete ? BED_BIG : 6 * rows[i].bytes, "%s", rows[i].why);
        cr_expect(memcmp(t->body, big, t->len) == 0, "%s: every byte, in order", rows[i].why);
        taker_free(t);
        bed_close(&b);
        free(big);
    }
}

// --- who is to blame ---

Test(intake, wrong_content_of_several) {
    struct script bad, good;
    char digest[DIGEST_TEXT_MAX + 1];
    bed_digest(LETTERS, digest);
    script_init(&bad, LETTERS, 26, (struct step[STEPS_MAX]){{OTHER, 10}, {STATUS_503, 0}});
    script_init(&good, LETTERS, 26, (struct step[STEPS_MAX]){{AS_ASKED, 0}});
    struct upstream *u[] = {upstream_start(play, &bad), upstream_start(play, &good)};
    uint16_t ports[] = {upstream_port(u[0]), upstream_port(u[1])};
    struct bed b;
    bed_open_at(&b, ports, 2);
    struct taker *t = taker_new();
    taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
    await_end(t);
    cr_expect_eq(t->end, INTAKE_WRONG, "begun at one, ended at the other: %s", t->err.text);
    taker_free(t);
    t = taker_new();
    taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
    await_end(t);
    cr_expect_eq(t->end, INTAKE_COMPLETE, "the good one is not blamed: %s", t->err.text);
    taker_free(t);
    bed_close(&b);
    upstream_stop(u[0]);
    upstream_stop(u[1]);
}

Test(intake, wrong_content_is_remembered) {
    struct script s;
    struct bed b;
    char digest[DIGEST_TEXT_MAX + 1];
    bed_digest(LETTERS, digest);
    script_init(&s, LETTERS, 26, (struct step[STEPS_MAX]){{ALL, 10}, {OTHER, 0}, {ALL, 0}});
    bed_open(&b, play, &s);
    for (int i = 0; i < 2; i++) {
        struct taker *t = taker_new();
        taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
        await_end(t);
        cr_expect_eq(t->end, i == 0 ? INTAKE_WRONG : INTAKE_FAILED, "%d: %s", i, t->err.text);
        cr_expect_eq(t->result.outcome, i == 0 ? FETCH_OK : FETCH_MISMATCH, "%d: %s", i, t->err.text);
        taker_free(t);
    }
    cr_expect_eq(atomic_load(&s.asked), 2, "not asked a third time");
    bed_close(&b);
}

// --- races ---

static void await_asked(struct script *s, int count) {
    for (int i = 0; i < BED_PATIENCE_S * 1000 && atomic_load(&s->asked) < count; i++)
        usleep(1000);
    cr_assert(atomic_load(&s->asked) >= count, "asked %d times", count);
}

Test(intake, cancelled_during_a_resume) {
    struct script s;
    struct bed b;
    char digest[DIGEST_TEXT_MAX + 1];
    bed_digest(LETTERS, digest);
    script_init(&s, LETTERS, 26, (struct step[STEPS_MAX]){{ALL, 10}, {HANGS, 0}});
    bed_open(&b, play, &s);
    struct taker *t = taker_new();
    taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
    await_asked(&s, 2);
    intake_cancel(t->intake);
    await_end(t);
    cr_expect_eq(t->end, INTAKE_FAILED);
    cr_expect_eq(t->result.outcome, FETCH_CANCELLED, "%s", t->err.text);
    cr_expect_eq(atomic_load(&s.asked), 2);
    intake_cancel(t->intake); // Too late, and harmless.
    intake_resume(t->intake);
    taker_free(t);
    bed_close(&b);
}

Test(intake, cancelled_at_any_time) {
    struct script s;
    struct bed b;
    char digest[DIGEST_TEXT_MAX + 1], *big = bed_big(digest);
    script_init(&s, big, BED_BIG, (struct step[STEPS_MAX]){{AS_ASKED, 300000}});
    bed_open(&b, play, &s);
    unsigned seed = 5;
    for (int i = 0; i < 100; i++) {
        struct taker *t = taker_new();
        taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
        usleep((useconds_t)(rand_r(&seed) % 20000));
        intake_cancel(t->intake);
        await_end(t);
        cr_expect_neq(t->end, INTAKE_WRONG, "%d: %s", i, t->err.text);
        cr_expect(memcmp(t->body, big, t->len) == 0, "%d: every byte, in order", i);
        taker_free(t);
    }
    cr_expect_eq(atomic_load(&b.content->mismatches), 0);
    bed_close(&b);
    free(big);
}

Test(intake, paused_across_a_break) {
    struct script s;
    struct bed b;
    char digest[DIGEST_TEXT_MAX + 1];
    bed_digest(LETTERS, digest);
    script_init(&s, LETTERS, 26, (struct step[STEPS_MAX]){{ALL, 10}, {AS_ASKED, 0}});
    bed_open(&b, play, &s);
    struct taker *t = taker_new();
    t->pause_every = 1; // Each piece.
    taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
    while (atomic_load(&t->pauses) == 0)
        usleep(1000);
    usleep(300000); // It has broken off meanwhile.
    cr_expect_eq(t->ends, 0);
    pthread_mutex_lock(&t->lock);
    t->pause_every = 0;
    pthread_mutex_unlock(&t->lock);
    intake_resume(t->intake);
    await_end(t);
    cr_expect_eq(t->end, INTAKE_COMPLETE, "%s", t->err.text);
    cr_expect(t->len == 26 && memcmp(t->body, LETTERS, 26) == 0, "%.*s", (int)t->len, t->body);
    taker_free(t);
    bed_close(&b);
}

/// Pauses often, is resumed by another thread, also when it is not paused, and breaks off all the time.
Test(intake, resumed_at_any_time) {
    struct script s;
    struct bed b;
    char digest[DIGEST_TEXT_MAX + 1], *big = bed_big(digest);
    script_init(&s, big, BED_BIG, (struct step[STEPS_MAX]){{AS_ASKED, 300000}});
    bed_open(&b, play, &s);
    struct taker *t = taker_new();
    t->pause_every = 3;
    taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
    for (bool ended = false; !ended;) {
        intake_resume(t->intake);
        usleep(200);
        pthread_mutex_lock(&t->lock);
        ended = t->ends > 0;
        pthread_mutex_unlock(&t->lock);
    }
    cr_expect_eq(t->end, INTAKE_COMPLETE, "%s", t->err.text);
    cr_expect(t->len == BED_BIG && memcmp(t->body, big, t->len) == 0, "every byte, in order");
    cr_expect(atomic_load(&t->pauses) > 0);
    taker_free(t);
    bed_close(&b);
    free(big);
}

/// A pause is answered once, and never gets lost.
Test(intake, resumed_once_a_pause) {
    struct script s;
    struct bed b;
    char digest[DIGEST_TEXT_MAX + 1], *big = bed_big(digest);
    script_init(&s, big, BED_BIG, (struct step[STEPS_MAX]){{AS_ASKED, 300000}});
    bed_open(&b, play, &s);
    struct taker *t = taker_new();
    t->pause_every = 3;
    taker_start(t, &b, (struct intake_spec){.digest = digest, .total = UINT64_MAX});
    struct timespec until = bed_soon();
    int answered = 0, rc = 0;
    pthread_mutex_lock(&t->lock);
    while (t->ends == 0 && rc == 0) {
        if (atomic_load(&t->pauses) == answered) {
            rc = pthread_cond_timedwait(&t->changed, &t->lock, &until);
            continue;
        }
        answered = atomic_load(&t->pauses);
        pthread_mutex_unlock(&t->lock);
        intake_resume(t->intake);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    await_end(t);
    cr_expect_eq(t->end, INTAKE_COMPLETE, "%s", t->err.text);
    cr_expect(t->len == BED_BIG && memcmp(t->body, big, t->len) == 0, "every byte, in order");
    taker_free(t);
    bed_close(&b);
    free(big);
}

// --- the hash ---

struct hashing {
    struct taker taker;
    struct digest_hasher *at_stop;
};

static enum transfer_flow stop_after_the_first(void *ctx, const char *data, size_t len) {
    struct hashing *h = ctx;
    if (h->taker.len > 0)
        return TRANSFER_STOP;
    memcpy(h->taker.body, data, len);
    h->taker.len = len;
    return TRANSFER_CONTINUE;
}

static void keep_hash(void *ctx, enum intake_end end, const struct fetch_result *result, const struct err *err) {
    struct hashing *h = ctx;
    pthread_mutex_lock(&h->taker.lock);
    h->at_stop = intake_hash(h->taker.intake);
    pthread_mutex_unlock(&h->taker.lock);
    on_end(&h->taker, end, result, err);
}

/// What a taker does whose disk fails: it stops, and another intake goes on with the hash of what was taken.
Test(intake, another_goes_on_with_the_hash) {
    static const struct intake_callbacks stopping = {on_head, stop_after_the_first, on_turn, keep_hash};
    struct script s;
    struct bed b;
    char digest[DIGEST_TEXT_MAX + 1], *big = bed_big(digest);
    script_init(&s, big, BED_BIG, (struct step[STEPS_MAX]){{AS_ASKED, 0}});
    bed_open(&b, play, &s);
    struct hashing h = {.taker.lock = PTHREAD_MUTEX_INITIALIZER, .taker.changed = PTHREAD_COND_INITIALIZER};
    h.taker.body = mem_alloc(BED_BIG);
    struct intake_spec spec = {.place = &b.place, .digest = digest, .total = UINT64_MAX};
    pthread_mutex_lock(&h.taker.lock); // Until `intake` is set.
    h.taker.intake = intake_start(b.content, &spec, &stopping, &h);
    pthread_mutex_unlock(&h.taker.lock);
    await_end(&h.taker);
    cr_assert_eq(h.taker.end, INTAKE_FAILED);
    cr_assert_not_null(h.at_stop);
    cr_assert(h.taker.len > 0 && h.taker.len < BED_BIG);
    struct taker *t = taker_new();
    taker_start(t, &b,
                (struct intake_spec){.digest = digest, .total = BED_BIG, .from = h.taker.len, .hasher = h.at_stop});
    await_end(t);
    cr_expect_eq(t->end, INTAKE_COMPLETE, "%s", t->err.text);
    cr_expect(t->head.verified && !t->head.partial && t->head.length == BED_BIG, "its head tells of the whole");
    cr_expect_eq(h.taker.len + t->len, BED_BIG);
    taker_free(t);
    intake_unref(h.taker.intake);
    free(h.taker.body);
    bed_close(&b);
    free(big);
}
