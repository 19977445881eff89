// SPDX-License-Identifier: Apache-2.0
//
// The fetcher against a scripted upstream: answers, endpoints, deadlines, addresses, proxies, and what no upstream may
// do to it. Tokens, credentials and redirects are in test_fetch_auth.c.

#include "tests/unit/upstream.h"

#include "mirrors/base/mem.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOW_NAME_S = 3 };

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
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %d (%s)", rows[i].why, s->result.outcome,
                     s->result.err.text);
        cr_expect_str_eq(s->result.message, rows[i].message, "%s: %s", rows[i].why, s->result.message);
        cr_expect_eq(s->result.err.text[0] == '\0', rows[i].outcome == FETCH_OK, "%s: a sentence", rows[i].why);
        if (rows[i].outcome == FETCH_OK)
            cr_expect_str_eq(s->body.data, "ok", "%s", rows[i].why);
        if (rows[i].outcome == FETCH_LIMITED)
            cr_expect_str_eq(s->result.retry_after, "7", "%s", rows[i].why);
        seen_free(s);
        seen_end(f, r, u);
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
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        seen_free(s);
        seen_end(f, r, u);
    }
}

static bool say_more(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    if (q->number > 1)
        return upstream_say(fd, "200 OK", "", "ok");
    return upstream_send(
        fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
}

Test(fetch, leftovers_answer_nobody) {
    struct upstream *u = upstream_start(say_more, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    for (int i = 0; i < 3; i++) {
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, FETCH_OK, "%s", s->result.err.text);
        cr_expect_str_eq(s->body.data, "ok", "request %d got its own answer", i);
        seen_free(s);
        usleep(20000);
    }
    cr_expect_eq(upstream_count(u, "GET "), 3);
    seen_end(f, r, u);
}

// --- endpoints ---

static bool fixed(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    return upstream_say(fd, ctx, "", "ok");
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
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        for (int k = 0; k < 2; k++) {
            struct seen *s = seen_ask(f, &spec);
            cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
            seen_free(s);
        }
        cr_expect_eq(upstream_count(b, "GET "), rows[i].second, "%s: second endpoint", rows[i].why);
        cr_expect_eq(a != NULL ? upstream_count(a, "GET ") : 0, rows[i].first_asked, "%s: first endpoint", rows[i].why);
        seen_end(f, r, a);
        upstream_stop(b);
    }
}

Test(fetch, all_endpoints_ill) {
    struct upstream *a = upstream_start(fixed, "500 No"), *b = upstream_start(fixed, "503 No");
    uint16_t ports[] = {upstream_port(a), upstream_port(b)};
    struct registry *r = upstream_registry(ports, 2);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    for (unsigned k = 1; k <= 3; k++) {
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, FETCH_STATUS, "%s", s->result.err.text);
        cr_expect_eq(s->result.status, 503, "the last one's");
        cr_expect_eq(upstream_count(a, "GET "), k, "resting ones are asked when there is no other");
        seen_free(s);
    }
    seen_end(f, r, a);
    upstream_stop(b);
}

static bool token_ill(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    char challenge[200];
    snprintf(challenge, sizeof(challenge), "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\"\r\n",
             upstream_port(u));
    return strncmp(q->path, "/token", 6) == 0 ? upstream_say(fd, "502 No", "", "")
                                              : upstream_say(fd, "401 No", challenge, "");
}

Test(fetch, token_server_ill) {
    struct upstream *a = upstream_start(token_ill, NULL), *b = upstream_start(fixed, "200 OK");
    uint16_t ports[] = {upstream_port(a), upstream_port(b)};
    struct registry *r = upstream_registry(ports, 2);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    struct seen *s = seen_ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_OK, "the second endpoint answers: %s", s->result.err.text);
    seen_free(s);
    seen_end(f, r, a);
    upstream_stop(b);
}

Test(fetch, mismatch_is_remembered) {
    struct upstream *a = upstream_start(fixed, "200 OK"), *b = upstream_start(fixed, "200 OK");
    uint16_t ports[] = {upstream_port(a), upstream_port(b)};
    struct registry *r = upstream_registry(ports, 2);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    struct seen *s = seen_ask(f, &spec);
    fetch_mismatched(f, "test", s->result.upstream, "v1", "it was wrong");
    seen_free(s);
    s = seen_ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_OK, "the other endpoint is asked");
    cr_expect_eq(upstream_count(b, "GET "), 1);
    fetch_mismatched(f, "test", s->result.upstream, "v1", "it was wrong too");
    seen_free(s);
    s = seen_ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_MISMATCH, "at once");
    cr_expect(strstr(s->result.err.text, "it was wrong") != NULL, "%s", s->result.err.text);
    cr_expect_eq(upstream_count(a, "GET ") + upstream_count(b, "GET "), 2, "nobody is asked");
    seen_free(s);
    seen_end(f, r, a);
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

