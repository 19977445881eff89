// SPDX-License-Identifier: Apache-2.0
//
// How the fetcher behaves towards registries in trouble: those that ask to be left alone, and endpoints that break off;
// and what it counts and keeps of their answers.

#include "tests/unit/upstream.h"

#include "mirrors/base/mem.h"
#include "mirrors/upstream/figures.h"
#include "mirrors/upstream/retry.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- what the headers say ---

Test(fetch_limits, retry_after) {
    static const time_t now = 784111777; // Sun, 06 Nov 1994 08:49:37 GMT
    static const struct {
        const char *value;
        int seconds;
        const char *why;
    } rows[] = {
        {"7", 7, "seconds"},
        {"0", RETRY_MIN_S, "at once is not quite at once"},
        {"3600", 3600, "an hour"},
        {"3601", RETRY_MAX_S, "more than we believe"},
        {"99999999999999999999", RETRY_MAX_S, "more than a number holds"},
        {"", -1, "none"},
        {"-5", -1, "negative"},
        {"+5", -1, "a sign"},
        {"5.5", -1, "a fraction"},
        {"5 ", -1, "something after it"},
        {"soon", -1, "a word"},
        {"tomorrow 10:00", -1, "no HTTP date"},
        {"Sun, 06 Nov 1994 08:50:37 GMT", 60, "a date in a minute"},
        {"Sunday, 06-Nov-94 08:50:37 GMT", 60, "the same in the form before"},
        {"Sun Nov  6 08:50:37 1994", 60, "the same in C's form"},
        {"Sun, 06 Nov 1994 08:49:07 GMT", RETRY_MIN_S, "a date in the past"},
        {"Sun, 06 Nov 2044 08:49:37 GMT", RETRY_MAX_S, "in fifty years"},
        {"Sun, 99 Nov 1994 99:99:99 GMT", -1, "no date"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int seconds = retry_after_seconds(rows[i].value, now);
        cr_expect_eq(seconds, rows[i].seconds, "%s: %d", rows[i].why, seconds);
    }
}

Test(fetch_limits, ratelimit) {
    static const struct {
        const char *value;
        int left;
        const char *why;
    } rows[] = {
        {"76;w=21600", 76, "docker.io's form"}, {"76", 76, "without a window"},
        {"0;w=21600", 0, "nothing left"},       {"", -1, "nothing said"},
        {"w=21600", -1, "no number"},           {"-1", -1, "below nothing"},
        {"99999999999;w=1", -1, "too large"},   {"76x", -1, "not a number alone"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int left = retry_ratelimit(rows[i].value);
        cr_expect_eq(left, rows[i].left, "%s: %d", rows[i].why, left);
    }
}

// --- what is kept of a head ---

static enum transfer_flow note_head(void *ctx, const struct transfer_head *head, const struct fetch_result *so_far) {
    struct transfer_head *copy = ctx;
    *copy = *head;
    copy->location = NULL;
    return TRANSFER_CONTINUE;
}

static enum transfer_flow drop_body(void *ctx, const char *data, size_t len) {
    return TRANSFER_CONTINUE;
}

static void note_done(void *ctx, const struct fetch_result *result) {
}

static bool say_script(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    upstream_send(fd, "%s", (const char *)ctx);
    return false;
}

/// The head of one answer; status 0 where none came.
static struct transfer_head head_of(const char *answer) {
    static const struct fetch_callbacks callbacks = {.head = note_head, .body = drop_body, .done = note_done};
    struct transfer_head head = {0};
    struct upstream *u = upstream_start(say_script, (void *)answer);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    struct fetch *fetch = fetch_start(f, &spec, &callbacks, &head);
    for (int i = 0; i < 500 && upstream_count(u, "GET ") == 0; i++)
        usleep(10000);
    usleep(50000);
    fetch_unref(fetch);
    seen_end(f, r, u); // The fetcher's threads have ended: `head` is ours.
    return head;
}

#define ANSWER(headers) "HTTP/1.1 200 OK\r\n" headers "Content-Length: 2\r\n\r\nok"
#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define MANY FIFTY FIFTY FIFTY FIFTY FIFTY

Test(fetch_limits, head) {
    static const struct {
        const char *answer, *etag;
        int left;
        const char *why;
    } rows[] = {
        {ANSWER(""), "", -1, "neither"},
        {ANSWER("ETag: \"sha256:abc\"\r\nRateLimit-Remaining: 76;w=21600\r\n"), "\"sha256:abc\"", 76, "both"},
        {ANSWER("etag: W/\"x\"\r\n"), "W/\"x\"", -1, "a weak one"},
        {ANSWER("ETag: \"\"\r\n"), "\"\"", -1, "an empty one is one"},
        {ANSWER("ETag: abc\r\n"), "", -1, "no quotes"},
        {ANSWER("ETag: \"\r\n"), "", -1, "one quote"},
        {ANSWER("ETag: W/\r\n"), "", -1, "a mark alone"},
        {ANSWER("ETag: \"a\"b\"\r\n"), "", -1, "a quote inside"},
        {ANSWER("ETag: \"a b\"\r\n"), "", -1, "a space inside"},
        {ANSWER("ETag: \"" MANY "012\"\r\n"), "\"" MANY "012\"", -1, "255 bytes"},
        {ANSWER("ETag: \"" MANY "0123\"\r\n"), "", -1, "256 bytes"},
        {ANSWER("RateLimit-Remaining: many\r\n"), "", -1, "no number"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct transfer_head head = head_of(rows[i].answer);
        cr_expect_eq(head.status, 200, "%s: %d", rows[i].why, head.status);
        cr_expect_str_eq(head.etag, rows[i].etag, "%s: %s", rows[i].why, head.etag);
        cr_expect_eq(head.ratelimit_remaining, rows[i].left, "%s: %d", rows[i].why, head.ratelimit_remaining);
    }
}

// --- left alone ---

static bool say_headers(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    const char *const *status_and_headers = ctx;
    return upstream_say(fd, status_and_headers[0], status_and_headers[1], "");
}

Test(fetch_limits, left_alone) {
    static const struct {
        const char *answer[2];
        enum fetch_outcome first, second;
        int least, most; ///< What the second is told.
        const char *why;
    } rows[] = {
        {{"429 No", "Retry-After: 30\r\n"}, FETCH_LIMITED, FETCH_LIMITED, 29, 30, "429"},
        {{"429 No", ""}, FETCH_LIMITED, FETCH_LIMITED, RETRY_DEFAULT_S - 1, RETRY_DEFAULT_S, "429 without a time"},
        {{"429 No", "Retry-After: x\r\n"}, FETCH_LIMITED, FETCH_LIMITED, 1, RETRY_DEFAULT_S, "429 with no time"},
        {{"429 No", "Retry-After: 999999\r\n"}, FETCH_LIMITED, FETCH_LIMITED, 3599, 3600, "429 for days"},
        {{"503 No", "Retry-After: 30\r\n"}, FETCH_STATUS, FETCH_LIMITED, 29, 30, "503 with a time"},
        {{"503 No", ""}, FETCH_STATUS, FETCH_STATUS, 0, 0, "503 without"},
        {{"503 No", "Retry-After: x\r\n"}, FETCH_STATUS, FETCH_STATUS, 0, 0, "503 with no time"},
        {{"500 No", "Retry-After: 30\r\n"}, FETCH_STATUS, FETCH_STATUS, 0, 0, "another 5xx"},
        {{"404 No", "Retry-After: 30\r\n"}, FETCH_NOT_FOUND, FETCH_NOT_FOUND, 0, 0, "another answer"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct upstream *u = upstream_start(say_headers, (void *)rows[i].answer);
        uint16_t port = upstream_port(u);
        struct registry *r = upstream_registry(&port, 1);
        struct fetcher *f = seen_fetcher(2);
        struct fetch_spec spec = seen_spec(r, "a/b"), other = seen_spec(r, "a/b");
        other.name = "other";
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].first, "%s: %s", rows[i].why, s->result.err.text);
        seen_free(s);
        s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, rows[i].second, "%s: %s", rows[i].why, s->result.err.text);
        bool alone = rows[i].second == FETCH_LIMITED;
        cr_expect_eq(upstream_count(u, "GET "), alone ? 1 : 2, "%s: requests", rows[i].why);
        if (alone) {
            int left = atoi(s->result.retry_after);
            cr_expect(left >= rows[i].least && left <= rows[i].most, "%s: %d", rows[i].why, left);
            cr_expect_eq(strncmp(s->result.err.text, "test asked to be left alone for ", 32), 0, "%s: %s", rows[i].why,
                         s->result.err.text);
            cr_expect_str_eq(s->result.where, "test");
            cr_expect_eq(s->result.status, 0, "%s: nobody answered", rows[i].why);
        }
        seen_free(s);
        unsigned before = upstream_count(u, "GET ");
        s = seen_ask(f, &other);
        cr_expect_eq(upstream_count(u, "GET "), before + 1, "%s: another registry is asked", rows[i].why);
        seen_free(s);
        seen_end(f, r, u);
    }
}

static bool limit_once(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    return q->number == 1 ? upstream_say(fd, "429 No", "Retry-After: 1\r\n", "") : upstream_say(fd, "200 OK", "", "ok");
}

Test(fetch_limits, it_ends) {
    struct upstream *u = upstream_start(limit_once, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    seen_free(seen_ask(f, &spec));
    struct seen *s = seen_ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_LIMITED);
    cr_expect_str_eq(s->result.retry_after, "1", "a part of a second counts as one");
    seen_free(s);
    usleep(1100000);
    s = seen_ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_OK, "%s", s->result.err.text);
    seen_free(s);
    seen_end(f, r, u);
}

