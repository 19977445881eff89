// SPDX-License-Identifier: Apache-2.0
//
// Links: what an allowed tag leads to, through indexes, manifests and subjects, and that nobody can make the walk long.

#include "mirrors/base/clock.h"
#include "mirrors/content/links.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define R "docker.io", "acme/app"

static atomic_llong now_ms = 1000;

// In place of the real one: time passes when a test says so.
int64_t clock_ms(void) {
    return atomic_load(&now_ms);
}

struct text {
    char s[DIGEST_TEXT_MAX + 1];
};

static struct text text_of(unsigned n) {
    struct text t;
    snprintf(t.s, sizeof t.s, "sha256:%064x", n);
    return t;
}

// The digest with this number, for the length of a statement.
#define dig(n) (text_of(n).s)

static void read_document(struct links *l, unsigned n, enum document_kind kind, enum descriptor_role role,
                          unsigned first, size_t count, const char *subject) {
    struct document d = {.kind = kind, .count = count, .descriptors = calloc(count + 1, sizeof(struct descriptor))};
    for (size_t i = 0; i < count; i++) {
        d.descriptors[i].role = role;
        snprintf(d.descriptors[i].digest, sizeof d.descriptors[i].digest, "%s", dig(first + (unsigned)i));
    }
    snprintf(d.subject, sizeof d.subject, "%s", subject == NULL ? "" : subject);
    links_document(l, R, dig(n), &d);
    free(d.descriptors);
}

static void read_index(struct links *l, unsigned n, unsigned first, size_t count) {
    read_document(l, n, DOCUMENT_INDEX, ROLE_MANIFEST, first, count, NULL);
}

static void read_manifest(struct links *l, unsigned n, unsigned first, size_t count) {
    read_document(l, n, DOCUMENT_MANIFEST, ROLE_LAYER, first, count, NULL);
}

struct allowed {
    const char *prefix;
    size_t asked;
    char led_to[DIGEST_TEXT_MAX + 1]; // By the tag that was asked about last.
};

static bool by_prefix(void *ctx, const char *tag, const char *led_to) {
    struct allowed *a = ctx;
    snprintf(a->led_to, sizeof a->led_to, "%s", led_to);
    a->asked++;
    return strncmp(tag, a->prefix, strlen(a->prefix)) == 0;
}

// Who allows the tags with a prefix, for the length of a statement.
#define asking(a) (&(struct links_asker){.tag_allowed = by_prefix, .ctx = (a)})

static bool reach(struct links *l, unsigned n, const char *prefix) {
    struct allowed a = {.prefix = prefix};
    return links_reach(l, R, dig(n), asking(&a), NULL);
}

// The tag v1 leads to index 1 with manifests 10 and 11, these to layers 100.. and 200..; the tag dev to manifest 20.
static struct links *multi_arch(void) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, "v1", dig(1));
    read_index(l, 1, 10, 2);
    read_manifest(l, 10, 100, 3);
    read_manifest(l, 11, 200, 3);
    links_tag(l, R, "dev", dig(20));
    read_manifest(l, 20, 300, 2);
    read_document(l, 30, DOCUMENT_MANIFEST, ROLE_LAYER, 400, 1, dig(10));
    read_manifest(l, 40, 100, 1);
    return l;
}

