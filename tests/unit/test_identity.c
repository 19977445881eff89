// SPDX-License-Identifier: Apache-2.0
//
// Checking credentials, slowing down who guesses, giving tokens; with the room's threads.

#include "gateway/identity/ask.h"
#include "gateway/identity/credential.h"
#include "gateway/identity/identity.h"
#include "gateway/identity/throttle.h"
#include "gateway/identity/token.h"
#include "mirrors/base/json.h"
#include "mirrors/base/mem.h"
#include "tests/unit/jwks_server.h"
#include "tests/unit/jwt_kit.h"

#include <criterion/criterion.h>
#include <crypt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// --- Authorization ---

Test(credential, parse) {
    static const struct {
        const char *value;
        enum credential_kind kind;
        const char *user, *secret, *why;
    } rows[] = {
        {"Basic YWxpY2U6c2VjcmV0", CREDENTIAL_PASSWORD, "alice", "secret", "a user and a password"},
        {"bAsIc YWxpY2U6c2VjcmV0", CREDENTIAL_PASSWORD, "alice", "secret", "the scheme in any case"},
        {"Basic   YWxpY2U6c2VjcmV0", CREDENTIAL_PASSWORD, "alice", "secret", "more spaces"},
        {"Basic YWxpY2U6YTpiOmM=", CREDENTIAL_PASSWORD, "alice", "a:b:c", "colons in the password"},
        {"Basic Og==", CREDENTIAL_NOBODY, NULL, NULL, "podman with nothing"},
        {"Basic OnNlY3JldA==", CREDENTIAL_BAD, NULL, NULL, "a password without a user"},
        {"Basic YWxpY2U6", CREDENTIAL_BAD, NULL, NULL, "a user without a password"},
        {"Basic YWxpY2U=", CREDENTIAL_BAD, NULL, NULL, "no colon"},
        {"Basic YWxpY2U6c2VjcmV", CREDENTIAL_BAD, NULL, NULL, "padding that is missing"},
        {"Basic YWxpY2U6c2VjcmV0====", CREDENTIAL_BAD, NULL, NULL, "padding that is too much"},
        {"Basic Oh==", CREDENTIAL_BAD, NULL, NULL, "bits behind the last byte"},
        {"Basic YWxp Y2U6c2VjcmV0", CREDENTIAL_BAD, NULL, NULL, "a space inside"},
        {"Basic YWxpY2U6c2Vjcm-_", CREDENTIAL_BAD, NULL, NULL, "the letters of URLs"},
        {"Basic YWxpY2U6c2VjAHJldA==", CREDENTIAL_BAD, NULL, NULL, "a NUL in the password"},
        {"Basic YWwAaWNlOnNlY3JldA==", CREDENTIAL_BAD, NULL, NULL, "a NUL in the user name"},
        {"Basic YWwKaWNlOnNlY3JldA==", CREDENTIAL_BAD, NULL, NULL, "a line break in the user name"},
        {"Basic", CREDENTIAL_BAD, NULL, NULL, "the scheme alone"},
        {"Basic ", CREDENTIAL_BAD, NULL, NULL, "the scheme and a space"},
        {"", CREDENTIAL_BAD, NULL, NULL, "an empty value is no nobody"},
        {"Bearer eyJh.eyJi.c2ln", CREDENTIAL_TOKEN, NULL, "eyJh.eyJi.c2ln", "a token"},
        {"Bearer eyJh.eyJi.", CREDENTIAL_TOKEN, NULL, "eyJh.eyJi.", "one without a signature, to be refused as one"},
        {"Bearer eyJh.eyJi", CREDENTIAL_BAD, NULL, NULL, "two parts"},
        {"Bearer eyJh.eyJi.a.b", CREDENTIAL_BAD, NULL, NULL, "four parts"},
        {"Bearer opaque", CREDENTIAL_BAD, NULL, NULL, "an opaque token"},
        {"Bearer eyJh.eyJi.c2 n", CREDENTIAL_BAD, NULL, NULL, "a space inside"},
        {"Bearer ", CREDENTIAL_BAD, NULL, NULL, "no token"},
        {"Basic eDpleUpoLmV5SmkuYzJsbg==", CREDENTIAL_TOKEN, NULL, "eyJh.eyJi.c2ln", "a token as the password"},
        {"Basic OmV5SmguZXlKaS5jMmxu", CREDENTIAL_TOKEN, NULL, "eyJh.eyJi.c2ln", "and no user"},
        {"Negotiate YWxpY2U6c2VjcmV0", CREDENTIAL_BAD, NULL, NULL, "another scheme"},
        {"Basically YWxpY2U6c2VjcmV0", CREDENTIAL_BAD, NULL, NULL, "a scheme that begins so"},
        {" Basic YWxpY2U6c2VjcmV0", CREDENTIAL_BAD, NULL, NULL, "a space before"},
        {NULL, CREDENTIAL_NOBODY, NULL, NULL, "none"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct credential c;
        struct err err = {""};
        credential_parse(rows[i].value, rows[i].value != NULL ? strlen(rows[i].value) : 0, &c, &err);
        cr_expect_eq(c.kind, rows[i].kind, "%s", rows[i].why);
        cr_expect((err.text[0] != '\0') == (c.kind == CREDENTIAL_BAD), "%s", rows[i].why);
        if (rows[i].user != NULL)
            cr_expect_str_eq(c.user, rows[i].user, "%s", rows[i].why);
        if (rows[i].secret != NULL && c.secret != NULL)
            cr_expect_str_eq(c.secret, rows[i].secret, "%s", rows[i].why);
        credential_deinit(&c);
    }
}

Test(credential, bounds) {
    struct credential c;
    char *password = mem_alloc(20000);
    memset(password, 'a', 20000);
    password[CREDENTIAL_PASSWORD_MAX] = '\0';
    char *fits = kit_basic("alice", password);
    credential_parse(fits, strlen(fits), &c, NULL);
    cr_expect_eq(c.kind, CREDENTIAL_PASSWORD, "what libcrypt takes");
    credential_deinit(&c);
    password[CREDENTIAL_PASSWORD_MAX] = 'a';
    password[CREDENTIAL_PASSWORD_MAX + 1] = '\0';
    char *longer = kit_basic("alice", password), *name = kit_basic(password, "secret");
    credential_parse(longer, strlen(longer), &c, NULL);
    cr_expect_eq(c.kind, CREDENTIAL_BAD, "a byte more, of which nobody would look at the last");
    credential_parse(name, strlen(name), &c, NULL);
    cr_expect_eq(c.kind, CREDENTIAL_BAD, "a long name");
    memcpy(password, "Bearer eyJ", 10);
    password[CREDENTIAL_PASSWORD_MAX + 1] = 'a';
    credential_parse(password, IDENTITY_CREDENTIAL_MAX + 1, &c, NULL);
    cr_expect_eq(c.kind, CREDENTIAL_BAD, "a long header");
    free(password), free(fits), free(longer), free(name);
}

// --- throttling ---

Test(throttle, slows_and_forgets) {
    struct throttle *t = throttle_new(3, 60);
    for (int i = 0; i < 2; i++)
        throttle_failed(t, "192.0.2.1", "alice", 100);
    cr_expect_eq(throttle_wait(t, "192.0.2.1", "alice", 100), 0, "two of three");
    throttle_failed(t, "192.0.2.1", "alice", 110);
    cr_expect_eq(throttle_wait(t, "192.0.2.1", "alice", 110), 50, "until the window ends");
    cr_expect_eq(throttle_wait(t, "192.0.2.1", "bob", 110), 50, "the address, whoever is named");
    cr_expect_eq(throttle_wait(t, "192.0.2.2", "alice", 110), 50, "the name, from wherever");
    cr_expect_eq(throttle_wait(t, "192.0.2.2", "bob", 110), 0, "others go on");
    cr_expect_eq(throttle_wait(t, "192.0.2.1", "alice", 160), 0, "the window has ended");
    throttle_failed(t, "192.0.2.1", "alice", 170);
    cr_expect_eq(throttle_wait(t, "192.0.2.1", "alice", 170), 0, "a new one has one failure");
    cr_expect_eq(throttle_wait(t, "192.0.2.1", "alice", 50), 0, "a clock that goes back locks nobody out");
    throttle_free(t);
}

Test(throttle, a_success_forgets_its_own_name_only) {
    struct throttle *t = throttle_new(3, 60);
    throttle_failed(t, "192.0.2.1", "alice", 1);
    throttle_failed(t, "192.0.2.1", "mallory", 1);
    throttle_failed(t, "192.0.2.1", "mallory", 1);
    throttle_succeeded(t, "192.0.2.1", "mallory");
    cr_expect_eq(throttle_wait(t, "192.0.2.1", "mallory", 2), 0);
    throttle_failed(t, "192.0.2.1", "alice", 2);
    throttle_succeeded(t, "192.0.2.1", "mallory");
    throttle_failed(t, "192.0.2.1", "alice", 2);
    cr_expect_gt(throttle_wait(t, "192.0.2.1", "carol", 2), 0, "an own account buys no guesses at another's");
    throttle_free(t);
}

Test(throttle, an_owners_successes_buy_strangers_no_guesses) {
    struct throttle *t = throttle_new(3, 60);
    throttle_failed(t, "192.0.2.9", "alice", 1);
    for (int i = 0; i < 3; i++)
        throttle_failed(t, "192.0.2.1", "alice", 1);
    throttle_succeeded(t, "192.0.2.9", "alice");
    cr_expect_gt(throttle_wait(t, "192.0.2.2", "alice", 1), 0, "what others failed stays");
    throttle_free(t);
}

Test(throttle, addresses) {
    struct throttle *t = throttle_new(1, 60);
    throttle_failed(t, "2001:db8:1:2::1", NULL, 1);
    cr_expect_gt(throttle_wait(t, "2001:db8:1:2:ffff::9", NULL, 1), 0, "one network of IPv6 is one address");
    cr_expect_eq(throttle_wait(t, "2001:db8:1:3::1", NULL, 1), 0, "the next network");
    throttle_failed(t, "192.0.2.1", NULL, 1);
    cr_expect_eq(throttle_wait(t, "192.0.2.2", NULL, 1), 0, "each IPv4 address by itself");
    throttle_free(t);
}

Test(throttle, bounded) {
    struct throttle *t = throttle_new(2, 60);
    char name[32], address[32];
    for (int i = 0; i < THROTTLE_ENTRIES_MAX + 1000; i++) {
        snprintf(name, sizeof name, "user%d", i);
        snprintf(address, sizeof address, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        throttle_failed(t, address, name, 1);
    }
    cr_expect_leq(throttle_entries(t), 4 * THROTTLE_ENTRIES_MAX);
    throttle_free(t);
}

// --- what is asked of /token ---

Test(ask, parse) {
    static const struct {
        const char *text, *scopes, *user, *why;
        bool ok;
    } rows[] = {
        {"service=gw&scope=repository%3Aa%2Fb%3Apull&account=x", "repository:a/b:pull", NULL, "docker's", true},
        {"scope=a:b:c&scope=d:e:f", "a:b:c d:e:f", NULL, "several", true},
        {"scope=a:b:c+d:e:f", "a:b:c d:e:f", NULL, "several in one", true},
        {"grant_type=password&username=al%20ice&password=a%26b", "", "al ice", "a form", true},
        {"", "", NULL, "nothing", true},
        {"&&=&x", "", NULL, "nothing in several parts", true},
        {"username=a&username=b", NULL, NULL, "two users", false},
        {"username=%00a", NULL, NULL, "a NUL", false},
        {"username=%zz", NULL, NULL, "a percent sign that is none", false},
        {"username=%4", NULL, NULL, "half a percent sign", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ask a;
        struct err err = {""};
        bool ok = ask_parse(rows[i].text, strlen(rows[i].text), &a, &err);
        cr_expect_eq(ok, rows[i].ok, "%s: %s", rows[i].why, err.text);
        if (!ok)
            continue;
        cr_expect_str_eq(a.scopes.data != NULL ? a.scopes.data : "", rows[i].scopes, "%s", rows[i].why);
        if (rows[i].user != NULL)
            cr_expect_str_eq(a.username, rows[i].user, "%s", rows[i].why);
        ask_deinit(&a);
    }
}

// --- the room with its threads ---

struct house {
    char directory[64], users[96], state[96];
    struct identity_settings settings;
    struct identities *x;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    int answers, bad, known, slowed, nobody, status;
    char reason[ERR_TEXT_MAX], name[300], *body, *scope;
    unsigned retry_after_s;
    enum identity_how how;
};

static void write_file(const char *path, const char *text, mode_t mode) {
    char aside[128];
    snprintf(aside, sizeof aside, "%s.new", path);
    FILE *f = fopen(aside, "w");
    fputs(text, f);
    fchmod(fileno(f), mode);
    fclose(f);
    rename(aside, path);
}

static void write_users(struct house *h, const char *password) {
    struct crypt_data data = {0};
    char *text = mem_printf("alice:%s\n", crypt_r(password, "$2b$04$abcdefghijklmnopqrstuu", &data));
    write_file(h->users, text, 0600);
    free(text);
}

static void open_house(struct house *h) {
    *h = (struct house){.directory = "/tmp/pullgate-identity-XXXXXX"};
    cr_assert_not_null(mkdtemp(h->directory));
    snprintf(h->users, sizeof h->users, "%s/users", h->directory);
    snprintf(h->state, sizeof h->state, "%s/state", h->directory);
    write_users(h, "secret");
    h->settings = (struct identity_settings){.state_directory = h->state,
                                             .htpasswd = h->users,
                                             .token_lifetime_s = 300,
                                             .failures_max = 5,
                                             .failures_window_s = 600};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->answered, NULL);
}

static void start(struct house *h) {
    struct err err = {""};
    h->x = identities_new(&h->settings, &err);
    cr_assert_not_null(h->x, "%s", err.text);
}

static void close_house(struct house *h) {
    identities_free(h->x);
    free(h->body);
    free(h->scope);
    char *command = mem_printf("rm -rf %s", h->directory);
    cr_expect_eq(system(command), 0);
    free(command);
}

static void count(struct house *h) {
    h->answers++;
    pthread_cond_signal(&h->answered);
    pthread_mutex_unlock(&h->lock);
}

static void on_answer(void *ctx, const struct identity_answer *a) {
    struct house *h = ctx;
    pthread_mutex_lock(&h->lock);
    h->bad += a->verdict == IDENTITY_BAD;
    h->known += a->verdict == IDENTITY_KNOWN;
    h->slowed += a->verdict == IDENTITY_SLOWED;
    h->nobody += a->verdict == IDENTITY_NOBODY;
    snprintf(h->reason, sizeof h->reason, "%s", a->reason.text);
    snprintf(h->name, sizeof h->name, "%s", a->identity != NULL ? identity_name(a->identity) : "");
    h->how = a->identity != NULL ? identity_how(a->identity) : HOW_NOBODY;
    h->retry_after_s = a->retry_after_s;
    free(h->scope);
    h->scope = mem_strdup(a->scope);
    count(h);
}

static void on_token(void *ctx, const struct token_answer *a) {
    struct house *h = ctx;
    pthread_mutex_lock(&h->lock);
    h->status = a->status;
    h->retry_after_s = a->retry_after_s;
    snprintf(h->reason, sizeof h->reason, "%s", a->reason.text);
    snprintf(h->name, sizeof h->name, "%s", a->name);
    free(h->body);
    h->body = mem_strndup(a->body, a->len);
    count(h);
}

static void await(struct house *h, int answers) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&h->lock);
    while (h->answers < answers)
        if (pthread_cond_timedwait(&h->answered, &h->lock, &until) != 0)
            break;
    cr_assert_geq(h->answers, answers, "an answer is missing");
    pthread_mutex_unlock(&h->lock);
}

