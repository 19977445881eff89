// SPDX-License-Identifier: Apache-2.0
//
// The life of a request: made when libh2o hands it over, routed, answered by one of the content files, logged
// when libh2o disposes of it.

#include "gateway/front/exchange.h"

#include "gateway/front/answer.h"
#include "gateway/front/head.h"
#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static const char *const form_words[] = {"ns", "root", "prefix", "outer_prefix"};

struct exchange *exchange_ref(struct exchange *ex) {
    atomic_fetch_add(&ex->refs, 1);
    return ex;
}

void exchange_unref(struct exchange *ex) {
    if (atomic_fetch_sub(&ex->refs, 1) != 1)
        return;
    config_unref(ex->config);
    free(ex);
}

bool exchange_client_owes(const struct exchange *ex) {
    return ex->started && (ex->fill == NULL || ex->writing);
}

static enum action action_of(const struct route *r) {
    if (r->push)
        return ACTION_PUSH;
    if (r->erase)
        return ACTION_DELETE;
    return r->kind == ROUTE_TAGS || r->kind == ROUTE_REFERRERS ? ACTION_LIST : ACTION_PULL;
}

struct question exchange_question(const struct exchange *ex) {
    return (struct question){
        .registry = ex->route.registry,
        .repository = ex->route.repository,
        .tag = ex->route.tag[0] != '\0' ? ex->route.tag : NULL,
        .digest = ex->route.digest[0] != '\0' ? ex->route.digest : NULL,
        .action = action_of(&ex->route),
        .now = ex->now,
    };
}

void exchange_came_by(struct exchange *ex, const struct fetch_result *r) {
    memcpy(ex->upstream, r->upstream, sizeof(ex->upstream));
    memcpy(ex->hops, r->hops, sizeof(ex->hops));
    ex->hop_count = r->hop_count;
    if (r->unlisted_host[0] != '\0') {
        snprintf(ex->would, sizeof(ex->would), "deny");
        const char *port = strstr(r->unlisted_host, ":443");
        size_t len = port != NULL && port[4] == '\0' ? (size_t)(port - r->unlisted_host) : strlen(r->unlisted_host);
        snprintf(ex->would_rule, sizeof(ex->would_rule), "%s: %.*s",
                 r->unlisted_realm ? "realm_hosts" : "redirect_hosts", (int)len, r->unlisted_host);
    }
}

/// What is left of the request's one deadline.
static unsigned time_left_ms(const struct exchange *ex) {
    int64_t left = (int64_t)ex->config->limits.upstream_timeout_s * 1000 - (fetch_now_ms() - ex->began_ms);
    return left > 1 ? (unsigned)left : 1;
}

struct content_place exchange_place(const struct exchange *ex) {
    return (struct content_place){
        .owner = gateway_owner(ex->config),
        .registry = ex->registry,
        .name = ex->route.registry,
        .repository = ex->route.repository,
        .monitor = ex->config->monitor,
        .deadline_ms = time_left_ms(ex),
        .connect_timeout_ms = ex->config->limits.connect_timeout_s * 1000,
    };
}

// --- the log line ---

static const char *action_word(const struct exchange *ex) {
    if (!ex->routed || ex->route.kind == ROUTE_REFUSED || ex->route.kind == ROUTE_BASE)
        return NULL;
    switch (action_of(&ex->route)) {
    case ACTION_PUSH:
        return "push";
    case ACTION_DELETE:
        return "delete";
    case ACTION_LIST:
        return "list";
    default:
        return "pull";
    }
}

/// Every message and header is a slice; the record wants strings.
static char *text_of(h2o_iovec_t slice) {
    return slice.base != NULL ? mem_strndup(slice.base, slice.len) : NULL;
}

static void peer_of(h2o_req_t *req, char *out) {
    struct sockaddr_storage ss;
    uint8_t addr[16];
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    out[0] = '\0';
    if (req->conn->callbacks->get_peername(req->conn, (void *)&ss) == 0 ||
        !address_from_sockaddr((struct sockaddr *)&ss, addr))
        return;
    if (memcmp(addr, mapped, sizeof(mapped)) == 0)
        inet_ntop(AF_INET, addr + 12, out, PEER_TEXT_MAX);
    else
        inet_ntop(AF_INET6, addr, out, PEER_TEXT_MAX);
}