Test(links, reach) {
    static const struct {
        unsigned digest;
        const char *prefix;
        bool found;
        const char *why;
    } rows[] = {
        {1, "v", true, "the digest of the tag itself"},
        {10, "v", true, "a child of its index"},
        {11, "v", true, "the other child"},
        {202, "v", true, "a layer: tag, index, manifest, layer"},
        {30, "v", true, "a referrer, through its subject"},
        {400, "v", true, "a referrer's layer"},
        {20, "v", false, "another tag's manifest"},
        {300, "v", false, "another tag's layer"},
        {300, "dev", true, "that tag is allowed"},
        {1, "x", false, "no allowed tag"},
        {40, "v", false, "naming what is allowed makes nothing allowed"},
        {999, "v", false, "never seen"},
    };
    struct links *l = multi_arch();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(reach(l, rows[i].digest, rows[i].prefix), rows[i].found, "%u by %s: %s", rows[i].digest,
                     rows[i].prefix, rows[i].why);
    struct allowed a = {.prefix = "v"};
    char tag[129];
    cr_expect(links_reach(l, R, dig(100), asking(&a), tag));
    cr_expect_str_eq(tag, "v1", "the tag that was found");
    cr_expect_not(links_reach(l, "docker.io", "acme/other", dig(1), asking(&a), NULL), "another repository");
    cr_expect_not(links_reach(l, "ghcr.io", "acme/app", dig(1), asking(&a), NULL), "another registry");
    cr_expect_not(links_reach(l, R, "v1", asking(&a), NULL), "a tag is no digest");
    links_free(l);
}

Test(links, a_moved_tag_keeps_its_earlier_digest) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, "v1", dig(1));
    links_tag(l, R, "v1", dig(2));
    links_tag(l, R, "v1", dig(1));
    cr_expect(reach(l, 1, "v"));
    cr_expect(reach(l, 2, "v"));
    links_free(l);
}

Test(links, a_listed_referrer_is_under_its_subject) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, "v1", dig(1));
    links_referrer(l, R, dig(1), dig(5));
    cr_expect(reach(l, 5, "v"));
    cr_expect_not(reach(l, 5, "dev"));
    links_free(l);
}

Test(links, odd_names_are_not_learned) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, dig(7), dig(1));
    links_tag(l, R, "", dig(1));
    links_tag(l, R, "v1", "v2");
    links_referrer(l, R, "v1", dig(1));
    cr_expect_not(reach(l, 1, ""), "no tag that could be a digest, no digest that could be a tag");
    static char long_name[1000];
    memset(long_name, 'a', sizeof long_name - 1);
    links_tag(l, "docker.io", long_name, "v1", dig(1));
    links_tag(l, R, long_name, dig(1));
    links_skip(l, "docker.io", long_name, dig(1));
    struct allowed a = {.prefix = ""};
    cr_expect_not(links_reach(l, "docker.io", long_name, dig(1), asking(&a), NULL));
    links_free(l);
}

Test(links, circles_end) {
    struct links *l = links_new(NULL, NULL);
    read_index(l, 1, 2, 1);
    read_index(l, 2, 3, 1);
    read_index(l, 3, 1, 1);
    read_document(l, 4, DOCUMENT_MANIFEST, ROLE_LAYER, 4, 1, dig(4));
    cr_expect_not(reach(l, 1, ""), "a circle without a tag");
    cr_expect_not(reach(l, 4, ""), "what names itself");
    links_tag(l, R, "v1", dig(2));
    cr_expect(reach(l, 1, "v"), "a circle with one");
    struct links_unread out;
    struct allowed a = {.prefix = ""};
    links_unread(l, R, asking(&a), &out);
    cr_expect_eq(out.count, 0u, "everything was read");
    links_free(l);
}

Test(links, depth_is_bounded) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, "v1", dig(0));
    for (unsigned i = 0; i < 20; i++)
        read_index(l, i, i + 1, 1);
    cr_expect(reach(l, LINKS_DEPTH_MAX - 1, "v"), "as deep as it goes");
    cr_expect_not(reach(l, LINKS_DEPTH_MAX, "v"), "and no deeper");
    links_free(l);
}

// One layer that 100,000 manifests name, and a tag on the first of them only.
Test(links, a_digest_that_everybody_names) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, "v1", dig(1000));
    for (unsigned i = 0; i < 100000; i++)
        read_manifest(l, 1000 + i, 1, 1);
    struct allowed a = {.prefix = "v"};
    cr_expect_not(links_reach(l, R, dig(1), asking(&a), NULL), "past the bound there is no link");
    cr_expect_eq(a.asked, 0u);
    links_tag(l, R, "v2", dig(1000 + 99999));
    cr_expect(links_reach(l, R, dig(1), asking(&a), NULL), "the newest come first");
    links_free(l);
}

