// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/client.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// --- the shop ---

void shop_init(struct shop *s, size_t size) {
    unsigned seed = 11;
    *s = (struct shop){.size = size, .gate = SIZE_MAX};
    s->data = mem_alloc(size + 1);
    for (size_t i = 0; i < size; i++)
        s->data[i] = (char)rand_r(&seed);
    digest_of(DIGEST_SHA256, s->data, size, s->digest);
}

void shop_deinit(struct shop *s) {
    free(s->data);
}

static bool peer_left(int fd) {
    char c;
    return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static bool pass(const _Atomic size_t *gate, size_t at, int fd) {
    while (atomic_load(gate) <= at) {
        if (peer_left(fd))
            return false;
        usleep(1000);
    }
    return true;
}

static bool send_part(const struct shop *s, int fd, size_t at, size_t len) {
    char *copy = mem_strndup(s->data + at, len);
    if (s->wrong && at + len == s->size)
        copy[len - 1] ^= 1;
    bool ok = upstream_write(fd, copy, len);
    free(copy);
    return ok;
}

static bool send_chunk(const struct shop *s, int fd, size_t at, size_t len) {
    return upstream_send(fd, "%zx\r\n", len) && send_part(s, fd, at, len) && upstream_write(fd, "\r\n", 2);
}

static bool sell_whole(struct shop *s, int fd) {
    size_t cut = atomic_exchange(&s->cut, 0);
    if (s->chunked)
        upstream_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    else
        upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", s->size);
    for (size_t at = 0; at < s->size;) {
        if ((cut > 0 && at >= cut) || !pass(&s->gate, at, fd))
            return false;
        size_t end = at + 20000 < s->size ? at + 20000 : s->size;
        if (end > atomic_load(&s->gate))
            end = atomic_load(&s->gate);
        if (!(s->chunked ? send_chunk : send_part)(s, fd, at, end - at))
            return false;
        at = end;
    }
    while (s->chunked && atomic_load(&s->end_waits) && !peer_left(fd))
        usleep(1000);
    return !s->chunked || (!atomic_load(&s->end_breaks) && upstream_send(fd, "0\r\n\r\n"));
}

static bool sell_range(struct shop *s, int fd, const char *text) {
    struct range range = range_parse(text, strlen(text));
    uint64_t first, last;
    if (range_resolve(&range, s->size, &first, &last) == RANGE_UNSATISFIABLE)
        return upstream_send(fd, "HTTP/1.1 416 No\r\nContent-Range: bytes */%zu\r\nContent-Length: 0\r\n\r\n", s->size);
    return upstream_send(fd, "HTTP/1.1 206 OK\r\nContent-Length: %zu\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n",
                         (size_t)(last - first + 1), (size_t)first, (size_t)last, s->size) &&
           send_part(s, fd, (size_t)first, (size_t)(last - first + 1));
}

static bool sell(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct shop *s = ctx;
    bool head = strcmp(q->method, "HEAD") == 0;
    bool range = q->range[0] != '\0' && !head;
    atomic_fetch_add(head ? &s->heads : range ? &s->ranges : &s->whole, 1);
    if (head && strncmp(q->path, "/v2/no", 6) == 0 && strstr(q->path, "head/") != NULL)
        return upstream_send(fd, "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
    if (strncmp(q->path, "/v2/none", 8) == 0 || strncmp(q->path, "/v2/nothead", 11) == 0)
        return upstream_send(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    if (atomic_load(&s->status) != 0)
        return upstream_send(fd, "HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n", atomic_load(&s->status));
    if (head)
        return upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", s->size);
    return range && !s->no_ranges ? sell_range(s, fd, q->range) : sell_whole(s, fd);
}

// --- the house ---

static void furnish(struct house *h, bool with_store) {
    struct store_settings settings = {.directory = h->directory};
    struct err err;
    h->store = with_store ? store_open(&settings, &err) : NULL;
    cr_assert(!with_store || h->store != NULL, "%s", err.text);
    h->bed.content = content_new(h->bed.fetcher, h->store);
}

void house_open(struct house *h, size_t size, bool with_store) {
    *h = (struct house){.directory = "/tmp/test_blob.XXXXXX"};
    cr_assert_not_null(mkdtemp(h->directory));
    shop_init(&h->shop, size);
    bed_open(&h->bed, sell, &h->shop);
    content_free(h->bed.content);
    furnish(h, with_store);
    h->place = h->bed.place;
    h->place.terms = (struct content_terms){.learned_for_s = 86400, .finish_percent = 50, .stale_for_s = 3600};
}

void house_reopen(struct house *h) {
    fetcher_free(h->bed.fetcher);
    content_free(h->bed.content);
    store_close(h->store);
    h->bed.fetcher = seen_fetcher(2);
    furnish(h, true);
}

void house_close(struct house *h) {
    char *command = mem_printf("rm -rf %s", h->directory);
    fetcher_free(h->bed.fetcher);
    content_free(h->bed.content);
    store_close(h->store);
    h->bed.fetcher = seen_fetcher(1);
    h->bed.content = content_new(h->bed.fetcher, NULL);
    bed_close(&h->bed);
    shop_deinit(&h->shop);
    cr_expect_eq(system(command), 0);
    free(command);
}

bool house_holds(struct house *h, const struct content_place *place) {
    bool held = false;
    for (int i = 0; i < BED_PATIENCE_S * 100 && !held; i++) {
        struct store_facts facts;
        usleep(10000);
        store_recall(h->store, place->name, place->repository, h->shop.digest, &facts);
        held = facts.piece != NULL && facts.delivered && facts.confirmed > 0;
        piece_unref(facts.piece);
    }
    return held;
}

// --- the client ---

static void on_answered(void *ctx, const struct reader_answer *answer) {
    struct client *c = ctx;
    pthread_mutex_lock(&c->lock);
    c->answered++;
    c->answer = *answer;
    c->fetch = *answer->fetch;
    c->answer.fetch = &c->fetch;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void on_readable(void *ctx) {
    struct client *c = ctx;
    pthread_mutex_lock(&c->lock);
    c->readable = true;
    c->wakes++;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void on_released(void *ctx) {
    struct client *c = ctx;
    pthread_mutex_lock(&c->lock);
    c->released++;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

struct client *client_open(struct house *h, const struct content_place *place, bool head, const struct range *range) {
    static const struct reader_callbacks callbacks = {on_answered, on_readable, on_released};
    struct client *c = mem_zalloc(1, sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->room = h->shop.size + CLIENT_WINDOW;
    c->body = mem_alloc(c->room);
    c->reader = content_blob(h->bed.content, place, h->shop.digest, head, range, CLIENT_WINDOW, &callbacks, c);
    return c;
}

static bool patience(struct client *c, const struct timespec *until) {
    return pthread_cond_timedwait(&c->changed, &c->lock, until) == 0;
}

void client_await(struct client *c) {
    struct timespec until = bed_soon();
    pthread_mutex_lock(&c->lock);
    while (c->answered == 0 && patience(c, &until)) {
    }
    int answered = c->answered;
    pthread_mutex_unlock(&c->lock);
    cr_assert_eq(answered, 1, "answered once");
}

static void await_readable(struct client *c) {
    struct timespec until = bed_soon();
    pthread_mutex_lock(&c->lock);
    while (!c->readable && patience(c, &until)) {
    }
    cr_assert(c->readable, "woken");
    cr_assert_eq(c->wakes, 1, "once");
    c->readable = false;
    c->wakes = 0;
    pthread_mutex_unlock(&c->lock);
}

static size_t take_spans(struct client *c, const struct reader_view *v, size_t max) {
    size_t bytes = 0;
    for (size_t i = 0; i < v->count; i++) {
        size_t n = v->spans[i].iov_len < max - bytes ? v->spans[i].iov_len : max - bytes;
        memcpy(c->body + c->len + bytes, v->spans[i].iov_base, n);
        bytes += n;
    }
    return bytes;
}

static size_t take_file(struct client *c, const struct reader_view *v, size_t max) {
    size_t n = v->length < max ? (size_t)v->length : max;
    cr_assert_eq(pread(v->fd, c->body + c->len, n, (off_t)v->offset), (ssize_t)n, "what is shown can be read");
    c->cold = c->cold || v->cold;
    return n;
}

bool client_take(struct client *c, size_t max) {
    struct reader_view view;
    c->state = reader_peek(c->reader, &view);
    size_t room = c->room - c->len < max ? c->room - c->len : max;
    size_t bytes = view.count > 0 ? take_spans(c, &view, room) : view.length > 0 ? take_file(c, &view, room) : 0;
    c->len += bytes;
    if (bytes > 0)
        reader_consume(c->reader, bytes);
    return bytes > 0;
}

void client_read(struct client *c, size_t len) {
    while (c->len < len) {
        if (client_take(c, len - c->len))
            continue;
        if (c->state != READER_RUNNING)
            break;
        await_readable(c);
    }
    if (c->state == READER_FAILED)
        reader_failure(c->reader, &c->err, &c->wrong_content);
}

bool client_has(const struct client *c, const struct shop *s, size_t first, size_t len) {
    return c->len == len && memcmp(c->body, s->data + first, len) == 0;
}

void client_close(struct client *c) {
    struct timespec until = bed_soon();
    reader_close(c->reader);
    pthread_mutex_lock(&c->lock);
    while (c->released == 0 && patience(c, &until)) {
    }
    int released = c->released, answered = c->answered;
    pthread_mutex_unlock(&c->lock);
    cr_assert_eq(released, 1, "released once");
    cr_assert(answered <= 1, "answered once");
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c->body);
    free(c);
}
