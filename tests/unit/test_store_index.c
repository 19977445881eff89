// SPDX-License-Identifier: Apache-2.0
//
// The index: what is written is found again, whatever its names; a batch is there whole or not at all; one connection
// writes while others read.

#include "index_bed.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(store_index, .init = bed_enter, .fini = bed_leave);

static int64_t confirmed(struct index *i, const char *registry, const char *repository, const char *digest) {
    int64_t at = -1;
    char media_type[MEDIA_TYPE_MAX + 1];
    enum index_result r = index_confirmed(i, registry, repository, digest, &at, media_type);
    cr_assert(r == INDEX_OK || r == INDEX_NOTHING, "%s", index_error(i));
    cr_assert_eq(r == INDEX_NOTHING, at == 0);
    return at;
}

static bool delivered(struct index *i, const char *registry, const char *digest) {
    bool yes = false;
    cr_assert_leq(index_delivered(i, registry, digest, &yes), INDEX_NOTHING);
    return yes;
}

static struct index_sums sums(struct index *i) {
    struct index_sums s;
    cr_assert_eq(index_sum(i, &s), INDEX_OK, "%s", index_error(i));
    return s;
}

// What callbacks were given, one line each.
struct lines {
    char text[8192];
    size_t count, max; // `max` 0: all.
};

static bool add_line(struct lines *l, const char *line) {
    size_t len = strlen(l->text);
    snprintf(l->text + len, sizeof l->text - len, "%s\n", line);
    return ++l->count != l->max;
}

static bool add_holder(void *ctx, const char *registry, const char *repository, const char *tag) {
    char line[1024];
    snprintf(line, sizeof line, "%s/%s:%s", registry, repository, tag);
    return add_line(ctx, line);
}

static void add_edge(void *ctx, const struct store_edge *e) {
    char line[1024];
    snprintf(line, sizeof line, "%.15s>%.15s %u", e->parent, e->child, e->flags);
    add_line(ctx, line);
}

static bool add_item(void *ctx, const struct store_item *i) {
    char line[1024];
    snprintf(line, sizeof line, "%.15s %lld %llu %lld %lld %s/%s:%s %s", i->digest, (long long)i->size,
             (unsigned long long)i->disk, (long long)i->used, (long long)i->added, i->registry, i->repository, i->tag,
             i->media_type);
    return add_line(ctx, line);
}

static bool add_content(void *ctx, const char *digest, const struct index_content *c) {
    char line[1024];
    snprintf(line, sizeof line, "%.15s %llu", digest, (unsigned long long)c->size);
    return add_line(ctx, line);
}

// --- what is written is found ---

Test(store_index, content_is_held_used_and_dropped) {
    struct index *i = open_ok(INDEX_WRITE, false);
    struct index_content c;
    cr_expect_eq(index_content(i, dig(1), &c), INDEX_NOTHING);
    apply(i, {.kind = NOTE_CONTENT, .digest = dig(1), .size = 10, .disk = 4096, .time = 100},
          {.kind = NOTE_CONTENT, .digest = dig(2), .size = 0, .disk = 0, .time = 50});
    cr_expect_eq(index_content(i, dig(1), &c), INDEX_OK);
    cr_expect(c.size == 10 && c.disk == 4096 && c.used == 100 && c.added == 100);
    apply(i, {.kind = NOTE_USED, .digest = dig(1), .time = 200}, {.kind = NOTE_USED, .digest = dig(1), .time = 150},
          {.kind = NOTE_USED, .digest = dig(9), .time = 1});
    cr_expect_eq(index_content(i, dig(1), &c), INDEX_OK);
    cr_expect(c.used == 200 && c.added == 100, "use goes forward only");
    cr_expect_eq(index_content(i, dig(9), &c), INDEX_NOTHING, "use does not make content");
    apply(i, {.kind = NOTE_CONTENT, .digest = dig(1), .size = 10, .disk = 8192, .time = 300});
    struct index_sums s = sums(i);
    cr_expect(s.pieces == 2 && s.disk == 8192, "what is written again counts once");
    apply(i, {.kind = NOTE_DROPPED, .digest = dig(1)}, {.kind = NOTE_DROPPED, .digest = dig(1)});
    s = sums(i);
    cr_expect(s.pieces == 1 && s.disk == 0);
    cr_expect_eq(index_content(i, dig(1), &c), INDEX_NOTHING);
    index_close(i);
}

