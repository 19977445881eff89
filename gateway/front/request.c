// SPDX-License-Identifier: Apache-2.0
//
// Where a request begins: its head is judged, it is routed, and handed to whoever answers it. On its loop's thread.

#include "gateway/front/request.h"

#include "gateway/front/answer.h"
#include "gateway/front/connect.h"
#include "gateway/front/head.h"
#include "gateway/front/own.h"
#include "gateway/front/person.h"
#include "gateway/front/pull.h"
#include "gateway/front/takeover.h"
#include "gateway/front/token.h"
#include "mirrors/upstream/self.h"

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

/// The gateway's own request, come back by some way that no address showed.
static bool came_round(struct exchange *ex) {
    h2o_iovec_t via = request_header(ex->req, "pullgate-via");
    if (via.base == NULL || !self_knows(fetcher_self(ex->gateway->fetcher), via.base, via.len))
        return false;
    ex->reason = REASON_LOOP;
    answer_error(ex, 508, "DENIED",
                 "this gateway was led to itself: say where the registry really is in its \"resolve\"");
    return true;
}

static void misdirected(struct exchange *ex, const char *sentence) {
    ex->reason = REASON_REQUEST;
    ex->req->http1_is_persistent = 0;
    answer_error(ex, 421, "UNSUPPORTED", sentence);
}

/// On a connection to a registry's name everything must be about that name, and by today's configuration.
static bool name_agrees(struct exchange *ex) {
    const struct connection *c = loop_connection(ex->req);
    bool serves = c->tunnel[0] != '\0' ? ex->listener->connect == CONNECT_TAKEOVER : ex->listener->takeover;
    if (!c->taken_over)
        return true;
    if (!serves || !takeover_of(ex->config, ex->listener, c->server_name, &ex->takeover))
        misdirected(ex, "this gateway no longer serves that name");
    else if (c->tunnel[0] != '\0' && strcmp(c->tunnel, c->server_name) != 0)
        misdirected(ex, "CONNECT and the TLS server name are different hosts");
    else if (!takeover_same_host(ex->req->authority.base, ex->req->authority.len, c->server_name))
        misdirected(ex, "Host and the TLS server name are different hosts");
    else
        return true;
    return false;
}

static bool is_configured(void *ctx, const char *registry) {
    return config_registry(ctx, registry) != NULL;
}

static void route(struct exchange *ex) {
    const h2o_req_t *req = ex->req;
    struct route_context ctx = {.default_registry = ex->listener->default_registry,
                                .configured = is_configured,
                                .ctx = ex->config,
                                .taken_over = ex->takeover.registry != NULL ? ex->takeover.name : NULL,
                                .realm = ex->takeover.realm,
                                .tokens = ex->listener->challenge && ex->gateway->identities != NULL};
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
    answer_error(ex, ex->route.status, ex->route.code, ex->route.err.text);
}

static void answer_base(struct exchange *ex) {
    struct answer a = {
        .status = 200, .content_type = "application/json", .body = "{}", .len = 2, .content_length = SIZE_MAX};
    answer_send(ex, &a);
}

/// Whoever asks is known, as far as that is needed.
static void serve(struct exchange *ex) {
    switch (ex->route.kind) {
    case ROUTE_REFUSED:
        refuse_route(ex);
        break;
    case ROUTE_TOKEN:
    case ROUTE_CONNECT:
        break; // Have been answered.
    case ROUTE_BASE:
    case ROUTE_HEALTH:
        answer_base(ex);
        break;
    case ROUTE_SITE:
        site_start(ex);
        break;
    case ROUTE_REPORT:
        report_start(ex);
        break;
    case ROUTE_MANIFEST:
    case ROUTE_BLOB:
    case ROUTE_TAGS:
    case ROUTE_REFERRERS:
    case ROUTE_UPLOAD:
        pull_start(ex);
        break;
    }
}

int request_on(h2o_handler_t *self, h2o_req_t *req) {
    struct exchange *ex = exchange_new(req);
    if (!head_acceptable(ex) || came_round(ex))
        return 0;
    if (connect_wanted(ex)) {
        connect_start(ex);
        return 0;
    }
    if (!name_agrees(ex))
        return 0;
    route(ex);
    if (ex->route.kind == ROUTE_REFUSED && ex->route.status == 405)
        req->http1_is_persistent = 0; // CONNECT and the like: do not guess what follows.
    if (ex->route.kind == ROUTE_TOKEN)
        token_start(ex);
    else
        person_ask(ex, serve);
    return 0;
}
