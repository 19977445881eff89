// SPDX-License-Identifier: Apache-2.0
//
// The store's files: whole or not there, whatever happens; a disk that fails; what was altered behind its back.

#include "tests/unit/store_kit.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned count_files(const char *directory, const char *below) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, below);
    unsigned count = 0;
    DIR *d = opendir(path);
    cr_assert(d != NULL, "%s", path);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static void alter(const char *directory, unsigned n, size_t len, bool longer) {
    char digest[DIGEST_TEXT_MAX + 1];
    free(kit_content(n, len, digest));
    char *path = kit_path(directory, digest);
    int fd = open(path, O_RDWR);
    off_t at = longer ? (off_t)len : (off_t)len / 2;
    char byte = 0;
    cr_assert(fd >= 0 && pread(fd, &byte, 1, at) >= 0);
    byte = (char)~byte;
    cr_assert(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
    free(path);
}

static void unlink_content(const char *directory, unsigned n, size_t len) {
    char digest[DIGEST_TEXT_MAX + 1];
    free(kit_content(n, len, digest));
    char *path = kit_path(directory, digest);
    cr_assert(unlink(path) == 0);
    free(path);
}

static void expect_held(struct store *s, unsigned n, size_t len, bool held, const char *why) {
    struct store_facts f = kit_look(s, n, len);
    cr_expect((f.piece != NULL) == held, "%s", why);
    cr_expect(f.piece == NULL || kit_is(f.piece, n, len), "%s: its bytes", why);
    piece_unref(f.piece);
}

// --- the way in ---

Test(store_files, content_of_all_sizes) {
    static const struct {
        const char *why;
        size_t len;
        bool in_memory;
    } rows[] = {
        {"nothing at all", 0, true},
        {"one byte", 1, true},
        {"the largest that is kept in memory", STORE_SMALL_MAX, true},
        {"one more", STORE_SMALL_MAX + 1, false},
        {"some megabytes", 3 << 20, false},
    };
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    for (unsigned n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct piece *p = kit_put(s, n, rows[n].len, "some/type");
        cr_expect(kit_is(p, n, rows[n].len), "%s: committed", rows[n].why);
        struct store_facts f;
        store_recall(s, KIT_REPOSITORY, piece_digest(p), &f);
        cr_expect(f.known && f.piece == p && f.confirmed != 0 && f.delivered && strcmp(f.media_type, "some/type") == 0,
                  "%s: recalled as soon as it is told", rows[n].why);
        piece_unref(f.piece);
        piece_unref(p);
    }
    for (unsigned round = 0; round < 2; round++) {
        store_close(s);
        s = kit_open(&settings);
        for (unsigned n = 0; n < sizeof rows / sizeof *rows; n++) {
            struct store_facts f = kit_look(s, n, rows[n].len);
            cr_expect(kit_is(f.piece, n, rows[n].len), "%s: after a restart", rows[n].why);
            cr_expect(f.piece != NULL && (piece_bytes(f.piece) != NULL) == rows[n].in_memory, "%s", rows[n].why);
            cr_expect(strcmp(f.media_type, "some/type") == 0 && f.confirmed != 0 && f.delivered, "%s", rows[n].why);
            piece_unref(f.piece);
        }
    }
    cr_expect(count_files(directory, "tmp") == 0, "nothing is left over");
    store_close(s);
    kit_remove(directory);
}

Test(store_files, not_there_before_it_is_whole) {
    char *directory = kit_directory(NULL), digest[DIGEST_TEXT_MAX + 1];
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    char *bytes = kit_content(1, 200000, digest), read[1000];
    struct store_file *f = store_file_new(s, digest, 200000);
    cr_assert(f != NULL && store_file_write(f, bytes, 1000));
    expect_held(s, 1, 200000, false, "being written");
    cr_expect(pread(store_file_fd(f), read, 1000, 0) == 1000 && memcmp(read, bytes, 1000) == 0, "followers read it");
    struct store_stats stats;
    store_stats(s, &stats);
    cr_expect(stats.bytes >= 200000, "it weighs from the start");
    cr_expect(count_files(directory, "tmp") == 1, "under another name");
    store_file_drop(f);
    store_file_drop(NULL);
    expect_held(s, 1, 200000, false, "dropped");
    cr_expect(count_files(directory, "tmp") == 0, "removed");
    piece_unref(kit_put(s, 1, 200000, ""));
    piece_unref(kit_put(s, 1, 200000, ""));
    expect_held(s, 1, 200000, true, "twice is once");
    store_close(s);
    free(bytes);
    kit_remove(directory);
}

Test(store_files, a_piece_outlives_everything) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    struct piece *large = kit_put(s, 1, 300000, ""), *small = kit_put(s, 2, 300, "");
    cr_expect(store_remove(s, KIT_REPOSITORY, NULL) > 0, "something is freed");
    expect_held(s, 1, 300000, false, "removed");
    expect_held(s, 2, 300, false, "removed");
    cr_expect(kit_is(large, 1, 300000) && kit_is(small, 2, 300), "whoever reads goes on");
    store_close(s);
    cr_expect(kit_is(large, 1, 300000) && kit_is(small, 2, 300), "and after the store was closed");
    piece_unref(large);
    piece_unref(small);
    kit_remove(directory);
}