static void fill_record(const struct exchange *ex, const h2o_req_t *req, struct audit_record *r) {
    bool names = ex->routed && ex->route.kind != ROUTE_BASE && ex->route.kind != ROUTE_REFUSED;
    r->event = "request";
    r->id = ex->id;
    r->config = ex->config->hash;
    r->listener = ex->listener->name;
    r->route = ex->routed ? form_words[ex->route.form] : NULL;
    r->registry = names ? ex->route.registry : NULL;
    r->repository = names ? ex->route.repository : NULL;
    r->reference = ex->route.tag[0] != '\0' ? ex->route.tag : ex->route.digest;
    r->digest = ex->digest;
    r->media_type = ex->media_type;
    r->action = action_word(ex);
    r->decision = ex->denied ? "deny" : ex->route.kind == ROUTE_REFUSED ? NULL : "allow";
    r->would = ex->would;
    r->would_rule = ex->would_rule;
    r->rule = ex->rule;
    r->reason = ex->reason != REASON_NONE ? denial_reason_word(ex->reason) : NULL;
    r->upstream = ex->upstream;
    r->hop_count = ex->hop_count;
    for (int i = 0; i < ex->hop_count; i++)
        r->hops[i] = ex->hops[i];
    r->status = req->res.status;
    r->bytes = (int64_t)req->bytes_sent;
    r->ms = fetch_now_ms() - ex->began_ms;
    r->verified = ex->verified;
    r->message = ex->message.text;
}

static void write_log(struct exchange *ex, h2o_req_t *req) {
    struct audit_record r = {0};
    char peer[PEER_TEXT_MAX];
    char *agent = text_of(request_header(req, "user-agent")), *method = text_of(req->method);
    fill_record(ex, req, &r);
    peer_of(req, peer);
    r.client = peer;
    r.user_agent = agent;
    r.method = method;
    audit_write(ex->gateway->audit, &r);
    free(agent);
    free(method);
}

void exchange_log_early(h2o_req_t *req, const char *message) {
    struct connection *c = loop_connection(req);
    struct gateway *g = loop_gateway(c->loop);
    struct config *config = gateway_config(g);
    struct audit_record r = {.event = "request", .bytes = (int64_t)req->bytes_sent, .ms = -1, .verified = -1};
    char peer[PEER_TEXT_MAX];
    ssize_t at = h2o_find_header_by_str(&req->res.headers, H2O_STRLIT("x-request-id"), -1);
    char *id = at >= 0 ? text_of(req->res.headers.entries[at].value) : NULL, *method = text_of(req->method);
    peer_of(req, peer);
    r.id = id;
    r.method = method;
    r.config = config->hash;
    r.listener = c->listener->settings->name;
    r.client = peer;
    r.reason = denial_reason_word(REASON_REQUEST);
    r.status = req->res.status;
    r.message = message;
    audit_write(g->audit, &r);
    config_unref(config);
    free(id);
    free(method);
}

// --- beginning and end ---

struct hook {
    struct exchange *exchange;
};

static void on_dispose(void *p) {
    struct hook *hook = p;
    struct exchange *ex = hook->exchange;
    h2o_req_t *req = ex->req;
    struct connection *c = loop_connection(req);
    write_log(ex, req);
    if (c->exchange == ex) {
        c->exchange = NULL;
        c->idle_since_ms = fetch_now_ms();
    }
    ex->req = NULL;
    if (ex->fill != NULL)
        fill_close(ex->fill);
    ex->fill = NULL;
    exchange_unref(ex);
}

void exchange_make_id(char out[EXCHANGE_ID_HEX + 1]) {
    uint8_t bytes[EXCHANGE_ID_HEX / 2];
    if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != (ssize_t)sizeof(bytes))
        memset(bytes, 0, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static const struct listener_config *listener_of(const struct config *config, const struct listener *l) {
    for (size_t i = 0; i < config->listener_count; i++)
        if (strcmp(config->listeners[i].address, l->address) == 0)
            return &config->listeners[i];
    return l->settings; // Removed by a reload; its connections drain.
}

static struct exchange *exchange_new(h2o_req_t *req) {
    struct connection *c = loop_connection(req);
    struct exchange *ex = mem_zalloc(1, sizeof(*ex));
    atomic_init(&ex->refs, 1);
    ex->loop = c->loop;
    ex->gateway = loop_gateway(c->loop);
    ex->config = gateway_config(ex->gateway);
    ex->listener = listener_of(ex->config, c->listener);
    ex->req = req;
    ex->began_ms = fetch_now_ms();
    ex->now = (int64_t)time(NULL);
    ex->verified = -1;
    exchange_make_id(ex->id);
    c->exchange = ex;
    c->progress_ms = ex->began_ms;
    c->head_since_ms = 0;
    struct hook *hook = h2o_mem_alloc_shared(&req->pool, sizeof(*hook), on_dispose);
    hook->exchange = ex;
    return ex;
}

void exchange_abandon(struct exchange *ex) {
    static h2o_generator_t generator;
    if (ex->req == NULL)
        return;
    if (ex->started && ex->fill != NULL && !ex->writing) { // libh2o watches no socket that it does not write to.
        ex->writing = true;
        h2o_send(ex->req, NULL, 0, H2O_SEND_STATE_ERROR);
        return;
    }
    if (ex->started) {
        loop_cut(loop_connection(ex->req));
        return;
    }
    ex->started = true;
    ex->req->res.status = 499;
    ex->req->res.reason = "Client Closed Request";
    h2o_start_response(ex->req, &generator);
    h2o_send(ex->req, NULL, 0, H2O_SEND_STATE_ERROR);
}

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

int exchange_on_request(h2o_handler_t *self, h2o_req_t *req) {
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
