// SPDX-License-Identifier: Apache-2.0
//
// See depot.h.

#include "tests/unit/depot.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char type[] = "application/vnd.oci.image.manifest.v1+json";

char *depot_digest(const char *text) {
    char *digest = mem_alloc(DIGEST_TEXT_MAX + 1);
    digest_of(DIGEST_SHA256, text, strlen(text), digest);
    return digest;
}

char *depot_manifest(const char *name) {
    char *config = mem_printf("config of %s", name), *layer = mem_printf("layer of %s", name);
    char *c = depot_digest(config), *l = depot_digest(layer);
    char *body =
        mem_printf("{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
                   "\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"mediaType\":"
                   "\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":%zu}]}",
                   c, strlen(config), l, strlen(layer));
    free(config);
    free(layer);
    free(c);
    free(l);
    return body;
}

// --- the registry ---

static const struct thing *thing_at(const struct hub *h, const char *path) {
    for (size_t i = 0; i < DEPOT_THINGS_MAX; i++) {
        const struct thing *t = &h->things[i];
        if (t->repository == NULL)
            continue;
        char *manifest = mem_printf("/v2/%s/manifests/%s", t->repository, t->reference);
        char *blob = mem_printf("/v2/%s/blobs/%s", t->repository, t->reference);
        bool here = strcmp(path, manifest) == 0 || strcmp(path, blob) == 0;
        free(manifest);
        free(blob);
        if (here)
            return t;
    }
    return NULL;
}

static bool say_thing(int fd, const struct upstream_request *q, const struct thing *t) {
    bool head = strcmp(q->method, "HEAD") == 0;
    char *own = depot_digest(t->body);
    const char *digest = t->digest != NULL ? t->digest : own;
    bool sent = upstream_send(fd, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s%s\r\n", type,
                              strlen(t->body), digest[0] != '\0' ? "Docker-Content-Digest: " : "", digest,
                              digest[0] != '\0' ? "\r\n" : "") &&
                (head || upstream_write(fd, t->body, strlen(t->body)));
    free(own);
    return sent;
}

static bool good(struct hub *h, int fd, const struct upstream_request *q) {
    pthread_mutex_lock(&h->lock);
    const struct thing *t = thing_at(h, q->path);
    bool there = t != NULL && t->body != NULL;
    bool said = there && say_thing(fd, q, t);
    pthread_mutex_unlock(&h->lock);
    if (!there)
        return upstream_say(fd, "404 Not Found", "",
                            "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"no\"}]}");
    return said;
}

static bool answer(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    struct hub *h = ctx;
    bool head = strcmp(q->method, "HEAD") == 0;
    enum mood mood = h->mood;
    switch (mood) {
    case MOOD_GOOD:
        return good(h, fd, q);
    case MOOD_SILENT:
        upstream_hang(u, fd);
        return false;
    case MOOD_500:
        return upstream_say(fd, "500 Internal Server Error", "", "");
    case MOOD_429:
        return upstream_say(fd, "429 Too Many Requests", "Retry-After: 1\r\n", "");
    case MOOD_401:
        return upstream_say(fd, "401 Unauthorized", "", "");
    case MOOD_403:
        return upstream_say(fd, "403 Forbidden", "", "");
    case MOOD_404:
        return upstream_say(fd, "404 Not Found", "", "");
    case MOOD_NO_HEAD:
        return head ? upstream_say(fd, "405 Method Not Allowed", "", "") : good(h, fd, q);
    case MOOD_NO_HEAD_501:
        return head ? upstream_say(fd, "501 Not Implemented", "", "") : good(h, fd, q);
    case MOOD_GARBAGE:
        upstream_send(fd, "nonsense\r\n\r\n");
        return false;
    case MOOD_SLOW:
        usleep(300 * 1000);
        return good(h, fd, q);
    case MOOD_ELSEWHERE:
        if (!head)
            return good(h, fd, q);
        if (strncmp(q->path, "/elsewhere", 10) == 0)
            return upstream_say(fd, "404 Not Found", "", "");
        return upstream_say(fd, "307 Temporary Redirect", "Location: /elsewhere\r\n", "");
    case MOOD_GET_500:
        return head ? good(h, fd, q) : upstream_say(fd, "500 Internal Server Error", "", "");
    }
    return false;
}

static void hub_open(struct hub *h) {
    pthread_mutex_init(&h->lock, NULL);
    h->upstream = upstream_start(answer, h);
    uint16_t port = upstream_port(h->upstream);
    h->registry = upstream_registry(&port, 1);
}

static void hub_close(struct hub *h) {
    upstream_stop(h->upstream);
    registry_free(h->registry);
    hub_clear(h);
}

static void put(struct hub *h, const char *repository, const char *reference, const char *body) {
    for (size_t i = 0; i < DEPOT_THINGS_MAX; i++) {
        struct thing *t = &h->things[i];
        bool same =
            t->repository != NULL && strcmp(t->repository, repository) == 0 && strcmp(t->reference, reference) == 0;
        if (t->repository != NULL && !same)
            continue;
        if (same) {
            free((char *)t->repository);
            free((char *)t->reference);
            free((char *)t->body);
        }
        *t = (struct thing){
            .repository = mem_strdup(repository), .reference = mem_strdup(reference), .body = mem_strdup(body)};
        return;
    }
    cr_assert_fail("too many things");
}