/// Longer than any deadline here, and shorter than what hangs: a busy machine is no failure.
enum { UNHURRIED_MS = 15000 };

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
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        spec.deadline_ms = 1000;
        spec.connect_timeout_ms = 300;
        int64_t before = clock_ms();
        struct seen *s = seen_ask(f, &spec);
        int64_t took = clock_ms() - before;
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        cr_expect(took < UNHURRIED_MS, "%s: %d ms", rows[i].why, (int)took);
        if (rows[i].outcome == FETCH_TIMEOUT)
            cr_expect(took >= 1000, "%s: all of the deadline is used, %d ms", rows[i].why, (int)took);
        seen_free(s);
        seen_end(f, r, a);
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
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(slow, "a/b"), other = seen_spec(good, "a/b");
    spec.deadline_ms = 500;
    int64_t before = clock_ms();
    struct seen *s = seen_start(f, &spec);
    usleep(450000);
    for (int i = 0; i < 10; i++) {
        struct seen *o = seen_ask(f, &other);
        cr_expect_eq(o->result.outcome, FETCH_OK);
        seen_free(o);
        usleep(20000);
    }
    seen_await(s);
    cr_expect_eq(s->result.outcome, FETCH_TIMEOUT, "%s", s->result.err.text);
    cr_expect(clock_ms() - before < SLOW_NAME_S * 1000, "the end of a transfer does not wait for its resolver: %d ms",
              (int)(clock_ms() - before));
    seen_free(s);
    seen_end(f, good, u);
    registry_free(slow);
    sleep(SLOW_NAME_S); // The resolver's thread ends, so that nothing of it is found leaked.
}

Test(fetch, cancel) {
    enum { FETCHES = 50 };
    struct upstream *u = upstream_start(hang_at_once, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = seen_fetcher(2);
    struct fetch_spec spec = seen_spec(r, "a/b");
    struct seen *all[FETCHES];
    for (int i = 0; i < FETCHES; i++) {
        all[i] = seen_start(f, &spec);
        if (i % 2)
            fetch_cancel(all[i]->fetch);
    }
    for (int i = 1; i < FETCHES; i += 2) {
        seen_await(all[i]);
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
    cr_expect_eq(seen_refs(), 0);
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
    a->next = seen_start(a->fetcher, &a->spec);
}

Test(fetch, started_while_it_stops) {
    enum { FETCHES = 8 };
    struct fetch_callbacks again = seen_callbacks;
    again.done = ask_again;
    struct upstream *u = upstream_start(hang_at_once, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = seen_fetcher(4);
    struct again all[FETCHES];
    for (int i = 0; i < FETCHES; i++) {
        all[i] = (struct again){.fetcher = f, .spec = seen_spec(r, "a/b")};
        fetch_unref(fetch_start(f, &all[i].spec, &again, &all[i]));
    }
    usleep(100000);
    fetcher_free(f);
    for (int i = 0; i < FETCHES; i++) {
        cr_assert_not_null(all[i].next);
        cr_expect_eq(all[i].next->dones, 1, "what the last callbacks start ends too");
        seen_free(all[i].next);
    }
    cr_expect_eq(seen_refs(), 0);
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
    struct fetcher *f = seen_fetcher(1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        uint16_t port = upstream_port(u);
        struct registry *r = upstream_registry(&port, 1);
        free(r->endpoints[0].base);
        r->endpoints[0].base = mem_printf("http://%s:%u", rows[i].host, port);
        snprintf(r->endpoints[0].at.host, sizeof(r->endpoints[0].at.host), "%s", rows[i].host);
        r->private_address_count = rows[i].permitted ? 1 : 0;
        struct fetch_spec spec = seen_spec(r, "a/b");
        unsigned before = upstream_count(u, "GET ");
        struct seen *s = seen_ask(f, &spec);
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
    return upstream_say(fd, o->realm ? "401 No" : "307 Go", header, "");
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
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        spec.monitor = rows[i].monitor;
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        cr_expect(strstr(s->result.host, "inside.test") != NULL, "%s: %s", rows[i].why, s->result.host);
        cr_expect_eq(s->result.unlisted_host[0] != '\0', rows[i].monitor, "%s", rows[i].why);
        if (rows[i].monitor)
            cr_expect_eq(s->result.unlisted_realm, rows[i].realm, "%s", rows[i].why);
        seen_free(s);
        seen_end(f, r, u);
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
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].outcome, "%s: %s", rows[i].why, s->result.err.text);
        if (rows[i].asked != NULL)
            cr_expect_eq(upstream_count(u, rows[i].asked), 1, "%s", rows[i].why);
        else
            cr_expect_eq(upstream_count(u, ""), 0, "%s: nobody is asked", rows[i].why);
        seen_free(s);
        seen_end(f, r, u);
    }
}