Test(links, candidate_tags_are_bounded) {
    struct links *l = links_new(NULL, NULL);
    char tag[32];
    for (int i = 0; i < 3 * LINKS_CANDIDATES_MAX; i++) {
        snprintf(tag, sizeof tag, "ci-%d", i);
        links_tag(l, R, tag, dig(1));
    }
    struct allowed a = {.prefix = "v"};
    cr_expect_not(links_reach(l, R, dig(1), asking(&a), NULL));
    cr_expect_eq(a.asked, (size_t)LINKS_CANDIDATES_MAX);
    links_tag(l, R, "v1", dig(1));
    cr_expect(links_reach(l, R, dig(1), asking(&a), NULL), "the newest come first");
    links_free(l);
}

Test(links, a_full_repository_starts_anew) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, "v1", dig(1));
    read_manifest(l, 1, 10, 1);
    for (unsigned i = 0; i * 10000 < LINKS_REPOSITORY_EDGES_MAX; i++)
        read_manifest(l, 1000000 + i, 2000000 + 10000 * i, 10000);
    cr_expect_not(reach(l, 10, "v"), "forgotten");
    links_tag(l, R, "v1", dig(1));
    read_manifest(l, 1, 10, 1);
    cr_expect(reach(l, 10, "v"), "and learned again");
    links_free(l);
}

Test(links, the_oldest_repositories_are_forgotten) {
    struct links *l = links_new(NULL, NULL);
    char name[32];
    for (int i = 0; i < LINKS_REPOSITORIES_MAX + 10; i++) {
        snprintf(name, sizeof name, "acme/r%d", i);
        links_tag(l, "docker.io", name, "v1", dig(1));
    }
    struct allowed a = {.prefix = "v"};
    cr_expect_not(links_reach(l, "docker.io", "acme/r0", dig(1), asking(&a), NULL), "the oldest");
    cr_expect(links_reach(l, "docker.io", "acme/r10", dig(1), asking(&a), NULL), "the oldest that is kept");
    cr_expect(links_reach(l, "docker.io", name, dig(1), asking(&a), NULL), "the newest");
    links_free(l);
}

static bool has(const struct links_unread *u, unsigned n) {
    for (size_t i = 0; i < u->count; i++)
        if (strcmp(u->digest[i], dig(n)) == 0)
            return true;
    return false;
}

Test(links, unread) {
    struct links *l = links_new(NULL, NULL);
    struct links_unread u;
    struct allowed v = {.prefix = "v"}, dev = {.prefix = "dev"};
    links_unread(l, R, asking(&v), &u);
    cr_expect_eq(u.count, 0u, "nothing is known");
    links_tag(l, R, "v1", dig(1));
    links_unread(l, R, asking(&v), &u);
    cr_expect_eq(u.count, 0u, "the tag's own document is not proposed");
    read_index(l, 1, 10, 3);
    links_unread(l, R, asking(&v), &u);
    cr_expect(u.count == 3 && has(&u, 10) && has(&u, 11) && has(&u, 12), "the index's children");
    cr_expect_str_eq(u.digest[0], dig(10), "in the index's order");
    links_unread(l, R, asking(&dev), &u);
    cr_expect_eq(u.count, 0u, "not for tags that are not allowed");
    read_manifest(l, 10, 100, 2);
    links_unread(l, R, asking(&v), &u);
    cr_expect(u.count == 2 && !has(&u, 10), "one was read, and its layers are no documents");
    links_skip(l, R, dig(11));
    links_unread(l, R, asking(&v), &u);
    cr_expect(u.count == 1 && has(&u, 12), "one was skipped");
    links_tag(l, R, "dev", dig(1));
    links_unread(l, R, asking(&dev), &u);
    cr_expect(u.count == 2 && has(&u, 11) && has(&u, 12), "another tag led to the index: its skipped child again");
    links_skip(l, R, dig(11));
    read_index(l, 12, 50, 1);
    links_unread(l, R, asking(&v), &u);
    cr_expect(u.count == 1 && has(&u, 50), "an index in an index");
    links_skip(l, R, dig(50));
    links_skip(l, R, dig(50));
    links_skip(l, R, dig(12345));
    v.asked = 0;
    links_unread(l, R, asking(&v), &u);
    cr_expect_eq(u.count, 0u, "nothing is left");
    cr_expect_eq(v.asked, 0u, "and then no tag is asked about");
    links_free(l);
}

