// SPDX-License-Identifier: Apache-2.0
//
// Manifests that are kept: when the upstream is asked, and for what; when it is not believed; who may have what.

#include "tests/unit/depot.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/// A registry that has one image, "a/b:v1".
struct fixture {
    struct depot *d;
    struct content_place place;
    char *body, *digest;
};

static struct fixture setup(void) {
    struct fixture f = {.d = depot_new(), .body = depot_manifest("one")};
    f.digest = depot_digest(f.body);
    f.place = depot_place(f.d, "a/b");
    hub_has(&f.d->hub, "a/b", "v1", f.body);
    hub_has(&f.d->hub, "a/b", f.digest, f.body);
    return f;
}

static void teardown(struct fixture *f) {
    depot_free(f->d);
    free(f->body);
    free(f->digest);
}

static void expect_manifest(struct told t, const char *body, enum content_source source, const char *why) {
    cr_assert(t.manifest, "%s: a manifest is answered (%s)", why, t.err.text);
    cr_expect_eq(t.verdict, DOCUMENT_OK, "%s: good", why);
    cr_expect_str_eq(t.body != NULL ? t.body : "", body, "%s: these bytes", why);
    cr_expect_eq(t.source, source, "%s: source %d", why, (int)t.source);
    told_free(&t);
}

static void expect_requests(struct hub *h, unsigned head, unsigned get, const char *why) {
    cr_expect_eq(hub_count(h, "HEAD "), head, "%s: %u HEAD so far", why, hub_count(h, "HEAD "));
    cr_expect_eq(hub_count(h, "GET "), get, "%s: %u GET so far", why, hub_count(h, "GET "));
}

/// v1 was pulled and is in the store.
static void pull(struct fixture *f) {
    expect_manifest(depot_ask(f->d, &f->place, "v1", NULL), f->body, SOURCE_MISS, "the first pull");
    depot_await_held(f->d, &f->place, f->digest);
}

Test(manifest_store, a_tag_is_asked_about_only_after_its_time) {
    struct fixture f = setup();
    pull(&f);
    expect_requests(&f.d->hub, 1, 1, "the first pull");
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_HIT, "within its time");
    expect_manifest(depot_ask(f.d, &f.place, NULL, f.digest), f.body, SOURCE_HIT, "by digest");
    expect_requests(&f.d->hub, 1, 1, "within its time");
    f.place.terms.tag_ttl_s = 0;
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_HIT, "after its time");
    expect_requests(&f.d->hub, 2, 1, "after its time: a HEAD, which counts against no limit, and no GET");
    teardown(&f);
}

Test(manifest_store, it_expires_by_the_clock) {
    struct fixture f = setup();
    pull(&f);
    f.place.terms.tag_ttl_s = 1;
    sleep(2);
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_HIT, "two seconds later");
    expect_requests(&f.d->hub, 2, 1, "it was confirmed");
    teardown(&f);
}

Test(manifest_store, a_tag_that_moved_is_fetched) {
    struct fixture f = setup();
    pull(&f);
    char *body = depot_manifest("two"), *digest = depot_digest(body);
    hub_has(&f.d->hub, "a/b", "v1", body);
    hub_has(&f.d->hub, "a/b", digest, body);
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_HIT, "nobody knows yet");
    f.place.terms.tag_ttl_s = 0;
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), body, SOURCE_MISS, "it has moved");
    f.place.terms.tag_ttl_s = 3600;
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), body, SOURCE_HIT, "and stays so");
    expect_manifest(depot_ask(f.d, &f.place, NULL, f.digest), f.body, SOURCE_HIT, "the old one by its digest");
    expect_requests(&f.d->hub, 2, 2, "the new one");
    free(body);
    free(digest);
    teardown(&f);
}

