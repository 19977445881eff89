// SPDX-License-Identifier: Apache-2.0
//
// From bytes to a judged manifest, and into the store and back. What is read back is judged again: the configuration
// may be another one, and the file too. Any thread; what blocks says so.

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { USED_EVERY_MS = 60 * 1000 };

static struct manifest *manifest_new(void) {
    struct manifest *m = mem_zalloc(1, sizeof(*m));
    atomic_init(&m->refs, 1);
    atomic_init(&m->confirmed_ms, 0);
    atomic_init(&m->used_ms, 0);
    return m;
}

/// What a document that is passed on in spite of its verdict (monitor mode) is sent as.
static void keep_type(struct manifest *m, const char *content_type) {
    size_t len = strcspn(content_type, ";");
    if (m->media_type[0] == '\0' && len <= MEDIA_TYPE_MAX)
        memcpy(m->media_type, content_type, len);
}

struct manifest *manifest_judge(const struct content_place *place, const struct judging *j) {
    struct manifest *m = manifest_new();
    enum digest_algorithm algorithm = DIGEST_SHA256;
    bool known = digest_check(j->expected, strlen(j->expected), &algorithm) == DIGEST_OK;
    digest_of(known ? algorithm : DIGEST_SHA256, j->data, j->len, m->digest);
    if (known && algorithm != DIGEST_SHA256) // Rules and refusals by the usual name hold for it too.
        digest_of(DIGEST_SHA256, j->data, j->len, m->sha256);
    if (known && strcmp(m->digest, j->expected) != 0) {
        m->verdict = DOCUMENT_DIGEST;
        err_set(&m->err, "%s sent content whose digest is %s, not %s", j->where, m->digest, j->expected);
        return m;
    }
    m->verdict = document_judge(j->data, j->len, j->content_type[0] != '\0' ? j->content_type : NULL,
                                registry_url_permitted, (void *)place->registry, &m->document, &m->err);
    if (m->verdict == DOCUMENT_OK)
        memcpy(m->media_type, m->document.media_type, sizeof(m->media_type));
    keep_type(m, j->content_type);
    memcpy(m->urls_host, m->document.urls_host, sizeof(m->urls_host));
    m->body = mem_strndup(j->data, j->len);
    m->len = j->len;
    return m;
}

struct manifest *manifest_too_large(const char *digest, const char *where) {
    struct manifest *m = manifest_new();
    m->verdict = DOCUMENT_TOO_LARGE;
    memcpy(m->digest, digest, strlen(digest) + 1);
    err_set(&m->err, "the manifest that %s sent is over %d bytes", where, DOCUMENT_SIZE_MAX);
    return m;
}

// --- into the store ---

/// Needs nothing of the content, which may be gone when it is done.
struct keeping {
    struct store *store;
    char *registry, *repository;
    struct manifest *manifest;
};

static void kept(void *ctx, struct piece *piece) {
    (void)ctx;
    piece_unref(piece);
}

static void keeping_free(struct keeping *k) {
    free(k->registry);
    free(k->repository);
    manifest_unref(k->manifest);
    free(k);
}

static void write_out(void *ctx) {
    struct keeping *k = ctx;
    const struct manifest *m = k->manifest;
    struct store_file *f = store_file_new(k->store, m->digest, m->len);
    if (f != NULL && store_file_write(f, m->body, m->len))
        store_file_commit(f, k->registry, k->repository, m->media_type, kept, NULL);
    else
        store_file_drop(f);
    keeping_free(k);
}

void manifest_keep(struct content *c, const struct content_place *place, struct manifest *m) {
    struct keeping *k = mem_zalloc(1, sizeof(*k));
    k->store = c->store;
    k->registry = mem_strdup(place->name);
    k->repository = mem_strdup(place->repository);
    k->manifest = manifest_ref(m);
    if (!store_work(c->store, write_out, k))
        keeping_free(k);
}

// --- and back ---

static bool read_all(int fd, char *data, size_t len) {
    for (size_t got = 0; got < len;) {
        ssize_t n = pread(fd, data + got, len - got, (off_t)got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static struct manifest *judge_piece(const struct content_place *place, const struct piece *piece, const char *data,
                                    const char *media_type) {
    struct judging j = {
        .data = data,
        .len = piece_size(piece),
        .content_type = media_type,
        .expected = piece_digest(piece),
        .where = "the store",
    };
    struct manifest *m = manifest_judge(place, &j);
    // Without what its upstream called it, a document that does not say itself what it is cannot be judged.
    bool unnamed = m->verdict == DOCUMENT_MEDIA_TYPE && media_type[0] == '\0';
    if (m->verdict != DOCUMENT_DIGEST && !unnamed)
        return m;
    manifest_unref(m);
    return NULL;
}

struct manifest *manifest_of_piece(struct content *c, const struct content_place *place, struct piece *piece,
                                   const char *media_type) {
    const char *bytes = piece_bytes(piece);
    uint64_t size = piece_size(piece);
    if (size > DOCUMENT_SIZE_MAX)
        return NULL;
    char *own = bytes == NULL ? mem_alloc((size_t)size + 1) : NULL;
    struct manifest *m = NULL;
    if (bytes != NULL || read_all(piece_fd(piece), own, (size_t)size))
        m = judge_piece(place, piece, bytes != NULL ? bytes : own, media_type);
    free(own);
    if (m == NULL)
        return NULL;
    content_remember(c, place, m);
    atomic_store(&m->used_ms, (long long)clock_ms());
    store_used(c->store, piece);
    return m;
}

void manifest_used(struct content *c, const struct content_place *place, struct manifest *m) {
    int64_t now = clock_ms();
    if (c->store == NULL || now - atomic_load_explicit(&m->used_ms, memory_order_relaxed) < USED_EVERY_MS)
        return;
    atomic_store_explicit(&m->used_ms, (long long)now, memory_order_relaxed);
    struct store_facts facts;
    store_recall(c->store, place->name, place->repository, m->digest, &facts);
    if (facts.known && facts.piece != NULL)
        store_used(c->store, facts.piece);
    piece_unref(facts.piece);
}