Test(store_index, confirmations_belong_to_one_repository) {
    struct index *i = open_ok(INDEX_WRITE, false);
    char type[MEDIA_TYPE_MAX + 1];
    int64_t at = 0;
    apply(i, {.kind = NOTE_CONFIRMED,
              .registry = HUB,
              .repository = "a/b",
              .digest = dig(1),
              .media_type = MANIFEST,
              .time = 100});
    cr_expect_eq(confirmed(i, HUB, "a/b", dig(1)), 100);
    cr_expect_eq(confirmed(i, HUB, "a/c", dig(1)), 0, "not another repository's");
    cr_expect_eq(confirmed(i, "quay.io", "a/b", dig(1)), 0, "not another registry's");
    cr_expect_eq(confirmed(i, HUB, "a/b", dig(2)), 0);
    apply(i, {.kind = NOTE_CONFIRMED,
              .registry = HUB,
              .repository = "a/b",
              .digest = dig(1),
              .media_type = "",
              .time = 200});
    cr_expect_eq(index_confirmed(i, HUB, "a/b", dig(1), &at, type), INDEX_OK);
    cr_expect(at == 200 && strcmp(type, MANIFEST) == 0, "a media type stays until there is another");
    apply(i, {.kind = NOTE_CONFIRMED,
              .registry = HUB,
              .repository = "a/b",
              .digest = dig(1),
              .media_type = "x/y",
              .time = 300});
    cr_expect_eq(index_confirmed(i, HUB, "a/b", dig(1), &at, type), INDEX_OK);
    cr_expect_str_eq(type, "x/y");
    apply(i, {.kind = NOTE_GONE, .registry = HUB, .repository = "a/b", .digest = dig(1)},
          {.kind = NOTE_GONE, .registry = HUB, .repository = "never/seen", .digest = dig(1)});
    cr_expect_eq(confirmed(i, HUB, "a/b", dig(1)), 0);
    cr_expect_eq(sums(i).repositories, 1, "what is gone makes no repository");
    index_close(i);
}

Test(store_index, delivered_belongs_to_a_registry) {
    struct index *i = open_ok(INDEX_WRITE, false);
    apply(i, {.kind = NOTE_DELIVERED, .registry = HUB, .digest = dig(1)},
          {.kind = NOTE_DELIVERED, .registry = HUB, .digest = dig(1)});
    cr_expect(delivered(i, HUB, dig(1)));
    cr_expect_not(delivered(i, "quay.io", dig(1)));
    cr_expect_not(delivered(i, HUB, dig(2)));
    cr_expect_eq(sums(i).repositories, 0, "a registry is no repository");
    index_close(i);
}

Test(store_index, tags_move_and_go) {
    struct index *i = open_ok(INDEX_WRITE, false);
    struct store_tag t;
    apply(i,
          {.kind = NOTE_TAG,
           .registry = HUB,
           .repository = "a/b",
           .tag = "v1",
           .digest = dig(1),
           .media_type = MANIFEST,
           .etag = "\"x\"",
           .time = 100},
          {.kind = NOTE_TAG, .registry = "quay.io", .repository = "a/b", .tag = "v1", .digest = dig(2), .time = 7});
    cr_expect_eq(index_tag(i, HUB, "a/b", "v1", &t), INDEX_OK);
    cr_expect(strcmp(t.digest, dig(1)) == 0 && strcmp(t.media_type, MANIFEST) == 0 && strcmp(t.etag, "\"x\"") == 0 &&
              t.confirmed == 100);
    cr_expect_eq(index_tag(i, "quay.io", "a/b", "v1", &t), INDEX_OK);
    cr_expect(strcmp(t.digest, dig(2)) == 0 && t.etag[0] == '\0', "two registries do not mix");
    cr_expect_eq(index_tag(i, HUB, "a/b", "V1", &t), INDEX_NOTHING, "case matters");
    apply(i, {.kind = NOTE_TAG, .registry = HUB, .repository = "a/b", .tag = "v1", .digest = dig(3), .time = 200});
    cr_expect_eq(index_tag(i, HUB, "a/b", "v1", &t), INDEX_OK);
    cr_expect(strcmp(t.digest, dig(3)) == 0 && t.media_type[0] == '\0' && t.confirmed == 200);
    cr_expect_eq(sums(i).tags, 2);
    apply(i, {.kind = NOTE_TAG_GONE, .registry = HUB, .repository = "a/b", .tag = "v1"});
    cr_expect_eq(index_tag(i, HUB, "a/b", "v1", &t), INDEX_NOTHING);
    cr_expect_eq(sums(i).tags, 1);
    index_close(i);
}

