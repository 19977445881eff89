// SPDX-License-Identifier: Apache-2.0
//
// Answers of 404 that are repeated from memory, and who waits for one answer.

#include "tests/unit/depot.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fetch_result not_found(void) {
    struct fetch_result r = {.outcome = FETCH_NOT_FOUND, .status = 404};
    snprintf(r.code, sizeof r.code, "BLOB_UNKNOWN");
    snprintf(r.message, sizeof r.message, "never heard of it");
    snprintf(r.where, sizeof r.where, "test (127.0.0.1)");
    snprintf(r.upstream, sizeof r.upstream, "127.0.0.1");
    err_set(&r.err, "test says no");
    return r;
}

static struct content_place with_ttl(struct depot *d, const char *repository) {
    struct content_place p = depot_place(d, repository);
    p.terms.negative_ttl_s = 60;
    return p;
}

Test(negative, it_says_what_the_upstream_said) {
    struct depot *d = depot_new();
    struct content_place p = with_ttl(d, "a/b");
    struct fetch_result r = not_found(), out;
    negative_note(d->content, &p, "v1", &r);
    cr_assert(negative_recall(d->content, &p, "v1", &out));
    cr_expect_eq(out.outcome, FETCH_NOT_FOUND);
    cr_expect_eq(out.status, 404);
    cr_expect_str_eq(out.code, r.code);
    cr_expect_str_eq(out.message, r.message);
    cr_expect_str_eq(out.where, r.where);
    cr_expect_str_eq(out.upstream, r.upstream);
    cr_expect_str_eq(out.err.text, r.err.text);
    depot_free(d);
}

static const struct {
    const char *why;
    const char *repository, *reference;
    unsigned ttl_s;
    bool other_registry, other_owner, manifest, recalled;
} asks[] = {
    {"the same", "a/b", "sha256:1", 60, false, false, false, true},
    {"another reference", "a/b", "sha256:2", 60, false, false, false, false},
    {"another repository", "a/c", "sha256:1", 60, false, false, false, false},
    {"another registry", "a/b", "sha256:1", 60, true, false, false, false},
    {"another configuration", "a/b", "sha256:1", 60, false, true, false, false},
    {"a manifest of that digest: it was a blob", "a/b", "sha256:1", 60, false, false, true, false},
    {"none are kept", "a/b", "sha256:1", 0, false, false, false, false},
};

Test(negative, whose_it_is) {
    struct depot *d = depot_new();
    struct content_place noted = with_ttl(d, "a/b");
    struct fetch_result r = not_found(), out;
    negative_note(d->content, &noted, "sha256:1", &r);
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        struct content_place p = asks[i].other_registry ? depot_other(d, "a/b") : depot_place(d, asks[i].repository);
        char reference[NEGATIVE_REFERENCE_MAX];
        p.terms.negative_ttl_s = asks[i].ttl_s;
        if (asks[i].other_owner)
            p.owner.object = d;
        negative_manifest(reference, asks[i].reference);
        const char *name = asks[i].manifest ? reference : asks[i].reference;
        cr_expect_eq(negative_recall(d->content, &p, name, &out), asks[i].recalled, "%s", asks[i].why);
    }
    depot_free(d);
}

static const struct {
    const char *why;
    enum fetch_outcome outcome;
    bool first, recalled; ///< There was a 404 before; it is recalled after.
} notes[] = {
    {"200 ends it", FETCH_OK, true, false},
    {"a failure says nothing about it", FETCH_TIMEOUT, true, true},
    {"nor does a refusal", FETCH_REFUSED, true, true},
    {"a failure is not remembered", FETCH_TIMEOUT, false, false},
    {"nor a refusal", FETCH_REFUSED, false, false},
};

Test(negative, what_changes_it) {
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        struct depot *d = depot_new();
        struct content_place p = with_ttl(d, "a/b");
        struct fetch_result r = not_found(), then = {.outcome = notes[i].outcome}, out;
        if (notes[i].first)
            negative_note(d->content, &p, "v1", &r);
        negative_note(d->content, &p, "v1", &then);
        cr_expect_eq(negative_recall(d->content, &p, "v1", &out), notes[i].recalled, "%s", notes[i].why);
        depot_free(d);
    }
}

