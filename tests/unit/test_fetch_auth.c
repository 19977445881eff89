// SPDX-License-Identifier: Apache-2.0
//
// The fetcher against a scripted upstream: tokens, credentials, and the redirects that neither may follow.

#include "tests/unit/upstream.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// --- tokens ---

struct tokens {
    uint16_t port;
    bool refuse;         ///< 401 for ever, whatever the token.
    const char *failure; ///< What the token server says instead of a token.
    atomic_uint bare;    ///< Token requests without credentials.
};

static bool with_tokens(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct tokens *t = ctx;
    char challenge[200];
    snprintf(challenge, sizeof(challenge),
             "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\",service=\"s\"\r\n", upstream_port(u));
    if (strncmp(q->path, "/token", 6) == 0) {
        atomic_fetch_add(&t->bare, q->authorization[0] == '\0');
        usleep(50000); // Time for others to come and wait.
        return upstream_say(fd, t->failure != NULL ? t->failure : "200 OK", "",
                            t->failure != NULL ? "{\"details\":\"wrong password\"}" : "{\"token\":\"t1\"}");
    }
    if (t->refuse || strcmp(q->authorization, "Bearer t1") != 0)
        return upstream_say(fd, "401 No", challenge, "");
    return upstream_say(fd, "200 OK", "", "ok");
}

Test(fetch, token_is_shared) {
    enum { FETCHES = 40 };
    struct tokens t = {0};
    struct upstream *u = upstream_start(with_tokens, &t);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    free(r->endpoints[0].path);
    r->endpoints[0].path = mem_strdup("hub-proxy");
    struct fetcher *f = seen_fetcher(3);
    struct seen *all[FETCHES];
    struct fetch_spec spec = seen_spec(r, "a/b");
    for (int i = 0; i < FETCHES; i++)
        all[i] = seen_start(f, &spec);
    for (int i = 0; i < FETCHES; i++) {
        seen_await(all[i]);
        cr_expect_eq(all[i]->result.outcome, FETCH_OK, "%s", all[i]->result.err.text);
        seen_free(all[i]);
    }
    cr_expect_eq(upstream_count(u, "GET /token"), 1, "one token request for all");
    cr_expect_eq(upstream_count(u, "GET /token?service=s&scope=repository%3ahub-proxy%2fa%2fb%3apull"), 1,
                 "the endpoint's path is part of the scope");
    cr_expect_eq(upstream_count(u, "GET /v2/hub-proxy/a/b/manifests/v1"), FETCHES * 2, "and of the address");
    struct seen *s = seen_ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_OK);
    seen_free(s);
    cr_expect_eq(upstream_count(u, "GET /v2/hub-proxy/a/b/manifests/v1"), FETCHES * 2 + 1, "the token is remembered");
    spec = seen_spec(r, "a/other");
    s = seen_ask(f, &spec);
    seen_free(s);
    cr_expect_eq(upstream_count(u, "GET /token"), 2, "another repository, another token");
    seen_end(f, r, u);
}

Test(fetch, unauthorized_for_ever) {
    static const struct {
        bool refuse;
        const char *failure;
        enum fetch_outcome outcome;
        unsigned asked, tokens;
        const char *why;
    } rows[] = {
        {true, NULL, FETCH_REFUSED, 2, 1, "one fresh token, no more"},
        {false, "401 No", FETCH_REFUSED, 1, 1, "no token for us"},
        {false, "403 No", FETCH_REFUSED, 1, 1, "no token for us"},
        {false, "429 Slow", FETCH_LIMITED, 1, 1, "a limit on tokens"},
        {false, "503 No", FETCH_STATUS, 1, 1, "the token server is ill"},
        {false, "302 Go", FETCH_STATUS, 1, 1, "no redirects there"},
        {false, "200 OK", FETCH_BROKEN, 1, 1, "no token in the answer"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct tokens t = {.refuse = rows[i].refuse, .failure = rows[i].failure};
        struct upstream *u = upstream_start(with_tokens, &t);
        uint16_t port = upstream_port(u);
        struct registry *r = upstream_registry(&port, 1);
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s %s: %d (%s)", rows[i].failure, rows[i].why,
                     s->result.outcome, s->result.err.text);
        cr_expect_eq(upstream_count(u, "GET /v2/"), rows[i].asked, "%s", rows[i].why);
        cr_expect_eq(upstream_count(u, "GET /token"), rows[i].tokens, "%s", rows[i].why);
        if (rows[i].outcome == FETCH_REFUSED && rows[i].failure != NULL)
            cr_expect_str_eq(s->result.message, "wrong password", "%s", rows[i].why);
        seen_free(s);
        seen_end(f, r, u);
    }
}

// --- credentials ---

static void write_password(const char *path, const char *password) {
    FILE *file = fopen(path, "w");
    fchmod(fileno(file), 0600);
    fputs(password, file);
    fclose(file);
}

static bool basic(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    const char *const *wanted = ctx;
    if (strcmp(q->authorization, *wanted) == 0)
        return upstream_say(fd, "200 OK", "", "ok");
    return upstream_say(fd, "401 No", "WWW-Authenticate: Basic realm=\"x\"\r\n", "");
}