Test(links, unread_is_bounded) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, "v1", dig(1));
    read_index(l, 1, 1000, 200);
    links_tag(l, R, "dev", dig(2));
    read_index(l, 2, 100000, 10000);
    struct links_unread u;
    struct allowed a = {.prefix = "v"};
    links_unread(l, R, asking(&a), &u);
    cr_expect_eq(u.count, (size_t)LINKS_UNREAD_MAX, "a large index of a refused tag does not crowd out another: %zu",
                 u.count);
    cr_expect(has(&u, 1000) && !has(&u, 100000));
    links_free(l);
}

Test(links, a_skipped_child_is_proposed_again) {
    struct links *l = multi_arch();
    struct allowed v = {.prefix = "v"};
    struct links_unread u;
    links_tag(l, R, "v2", dig(2));
    read_index(l, 2, 50, 1);
    links_skip(l, R, dig(50));
    links_unread(l, R, asking(&v), &u);
    cr_expect_eq(u.count, 0u, "just skipped");
    atomic_fetch_add(&now_ms, LINKS_SKIP_S * 1000 - 1);
    links_unread(l, R, asking(&v), &u);
    cr_expect_eq(u.count, 0u, "still skipped");
    atomic_fetch_add(&now_ms, 1);
    links_unread(l, R, asking(&v), &u);
    cr_expect(u.count == 1 && has(&u, 50), "after a while it is tried again");
    links_skip(l, R, dig(50));
    links_tag(l, R, "v1", dig(1));
    links_unread(l, R, asking(&v), &u);
    cr_expect_eq(u.count, 0u, "another tag's news change nothing");
    links_tag(l, R, "v2", dig(2));
    links_unread(l, R, asking(&v), &u);
    cr_expect(u.count == 1 && has(&u, 50), "the tag led to its index anew");
    links_skip(l, R, dig(50));
    links_unread(l, R, asking(&v), &u);
    cr_expect_eq(u.count, 0u, "and it failed again");
    links_free(l);
}

Test(links, what_a_tag_led_to) {
    struct links *l = multi_arch();
    links_tag(l, R, "v2", dig(2));
    read_index(l, 2, 60, 1);
    struct allowed v = {.prefix = "v"};
    struct links_unread u;
    cr_expect(links_reach(l, R, dig(202), asking(&v), NULL));
    cr_expect_str_eq(v.led_to, dig(1), "the tag's own digest, not what is under it");
    links_unread(l, R, asking(&v), &u);
    cr_expect_eq(u.count, 1u);
    cr_expect_str_eq(v.led_to, dig(2));
    links_free(l);
}