void hub_has(struct hub *h, const char *repository, const char *reference, const char *body) {
    pthread_mutex_lock(&h->lock);
    put(h, repository, reference, body);
    pthread_mutex_unlock(&h->lock);
}

void hub_clear(struct hub *h) {
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < DEPOT_THINGS_MAX; i++) {
        free((char *)h->things[i].repository);
        free((char *)h->things[i].reference);
        free((char *)h->things[i].body);
        h->things[i] = (struct thing){0};
    }
    pthread_mutex_unlock(&h->lock);
}

unsigned hub_count(struct hub *h, const char *start) {
    return upstream_count(h->upstream, start);
}

// --- the depot ---

static void depot_start(struct depot *d) {
    struct err err = {0};
    struct store_settings settings = {.directory = d->directory, .max_size = 1 << 30};
    d->store = store_open(&settings, &err);
    cr_assert_not_null(d->store, "%s", err.text);
    d->fetcher = seen_fetcher(2);
    d->content = content_new(d->fetcher, d->store);
}

static void depot_stop(struct depot *d) {
    fetcher_free(d->fetcher);
    content_free(d->content);
    store_close(d->store);
    cr_expect_eq(seen_refs(), 0, "every reference to the configuration was given back");
}

struct depot *depot_new(void) {
    struct depot *d = mem_zalloc(1, sizeof(*d));
    snprintf(d->directory, sizeof(d->directory), "/tmp/test_depot.XXXXXX");
    cr_assert_not_null(mkdtemp(d->directory));
    hub_open(&d->hub);
    hub_open(&d->other);
    depot_start(d);
    return d;
}

void depot_restart(struct depot *d) {
    depot_stop(d);
    depot_start(d);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at) {
    (void)st, (void)flag, (void)at;
    return remove(path);
}

void depot_free(struct depot *d) {
    depot_stop(d);
    hub_close(&d->hub);
    hub_close(&d->other);
    nftw(d->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(d);
}

static struct content_place place_of(const struct hub *h, const char *name, const char *repository) {
    return (struct content_place){
        .owner = seen_spec(h->registry, repository).owner,
        .registry = h->registry,
        .name = name,
        .repository = repository,
        .deadline_ms = 5000,
        .connect_timeout_ms = 2000,
        .terms = {.tag_ttl_s = 3600, .stale_for_s = 86400, .learned_for_s = 3600, .finish_percent = 50},
    };
}

struct content_place depot_place(struct depot *d, const char *repository) {
    return place_of(&d->hub, "test", repository);
}

struct content_place depot_other(struct depot *d, const char *repository) {
    return place_of(&d->other, "other", repository);
}

// --- asking ---

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct told told;
};

static void on_answer(void *ctx, const struct manifest_answer *a) {
    struct wait *w = ctx;
    pthread_mutex_lock(&w->lock);
    struct told *t = &w->told;
    t->answers++;
    t->outcome = a->fetch->outcome;
    t->status = a->fetch->status;
    t->err = a->fetch->err;
    t->source = a->source;
    t->manifest = a->manifest != NULL;
    if (a->manifest != NULL) {
        t->verdict = a->manifest->verdict;
        memcpy(t->digest, a->manifest->digest, sizeof(t->digest));
        t->body = a->manifest->body != NULL ? mem_strndup(a->manifest->body, a->manifest->len) : NULL;
    }
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

struct told depot_ask(struct depot *d, const struct content_place *place, const char *tag, const char *digest) {
    struct wait w = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct timespec until;
    content_manifest(d->content, place, tag, digest, false, on_answer, &w);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEPOT_PATIENCE_S;
    pthread_mutex_lock(&w.lock);
    while (w.told.answers == 0 && pthread_cond_timedwait(&w.changed, &w.lock, &until) == 0) {
    }
    pthread_mutex_unlock(&w.lock);
    cr_assert_eq(w.told.answers, 1, "answered once");
    return w.told;
}

void told_free(struct told *t) {
    free(t->body);
    *t = (struct told){0};
}

void depot_await_held(struct depot *d, const struct content_place *place, const char *digest) {
    for (int i = 0; i < DEPOT_PATIENCE_S * 100; i++) {
        struct store_facts facts;
        store_look(d->store, place->name, place->repository, digest, &facts);
        bool held = facts.piece != NULL && facts.confirmed > 0 && facts.delivered;
        piece_unref(facts.piece);
        if (held)
            return;
        usleep(10 * 1000);
    }
    cr_assert_fail("the store never held %s", digest);
}

static char searched[DIGEST_TEXT_MAX + 1];
static char *found_file;

static int look_at(const char *path, const struct stat *st, int flag, struct FTW *at) {
    (void)st;
    if (flag == FTW_F && strcmp(path + at->base, searched) == 0)
        found_file = mem_strdup(path);
    return found_file != NULL;
}

char *depot_file(struct depot *d, const char *digest) {
    found_file = NULL;
    snprintf(searched, sizeof(searched), "%s", strchr(digest, ':') + 1);
    nftw(d->directory, look_at, 16, FTW_PHYS);
    return found_file;
}