Test(fetch, password_is_read_again) {
    static const struct {
        const char *password; ///< Written before the request; NULL: the file is gone.
        const char *wanted;
        enum fetch_outcome outcome;
        const char *why;
    } rows[] = {
        {"one", "Basic dTpvbmU=", FETCH_OK, "the first password"},
        {"two", "Basic dTp0d28=", FETCH_OK, "a changed one is read after the 401"},
        {"two", "Basic dTpvbmU=", FETCH_CREDENTIAL, "a wrong one names the credential"},
        {NULL, "Basic dTp0d28=", FETCH_OK, "without the file the one before stays"},
    };
    char path[] = "/tmp/pullgate-password-XXXXXX";
    close(mkstemp(path));
    const char *wanted = "";
    struct upstream *u = upstream_start(basic, &wanted);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    r->endpoints[0].credential = credential_new("robot", "u", path);
    struct fetcher *f = seen_fetcher(1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct fetch_spec spec = seen_spec(r, "a/b");
        wanted = rows[i].wanted;
        unlink(path);
        if (rows[i].password != NULL)
            write_password(path, rows[i].password);
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        cr_expect_str_eq(s->result.credential, "robot", "%s", rows[i].why);
        cr_expect_null(strstr(s->result.err.text, "two"), "no password in a sentence");
        seen_free(s);
    }
    struct credential *c = r->endpoints[0].credential;
    seen_end(f, r, u);
    credential_free(c);
    unlink(path);
}

// --- redirects ---

struct hops {
    int left; ///< So many redirects, -1 for ever.
    const char *location;
    atomic_int with_authorization;
};

static bool redirecting(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct hops *h = ctx;
    char header[300];
    int at = 0;
    sscanf(q->path, "/hop/%d", &at);
    if (at >= h->left && h->left >= 0)
        return upstream_say(fd, "200 OK", "", "ok");
    snprintf(header, sizeof(header), "Location: /hop/%d\r\n", at + 1);
    return upstream_say(fd, "307 Go", header, "");
}

Test(fetch, hops_are_bounded) {
    static const struct {
        int hops;
        enum fetch_outcome outcome;
        const char *why;
    } rows[] = {
        {0, FETCH_OK, "none"},
        {5, FETCH_OK, "five"},
        {6, FETCH_REDIRECT, "six"},
        {-1, FETCH_REDIRECT, "for ever"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct hops h = {.left = rows[i].hops};
        struct upstream *u = upstream_start(redirecting, &h);
        uint16_t port = upstream_port(u);
        struct registry *r = upstream_registry(&port, 1);
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        seen_free(s);
        seen_end(f, r, u);
    }
}

struct storage {
    uint16_t other;
    atomic_int leaked;
};

static bool to_storage(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct storage *s = ctx;
    char header[300];
    if (strcmp(q->authorization, "Basic dTpvbmU=") != 0)
        return upstream_say(fd, "401 No", "WWW-Authenticate: Basic realm=\"x\"\r\n", "");
    snprintf(header, sizeof(header), "Location: http://127.0.0.1:%u/blob?X-Signature=secret\r\n", s->other);
    return upstream_say(fd, "307 Go", header, "");
}

static bool storage(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct storage *s = ctx;
    atomic_fetch_add(&s->leaked, q->authorization[0] != '\0');
    return upstream_say(fd, q->same_path == 1 ? "200 OK" : "403 No", "", "ok");
}

Test(fetch, credentials_stay_at_their_origin) {
    struct storage s = {0};
    char path[] = "/tmp/pullgate-password-XXXXXX";
    close(mkstemp(path));
    write_password(path, "one");
    struct upstream *a = upstream_start(to_storage, &s), *b = upstream_start(storage, &s);
    uint16_t port = upstream_port(a);
    s.other = upstream_port(b);
    struct registry *r = upstream_registry(&port, 1);
    struct credential *c = r->endpoints[0].credential = credential_new("robot", "u", path);
    r->redirect_hosts = mem_zalloc(1, sizeof(char *));
    r->redirect_hosts[0] = mem_strdup("127.0.0.1");
    r->redirect_host_count = 1;
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    struct seen *seen = seen_ask(f, &spec);
    cr_expect_eq(seen->result.outcome, FETCH_OK, "%s", seen->result.err.text);
    cr_expect_eq(atomic_load(&s.leaked), 0, "the storage host saw no Authorization");
    cr_expect_eq(seen->result.hop_count, 1);
    seen_free(seen);
    seen = seen_ask(f, &spec);
    cr_expect_eq(seen->result.outcome, FETCH_STATUS, "a 403 of the storage host is no refusal of the registry's: %s",
                 seen->result.err.text);
    cr_expect_null(strstr(seen->result.err.text, "secret"), "no presigned query in a sentence");
    seen_free(seen);
    seen_end(f, r, a);
    upstream_stop(b);
    credential_free(c);
    unlink(path);
}