Test(store_index, edges_keep_their_order_and_join_their_flags) {
    struct index *i = open_ok(INDEX_WRITE, false);
    apply(i, {.kind = NOTE_EDGE, .registry = HUB, .repository = "a/b", .tag = "v1", .digest = dig(1)},
          {.kind = NOTE_EDGE, .registry = HUB, .repository = "a/b", .tag = dig(1), .digest = dig(2), .flags = 1},
          {.kind = NOTE_EDGE, .registry = HUB, .repository = "a/b", .tag = dig(0), .digest = dig(3), .flags = 255},
          {.kind = NOTE_EDGE, .registry = HUB, .repository = "other", .tag = dig(1), .digest = dig(4), .flags = 1},
          {.kind = NOTE_EDGE, .registry = HUB, .repository = "a/b", .tag = dig(1), .digest = dig(2), .flags = 4});
    struct lines l = {0}, none = {0};
    cr_expect_eq(index_edges(i, HUB, "a/b", add_edge, &l), INDEX_OK);
    char want[256];
    snprintf(want, sizeof want, "v1>%.15s 0\n%.15s>%.15s 5\n%.15s>%.15s 255\n", dig(1), dig(1), dig(2), dig(0), dig(3));
    cr_expect_str_eq(l.text, want);
    cr_expect_eq(index_edges(i, HUB, "nobody", add_edge, &none), INDEX_OK);
    cr_expect_eq(none.count, 0);
    index_close(i);
}

Test(store_index, a_repository_goes_with_all_it_knows) {
    struct index *i = open_ok(INDEX_WRITE, false);
    struct store_tag t;
    for (int other = 0; other < 2; other++) {
        const char *repository = other ? "a/bc" : "a/b";
        apply(i, {.kind = NOTE_TAG, .registry = HUB, .repository = repository, .tag = "v1", .digest = dig(1)},
              {.kind = NOTE_CONFIRMED, .registry = HUB, .repository = repository, .digest = dig(1), .time = 5},
              {.kind = NOTE_EDGE, .registry = HUB, .repository = repository, .tag = "v1", .digest = dig(1)});
    }
    apply(i, {.kind = NOTE_REPOSITORY_GONE, .registry = HUB, .repository = "a/b"},
          {.kind = NOTE_REPOSITORY_GONE, .registry = HUB, .repository = "a/b"});
    struct lines l = {0}, kept = {0};
    cr_expect_eq(index_edges(i, HUB, "a/b", add_edge, &l), INDEX_OK);
    cr_expect_eq(l.count, 0);
    cr_expect_eq(confirmed(i, HUB, "a/b", dig(1)), 0);
    cr_expect_eq(index_tag(i, HUB, "a/b", "v1", &t), INDEX_NOTHING);
    cr_expect_eq(index_edges(i, HUB, "a/bc", add_edge, &kept), INDEX_OK);
    cr_expect_eq(kept.count, 1);
    cr_expect_eq(confirmed(i, HUB, "a/bc", dig(1)), 5);
    struct index_sums s = sums(i);
    cr_expect(s.tags == 1 && s.repositories == 1);
    apply(i, {.kind = NOTE_CONFIRMED, .registry = HUB, .repository = "a/b", .digest = dig(2), .time = 6});
    cr_expect_eq(confirmed(i, HUB, "a/b", dig(1)), 0, "nothing comes back with the name");
    index_close(i);
}

// --- names and bounds ---

static char *repeat(char c, size_t count) {
    char *s = malloc(count + 1);
    memset(s, c, count);
    s[count] = '\0';
    return s;
}

