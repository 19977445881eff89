// SPDX-License-Identifier: Apache-2.0
//
// Answers that are there as a whole, and which answer an upstream's failure becomes.

#include "gateway/front/answer.h"

#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void answer_header(struct exchange *ex, const char *name, const char *value) {
    h2o_mem_pool_t *pool = &ex->req->pool;
    h2o_iovec_t lower = h2o_strdup(pool, name, SIZE_MAX), v = h2o_strdup(pool, value, SIZE_MAX);
    h2o_strtolower(lower.base, lower.len);
    h2o_add_header_by_str(pool, &ex->req->res.headers, lower.base, lower.len, 1, name, v.base, v.len);
}

void answer_common_headers(struct exchange *ex) {
    answer_header(ex, "Docker-Distribution-Api-Version", "registry/2.0");
    answer_header(ex, "X-Request-Id", ex->id);
    if (ex->routed && ex->route.ns_given)
        answer_header(ex, "OCI-Namespace", ex->route.ns);
}

void answer_stale(struct exchange *ex) {
    if (ex->source == SOURCE_STALE)
        answer_header(ex, "Warning", "110 pullgate \"Response is Stale\"");
}

static const char *reason_phrase(int status) {
    static const struct {
        int status;
        const char *phrase;
    } known[] = {{200, "OK"},
                 {206, "Partial Content"},
                 {304, "Not Modified"},
                 {307, "Temporary Redirect"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {413, "Payload Too Large"},
                 {416, "Range Not Satisfiable"},
                 {421, "Misdirected Request"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {499, "Client Closed Request"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"},
                 {508, "Loop Detected"},
                 {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].status == status)
            return known[i].phrase;
    return "Unknown";
}

static void optional_header(struct exchange *ex, const char *name, const char *value) {
    if (value != NULL && value[0] != '\0')
        answer_header(ex, name, value);
}

static void digest_headers(struct exchange *ex, const char *digest) {
    char etag[DIGEST_TEXT_MAX + 3];
    if (digest == NULL || digest[0] == '\0')
        return;
    snprintf(etag, sizeof(etag), "\"%s\"", digest);
    answer_header(ex, "Docker-Content-Digest", digest);
    answer_header(ex, "ETag", etag);
}

/// Hand over the next piece: over TLS libh2o copies what it is given, so a client that does not read costs a piece and
/// not the whole.
static void send_piece(h2o_generator_t *self, h2o_req_t *req) {
    struct exchange *ex = H2O_STRUCT_FROM_MEMBER(struct exchange, whole, self);
    size_t len = ex->body_left < GATEWAY_SEND_MAX ? ex->body_left : GATEWAY_SEND_MAX;
    h2o_iovec_t piece = h2o_iovec_init(ex->body_next, len);
    ex->body_next += len;
    ex->body_left -= len;
    h2o_send(req, &piece, 1, ex->body_left > 0 ? H2O_SEND_STATE_IN_PROGRESS : H2O_SEND_STATE_FINAL);
}

/// The body stays until libh2o disposes of the request.
static void keep_body(struct exchange *ex, const struct answer *a) {
    if (a->manifest != NULL)
        ex->manifest = manifest_ref(a->manifest);
    else
        ex->body = mem_strndup(a->body, a->len);
    ex->body_next = a->manifest != NULL ? a->body : ex->body;
    ex->body_left = a->len;
}

void answer_send(struct exchange *ex, const struct answer *a) {
    h2o_req_t *req = ex->req;
    if (req == NULL || ex->started)
        return;
    ex->started = true;
    req->res.status = a->status;
    req->res.reason = a->phrase != NULL ? h2o_strdup(&req->pool, a->phrase, SIZE_MAX).base : reason_phrase(a->status);
    req->res.content_length = a->status == 304 ? SIZE_MAX : a->content_length != SIZE_MAX ? a->content_length : a->len;
    answer_common_headers(ex);
    optional_header(ex, "Content-Type", a->content_type);
    optional_header(ex, "Content-Range", a->content_range);
    digest_headers(ex, a->digest);
    if (a->status == 200 || a->status == 304)
        answer_stale(ex);
    optional_header(ex, "Location", a->location);
    optional_header(ex, "Allow", a->allow);
    optional_header(ex, "WWW-Authenticate", a->challenge);
    optional_header(ex, "Cache-Control", a->uncached ? "no-store" : NULL);
    optional_header(ex, "Retry-After", a->retry_after);
    optional_header(ex, "Link", a->link);
    optional_header(ex, "OCI-Filters-Applied", a->filters_applied);
    bool head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    ex->whole = (h2o_generator_t){send_piece, NULL};
    h2o_start_response(req, &ex->whole);
    if (head || a->len == 0 || a->status == 304) {
        h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
        return;
    }
    keep_body(ex, a);
    send_piece(&ex->whole, req);
}

/// Send `a` with an OCI error as its body.
static void send_error(struct exchange *ex, struct answer *a, const char *code, const char *message) {
    char *body = denial_error_body(code, message, &a->len);
    a->content_type = "application/json";
    a->body = body;
    a->content_length = SIZE_MAX;
    err_set(&ex->message, "%s", message);
    answer_send(ex, a);
    free(body);
}

void answer_error(struct exchange *ex, int status, const char *code, const char *message) {
    struct answer a = {.status = status, .allow = status == 405 ? ex->route.allow : NULL};
    send_error(ex, &a, code, message);
}

void answer_phrased(struct exchange *ex, int status, const char *phrase, const char *code, const char *message) {
    struct answer a = {.status = status, .phrase = phrase};
    send_error(ex, &a, code, message);
}

void answer_unauthorized(struct exchange *ex, const char *challenge, const char *message) {
    struct answer a = {.status = 401, .challenge = challenge};
    send_error(ex, &a, "UNAUTHORIZED", message);
}

void answer_slow_down(struct exchange *ex, const char *retry_after, const char *message) {
    struct answer a = {.status = 429, .retry_after = retry_after};
    send_error(ex, &a, "TOOMANYREQUESTS", message);
}

// --- denials ---

static void deny(struct exchange *ex, enum denial_reason reason, const char *sentence) {
    struct denial_answer d;
    ex->denied = true;
    ex->reason = reason;
    err_set(&ex->message, "%s", sentence);
    denials_answer(ex->gateway->denials, ex->listener->denials, &ex->route, ex->client, reason, sentence, ex->id,
                   ex->now, &d);
    struct answer a = {.status = d.status,
                       .content_type = d.content_type,
                       .digest = d.docker_content_digest,
                       .body = d.body,
                       .len = d.body_len,
                       .content_length = d.content_length,
                       .location = d.location};
    answer_send(ex, &a);
    denial_answer_deinit(&d);
}

void answer_verdict(struct exchange *ex, const struct verdict *v, const struct question *q) {
    char sentence[DENIAL_SENTENCE_MAX + 1];
    if (ex->req == NULL || ex->started)
        return;
    if (v->rule != NULL)
        snprintf(ex->rule, sizeof(ex->rule), "%s", v->rule);
    config_sentence(ex->config, v, q, ex->id, sentence);
    deny(ex, v->reason, sentence);
}

void answer_deny(struct exchange *ex, enum denial_reason reason, const char *detail) {
    struct verdict v = {.reason = reason, .decision = {.rule = DECISION_NO_RULE}};
    char image[IMAGE_TEXT_MAX + 1];
    if (ex->req == NULL)
        return;
    struct question q = exchange_question(ex);
    question_format(&q, image);
    struct denial_subject subject = {.action = q.action, .image = image, .registry = q.registry, .detail = detail};
    denial_own_words(reason, &subject, v.own, sizeof(v.own));
    answer_verdict(ex, &v, &q);
}

void answer_deny_plain(struct exchange *ex, enum denial_reason reason, const char *words) {
    struct verdict v = {.reason = reason, .decision = {.rule = DECISION_NO_RULE}};
    struct question q = exchange_question(ex);
    char sentence[DENIAL_SENTENCE_MAX + 1];
    snprintf(v.own, sizeof(v.own), "%s", words);
    config_sentence(ex->config, &v, &q, ex->id, sentence);
    ex->denied = true;
    ex->reason = reason;
    answer_error(ex, 403, "DENIED", sentence);
}

enum denial_reason answer_reason(enum document_verdict verdict) {
    switch (verdict) {
    case DOCUMENT_URLS:
        return REASON_URLS;
    case DOCUMENT_SCHEMA1:
        return REASON_SCHEMA1;
    case DOCUMENT_AMBIGUOUS:
        return REASON_AMBIGUOUS;
    case DOCUMENT_MEDIA_TYPE:
        return REASON_MEDIA_TYPE;
    case DOCUMENT_TOO_LARGE:
        return REASON_TOO_LARGE;
    case DOCUMENT_DIGEST:
        return REASON_DIGEST;
    case DOCUMENT_MALFORMED:
    case DOCUMENT_OK:
        break;
    }
    return REASON_MALFORMED;
}

// --- failures of upstreams ---

/// What the registry itself refuses: plain 403, in its own words.
static void registry_refused(struct exchange *ex, const struct fetch_result *r) {
    ex->denied = true;
    ex->reason = REASON_UPSTREAM_AUTH;
    answer_error(ex, 403, "DENIED", r->err.text);
}

static void not_found(struct exchange *ex, const struct fetch_result *r) {
    const char *code = r->code[0] != '\0'             ? r->code
                       : ex->route.kind == ROUTE_BLOB ? "BLOB_UNKNOWN"
                       : ex->route.kind == ROUTE_TAGS ? "NAME_UNKNOWN"
                                                      : "MANIFEST_UNKNOWN";
    ex->reason = REASON_NOT_FOUND;
    answer_error(ex, 404, code, r->message[0] != '\0' ? r->message : r->err.text);
}

static void limited(struct exchange *ex, const struct fetch_result *r) {
    struct answer a = {.status = 429, .retry_after = r->retry_after};
    ex->reason = REASON_UPSTREAM_LIMIT;
    send_error(ex, &a, "TOOMANYREQUESTS", r->err.text);
}

/// How long the content is (RFC 9110 15.5.17), where the upstream says so.
static void unsatisfiable(struct exchange *ex, const struct fetch_result *r) {
    static const char unit[] = "bytes */";
    const char *size = r->content_range + sizeof(unit) - 1;
    bool told = strncmp(r->content_range, unit, sizeof(unit) - 1) == 0 && size[0] != '\0' &&
                strspn(size, "0123456789") == strlen(size);
    struct answer a = {.status = 416, .content_range = told ? r->content_range : NULL};
    ex->reason = REASON_REQUEST;
    send_error(ex, &a, "RANGE_INVALID", r->err.text);
}

static void gateway_error(struct exchange *ex, int status, enum denial_reason reason, const char *message) {
    ex->reason = reason;
    answer_error(ex, status, status == 502 ? "UNKNOWN" : "UNAVAILABLE", message);
}

static void credential_refused(struct exchange *ex, const struct fetch_result *r) {
    char text[ERR_TEXT_MAX];
    snprintf(text, sizeof(text), "%s refused the gateway's credential \"%s\": %s", ex->route.registry,
             r->credential != NULL ? r->credential : "", r->message[0] != '\0' ? r->message : "access denied");
    gateway_error(ex, 502, REASON_UPSTREAM_AUTH, text);
}

void answer_failure(struct exchange *ex, const struct fetch_result *r) {
    if (ex->req == NULL || ex->started)
        return;
    exchange_came_by(ex, r);
    switch (r->outcome) {
    case FETCH_OK:
    case FETCH_CANCELLED:
        gateway_error(ex, 503, REASON_UPSTREAM_ERROR, "the gateway is stopping: try again");
        break;
    case FETCH_NOT_FOUND:
        not_found(ex, r);
        break;
    case FETCH_RANGE:
        unsatisfiable(ex, r);
        break;
    case FETCH_LIMITED:
        limited(ex, r);
        break;
    case FETCH_REFUSED:
        registry_refused(ex, r);
        break;
    case FETCH_CREDENTIAL:
        credential_refused(ex, r);
        break;
    case FETCH_REDIRECT_HOST:
        answer_deny(ex, REASON_REDIRECT_HOST, r->err.text);
        break;
    case FETCH_REALM_HOST:
        answer_deny(ex, REASON_REALM_HOST, r->err.text);
        break;
    case FETCH_ADDRESS:
        answer_deny(ex, REASON_PRIVATE_ADDRESS, r->err.text);
        break;
    case FETCH_TIMEOUT:
        gateway_error(ex, 504, REASON_UPSTREAM_TIMEOUT, r->err.text);
        break;
    case FETCH_STATUS:
        gateway_error(ex, r->status == 503 || r->status == 504 ? r->status : 502, REASON_UPSTREAM_ERROR, r->err.text);
        break;
    case FETCH_MISMATCH:
        if (ex->route.kind == ROUTE_MANIFEST)
            answer_deny(ex, REASON_DIGEST, r->err.text);
        else
            gateway_error(ex, 502, REASON_DIGEST, r->err.text);
        break;
    case FETCH_REDIRECT:
        answer_deny(ex, REASON_REDIRECT, r->err.text);
        break;
    case FETCH_UNREACHABLE:
    case FETCH_ENCODED:
    case FETCH_BROKEN:
        gateway_error(ex, 502, REASON_UPSTREAM_ERROR, r->err.text);
        break;
    }
}

// --- 304 ---

/// If-None-Match: a list of (weak or strong) quoted tags, or "*".
static bool names_digest(h2o_iovec_t value, const char *digest) {
    char quoted[DIGEST_TEXT_MAX + 3];
    snprintf(quoted, sizeof(quoted), "\"%s\"", digest);
    return (value.len == 1 && value.base[0] == '*') || memmem(value.base, value.len, quoted, strlen(quoted)) != NULL;
}

bool answer_not_modified(struct exchange *ex, const char *digest) {
    h2o_iovec_t value = ex->req != NULL ? request_header(ex->req, "if-none-match") : (h2o_iovec_t){NULL, 0};
    if (value.base == NULL || !names_digest(value, digest))
        return false;
    struct answer a = {.status = 304, .digest = digest, .content_length = SIZE_MAX};
    answer_send(ex, &a);
    return true;
}
