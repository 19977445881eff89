// SPDX-License-Identifier: Apache-2.0
//
// The store's facts: what it remembers, across restarts and damage, and who may open it.

#include "tests/unit/store_kit.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OTHER_REPOSITORY "docker.io", "library/busybox"

static const char *digest_of_number(unsigned n, char digest[DIGEST_TEXT_MAX + 1]) {
    snprintf(digest, DIGEST_TEXT_MAX + 1, "sha256:%064x", n);
    return digest;
}

// --- facts, held together with a restart in between ---

static void check_fact(struct store *s, const char *digest, int64_t confirmed, bool delivered, const char *why) {
    struct store_facts f;
    store_look(s, KIT_REPOSITORY, digest, &f);
    cr_expect(f.known && f.piece == NULL, "%s: known, not held", why);
    cr_expect(f.confirmed == confirmed, "%s: confirmed %lld", why, (long long)f.confirmed);
    cr_expect(f.delivered == delivered, "%s: delivered", why);
    store_recall(s, KIT_REPOSITORY, digest, &f);
    cr_expect(f.known && f.confirmed == confirmed && f.delivered == delivered, "%s: memory says the same", why);
}

static void note_confirmed(struct store *s, const char *d) {
    store_note_confirmed(s, KIT_REPOSITORY, d, 1000);
}

static void note_gone_after(struct store *s, const char *d) {
    store_note_confirmed(s, KIT_REPOSITORY, d, 1000);
    store_note_gone(s, KIT_REPOSITORY, d);
}

static void note_back_again(struct store *s, const char *d) {
    store_note_gone(s, KIT_REPOSITORY, d);
    store_note_confirmed(s, KIT_REPOSITORY, d, 2000);
}

static void note_delivered(struct store *s, const char *d) {
    store_note_delivered(s, "docker.io", d);
}

static void note_elsewhere(struct store *s, const char *d) {
    store_note_confirmed(s, OTHER_REPOSITORY, d, 1000);
    store_note_delivered(s, "quay.io", d);
}

static void note_nothing(struct store *s, const char *d) {
}

Test(store, facts_outlive_the_process) {
    static const struct {
        const char *why;
        void (*note)(struct store *s, const char *d);
        int64_t confirmed;
        bool delivered;
    } rows[] = {
        {"nothing was noted", note_nothing, 0, false},
        {"a confirmation", note_confirmed, 1000, false},
        {"gone takes it back", note_gone_after, 0, false},
        {"confirmed after it was gone", note_back_again, 2000, false},
        {"a delivery is no confirmation", note_delivered, 0, true},
        {"another repository's confirmation and another registry's delivery are not ours", note_elsewhere, 0, false},
    };
    char *directory = kit_directory(NULL), d[DIGEST_TEXT_MAX + 1];
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    for (unsigned n = 0; n < sizeof rows / sizeof *rows; n++) {
        rows[n].note(s, digest_of_number(n, d));
        check_fact(s, d, rows[n].confirmed, rows[n].delivered, rows[n].why);
    }
    store_close(s);
    s = kit_open(&settings);
    for (unsigned n = 0; n < sizeof rows / sizeof *rows; n++)
        check_fact(s, digest_of_number(n, d), rows[n].confirmed, rows[n].delivered, rows[n].why);
    store_close(s);
    kit_remove(directory);
}

Test(store, a_note_is_seen_before_the_index_has_it) {
    char *directory = kit_directory(NULL), d[DIGEST_TEXT_MAX + 1];
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    store_note_confirmed(s, KIT_REPOSITORY, digest_of_number(1, d), 1000);
    store_close(s);
    s = kit_open(&settings);
    check_fact(s, d, 1000, false, "read from the index");
    store_note_gone(s, KIT_REPOSITORY, d);
    struct store_facts f;
    store_recall(s, KIT_REPOSITORY, d, &f);
    cr_expect(f.known && f.confirmed == 0, "gone at once, whatever the index still says");
    // Other facts push it out of memory's table of confirmations, not out of what is gone.
    for (unsigned n = 100; n < 100 + STORE_KNOWN_MAX + 10; n++) {
        char other[DIGEST_TEXT_MAX + 1];
        store_note_confirmed(s, OTHER_REPOSITORY, digest_of_number(n, other), 1);
    }
    store_look(s, KIT_REPOSITORY, d, &f);
    cr_expect(f.confirmed == 0, "still gone");
    store_close(s);
    kit_remove(directory);
}