Test(store_files, more_files_than_are_kept_open) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    enum { MANY = STORE_OPEN_MAX + 50, LEN = STORE_SMALL_MAX + 10 };
    for (unsigned n = 0; n < MANY; n++)
        piece_unref(kit_put(s, n, LEN, ""));
    for (unsigned n = 0; n < MANY; n++)
        expect_held(s, n, LEN, true, "each is found again");
    cr_expect(count_files("/proc/self", "fd") < STORE_OPEN_MAX + 100, "not all of them stay open");
    store_close(s);
    kit_remove(directory);
}

// --- removing by hand ---

Test(store_files, removing_a_tag) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    // v1 leads to 1 and 3, v2 to 2 and 3.
    for (unsigned n = 1; n <= 3; n++)
        piece_unref(kit_put(s, n, 5000, ""));
    char d[4][DIGEST_TEXT_MAX + 1];
    for (unsigned n = 1; n <= 3; n++)
        free(kit_content(n, 5000, d[n]));
    for (unsigned n = 1; n <= 2; n++) {
        struct store_tag t = {.confirmed = 1};
        strcpy(t.digest, d[n]);
        store_note_tag(s, KIT_REPOSITORY, n == 1 ? "v1" : "v2", &t);
        store_note_edge(s, KIT_REPOSITORY, &(struct store_edge){d[n], d[3], 0});
    }
    cr_expect(store_remove(s, KIT_REPOSITORY, "v1") >= 5000, "what only v1 led to is freed");
    expect_held(s, 1, 5000, false, "v1's own");
    expect_held(s, 2, 5000, true, "v2's own");
    expect_held(s, 3, 5000, true, "v2 leads to it, too");
    store_remove(s, KIT_REPOSITORY, "v2");
    expect_held(s, 3, 5000, false, "nothing leads to it any longer");
    store_close(s);
    kit_remove(directory);
}

// --- altered behind its back ---

struct bad {
    unsigned count;
    char why[8][128];
};

static void note_bad(void *ctx, const char *digest, const char *why) {
    struct bad *b = ctx;
    if (b->count < 8)
        snprintf(b->why[b->count], sizeof b->why[0], "%s", why);
    b->count++;
}

static bool note_progress(void *ctx, uint64_t done, uint64_t all) {
    cr_expect(done <= all + 16, "%llu of %llu", (unsigned long long)done, (unsigned long long)all);
    return true;
}

