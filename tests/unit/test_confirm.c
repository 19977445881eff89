// SPDX-License-Identifier: Apache-2.0
//
// Is a digest this repository's to give? Every state of what is known against every kind of answer.

#include "tests/unit/depot.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char blob[] = "a blob that somebody holds";

// What is held: by "test" through a/b, or by "other", or by nobody.
enum held { HELD_NOT, HELD_HERE, HELD_ELSEWHERE };

static const struct row {
    const char *why;
    enum held held;
    bool confirmed;        ///< For the repository that is asked about.
    int64_t learned_for_s; ///< 0: always too old.
    enum mood mood;
    bool filling, offline, restart;
    enum standing standing;
    bool known; ///< `confirmed` of the answer.
    enum content_source source;
    unsigned heads;
} rows[] = {
    {"held and fresh", HELD_HERE, true, 3600, MOOD_500, false, false, false, STANDING_HELD, true, SOURCE_HIT, 0},
    {"held and fresh, after a restart", HELD_HERE, true, 3600, MOOD_500, false, false, true, STANDING_HELD, true,
     SOURCE_HIT, 0},
    {"held and too old", HELD_HERE, true, 0, MOOD_GOOD, false, false, false, STANDING_HELD, true, SOURCE_HIT, 1},
    {"held and too old, after a restart", HELD_HERE, true, 0, MOOD_GOOD, false, false, true, STANDING_HELD, true,
     SOURCE_HIT, 1},
    {"held and never confirmed here", HELD_HERE, false, 3600, MOOD_GOOD, false, false, false, STANDING_HELD, true,
     SOURCE_HIT, 1},
    {"too old, the upstream fails", HELD_HERE, true, 0, MOOD_500, false, false, false, STANDING_HELD, true,
     SOURCE_STALE, 1},
    {"too old, 429", HELD_HERE, true, 0, MOOD_429, false, false, false, STANDING_HELD, true, SOURCE_STALE, 1},
    {"too old, 404", HELD_HERE, true, 0, MOOD_404, false, false, false, STANDING_FAILED, false, SOURCE_NONE, 1},
    {"too old, 403", HELD_HERE, true, 0, MOOD_403, false, false, false, STANDING_FAILED, false, SOURCE_NONE, 1},
    {"never confirmed, the upstream fails", HELD_HERE, false, 3600, MOOD_500, false, false, false, STANDING_FAILED,
     false, SOURCE_NONE, 1},
    {"never confirmed, 404", HELD_HERE, false, 3600, MOOD_404, false, false, false, STANDING_FAILED, false, SOURCE_NONE,
     1},
    {"never confirmed, 403", HELD_HERE, false, 3600, MOOD_403, false, false, false, STANDING_FAILED, false, SOURCE_NONE,
     1},
    {"never confirmed, HEAD is unknown there", HELD_HERE, false, 3600, MOOD_NO_HEAD, false, false, false,
     STANDING_ABSENT, false, SOURCE_NONE, 1},
    {"too old, HEAD is unknown there", HELD_HERE, true, 0, MOOD_NO_HEAD_501, false, false, false, STANDING_ABSENT,
     false, SOURCE_NONE, 1},
    {"another registry's bytes, fresh", HELD_ELSEWHERE, true, 3600, MOOD_500, false, false, false, STANDING_FOREIGN,
     true, SOURCE_HIT, 0},
    {"another registry's bytes, never confirmed", HELD_ELSEWHERE, false, 3600, MOOD_GOOD, false, false, false,
     STANDING_FOREIGN, true, SOURCE_HIT, 1},
    {"another registry's bytes, after a restart", HELD_ELSEWHERE, false, 3600, MOOD_GOOD, false, false, true,
     STANDING_FOREIGN, true, SOURCE_HIT, 1},
    {"not held: nothing to serve, nothing asked", HELD_NOT, false, 3600, MOOD_500, false, false, false, STANDING_ABSENT,
     false, SOURCE_NONE, 0},
    {"evicted, but known to be there", HELD_NOT, true, 3600, MOOD_500, false, false, false, STANDING_ABSENT, true,
     SOURCE_HIT, 0},
    {"evicted and too old", HELD_NOT, true, 0, MOOD_500, false, false, false, STANDING_ABSENT, false, SOURCE_NONE, 0},
    {"filling, never confirmed", HELD_NOT, false, 3600, MOOD_GOOD, true, false, false, STANDING_ABSENT, true,
     SOURCE_HIT, 1},
    {"filling, never confirmed, 404", HELD_NOT, false, 3600, MOOD_404, true, false, false, STANDING_FAILED, false,
     SOURCE_NONE, 1},
    {"filling, fresh", HELD_NOT, true, 3600, MOOD_500, true, false, false, STANDING_ABSENT, true, SOURCE_HIT, 0},
    {"filling, never confirmed, the upstream fails", HELD_NOT, false, 3600, MOOD_500, true, false, false,
     STANDING_FAILED, false, SOURCE_NONE, 1},
    {"offline, held, once confirmed", HELD_HERE, true, 0, MOOD_GOOD, false, true, false, STANDING_HELD, true,
     SOURCE_HIT, 0},
    {"offline, held, never confirmed", HELD_HERE, false, 3600, MOOD_GOOD, false, true, false, STANDING_FAILED, false,
     SOURCE_NONE, 0},
    {"offline, nothing held", HELD_NOT, true, 3600, MOOD_GOOD, false, true, true, STANDING_FAILED, false, SOURCE_NONE,
     0},
    {"offline, another registry's bytes", HELD_ELSEWHERE, true, 3600, MOOD_GOOD, false, true, false, STANDING_FAILED,
     false, SOURCE_NONE, 0},
};

