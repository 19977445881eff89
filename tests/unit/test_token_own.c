// SPDX-License-Identifier: Apache-2.0
//
// The gateway's own tokens: signed, verified, revoked, and keys that are rotated.

#include "certs/state.h"
#include "gateway/identity/base64.h"
#include "gateway/identity/identity.h"
#include "gateway/identity/token.h"
#include "mirrors/base/mem.h"
#include "tests/unit/jwt_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const int64_t day = 86400;

static char *directory_new(void) {
    char *path = mem_strdup("/tmp/pullgate-token-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    return path;
}

static void directory_free(char *path) {
    static const char *const names[] = {TOKEN_KEYS_FILE, TOKEN_REVOCATIONS_FILE, "token.lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *file = mem_printf("%s/%s", path, names[i]);
        unlink(file);
        free(file);
    }
    rmdir(path);
    free(path);
}

/// Judge by what the directory says now. "" when good, else the reason.
static char *judged(const char *directory, const char *token, int64_t now, struct token_claims *out) {
    struct err err = {""};
    struct token_claims claims = {0};
    struct jwt t;
    struct token_keys *keys = token_keys_load(directory, now, NULL);
    struct token_revoked *revoked = token_revoked_load(directory, NULL);
    cr_assert(keys != NULL && revoked != NULL);
    if (jwt_parse(token, strlen(token), &t, &err)) {
        cr_expect(token_verify(keys, revoked, &t, now, &claims, &err) == (err.text[0] == '\0'));
        jwt_deinit(&t);
    }
    if (out != NULL)
        *out = claims;
    else
        token_claims_deinit(&claims);
    token_keys_unref(keys);
    token_revoked_unref(revoked);
    return mem_strdup(err.text);
}

static void expect(const char *directory, const char *token, int64_t now, const char *says, const char *why) {
    char *text = judged(directory, token, now, NULL);
    if (says[0] == '\0')
        cr_expect_str_eq(text, "", "%s", why);
    else
        cr_expect(strstr(text, says) != NULL, "%s: \"%s\" has no \"%s\"", why, text, says);
    free(text);
}

Test(token_own, issued_for_a_machine) {
    static const char *const groups[] = {"release", "ci"};
    char *directory = directory_new();
    struct err err = {""};
    struct token_claims c;
    int64_t now = time(NULL);
    char *token = identity_issue(directory, "robot", groups, 2, 30 * day, &err);
    cr_assert_not_null(token, "%s", err.text);
    char *text = judged(directory, token, now, &c);
    cr_assert_str_eq(text, "");
    cr_expect_str_eq(c.name, "user:robot");
    cr_expect_eq(c.group_count, 2);
    cr_expect_str_eq(c.groups[1], "ci");
    cr_expect_null(c.scope, "a machine's token is for everything that the rules permit");
    cr_expect_eq(strlen(c.id), TOKEN_ID_LEN);
    token_claims_deinit(&c);
    free(text);
    expect(directory, token, now + 29 * day, "", "in its last day");
    expect(directory, token, now + 31 * day, "expired", "past its end");
    expect(directory, token, now - 3600, "not valid yet", "before it was made");
    char *other = directory_new();
    expect(other, token, now, "key that is not known", "another gateway's");
    struct stat st;
    char *file = mem_printf("%s/%s", directory, TOKEN_KEYS_FILE);
    cr_expect(stat(file, &st) == 0 && (st.st_mode & 077) == 0, "the keys are nobody else's");
    free(file);
    directory_free(other);
    mem_wipe(token);
    directory_free(directory);
}

Test(token_own, what_is_not_issued) {
    static const char *const control[] = {"a\nb"};
    static const struct {
        const char *name;
        const char *const *groups;
        size_t count;
        int64_t ttl;
        const char *why;
    } rows[] = {
        {"", NULL, 0, 60, "no name"},
        {"user:", NULL, 0, 60, "a prefix alone"},
        {"cert:ci.example.com", NULL, 0, 60, "a name that certificates have"},
        {"a\nb", NULL, 0, 60, "a control character"},
        {"robot", control, 1, 60, "a control character in a group"},
        {"robot", NULL, 0, 0, "no time at all"},
        {"robot", NULL, 0, -5, "a time that is past"},
        {"robot", NULL, 0, 401 * 86400, "over 400 days"},
        {"robot", NULL, 0, INT64_MAX, "for ever"},
    };
    char *directory = directory_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = {""};
        cr_expect_null(identity_issue(directory, rows[i].name, rows[i].groups, rows[i].count, rows[i].ttl, &err), "%s",
                       rows[i].why);
        cr_expect(err.text[0] != '\0', "%s", rows[i].why);
    }
    directory_free(directory);
}

