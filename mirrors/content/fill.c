// SPDX-License-Identifier: Apache-2.0
//
// A fill in memory: a ring of at most `window` bytes between one writer (a fetch thread) and one reader (a front loop).
//
// `lock` guards the ring, the state and the two flags that say who sleeps; hashing happens outside it, in the order of
// arrival, by the writer alone. The writer and the reader hold a reference each.

#include "mirrors/base/mem.h"
#include "mirrors/content/inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILL_WINDOW_MIN = 64 * 1024 };

struct fill {
    atomic_int refs;
    struct content *content;
    struct fill_callbacks callbacks;
    void *ctx;
    struct fetch *fetch;
    char *name; ///< The registry's.
    char digest[DIGEST_TEXT_MAX + 1];
    struct range asked;
    bool head_only;
    bool urls_pass;    ///< Refused as a manifest for its `urls`, which monitor mode lets pass.
    uint64_t expected; ///< Size by the manifest, UINT64_MAX unknown.

    // The writer's alone.
    struct digest_hasher *hasher; ///< NULL: not to be verified.
    bool answered;
    bool overrun; ///< More came than was promised.
    uint64_t received;
    uint64_t promised; ///< Bytes that have to come, no more and no fewer; UINT64_MAX: nobody said.

    pthread_mutex_t lock;
    char *ring;
    size_t window, start, used;
    bool hold_back; ///< The last byte stays until the digest is verified.
    bool reader_waits, writer_waits, closed;
    enum fill_state state;
    bool wrong_content;
    struct err err;
};

static void unref(struct fill *f) {
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    f->callbacks.released(f->ctx);
    fetch_unref(f->fetch);
    digest_hasher_free(f->hasher);
    pthread_mutex_destroy(&f->lock);
    free(f->name);
    free(f->ring);
    free(f);
}

// --- the answer's head ---

static void tell(struct fill *f, const struct fill_answer *a) {
    f->answered = true;
    f->callbacks.answered(f->ctx, a);
}

static void tell_failure(struct fill *f, const struct fetch_result *result) {
    struct fetch_result r = *result;
    struct fill_answer a = {.ok = false, .fetch = &r};
    if (f->expected != UINT64_MAX) // What the manifest says, whatever the upstream does.
        snprintf(r.content_range, sizeof(r.content_range), "bytes */%" PRIu64, f->expected);
    tell(f, &a);
}

static void refuse(struct fill *f, const struct fetch_result *so_far, enum fetch_outcome outcome,
                   const char *sentence) {
    struct fetch_result r = *so_far;
    r.outcome = outcome;
    err_set(&r.err, "%s", sentence);
    tell_failure(f, &r);
}

/// Does a 206 answer what was asked?
static bool range_fits(const struct fill *f, const struct fill_answer *a) {
    if (f->asked.kind == RANGE_BYTES)
        return a->first == f->asked.first && a->last <= f->asked.last;
    return f->asked.kind == RANGE_SUFFIX && a->last - a->first < f->asked.suffix && a->last + 1 == a->total;
}

static bool read_partial(struct fill *f, const struct transfer_head *h, struct fill_answer *a) {
    if (!content_range_parse(h->content_range, strlen(h->content_range), &a->first, &a->last, &a->total) ||
        !range_fits(f, a))
        return false;
    a->partial = true;
    a->length = a->last - a->first + 1;
    if (a->total == UINT64_MAX)
        a->total = f->expected;
    if (a->total == UINT64_MAX && a->first == 0)
        return false; // It may hold the blob's last byte, and nobody could tell.
    return a->last < a->total && (h->length < 0 || (uint64_t)h->length == a->length);
}

static bool read_head(struct fill *f, const struct transfer_head *h, struct fill_answer *a) {
    a->ok = true;
    a->length = a->total = h->length < 0 ? UINT64_MAX : (uint64_t)h->length;
    a->last = a->total - 1;
    return h->status != 206 || read_partial(f, h, a);
}

static bool is_whole(const struct fill *f, const struct fill_answer *a) {
    return !f->head_only && a->first == 0 && (!a->partial || a->last + 1 == a->total);
}

/// An answer without a byte is complete with its head, so it is judged before.
static bool wrongly_empty(const struct fill *f, const struct fill_answer *a) {
    enum digest_algorithm algorithm;
    char digest[DIGEST_TEXT_MAX + 1];
    if (f->head_only || a->length != 0 || digest_check(f->digest, strlen(f->digest), &algorithm) != DIGEST_OK)
        return false;
    digest_of(algorithm, "", 0, digest);
    return strcmp(digest, f->digest) != 0;
}

static void prepare(struct fill *f, const struct fill_answer *a) {
    enum digest_algorithm algorithm = DIGEST_SHA256;
    bool whole = is_whole(f, a);
    f->promised = a->length;
    if (whole && digest_check(f->digest, strlen(f->digest), &algorithm) == DIGEST_OK) {
        f->hasher = digest_hasher_new(algorithm);
        f->hold_back = true;
    }
    if (a->length < f->window)
        f->window = a->length > FILL_WINDOW_MIN ? (size_t)a->length : FILL_WINDOW_MIN;
    if (!f->head_only)
        f->ring = mem_alloc(f->window);
}

