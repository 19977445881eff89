// SPDX-License-Identifier: Apache-2.0
//
// Where a request begins: its head is judged, it is routed, and handed to whoever answers it. On its loop's thread.

#include "gateway/front/request.h"

#include "gateway/front/answer.h"
#include "gateway/front/head.h"
#include "gateway/front/pull.h"

// --- what is refused before routing ---

static const struct {
    int status;
    const char *sentence;
} head_faults[] = {
    [HEAD_TOO_LARGE] = {431, "the request's head is over 64 KiB"},
    [HEAD_FOLDED] = {400, "a header line is folded: RFC 9112 forbids it"},
    [HEAD_FRAMING] = {400, "the request says more than once how long its body is"},
    [HEAD_HOST] = {400, "the request needs exactly one Host"},
};

/// libh2o keeps the head as it came (names in lower case) until it has been answered.
static bool head_acceptable(struct exchange *ex) {
    const h2o_buffer_t *input = loop_connection(ex->req)->sock->input;
    enum head_fault fault = head_judge(input->bytes, input->size, GATEWAY_HEAD_MAX);
    if (fault == HEAD_OK)
        return true;
    ex->reason = REASON_REQUEST;
    ex->req->http1_is_persistent = 0; // Where the next request begins cannot be known.
    answer_error(ex, head_faults[fault].status, "UNSUPPORTED", head_faults[fault].sentence);
    return false;
}

static bool is_configured(void *ctx, const char *registry) {
    return config_registry(ctx, registry) != NULL;
}

static void route(struct exchange *ex) {
    const h2o_req_t *req = ex->req;
    struct route_context ctx = {
        .default_registry = ex->listener->default_registry, .configured = is_configured, .ctx = ex->config};
    // `input` is as received; libh2o decodes and collapses others.
    route_parse(&ctx, req->input.method.base, req->input.method.len, req->input.path.base, req->input.path.len,
                &ex->route);
    ex->routed = true;
    h2o_iovec_t agent = request_header(req, "user-agent");
    ex->client =
        denial_client(agent.base, agent.len, request_header(req, "docker-distribution-api-version").base != NULL);
    ex->registry = config_registry(ex->config, ex->route.registry);
}

static void refuse_route(struct exchange *ex) {
    if (ex->route.status == 403) {
        answer_deny_plain(ex, REASON_ACTION, ex->route.err.text);
        return;
    }
    ex->reason = REASON_REQUEST;
    if (ex->route.status == 405)
        ex->req->http1_is_persistent = 0; // CONNECT and the like: do not guess what follows.
    answer_error(ex, ex->route.status, ex->route.code, ex->route.err.text);
}

static void answer_base(struct exchange *ex) {
    struct answer a = {
        .status = 200, .content_type = "application/json", .body = "{}", .len = 2, .content_length = SIZE_MAX};
    answer_send(ex, &a);
}

int request_on(h2o_handler_t *self, h2o_req_t *req) {
    struct exchange *ex = exchange_new(req);
    if (!head_acceptable(ex))
        return 0;
    route(ex);
    switch (ex->route.kind) {
    case ROUTE_REFUSED:
        refuse_route(ex);
        break;
    case ROUTE_BASE:
    case ROUTE_HEALTH:
        answer_base(ex);
        break;
    case ROUTE_MANIFEST:
    case ROUTE_BLOB:
    case ROUTE_TAGS:
    case ROUTE_REFERRERS:
    case ROUTE_UPLOAD:
        pull_start(ex);
        break;
    }
    return 0;
}