// As multi_arch(), with a layer 500 in a referrer of either child, and another digest of the same tag.
Test(links, nothing_is_reached_through_a_denied_digest) {
    static const struct {
        unsigned denied, digest;
        bool found;
        const char *why;
    } cases[] = {
        {10, 100, false, "a layer that only the denied child names"},
        {10, 30, false, "a referrer of the denied child"},
        {10, 200, true, "a layer of its sibling"},
        {10, 500, true, "a layer that the sibling names, too"},
        {1, 200, false, "everything under a denied index"},
        {1, 500, false, "by every way"},
        {77, 100, true, "a digest that is nowhere"},
    };
    struct links *l = multi_arch();
    links_tag(l, R, "v1", dig(3));
    read_index(l, 3, 9, 1);
    read_document(l, 9, DOCUMENT_MANIFEST, ROLE_LAYER, 900, 1, NULL);
    read_document(l, 12, DOCUMENT_MANIFEST, ROLE_LAYER, 500, 1, dig(10));
    read_document(l, 13, DOCUMENT_MANIFEST, ROLE_LAYER, 500, 1, dig(11));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct allowed a = {.prefix = "v"};
        struct text first = text_of(0), denied = text_of(cases[i].denied), last = text_of(0xffffffff);
        const char *const list[] = {first.s, denied.s, last.s};
        struct links_asker asker = {.tag_allowed = by_prefix, .ctx = &a, .denied = list, .denied_count = 3};
        cr_expect_eq(links_reach(l, R, dig(cases[i].digest), &asker, NULL), cases[i].found, "%s", cases[i].why);
        cr_expect(links_reach(l, R, dig(900), &asker, NULL), "the same tag's other digest: %s", cases[i].why);
    }
    links_free(l);
}

Test(links, unread_leaves_out_what_is_denied) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, "v1", dig(1));
    read_index(l, 1, 10, 3);
    read_index(l, 11, 50, 1);
    struct allowed a = {.prefix = "v"};
    struct text ten = text_of(10), eleven = text_of(11), one = text_of(1);
    const char *const children[] = {ten.s, eleven.s}, *const index[] = {one.s};
    struct links_asker asker = {.tag_allowed = by_prefix, .ctx = &a, .denied = children, .denied_count = 2};
    struct links_unread u;
    links_unread(l, R, &asker, &u);
    cr_expect(u.count == 1 && has(&u, 12), "neither a denied child nor what a denied index names");
    asker.denied = index;
    asker.denied_count = 1;
    links_unread(l, R, &asker, &u);
    cr_expect_eq(u.count, 0u, "nor anything of a denied index that a tag led to");
    links_free(l);
}

// Many questions for one request: a layer below a thousand manifests without a tag, and one with.
Test(links, questions_share_their_steps) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, R, "v1", dig(5000));
    read_manifest(l, 5000, 2, 1);
    read_index(l, 6000, 7000, 1);
    links_tag(l, R, "v1", dig(6000));
    for (unsigned i = 0; i < 1000; i++)
        read_manifest(l, 10000 + i, 1, 1);
    size_t steps = LINKS_REQUEST_STEPS_MAX, before = steps;
    struct allowed a = {.prefix = "v"};
    struct links_asker asker = {.tag_allowed = by_prefix, .ctx = &a, .steps = &steps};
    struct links_unread u;
    cr_expect_not(links_reach(l, R, dig(1), &asker, NULL));
    cr_expect_eq(before - steps, 1001u, "every edge is a step, and the question: %zu", before - steps);
    before = steps;
    cr_expect(links_reach(l, R, dig(2), &asker, NULL));
    cr_expect_eq(before - steps, 4u, "the question, two edges and a tag: %zu", before - steps);
    before = steps;
    links_unread(l, R, &asker, &u);
    cr_expect(u.count == 1 && steps < before, "reading on costs steps, too");
    int questions = 0;
    for (; steps > 0 && questions < 10000; questions++)
        links_reach(l, R, dig(1), &asker, NULL);
    cr_expect(questions > 100 && questions < 300, "%d", questions);
    a.asked = 0;
    cr_expect_not(links_reach(l, R, dig(2), &asker, NULL), "used up: there is no link");
    links_unread(l, R, &asker, &u);
    cr_expect_eq(u.count, 0u, "nor anything to read");
    cr_expect(a.asked == 0 && steps == 0, "and nobody is asked");
    asker.steps = NULL;
    cr_expect(links_reach(l, R, dig(2), &asker, NULL), "another request has its own");
    links_free(l);
}

// The callback may ask again: that must not deadlock.
struct again {
    struct links *l;
    int depth;
};