static void check(struct house *h, const char *value, const char *address) {
    int before = h->answers;
    h->bad = h->known = h->slowed = h->nobody = 0;
    identity_check(h->x, value, value != NULL ? strlen(value) : 0, address, on_answer, h);
    await(h, before + 1);
}

static void check_basic(struct house *h, const char *user, const char *password, const char *address) {
    char *value = kit_basic(user, password);
    check(h, value, address);
    free(value);
}

static void check_bearer(struct house *h, const char *token) {
    char *value = mem_printf("Bearer %s", token);
    check(h, value, "192.0.2.1");
    free(value);
}

static char *token_in(const struct house *h) {
    struct json *root = json_parse(h->body, strlen(h->body), JSON_STRICT, NULL);
    cr_assert_not_null(root, "%s", h->body);
    const char *token = json_get_string(root, "token"), *same = json_get_string(root, "access_token");
    cr_assert(token != NULL && same != NULL && strcmp(token, same) == 0, "%s", h->body);
    char *copy = mem_strdup(token);
    json_free(root);
    return copy;
}

static int64_t expires_in(const struct house *h) {
    struct json *root = json_parse(h->body, strlen(h->body), JSON_STRICT, NULL);
    const struct json *value = json_get(root, "expires_in");
    cr_assert(value != NULL && value->is_integer, "%s", h->body);
    int64_t seconds = value->integer;
    json_free(root);
    return seconds;
}