static enum transfer_flow on_head(void *ctx, const struct transfer_head *h, const struct fetch_result *so_far) {
    struct fill *f = ctx;
    struct fill_answer a = {.fetch = so_far};
    char text[ERR_TEXT_MAX];
    if (!read_head(f, h, &a)) {
        snprintf(text, sizeof(text), "%s answered a range request with another range", so_far->where);
        refuse(f, so_far, FETCH_BROKEN, text);
        return TRANSFER_STOP;
    }
    if (wrongly_empty(f, &a)) {
        snprintf(text, sizeof(text), "%s sent nothing at all as %s", so_far->where, f->digest);
        fetch_mismatched(f->content->fetcher, f->name, so_far->upstream, f->digest, text);
        refuse(f, so_far, FETCH_MISMATCH, text);
        return TRANSFER_STOP;
    }
    if (a.total != UINT64_MAX && f->expected != UINT64_MAX && a.total != f->expected) {
        snprintf(text, sizeof(text), "%s says that this blob has %" PRIu64 " bytes, its manifest says %" PRIu64,
                 so_far->where, a.total, f->expected);
        refuse(f, so_far, FETCH_MISMATCH, text);
        return TRANSFER_STOP;
    }
    if (!a.partial && a.length == UINT64_MAX && f->expected != UINT64_MAX) {
        a.length = a.total = f->expected; // Chunked; the manifest says how long it is, and on_body holds it to that.
        a.last = a.total - 1;
    }
    prepare(f, &a);
    a.verified = f->hasher != NULL;
    a.refused = f->urls_pass ? DOCUMENT_URLS : DOCUMENT_OK;
    tell(f, &a);
    return TRANSFER_CONTINUE;
}

// --- the writer ---

static void ring_write(struct fill *f, const char *data, size_t len) {
    size_t at = (f->start + f->used) % f->window;
    size_t first = f->window - at < len ? f->window - at : len;
    memcpy(f->ring + at, data, first);
    memcpy(f->ring, data + first, len - first);
    f->used += len;
}

/// Wake the reader once for all that one turn of the fetch thread brought, not for each piece.
static void on_turn(void *ctx) {
    struct fill *f = ctx;
    pthread_mutex_lock(&f->lock);
    bool wake = f->reader_waits && !f->closed && f->used > (f->hold_back ? 1U : 0U);
    f->reader_waits = f->reader_waits && !wake;
    pthread_mutex_unlock(&f->lock);
    if (wake)
        f->callbacks.readable(f->ctx);
}

static enum transfer_flow on_body(void *ctx, const char *data, size_t len) {
    struct fill *f = ctx;
    pthread_mutex_lock(&f->lock);
    bool fits = f->used + len <= f->window;
    if (f->closed) {
        pthread_mutex_unlock(&f->lock);
        return TRANSFER_STOP;
    }
    f->overrun = len > f->promised - f->received;
    if (f->overrun) {
        pthread_mutex_unlock(&f->lock);
        return TRANSFER_STOP;
    }
    if (fits)
        ring_write(f, data, len);
    else
        f->writer_waits = true;
    pthread_mutex_unlock(&f->lock);
    if (!fits)
        return TRANSFER_PAUSE;
    f->received += len;
    if (f->hasher != NULL)
        digest_hasher_add(f->hasher, data, len);
    if (f->received == len) // The client waits for its first byte.
        on_turn(f);
    return TRANSFER_CONTINUE;
}

/// Compare what came with what was asked for; a difference is remembered for a while, so that clients that retry hear
/// it at once.
static bool verify(struct fill *f, const struct fetch_result *result, struct err *err) {
    char digest[DIGEST_TEXT_MAX + 1];
    if (f->hasher == NULL)
        return true;
    digest_hasher_end(f->hasher, digest);
    if (strcmp(digest, f->digest) == 0)
        return true;
    err_set(err, "%s sent content whose digest is %s, not %s", result->where, digest, f->digest);
    fetch_mismatched(f->content->fetcher, f->name, result->upstream, f->digest, err->text);
    return false;
}

static void set_end(struct fill *f, enum fill_state state, const struct err *err, bool wrong_content) {
    pthread_mutex_lock(&f->lock);
    f->state = state;
    f->wrong_content = wrong_content;
    if (state == FILL_FAILED) {
        f->used -= f->hold_back && f->used > 0; // The byte that was held back never leaves.
        f->err = *err;
    }
    f->hold_back = false;
    bool wake = f->reader_waits && !f->closed;
    f->reader_waits = false;
    pthread_mutex_unlock(&f->lock);
    if (wake)
        f->callbacks.readable(f->ctx);
}

/// The front has told its client how much comes, which therefore is what has to come, whatever framed the
/// upstream's answer.
static bool length_fits(const struct fill *f, const struct fetch_result *result, struct err *err) {
    if (f->overrun)
        return err_set(err, "%s sent more than the %" PRIu64 " bytes that this should have", result->where,
                       f->promised);
    if (result->outcome == FETCH_OK && !f->head_only && f->promised != UINT64_MAX && f->received != f->promised)
        return err_set(err, "%s ended its answer after %" PRIu64 " of %" PRIu64 " bytes", result->where, f->received,
                       f->promised);
    return true;
}

