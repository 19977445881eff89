// SPDX-License-Identifier: Apache-2.0
//
// The fetcher against a scripted upstream: endpoints, tokens, redirects, deadlines, addresses, and what no upstream may
// do to it.

#include "tests/unit/upstream.h"

#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"
#include "mirrors/upstream/fetch.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_MAX = 1 << 20, PATIENCE_S = 20, SLOW_NAME_S = 3 };

// --- names: libcurl's resolver asks this ---

static struct addrinfo *address_info(const char *ip, const char *port) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *out = NULL;
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT,
                                                                                                "getaddrinfo");
    return real(ip, port, &hints, &out) == 0 ? out : NULL;
}

/// "slow.test" takes its time and fails; "two.test" has a refused address before a good one; "inside.test" leads to
/// loopback.
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    if (node != NULL && strcmp(node, "slow.test") == 0) {
        sleep(SLOW_NAME_S);
        return EAI_NONAME;
    }
    if (node != NULL && strcmp(node, "two.test") == 0) {
        *out = address_info("169.254.169.254", service);
        if (*out != NULL)
            (*out)->ai_next = address_info("127.0.0.1", service);
        return *out != NULL ? 0 : EAI_NONAME;
    }
    *out = address_info(node != NULL && strcmp(node, "inside.test") == 0 ? "127.0.0.1" : node, service);
    return *out != NULL ? 0 : EAI_NONAME;
}

// --- one fetch ---

struct owner {
    atomic_int refs;
};

static void owner_ref(void *object) {
    atomic_fetch_add(&((struct owner *)object)->refs, 1);
}

static void owner_unref(void *object) {
    atomic_fetch_sub(&((struct owner *)object)->refs, 1);
}

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf body;
    int heads, dones;
    struct fetch_result result;
    struct fetch *fetch;
};

static enum transfer_flow on_head(void *ctx, const struct transfer_head *head, const struct fetch_result *so_far) {
    struct seen *s = ctx;
    s->heads++;
    return TRANSFER_CONTINUE;
}

static enum transfer_flow on_body(void *ctx, const char *data, size_t len) {
    struct seen *s = ctx;
    buf_add(&s->body, data, len);
    return TRANSFER_CONTINUE;
}

static void on_done(void *ctx, const struct fetch_result *result) {
    struct seen *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->result = *result;
    s->dones++;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static const struct fetch_callbacks callbacks = {.head = on_head, .body = on_body, .done = on_done};
static struct owner keeper; // Each test is a process of its own.

static struct fetch_spec spec_for(const struct registry *r, const char *repository) {
    return (struct fetch_spec){
        .owner = {&keeper, owner_ref, owner_unref},
        .registry = r,
        .name = "test",
        .repository = repository,
        .resource = FETCH_MANIFEST,
        .reference = "v1",
        .whole = true,
        .deadline_ms = 10000,
        .connect_timeout_ms = 5000,
    };
}

static struct seen *start(struct fetcher *f, const struct fetch_spec *spec) {
    struct seen *s = mem_zalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    buf_init(&s->body, ANSWER_MAX);
    s->fetch = fetch_start(f, spec, &callbacks, s);
    return s;
}

static void await(struct seen *s) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&s->lock);
    int rc = 0;
    while (s->dones == 0 && rc == 0)
        rc = pthread_cond_timedwait(&s->changed, &s->lock, &until);
    pthread_mutex_unlock(&s->lock);
    cr_assert_eq(s->dones, 1, "done comes once");
}

static struct seen *ask(struct fetcher *f, const struct fetch_spec *spec) {
    struct seen *s = start(f, spec);
    await(s);
    return s;
}

static void seen_free(struct seen *s) {
    fetch_unref(s->fetch);
    buf_deinit(&s->body);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}

static struct fetcher *new_fetcher(unsigned threads) {
    struct err err;
    struct fetcher *f = fetcher_new(threads, &err);
    cr_assert_not_null(f, "%s", err.text);
    return f;
}