struct answered {
    sem_t done;
    struct confirmation a;
    struct fetch_result fetch;
    bool piece;
};

static void on_confirmed(void *ctx, const struct confirmation *c) {
    struct answered *a = ctx;
    a->a = *c;
    a->fetch = *c->fetch;
    a->piece = c->piece != NULL;
    sem_post(&a->done);
}

static struct answered confirm(struct depot *d, const struct content_place *p, const char *digest, bool filling) {
    struct answered a = {0};
    sem_init(&a.done, 0, 0);
    content_confirm(d->content, p, FETCH_BLOB, digest, filling, on_confirmed, &a);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEPOT_PATIENCE_S;
    cr_assert_eq(sem_timedwait(&a.done, &until), 0, "answered");
    return a;
}

static void on_committed(void *ctx, struct piece *piece) {
    cr_assert_not_null(piece);
    piece_unref(piece);
    sem_post(ctx);
}

static void commit(struct depot *d, const char *registry, const char *repository, const char *digest) {
    sem_t done;
    sem_init(&done, 0, 0);
    struct store_file *f = store_file_new(d->store, digest, strlen(blob));
    cr_assert_not_null(f);
    cr_assert(store_file_write(f, blob, strlen(blob)));
    store_file_commit(f, registry, repository, "", on_committed, &done);
    while (sem_wait(&done) != 0) {
    }
}

/// The repository that is asked about is a/b of "test"; what is held came through x/y.
static void arrange(struct depot *d, const struct row *row, const char *digest) {
    if (row->held != HELD_NOT)
        commit(d, row->held == HELD_HERE ? "test" : "other", "x/y", digest);
    if (row->confirmed)
        store_note_confirmed(d->store, "test", "a/b", digest, (int64_t)time(NULL));
    if (row->restart)
        depot_restart(d);
    d->hub.mood = row->mood;
}