static bool limit_token(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    char challenge[200];
    snprintf(challenge, sizeof(challenge), "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\"\r\n",
             upstream_port(u));
    return strncmp(q->path, "/token", 6) == 0 ? upstream_say(fd, "429 No", "Retry-After: 30\r\n", "")
                                              : upstream_say(fd, "401 No", challenge, "");
}

Test(fetch_limits, by_the_token_server) {
    struct upstream *u = upstream_start(limit_token, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    struct seen *s = seen_ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_LIMITED, "%s", s->result.err.text);
    seen_free(s);
    unsigned before = upstream_count(u, "GET ");
    s = seen_ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_LIMITED, "%s", s->result.err.text);
    cr_expect_eq(upstream_count(u, "GET "), before, "neither the registry nor its token server is asked");
    seen_free(s);
    seen_end(f, r, u);
}

static bool fixed(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    return upstream_say(fd, "200 OK", "", "ok");
}

Test(fetch_limits, one_endpoints_503_does_not_speak_for_all) {
    static const char *const busy[] = {"503 No", "Retry-After: 30\r\n"};
    struct upstream *a = upstream_start(say_headers, (void *)busy), *b = upstream_start(fixed, NULL);
    uint16_t ports[] = {upstream_port(a), upstream_port(b)};
    struct registry *r = upstream_registry(ports, 2);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    for (int i = 0; i < 2; i++) {
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, FETCH_OK, "%s", s->result.err.text);
        seen_free(s);
    }
    cr_expect_eq(upstream_count(b, "GET "), 2);
    seen_end(f, r, a);
    upstream_stop(b);
}