static void end(struct fetcher *f, struct registry *r, struct upstream *u) {
    fetcher_free(f);
    cr_expect_eq(atomic_load(&keeper.refs), 0, "every reference to the configuration was given back");
    registry_free(r);
    if (u != NULL)
        upstream_stop(u);
}

static bool say(int fd, const char *status, const char *headers, const char *body) {
    return upstream_send(fd, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body), headers, body);
}

// --- what one answer becomes ---

static bool say_script(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    upstream_send(fd, "%s", (const char *)ctx);
    return false;
}

Test(fetch, one_answer) {
    static const struct {
        const char *answer;
        enum fetch_outcome outcome;
        const char *message, *why;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", FETCH_OK, "", "a plain answer"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", FETCH_OK, "", "chunks"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", FETCH_OK, "",
         "a 1xx before it"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", FETCH_BROKEN, "", "cut short"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", FETCH_BROKEN, "", "cut inside of a chunk"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", FETCH_BROKEN, "", "no last chunk"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n", FETCH_BROKEN, "", "no chunk size"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", FETCH_BROKEN, "",
         "libcurl would unpack it"},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", FETCH_ENCODED, "", "encoded"},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
         FETCH_ENCODED, "", "encoded, and then said not to be"},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: "
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"
         "Content-Length: 2\r\n\r\nok",
         FETCH_ENCODED, "", "an encoding that is too long to keep"},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", FETCH_OK, "", "identity"},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 66\r\n\r\n"
         "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"no\\nsuch tag\"}]} ",
         FETCH_NOT_FOUND, "no such tag", "404 with the upstream's words, in one line"},
        {"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n", FETCH_RANGE, "", "416"},
        {"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", FETCH_LIMITED, "", "429"},
        {"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", FETCH_REFUSED, "", "401 without a challenge"},
        {"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n", FETCH_REFUSED, "",
         "Basic, and no credentials"},
        {"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"https://evil.example/t\"\r\nContent-Length: 0\r\n\r\n",
         FETCH_REALM_HOST, "", "a realm elsewhere"},
        {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", FETCH_REFUSED, "", "403"},
        {"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", FETCH_STATUS, "", "an only endpoint with 5xx"},
        {"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\n\r\n", FETCH_STATUS, "", "a 206 that nobody asked for"},
        {"HTTP/1.1 302 Go\r\nContent-Length: 0\r\n\r\n", FETCH_BROKEN, "", "a redirect to nowhere"},
        {"HTTP/1.1 302 Go\r\nLocation: https://evil.example/x\r\nContent-Length: 0\r\n\r\n", FETCH_REDIRECT_HOST, "",
         "a redirect to a host that is not listed"},
        {"HTTP/1.1 302 Go\r\nLocation: http://169.254.169.254/x\r\nContent-Length: 0\r\n\r\n", FETCH_ADDRESS, "",
         "a redirect to the metadata service"},
        {"HTTP/1.1 302 Go\r\nLocation: ftp://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n", FETCH_REDIRECT, "",
         "a redirect to another protocol"},
        {"ok\r\n\r\n", FETCH_BROKEN, "", "HTTP/0.9"},
        {"", FETCH_BROKEN, "", "nothing"},
        {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nok", FETCH_BROKEN, "", "a negative length"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct upstream *u = upstream_start(say_script, (void *)rows[i].answer);
        uint16_t port = upstream_port(u);
        struct registry *r = upstream_registry(&port, 1);
        struct fetcher *f = new_fetcher(1);
        struct fetch_spec spec = spec_for(r, "a/b");
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %d (%s)", rows[i].why, s->result.outcome,
                     s->result.err.text);
        cr_expect_str_eq(s->result.message, rows[i].message, "%s: %s", rows[i].why, s->result.message);
        cr_expect_eq(s->result.err.text[0] == '\0', rows[i].outcome == FETCH_OK, "%s: a sentence", rows[i].why);
        if (rows[i].outcome == FETCH_OK)
            cr_expect_str_eq(s->body.data, "ok", "%s", rows[i].why);
        if (rows[i].outcome == FETCH_LIMITED)
            cr_expect_str_eq(s->result.retry_after, "7", "%s", rows[i].why);
        seen_free(s);
        end(f, r, u);
    }
}

