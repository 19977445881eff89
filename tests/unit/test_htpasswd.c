// SPDX-License-Identifier: Apache-2.0
//
// A site's password file: what is taken, what is refused, and who is let in.

#include "gateway/identity/htpasswd.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

static const char b_salt[] = "$2b$04$abcdefghijklmnopqrstuu", y_salt[] = "$2y$04$abcdefghijklmnopqrstuu";
static const char sha512_salt[] = "$6$rounds=1000$saltsalt$", sha256_salt[] = "$5$rounds=1000$saltsalt$";

static char *hashed(const char *password, const char *salt) {
    struct crypt_data data = {0};
    return mem_strdup(crypt_r(password, salt, &data));
}

/// NAME:HASH of "secret" under `salt`, then what follows.
static char *line_of(const char *name, const char *salt, const char *rest) {
    char *hash = hashed("secret", salt), *line = mem_printf("%s:%s%s", name, hash, rest);
    free(hash);
    return line;
}

Test(htpasswd, kinds) {
    static const struct {
        const char *name, *salt, *rest, *why;
    } rows[] = {
        {"alice", b_salt, "\n", "bcrypt as OpenBSD has it"},
        {"alice", y_salt, "\n", "bcrypt as `htpasswd -B` writes it"},
        {"alice", "$2a$04$abcdefghijklmnopqrstuu", "", "bcrypt 2a, and no newline at the end"},
        {"alice", sha512_salt, "\r\n", "SHA-512 crypt, lines as Windows ends them"},
        {"alice", "$6$saltsalt$", "\n", "SHA-512 crypt with the rounds that go without saying"},
        {"alice", sha256_salt, ":more:fields\n", "SHA-256 crypt, and fields that nobody reads"},
        {"alice", b_salt, "\n\n# a comment\n", "comments and empty lines"},
        {"\xc3\xa4", b_salt, "\n", "a name that is not ASCII"},
    };
    const struct hash_key key = {1, 2};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = line_of(rows[i].name, rows[i].salt, rows[i].rest);
        struct err err = {""};
        struct htpasswd *h = htpasswd_parse(text, strlen(text), &err);
        cr_assert_not_null(h, "%s: %s", rows[i].why, err.text);
        cr_expect_eq(htpasswd_check(h, &key, rows[i].name, "secret"), HTPASSWD_GOOD, "%s", rows[i].why);
        cr_expect_eq(htpasswd_check(h, &key, rows[i].name, "Secret"), HTPASSWD_WRONG, "%s", rows[i].why);
        cr_expect_eq(htpasswd_check(h, &key, rows[i].name, ""), HTPASSWD_WRONG, "%s", rows[i].why);
        cr_expect_eq(htpasswd_check(h, &key, "bob", "secret"), HTPASSWD_UNKNOWN,
                     "%s: a name that is not there is not let in by another's password", rows[i].why);
        htpasswd_unref(h);
        free(text);
    }
}

Test(htpasswd, refused) {
    static const struct {
        const char *text, *says, *why;
    } rows[] = {
        {"alice:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=\n", "SHA-1", "unsalted SHA-1"},
        {"alice:$apr1$salt$WMWTPVsI5rYBCEcmRUmWn/\n", "MD5", "Apache's MD5"},
        {"alice:$1$salt$qJH7.N4xYta3aEG/dfqo/0\n", "MD5", "MD5 crypt"},
        {"alice:secret\n", "plain or DES", "a plain password"},
        {"alice:rqXexS6ZhobKA\n", "plain or DES", "DES crypt"},
        {"alice:$2x$04$abcdefghijklmnopqrstuuKJ9t8JB2jMH0E0mO2KzF0j2qHnWZyqe\n", "2011", "the bcrypt with the error"},
        {"alice:$y$j9T$salt$hash\n", "not known", "a kind that this build does not take"},
        {"alice:$2b$15$abcdefghijklmnopqrstuuKJ9t8JB2jMH0E0mO2KzF0j2qHnWZyqe\n", "cost", "a cost that holds a thread"},
        {"alice:$2b$03$abcdefghijklmnopqrstuuKJ9t8JB2jMH0E0mO2KzF0j2qHnWZyqe\n", "cost", "a cost that is none"},
        {"alice:$2b$04$short\n", "not whole", "bcrypt cut short"},
        {"alice:$6$salt$short\n", "not whole", "SHA-512 cut short"},
        {"alice:$6$rounds=999999999$salt$x\n", "rounds", "rounds that hold a thread"},
        {"alice:$6$rounds=-1$salt$x\n", "rounds", "rounds below nothing"},
        {"alice:$6$rounds=$salt$x\n", "rounds", "rounds without a number"},
        {"alice:$6$$x\n", "not whole", "no salt"},
        {"alice:\n", "plain or DES", "an empty hash is no open door"},
        {"alice\n", "NAME:HASH", "no colon"},
        {":$2b$04$x\n", "NAME:HASH", "no name"},
        {"al\x01ice:$2b$04$x\n", "NAME:HASH", "a control character in the name"},
        {"\xff:$2b$04$x\n", "NAME:HASH", "a name that is no UTF-8"},
        {"# one\n\nalice:plain\n", "line 3", "the line is named"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = {""};
        cr_expect_null(htpasswd_parse(rows[i].text, strlen(rows[i].text), &err), "%s", rows[i].why);
        cr_expect(strstr(err.text, rows[i].says) != NULL, "%s: \"%s\" has no \"%s\"", rows[i].why, err.text,
                  rows[i].says);
        cr_expect(strstr(err.text, "$2b$") == NULL && strstr(err.text, "fEqN") == NULL, "%s: no hash is quoted",
                  rows[i].why);
    }
}

Test(htpasswd, a_nul_and_a_user_twice_are_refused) {
    char *line = line_of("alice", b_salt, "\n"), *twice = mem_printf("%s%s", line, line);
    struct err err = {""};
    cr_expect_null(htpasswd_parse(twice, strlen(twice), &err));
    cr_expect(strstr(err.text, "twice") != NULL, "%s", err.text);
    line[2] = '\0';
    cr_expect_null(htpasswd_parse(line, strlen(twice) / 2, &err), "a NUL in a name");
    free(line);
    free(twice);
}

Test(htpasswd, without_users_every_name_is_unknown) {
    const struct hash_key key = {3, 4};
    struct htpasswd *h = htpasswd_parse("", 0, NULL);
    cr_assert_not_null(h);
    cr_expect_eq(htpasswd_count(h), 0);
    cr_expect_eq(htpasswd_check(h, &key, "alice", "secret"), HTPASSWD_UNKNOWN);
    htpasswd_unref(h);
}

Test(htpasswd, what_stands_in_for_an_unknown_user_can_be_computed) {
    struct crypt_data data = {0};
    const char *made = crypt_r("x", "$2b$10$abcdefghijklmnopqrstuuPNYTJHCDlwkP6B9h0.Rbx4ObY5cN/i2", &data);
    cr_assert_not_null(made);
    cr_expect_eq(strlen(made), 60, "it costs what bcrypt costs, rather than failing at once");
}