Test(negative, it_passes) {
    struct depot *d = depot_new();
    struct content_place p = with_ttl(d, "a/b");
    struct fetch_result r = not_found(), out;
    negative_note(d->content, &p, "v1", &r);
    p.terms.negative_ttl_s = 1;
    cr_expect(negative_recall(d->content, &p, "v1", &out), "at once");
    usleep(1100 * 1000);
    cr_expect_not(negative_recall(d->content, &p, "v1", &out), "a second later");
    p.terms.negative_ttl_s = 60;
    content_forget(d->content);
    cr_expect_not(negative_recall(d->content, &p, "v1", &out), "a reload forgets it");
    depot_free(d);
}

Test(negative, there_are_not_too_many) {
    struct depot *d = depot_new();
    struct content_place p = with_ttl(d, "a/b");
    struct fetch_result r = not_found(), out;
    char reference[32];
    for (int i = 0; i <= CONTENT_NEGATIVE_MAX; i++) {
        snprintf(reference, sizeof reference, "v%d", i);
        negative_note(d->content, &p, reference, &r);
    }
    cr_expect_not(negative_recall(d->content, &p, "v0", &out), "the oldest made room");
    cr_expect(negative_recall(d->content, &p, reference, &out), "the newest is there");
    depot_free(d);
}

// --- one question, however many ask ---

struct numbered {
    struct waiter waiter;
    int number;
};

Test(jobs, they_come_back_in_order) {
    struct jobs *j = jobs_new();
    struct numbered w[5] = {0}, late = {0};
    for (int i = 0; i < 5; i++) {
        w[i].number = i;
        cr_expect_eq(jobs_join(j, "k", 1, &w[i].waiter), i == 0 ? JOBS_FIRST : JOBS_WAITS);
    }
    cr_expect_eq(jobs_join(j, "other", 5, &late.waiter), JOBS_FIRST, "another key is another question");
    int expected = 0;
    for (struct waiter *one = jobs_end(j, "k", 1); one != NULL; one = one->next)
        cr_expect_eq(((struct numbered *)one)->number, expected++);
    cr_expect_eq(expected, 5);
    cr_expect_null(jobs_end(j, "k", 1), "it has ended");
    cr_expect_eq(jobs_join(j, "k", 1, &w[0].waiter), JOBS_FIRST, "and can be asked again");
    jobs_end(j, "k", 1);
    jobs_end(j, "other", 5);
    jobs_free(j);
}

Test(jobs, they_are_bounded) {
    struct jobs *j = jobs_new();
    struct waiter *w = mem_zalloc(JOBS_WAITERS_MAX + 1, sizeof *w);
    for (int i = 0; i < JOBS_WAITERS_MAX; i++)
        cr_assert_neq(jobs_join(j, "k", 1, &w[i]), JOBS_FULL);
    cr_expect_eq(jobs_join(j, "k", 1, &w[JOBS_WAITERS_MAX]), JOBS_FULL, "one too many asks for himself");
    int count = 0;
    for (struct waiter *one = jobs_end(j, "k", 1); one != NULL; one = one->next)
        count++;
    cr_expect_eq(count, JOBS_WAITERS_MAX);
    free(w);
    jobs_free(j);
}

enum { THREADS = 4, ROUNDS = 20000 };

struct race {
    struct jobs *jobs;
    atomic_int answered;
};

static void *run(void *ctx) {
    struct race *r = ctx;
    for (int i = 0; i < ROUNDS; i++) {
        struct waiter *w = mem_zalloc(1, sizeof *w);
        enum jobs_joined joined = jobs_join(r->jobs, "k", 1, w);
        if (joined == JOBS_FULL) { // The first one was not given the processor meanwhile.
            free(w);
            atomic_fetch_add(&r->answered, 1);
        }
        if (joined != JOBS_FIRST)
            continue;
        for (struct waiter *one = jobs_end(r->jobs, "k", 1), *next; one != NULL; one = next) {
            next = one->next;
            free(one);
            atomic_fetch_add(&r->answered, 1);
        }
    }
    return NULL;
}

Test(jobs, nobody_is_lost) {
    struct race r = {.jobs = jobs_new()};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run, &r);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(r.answered, THREADS * ROUNDS, "each who joined was handed back once");
    jobs_free(r.jobs);
}