Test(token_own, revoked_by_id_and_by_name) {
    char *directory = directory_new();
    int64_t now = time(NULL);
    struct token_claims c;
    char *first = identity_issue(directory, "robot", NULL, 0, day, NULL);
    char *second = identity_issue(directory, "robot", NULL, 0, day, NULL);
    char *other = identity_issue(directory, "alice", NULL, 0, day, NULL);
    free(judged(directory, first, now, &c));
    cr_assert(identity_revoke(directory, c.id, NULL));
    token_claims_deinit(&c);
    expect(directory, first, now, "revoked token of user:robot", "its id was revoked");
    expect(directory, second, now, "", "another id");
    cr_assert(token_revoke(directory, "robot", now, NULL));
    expect(directory, second, now, "revoked", "its name was revoked");
    expect(directory, other, now, "", "another name");
    struct token_revoked *r = token_revoked_load(directory, NULL);
    cr_expect(token_is_revoked(r, NULL, "user:robot", now) && !token_is_revoked(r, NULL, "user:robot", now + 1),
              "what is issued later is good");
    cr_expect(!token_is_revoked(r, "robot", "user:x", now), "an id is no name");
    token_revoked_unref(r);
    cr_expect(!identity_revoke(directory, "a\tb", NULL), "no name");
    mem_wipe(first);
    mem_wipe(second);
    mem_wipe(other);
    directory_free(directory);
}

Test(token_own, a_gateway_waits_for_nobody) {
    char *directory = directory_new(), *path = mem_printf("%s/token.lock", directory);
    struct err err = {""};
    int64_t now = time(NULL);
    token_keys_unref(token_keys_load(directory, now - 100 * day, NULL));
    int lock = open(path, O_RDWR | O_CREAT, 0600);
    cr_assert(lock >= 0 && flock(lock, LOCK_EX) == 0);
    cr_expect_not(token_keys_rotate(directory, now, 90 * day, &err), "somebody else is at it");
    cr_expect(strstr(err.text, "another process holds it") != NULL, "%s", err.text);
    close(lock);
    cr_expect(token_keys_rotate(directory, now, 90 * day, &err), "and later it is made: %s", err.text);
    struct token_keys *keys = token_keys_load(directory, now, NULL);
    cr_expect_eq(token_keys_newest(keys), now);
    token_keys_unref(keys);
    free(path);
    directory_free(directory);
}

Test(token_own, a_rotated_key_stays_until_its_tokens_have_ended) {
    char *directory = directory_new();
    int64_t now = time(NULL);
    char *token = identity_issue(directory, "robot", NULL, 0, 30 * day, NULL);
    cr_assert(token_keys_rotate(directory, now + 60, 0, NULL));
    expect(directory, token, now + 61, "", "after a rotation");
    cr_assert(token_keys_rotate(directory, now + 29 * day, 0, NULL));
    expect(directory, token, now + 29 * day, "", "after the next one");
    cr_assert(token_keys_rotate(directory, now + 31 * day, 0, NULL));
    expect(directory, token, now + 29 * day, "not known", "its key went when its last token had ended");
    struct token_keys *keys = token_keys_load(directory, now, NULL);
    size_t count = token_keys_count(keys);
    token_keys_unref(keys);
    cr_assert(token_keys_rotate(directory, now + 31 * day + 5, 90 * day, NULL));
    keys = token_keys_load(directory, now, NULL);
    cr_expect_eq(token_keys_count(keys), count, "a young key is not rotated because it is time");
    token_keys_unref(keys);
    mem_wipe(token);
    directory_free(directory);
}

Test(token_own, a_new_key_signs_when_others_have_read_it) {
    char *directory = directory_new();
    int64_t now = 2000000000;
    struct token_claims c = {.name = (char *)"user:a", .issued = now, .ends = now + 60};
    token_keys_unref(token_keys_load(directory, now - 100, NULL));
    struct token_keys *before = token_keys_load(directory, now, NULL);
    cr_assert(token_keys_rotate(directory, now, 0, NULL));
    struct token_keys *after = token_keys_load(directory, now, NULL);
    struct token_revoked *none = token_revoked_parse(NULL, 0, NULL);
    for (int late = 0; late < 2; late++) {
        char *token = token_sign(after, &c, late ? now + TOKEN_KEY_RIPE_S : now, NULL);
        struct token_claims out;
        struct jwt t;
        cr_assert(jwt_parse(token, strlen(token), &t, NULL));
        cr_expect_eq(token_verify(before, none, &t, now, &out, NULL), !late, "by who has not read the new key: late %d",
                     late);
        token_claims_deinit(&out);
        jwt_deinit(&t);
        mem_wipe(token);
    }
    token_keys_unref(before);
    token_keys_unref(after);
    token_revoked_unref(none);
    directory_free(directory);
}