static void ask(struct house *h, struct token_request q) {
    int before = h->answers;
    q.address = q.address != NULL ? q.address : "192.0.2.1";
    q.authorization_len = q.authorization != NULL ? strlen(q.authorization) : 0;
    q.form_len = q.form != NULL ? strlen(q.form) : 0;
    identity_token(h->x, &q, on_token, h);
    await(h, before + 1);
}

Test(identity, passwords) {
    struct house h;
    open_house(&h);
    start(&h);
    check(&h, NULL, "192.0.2.1");
    cr_expect_eq(h.nobody, 1, "nothing is nobody");
    check(&h, "Basic Og==", "192.0.2.1");
    cr_expect_eq(h.nobody, 1, "podman's empty one is nobody");
    for (int i = 0; i < 2; i++) { // Hashed, then remembered.
        check_basic(&h, "alice", "secret", "192.0.2.1");
        cr_expect_eq(h.known, 1, "%s", h.reason);
        cr_expect_str_eq(h.name, "user:alice");
        cr_expect_eq(h.how, HOW_PASSWORD);
    }
    check_basic(&h, "alice", "wrong", "192.0.2.1");
    cr_expect(h.bad == 1 && strstr(h.reason, "wrong password of alice") != NULL, "%s", h.reason);
    check_basic(&h, "bob", "secret", "192.0.2.1");
    cr_expect(h.bad == 1 && strstr(h.reason, "unknown user bob") != NULL, "%s", h.reason);
    check(&h, "Digest x", "192.0.2.1");
    cr_expect_eq(h.bad, 1, "never taken for nobody");
    close_house(&h);
}

