// SPDX-License-Identifier: Apache-2.0
//
// The state directory: who may have one, and files that are there whole or not at all.

#include "certs/state.h"
#include "pki.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char *top, *dir;
    struct err err;
};

static void setup(struct fixture *f) {
    f->top = pki_folder();
    f->dir = pki_path(f->top, "a/b/state");
    cr_assert_eq(state_directory(f->dir, true, &f->err), STATE_OK, "%s", f->err.text);
}

static void teardown(struct fixture *f) {
    free(f->dir);
    pki_folder_free(f->top);
}

static unsigned mode_of(const char *path) {
    struct stat st;
    cr_assert_eq(stat(path, &st), 0, "%s", path);
    return st.st_mode & 07777;
}

static unsigned mode_in(const struct fixture *f, const char *name) {
    char *path = pki_path(f->dir, name);
    unsigned mode = mode_of(path);
    free(path);
    return mode;
}

Test(state, directory) {
    struct fixture f;
    setup(&f);
    cr_expect_eq(mode_of(f.dir), 0700);
    cr_expect_eq(state_directory(f.dir, true, &f.err), STATE_OK, "again");
    char *none = pki_path(f.top, "none");
    cr_expect_eq(state_directory(none, false, &f.err), STATE_MISSING);
    free(none);
    for (unsigned mode = 0701; mode <= 0770; mode += 7) {
        chmod(f.dir, mode);
        cr_expect_eq(state_directory(f.dir, true, &f.err), STATE_FAILED, "mode %o", mode);
        cr_expect_not_null(strstr(f.err.text, "chmod 0700"), "%s", f.err.text);
    }
    char *file = pki_write(f.top, "file", NULL, NULL, NULL, 0600);
    cr_expect_eq(state_directory(file, true, &f.err), STATE_FAILED);
    cr_expect_not_null(strstr(f.err.text, "not a directory"));
    free(file);
    chmod(f.dir, 0700);
    if (geteuid() == 0) { // Root may look after a service's; what it writes is the service's.
        struct stat st;
        cr_assert_eq(chown(f.dir, 65534, 65534), 0);
        cr_expect_eq(state_directory(f.dir, false, &f.err), STATE_OK, "%s", f.err.text);
        cr_expect_eq(state_write(f.dir, "k", "x", 1, true, false, &f.err), STATE_OK);
        char *path = pki_path(f.dir, "k");
        cr_expect(stat(path, &st) == 0 && st.st_uid == 65534);
        free(path);
    }
    teardown(&f);
}

Test(state, files) {
    struct fixture f;
    char *data = NULL;
    size_t len = 0;
    setup(&f);
    cr_expect_eq(state_read(f.dir, "k", true, &data, &len, &f.err), STATE_MISSING);
    cr_expect_eq(state_write(f.dir, "k", "one", 3, true, false, &f.err), STATE_OK, "%s", f.err.text);
    cr_expect_eq(state_write(f.dir, "k", "two", 3, true, false, &f.err), STATE_MISSING, "who is first stays");
    cr_expect_eq(state_read(f.dir, "k", true, &data, &len, &f.err), STATE_OK);
    cr_expect_str_eq(data, "one");
    state_free(data, len);
    cr_expect_eq(state_write(f.dir, "k", "three", 5, true, true, &f.err), STATE_OK);
    cr_expect_eq(state_read(f.dir, "k", true, &data, &len, &f.err), STATE_OK);
    cr_expect(len == 5 && strcmp(data, "three") == 0);
    state_free(data, len);
    cr_expect_eq(state_write(f.dir, "p", "", 0, false, false, &f.err), STATE_OK);
    cr_expect_eq(mode_in(&f, "k"), 0600);
    cr_expect_eq(mode_in(&f, "p"), 0644);
    cr_expect_eq(state_read(f.dir, "p", true, &data, &len, &f.err), STATE_FAILED, "a secret that others may read");
    cr_expect_eq(state_read(f.dir, "p", false, &data, &len, &f.err), STATE_OK);
    cr_expect_eq(len, 0);
    state_free(data, len);
    char *link_path = pki_path(f.dir, "l"), *target = pki_path(f.dir, "k");
    cr_assert_eq(symlink(target, link_path), 0);
    cr_expect_eq(state_read(f.dir, "l", true, &data, &len, &f.err), STATE_FAILED, "a link is none of ours");
    cr_expect_eq(state_read_site(link_path, true, &data, &len, &f.err), STATE_OK, "a site may use one");
    state_free(data, len);
    chmod(target, 0640);
    cr_expect_eq(state_read_site(link_path, true, &data, &len, &f.err), STATE_OK, "its group may read");
    state_free(data, len);
    chmod(target, 0604);
    cr_expect_eq(state_read_site(link_path, true, &data, &len, &f.err), STATE_FAILED);
    cr_assert_eq(truncate(target, STATE_FILE_MAX + 1), 0);
    cr_expect_eq(state_read(f.dir, "k", false, &data, &len, &f.err), STATE_FAILED, "too large");
    cr_expect_eq(state_read(f.top, "a", false, &data, &len, &f.err), STATE_FAILED, "a folder");
    free(link_path);
    free(target);
    teardown(&f);
}

static void *write_many(void *arg) {
    const char *dir = arg;
    struct err err;
    char text[64];
    memset(text, (int)(pthread_self() >> 12) & 0x7f, sizeof text);
    for (int i = 0; i < 50; i++)
        state_write(dir, "shared", text, sizeof text, true, true, &err);
    return NULL;
}

Test(state, whole_or_not_at_all) {
    struct fixture f;
    pthread_t threads[4];
    setup(&f);
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_many, f.dir);
    for (int i = 0; i < 100; i++) {
        char *data = NULL;
        size_t len = 0;
        if (state_read(f.dir, "shared", true, &data, &len, &f.err) != STATE_OK)
            continue;
        cr_assert_eq(len, 64);
        for (size_t k = 1; k < len; k++)
            cr_assert_eq(data[k], data[0], "of one writer");
        state_free(data, len);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    teardown(&f);
}