Test(manifest_store, it_outlives_the_process) {
    struct fixture f = setup();
    pull(&f);
    depot_restart(f.d);
    f.d->hub.mood = MOOD_500;
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_HIT, "by tag");
    expect_manifest(depot_ask(f.d, &f.place, NULL, f.digest), f.body, SOURCE_HIT, "by digest");
    depot_restart(f.d);
    expect_manifest(depot_ask(f.d, &f.place, NULL, f.digest), f.body, SOURCE_HIT, "by digest first");
    expect_requests(&f.d->hub, 1, 1, "the upstream was not asked again");
    teardown(&f);
}

// --- an upstream that fails ---

static const struct stale_row {
    const char *why;
    enum mood mood;
    bool restart;
    int64_t stale_for_s;
    bool stale;
    enum fetch_outcome outcome;
} stale_rows[] = {
    {"silence", MOOD_SILENT, false, 3600, true, FETCH_TIMEOUT},
    {"silence, after a restart", MOOD_SILENT, true, 3600, true, FETCH_TIMEOUT},
    {"500", MOOD_500, false, 3600, true, FETCH_STATUS},
    {"500, after a restart", MOOD_500, true, 3600, true, FETCH_STATUS},
    {"500, staleness without end", MOOD_500, false, -1, true, FETCH_STATUS},
    {"500, no staleness is allowed", MOOD_500, false, 0, false, FETCH_STATUS},
    {"429", MOOD_429, false, 3600, true, FETCH_LIMITED},
    {"garbage", MOOD_GARBAGE, false, 3600, true, FETCH_BROKEN},
    {"404 is an answer", MOOD_404, false, -1, false, FETCH_NOT_FOUND},
    {"404 is an answer, after a restart", MOOD_404, true, -1, false, FETCH_NOT_FOUND},
    {"403 without credentials of ours is an answer", MOOD_403, false, -1, false, FETCH_REFUSED},
    {"401 without credentials of ours is an answer", MOOD_401, false, -1, false, FETCH_REFUSED},
};

static void expect_stale(const struct stale_row *row, struct fixture *f, struct told t) {
    struct content_stats stats;
    content_stats(f->d->content, &stats);
    cr_expect_eq(stats.stale, row->stale ? 1 : 0, "%s: counted", row->why);
    cr_expect_eq(t.outcome, row->outcome, "%s: outcome %d", row->why, (int)t.outcome);
    if (row->stale)
        expect_manifest(t, f->body, SOURCE_STALE, row->why);
    else
        cr_expect_not(t.manifest, "%s: not served", row->why);
}

Test(manifest_store, a_failing_upstream) {
    for (size_t i = 0; i < sizeof stale_rows / sizeof *stale_rows; i++) {
        const struct stale_row *row = &stale_rows[i];
        struct fixture f = setup();
        pull(&f);
        if (row->restart)
            depot_restart(f.d);
        f.d->hub.mood = row->mood;
        f.place.terms.tag_ttl_s = 0;
        f.place.terms.stale_for_s = row->stale_for_s;
        f.place.deadline_ms = row->mood == MOOD_SILENT ? 500 : 5000;
        expect_stale(row, &f, depot_ask(f.d, &f.place, "v1", NULL));
        teardown(&f);
    }
}

Test(manifest_store, no_connection_at_all) {
    struct fixture f = setup();
    pull(&f);
    f.place.terms.tag_ttl_s = 0;
    f.d->hub.registry->endpoints[0].at.port = 1;
    free(f.d->hub.registry->endpoints[0].base);
    f.d->hub.registry->endpoints[0].base = mem_strdup("http://127.0.0.1:1");
    struct told t = depot_ask(f.d, &f.place, "v1", NULL);
    cr_expect_eq(t.outcome, FETCH_UNREACHABLE);
    expect_manifest(t, f.body, SOURCE_STALE, "nobody is there");
    teardown(&f);
}