Test(store, tags) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    struct store_tag t = {.media_type = MANIFEST, .etag = "\"abc\"", .confirmed = 77}, got;
    digest_of_number(7, t.digest);
    cr_expect(store_recall_tag(s, KIT_REPOSITORY, "v1", &got) == -1, "memory does not know yet");
    cr_expect(!store_look_tag(s, KIT_REPOSITORY, "v1", &got), "there is none");
    cr_expect(store_recall_tag(s, KIT_REPOSITORY, "v1", &got) == 0, "now memory knows that");
    store_note_tag(s, KIT_REPOSITORY, "v1", &t);
    store_note_tag(s, KIT_REPOSITORY, "v2", &t);
    store_note_tag_gone(s, KIT_REPOSITORY, "v2");
    for (unsigned round = 0; round < 2; round++) {
        cr_expect(store_look_tag(s, KIT_REPOSITORY, "v1", &got), "round %u", round);
        cr_expect(strcmp(got.digest, t.digest) == 0 && strcmp(got.media_type, MANIFEST) == 0 &&
                      strcmp(got.etag, "\"abc\"") == 0 && got.confirmed == 77,
                  "all of it, round %u", round);
        cr_expect(store_recall_tag(s, KIT_REPOSITORY, "v1", &got) == 1, "round %u", round);
        cr_expect(!store_look_tag(s, KIT_REPOSITORY, "v2", &got), "gone, round %u", round);
        cr_expect(!store_look_tag(s, OTHER_REPOSITORY, "v1", &got), "another repository's, round %u", round);
        store_close(s);
        s = kit_open(&settings);
    }
    store_close(s);
    kit_remove(directory);
}

static void count_edge(void *ctx, const struct store_edge *e) {
    *(unsigned *)ctx += e->flags;
}

Test(store, edges_are_seen_at_once) {
    char *directory = kit_directory(NULL), a[DIGEST_TEXT_MAX + 1], b[DIGEST_TEXT_MAX + 1];
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    store_note_edge(s, KIT_REPOSITORY, &(struct store_edge){digest_of_number(1, a), digest_of_number(2, b), 1});
    store_note_edge(s, KIT_REPOSITORY, &(struct store_edge){a, b, 4});
    unsigned flags = 0;
    store_look_edges(s, KIT_REPOSITORY, count_edge, &flags);
    cr_expect(flags == 5, "one edge, its flags joined: %u", flags);
    store_close(s);
    kit_remove(directory);
}

// --- opening ---

Test(store, one_gateway_a_directory) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL), reading = settings;
    reading.read_only = true;
    struct err err = {0};
    struct store *s = kit_open(&settings);
    cr_expect(store_open(&settings, &err) == NULL && strstr(err.text, "in use") != NULL, "a second one: %s", err.text);
    cr_expect(store_open(&reading, &err) == NULL && strstr(err.text, "in use") != NULL, "one that reads: %s", err.text);
    pid_t child = fork();
    if (child == 0)
        _exit(store_open(&settings, NULL) == NULL ? 0 : 1);
    int status;
    waitpid(child, &status, 0);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "from another process");
    store_close(s);
    struct store *a = kit_open(&reading), *b = kit_open(&reading);
    cr_expect(store_open(&settings, &err) == NULL, "none while somebody reads");
    cr_expect(store_file_new(a, "sha256:0000000000000000000000000000000000000000000000000000000000000000", 1) == NULL,
              "who only reads writes nothing");
    store_close(a);
    store_close(b);
    store_close(kit_open(&settings));
    kit_remove(directory);
}

static void make_foreign(const char *directory) {
    if (chown(directory, 12345, 12345) != 0)
        cr_skip("only root can give a directory away");
}