static bool ask_again(void *ctx, const char *tag, const char *led_to) {
    struct again *a = ctx;
    if (++a->depth >= 3)
        return true;
    const struct links_asker asker = {.tag_allowed = ask_again, .ctx = a};
    return links_reach(a->l, R, dig(1), &asker, NULL);
}

Test(links, the_callback_may_ask_again, .timeout = 20) {
    struct again a = {.l = links_new(NULL, NULL)};
    links_tag(a.l, R, "v1", dig(1));
    const struct links_asker asker = {.tag_allowed = ask_again, .ctx = &a};
    cr_expect(links_reach(a.l, R, dig(1), &asker, NULL));
    links_free(a.l);
}

static void *work(void *ctx) {
    struct links *l = ctx;
    struct allowed a = {.prefix = "v"};
    struct links_unread u;
    for (unsigned i = 0; i < 500; i++) {
        links_tag(l, R, "v1", dig(i));
        read_index(l, i, i + 1000, 3);
        links_reach(l, R, dig(i + 1000), asking(&a), NULL);
        links_unread(l, R, asking(&a), &u);
        links_skip(l, R, dig(i + 1001));
    }
    return NULL;
}

Test(links, threads) {
    struct links *l = links_new(NULL, NULL);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, work, l);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_expect(reach(l, 1000 + 499, "v"));
    links_free(l);
}

// --- what is kept of them ---

struct kept_edge {
    char parent[DIGEST_TEXT_MAX + 1], child[DIGEST_TEXT_MAX + 1];
    unsigned flags;
};

struct kept {
    struct kept_edge edges[64];
    size_t count;
};

static void keep(void *ctx, const char *registry, const char *repository, const char *parent, const char *child,
                 unsigned flags) {
    struct kept *k = ctx;
    cr_expect_str_eq(registry, "docker.io");
    cr_expect_str_eq(repository, "a/b");
    cr_assert_lt(k->count, 64);
    struct kept_edge *e = &k->edges[k->count++];
    snprintf(e->parent, sizeof e->parent, "%s", parent);
    snprintf(e->child, sizeof e->child, "%s", child);
    e->flags = flags;
}

static bool kept_has(const struct kept *k, const char *parent, const char *child, unsigned flags) {
    for (size_t i = 0; i < k->count; i++)
        if (strcmp(k->edges[i].parent, parent) == 0 && strcmp(k->edges[i].child, child) == 0 &&
            k->edges[i].flags == flags)
            return true;
    return false;
}

static bool yes(void *ctx, const char *tag, const char *led_to) {
    (void)ctx, (void)tag, (void)led_to;
    return true;
}

static const struct links_asker everyone = {.tag_allowed = yes};

/// An index of two manifests, of which one was read, and a referrer.
static void teach(struct links *l) {
    struct descriptor of_index[] = {{.role = ROLE_MANIFEST, .digest = "sha256:m1"},
                                    {.role = ROLE_MANIFEST, .digest = "sha256:m2"}};
    struct descriptor of_m1[] = {{.role = ROLE_CONFIG, .digest = "sha256:c1"},
                                 {.role = ROLE_LAYER, .digest = "sha256:l1"}};
    struct descriptor of_s[] = {{.role = ROLE_LAYER, .digest = "sha256:sl"}};
    struct document index = {.kind = DOCUMENT_INDEX, .descriptors = of_index, .count = 2};
    struct document m1 = {.kind = DOCUMENT_MANIFEST, .descriptors = of_m1, .count = 2};
    struct document s = {.kind = DOCUMENT_MANIFEST, .descriptors = of_s, .count = 1, .subject = "sha256:m1"};
    links_tag(l, "docker.io", "a/b", "v1", "sha256:i");
    links_document(l, "docker.io", "a/b", "sha256:i", &index);
    links_document(l, "docker.io", "a/b", "sha256:m1", &m1);
    links_referrer(l, "docker.io", "a/b", "sha256:m1", "sha256:s");
    links_document(l, "docker.io", "a/b", "sha256:s", &s);
}