Test(identity, a_changed_file_is_read_and_what_was_remembered_forgotten) {
    struct house h;
    open_house(&h);
    start(&h);
    check_basic(&h, "alice", "secret", "192.0.2.1");
    cr_expect_eq(h.known, 1);
    write_users(&h, "another");
    for (int i = 0; i < 50 && h.bad == 0; i++) {
        usleep(100000);
        check_basic(&h, "alice", "secret", "192.0.2.1");
    }
    cr_expect_eq(h.bad, 1, "the old password holds no more");
    check_basic(&h, "alice", "another", "192.0.2.1");
    cr_expect_eq(h.known, 1);
    write_file(h.users, "alice:plain\n", 0600);
    usleep(1500000);
    check_basic(&h, "alice", "another", "192.0.2.2");
    cr_expect_eq(h.known, 1, "an unusable file changes nothing");
    struct err err = {""};
    cr_expect(!identities_reconfigure(h.x, &h.settings, &err) && strstr(err.text, "plain") != NULL, "%s", err.text);
    write_users(&h, "third");
    cr_expect(identities_reconfigure(h.x, &h.settings, &err));
    check_basic(&h, "alice", "third", "192.0.2.3");
    cr_expect_eq(h.known, 1);
    close_house(&h);
}

Test(identity, what_others_may_read_is_refused) {
    struct house h;
    struct err err = {""};
    open_house(&h);
    cr_expect(identity_settings_usable(&h.settings, &err), "%s", err.text);
    chmod(h.users, 0644);
    cr_expect(!identity_settings_usable(&h.settings, &err) && strstr(err.text, "others may read") != NULL, "%s",
              err.text);
    cr_expect_null(identities_new(&h.settings, &err));
    chmod(h.users, 0600);
    close_house(&h);
}