static void expect_row(const struct row *row, struct depot *d, const struct answered *a) {
    cr_expect_eq(a->a.standing, row->standing, "%s: standing %d (%s)", row->why, (int)a->a.standing, a->fetch.err.text);
    cr_expect_eq(a->a.confirmed, row->known, "%s: confirmed", row->why);
    cr_expect_eq(a->a.source, row->source, "%s: source %d", row->why, (int)a->a.source);
    bool piece = row->standing == STANDING_HELD || row->standing == STANDING_FOREIGN;
    cr_expect_eq(a->piece, piece, "%s: a piece", row->why);
    cr_expect_eq(hub_count(&d->hub, "HEAD "), row->heads, "%s: %u HEAD", row->why, hub_count(&d->hub, "HEAD "));
    cr_expect_eq(hub_count(&d->hub, "GET "), 0, "%s: never a GET", row->why);
    if (row->standing == STANDING_FAILED)
        cr_expect(a->fetch.err.text[0] != '\0', "%s: a sentence", row->why);
    struct content_stats stats;
    content_stats(d->content, &stats);
    cr_expect_eq(stats.stale, row->source == SOURCE_STALE ? 1 : 0, "%s: counted as stale", row->why);
}

Test(confirm, standing) {
    char *digest = depot_digest(blob);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct depot *d = depot_new();
        struct content_place p = depot_place(d, "a/b");
        hub_has(&d->hub, "a/b", digest, blob);
        p.terms.learned_for_s = row->learned_for_s;
        p.terms.offline = row->offline;
        arrange(d, row, digest);
        struct answered a = confirm(d, &p, digest, row->filling);
        expect_row(row, d, &a);
        depot_free(d);
    }
    free(digest);
}

Test(confirm, a_host_that_is_redirected_to_does_not_speak_for_the_registry) {
    struct depot *d = depot_new();
    char *digest = depot_digest(blob);
    struct content_place p = depot_place(d, "a/b");
    hub_has(&d->hub, "a/b", digest, blob);
    commit(d, "test", "a/b", digest);
    p.terms.learned_for_s = 0;
    d->hub.mood = MOOD_ELSEWHERE;
    struct answered a = confirm(d, &p, digest, false);
    cr_expect_eq(a.a.standing, STANDING_ABSENT, "a GET will say");
    p.terms.learned_for_s = 3600;
    a = confirm(d, &p, digest, false);
    cr_expect_eq(a.a.standing, STANDING_HELD, "what was known still is");
    free(digest);
    depot_free(d);
}

Test(confirm, a_confirmation_lasts) {
    struct depot *d = depot_new();
    char *digest = depot_digest(blob);
    struct content_place p = depot_place(d, "a/b");
    hub_has(&d->hub, "a/b", digest, blob);
    commit(d, "test", "x/y", digest);
    struct answered a = confirm(d, &p, digest, false);
    cr_expect_eq(a.a.standing, STANDING_HELD, "asked");
    depot_restart(d);
    d->hub.mood = MOOD_500;
    a = confirm(d, &p, digest, false);
    cr_expect_eq(a.a.standing, STANDING_HELD, "and remembered: %s", a.fetch.err.text);
    cr_expect_eq(hub_count(&d->hub, "HEAD "), 1);
    free(digest);
    depot_free(d);
}

Test(confirm, a_refusal_lasts) {
    struct depot *d = depot_new();
    char *digest = depot_digest(blob);
    struct content_place p = depot_place(d, "a/b");
    commit(d, "test", "a/b", digest);
    p.terms.learned_for_s = 0;
    struct answered a = confirm(d, &p, digest, false);
    cr_expect_eq(a.a.standing, STANDING_FAILED, "404");
    p.terms.learned_for_s = 3600;
    d->hub.mood = MOOD_500;
    a = confirm(d, &p, digest, false);
    cr_expect_eq(a.a.standing, STANDING_FAILED, "what was gone is not stale when the upstream fails");
    p.terms.negative_ttl_s = 60;
    unsigned heads = hub_count(&d->hub, "HEAD ");
    a = confirm(d, &p, digest, false);
    cr_expect_eq(a.fetch.outcome, FETCH_NOT_FOUND, "the 404 from memory");
    cr_expect_eq(hub_count(&d->hub, "HEAD "), heads, "without asking");
    free(digest);
    depot_free(d);
}