static struct links *reload(const struct kept *k, struct kept *news) {
    struct links *l = links_new(keep, news);
    for (size_t i = 0; i < k->count; i++)
        links_load(l, "docker.io", "a/b", k->edges[i].parent, k->edges[i].child, k->edges[i].flags);
    links_loaded(l, "docker.io", "a/b");
    return l;
}

Test(links, what_is_new_is_told_once) {
    struct kept k = {0};
    struct links *l = links_new(keep, &k);
    teach(l);
    cr_expect(kept_has(&k, "v1", "sha256:i", 0), "a tag");
    cr_expect(kept_has(&k, "sha256:i", "sha256:m1", LINKS_DOCUMENT | LINKS_LISTED), "an index's manifest");
    cr_expect(kept_has(&k, "sha256:m1", "sha256:l1", LINKS_DOCUMENT), "a layer");
    cr_expect(kept_has(&k, "sha256:m1", "sha256:s", LINKS_SUBJECT), "a referrer that was listed");
    cr_expect(kept_has(&k, "sha256:m1", "sha256:s", LINKS_SUBJECT | LINKS_READ_CHILD), "and says so itself");
    size_t count = k.count;
    teach(l);
    cr_expect_eq(k.count, count, "nothing is new the second time");
    links_free(l);
}

Test(links, what_was_kept_is_as_before) {
    struct kept k = {0}, news = {0};
    struct links *first = links_new(keep, &k);
    teach(first);
    links_free(first);
    struct links *l = reload(&k, &news);
    cr_expect(links_is_loaded(l, "docker.io", "a/b"));
    cr_expect_not(links_is_loaded(l, "docker.io", "a/c"), "another repository");
    const char *const reached[] = {"sha256:i",  "sha256:m1", "sha256:m2", "sha256:c1",
                                   "sha256:l1", "sha256:s",  "sha256:sl"};
    for (size_t i = 0; i < sizeof reached / sizeof *reached; i++)
        cr_expect(links_reach(l, "docker.io", "a/b", reached[i], &everyone, NULL), "%s", reached[i]);
    struct links_unread unread;
    links_unread(l, "docker.io", "a/b", &everyone, &unread);
    cr_expect_eq(unread.count, 1, "what was not read still waits");
    cr_expect_str_eq(unread.digest[0], "sha256:m2");
    cr_expect_eq(news.count, 0, "loading is no news");
    teach(l);
    cr_expect_eq(news.count, 0, "nor is what was kept: %zu", news.count);
    links_free(l);
}

Test(links, a_part_that_was_lost_is_learned_again) {
    struct kept k = {0}, news = {0};
    struct links *first = links_new(keep, &k);
    teach(first);
    links_free(first);
    for (size_t i = 0; i < k.count; i++)
        if (strcmp(k.edges[i].child, "sha256:l1") == 0)
            k.edges[i] = k.edges[--k.count];
    struct links *l = reload(&k, &news);
    cr_expect_not(links_reach(l, "docker.io", "a/b", "sha256:l1", &everyone, NULL), "lost");
    teach(l);
    cr_expect(links_reach(l, "docker.io", "a/b", "sha256:l1", &everyone, NULL), "learned again");
    cr_expect_eq(news.count, 1, "and only that is news");
    links_free(l);
}

static const struct {
    const char *why, *parent, *child;
    unsigned flags;
} strange[] = {
    {"a tag as a child", "v1", "v2", 0},
    {"a tag that names by document", "v1", "sha256:x", LINKS_DOCUMENT},
    {"a digest as a tag", "sha256:y", "sha256:x", 0},
    {"nothing", "", "sha256:x", 0},
};

Test(links, a_strange_index_teaches_nothing) {
    struct links *l = links_new(NULL, NULL);
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        links_load(l, "docker.io", "a/b", strange[i].parent, strange[i].child, strange[i].flags);
        cr_expect_not(links_reach(l, "docker.io", "a/b", "sha256:x", &everyone, NULL), "%s", strange[i].why);
    }
    links_free(l);
}