Test(identity, guessing_is_slowed) {
    struct house h;
    open_house(&h);
    start(&h);
    check_basic(&h, "alice", "secret", "192.0.2.9");
    for (int i = 0; i < 5; i++)
        check_basic(&h, "alice", "guess", "192.0.2.1");
    check_basic(&h, "alice", "secret", "192.0.2.1");
    cr_expect(h.slowed == 1 && h.retry_after_s > 0, "even the right one, from there");
    check_basic(&h, "alice", "secret", "192.0.2.9");
    cr_expect_eq(h.known, 1, "who is in stays in: the name alone locks nobody out whose password is remembered");
    for (int i = 0; i < 5; i++)
        check_basic(&h, "alice", "guess", "192.0.2.8");
    cr_expect_eq(h.slowed, 1, "but no one else may try for that name");
    check_basic(&h, "alice", "secret", "192.0.2.8");
    cr_expect_eq(h.slowed, 1, "and who goes on trying what may be remembered is slowed there");
    for (int i = 0; i < 9; i++)
        check_basic(&h, "alice", "guess", "192.0.2.7");
    check_basic(&h, "nobody", "at all", "192.0.2.7");
    cr_expect_eq(h.bad, 1, "a name that is slowed slows no other name from that address");
    close_house(&h);
}

Test(identity, a_thousand_bad_logins_are_bounded) {
    struct house h;
    open_house(&h);
    h.settings.failures_max = 20;
    start(&h);
    for (int i = 0; i < 1000; i++) {
        char password[32];
        snprintf(password, sizeof password, "guess%d", i);
        char *value = kit_basic(i % 2 ? "alice" : "nobody", password);
        identity_check(h.x, value, strlen(value), "192.0.2.1", on_answer, &h);
        free(value);
    }
    await(&h, 1000);
    cr_expect_eq(h.known, 0);
    cr_expect_leq(h.bad, 20 + 8, "no more are tried than may fail, and the few that ran meanwhile: %d", h.bad);
    cr_expect_eq(h.bad + h.slowed, 1000);
    close_house(&h);
}

Test(identity, the_same_password_at_once_is_hashed_once) {
    struct house h;
    open_house(&h);
    start(&h);
    char *value = kit_basic("alice", "secret");
    for (int i = 0; i < 500; i++)
        identity_check(h.x, value, strlen(value), "192.0.2.1", on_answer, &h);
    await(&h, 500);
    cr_expect_eq(h.known, 500, "many clients of one login are no flood");
    free(value);
    close_house(&h);
}