static bool endless_head(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    upstream_send(fd, "HTTP/1.1 200 OK\r\n");
    while (upstream_send(fd, "X-Filler: %0512d\r\n", 0)) {
    }
    return false;
}

static bool endless_continue(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    while (upstream_send(fd, "HTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n")) {
    }
    return false;
}

static bool endless_error(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    upstream_send(fd, "HTTP/1.1 404 No\r\n\r\n");
    while (upstream_send(fd, "%0512d", 0)) {
    }
    return false;
}

Test(fetch, endless) {
    static const struct {
        upstream_fn answer;
        enum fetch_outcome outcome;
        const char *why;
    } rows[] = {
        {endless_head, FETCH_BROKEN, "a head without end"},
        {endless_continue, FETCH_BROKEN, "1xx for ever"},
        {endless_error, FETCH_NOT_FOUND, "an error body without end"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct upstream *u = upstream_start(rows[i].answer, NULL);
        uint16_t port = upstream_port(u);
        struct registry *r = upstream_registry(&port, 1);
        struct fetcher *f = new_fetcher(1);
        struct fetch_spec spec = spec_for(r, "a/b");
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        seen_free(s);
        end(f, r, u);
    }
}

static bool say_more(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    if (q->number > 1)
        return say(fd, "200 OK", "", "ok");
    return upstream_send(
        fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
}

Test(fetch, leftovers_answer_nobody) {
    struct upstream *u = upstream_start(say_more, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = new_fetcher(1);
    struct fetch_spec spec = spec_for(r, "a/b");
    for (int i = 0; i < 3; i++) {
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, FETCH_OK, "%s", s->result.err.text);
        cr_expect_str_eq(s->body.data, "ok", "request %d got its own answer", i);
        seen_free(s);
        usleep(20000);
    }
    cr_expect_eq(upstream_count(u, "GET "), 3);
    end(f, r, u);
}

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
        return say(fd, t->failure != NULL ? t->failure : "200 OK", "",
                   t->failure != NULL ? "{\"details\":\"wrong password\"}" : "{\"token\":\"t1\"}");
    }
    if (t->refuse || strcmp(q->authorization, "Bearer t1") != 0)
        return say(fd, "401 No", challenge, "");
    return say(fd, "200 OK", "", "ok");
}