static void on_done(void *ctx, const struct fetch_result *result) {
    struct fill *f = ctx;
    struct err err = result->err;
    if (!f->answered)
        tell_failure(f, result);
    if (!length_fits(f, result, &err) || result->outcome != FETCH_OK)
        set_end(f, FILL_FAILED, &err, false);
    else if (f->head_only || verify(f, result, &err))
        set_end(f, FILL_COMPLETE, NULL, false);
    else
        set_end(f, FILL_FAILED, &err, true);
    unref(f);
}

// --- the reader ---

size_t fill_peek(struct fill *f, struct iovec *spans, size_t max, enum fill_state *state) {
    size_t count = 0;
    pthread_mutex_lock(&f->lock);
    size_t ready = f->hold_back && f->used > 0 ? f->used - 1 : f->used;
    size_t first = f->window - f->start < ready ? f->window - f->start : ready;
    if (first > 0 && max > 0)
        spans[count++] = (struct iovec){f->ring + f->start, first};
    if (ready > first && max > 1)
        spans[count++] = (struct iovec){f->ring, ready - first};
    *state = f->state;
    f->reader_waits = count == 0 && f->state == FILL_RUNNING;
    pthread_mutex_unlock(&f->lock);
    return count;
}

void fill_consume(struct fill *f, size_t bytes) {
    pthread_mutex_lock(&f->lock);
    f->start = (f->start + bytes) % f->window;
    f->used -= bytes;
    bool resume = f->writer_waits && f->used <= f->window / 2;
    if (resume)
        f->writer_waits = false;
    pthread_mutex_unlock(&f->lock);
    if (resume)
        fetch_resume(f->fetch);
}

void fill_failure(struct fill *f, struct err *err, bool *wrong_content) {
    pthread_mutex_lock(&f->lock);
    *err = f->err;
    *wrong_content = f->wrong_content;
    pthread_mutex_unlock(&f->lock);
}

void fill_close(struct fill *f) {
    pthread_mutex_lock(&f->lock);
    f->closed = true;
    bool running = f->state == FILL_RUNNING;
    pthread_mutex_unlock(&f->lock);
    if (running && f->fetch != NULL)
        fetch_cancel(f->fetch);
    unref(f);
}

// --- the start ---

/// Monitor mode lets `urls` pass, as in manifests.
static bool refused_before(struct fill *f, const struct content_place *place) {
    struct refusal refusal;
    if (!content_refused(f->content, place, f->digest, &refusal))
        return false;
    f->urls_pass = place->monitor && refusal.verdict == DOCUMENT_URLS;
    if (f->urls_pass)
        return false;
    struct fetch_result nothing = {.outcome = FETCH_CANCELLED};
    struct fill_answer a = {.fetch = &nothing, .refused = refusal.verdict, .err = refusal.err};
    f->state = FILL_FAILED;
    tell(f, &a);
    return true;
}

/// What to ask the upstream for: nothing for all of it, and for "bytes=0-", which many clients send for all of it.
static const char *upstream_range(const struct fill *f, char *out, size_t size) {
    if (f->asked.kind == RANGE_SUFFIX)
        snprintf(out, size, "bytes=-%" PRIu64, f->asked.suffix);
    else if (f->asked.kind != RANGE_BYTES || (f->asked.first == 0 && f->asked.last == UINT64_MAX))
        return NULL;
    else if (f->asked.last == UINT64_MAX)
        snprintf(out, size, "bytes=%" PRIu64 "-", f->asked.first);
    else
        snprintf(out, size, "bytes=%" PRIu64 "-%" PRIu64, f->asked.first, f->asked.last);
    return out;
}

struct fill *content_blob(struct content *c, const struct content_place *place, const char *digest, bool head,
                          const struct range *range, size_t window, const struct fill_callbacks *callbacks, void *ctx) {
    static const struct fetch_callbacks from_fetch = {on_head, on_body, on_turn, on_done};
    struct fill *f = mem_zalloc(1, sizeof(*f));
    char text[64];
    atomic_init(&f->refs, 1);
    f->content = c;
    f->callbacks = *callbacks;
    f->ctx = ctx;
    f->name = mem_strdup(place->name);
    memcpy(f->digest, digest, strlen(digest) + 1);
    f->head_only = head;
    f->window = window > FILL_WINDOW_MIN ? window : FILL_WINDOW_MIN;
    if (range != NULL && !head)
        f->asked = *range;
    f->expected = content_size(c, place, digest);
    f->promised = UINT64_MAX;
    pthread_mutex_init(&f->lock, NULL);
    if (refused_before(f, place))
        return f;
    struct fetch_spec spec = content_spec(place, FETCH_BLOB, digest);
    spec.head = head;
    spec.range = upstream_range(f, text, sizeof(text));
    atomic_fetch_add(&f->refs, 1);
    f->fetch = fetch_start(c->fetcher, &spec, &from_fetch, f);
    return f;
}
