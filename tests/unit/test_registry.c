// SPDX-License-Identifier: Apache-2.0
//
// Credentials: for which repository, and from which files.

#include "mirrors/base/mem.h"
#include "mirrors/upstream/registry.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[64];
    char *file;
    struct credential *c;
};

static struct fixture fixture_new(void) {
    struct fixture f = {.dir = "/tmp/pullgate-test-XXXXXX"};
    cr_assert_not_null(mkdtemp(f.dir), "a directory to work in");
    f.file = mem_printf("%s/robot.secret", f.dir);
    f.c = credential_new("robot", "robot$", f.file);
    return f;
}

static void fixture_free(struct fixture *f) {
    credential_free(f->c);
    unlink(f->file);
    rmdir(f->dir);
    free(f->file);
}

static void write_file(const char *path, const char *data, size_t len, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(fd >= 0, "open %s", path);
    cr_assert_eq(write(fd, data, len), (ssize_t)len, "write %s", path);
    fchmod(fd, mode);
    close(fd);
}

static void set_age(const char *path, time_t seconds) {
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0, "set the time of %s", path);
}

Test(registry, password_files) {
    static const struct {
        const char *data;
        size_t len;
        mode_t mode;
        const char *password; ///< NULL: refused.
        const char *error;    ///< A part of the sentence.
        const char *why;
    } rows[] = {
        {"hunter2", 7, 0600, "hunter2", NULL, "no newline"},
        {"hunter2\n", 8, 0400, "hunter2", NULL, "the newline of an editor"},
        {"hunter2\r\n\n", 10, 0600, "hunter2", NULL, "several newlines"},
        {" two words \n", 12, 0600, " two words ", NULL, "spaces belong to it"},
        {"{\n\"key\": 1\n}\n", 13, 0600, "{\n\"key\": 1\n}", NULL, "a key file of several lines"},
        {"hunter2", 7, 0640, NULL, "mode 0640", "the group can read it"},
        {"hunter2", 7, 0604, NULL, "mode 0604", "others can read it"},
        {"hunter2", 7, 0620, NULL, "mode 0620", "the group can change it"},
        {"", 0, 0600, NULL, "is empty", "empty"},
        {"\n\n", 2, 0600, NULL, "is empty", "only newlines"},
        {"a\0b", 3, 0600, NULL, "NUL", "a NUL inside"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f = fixture_new();
        struct err err = {0};
        write_file(f.file, rows[i].data, rows[i].len, rows[i].mode);
        bool ok = credential_load(f.c, false, &err);
        char *password = credential_password(f.c);
        cr_expect_eq(ok, rows[i].password != NULL, "%s: %s", rows[i].why, err.text);
        cr_expect_eq(password == NULL, rows[i].password == NULL, "%s", rows[i].why);
        if (password && rows[i].password)
            cr_expect_str_eq(password, rows[i].password, "%s", rows[i].why);
        if (rows[i].error)
            cr_expect(strstr(err.text, rows[i].error) && strstr(err.text, f.file) && strstr(err.text, "\"robot\""),
                      "%s: the sentence names credential, file and reason: %s", rows[i].why, err.text);
        cr_expect_null(strstr(err.text, "hunter2"), "%s: never the secret", rows[i].why);
        free(password);
        fixture_free(&f);
    }
}

Test(registry, password_file_sizes) {
    struct fixture f = fixture_new();
    struct err err = {0};
    static char data[64 * 1024 + 1];
    memset(data, 'x', sizeof data);
    write_file(f.file, data, sizeof data - 1, 0600);
    cr_expect(credential_load(f.c, true, &err), "64 KiB: %s", err.text);
    write_file(f.file, data, sizeof data, 0600);
    cr_expect_not(credential_load(f.c, true, &err), "one byte more");
    cr_expect(strstr(err.text, "larger than 65536"), "%s", err.text);
    fixture_free(&f);
}

Test(registry, no_regular_file, .timeout = 10) {
    struct fixture f = fixture_new();
    struct err err = {0};
    cr_expect_not(credential_load(f.c, false, &err), "no such file");
    cr_expect(strstr(err.text, "No such file"), "%s", err.text);
    cr_assert_eq(mkfifo(f.file, 0600), 0, "a pipe");
    cr_expect_not(credential_load(f.c, false, &err), "a pipe is refused and does not block");
    cr_expect(strstr(err.text, "not a regular file"), "%s", err.text);
    unlink(f.file);
    cr_assert_eq(symlink("/dev/zero", f.file), 0, "a link to a device");
    cr_expect_not(credential_load(f.c, false, &err), "a device is refused");
    unlink(f.file);
    cr_assert_eq(symlink(f.dir, f.file), 0, "a link to a directory");
    cr_expect_not(credential_load(f.c, false, NULL), "a directory is refused; the caller may not care why");
    fixture_free(&f);
}

Test(registry, read_again) {
    struct fixture f = fixture_new();
    struct err err = {0};
    write_file(f.file, "one\n", 4, 0600);
    set_age(f.file, 1000);
    cr_assert(credential_load(f.c, false, &err), "%s", err.text);

    write_file(f.file, "two\n", 4, 0600);
    set_age(f.file, 1000);
    cr_expect(credential_load(f.c, false, &err), "unchanged by its time: %s", err.text);
    char *password = credential_password(f.c);
    cr_expect_str_eq(password, "one", "not read again");
    free(password);

    cr_expect(credential_load(f.c, true, &err), "forced: %s", err.text);
    password = credential_password(f.c);
    cr_expect_str_eq(password, "two", "read again when forced");
    free(password);

    write_file(f.file, "three\n", 6, 0600);
    set_age(f.file, 999);
    cr_expect(credential_load(f.c, false, &err), "changed: %s", err.text);
    password = credential_password(f.c);
    cr_expect_str_eq(password, "three", "an older time is a change too");
    free(password);

    chmod(f.file, 0644);
    cr_expect_not(credential_load(f.c, true, &err), "refused now");
    password = credential_password(f.c);
    cr_expect_str_eq(password, "three", "the password before stays in force");
    free(password);
    fixture_free(&f);
}

Test(registry, which_credential) {
    struct credential *a = credential_new("a", "u", "/a"), *b = credential_new("b", "u", "/b");
    char *for_a[] = {"org-a/**", "shared/tool"}, *for_b[] = {"*/app-*"};
    struct credential_use uses[] = {{for_a, 2, a}, {for_b, 1, b}};
    struct registry r = {.name = "ghcr.io", .credentials = uses, .credential_count = 2};
    const struct {
        const char *repository;
        struct credential *expected;
        const char *why;
    } rows[] = {
        {"org-a/x", a, "below org-a"},
        {"org-a/x/y", a, "anywhere below org-a"},
        {"org-a/app-1", a, "the first match wins"},
        {"org-a", NULL, "`**` is at least one component"},
        {"org-ab/x", NULL, "components, not prefixes"},
        {"shared/tool", a, "by its full name"},
        {"shared/tool2", NULL, "the whole name"},
        {"z/app-1", b, "a star within a component"},
        {"z/y/app-1", NULL, "a star is one component"},
        {"elsewhere/x", NULL, "anonymous"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(registry_credential(&r, rows[i].repository), rows[i].expected, "%s: %s", rows[i].why,
                     rows[i].repository);
    char *all[] = {"**"};
    struct credential_use one = {all, 1, b};
    struct registry whole = {.name = "r", .credentials = &one, .credential_count = 1};
    cr_expect_eq(registry_credential(&whole, "any/thing"), b, "a plain string is one entry for everything");
    cr_expect_eq(registry_credential(&whole, "thing"), b, "also for one component");
    credential_free(a);
    credential_free(b);
}

Test(registry, freed_whole) {
    struct registry *r = mem_zalloc(1, sizeof *r);
    r->name = mem_strdup("r");
    r->endpoints = mem_zalloc(1, sizeof *r->endpoints);
    r->endpoints[0].base = mem_strdup("https://r");
    r->endpoints[0].path = mem_strdup("");
    r->endpoint_count = 1;
    r->redirect_hosts = mem_zalloc(1, sizeof *r->redirect_hosts);
    r->redirect_hosts[0] = mem_strdup("s3.example.com");
    r->redirect_host_count = 1;
    r->credentials = mem_zalloc(1, sizeof *r->credentials);
    r->credentials[0].repositories = mem_zalloc(1, sizeof(char *));
    r->credentials[0].repositories[0] = mem_strdup("**");
    r->credentials[0].count = 1;
    r->credential_count = 1;
    registry_free(r); // The leak checker is the judge.
    registry_free(NULL);
    credential_free(NULL);
}