Test(fetch, token_is_shared) {
    enum { FETCHES = 40 };
    struct tokens t = {0};
    struct upstream *u = upstream_start(with_tokens, &t);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    free(r->endpoints[0].path);
    r->endpoints[0].path = mem_strdup("hub-proxy");
    struct fetcher *f = new_fetcher(3);
    struct seen *all[FETCHES];
    struct fetch_spec spec = spec_for(r, "a/b");
    for (int i = 0; i < FETCHES; i++)
        all[i] = start(f, &spec);
    for (int i = 0; i < FETCHES; i++) {
        await(all[i]);
        cr_expect_eq(all[i]->result.outcome, FETCH_OK, "%s", all[i]->result.err.text);
        seen_free(all[i]);
    }
    cr_expect_eq(upstream_count(u, "GET /token"), 1, "one token request for all");
    cr_expect_eq(upstream_count(u, "GET /token?service=s&scope=repository%3ahub-proxy%2fa%2fb%3apull"), 1,
                 "the endpoint's path is part of the scope");
    cr_expect_eq(upstream_count(u, "GET /v2/hub-proxy/a/b/manifests/v1"), FETCHES * 2, "and of the address");
    struct seen *s = ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_OK);
    seen_free(s);
    cr_expect_eq(upstream_count(u, "GET /v2/hub-proxy/a/b/manifests/v1"), FETCHES * 2 + 1, "the token is remembered");
    spec = spec_for(r, "a/other");
    s = ask(f, &spec);
    seen_free(s);
    cr_expect_eq(upstream_count(u, "GET /token"), 2, "another repository, another token");
    end(f, r, u);
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
        struct fetcher *f = new_fetcher(1);
        struct fetch_spec spec = spec_for(r, "a/b");
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s %s: %d (%s)", rows[i].failure, rows[i].why,
                     s->result.outcome, s->result.err.text);
        cr_expect_eq(upstream_count(u, "GET /v2/"), rows[i].asked, "%s", rows[i].why);
        cr_expect_eq(upstream_count(u, "GET /token"), rows[i].tokens, "%s", rows[i].why);
        if (rows[i].outcome == FETCH_REFUSED && rows[i].failure != NULL)
            cr_expect_str_eq(s->result.message, "wrong password", "%s", rows[i].why);
        seen_free(s);
        end(f, r, u);
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
        return say(fd, "200 OK", "", "ok");
    return say(fd, "401 No", "WWW-Authenticate: Basic realm=\"x\"\r\n", "");
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
    struct fetcher *f = new_fetcher(1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct fetch_spec spec = spec_for(r, "a/b");
        wanted = rows[i].wanted;
        unlink(path);
        if (rows[i].password != NULL)
            write_password(path, rows[i].password);
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        cr_expect_str_eq(s->result.credential, "robot", "%s", rows[i].why);
        cr_expect_null(strstr(s->result.err.text, "two"), "no password in a sentence");
        seen_free(s);
    }
    struct credential *c = r->endpoints[0].credential;
    end(f, r, u);
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
        return say(fd, "200 OK", "", "ok");
    snprintf(header, sizeof(header), "Location: /hop/%d\r\n", at + 1);
    return say(fd, "307 Go", header, "");
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
        struct fetcher *f = new_fetcher(1);
        struct fetch_spec spec = spec_for(r, "a/b");
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        seen_free(s);
        end(f, r, u);
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
        return say(fd, "401 No", "WWW-Authenticate: Basic realm=\"x\"\r\n", "");
    snprintf(header, sizeof(header), "Location: http://127.0.0.1:%u/blob?X-Signature=secret\r\n", s->other);
    return say(fd, "307 Go", header, "");
}

static bool storage(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct storage *s = ctx;
    atomic_fetch_add(&s->leaked, q->authorization[0] != '\0');
    return say(fd, q->same_path == 1 ? "200 OK" : "403 No", "", "ok");
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
    struct fetcher *f = new_fetcher(1);
    struct fetch_spec spec = spec_for(r, "a/b");
    struct seen *seen = ask(f, &spec);
    cr_expect_eq(seen->result.outcome, FETCH_OK, "%s", seen->result.err.text);
    cr_expect_eq(atomic_load(&s.leaked), 0, "the storage host saw no Authorization");
    cr_expect_eq(seen->result.hop_count, 1);
    seen_free(seen);
    seen = ask(f, &spec);
    cr_expect_eq(seen->result.outcome, FETCH_STATUS, "a 403 of the storage host is no refusal of the registry's: %s",
                 seen->result.err.text);
    cr_expect_null(strstr(seen->result.err.text, "secret"), "no presigned query in a sentence");
    seen_free(seen);
    end(f, r, a);
    upstream_stop(b);
    credential_free(c);
    unlink(path);
}

// --- endpoints ---

static bool fixed(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    return say(fd, ctx, "", "ok");
}