Test(fetch_limits, offline) {
    struct upstream *u = upstream_start(fixed, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    r->offline = true;
    struct seen *s = seen_ask(f, &spec);
    cr_expect_eq(s->result.outcome, FETCH_UNREACHABLE, "%s", s->result.err.text);
    cr_expect_eq(upstream_count(u, ""), 0, "never asked");
    seen_free(s);
    seen_end(f, r, u);
}

// --- an answer that breaks off ---

static bool break_off(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    char location[100];
    snprintf(location, sizeof(location), "Location: http://127.0.0.1:%u/elsewhere\r\n", upstream_port(u));
    if (ctx != NULL && strcmp(q->path, "/elsewhere") != 0)
        return upstream_say(fd, "307 Go", location, "");
    upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
    return false;
}

Test(fetch_limits, who_breaks_off_rests) {
    static const struct {
        void *redirect;
        const char *why;
    } rows[] = {{NULL, "the endpoint itself"}, {"", "where it redirects to"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct upstream *a = upstream_start(break_off, rows[i].redirect), *b = upstream_start(fixed, NULL);
        uint16_t ports[] = {upstream_port(a), upstream_port(b)};
        struct registry *r = upstream_registry(ports, 2);
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, FETCH_BROKEN, "%s: %s", rows[i].why, s->result.err.text);
        cr_expect_eq(s->heads, 1, "%s: its head was good", rows[i].why);
        seen_free(s);
        unsigned asked = upstream_count(a, "GET ");
        s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, FETCH_OK, "%s: the rest comes from the other: %s", rows[i].why,
                     s->result.err.text);
        cr_expect_eq(upstream_count(a, "GET "), asked, "%s: it rests", rows[i].why);
        seen_free(s);
        seen_end(f, r, a);
        upstream_stop(b);
    }
}

Test(fetch_limits, an_only_endpoint_is_asked_again) {
    struct upstream *u = upstream_start(break_off, NULL);
    uint16_t port = upstream_port(u);
    struct registry *r = upstream_registry(&port, 1);
    struct fetcher *f = seen_fetcher(1);
    struct fetch_spec spec = seen_spec(r, "a/b");
    for (unsigned i = 1; i <= 3; i++) {
        struct seen *s = seen_ask(f, &spec);
        cr_expect_eq(s->result.outcome, FETCH_BROKEN, "%s", s->result.err.text);
        cr_expect_eq(upstream_count(u, "GET "), i);
        seen_free(s);
    }
    seen_end(f, r, u);
}