Test(identity, tokens_given) {
    struct house h;
    open_house(&h);
    start(&h);
    char *basic = kit_basic("alice", "secret"), *wrong = kit_basic("alice", "wrong");
    ask(&h,
        (struct token_request){.authorization = basic,
                               .query = "service=gw&account=alice&scope=repository:a/b:pull,push,fly&scope=registry:"
                                        "catalog:*"});
    cr_assert_eq(h.status, 200, "%s", h.body);
    cr_expect_str_eq(h.name, "user:alice");
    cr_expect(strstr(h.body, "\"expires_in\":300") != NULL && strstr(h.body, "\"issued_at\":\"20") != NULL, "%s",
              h.body);
    char *token = token_in(&h);
    check_bearer(&h, token);
    cr_expect_eq(h.known, 1, "%s", h.reason);
    cr_expect_str_eq(h.name, "user:alice");
    cr_expect_eq(h.how, HOW_TOKEN);
    cr_expect_str_eq(h.scope, "repository:a/b:pull,push", "what was asked, of what there is");

    char *as_password = kit_basic("whoever", token);
    ask(&h, (struct token_request){.authorization = as_password,
                                   .query = "scope=repository:a/b:pull,delete+repository:c:pull"});
    cr_assert_eq(h.status, 200, "%s", h.body);
    char *narrow = token_in(&h);
    check_bearer(&h, narrow);
    cr_expect_str_eq(h.scope, "repository:a/b:pull", "a token gives no more than it has");

    ask(&h, (struct token_request){.authorization = wrong, .query = ""});
    cr_expect_eq(h.status, 401);
    cr_expect(strstr(h.body, "UNAUTHORIZED") != NULL && strstr(h.body, "wrong password") == NULL, "%s", h.body);
    ask(&h, (struct token_request){.query = ""});
    cr_expect_eq(h.status, 401, "nobody, where nobody gets one");
    ask(&h, (struct token_request){.authorization = wrong, .query = "", .anonymous_allowed = true});
    cr_expect_eq(h.status, 401, "a bad login is not nobody");
    ask(&h, (struct token_request){.query = "scope=repository:a/b:pull", .anonymous_allowed = true});
    cr_assert_eq(h.status, 200, "%s", h.body);
    char *nobody = token_in(&h);
    check_bearer(&h, nobody);
    cr_expect_eq(h.nobody, 1, "a token for nobody says nobody");
    cr_expect_str_eq(h.scope, "repository:a/b:pull");

    ask(&h,
        (struct token_request){.form = "grant_type=password&username=alice&password=secret&scope=repository:a/b:pull"});
    cr_expect(h.status == 200 && strstr(h.body, "\"scope\":\"repository:a/b:pull\"") != NULL, "%s", h.body);
    ask(&h, (struct token_request){.form = "grant_type=password&username=alice&password=x"});
    cr_expect(h.status == 401 && strstr(h.body, "invalid_grant") != NULL, "%s", h.body);
    ask(&h, (struct token_request){.form = "grant_type=device_code"});
    cr_expect(h.status == 400 && strstr(h.body, "unsupported_grant_type") != NULL, "%s", h.body);
    ask(&h, (struct token_request){.form = "grant_type=password&username=alice"});
    cr_expect(h.status == 400 && strstr(h.body, "invalid_request") != NULL, "%s", h.body);

    struct peer peer = {.name = "ci.example.com"};
    struct identity *i = identity_of_peer(&peer);
    ask(&h, (struct token_request){.query = "", .peer = i});
    cr_expect_eq(h.status, 200);
    char *by_certificate = token_in(&h);
    check_bearer(&h, by_certificate);
    cr_expect_str_eq(h.name, "cert:ci.example.com");
    cr_expect_str_eq(h.scope, "", "a token for which nothing was asked is for nothing but signing in");
    ask(&h, (struct token_request){.query = "", .peer = i, .peer_ends = time(NULL) + 40});
    cr_assert_eq(h.status, 200, "%s", h.body);
    cr_expect(expires_in(&h) > 30 && expires_in(&h) <= 40, "it does not outlive the certificate: %s", h.body);
    ask(&h, (struct token_request){.query = "", .peer = i, .peer_ends = time(NULL) + 100000});
    cr_expect_eq(expires_in(&h), 300, "nor does a certificate lengthen it: %s", h.body);
    ask(&h, (struct token_request){.authorization = basic, .query = "", .peer = i, .peer_ends = time(NULL) + 40});
    cr_expect_eq(expires_in(&h), 300, "who says a password is not known by the certificate: %s", h.body);
    ask(&h, (struct token_request){.query = "", .peer = i, .peer_ends = time(NULL) - 1});
    cr_expect_eq(h.status, 401, "one that has just ended: %s", h.body);
    identity_unref(i);
    free(basic), free(wrong), free(token), free(as_password), free(narrow), free(nobody), free(by_certificate);
    close_house(&h);
}

Test(identity, a_revoked_token_is_noticed) {
    struct house h;
    open_house(&h);
    start(&h);
    char *token = identity_issue(h.state, "robot", NULL, 0, 86400, NULL), *value = kit_basic("x", token);
    check_bearer(&h, token);
    cr_expect(h.known == 1 && h.scope == NULL, "%s", h.reason);
    ask(&h, (struct token_request){.authorization = value, .query = ""});
    char *derived = token_in(&h);
    cr_assert(identity_revoke(h.state, "robot", NULL));
    for (int i = 0; i < 50 && h.bad == 0; i++) {
        usleep(100000);
        check_bearer(&h, token);
    }
    cr_expect(h.bad == 1 && strstr(h.reason, "revoked") != NULL, "%s", h.reason);
    check_bearer(&h, derived);
    cr_expect_eq(h.bad, 1, "and so is what was given for it");
    ask(&h, (struct token_request){.authorization = value, .query = ""});
    cr_expect_eq(h.status, 401);
    mem_wipe(token), free(value), free(derived);
    close_house(&h);
}

