// SPDX-License-Identifier: Apache-2.0
//
// Files that are no sound index: another's, a newer one, cut or scribbled over. They are told, or what they answer is
// true.

#include "index_bed.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(store_index_damage, .init = bed_enter, .fini = bed_leave);

static enum index_result open_result(enum index_mode mode, bool check, struct err *err) {
    struct index *i = NULL;
    enum index_result r = index_open(bed_path, mode, check, &i, err);
    cr_assert((r == INDEX_OK) == (i != NULL));
    cr_assert(r == INDEX_OK || err->text[0] != '\0', "a failure has a sentence");
    index_close(i);
    return r;
}

// --- other files ---

static void patch(const char *bytes, size_t len, off_t at) {
    int fd = open(bed_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

static void sql(const char *text) {
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(bed_path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK, "%s: %s", text, sqlite3_errmsg(db));
    sqlite3_close(db);
}

Test(store_index_damage, a_file_that_is_no_index_is_told) {
    static const struct {
        const char *why, *sql, *bytes;
        size_t len;
        off_t at;
        enum index_result want;
        const char *says;
    } rows[] = {
        {"newer", "PRAGMA user_version = 2", NULL, 0, 0, INDEX_FAILED,
         "this index is of format 2, this pullgate knows format 1"},
        {"newer, with tables of its own", "PRAGMA user_version = 7; CREATE TABLE more(x)", NULL, 0, 0, INDEX_FAILED,
         "this index is of format 7, this pullgate knows format 1"},
        {"newer, of another program", "PRAGMA user_version = 2; PRAGMA application_id = 1", NULL, 0, 0, INDEX_DAMAGED,
         ""},
        {"older than any", "PRAGMA user_version = 0", NULL, 0, 0, INDEX_DAMAGED, ""},
        {"negative", "PRAGMA user_version = -1", NULL, 0, 0, INDEX_DAMAGED, ""},
        {"another program's", "PRAGMA application_id = 0", NULL, 0, 0, INDEX_DAMAGED, "not an index of pullgate"},
        {"a table is missing", "DROP TABLE delivered", NULL, 0, 0, INDEX_DAMAGED, ""},
        {"a trigger is missing", "DROP TRIGGER tag_in", NULL, 0, 0, INDEX_DAMAGED, ""},
        {"an index is missing", "DROP INDEX content_by_use", NULL, 0, 0, INDEX_DAMAGED, ""},
        {"a table is of another type", "DROP TABLE delivered; CREATE TABLE delivered(registry, digest, seal)", NULL, 0,
         0, INDEX_DAMAGED, ""},
        {"a table too many", "CREATE TABLE more(x)", NULL, 0, 0, INDEX_DAMAGED, ""},
        {"a view in place of a table", "DROP TABLE delivered; CREATE VIEW delivered AS SELECT 1", NULL, 0, 0,
         INDEX_DAMAGED, ""},
        {"a trigger that does other things",
         "DROP TRIGGER tag_in; CREATE TRIGGER tag_in AFTER INSERT ON tag BEGIN DELETE FROM tag; END", NULL, 0, 0,
         INDEX_DAMAGED, ""},
        {"no database", NULL, "This is a text that is longer than nothing.", 40, 0, INDEX_DAMAGED, "not a database"},
        {"a head of another version", NULL, "\x09\x09", 2, 18, INDEX_DAMAGED, "head"},
        {"a page size that is none", NULL, "\x12\x34", 2, 16, INDEX_DAMAGED, ""},
        {"text encoding", NULL, "\0\0\0\x02", 4, 56, INDEX_DAMAGED, ""},
        {"schema format", NULL, "\0\0\0\x63", 4, 44, INDEX_DAMAGED, ""},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        for (enum index_mode mode = INDEX_WRITE; mode <= INDEX_READ; mode++) {
            struct err err = {0};
            unlink(bed_path);
            index_close(open_ok(INDEX_WRITE, false));
            if (rows[n].sql != NULL)
                sql(rows[n].sql);
            else
                patch(rows[n].bytes, rows[n].len, rows[n].at);
            cr_expect_eq(open_result(mode, false, &err), rows[n].want, "%s: %s", rows[n].why, err.text);
            cr_expect(strstr(err.text, rows[n].says) != NULL, "%s: %s", rows[n].why, err.text);
        }
}

Test(store_index_damage, what_the_machine_refuses_is_not_damage) {
    struct err err = {0};
    cr_expect_eq(open_result(INDEX_READ, false, &err), INDEX_FAILED, "a missing file: %s", err.text);
    cr_expect_neq(access(bed_path, F_OK), 0, "reading makes none");
    char real[sizeof bed_path];
    memcpy(real, bed_path, sizeof bed_path);
    snprintf(bed_path, sizeof bed_path, "%s/none/index.db", bed_directory);
    cr_expect_eq(open_result(INDEX_WRITE, false, &err), INDEX_FAILED, "a missing directory: %s", err.text);
    snprintf(bed_path, sizeof bed_path, "%s", bed_directory);
    cr_expect_eq(open_result(INDEX_WRITE, false, &err), INDEX_FAILED, "a directory: %s", err.text);
    memcpy(bed_path, real, sizeof bed_path);
    patch("", 0, 0);
    cr_expect_eq(open_result(INDEX_WRITE, true, &err), INDEX_OK, "an empty file is begun: %s", err.text);
    cr_expect_eq(truncate(bed_path, 0), 0);
    cr_expect_eq(open_result(INDEX_READ, false, &err), INDEX_DAMAGED, "but not by one that reads");
}

// --- damage: whatever it answers is true ---

enum { DIGESTS = 400, REPOSITORIES = 5, TAGS = 60, FIRST_TIME = 1000, KINDS = 5, CASES = 200, WRITTEN_AGAIN = 3 };

static char repository_names[REPOSITORIES][16];

static const char *repository_of(unsigned n) {
    char *name = repository_names[n % REPOSITORIES];
    snprintf(name, sizeof repository_names[0], "team/app-%u", n % REPOSITORIES);
    return name;
}

// Digest n is confirmed in repository n, names n + REPOSITORIES there, and stands under tag "tn" if n is small.
static void write_world(void) {
    struct index *i = open_ok(INDEX_WRITE, false);
    for (unsigned n = 0; n < DIGESTS; n++) {
        const char *repository = repository_of(n);
        char tag[16];
        snprintf(tag, sizeof tag, "t%u", n);
        apply(
            i, {.kind = NOTE_CONTENT, .digest = dig(n), .size = n, .disk = n * 10, .time = FIRST_TIME + n},
            {.kind = NOTE_CONFIRMED, IN(repository), .digest = dig(n), .time = FIRST_TIME + n, .media_type = MANIFEST},
            {.kind = NOTE_DELIVERED, .registry = HUB, .digest = dig(n)},
            {.kind = NOTE_EDGE, IN(repository), .tag = dig(n), .digest = dig(n + REPOSITORIES), .flags = n % 16});
        if (n < TAGS)
            apply(i, {.kind = NOTE_TAG, IN(repository), .tag = tag, .digest = dig(n), .etag = tag, .time = n});
    }
    index_close(i);
}

static unsigned number_of(const char *digest) {
    unsigned n = 0;
    sscanf(digest + 7 + 56, "%8x", &n);
    cr_assert(n < DIGESTS + REPOSITORIES && strcmp(digest, dig(n)) == 0, "a digest that was never written: %s", digest);
    return n;
}

// Has it been answered rightly so far?
struct answers {
    size_t given, damaged;
    unsigned repository; // Asked about.
    bool written;        // What damage had hidden may have been made anew, and counts twice.
};

static bool told(struct answers *a, enum index_result r) {
    a->given += r == INDEX_OK;
    a->damaged += r == INDEX_DAMAGED || r == INDEX_FAILED;
    return r == INDEX_OK;
}

// write_again() confirms one anew without saying its type, which is then unknown if damage had hidden it.
static bool type_is_right(unsigned n, const char *type) {
    return strcmp(type, MANIFEST) == 0 || (n == WRITTEN_AGAIN && type[0] == '\0');
}

static void ask_of_digest(struct index *i, struct answers *a, unsigned n) {
    struct index_content c;
    char type[MEDIA_TYPE_MAX + 1];
    int64_t at = 0;
    bool was = false;
    if (told(a, index_content(i, dig(n), &c)))
        cr_assert(n < DIGESTS && c.size == n && c.disk == n * 10 && c.used == FIRST_TIME + n);
    for (unsigned r = 0; r < REPOSITORIES; r++)
        if (told(a, index_confirmed(i, HUB, repository_of(r), dig(n), &at, type)))
            cr_assert(n < DIGESTS && r == n % REPOSITORIES && at == FIRST_TIME + n && type_is_right(n, type),
                      "who may read what must never be wrong: %u in %u, %lld, %s", n, r, (long long)at, type);
    told(a, index_delivered(i, HUB, dig(n), &was));
    cr_assert(!was || n < DIGESTS);
    told(a, index_delivered(i, "quay.io", dig(n), &was));
    cr_assert_not(was);
}

static void ask_of_tag(struct index *i, struct answers *a, unsigned n) {
    struct store_tag t;
    char tag[16];
    snprintf(tag, sizeof tag, "t%u", n);
    for (unsigned r = 0; r < REPOSITORIES; r++)
        if (told(a, index_tag(i, HUB, repository_of(r), tag, &t)))
            cr_assert(r == n % REPOSITORIES && strcmp(t.digest, dig(n)) == 0 && strcmp(t.etag, tag) == 0 &&
                      t.confirmed == n);
}

static void judge_edge(void *ctx, const struct store_edge *e) {
    struct answers *a = ctx;
    unsigned n = number_of(e->parent);
    cr_assert(n % REPOSITORIES == a->repository && number_of(e->child) == n + REPOSITORIES && e->flags == n % 16);
}

static bool judge_item(void *ctx, const struct store_item *item) {
    unsigned n = number_of(item->digest);
    cr_assert(item->size == UINT64_MAX || item->size == n);
    cr_assert(item->repository[0] == '\0' || strcmp(item->repository, repository_of(n)) == 0);
    cr_assert(item->tag[0] == '\0' || (unsigned)atoi(item->tag + 1) == n);
    return true;
}

static bool judge_content(void *ctx, const char *digest, const struct index_content *c) {
    cr_assert_eq(c->size, number_of(digest));
    return true;
}

static bool judge_holder(void *ctx, const char *registry, const char *repository, const char *tag) {
    const struct answers *a = ctx;
    cr_assert_str_eq(registry, HUB);
    cr_assert_str_eq(repository, repository_of(a->repository));
    cr_assert(tag[0] == '\0' || (unsigned)atoi(tag + 1) % REPOSITORIES == a->repository);
    return true;
}

static void walk_all(struct index *i, struct answers *a) {
    for (a->repository = 0; a->repository < REPOSITORIES; a->repository++) {
        told(a, index_edges(i, HUB, repository_of(a->repository), judge_edge, a));
        told(a, index_holders(i, dig(a->repository + 20), judge_holder, a));
    }
    told(a, index_list(i, false, judge_item, a));
    told(a, index_list(i, true, judge_item, a));
    told(a, index_contents(i, "", judge_content, a));
    struct index_sums s;
    if (told(a, index_sum(i, &s)) && !a->written)
        cr_assert(s.pieces == DIGESTS && s.tags == TAGS && s.repositories == REPOSITORIES);
    struct index_oldest oldest[10];
    size_t count = 0;
    if (told(a, index_oldest(i, 0, oldest, 10, &count)))
        for (size_t n = 0; n < count; n++)
            cr_assert_eq(oldest[n].used, FIRST_TIME + number_of(oldest[n].digest));
}

static void ask_everything(struct index *i, struct answers *a) {
    for (unsigned n = 0; n < DIGESTS + REPOSITORIES; n++)
        ask_of_digest(i, a, n);
    for (unsigned n = 0; n < TAGS + REPOSITORIES; n++)
        ask_of_tag(i, a, n);
    walk_all(i, a);
}

// Writing to it may fail, but not end the program, nor make a later answer wrong.
static void write_again(struct index *i) {
    struct text d = text_of(WRITTEN_AGAIN), child = text_of(WRITTEN_AGAIN + REPOSITORIES);
    const char *repository = repository_of(WRITTEN_AGAIN);
    struct index_note notes[] = {
        {.kind = NOTE_USED, .digest = d.s, .time = 1},
        {.kind = NOTE_CONFIRMED, IN(repository), .digest = d.s, .time = FIRST_TIME + WRITTEN_AGAIN, .media_type = ""},
        {.kind = NOTE_EDGE, IN(repository), .tag = d.s, .digest = child.s, .flags = WRITTEN_AGAIN},
    };
    size_t count = 0;
    index_apply(i, notes, 3);
    index_prune(i, 1, 10, &count);
}

static char *file_bytes(size_t *len) {
    struct stat st;
    int fd = open(bed_path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    char *bytes = malloc(*len);
    cr_assert_eq(read(fd, bytes, *len), (ssize_t)*len);
    close(fd);
    return bytes;
}

static void put_file(const char *bytes, size_t len) {
    char other[128];
    snprintf(other, sizeof other, "%s-wal", bed_path);
    unlink(other);
    snprintf(other, sizeof other, "%s-shm", bed_path);
    unlink(other);
    unlink(bed_path);
    patch(bytes, len, 0);
}

// The `kind`th way to damage a file; the new length.
static size_t damage(char *bytes, size_t len, unsigned kind, unsigned *seed) {
    enum { PAGE = 4096 };
    size_t at = (size_t)rand_r(seed) % len, page = at / PAGE * PAGE, other = (size_t)rand_r(seed) % len / PAGE * PAGE;
    size_t run = 1 + (size_t)rand_r(seed) % 64;
    char swap[PAGE];
    if (kind == 0) // Cut.
        return at;
    if (kind == 1) // One bit.
        bytes[at] = (char)(bytes[at] ^ 1 << rand_r(seed) % 8);
    else if (kind == 2) // A run of bytes.
        for (size_t n = at; n < len && n < at + run; n++)
            bytes[n] = (char)rand_r(seed);
    else if (kind == 3) // A page of nothing.
        memset(bytes + page, 0, PAGE);
    else { // Two pages for one another.
        memcpy(swap, bytes + page, PAGE);
        memcpy(bytes + page, bytes + other, PAGE);
        memcpy(bytes + other, swap, PAGE);
    }
    return len;
}

Test(store_index_damage, damage_is_told_or_harmless, .timeout = 100) {
    write_world();
    size_t len = 0, refused = 0, told_later = 0, harmless = 0;
    char *sound = file_bytes(&len), *bytes = malloc(len);
    for (unsigned n = 0; n < CASES; n++) {
        unsigned seed = n;
        memcpy(bytes, sound, len);
        put_file(bytes, damage(bytes, len, n % KINDS, &seed));
        struct index *i = NULL;
        struct err err = {0};
        struct answers a = {0};
        enum index_result r = index_open(bed_path, n % 3 == 0 ? INDEX_READ : INDEX_WRITE, n % 2 == 0, &i, &err);
        refused += r != INDEX_OK;
        if (r != INDEX_OK)
            continue;
        ask_everything(i, &a);
        write_again(i);
        a.written = true;
        ask_everything(i, &a);
        told_later += a.damaged > 0;
        harmless += a.damaged == 0;
        index_close(i);
    }
    free(sound);
    free(bytes);
    cr_log_info("%zu refused, %zu told later, %zu harmless", refused, told_later, harmless);
    cr_expect_gt(refused, 0);
    cr_expect_gt(told_later, 0);
}

Test(store_index_damage, a_sound_file_answers_everything) {
    write_world();
    struct index *i = open_ok(INDEX_READ, true);
    struct answers a = {0};
    ask_everything(i, &a);
    cr_expect_eq(a.damaged, 0, "%s", index_error(i));
    cr_expect_eq(a.given, DIGESTS * 3 + TAGS + 2 * REPOSITORIES + 5);
    index_close(i);
}
