// SPDX-License-Identifier: Apache-2.0
//
// Reading one manifest: by HEAD and digest, or by GET; judged before anybody sees it. A job runs on
// fetch threads, one step after the other, so it needs no lock.

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <stdlib.h>
#include <string.h>

struct job {
    struct content *content;
    struct content_place place;       ///< With strings of its own; holds `owner`.
    char *tag;                        ///< NULL: asked by digest.
    char digest[DIGEST_TEXT_MAX + 1]; ///< Asked for, or what HEAD of the tag said; "" unknown.
    bool error_body;
    int64_t deadline_ms;
    manifest_fn answer;
    void *ctx;
};

static void finish(struct job *j, struct manifest *m, const struct fetch_result *result) {
    struct manifest_answer a = {.manifest = m, .fetch = result};
    struct links *links = j->content->links;
    if (m != NULL && m->verdict == DOCUMENT_OK) {
        links_document(links, j->place.name, j->place.repository, m->digest, &m->document);
        if (j->tag != NULL)
            links_tag(links, j->place.name, j->place.repository, j->tag, m->digest);
    }
    j->answer(j->ctx, &a);
    manifest_unref(m);
    j->place.owner.unref(j->place.owner.object);
    free((char *)j->place.name);
    free((char *)j->place.repository);
    free(j->tag);
    free(j);
}

// --- judging ---

static struct manifest *judge(struct job *j, const struct whole *w) {
    struct manifest *m = mem_zalloc(1, sizeof(*m));
    const char *data = w->body.data != NULL ? w->body.data : "";
    enum digest_algorithm algorithm = DIGEST_SHA256;
    const char *expected = j->digest[0] != '\0' ? j->digest : w->head.digest;
    bool known = digest_check(expected, strlen(expected), &algorithm) == DIGEST_OK;
    atomic_init(&m->refs, 1);
    atomic_init(&m->confirmed_ms, 0);
    digest_of(known ? algorithm : DIGEST_SHA256, data, w->body.len, m->digest);
    if (known && algorithm != DIGEST_SHA256) // Rules and refusals by the usual name hold for it too.
        digest_of(DIGEST_SHA256, data, w->body.len, m->sha256);
    if (known && strcmp(m->digest, expected) != 0) {
        m->verdict = DOCUMENT_DIGEST;
        err_set(&m->err, "%s sent content whose digest is %s, not %s", w->result->where, m->digest, expected);
        return m;
    }
    m->verdict = document_judge(data, w->body.len, w->head.content_type[0] != '\0' ? w->head.content_type : NULL,
                                registry_url_permitted, (void *)j->place.registry, &m->document, &m->err);
    if (m->verdict == DOCUMENT_OK)
        memcpy(m->media_type, m->document.media_type, sizeof(m->media_type));
    memcpy(m->urls_host, m->document.urls_host, sizeof(m->urls_host));
    m->body = mem_strndup(data, w->body.len);
    m->len = w->body.len;
    return m;
}

/// What a document that is passed on in spite of its verdict (monitor mode) is sent as.
static void keep_type(struct manifest *m, const struct whole *w) {
    size_t len = strcspn(w->head.content_type, ";");
    if (m->media_type[0] == '\0' && len <= MEDIA_TYPE_MAX)
        memcpy(m->media_type, w->head.content_type, len);
}

static void too_large(struct job *j, const struct whole *w) {
    struct manifest *m = mem_zalloc(1, sizeof(*m));
    atomic_init(&m->refs, 1);
    m->verdict = DOCUMENT_TOO_LARGE;
    memcpy(m->digest, j->digest, sizeof(m->digest));
    err_set(&m->err, "the manifest that %s sent is over %d bytes", w->result->where, DOCUMENT_SIZE_MAX);
    finish(j, m, w->result);
}