// --- figures ---

struct found {
    const char *registry;
    struct fetch_figures figures; ///< Without its name.
    size_t all;
};

static void find(void *ctx, const struct fetch_figures *figures) {
    struct found *x = ctx;
    x->all++;
    if (strcmp(figures->registry, x->registry) == 0)
        x->figures = *figures;
}

static bool hang(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    upstream_hang(u, fd);
    return false;
}

static bool redirect(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    char location[100];
    snprintf(location, sizeof(location), "Location: http://127.0.0.1:%u/elsewhere\r\n", upstream_port(u));
    return strcmp(q->path, "/elsewhere") != 0 ? upstream_say(fd, "307 Go", location, "")
                                              : upstream_say(fd, "200 OK", "", "ok");
}

Test(fetch_limits, figures_of_one_fetch) {
    static const char *const limited[] = {"429 No", "RateLimit-Remaining: 0;w=60\r\n"};
    static const char *const busy[] = {"503 No", "Retry-After: 9\r\n"};
    static const char *const ill[] = {"500 No", ""};
    static const char *const missing[] = {"404 No", "RateLimit-Remaining: 75;w=60\r\n"};
    static const struct {
        upstream_fn answer;
        const void *ctx;
        unsigned requests, errors, limited;
        int left;
        const char *why;
    } rows[] = {
        {fixed, NULL, 1, 0, 0, -1, "an answer"},
        {say_headers, missing, 1, 0, 0, 75, "404 is an answer"},
        {say_headers, ill, 1, 1, 0, -1, "500"},
        {say_headers, limited, 1, 1, 1, 0, "429"},
        {say_headers, busy, 1, 1, 1, -1, "503 with a time"},
        {redirect, NULL, 2, 0, 0, -1, "a redirect is a request more"},
        {limit_token, NULL, 2, 1, 1, -1, "a token server counts too"},
        {break_off, NULL, 1, 1, 0, -1, "broke off"},
        {say_script, "", 1, 1, 0, -1, "closed without a word"},
        {hang, NULL, 1, 1, 0, -1, "no answer in time"},
        {NULL, NULL, 1, 1, 0, -1, "nothing listens"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct upstream *u = upstream_start(rows[i].answer, (void *)rows[i].ctx);
        uint16_t port = upstream_port(u);
        if (rows[i].answer == NULL) {
            upstream_stop(u);
            u = NULL;
        }
        struct registry *r = upstream_registry(&port, 1);
        struct fetcher *f = seen_fetcher(1);
        struct fetch_spec spec = seen_spec(r, "a/b");
        spec.deadline_ms = 500;
        struct seen *s = seen_ask(f, &spec);
        struct found x = {.registry = "test"};
        fetcher_figures(f, find, &x);
        cr_expect_eq(x.all, 1, "%s", rows[i].why);
        cr_expect_eq(x.figures.requests, rows[i].requests, "%s: %d requests", rows[i].why, (int)x.figures.requests);
        cr_expect_eq(x.figures.errors, rows[i].errors, "%s: %d errors", rows[i].why, (int)x.figures.errors);
        cr_expect_eq(x.figures.limited, rows[i].limited, "%s: %d limited", rows[i].why, (int)x.figures.limited);
        cr_expect_eq(x.figures.ratelimit_remaining, rows[i].left, "%s: %d left", rows[i].why,
                     (int)x.figures.ratelimit_remaining);
        cr_expect(x.figures.us > 0 && x.figures.us < 5000000, "%s: %llu us", rows[i].why,
                  (unsigned long long)x.figures.us);
        seen_free(s);
        seen_end(f, r, u);
    }
}

Test(fetch_limits, figures_are_bounded) {
    struct figures *f = figures_new();
    struct figures_sample sample = {.us = 1, .ratelimit_remaining = 3};
    char name[32];
    for (int i = 0; i < FETCH_FIGURES_MAX + 5; i++) {
        snprintf(name, sizeof(name), "r%d.example.com", i);
        figures_add(f, name, &sample);
        figures_add(f, name, &sample);
    }
    struct found x = {.registry = "other"};
    figures_each(f, find, &x);
    cr_expect_eq(x.all, FETCH_FIGURES_MAX + 1);
    cr_expect_eq(x.figures.requests, 10, "what found no room is counted together");
    cr_expect_eq(x.figures.ratelimit_remaining, -1, "of many registries it would mean nothing");
    x = (struct found){.registry = "r0.example.com"};
    figures_each(f, find, &x);
    cr_expect_eq(x.figures.requests, 2, "the first keeps its place");
    cr_expect_eq(x.figures.ratelimit_remaining, 3);
    figures_free(f);
}
