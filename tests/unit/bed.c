// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/bed.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static atomic_int owned;

static void owner_ref(void *object) {
    atomic_fetch_add(&owned, 1);
}

static void owner_unref(void *object) {
    atomic_fetch_sub(&owned, 1);
}

void bed_open_at(struct bed *b, const uint16_t *ports, size_t count) {
    b->upstream = NULL;
    b->registry = upstream_registry(ports, count);
    b->fetcher = seen_fetcher(2);
    b->content = content_new(b->fetcher, NULL);
    b->place = (struct content_place){
        .owner = {b, owner_ref, owner_unref},
        .registry = b->registry,
        .name = "test",
        .repository = "a/b",
        .deadline_ms = 5000,
        .connect_timeout_ms = 2000,
    };
}

void bed_open(struct bed *b, upstream_fn answer, void *ctx) {
    struct upstream *u = upstream_start(answer, ctx);
    uint16_t port = upstream_port(u);
    bed_open_at(b, &port, 1);
    b->upstream = u;
}

void bed_close(struct bed *b) {
    fetcher_free(b->fetcher);
    content_free(b->content);
    cr_expect_eq(atomic_load(&owned), 0, "every reference to the configuration was given back");
    registry_free(b->registry);
    if (b->upstream != NULL)
        upstream_stop(b->upstream);
}

void bed_tell_size(struct bed *b, const char *digest, uint64_t size) {
    struct manifest *m = mem_zalloc(1, sizeof(*m));
    atomic_init(&m->refs, 1);
    bed_digest("the manifest", m->digest);
    m->document.descriptors = mem_zalloc(1, sizeof(*m->document.descriptors));
    m->document.count = 1;
    m->document.descriptors[0].size = size;
    strcpy(m->document.descriptors[0].digest, digest);
    content_remember(b->content, &b->place, m);
    manifest_unref(m);
}

struct timespec bed_soon(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += BED_PATIENCE_S;
    return until;
}

void bed_digest(const char *text, char *out) {
    digest_of(DIGEST_SHA256, text, strlen(text), out);
}

char *bed_big(char *digest) {
    unsigned seed = 7;
    char *data = mem_alloc(BED_BIG);
    for (size_t i = 0; i < BED_BIG; i++)
        data[i] = (char)rand_r(&seed);
    digest_of(DIGEST_SHA256, data, BED_BIG, digest);
    return data;
}