Test(store_files, verify_finds_what_was_altered) {
    enum { LEN = 100000 };
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    for (unsigned n = 0; n < 300; n++)
        piece_unref(kit_put(s, n, n < 10 ? LEN : 100, ""));
    cr_expect(store_verify(s, 0, note_progress, NULL, NULL) == 0, "all is well");
    alter(directory, 1, LEN, false);
    alter(directory, 2, LEN, true);
    unlink_content(directory, 3, LEN);
    alter(directory, 20, 100, false);
    struct bad bad = {0};
    cr_expect(store_verify(s, 0, note_progress, note_bad, &bad) == 4 && bad.count == 4, "%u found", bad.count);
    expect_held(s, 1, LEN, false, "other bytes");
    expect_held(s, 2, LEN, false, "another size");
    expect_held(s, 3, LEN, false, "missing");
    expect_held(s, 4, LEN, true, "not touched");
    cr_expect(store_verify(s, 0, NULL, NULL, NULL) == 0, "the bad ones are gone");
    store_close(s);
    kit_remove(directory);
}

Test(store_files, what_is_served_is_checked_when_it_is_opened) {
    enum { LEN = 100000 };
    char *directory = kit_directory(NULL);
    struct kit_events events = {0};
    struct store_settings settings = kit_settings(directory, &events);
    struct store *s = kit_open(&settings);
    for (unsigned n = 0; n < 4; n++)
        piece_unref(kit_put(s, n, n == 3 ? 100 : LEN, ""));
    store_close(s);
    alter(directory, 0, LEN, true);
    unlink_content(directory, 1, LEN);
    alter(directory, 3, 100, false);
    s = kit_open(&settings);
    expect_held(s, 0, LEN, false, "another size");
    expect_held(s, 1, LEN, false, "missing");
    expect_held(s, 2, LEN, true, "not touched");
    expect_held(s, 3, 100, false, "small content is hashed when it is read");
    cr_expect(kit_told(&events, "store_content") == 3, "each is told");
    for (unsigned n = 0; n < 2; n++) {
        piece_unref(kit_put(s, n, LEN, ""));
        expect_held(s, n, LEN, true, "and can be had again");
    }
    store_close(s);
    kit_remove(directory);
}

// --- killed ---

static void write_for_ever(const char *directory) {
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = store_open(&settings, NULL);
    for (unsigned n = 0; s != NULL; n = (n + 1) % 500)
        piece_unref(kit_put(s, n, n % 3 == 0 ? 150000 : 1000, "some/type"));
    _exit(1);
}

static void check_all(const char *directory) {
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    unsigned held = 0;
    for (unsigned n = 0; n < 500; n++) {
        size_t len = n % 3 == 0 ? 150000 : 1000;
        struct store_facts f = kit_look(s, n, len);
        cr_expect(f.piece == NULL || kit_is(f.piece, n, len), "content %u is whole or not there", n);
        held += f.piece != NULL;
        piece_unref(f.piece);
    }
    cr_expect(store_verify(s, 0, NULL, NULL, NULL) == 0, "all of %u", held);
    store_close(s);
    cr_expect(count_files(directory, "tmp") == 0, "leftovers are swept");
}

Test(store_files, killed_at_any_moment) {
    char *directory = kit_directory(NULL);
    for (unsigned round = 0; round < 30; round++) {
        pid_t child = fork();
        if (child == 0)
            write_for_ever(directory);
        kit_sleep_ms(5 + round * 13 % 170);
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        cr_assert(WIFSIGNALED(status), "it was writing until it was killed");
        if (round % 3 == 2)
            check_all(directory);
    }
    kit_remove(directory);
}

