// SPDX-License-Identifier: Apache-2.0
//
// The scripted upstream: `lock` guards the list of connections and the log of requests. And one fetch from it.

#include "tests/unit/upstream.h"

#include "mirrors/base/mem.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, LOG_MAX = 20000, ANSWER_MAX = 1 << 20, PATIENCE_S = 20 };

struct connection {
    struct upstream *upstream;
    int fd;
    pthread_t thread;
    struct connection *next;
};

struct upstream {
    upstream_fn answer;
    void *ctx;
    int listener;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock;
    struct connection *connections;
    bool stopping;
    char *log[LOG_MAX];
    size_t logged;
};

// --- requests ---

static void field(const char *head, const char *name, char *out, size_t size) {
    const char *at = strcasestr(head, name);
    out[0] = '\0';
    if (at != NULL)
        snprintf(out, size, "%.*s", (int)strcspn(at + strlen(name), "\r\n"), at + strlen(name));
}

static void note(struct upstream *u, struct upstream_request *q) {
    char *line = mem_printf("%s %s", q->method, q->path);
    pthread_mutex_lock(&u->lock);
    q->same_path = 1;
    for (size_t i = 0; i < u->logged; i++)
        q->same_path += strcmp(u->log[i], line) == 0;
    if (u->logged < LOG_MAX)
        u->log[u->logged++] = line;
    else
        free(line);
    q->number = (unsigned)u->logged;
    pthread_mutex_unlock(&u->lock);
}

static bool read_request(struct connection *c, struct upstream_request *q) {
    char head[HEAD_MAX + 1];
    size_t len = 0;
    head[0] = '\0';
    while (strstr(head, "\r\n\r\n") == NULL) {
        ssize_t n = len < HEAD_MAX ? read(c->fd, head + len, HEAD_MAX - len) : 0;
        if (n <= 0)
            return false;
        len += (size_t)n;
        head[len] = '\0';
    }
    if (sscanf(head, "%15s %2047s", q->method, q->path) != 2)
        return false;
    field(head, "\r\nAuthorization: ", q->authorization, sizeof(q->authorization));
    field(head, "\r\nRange: ", q->range, sizeof(q->range));
    note(c->upstream, q);
    return true;
}

static void *serve(void *arg) {
    struct connection *c = arg;
    struct upstream_request q = {0};
    while (read_request(c, &q) && c->upstream->answer(c->upstream->ctx, c->upstream, c->fd, &q)) {
    }
    shutdown(c->fd, SHUT_RDWR);
    return NULL;
}

static void *accept_all(void *arg) {
    struct upstream *u = arg;
    int fd;
    while ((fd = accept4(u->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct connection *c = mem_zalloc(1, sizeof(*c));
        c->upstream = u;
        c->fd = fd;
        pthread_mutex_lock(&u->lock);
        c->next = u->connections;
        u->connections = c;
        pthread_create(&c->thread, NULL, serve, c);
        if (u->stopping)
            shutdown(fd, SHUT_RDWR);
        pthread_mutex_unlock(&u->lock);
    }
    return NULL;
}

// --- the interface ---

struct upstream *upstream_start(upstream_fn answer, void *ctx) {
    struct upstream *u = mem_zalloc(1, sizeof(*u));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    u->answer = answer;
    u->ctx = ctx;
    pthread_mutex_init(&u->lock, NULL);
    u->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(u->listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(u->listener, 512) != 0)
        abort();
    getsockname(u->listener, (struct sockaddr *)&at, &len);
    u->port = ntohs(at.sin_port);
    pthread_create(&u->thread, NULL, accept_all, u);
    return u;
}

void upstream_stop(struct upstream *u) {
    pthread_mutex_lock(&u->lock);
    u->stopping = true;
    for (struct connection *c = u->connections; c != NULL; c = c->next)
        shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&u->lock);
    shutdown(u->listener, SHUT_RDWR);
    pthread_join(u->thread, NULL);
    while (u->connections != NULL) {
        struct connection *c = u->connections;
        u->connections = c->next;
        pthread_join(c->thread, NULL);
        close(c->fd);
        free(c);
    }
    close(u->listener);
    for (size_t i = 0; i < u->logged; i++)
        free(u->log[i]);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

uint16_t upstream_port(const struct upstream *u) {
    return u->port;
}

unsigned upstream_count(struct upstream *u, const char *start) {
    unsigned count = 0;
    pthread_mutex_lock(&u->lock);
    for (size_t i = 0; i < u->logged; i++)
        count += strncmp(u->log[i], start, strlen(start)) == 0;
    pthread_mutex_unlock(&u->lock);
    return count;
}

void upstream_hang(struct upstream *u, int fd) {
    (void)u;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, 60000); // upstream_stop() shuts the connection down, which ends this too.
}

bool upstream_write(int fd, const void *data, size_t len) {
    const char *p = data;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

bool upstream_send(int fd, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    bool ok = len >= 0 && upstream_write(fd, text, (size_t)len);
    free(text);
    return ok;
}

bool upstream_say(int fd, const char *status, const char *headers, const char *body) {
    return upstream_send(fd, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body), headers, body);
}

struct registry *upstream_registry(const uint16_t *ports, size_t count) {
    struct registry *r = mem_zalloc(1, sizeof(*r));
    r->name = mem_strdup("test");
    r->endpoints = mem_zalloc(count, sizeof(*r->endpoints));
    for (size_t i = 0; i < count; i++) {
        struct endpoint *e = &r->endpoints[i];
        e->base = mem_printf("http://127.0.0.1:%u", ports[i]);
        e->path = mem_strdup("");
        e->plain = true;
        e->own_host = true;
        snprintf(e->at.host, sizeof(e->at.host), "127.0.0.1");
        e->at.port = ports[i];
    }
    r->endpoint_count = count;
    r->private_addresses = mem_zalloc(1, sizeof(*r->private_addresses));
    cidr_parse("127.0.0.0/8", &r->private_addresses[0], NULL);
    r->private_address_count = 1;
    return r;
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

const struct fetch_callbacks seen_callbacks = {.head = on_head, .body = on_body, .done = on_done};
static struct owner keeper;

struct fetch_spec seen_spec(const struct registry *r, const char *repository) {
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

struct seen *seen_start(struct fetcher *f, const struct fetch_spec *spec) {
    struct seen *s = mem_zalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    buf_init(&s->body, ANSWER_MAX);
    s->fetch = fetch_start(f, spec, &seen_callbacks, s);
    return s;
}

void seen_await(struct seen *s) {
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

struct seen *seen_ask(struct fetcher *f, const struct fetch_spec *spec) {
    struct seen *s = seen_start(f, spec);
    seen_await(s);
    return s;
}

void seen_free(struct seen *s) {
    fetch_unref(s->fetch);
    buf_deinit(&s->body);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}

struct fetcher *seen_fetcher(unsigned threads) {
    struct err err;
    struct fetcher *f = fetcher_new(threads, &err);
    cr_assert_not_null(f, "%s", err.text);
    return f;
}

int seen_refs(void) {
    return atomic_load(&keeper.refs);
}

void seen_end(struct fetcher *f, struct registry *r, struct upstream *u) {
    fetcher_free(f);
    cr_expect_eq(seen_refs(), 0, "every reference to the configuration was given back");
    registry_free(r);
    if (u != NULL)
        upstream_stop(u);
}