static const struct {
    const char *why, *said;
    bool known;
    enum standing standing;
} names[] = {
    {"another digest is no confirmation", "sha256:0000000000000000000000000000000000000000000000000000000000000000",
     false, STANDING_FAILED},
    {"nor is it stale's end", "sha256:0000000000000000000000000000000000000000000000000000000000000000", true,
     STANDING_HELD},
    {"no header: 200 is what counts", "", false, STANDING_HELD},
    {"a header that is no digest says nothing", "sha256:short", false, STANDING_HELD},
    {"another algorithm says nothing: GET",
     "sha512:"
     "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
     "000000000000000000000",
     false, STANDING_ABSENT},
};

Test(confirm, what_the_answer_is_about) {
    char *digest = depot_digest(blob);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct depot *d = depot_new();
        struct content_place p = depot_place(d, "a/b");
        hub_has(&d->hub, "a/b", digest, blob);
        d->hub.things[0].digest = names[i].said;
        commit(d, "test", names[i].known ? "a/b" : "x/y", digest);
        p.terms.learned_for_s = 0;
        struct answered a = confirm(d, &p, digest, false);
        cr_expect_eq(a.a.standing, names[i].standing, "%s: %d", names[i].why, (int)a.a.standing);
        if (names[i].known)
            cr_expect_eq(a.a.source, SOURCE_STALE, "%s", names[i].why);
        depot_free(d);
    }
    free(digest);
}

// --- one HEAD ---

enum { CROWD = 500 };

static void count_held(void *ctx, const struct confirmation *c) {
    if (c->standing == STANDING_HELD)
        atomic_fetch_add((atomic_int *)ctx, 1);
}

Test(confirm, one_head_for_all) {
    struct depot *d = depot_new();
    char *digest = depot_digest(blob);
    atomic_int held = 0;
    struct content_place p = depot_place(d, "a/b");
    hub_has(&d->hub, "a/b", digest, blob);
    commit(d, "test", "x/y", digest);
    d->hub.mood = MOOD_SLOW;
    for (int i = 0; i < CROWD; i++)
        content_confirm(d->content, &p, FETCH_BLOB, digest, false, count_held, &held);
    for (int i = 0; i < 1000 && held < CROWD; i++)
        usleep(5000);
    cr_expect_eq(held, CROWD, "all were answered: %d", held);
    cr_expect_eq(hub_count(&d->hub, "HEAD "), 1, "by one HEAD");
    free(digest);
    depot_free(d);
}

// --- what may be answered by what is kept ---

static const struct {
    const char *why;
    enum fetch_outcome outcome;
    int status;
    bool stale;
} failures[] = {
    {"no connection", FETCH_UNREACHABLE, 0, true},
    {"too late", FETCH_TIMEOUT, 0, true},
    {"429", FETCH_LIMITED, 429, true},
    {"500", FETCH_STATUS, 500, true},
    {"503", FETCH_STATUS, 503, true},
    {"cut short", FETCH_BROKEN, 200, true},
    {"an encoding nobody asked for", FETCH_ENCODED, 200, true},
    {"a redirect that leads nowhere", FETCH_REDIRECT, 302, true},
    {"wrong content a moment ago", FETCH_MISMATCH, 0, true},
    {"credentials of ours are refused", FETCH_CREDENTIAL, 401, true},
    {"all is well", FETCH_OK, 200, false},
    {"404", FETCH_NOT_FOUND, 404, false},
    {"401 or 403 without credentials of ours", FETCH_REFUSED, 403, false},
    {"another 4xx: it has understood", FETCH_STATUS, 400, false},
    {"416", FETCH_RANGE, 416, false},
    {"a host that this site does not permit", FETCH_REDIRECT_HOST, 302, false},
    {"a realm that this site does not permit", FETCH_REALM_HOST, 401, false},
    {"an address that this site does not permit", FETCH_ADDRESS, 0, false},
    {"this gateway stops", FETCH_CANCELLED, 0, false},
};

Test(confirm, may_be_stale) {
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        struct fetch_result r = {.outcome = failures[i].outcome, .status = failures[i].status};
        cr_expect_eq(content_may_be_stale(&r), failures[i].stale, "%s", failures[i].why);
    }
}