Test(manifest_store, the_last_whole_image_is_served_while_the_next_cannot_be_had) {
    struct fixture f = setup();
    pull(&f);
    char *body = depot_manifest("two"), *digest = depot_digest(body);
    hub_has(&f.d->hub, "a/b", "v1", body);
    hub_has(&f.d->hub, "a/b", digest, body);
    f.place.terms.tag_ttl_s = 0;
    f.d->hub.mood = MOOD_GET_500;
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_STALE, "HEAD is answered, GET is not");
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_STALE, "again");
    f.d->hub.mood = MOOD_GOOD;
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), body, SOURCE_MISS, "now it can");
    free(body);
    free(digest);
    teardown(&f);
}

Test(manifest_store, what_is_gone_is_gone) {
    struct fixture f = setup();
    pull(&f);
    f.place.terms.tag_ttl_s = 0;
    f.d->hub.mood = MOOD_404;
    struct told t = depot_ask(f.d, &f.place, "v1", NULL);
    cr_expect_eq(t.outcome, FETCH_NOT_FOUND);
    f.d->hub.mood = MOOD_500;
    f.place.terms.tag_ttl_s = 3600;
    t = depot_ask(f.d, &f.place, "v1", NULL);
    cr_expect_not(t.manifest, "the upstream said that it is gone, and fails only now");
    depot_restart(f.d);
    t = depot_ask(f.d, &f.place, "v1", NULL);
    cr_expect_not(t.manifest, "nor after a restart");
    teardown(&f);
}

Test(manifest_store, a_registry_without_head) {
    const enum mood moods[] = {MOOD_NO_HEAD, MOOD_NO_HEAD_501};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = setup();
        f.d->hub.mood = moods[i];
        pull(&f);
        f.place.terms.tag_ttl_s = 0;
        f.place.terms.learned_for_s = 0;
        expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_MISS, "GET confirms the tag");
        depot_restart(f.d);
        expect_manifest(depot_ask(f.d, &f.place, NULL, f.digest), f.body, SOURCE_MISS, "GET confirms the digest");
        teardown(&f);
    }
}

Test(manifest_store, a_tag_within_its_time_whose_digest_is_gone) {
    struct fixture f = setup();
    pull(&f);
    char *body = depot_manifest("two"), *digest = depot_digest(body);
    hub_clear(&f.d->hub);
    hub_has(&f.d->hub, "a/b", "v1", body);
    hub_has(&f.d->hub, "a/b", digest, body);
    char *path = depot_file(f.d, f.digest);
    depot_restart(f.d);
    unlink(path);
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), body, SOURCE_MISS, "lost here and there: the tag is asked");
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), body, SOURCE_HIT, "and known again");
    free(path);
    free(body);
    free(digest);
    teardown(&f);
}

// --- who may have what ---

Test(manifest_store, naming_is_not_possession) {
    struct fixture f = setup();
    pull(&f);
    struct content_place b = depot_place(f.d, "b/c");
    struct told t = depot_ask(f.d, &b, NULL, f.digest);
    cr_expect_not(t.manifest, "held through a/b, and b/c's upstream says 404");
    cr_expect_eq(t.outcome, FETCH_NOT_FOUND);
    f.d->hub.mood = MOOD_500;
    t = depot_ask(f.d, &b, NULL, f.digest);
    cr_expect_not(t.manifest, "never confirmed for b/c, so never stale");
    f.d->hub.mood = MOOD_GOOD;
    hub_has(&f.d->hub, "b/c", f.digest, f.body);
    unsigned gets = hub_count(&f.d->hub, "GET ");
    t = depot_ask(f.d, &b, NULL, f.digest);
    cr_expect(t.manifest, "b/c's upstream has said 200");
    told_free(&t);
    f.d->hub.mood = MOOD_500;
    t = depot_ask(f.d, &b, NULL, f.digest);
    expect_manifest(t, f.body, SOURCE_HIT, "and once is enough");
    cr_expect_eq(hub_count(&f.d->hub, "GET ") - gets, 0, "the bytes were there");
    depot_restart(f.d);
    f.d->hub.mood = MOOD_GOOD;
    t = depot_ask(f.d, &b, NULL, f.digest);
    cr_expect(t.manifest && t.verdict == DOCUMENT_OK, "its kind was only said in passing, and is asked for again");
    told_free(&t);
    teardown(&f);
}