Test(fetch, next_endpoint) {
    static const struct {
        const char *first; ///< Its status; NULL: nothing listens there.
        enum fetch_outcome outcome;
        unsigned second; ///< Requests to the second endpoint after two fetches.
        unsigned first_asked;
        const char *why;
    } rows[] = {
        {"200 OK", FETCH_OK, 0, 2, "the first answers"},
        {"500 No", FETCH_OK, 2, 1, "5xx: the second, and the first rests"},
        {NULL, FETCH_OK, 2, 0, "a refused connection"},
        {"404 No", FETCH_NOT_FOUND, 0, 2, "404 is an answer"},
        {"403 No", FETCH_REFUSED, 0, 2, "403 is an answer"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct upstream *a = upstream_start(fixed, (void *)rows[i].first);
        struct upstream *b = upstream_start(fixed, "200 OK");
        uint16_t ports[] = {upstream_port(a), upstream_port(b)};
        if (rows[i].first == NULL) {
            upstream_stop(a);
            a = NULL;
        }
        struct registry *r = upstream_registry(ports, 2);
        struct fetcher *f = new_fetcher(1);
        struct fetch_spec spec = spec_for(r, "a/b");
        for (int k = 0; k < 2; k++) {
            struct seen *s = ask(f, &spec);
            cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
            seen_free(s);
        }
        cr_expect_eq(upstream_count(b, "GET "), rows[i].second, "%s: second endpoint", rows[i].why);
        cr_expect_eq(a != NULL ? upstream_count(a, "GET ") : 0, rows[i].first_asked, "%s: first endpoint", rows[i].why);
        end(f, r, a);
        upstream_stop(b);
    }
}

Test(fetch, all_endpoints_ill) {
    struct upstream *a = upstream_start(fixed, "500 No"), *b = upstream_start(fixed, "503 No");
    uint16_t ports[] = {upstream_port(a), upstream_port(b)};
    struct registry *r = upstream_registry(ports, 2);
    struct fetcher *f = new_fetcher(1);
    struct fetch_spec spec = spec_for(r, "a/b");
    for (unsigned k = 1; k <= 3; k++) {
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, FETCH_STATUS, "%s", s->result.err.text);
        cr_expect_eq(s->result.status, 503, "the last one's");
        cr_expect_eq(upstream_count(a, "GET "), k, "resting ones are asked when there is no other");
        seen_free(s);
    }
    end(f, r, a);
    upstream_stop(b);
}

static bool token_ill(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    char challenge[200];
    snprintf(challenge, sizeof(challenge), "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\"\r\n",
             upstream_port(u));
    return strncmp(q->path, "/token", 6) == 0 ? say(fd, "502 No", "", "") : say(fd, "401 No", challenge, "");
}

Test(fetch, token_server_ill) {
    struct upstream *a = upstream_start(token_ill, NULL), *b = upstream_start(fixed, "200 OK");
    uint16_t ports[] = {upstream_port(a), upstream_port(b)};
    struct registry *r = upstream_registry(ports, 2);
    struct fetcher *f = new_fetcher(1);
    struct fetch_spec spec = spec_for(r, "a/b");
    struct seen *s = ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_OK, "the second endpoint answers: %s", s->result.err.text);
    seen_free(s);
    end(f, r, a);
    upstream_stop(b);
}

Test(fetch, mismatch_is_remembered) {
    struct upstream *a = upstream_start(fixed, "200 OK"), *b = upstream_start(fixed, "200 OK");
    uint16_t ports[] = {upstream_port(a), upstream_port(b)};
    struct registry *r = upstream_registry(ports, 2);
    struct fetcher *f = new_fetcher(1);
    struct fetch_spec spec = spec_for(r, "a/b");
    struct seen *s = ask(f, &spec);
    fetch_mismatched(f, "test", s->result.upstream, "v1", "it was wrong");
    seen_free(s);
    s = ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_OK, "the other endpoint is asked");
    cr_expect_eq(upstream_count(b, "GET "), 1);
    fetch_mismatched(f, "test", s->result.upstream, "v1", "it was wrong too");
    seen_free(s);
    s = ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_MISMATCH, "at once");
    cr_expect(strstr(s->result.err.text, "it was wrong") != NULL, "%s", s->result.err.text);
    cr_expect_eq(upstream_count(a, "GET ") + upstream_count(b, "GET "), 2, "nobody is asked");
    seen_free(s);
    end(f, r, a);
    upstream_stop(b);
}