Test(store_index, any_name_within_the_bounds_is_found_again) {
    const struct {
        const char *why;
        char *registry, *repository, *tag, *media_type, *etag;
    } rows[] = {
        {"quotes", strdup("it's.io"), strdup("a'b\"c"), strdup("v'1"), strdup("a/'b'"), strdup("\"e'\"")},
        {"percent signs and LIKE", strdup("%.io"), strdup("%s/%n_"), strdup("%"), strdup("%/%"), strdup("%00")},
        {"SQL", strdup("x');--"), strdup("'; DROP TABLE tag; --"), strdup("NULL"), strdup("1"), strdup("0x00")},
        {"bytes that are no UTF-8", strdup("\xff.io"), strdup("\xc3"), strdup("\x80"), strdup("\xfe"), strdup("\xff")},
        {"numbers stay text", strdup("1"), strdup("1e3"), strdup("007"), strdup("1.0"), strdup("-0")},
        {"the longest", repeat('r', REGISTRY_MAX), repeat('n', REPOSITORY_MAX), repeat('t', TAG_MAX),
         repeat('m', MEDIA_TYPE_MAX), repeat('e', STORE_ETAG_MAX)},
        {"no media type, no etag", strdup("r"), strdup("n"), strdup("t"), strdup(""), strdup("")},
    };
    char sha512[DIGEST_TEXT_MAX + 1];
    digest_of(DIGEST_SHA512, "x", 1, sha512);
    struct index *i = open_ok(INDEX_WRITE, false);
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct store_tag t;
        struct lines holders = {0};
        char type[MEDIA_TYPE_MAX + 1];
        int64_t at = 0;
        apply(i,
              {.kind = NOTE_TAG,
               .registry = rows[n].registry,
               .repository = rows[n].repository,
               .tag = rows[n].tag,
               .digest = sha512,
               .media_type = rows[n].media_type,
               .etag = rows[n].etag,
               .time = 9},
              {.kind = NOTE_CONFIRMED,
               .registry = rows[n].registry,
               .repository = rows[n].repository,
               .digest = sha512,
               .media_type = rows[n].media_type,
               .time = 8},
              {.kind = NOTE_EDGE,
               .registry = rows[n].registry,
               .repository = rows[n].repository,
               .tag = rows[n].tag,
               .digest = sha512,
               .flags = 1});
        cr_expect_eq(index_tag(i, rows[n].registry, rows[n].repository, rows[n].tag, &t), INDEX_OK, "%s", rows[n].why);
        cr_expect_str_eq(t.digest, sha512, "%s", rows[n].why);
        cr_expect_str_eq(t.media_type, rows[n].media_type, "%s", rows[n].why);
        cr_expect_str_eq(t.etag, rows[n].etag, "%s", rows[n].why);
        cr_expect_eq(index_confirmed(i, rows[n].registry, rows[n].repository, sha512, &at, type), INDEX_OK);
        cr_expect_str_eq(type, rows[n].media_type, "%s", rows[n].why);
        cr_expect_eq(index_edges(i, rows[n].registry, rows[n].repository, add_edge, &holders), INDEX_OK);
        cr_expect_eq(holders.count, 1, "%s", rows[n].why);
    }
    struct lines all = {0};
    cr_expect_eq(index_list(i, false, add_item, &all), INDEX_OK);
    cr_expect_eq(all.count, sizeof rows / sizeof *rows);
    index_close(i);
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        free(rows[n].registry), free(rows[n].repository), free(rows[n].tag);
        free(rows[n].media_type), free(rows[n].etag);
    }
}

Test(store_index, a_note_past_the_bounds_fails_its_whole_batch) {
    char *long_registry = repeat('r', REGISTRY_MAX + 1), *long_repository = repeat('n', REPOSITORY_MAX + 1);
    char *long_tag = repeat('t', TAG_MAX + 1), *long_type = repeat('m', MEDIA_TYPE_MAX + 1);
    char *long_etag = repeat('e', STORE_ETAG_MAX + 1);
    struct text d = text_of(1);
    const struct {
        const char *why;
        struct index_note note;
    } rows[] = {
        {"no digest", {.kind = NOTE_CONTENT, .digest = "sha256:12"}},
        {"upper case", {.kind = NOTE_DROPPED, .digest = "sha256:ABCDEF"}},
        {"a digest is missing", {.kind = NOTE_USED}},
        {"size", {.kind = NOTE_CONTENT, .digest = d.s, .size = UINT64_MAX}},
        {"disk", {.kind = NOTE_CONTENT, .digest = d.s, .disk = UINT64_C(1) << 60}},
        {"registry", {.kind = NOTE_DELIVERED, .registry = long_registry, .digest = d.s}},
        {"no registry", {.kind = NOTE_DELIVERED, .registry = "", .digest = d.s}},
        {"repository", {.kind = NOTE_GONE, .registry = HUB, .repository = long_repository, .digest = d.s}},
        {"no repository", {.kind = NOTE_REPOSITORY_GONE, .registry = HUB, .repository = ""}},
        {"tag", {.kind = NOTE_TAG, .registry = HUB, .repository = "a", .tag = long_tag, .digest = d.s}},
        {"a tag with a colon", {.kind = NOTE_TAG_GONE, .registry = HUB, .repository = "a", .tag = "a:b"}},
        {"type", {.kind = NOTE_CONFIRMED, .registry = HUB, .repository = "a", .digest = d.s, .media_type = long_type}},
        {"etag", {.kind = NOTE_TAG, .registry = HUB, .repository = "a", .tag = "t", .digest = d.s, .etag = long_etag}},
        {"parent", {.kind = NOTE_EDGE, .registry = HUB, .repository = "a", .tag = "sha256:1", .digest = d.s}},
        {"flags", {.kind = NOTE_EDGE, .registry = HUB, .repository = "a", .tag = "t", .digest = d.s, .flags = 256}},
        {"kind", {.kind = (enum index_note_kind)99}},
    };
    struct index *i = open_ok(INDEX_WRITE, false);
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct index_content c;
        struct index_note batch[] = {{.kind = NOTE_CONTENT, .digest = dig(7), .size = 1}, rows[n].note};
        cr_expect_eq(index_apply(i, batch, 2), INDEX_FAILED, "%s", rows[n].why);
        cr_expect_neq(index_error(i)[0], '\0', "%s", rows[n].why);
        cr_expect_eq(index_content(i, dig(7), &c), INDEX_NOTHING, "%s", rows[n].why);
    }
    struct index_content c;
    cr_expect_eq(index_content(i, "sha256:12", &c), INDEX_NOTHING);
    cr_expect_eq(index_content(i, "", &c), INDEX_NOTHING);
    apply(i, {.kind = NOTE_CONTENT, .digest = dig(7), .size = INT64_MAX, .disk = 1, .time = -5});
    cr_expect_eq(index_content(i, dig(7), &c), INDEX_OK);
    cr_expect(c.size == INT64_MAX && c.used == 0, "a clock before 1970 is no time");
    index_close(i);
    free(long_registry), free(long_repository), free(long_tag), free(long_type), free(long_etag);
}