Test(manifest_store, a_digest_is_confirmed_again_after_its_time) {
    struct fixture f = setup();
    pull(&f);
    depot_restart(f.d);
    f.place.terms.learned_for_s = 0;
    expect_manifest(depot_ask(f.d, &f.place, NULL, f.digest), f.body, SOURCE_HIT, "by HEAD");
    expect_requests(&f.d->hub, 2, 1, "by HEAD");
    depot_restart(f.d);
    f.d->hub.mood = MOOD_500;
    expect_manifest(depot_ask(f.d, &f.place, NULL, f.digest), f.body, SOURCE_STALE, "the upstream fails");
    f.d->hub.mood = MOOD_404;
    struct told t = depot_ask(f.d, &f.place, NULL, f.digest);
    cr_expect_not(t.manifest, "the repository has it no more");
    f.place.terms.learned_for_s = 3600;
    depot_restart(f.d);
    f.d->hub.mood = MOOD_500;
    t = depot_ask(f.d, &f.place, NULL, f.digest);
    cr_expect_not(t.manifest, "and that is remembered");
    teardown(&f);
}

Test(manifest_store, two_registries_do_not_mix) {
    struct fixture f = setup();
    pull(&f);
    struct content_place o = depot_other(f.d, "a/b");
    char *body = depot_manifest("other");
    char *digest = depot_digest(body);
    struct told t = depot_ask(f.d, &o, "v1", NULL);
    cr_expect_not(t.manifest, "the other registry has no such tag");
    t = depot_ask(f.d, &o, NULL, f.digest);
    cr_expect_not(t.manifest, "nor the digest");
    hub_has(&f.d->other, "a/b", "v1", body);
    hub_has(&f.d->other, "a/b", digest, body);
    expect_manifest(depot_ask(f.d, &o, "v1", NULL), body, SOURCE_MISS, "its own image");
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_HIT, "and the first one's");
    hub_has(&f.d->other, "a/b", f.digest, f.body);
    unsigned gets = hub_count(&f.d->other, "GET ");
    expect_manifest(depot_ask(f.d, &o, NULL, f.digest), f.body, SOURCE_MISS, "another registry delivers it itself");
    cr_expect_eq(hub_count(&f.d->other, "GET ") - gets, 1, "once");
    depot_await_held(f.d, &o, f.digest);
    expect_manifest(depot_ask(f.d, &o, NULL, f.digest), f.body, SOURCE_HIT, "then it is held");
    cr_expect_eq(hub_count(&f.d->other, "GET ") - gets, 1, "once");
    free(body);
    free(digest);
    teardown(&f);
}

// --- links ---

static bool every_tag(void *ctx, const char *tag, const char *led_to) {
    (void)ctx, (void)led_to;
    return strcmp(tag, "v1") == 0;
}