// --- time ---

static bool hang_at_once(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    upstream_hang(u, fd);
    return false;
}

static bool hang_in_body(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
    upstream_hang(u, fd);
    return false;
}

static bool hang_in_token(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    if (strncmp(q->path, "/token", 6) == 0)
        return hang_at_once(ctx, u, fd, q);
    return token_ill(ctx, u, fd, q);
}

static bool hang_in_error(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    upstream_send(fd, "HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nok");
    upstream_hang(u, fd);
    return false;
}

Test(fetch, deadline) {
    static const struct {
        upstream_fn answer;
        bool second; ///< A second endpoint that answers.
        enum fetch_outcome outcome;
        const char *why;
    } rows[] = {
        {hang_at_once, false, FETCH_TIMEOUT, "no head"},
        {hang_in_body, false, FETCH_TIMEOUT, "a manifest's body"},
        {hang_in_token, false, FETCH_TIMEOUT, "no token"},
        {hang_in_error, false, FETCH_TIMEOUT, "an error's body"},
        {hang_at_once, true, FETCH_OK, "no head, but another endpoint"},
        {hang_in_token, true, FETCH_OK, "no token, but another endpoint"},
        {hang_in_body, true, FETCH_TIMEOUT, "a body that has begun is not asked for elsewhere"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct upstream *a = upstream_start(rows[i].answer, NULL), *b = upstream_start(fixed, "200 OK");
        uint16_t ports[] = {upstream_port(a), upstream_port(b)};
        struct registry *r = upstream_registry(ports, rows[i].second ? 2 : 1);
        struct fetcher *f = new_fetcher(1);
        struct fetch_spec spec = spec_for(r, "a/b");
        spec.deadline_ms = 1000;
        spec.connect_timeout_ms = 300;
        int64_t before = clock_ms();
        struct seen *s = ask(f, &spec);
        int64_t took = clock_ms() - before;
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        cr_expect(took < 1500, "%s: %d ms", rows[i].why, (int)took);
        if (rows[i].outcome == FETCH_TIMEOUT)
            cr_expect(took >= 1000, "%s: all of the deadline is used, %d ms", rows[i].why, (int)took);
        seen_free(s);
        end(f, r, a);
        upstream_stop(b);
    }
}

Test(fetch, slow_name_holds_nobody_up) {
    struct upstream *u = upstream_start(fixed, "200 OK");
    uint16_t port = upstream_port(u);
    struct registry *good = upstream_registry(&port, 1), *slow = upstream_registry(&port, 1);
    free(slow->endpoints[0].base);
    slow->endpoints[0].base = mem_printf("http://slow.test:%u", port);
    snprintf(slow->endpoints[0].at.host, sizeof(slow->endpoints[0].at.host), "slow.test");
    struct fetcher *f = new_fetcher(1);
    struct fetch_spec spec = spec_for(slow, "a/b"), other = spec_for(good, "a/b");
    spec.deadline_ms = 500;
    int64_t before = clock_ms();
    struct seen *s = start(f, &spec);
    usleep(450000);
    for (int i = 0; i < 10; i++) {
        struct seen *o = ask(f, &other);
        cr_expect_eq(o->result.outcome, FETCH_OK);
        seen_free(o);
        usleep(20000);
    }
    await(s);
    cr_expect_eq(s->result.outcome, FETCH_TIMEOUT, "%s", s->result.err.text);
    cr_expect(clock_ms() - before < 1500, "the end of a transfer does not wait for its resolver: %d ms",
              (int)(clock_ms() - before));
    seen_free(s);
    end(f, good, u);
    registry_free(slow);
    sleep(SLOW_NAME_S); // The resolver's thread ends, so that nothing of it is found leaked.
}

Test(fetch, cancel) {
    enum { FETCHES = 50 };
    struct upstream *u = upstream_start(hang_at_once, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = new_fetcher(2);
    struct fetch_spec spec = spec_for(r, "a/b");
    struct seen *all[FETCHES];
    for (int i = 0; i < FETCHES; i++) {
        all[i] = start(f, &spec);
        if (i % 2)
            fetch_cancel(all[i]->fetch);
    }
    for (int i = 1; i < FETCHES; i += 2) {
        await(all[i]);
        cr_expect_eq(all[i]->result.outcome, FETCH_CANCELLED);
        fetch_cancel(all[i]->fetch); // Too late, and harmless.
        fetch_resume(all[i]->fetch);
    }
    fetcher_free(f);
    for (int i = 0; i < FETCHES; i++) {
        cr_expect_eq(all[i]->dones, 1, "fetcher_free() ends what still runs");
        cr_expect_eq(all[i]->result.outcome, FETCH_CANCELLED);
        seen_free(all[i]);
    }
    cr_expect_eq(atomic_load(&keeper.refs), 0);
    registry_free(r);
    upstream_stop(u);
}

struct again {
    struct fetcher *fetcher;
    struct fetch_spec spec;
    struct seen *next;
};

static void ask_again(void *ctx, const struct fetch_result *result) {
    struct again *a = ctx;
    a->next = start(a->fetcher, &a->spec);
}

Test(fetch, started_while_it_stops) {
    enum { FETCHES = 8 };
    static const struct fetch_callbacks again = {.head = on_head, .body = on_body, .done = ask_again};
    struct upstream *u = upstream_start(hang_at_once, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = new_fetcher(4);
    struct again all[FETCHES];
    for (int i = 0; i < FETCHES; i++) {
        all[i] = (struct again){.fetcher = f, .spec = spec_for(r, "a/b")};
        fetch_unref(fetch_start(f, &all[i].spec, &again, &all[i]));
    }
    usleep(100000);
    fetcher_free(f);
    for (int i = 0; i < FETCHES; i++) {
        cr_assert_not_null(all[i].next);
        cr_expect_eq(all[i].next->dones, 1, "what the last callbacks start ends too");
        seen_free(all[i].next);
    }
    cr_expect_eq(atomic_load(&keeper.refs), 0);
    registry_free(r);
    upstream_stop(u);
}

// --- addresses ---

Test(fetch, addresses) {
    static const struct {
        const char *host;
        bool permitted; ///< private_addresses covers 127.0.0.0/8.
        enum fetch_outcome outcome;
        const char *why;
    } rows[] = {
        {"127.0.0.1", true, FETCH_OK, "permitted"},
        {"127.0.0.1", false, FETCH_ADDRESS, "a literal"},
        {"inside.test", true, FETCH_OK, "a name that leads to a permitted address"},
        {"inside.test", false, FETCH_ADDRESS,
         "a public name that leads inside, over a connection that could be reused"},
        {"two.test", true, FETCH_OK, "a refused address is skipped"},
        {"two.test", false, FETCH_ADDRESS, "none is left"},
    };
    struct upstream *u = upstream_start(fixed, "200 OK");
    struct fetcher *f = new_fetcher(1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        uint16_t port = upstream_port(u);
        struct registry *r = upstream_registry(&port, 1);
        free(r->endpoints[0].base);
        r->endpoints[0].base = mem_printf("http://%s:%u", rows[i].host, port);
        snprintf(r->endpoints[0].at.host, sizeof(r->endpoints[0].at.host), "%s", rows[i].host);
        r->private_address_count = rows[i].permitted ? 1 : 0;
        struct fetch_spec spec = spec_for(r, "a/b");
        unsigned before = upstream_count(u, "GET ");
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %d %s", rows[i].why, s->result.outcome,
                     s->result.err.text);
        cr_expect_eq(upstream_count(u, "GET ") - before, rows[i].outcome == FETCH_OK, "%s: asked", rows[i].why);
        seen_free(s);
        registry_free(r);
    }
    fetcher_free(f);
    upstream_stop(u);
}

// --- monitor mode ---

struct outside {
    uint16_t port;
    bool realm; ///< Ask for tokens there, else redirect there.
};

static bool to_outside(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    const struct outside *o = ctx;
    char header[300];
    snprintf(header, sizeof(header),
             o->realm ? "WWW-Authenticate: Bearer realm=\"https://inside.test:%u/t\"\r\n"
                      : "Location: https://inside.test:%u/x\r\n",
             o->port);
    return say(fd, o->realm ? "401 No" : "307 Go", header, "");
}

Test(fetch, monitor_opens_no_way_inside) {
    static const struct {
        bool realm, monitor;
        enum fetch_outcome outcome;
        const char *why;
    } rows[] = {
        {false, false, FETCH_REDIRECT_HOST, "enforced: not listed"},
        {true, false, FETCH_REALM_HOST, "enforced: not listed, as realm"},
        {false, true, FETCH_ADDRESS, "monitored: private_addresses do not hold for a stranger"},
        {true, true, FETCH_ADDRESS, "monitored: nor for a strange realm"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct outside o = {.realm = rows[i].realm};
        struct upstream *u = upstream_start(to_outside, &o), *inside = upstream_start(fixed, "200 OK");
        uint16_t port = upstream_port(u);
        o.port = upstream_port(inside);
        struct registry *r = upstream_registry(&port, 1);
        struct fetcher *f = new_fetcher(1);
        struct fetch_spec spec = spec_for(r, "a/b");
        spec.monitor = rows[i].monitor;
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        cr_expect(strstr(s->result.host, "inside.test") != NULL, "%s: %s", rows[i].why, s->result.host);
        cr_expect_eq(s->result.unlisted_host[0] != '\0', rows[i].monitor, "%s", rows[i].why);
        if (rows[i].monitor)
            cr_expect_eq(s->result.unlisted_realm, rows[i].realm, "%s", rows[i].why);
        seen_free(s);
        end(f, r, u);
        upstream_stop(inside);
    }
}

// --- proxies ---

Test(fetch, proxy) {
    static const struct {
        bool proxied;
        const char *no_proxy, *host;
        enum fetch_outcome outcome;
        const char *asked, *why;
    } rows[] = {
        {true, NULL, "public.test", FETCH_OK, "GET http://public.test/v2/a/b/", "the proxy is asked"},
        {true, "public.test", "public.test", FETCH_UNREACHABLE, NULL, "NO_PROXY: the host itself, which is not there"},
        {true, NULL, "10.1.2.3", FETCH_ADDRESS, NULL, "a literal is refused behind a proxy too"},
        {false, NULL, "127.0.0.1", FETCH_OK, "GET /v2/a/b/",
         "what the environment says is the configuration's business"},
    };
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct upstream *u = upstream_start(fixed, "200 OK");
        uint16_t port = upstream_port(u), there = rows[i].proxied ? 80 : port;
        struct registry *r = upstream_registry(&there, 1);
        free(r->endpoints[0].base);
        r->endpoints[0].base = mem_printf("http://%s:%u", rows[i].host, there);
        snprintf(r->endpoints[0].at.host, sizeof(r->endpoints[0].at.host), "%s", rows[i].host);
        r->proxy = rows[i].proxied ? mem_printf("http://127.0.0.1:%u", port) : NULL;
        r->no_proxy = mem_strdup(rows[i].no_proxy);
        r->private_address_count = rows[i].proxied ? 0 : 1;
        struct fetcher *f = new_fetcher(1);
        struct fetch_spec spec = spec_for(r, "a/b");
        struct seen *s = ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        if (rows[i].asked != NULL)
            cr_expect_eq(upstream_count(u, rows[i].asked), 1, "%s", rows[i].why);
        else
            cr_expect_eq(upstream_count(u, ""), 0, "%s: nobody is asked", rows[i].why);
        seen_free(s);
        end(f, r, u);
    }
}