static void make_open(const char *directory) {
    cr_assert(chmod(directory, 0777) == 0);
}

static void make_newer(const char *directory) {
    struct store_settings settings = kit_settings(directory, NULL);
    store_close(kit_open(&settings));
    char path[512];
    snprintf(path, sizeof path, "%s/index.db", directory);
    int fd = open(path, O_RDWR);
    const unsigned char version[] = {0, 0, 0, 99};
    cr_assert(pwrite(fd, version, sizeof version, 60) == 4); // Where SQLite keeps user_version.
    close(fd);
}

Test(store, refused_with_a_sentence) {
    static const struct {
        const char *why;
        void (*make)(const char *directory);
        const char *says;
    } rows[] = {
        {"others may write it", make_open, "written by others"},
        {"a newer format is left alone", make_newer, "format"},
        {"somebody else's", make_foreign, "belongs to"},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        char *directory = kit_directory(NULL);
        rows[n].make(directory);
        struct store_settings settings = kit_settings(directory, NULL);
        struct err err = {0};
        struct store *s = store_open(&settings, &err);
        cr_expect(s == NULL && strstr(err.text, rows[n].says) != NULL, "%s: %s", rows[n].why, err.text);
        store_close(s);
        kit_remove(directory);
    }
}

// --- damage ---

static void scribble(const char *directory, off_t at, size_t len) {
    char path[512], junk[4096];
    memset(junk, 0xA5, sizeof junk);
    snprintf(path, sizeof path, "%s/index.db", directory);
    int fd = open(path, O_RDWR);
    for (size_t done = 0; done < len; done += sizeof junk)
        cr_assert(pwrite(fd, junk, sizeof junk, at + (off_t)done) == (ssize_t)sizeof junk);
    close(fd);
}

static unsigned count_aside(const char *directory) {
    unsigned count = 0;
    DIR *d = opendir(directory);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        count += strncmp(e->d_name, "index.db.damaged-", 17) == 0 && strchr(e->d_name + 17, '-') == NULL;
    closedir(d);
    return count;
}

static void truncate_index(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/index.db", directory);
    cr_assert(truncate(path, 5000) == 0);
}

static void scribble_head(const char *directory) {
    scribble(directory, 0, 4096);
}

static void remove_index(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/index.db", directory);
    cr_assert(unlink(path) == 0);
}

// Content and deliveries come back, confirmations do not.
Test(store, a_damaged_index_is_set_aside) {
    static const struct {
        const char *why;
        void (*damage)(const char *directory);
        unsigned aside;
    } rows[] = {
        {"cut short", truncate_index, 1},
        {"no database at all", scribble_head, 1},
        {"removed", remove_index, 0},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        char *directory = kit_directory(NULL);
        struct kit_events events = {0};
        struct store_settings settings = kit_settings(directory, &events);
        struct store *s = kit_open(&settings);
        for (unsigned c = 0; c < 40; c++)
            piece_unref(kit_put(s, c, 1000, MANIFEST));
        store_close(s);
        rows[n].damage(directory);
        s = kit_open(&settings);
        for (unsigned c = 0; c < 40; c++) {
            struct store_facts f = kit_look(s, c, 1000);
            cr_expect(kit_is(f.piece, c, 1000), "%s: content %u is taken back", rows[n].why, c);
            cr_expect(f.delivered, "%s: who delivered it is known", rows[n].why);
            cr_expect(f.confirmed == 0, "%s: that it is this repository's must be asked again", rows[n].why);
            piece_unref(f.piece);
        }
        cr_expect(count_aside(directory) == rows[n].aside, "%s", rows[n].why);
        cr_expect(kit_told(&events, "store_index") >= rows[n].aside, "%s: the operator reads it", rows[n].why);
        store_close(s);
        kit_remove(directory);
    }
}

