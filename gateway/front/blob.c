// SPDX-License-Identifier: Apache-2.0
//
// Blobs: asked for, and answered with a head; the bytes are sending.c's.

#include "gateway/front/blob.h"

#include "gateway/front/answer.h"

#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- libh2o's side ---

static struct exchange *of_generator(h2o_generator_t *self) {
    return H2O_STRUCT_FROM_MEMBER(struct exchange, generator, self);
}

static void on_proceed(h2o_generator_t *self, h2o_req_t *req) {
    sending_proceed(of_generator(self));
}

/// The client has gone; the rest follows when libh2o disposes of the request.
static void on_stop(h2o_generator_t *self, h2o_req_t *req) {
    struct exchange *ex = of_generator(self);
    exchange_client_left(ex);
    sending_end(ex);
}

// --- the head ---

static void content_headers(struct exchange *ex, const struct reader_answer *a) {
    char etag[DIGEST_TEXT_MAX + 3], range[80];
    snprintf(etag, sizeof(etag), "\"%s\"", ex->route.digest);
    answer_common_headers(ex);
    answer_stale(ex);
    answer_header(ex, "Content-Type", "application/octet-stream");
    answer_header(ex, "Docker-Content-Digest", ex->route.digest);
    answer_header(ex, "ETag", etag);
    answer_header(ex, "Accept-Ranges", "bytes");
    if (!a->partial)
        return;
    if (a->total == UINT64_MAX)
        snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/*", a->first, a->last);
    else
        snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, a->first, a->last, a->total);
    answer_header(ex, "Content-Range", range);
}

/// "bytes=0-" is how some clients ask for all of it: fetched and verified whole, answered as they asked.
static void as_asked(const struct exchange *ex, struct reader_answer *a) {
    if (ex->whole_range && !a->partial && a->length != UINT64_MAX && a->length > 0) {
        a->partial = true;
        a->first = 0;
        a->last = a->length - 1;
        a->total = a->length;
    }
}

static void start_stream(struct exchange *ex, const struct reader_answer *a) {
    h2o_req_t *req = ex->req;
    bool head = ex->route.method == METHOD_HEAD;
    ex->started = true;
    ex->to_verify = a->verified; // The log says true when it was, not when it will be.
    ex->verified = head || a->verified ? -1 : 0;
    req->res.status = a->partial ? 206 : 200;
    req->res.reason = a->partial ? "Partial Content" : "OK";
    req->res.content_length = a->length == UINT64_MAX ? SIZE_MAX : (size_t)a->length;
    content_headers(ex, a);
    ex->generator = (h2o_generator_t){on_proceed, on_stop};
    h2o_start_response(req, &ex->generator);
    if (!head) {
        sending_begin(ex, a->length);
        return;
    }
    ex->sending.writing = true;
    h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
}

/// No byte of the blob was asked for that there is: its size is told where it is known.
static void unsatisfiable(struct exchange *ex, const struct reader_answer *a) {
    struct fetch_result r = *a->fetch;
    if (a->total != UINT64_MAX)
        snprintf(r.content_range, sizeof(r.content_range), "bytes */%" PRIu64, a->total);
    if (r.err.text[0] == '\0')
        err_set(&r.err, "the range begins behind the end of the blob");
    answer_failure(ex, &r);
}

static void answered(struct exchange *ex, struct reader_answer *a) {
    bool old_client = ex->req->version < 0x101;
    if (!a->ok && a->refused != DOCUMENT_OK) {
        answer_deny(ex, answer_reason(a->refused), a->err.text);
    } else if (!a->ok && a->fetch->outcome == FETCH_RANGE) {
        unsatisfiable(ex, a);
    } else if (!a->ok) {
        answer_failure(ex, a->fetch);
    } else if (a->length == UINT64_MAX && old_client && ex->route.method == METHOD_GET) {
        answer_error(ex, 505, "UNSUPPORTED", "the registry does not say how long this blob is: ask by HTTP/1.1");
    } else {
        exchange_served(ex, a->source, a->fetch);
        if (a->refused != DOCUMENT_OK) // Monitor mode: it was refused as a manifest, for its urls.
            exchange_would(ex, "deny", "external_urls");
        if (answer_not_modified(ex, ex->route.digest))
            return;
        as_asked(ex, a);
        start_stream(ex, a);
    }
}

// --- what the reader says, on any thread ---

struct answered_message {
    struct loop_message super;
    struct exchange *exchange; ///< A reference.
    struct reader_answer answer;
    struct fetch_result fetch;
};

static void run_answered(struct loop_message *super) {
    struct answered_message *m = H2O_STRUCT_FROM_MEMBER(struct answered_message, super, super);
    if (m->exchange->req != NULL && m->exchange->sending.reader != NULL && !m->exchange->started)
        answered(m->exchange, &m->answer);
    exchange_unref(m->exchange);
    free(m);
}

static void on_answered(void *ctx, const struct reader_answer *answer) {
    struct exchange *ex = ctx;
    struct answered_message *m = mem_zalloc(1, sizeof(*m));
    m->super.run = run_answered;
    m->exchange = exchange_ref(ex);
    m->answer = *answer;
    m->fetch = *answer->fetch;
    m->answer.fetch = &m->fetch;
    exchange_hand(ex, &m->super);
}

static void run_readable(struct loop_message *super) {
    struct exchange *ex = H2O_STRUCT_FROM_MEMBER(struct exchange, readable, super);
    atomic_store(&ex->readable_posted, false); // Before the look: what comes after it is told again.
    if (ex->req != NULL && ex->sending.reader != NULL && ex->started)
        sending_readable(ex);
    exchange_unref(ex);
}

/// The message is one, and may be on its way already.
static void on_readable(void *ctx) {
    struct exchange *ex = ctx;
    if (atomic_exchange(&ex->readable_posted, true))
        return;
    exchange_ref(ex);
    ex->readable.run = run_readable;
    loop_post(ex->loop, &ex->readable);
}

static void on_released(void *ctx) {
    exchange_unref(ctx);
}

// --- the start ---

/// If-Range with another validator than this digest's tag: the range is void (RFC 9110 13.1.5).
static bool range_holds(const struct exchange *ex) {
    char etag[DIGEST_TEXT_MAX + 3];
    h2o_iovec_t value = request_header(ex->req, "if-range");
    int len = snprintf(etag, sizeof(etag), "\"%s\"", ex->route.digest);
    return value.base == NULL || h2o_memis(value.base, value.len, etag, (size_t)len);
}

static struct range asked_range(const struct exchange *ex) {
    h2o_iovec_t value = request_header(ex->req, "range");
    if (value.base == NULL || ex->route.method != METHOD_GET || !range_holds(ex))
        return (struct range){.kind = RANGE_NONE};
    return range_parse(value.base, value.len);
}

void blob_start(struct exchange *ex) {
    static const struct reader_callbacks callbacks = {on_answered, on_readable, on_released};
    struct content_place place = exchange_place(ex);
    struct range range = asked_range(ex);
    ex->whole_range = range.kind == RANGE_BYTES && range.first == 0 && range.last == UINT64_MAX;
    exchange_ask(ex);
    ex->sending.reader = content_blob(ex->gateway->content, &place, ex->route.digest, ex->route.method == METHOD_HEAD,
                                      &range, ex->config->limits.transfer_window, &callbacks, exchange_ref(ex));
    exchange_asked(ex);
}