// --- walks ---

Test(store_index, the_oldest_come_first) {
    struct index *i = open_ok(INDEX_WRITE, false);
    for (unsigned n = 1; n <= 5; n++)
        apply(i, {.kind = NOTE_CONTENT, .digest = dig(n), .size = n, .disk = n * 10, .time = 100 - n});
    apply(i, {.kind = NOTE_USED, .digest = dig(5), .time = 1000});
    static const struct {
        const char *why;
        size_t skip, max, count;
        unsigned first;
    } rows[] = {
        {"all", 0, 10, 5, 4},      {"two", 0, 2, 2, 4},           {"after two", 2, 10, 3, 2},
        {"the last", 4, 10, 1, 5}, {"past the end", 5, 10, 0, 0}, {"none asked for", 0, 0, 0, 0},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct index_oldest out[10];
        size_t count = 99;
        cr_expect_eq(index_oldest(i, rows[n].skip, out, rows[n].max, &count), INDEX_OK);
        cr_expect_eq(count, rows[n].count, "%s", rows[n].why);
        cr_expect(count == 0 || (strcmp(out[0].digest, dig(rows[n].first)) == 0 && out[0].disk == rows[n].first * 10),
                  "%s", rows[n].why);
    }
    index_close(i);
}

Test(store_index, holders_are_found_with_the_tags_that_lead_there) {
    struct index *i = open_ok(INDEX_WRITE, false);
    // app: tag v1 > 1 > 2 > 3, and tag v2 > 2; old: 3 without a tag; far: 3 is only named, never confirmed;
    // loop: 4 and 5 name each other under no tag; deep: tag t > 10 > 11 > ... > 19.
    apply(i, {.kind = NOTE_TAG, IN("app"), .tag = "v1", .digest = dig(1)},
          {.kind = NOTE_TAG, IN("app"), .tag = "v2", .digest = dig(2)},
          {.kind = NOTE_EDGE, IN("app"), .tag = "gone", .digest = dig(1)},
          {.kind = NOTE_EDGE, IN("app"), .tag = dig(1), .digest = dig(2), .flags = 1},
          {.kind = NOTE_EDGE, IN("app"), .tag = dig(2), .digest = dig(3), .flags = 1},
          {.kind = NOTE_CONFIRMED, IN("app"), .digest = dig(3), .time = 1},
          {.kind = NOTE_CONFIRMED, IN("old"), .digest = dig(3), .time = 1},
          {.kind = NOTE_TAG, IN("far"), .tag = "v1", .digest = dig(2)},
          {.kind = NOTE_EDGE, IN("far"), .tag = dig(2), .digest = dig(3), .flags = 1},
          {.kind = NOTE_EDGE, IN("loop"), .tag = dig(4), .digest = dig(5), .flags = 1},
          {.kind = NOTE_EDGE, IN("loop"), .tag = dig(5), .digest = dig(4), .flags = 1},
          {.kind = NOTE_CONFIRMED, IN("loop"), .digest = dig(4), .time = 1},
          {.kind = NOTE_TAG, IN("deep"), .tag = "t", .digest = dig(10)});
    for (unsigned n = 10; n < 19; n++)
        apply(i, {.kind = NOTE_EDGE, IN("deep"), .tag = dig(n), .digest = dig(n + 1), .flags = 1},
              {.kind = NOTE_CONFIRMED, IN("deep"), .digest = dig(n + 1), .time = 1});
    static const struct {
        const char *why;
        unsigned digest;
        const char *want;
        size_t count;
    } rows[] = {
        {"through one edge and two", 3, "docker.io/app:v1\n", 3},
        {"and the other tag", 3, "docker.io/app:v2\n", 3},
        {"a repository without a tag", 3, "docker.io/old:\n", 3},
        {"directly, by the tag alone", 1, "docker.io/app:v1\n", 1},
        {"in two repositories", 2, "docker.io/far:v1\n", 3},
        {"a circle ends", 4, "docker.io/loop:\n", 1},
        {"six edges", 16, "docker.io/deep:t\n", 1},
        {"seven are too many", 17, "docker.io/deep:\n", 1},
        {"nobody", 99, "", 0},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct lines l = {0}, one = {.max = 1};
        cr_expect_eq(index_holders(i, dig(rows[n].digest), add_holder, &l), INDEX_OK);
        cr_expect(strstr(l.text, rows[n].want) != NULL, "%s: %s", rows[n].why, l.text);
        cr_expect_eq(l.count, rows[n].count, "%s: %s", rows[n].why, l.text);
        cr_expect_eq(index_holders(i, dig(rows[n].digest), add_holder, &one), INDEX_OK);
        cr_expect_eq(one.count, rows[n].count > 0, "%s: ends when told", rows[n].why);
    }
    index_close(i);
}