static void count_up(void *ctx) {
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static void load_links(struct fixture *f) {
    atomic_int ready = 0;
    int expected = 0;
    for (int i = 0; i < 20; i++)
        expected += content_load_links(f->d->content, "test", "a/b", count_up, &ready) ? 0 : 1;
    for (int i = 0; i < 1000 && ready < expected; i++)
        usleep(5000);
    cr_expect_eq(ready, expected, "each who was told to wait is called once");
    cr_expect(content_load_links(f->d->content, "test", "a/b", count_up, &ready), "and then they are there");
}

Test(manifest_store, links_outlive_the_process) {
    struct fixture f = setup();
    char tag[TAG_MAX + 1], *layer = depot_digest("layer of one"), *config = depot_digest("config of one");
    struct links_asker asker = {.tag_allowed = every_tag};
    pull(&f);
    depot_restart(f.d);
    struct links *l = content_links(f.d->content);
    cr_expect_not(links_reach(l, "test", "a/b", layer, &asker, tag), "nothing is in memory yet");
    load_links(&f);
    cr_expect(links_reach(l, "test", "a/b", layer, &asker, tag), "the layer");
    cr_expect(links_reach(l, "test", "a/b", config, &asker, tag), "the config");
    cr_expect(links_reach(l, "test", "a/b", f.digest, &asker, tag), "the manifest");
    cr_expect_not(links_reach(l, "other", "a/b", layer, &asker, tag), "not in another registry");
    free(layer);
    free(config);
    teardown(&f);
}

// --- one question ---

enum { CROWD = 300 };

struct crowd {
    atomic_int answers, good, misses;
};

static void crowd_answer(void *ctx, const struct manifest_answer *a) {
    struct crowd *c = ctx;
    if (a->manifest != NULL)
        atomic_fetch_add(&c->good, 1);
    if (a->source == SOURCE_MISS)
        atomic_fetch_add(&c->misses, 1);
    atomic_fetch_add(&c->answers, 1);
}

static void ask_in_a_crowd(struct fixture *f, const char *tag, const char *digest, struct crowd *c) {
    for (int i = 0; i < CROWD; i++)
        content_manifest(f->d->content, &f->place, tag, digest, false, crowd_answer, c);
    for (int i = 0; i < 2000 && c->answers < CROWD; i++)
        usleep(5000);
    cr_expect_eq(c->answers, CROWD, "all are answered");
    cr_expect_eq(c->good, CROWD, "all alike");
}

Test(manifest_store, many_ask_one_question) {
    struct fixture f = setup();
    struct crowd c = {0};
    f.d->hub.mood = MOOD_SLOW;
    ask_in_a_crowd(&f, "v1", NULL, &c);
    cr_expect_eq(c.misses, 1, "one fetched it, the others followed");
    expect_requests(&f.d->hub, 1, 1, "a crowd by tag");
    depot_await_held(f.d, &f.place, f.digest);
    f.place.terms.tag_ttl_s = 0;
    c = (struct crowd){0};
    ask_in_a_crowd(&f, "v1", NULL, &c);
    expect_requests(&f.d->hub, 2, 1, "a crowd that confirms a tag");
    f.place.terms.learned_for_s = 0;
    depot_restart(f.d);
    c = (struct crowd){0};
    ask_in_a_crowd(&f, NULL, f.digest, &c);
    expect_requests(&f.d->hub, 3, 1, "a crowd that confirms a digest");
    teardown(&f);
}

// --- what is not there ---

Test(manifest_store, a_404_is_repeated_from_memory) {
    struct fixture f = setup();
    f.place.terms.negative_ttl_s = 60;
    for (int i = 0; i < 3; i++) {
        struct told t = depot_ask(f.d, &f.place, "none", NULL);
        cr_expect_eq(t.outcome, FETCH_NOT_FOUND);
        cr_expect_eq(t.status, 404);
    }
    cr_expect_eq(hub_count(&f.d->hub, "HEAD /v2/a/b/manifests/none"), 1, "asked once");
    content_forget(f.d->content);
    struct told t = depot_ask(f.d, &f.place, "none", NULL);
    cr_expect_eq(t.outcome, FETCH_NOT_FOUND);
    cr_expect_eq(hub_count(&f.d->hub, "HEAD /v2/a/b/manifests/none"), 2, "a reload forgets it");
    f.place.terms.negative_ttl_s = 1;
    sleep(2);
    hub_has(&f.d->hub, "a/b", "none", f.body);
    t = depot_ask(f.d, &f.place, "none", NULL);
    cr_expect(t.manifest, "its time is over, and it is there now");
    told_free(&t);
    teardown(&f);
}

// --- offline ---

Test(manifest_store, offline) {
    struct fixture f = setup();
    pull(&f);
    f.place.terms.offline = true;
    f.place.terms.tag_ttl_s = 0;
    f.place.terms.learned_for_s = 0;
    for (int i = 0; i < 2; i++) {
        expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_HIT, "by tag, whatever its age");
        expect_manifest(depot_ask(f.d, &f.place, NULL, f.digest), f.body, SOURCE_HIT, "by digest");
        depot_restart(f.d);
    }
    struct told t = depot_ask(f.d, &f.place, "v2", NULL);
    cr_expect_not(t.manifest, "nothing is known of v2");
    cr_expect(strstr(t.err.text, "offline") != NULL, "the sentence says why: %s", t.err.text);
    struct content_place b = depot_place(f.d, "b/c");
    b.terms.offline = true;
    t = depot_ask(f.d, &b, NULL, f.digest);
    cr_expect_not(t.manifest, "b/c never had it");
    expect_requests(&f.d->hub, 1, 1, "the registry was not asked");
    teardown(&f);
}