Test(identity, without_the_keys_every_token_is_bad) {
    struct house h;
    open_house(&h);
    start(&h);
    char *token = identity_issue(h.state, "robot", NULL, 0, 86400, NULL);
    char *keys = mem_printf("%s/" TOKEN_KEYS_FILE, h.state);
    check_bearer(&h, token);
    cr_assert_eq(h.known, 1, "%s", h.reason);
    cr_assert_eq(unlink(keys), 0);
    for (int i = 0; i < 50 && h.bad == 0; i++) {
        usleep(100000);
        check_bearer(&h, token);
    }
    cr_expect(h.bad == 1 && access(keys, R_OK) == 0, "a new key is made: %s", h.reason);
    mem_wipe(token), free(keys);
    close_house(&h);
}

/// `more`: claims beyond the usual, with a comma before each.
static char *issuer_token_with(const struct kit_key *k, const char *kid, int64_t lifetime, const char *more) {
    char *header = mem_printf("{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
    char *claims = mem_printf("{\"iss\":\"https://i\",\"aud\":\"pullgate\",\"sub\":\"alice\",\"groups\":[\"dev\"],"
                              "\"iat\":%ld,\"exp\":%ld%s}",
                              (long)time(NULL), (long)(time(NULL) + lifetime), more);
    char *token = kit_token(k, "ES256", NULL, header, claims);
    free(header);
    free(claims);
    return token;
}

static char *issuer_token(const struct kit_key *k, const char *kid, int64_t lifetime) {
    return issuer_token_with(k, kid, lifetime, "");
}

/// Until the keeper has seen what was revoked.
static void await_bad(struct house *h, const char *token) {
    for (int i = 0; i < 200; i++) {
        check_bearer(h, token);
        if (h->bad == 1)
            return;
        usleep(50000);
    }
    cr_expect_eq(h->bad, 1, "it is still good");
}

Test(identity, what_came_of_an_issuers_token_ends_with_it) {
    static const struct {
        const char *why, *jti, *revoked;
    } rows[] = {
        {"an id in the form of ours", ",\"jti\":\"0123456789abcdef0123456789abcdef\"",
         "0123456789abcdef0123456789abcdef"},
        {"an id of another form: by name", ",\"jti\":\"5e4f0e1c-86aa-4a3f-9b1f-1d1f5d1c0001\"", "alice"},
        {"no id: by name", "", "alice"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct house h;
        open_house(&h);
        struct kit_key *k = kit_key_new(KIT_P256);
        char *document = kit_jwks(kit_jwk(k, "one", ""), NULL), *file = mem_printf("%s/jwks.json", h.directory);
        struct oidc_settings issuer = {
            .issuer = "https://i", .audience = "pullgate", .jwks = file, .name_claim = "sub"};
        write_file(file, document, 0600);
        h.settings.oidc = &issuer;
        h.settings.oidc_count = 1;
        start(&h);
        char *theirs = issuer_token_with(k, "one", 3600, rows[i].jti), *basic = kit_basic("x", theirs);
        ask(&h, (struct token_request){.authorization = basic, .query = ""});
        cr_assert_eq(h.status, 200, "%s: %s %s", rows[i].why, h.body, h.reason);
        char *ours = token_in(&h), *again = kit_basic("x", ours);
        ask(&h, (struct token_request){.authorization = again, .query = ""});
        char *grandchild = token_in(&h);
        check_bearer(&h, grandchild);
        cr_expect_eq(h.known, 1, "%s: %s", rows[i].why, h.reason);
        cr_assert(identity_revoke(h.state, rows[i].revoked, NULL));
        await_bad(&h, ours);
        check_bearer(&h, grandchild);
        cr_expect_eq(h.bad, 1, "%s: what came of what came of it", rows[i].why);
        check_bearer(&h, theirs);
        cr_expect_eq(h.bad, 1, "%s: itself", rows[i].why);
        free(theirs), free(basic), free(ours), free(again), free(grandchild), free(document), free(file);
        close_house(&h);
        kit_key_free(k);
    }
}

Test(identity, an_issuer_is_asked_through_no_proxy_but_the_configurations) {
    static const struct {
        const char *why, *proxy, *no_proxy;
        bool reached;
    } rows[] = {
        {"the environment's is not used", NULL, NULL, true},
        {"the configuration's is", "http://127.0.0.1:1", NULL, false},
        {"but where it says not", "http://127.0.0.1:1", "127.0.0.1,localhost", true},
    };
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct house h;
        char ca[64], url[64];
        open_house(&h);
        struct jwks_server *server = jwks_server_new(ca, url);
        struct kit_key *k = kit_key_new(KIT_P256);
        char *document = kit_jwks(kit_jwk(k, "one", ""), NULL), *token = issuer_token(k, "one", 300);
        struct oidc_settings issuer = {.issuer = "https://i",
                                       .audience = "pullgate",
                                       .jwks = url,
                                       .ca = ca,
                                       .proxy = rows[i].proxy,
                                       .no_proxy = rows[i].no_proxy};
        jwks_server_set(server, document);
        h.settings.oidc = &issuer;
        h.settings.oidc_count = 1;
        start(&h);
        check_bearer(&h, token);
        cr_expect_eq(h.known, rows[i].reached, "%s: %s", rows[i].why, h.reason);
        free(document), free(token);
        close_house(&h);
        jwks_server_free(server);
        unlink(ca);
        kit_key_free(k);
    }
    unsetenv("https_proxy");
}

Test(identity, an_issuer_is_asked_for_an_unknown_key_once) {
    struct house h;
    char ca[64], url[64];
    open_house(&h);
    struct jwks_server *server = jwks_server_new(ca, url);
    struct oidc_settings issuer = {"https://i", "pullgate", url, ca, NULL, "groups", NULL, NULL};
    struct kit_key *first = kit_key_new(KIT_P256), *second = kit_key_new(KIT_P256);
    char *document = kit_jwks(kit_jwk(first, "one", ""), NULL);
    jwks_server_set(server, document);
    h.settings.oidc = &issuer;
    h.settings.oidc_count = 1;
    start(&h);
    char *good = issuer_token(first, "one", 300), *unknown = issuer_token(second, "two", 300);
    char *forged = issuer_token(second, "one", 300);
    check_bearer(&h, good); // It may wait for the first answer.
    cr_expect_eq(h.known, 1, "%s", h.reason);
    cr_expect_str_eq(h.name, "user:alice");
    cr_expect_eq(h.how, HOW_OIDC);
    check_bearer(&h, forged);
    cr_expect(h.bad == 1 && strstr(h.reason, "signature") != NULL, "%s", h.reason);
    int before = h.answers;
    for (int i = 0; i < 100; i++) {
        char *value = mem_printf("Bearer %s", unknown);
        identity_check(h.x, value, strlen(value), "192.0.2.1", on_answer, &h);
        free(value);
    }
    await(&h, before + 100);
    cr_expect(strstr(h.reason, "unknown key id") != NULL, "%s", h.reason);
    cr_expect_eq(jwks_server_requests(server), 1, "the first answer is too young to ask again: %d",
                 jwks_server_requests(server));
    jwks_server_set(server, NULL);
    check_bearer(&h, good);
    cr_expect_eq(h.known, 1, "an issuer that is down takes nothing away");
    free(good), free(unknown), free(forged), free(document);
    close_house(&h);
    jwks_server_free(server);
    unlink(ca);
    kit_key_free(first), kit_key_free(second);
}

Test(identity, many_wait_for_an_issuers_first_answer) {
    struct house h;
    char ca[64], url[64];
    open_house(&h);
    struct jwks_server *server = jwks_server_new(ca, url);
    struct oidc_settings issuer = {"https://i", "pullgate", url, ca, "sub", NULL, NULL, NULL};
    struct kit_key *k = kit_key_new(KIT_P256);
    char *document = kit_jwks(kit_jwk(k, "one", ""), NULL), *token = issuer_token(k, "one", 300);
    char *value = mem_printf("Bearer %s", token), *basic = kit_basic("ignored", token);
    jwks_server_set(server, document);
    h.settings.oidc = &issuer;
    h.settings.oidc_count = 1;
    start(&h);
    for (int i = 0; i < 200; i++)
        identity_check(h.x, value, strlen(value), "192.0.2.1", on_answer, &h);
    await(&h, 200);
    cr_expect_eq(h.known, 200, "%s", h.reason);
    cr_expect_eq(jwks_server_requests(server), 1);
    check(&h, basic, "192.0.2.1");
    cr_expect_eq(h.known, 1, "as the password of a login");
    cr_expect_str_eq(h.name, "user:alice", "whose user name is ignored");
    char *short_lived = issuer_token(k, "one", 20), *login = kit_basic("x", short_lived);
    ask(&h, (struct token_request){.authorization = login, .query = ""});
    cr_expect(h.status == 200 && strstr(h.body, "\"expires_in\":300") == NULL, "no longer than the issuer said: %s",
              h.body);
    cr_assert(identity_revoke(h.state, "alice", NULL));
    for (int i = 0; i < 50 && h.bad == 0; i++) {
        usleep(100000);
        check(&h, basic, "192.0.2.1");
    }
    cr_expect(h.bad == 1 && strstr(h.reason, "revoked") != NULL, "%s", h.reason);
    free(document), free(token), free(value), free(basic), free(short_lived), free(login);
    close_house(&h);
    jwks_server_free(server);
    unlink(ca);
    kit_key_free(k);
}

Test(identity, peers) {
    struct peer none = {.name = ""}, odd = {.name = "a\nb"};
    char group[] = "ci";
    struct peer good = {.name = "ci.example.com", .groups = {group}, .group_count = 1};
    cr_expect_null(identity_of_peer(&none));
    cr_expect_null(identity_of_peer(&odd));
    struct identity *i = identity_of_peer(&good);
    const char *const *groups;
    cr_assert_not_null(i);
    cr_expect_str_eq(identity_name(i), "cert:ci.example.com");
    cr_expect_str_eq(identity_how_word(identity_how(i)), "certificate");
    cr_expect(identity_groups(i, &groups) == 1 && strcmp(groups[0], "ci") == 0);
    identity_unref(i);
}