Test(store_index, lists_are_whole) {
    struct index *i = open_ok(INDEX_WRITE, false);
    apply(i, {.kind = NOTE_CONTENT, .digest = dig(1), .size = 11, .disk = 4096, .time = 5},
          {.kind = NOTE_CONTENT, .digest = dig(2), .size = 12, .disk = 4096, .time = 6},
          {.kind = NOTE_TAG, IN("z"), .tag = "a", .digest = dig(1), .media_type = MANIFEST},
          {.kind = NOTE_TAG, IN("a"), .tag = "b", .digest = dig(3), .media_type = "x/y"},
          {.kind = NOTE_TAG, IN("a"), .tag = "a", .digest = dig(1), .media_type = MANIFEST},
          {.kind = NOTE_CONFIRMED, IN("z"), .digest = dig(1), .media_type = MANIFEST, .time = 1},
          {.kind = NOTE_CONFIRMED, IN("a"), .digest = dig(1), .media_type = MANIFEST, .time = 1},
          {.kind = NOTE_CONFIRMED, IN("q"), .digest = dig(1), .media_type = MANIFEST, .time = 1});
    char want[1024];
    struct lines tags = {0}, digests = {0}, first = {.max = 1};
    cr_expect_eq(index_list(i, false, add_item, &tags), INDEX_OK);
    snprintf(want, sizeof want,
             "%.15s 11 4096 5 5 docker.io/a:a " MANIFEST "\n%.15s -1 0 0 0 docker.io/a:b x/y\n"
             "%.15s 11 4096 5 5 docker.io/z:a " MANIFEST "\n",
             dig(1), dig(3), dig(1));
    cr_expect_str_eq(tags.text, want);
    cr_expect_eq(index_list(i, true, add_item, &digests), INDEX_OK);
    cr_expect_eq(digests.count, 4, "%s", digests.text);
    snprintf(want, sizeof want, "%.15s 12 4096 6 6 /: \n", dig(2));
    cr_expect(strstr(digests.text, want) != NULL, "only the content is left: %s", digests.text);
    cr_expect(strstr(digests.text, "docker.io/q: " MANIFEST) != NULL, "no tag names it: %s", digests.text);
    cr_expect(strstr(digests.text, "docker.io/z:a " MANIFEST) != NULL, "%s", digests.text);
    cr_expect_eq(index_list(i, true, add_item, &first), INDEX_OK);
    cr_expect_eq(first.count, 1, "ends when told");
    index_close(i);
}