// --- what is not believed ---

static void scribble(struct fixture *f) {
    char *path = depot_file(f->d, f->digest);
    cr_assert_not_null(path, "there is a file");
    chmod(path, 0600);
    int fd = open(path, O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, "{ ", 2, 0), 2);
    close(fd);
    free(path);
}

Test(manifest_store, an_altered_file_is_not_served) {
    struct fixture f = setup();
    pull(&f);
    depot_restart(f.d);
    scribble(&f);
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_MISS, "fetched again");
    depot_await_held(f.d, &f.place, f.digest);
    sleep(1);
    depot_restart(f.d);
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_HIT, "and mended");
    depot_restart(f.d);
    scribble(&f);
    f.d->hub.mood = MOOD_500;
    struct told t = depot_ask(f.d, &f.place, NULL, f.digest);
    cr_expect_not(t.manifest, "never the altered bytes, by digest either");
    teardown(&f);
}

Test(manifest_store, a_refused_document_is_not_kept) {
    struct fixture f = setup();
    const char *bad = "{\"schemaVersion\":1}";
    char *digest = depot_digest(bad);
    hub_has(&f.d->hub, "a/b", "bad", bad);
    hub_has(&f.d->hub, "a/b", digest, bad);
    struct told t = depot_ask(f.d, &f.place, "bad", NULL);
    cr_expect(t.manifest && t.verdict != DOCUMENT_OK, "refused");
    told_free(&t);
    usleep(300 * 1000);
    struct store_facts facts;
    store_look(f.d->store, "test", "a/b", digest, &facts);
    cr_expect_null(facts.piece, "not kept");
    piece_unref(facts.piece);
    t = depot_ask(f.d, &f.place, NULL, digest);
    cr_expect(t.manifest && t.verdict != DOCUMENT_OK, "still refused, by digest");
    told_free(&t);
    free(digest);
    teardown(&f);
}

Test(manifest_store, nothing_is_kept_without_a_store) {
    struct fixture f = setup();
    struct content *c = content_new(f.d->fetcher, NULL), *kept = f.d->content;
    f.d->content = c;
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_MISS, "fetched");
    expect_manifest(depot_ask(f.d, &f.place, "v1", NULL), f.body, SOURCE_HIT, "confirmed by HEAD");
    expect_manifest(depot_ask(f.d, &f.place, NULL, f.digest), f.body, SOURCE_HIT, "a moment ago");
    expect_requests(&f.d->hub, 2, 1, "each tag is asked about");
    f.d->hub.mood = MOOD_500;
    struct told t = depot_ask(f.d, &f.place, "v1", NULL);
    cr_expect_not(t.manifest, "and nothing is stale");
    cr_expect(content_load_links(c, "test", "a/b", NULL, NULL), "there is nothing to load");
    f.d->content = kept;
    content_free(c);
    teardown(&f);
}