// Damage behind the back of a running gateway.
Test(store, damage_while_it_runs) {
    char *directory = kit_directory(NULL);
    struct kit_events events = {0};
    struct store_settings settings = kit_settings(directory, &events);
    struct store *s = kit_open(&settings);
    for (unsigned c = 0; c < 300; c++)
        piece_unref(kit_put(s, c, 100, MANIFEST));
    store_close(s);
    s = kit_open(&settings);
    piece_unref(kit_put(s, 1000, 100, MANIFEST));
    struct stat st;
    char path[512];
    snprintf(path, sizeof path, "%s/index.db", directory);
    cr_assert(stat(path, &st) == 0);
    scribble(directory, 4096, (size_t)st.st_size - 4096);
    for (unsigned round = 0; round < 200 && count_aside(directory) == 0; round++) {
        struct store_facts f = kit_look(s, round, 100);
        cr_expect(f.piece == NULL || kit_is(f.piece, round, 100), "never wrong bytes");
        piece_unref(f.piece);
        kit_sleep_ms(20);
    }
    cr_expect(count_aside(directory) == 1, "set aside");
    struct store_facts f = kit_look(s, 1000, 100);
    cr_expect(f.confirmed != 0 && kit_is(f.piece, 1000, 100), "what this process learned stays");
    piece_unref(f.piece);
    f = kit_look(s, 299, 100);
    cr_expect(f.confirmed == 0, "what the damaged index said does not");
    cr_expect(kit_is(f.piece, 299, 100), "content is taken back");
    piece_unref(f.piece);
    store_close(s);
    kit_remove(directory);
}

// --- many at once ---

struct crowd {
    struct store *s;
    unsigned seed;
};

static void *crowd_main(void *arg) {
    struct crowd *c = arg;
    for (unsigned n = 0; n < 300; n++) {
        unsigned which = (n * 7 + c->seed) % 40;
        char d[DIGEST_TEXT_MAX + 1];
        free(kit_content(which, 2000, d));
        struct store_facts f;
        switch ((n + c->seed) % 6) {
        case 0:
            piece_unref(kit_put(c->s, which, 2000, ""));
            break;
        case 1:
            store_note_gone(c->s, KIT_REPOSITORY, d);
            break;
        case 2:
            store_note_confirmed(c->s, KIT_REPOSITORY, d, n);
            break;
        case 3:
            store_look(c->s, KIT_REPOSITORY, d, &f);
            cr_expect(f.piece == NULL || kit_is(f.piece, which, 2000), "right bytes");
            piece_unref(f.piece);
            break;
        case 4:
            store_remove(c->s, KIT_REPOSITORY, n % 30 == 4 ? NULL : "v1");
            break;
        default:
            store_recall(c->s, KIT_REPOSITORY, d, &f);
            if (f.piece != NULL)
                store_used(c->s, f.piece);
            piece_unref(f.piece);
        }
    }
    return NULL;
}

Test(store, many_threads) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    settings.max_size = 512 * 1024;
    struct store *s = kit_open(&settings);
    pthread_t threads[4];
    struct crowd crowds[4];
    for (unsigned n = 0; n < 4; n++) {
        crowds[n] = (struct crowd){s, n};
        pthread_create(&threads[n], NULL, crowd_main, &crowds[n]);
    }
    for (unsigned n = 0; n < 4; n++)
        pthread_join(threads[n], NULL);
    cr_expect(store_verify(s, 0, NULL, NULL, NULL) == 0, "all that is held is right");
    store_close(s);
    kit_remove(directory);
}

static void count_job(void *ctx) {
    atomic_fetch_add((atomic_uint *)ctx, 1);
}

Test(store, accepted_work_is_done) {
    char *directory = kit_directory(NULL);
    struct store_settings settings = kit_settings(directory, NULL);
    struct store *s = kit_open(&settings);
    atomic_uint done = 0;
    unsigned accepted = 0;
    for (unsigned n = 0; n < 3 * STORE_WORK_MAX; n++)
        accepted += store_work(s, count_job, &done);
    store_close(s);
    cr_expect(accepted >= STORE_WORK_MAX, "so many fit: %u", accepted);
    cr_expect(atomic_load(&done) == accepted, "all of them, at the latest when it is closed");
    kit_remove(directory);
}