Test(token_own, damaged_files_are_refused) {
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "empty"},
        {"{}", "nothing"},
        {"{\"format\":2,\"keys\":[]}", "another format"},
        {"{\"format\":1,\"keys\":[]}", "no key"},
        {"{\"format\":1,\"keys\":[{}]}", "a key that is none"},
        {"{\"format\":1,\"keys\":[{\"created\":1,\"until\":2,\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\",\"kid\":\"a\"}}]}",
         "a symmetric key"},
        {"{\"format\":1,\"format\":1,\"keys\":[]}", "a key of JSON twice"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = {""};
        cr_expect_null(token_keys_parse(rows[i].text, strlen(rows[i].text), &err), "%s", rows[i].why);
        cr_expect(err.text[0] != '\0', "%s", rows[i].why);
    }
    static const char *const lists[] = {"{}", "{\"format\":1,\"revoked\":[{}]}", "[",
                                        "{\"format\":1,\"revoked\":[{\"id\":\"a\",\"name\":\"b\",\"at\":1}]}",
                                        "{\"format\":1,\"revoked\":[{\"id\":\"a\\u0000\",\"at\":1}]}"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        cr_expect_null(token_revoked_parse(lists[i], strlen(lists[i]), NULL), "%s", lists[i]);
}

/// What somebody makes of a good token.
Test(token_own, forged) {
    char *directory = directory_new();
    int64_t now = time(NULL);
    char *good = identity_issue(directory, "robot", NULL, 0, day, NULL);
    struct kit_key *mine = kit_key_new(KIT_P256);
    char *text = NULL;
    size_t len = 0;
    cr_assert_eq(state_read(directory, TOKEN_KEYS_FILE, true, &text, &len, NULL), STATE_OK);
    const char *kid_at = strstr(text, "\"kid\":\"") + 7;
    char *kid = mem_strndup(kid_at, strcspn(kid_at, "\"")), *claims = NULL;
    claims = mem_printf("{\"iss\":\"pullgate\",\"aud\":\"pullgate\",\"sub\":\"user:root\",\"iat\":%ld,\"exp\":%ld,"
                        "\"jti\":\"1\",\"groups\":[]}",
                        (long)now, (long)now + 60);
    char *es = mem_printf("{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
    char *hs = mem_printf("{\"alg\":\"HS256\",\"kid\":\"%s\"}", kid);
    char *none = mem_printf("{\"alg\":\"none\",\"kid\":\"%s\"}", kid);
    char *path = mem_strdup("{\"alg\":\"ES256\",\"kid\":\"../../../../dev/null\"}");
    char *rows[] = {kit_token(mine, "ES256", NULL, es, claims), kit_token(mine, "HS256", text, hs, claims),
                    kit_token(mine, "none", NULL, none, claims), kit_token(mine, "ES256", NULL, path, claims)};
    expect(directory, rows[0], now, "signature is not right", "another key under our id");
    expect(directory, rows[1], now, "HS256", "HS256");
    expect(directory, rows[2], now, "none", "no signature");
    expect(directory, rows[3], now, "not known", "a key id that is a path");
    // Each half of the good one with a half of another.
    char *payload = strchr(good, '.') + 1, *signature = strrchr(good, '.');
    char *mixed = mem_printf("%.*s.%s", (int)(payload - good - 1), good, strchr(rows[0], '.') + 1);
    char *swapped = mem_printf("%.*s%s", (int)(strrchr(rows[0], '.') - rows[0]), rows[0], signature);
    expect(directory, mixed, now, "signature", "our header, their claims and signature");
    expect(directory, swapped, now, "signature", "their claims, our signature");
    signature[1] = signature[1] == 'A' ? 'B' : 'A';
    expect(directory, good, now, "signature", "a letter of the signature changed");
    for (size_t i = 0; i < 4; i++)
        free(rows[i]);
    free(mixed);
    free(swapped);
    free(es), free(hs), free(none), free(path), free(claims), free(kid);
    state_free(text, len);
    kit_key_free(mine);
    mem_wipe(good);
    directory_free(directory);
}

Test(token_own, scopes) {
    static const struct {
        const char *scope, *path, *action;
        bool permits;
        const char *why;
    } rows[] = {
        {NULL, "a/b", "push", true, "no scope narrows nothing"},
        {"", "a/b", "pull", false, "an empty one permits nothing"},
        {"repository:a/b:pull", "a/b", "pull", true, "the repository"},
        {"repository:a/b:pull", "a/b", "push", false, "another action"},
        {"repository:a/b:pull", "a/bc", "pull", false, "a longer name"},
        {"repository:a/b:pull", "a", "pull", false, "a shorter name"},
        {"repository:a/b:pull,push repository:c:pull", "c", "pull", true, "the second of two"},
        {"repository:a/b:pull,push", "a/b", "push", true, "the second action"},
        {"repository:a/b:*", "a/b", "delete", true, "every action"},
        {"repository:*:pull", "a/b", "pull", false, "a name is no pattern"},
        {"registry:catalog:*", "catalog", "pull", false, "another type"},
        {"repository:host:5000/a:pull", "host:5000/a", "pull", true, "a port in the name"},
        {"repository:a/b:pulling", "a/b", "pull", false, "an action that only begins so"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(token_scope_permits(rows[i].scope, rows[i].path, rows[i].action), rows[i].permits, "%s",
                     rows[i].why);
}