// A name without a row: killed between the two.
Test(store_files, files_without_a_row_are_taken_back) {
    char *directory = kit_directory(NULL);
    struct store_settings first = kit_settings(directory, NULL);
    struct store *fresh = kit_open(&first);
    kit_sleep_ms(2000); // Let the first sweep end: while one runs, notes are written at once.
    store_close(fresh);
    pid_t child = fork();
    if (child == 0) {
        struct store_settings settings = kit_settings(directory, NULL);
        struct store *s = store_open(&settings, NULL);
        piece_unref(kit_put(s, 1, 1000, "some/type"));
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    struct store_facts f = kit_look(s, 1, 1000);
    cr_expect(kit_is(f.piece, 1, 1000), "content");
    cr_expect(f.delivered, "who delivered it");
    cr_expect(f.confirmed == 0, "to be confirmed again: %lld", (long long)f.confirmed);
    piece_unref(f.piece);
    store_close(s);
    kit_remove(directory);
}

// --- a failing disk ---

static bool is_told(struct kit_events *events, const char *event, unsigned ms) {
    for (unsigned n = 0; n < ms / 50 && kit_told(events, event) == 0; n++)
        kit_sleep_ms(50);
    return kit_told(events, event) > 0;
}

Test(store_files, a_full_disk, .timeout = 60) {
    char *directory = kit_directory(NULL);
    struct kit_events events = {0};
    if (mount("none", directory, "tmpfs", 0, "size=2m,mode=700") != 0) {
        rmdir(directory);
        free(directory);
        cr_skip("mounting needs root: %s", strerror(errno));
    }
    struct store_settings settings = kit_settings(directory, &events);
    struct store *s = kit_open(&settings);
    piece_unref(kit_put(s, 1, 300000, ""));
    char digest[DIGEST_TEXT_MAX + 1];
    char *bytes = kit_content(2, 4 << 20, digest);
    cr_expect(store_file_new(s, digest, 4 << 20) == NULL, "it would never fit");
    cr_expect(kit_told(&events, "store_failing") == 0, "that is no failure");
    struct store_file *f = store_file_new(s, digest, UINT64_MAX);
    cr_expect(f != NULL && !store_file_write(f, bytes, 4 << 20), "the disk is full in the middle");
    cr_expect(kit_told(&events, "store_failing") == 1 && !store_writable(s), "told, and at rest");
    cr_expect(store_file_new(s, digest, 10) == NULL, "nothing is written meanwhile");
    store_note_confirmed(s, KIT_REPOSITORY, digest, 5);
    expect_held(s, 1, 300000, true, "what is held is served");
    store_file_drop(f);
    cr_expect(is_told(&events, "store_recovered", STORE_REST_MS + 5000), "it works again by itself");
    cr_expect(store_writable(s), "and takes files");
    piece_unref(kit_put(s, 3, 300000, ""));
    expect_held(s, 3, 300000, true, "new content");
    store_close(s);
    s = kit_open(&settings);
    struct store_facts facts;
    store_look(s, KIT_REPOSITORY, digest, &facts);
    cr_expect(facts.confirmed == 5, "what was noted meanwhile was written after");
    store_close(s);
    free(bytes);
    umount(directory);
    kit_remove(directory);
}

Test(store_files, a_disk_that_turns_read_only, .timeout = 60) {
    char *directory = kit_directory(NULL);
    struct kit_events events = {0};
    if (mount("none", directory, "tmpfs", 0, "size=8m,mode=700") != 0) {
        rmdir(directory);
        free(directory);
        cr_skip("mounting needs root: %s", strerror(errno));
    }
    struct store_settings settings = kit_settings(directory, &events);
    struct store *s = kit_open(&settings);
    piece_unref(kit_put(s, 1, 300000, ""));
    store_close(s);
    cr_assert(mount("none", directory, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0, "%s", strerror(errno));
    s = kit_open(&settings);
    cr_expect(is_told(&events, "store_failing", 3000), "told");
    struct piece *p = kit_put(s, 2, 1000, "");
    cr_expect(p == NULL, "nothing is written");
    struct store_facts f = kit_look(s, 2, 1000);
    cr_expect(f.known && f.piece == NULL, "not held, and no error");
    cr_assert(mount("none", directory, NULL, MS_REMOUNT, NULL) == 0);
    cr_expect(is_told(&events, "store_recovered", STORE_REST_MS + 5000), "it works again by itself");
    cr_expect(kit_told(&events, "store_failing") == 1, "told once");
    piece_unref(kit_put(s, 2, 1000, ""));
    expect_held(s, 2, 1000, true, "written");
    expect_held(s, 1, 300000, true, "and what was there is served");
    store_close(s);
    umount(directory);
    kit_remove(directory);
}