static void got(void *ctx, const struct whole *w) {
    struct job *j = ctx;
    if (w->body.overflow) {
        too_large(j, w);
        return;
    }
    if (w->result->outcome != FETCH_OK) {
        finish(j, NULL, w->result);
        return;
    }
    struct manifest *m = judge(j, w);
    keep_type(m, w);
    if (m->verdict == DOCUMENT_DIGEST) {
        const char *wanted = j->digest[0] != '\0' ? j->digest : w->head.digest;
        fetch_mismatched(j->content->fetcher, j->place.name, w->result->upstream, wanted, m->err.text);
    } else {
        atomic_store(&m->confirmed_ms, (long long)clock_ms());
        content_remember(j->content, &j->place, m);
    }
    finish(j, m, w->result);
}

// --- steps ---

static bool time_left(struct job *j) {
    int64_t left = j->deadline_ms - clock_ms();
    j->place.deadline_ms = left > 1 ? (unsigned)left : 1;
    return left > 0;
}

static void get(struct job *j, const char *reference) {
    struct fetch_spec spec = content_spec(&j->place, FETCH_MANIFEST, reference);
    whole_start(j->content->fetcher, &spec, DOCUMENT_SIZE_MAX, got, j);
}

static void found(struct job *j, const struct fetch_result *result) {
    struct manifest *m = content_recall(j->content, &j->place, j->digest);
    if (m == NULL) {
        get(j, j->digest);
        return;
    }
    // The tag's HEAD has just confirmed this digest for this repository.
    atomic_store(&m->confirmed_ms, (long long)clock_ms());
    finish(j, m, result);
}

/// A HEAD that was not answered well may still be answered by GET: some registries know no HEAD, and only a GET has an
/// error body to show.
static bool worth_a_get(const struct job *j, const struct fetch_result *r) {
    if (r->outcome == FETCH_STATUS)
        return r->status >= 400 && r->status < 500;
    return j->error_body &&
           (r->outcome == FETCH_NOT_FOUND || r->outcome == FETCH_REFUSED || r->outcome == FETCH_CREDENTIAL);
}

static void headed(void *ctx, const struct whole *w) {
    struct job *j = ctx;
    enum digest_algorithm algorithm;
    bool ok = w->result->outcome == FETCH_OK;
    bool left = time_left(j);
    if (w->body.overflow) {
        too_large(j, w);
        return;
    }
    if (ok && digest_check(w->head.digest, strlen(w->head.digest), &algorithm) == DIGEST_OK) {
        memcpy(j->digest, w->head.digest, sizeof(j->digest));
        found(j, w->result);
    } else if (left && (ok || worth_a_get(j, w->result))) {
        get(j, j->tag);
    } else {
        finish(j, NULL, w->result);
    }
}

static void by_digest(struct job *j) {
    static const struct fetch_result from_memory = {.outcome = FETCH_OK};
    struct manifest *m = content_recall(j->content, &j->place, j->digest);
    if (m != NULL && clock_ms() - atomic_load(&m->confirmed_ms) < CONTENT_CONFIRMED_S * 1000) {
        finish(j, m, &from_memory);
        return;
    }
    manifest_unref(m);
    get(j, j->digest);
}

void content_manifest(struct content *c, const struct content_place *place, const char *tag, const char *digest,
                      bool error_body, manifest_fn answer, void *ctx) {
    struct job *j = mem_zalloc(1, sizeof(*j));
    j->content = c;
    j->place = *place;
    j->place.owner.ref(j->place.owner.object);
    j->place.name = mem_strdup(place->name);
    j->place.repository = mem_strdup(place->repository);
    j->error_body = error_body;
    j->deadline_ms = clock_ms() + (int64_t)place->deadline_ms;
    j->answer = answer;
    j->ctx = ctx;
    if (digest != NULL) {
        memcpy(j->digest, digest, strlen(digest) + 1);
        by_digest(j);
        return;
    }
    j->tag = mem_strdup(tag);
    struct fetch_spec spec = content_spec(&j->place, FETCH_MANIFEST, tag);
    spec.head = true;
    whole_start(c->fetcher, &spec, DOCUMENT_SIZE_MAX, headed, j);
}