Test(store_index, contents_come_in_order_and_from_any_point) {
    struct index *i = open_ok(INDEX_WRITE, false);
    char sha512[DIGEST_TEXT_MAX + 1], last[DIGEST_TEXT_MAX + 1] = "";
    digest_of(DIGEST_SHA512, "x", 1, sha512);
    apply(i, {.kind = NOTE_CONTENT, .digest = sha512, .size = 512});
    for (unsigned n = 0; n < 20; n++)
        apply(i, {.kind = NOTE_CONTENT, .digest = dig(n), .size = n});
    struct lines all = {0}, none = {0}, rest = {0};
    cr_expect_eq(index_contents(i, "", add_content, &all), INDEX_OK);
    cr_expect_eq(all.count, 21);
    for (char *line = strtok(all.text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        cr_expect(strcmp(last, line) < 0, "in order");
        snprintf(last, sizeof last, "%s", line);
    }
    cr_expect_eq(index_contents(i, sha512, add_content, &none), INDEX_OK);
    cr_expect_eq(none.count, 0, "after the last");
    cr_expect_eq(index_contents(i, dig(0), add_content, &rest), INDEX_OK);
    cr_expect_eq(rest.count, 20, "after the first");
    index_close(i);
}

Test(store_index, what_is_old_and_holds_nothing_is_forgotten) {
    struct index *i = open_ok(INDEX_WRITE, false);
    struct lines l = {0};
    size_t count = 0;
    apply(i, {.kind = NOTE_CONTENT, .digest = dig(1), .size = 1},
          {.kind = NOTE_CONFIRMED, IN("held"), .digest = dig(1), .time = 10},
          {.kind = NOTE_CONFIRMED, IN("held"), .digest = dig(2), .time = 10},
          {.kind = NOTE_EDGE, IN("held"), .tag = dig(1), .digest = dig(2)},
          {.kind = NOTE_CONFIRMED, IN("new"), .digest = dig(3), .time = 100},
          {.kind = NOTE_EDGE, IN("new"), .tag = dig(3), .digest = dig(4)},
          {.kind = NOTE_CONFIRMED, IN("old"), .digest = dig(5), .time = 10},
          {.kind = NOTE_TAG, IN("old"), .tag = "t", .digest = dig(5), .time = 10},
          {.kind = NOTE_EDGE, IN("old"), .tag = "t", .digest = dig(5)},
          {.kind = NOTE_DELIVERED, .registry = HUB, .digest = dig(1)},
          {.kind = NOTE_DELIVERED, .registry = "quay.io", .digest = dig(5)});
    cr_expect_eq(index_prune(i, 10, 100, &count), INDEX_OK);
    cr_expect_eq(count, 0, "nothing is older than 10");
    cr_expect_eq(index_prune(i, 50, 1, &count), INDEX_OK);
    cr_expect_eq(count, 1, "no more than it may");
    cr_expect_eq(index_prune(i, 50, 100, &count), INDEX_OK);
    cr_expect_eq(count, 6, "the confirmation, tag, edge, delivery and two names left: %zu", count);
    cr_expect_eq(confirmed(i, HUB, "held", dig(1)), 10, "its content is held");
    cr_expect_eq(confirmed(i, HUB, "held", dig(2)), 0);
    cr_expect_eq(confirmed(i, HUB, "new", dig(3)), 100);
    cr_expect_eq(confirmed(i, HUB, "old", dig(5)), 0);
    cr_expect(delivered(i, HUB, dig(1)) && !delivered(i, "quay.io", dig(5)));
    cr_expect_eq(index_edges(i, HUB, "held", add_edge, &l), INDEX_OK);
    cr_expect_eq(index_edges(i, HUB, "new", add_edge, &l), INDEX_OK);
    cr_expect_eq(l.count, 2, "links outlive content where something is left");
    struct index_sums s = sums(i);
    cr_expect(s.tags == 0 && s.repositories == 2);
    cr_expect_eq(index_prune(i, 50, 100, &count), INDEX_OK);
    cr_expect_eq(count, 0);
    index_close(i);
}

// --- opening again ---

Test(store_index, all_is_there_after_a_restart) {
    struct index *i = open_ok(INDEX_WRITE, false);
    apply(i, {.kind = NOTE_CONFIRMED, IN("a"), .digest = dig(1), .time = 5});
    index_close(i);
    i = open_ok(INDEX_WRITE, true);
    cr_expect_eq(confirmed(i, HUB, "a", dig(1)), 5);
    cr_expect_not(index_is_unclean(i));
    struct index *reader = open_ok(INDEX_READ, true);
    cr_expect_eq(confirmed(reader, HUB, "a", dig(1)), 5);
    struct index_note n = {.kind = NOTE_CONTENT, .digest = dig(1)};
    size_t count = 0;
    cr_expect_eq(index_apply(reader, &n, 1), INDEX_FAILED, "one that reads does not write");
    cr_expect_eq(index_set_unclean(reader, true), INDEX_FAILED);
    cr_expect_eq(index_prune(reader, 1, 1, &count), INDEX_FAILED);
    cr_expect_eq(confirmed(reader, HUB, "a", dig(1)), 5, "and reads on");
    index_close(reader);
    index_close(i);
    index_close(NULL);
}

Test(store_index, an_unclean_stop_shows) {
    pid_t child = fork();
    if (child == 0) {
        struct index *i = NULL;
        struct index_note n = {.kind = NOTE_CONTENT, .digest = "sha256:none"};
        bool ok = index_open(bed_path, INDEX_WRITE, false, &i, NULL) == INDEX_OK && !index_is_unclean(i) &&
                  index_set_unclean(i, true) == INDEX_OK && index_apply(i, &n, 1) == INDEX_FAILED;
        if (ok)
            raise(SIGKILL);
        _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    cr_assert(WIFSIGNALED(status));
    struct index *i = open_ok(INDEX_WRITE, true);
    cr_expect(index_is_unclean(i));
    cr_expect_eq(index_set_unclean(i, false), INDEX_OK);
    index_close(i);
    i = open_ok(INDEX_READ, false);
    cr_expect_not(index_is_unclean(i));
    index_close(i);
}

static void fill_note(struct index_note *n, struct text *d, unsigned number) {
    *d = text_of(number);
    *n = (struct index_note){.kind = NOTE_CONTENT, .digest = d->s, .size = number, .disk = 1};
}

// The file system takes no more in the middle of a transaction.
Test(store_index, a_batch_that_the_disk_does_not_take_leaves_nothing) {
    enum { BATCH = 3000 };
    static struct index_note notes[BATCH];
    static struct text digests[BATCH];
    for (unsigned n = 0; n < BATCH; n++)
        fill_note(&notes[n], &digests[n], n);
    struct index *i = open_ok(INDEX_WRITE, false);
    apply_ok(i, notes, 1);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 128 * 1024;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    enum index_result r = index_apply(i, notes, BATCH);
    setrlimit(RLIMIT_FSIZE, &before);
    cr_expect_eq(r, INDEX_FAILED, "%s", index_error(i));
    cr_expect_eq(sums(i).pieces, 1);
    struct index_content c;
    cr_expect_eq(index_content(i, dig(1), &c), INDEX_NOTHING);
    cr_expect_eq(index_content(i, dig(0), &c), INDEX_OK);
    apply_ok(i, notes, BATCH);
    cr_expect_eq(sums(i).pieces, BATCH, "and it recovers");
    index_close(i);
}

// --- two connections ---

enum { BATCHES = 300 };

struct pair {
    struct index *index;
    atomic_bool done;
    size_t reads;
};

// The tag's digest, its time and the confirmation are written together.
static void *read_along(void *ctx) {
    struct pair *p = ctx;
    int64_t last = 0;
    while (!atomic_load(&p->done)) {
        struct store_tag t;
        enum index_result r = index_tag(p->index, HUB, "a", "t", &t);
        cr_assert_leq(r, INDEX_NOTHING, "%s", index_error(p->index));
        if (r == INDEX_NOTHING)
            continue;
        cr_assert(t.confirmed >= last && strcmp(t.digest, dig((unsigned)t.confirmed)) == 0);
        last = t.confirmed;
        cr_assert_geq(confirmed(p->index, HUB, "a", t.digest), last);
        p->reads++;
    }
    return NULL;
}

Test(store_index, one_writes_while_others_read) {
    struct index *writer = open_ok(INDEX_WRITE, false);
    struct pair pairs[2];
    pthread_t threads[2];
    for (size_t n = 0; n < 2; n++) {
        pairs[n] = (struct pair){.index = open_ok(INDEX_READ, false)};
        pthread_create(&threads[n], NULL, read_along, &pairs[n]);
    }
    for (unsigned n = 1; n <= BATCHES; n++)
        apply(writer, {.kind = NOTE_TAG, IN("a"), .tag = "t", .digest = dig(n), .time = n},
              {.kind = NOTE_CONTENT, .digest = dig(n), .size = n},
              {.kind = NOTE_CONFIRMED, IN("a"), .digest = dig(n), .time = n});
    for (size_t n = 0; n < 2; n++) {
        atomic_store(&pairs[n].done, true);
        pthread_join(threads[n], NULL);
        cr_expect_gt(pairs[n].reads, 0);
        cr_expect_eq(confirmed(pairs[n].index, HUB, "a", dig(BATCHES)), BATCHES);
        index_close(pairs[n].index);
    }
    cr_expect_eq(sums(writer).pieces, BATCHES);
    index_close(writer);
}
