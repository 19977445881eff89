// SPDX-License-Identifier: Apache-2.0
//
// The life of a request: made when libh2o hands it over, logged when libh2o disposes of it.

#include "gateway/front/exchange.h"

#include "gateway/front/figures.h"
#include "gateway/front/person.h"
#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const source_words[] = {
    [SOURCE_NONE] = NULL,   [SOURCE_HIT] = "hit",     [SOURCE_FOLLOW] = "follow",
    [SOURCE_MISS] = "miss", [SOURCE_STALE] = "stale",
};
static const char *const form_words[] = {"ns", "root", "prefix", "outer_prefix", "own", "name", "connect"};

h2o_iovec_t request_header(const h2o_req_t *req, const char *name) {
    ssize_t at = h2o_find_header_by_str(&req->headers, name, strlen(name), -1);
    return at < 0 ? (h2o_iovec_t){NULL, 0} : req->headers.entries[at].value;
}

struct exchange_links exchange_links(const struct gateway *g) {
    return (struct exchange_links){.links = content_links(g->content), .steps_left = LINKS_REQUEST_STEPS_MAX};
}

bool exchange_reach(void *links, const char *registry, const char *repository, const char *digest,
                    const struct links_asker *asker, char *tag) {
    struct exchange_links *l = links;
    struct links_asker bounded = *asker;
    bounded.steps = &l->steps_left;
    return links_reach(l->links, registry, repository, digest, &bounded, tag);
}

struct exchange *exchange_ref(struct exchange *ex) {
    atomic_fetch_add(&ex->refs, 1);
    return ex;
}

void exchange_unref(struct exchange *ex) {
    if (atomic_fetch_sub(&ex->refs, 1) != 1)
        return;
    config_unref(ex->config);
    identity_unref(ex->identity);
    free(ex->children);
    free(ex);
}

bool exchange_client_owes(const struct exchange *ex) {
    return ex->started && (ex->sending.reader == NULL || ex->sending.writing);
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
        .asker = &ex->asker,
        .now = ex->now,
    };
}

void exchange_would(struct exchange *ex, const char *would, const char *why) {
    snprintf(ex->would, sizeof(ex->would), "%s", would);
    snprintf(ex->would_rule, sizeof(ex->would_rule), "%s", why);
}

void exchange_came_by(struct exchange *ex, const struct fetch_result *r) {
    memcpy(ex->upstream, r->upstream, sizeof(ex->upstream));
    memcpy(ex->hops, r->hops, (size_t)r->hop_count * sizeof(ex->hops[0]));
    ex->hop_count = r->hop_count;
    if (r->unlisted_host[0] != '\0') {
        char key[HOSTPORT_TEXT_MAX + 32];
        snprintf(key, sizeof(key), "%s: %.*s", r->unlisted_realm ? "realm_hosts" : "redirect_hosts",
                 (int)hostport_shown(r->unlisted_host), r->unlisted_host);
        exchange_would(ex, "deny", key);
    }
}

void exchange_served(struct exchange *ex, enum content_source source, const struct fetch_result *r) {
    exchange_came_by(ex, r);
    ex->source = source;
    if (source == SOURCE_STALE)
        err_set(&ex->message, "served as it was kept, for the registry could not be asked: %s", r->err.text);
}

void exchange_client_left(struct exchange *ex) {
    if (ex->message.text[0] == '\0' || ex->source == SOURCE_STALE)
        err_set(&ex->message, "the client left, or read nothing for too long, before the end");
}

// --- answers from elsewhere ---

void exchange_ask(struct exchange *ex) {
    ex->asking = true;
}

void exchange_asked(struct exchange *ex) {
    struct loop_message *prompt = ex->prompt;
    ex->asking = false;
    ex->prompt = NULL;
    if (prompt != NULL)
        prompt->run(prompt);
}

void exchange_hand(struct exchange *ex, struct loop_message *answer) {
    if (loop_is_current(ex->loop) && ex->asking)
        ex->prompt = answer;
    else
        loop_post(ex->loop, answer);
}

/// What is left of the request's one deadline.
static unsigned time_left_ms(const struct exchange *ex) {
    int64_t left = (int64_t)ex->config->limits.upstream_timeout_s * 1000 - (clock_ms() - ex->began_ms);
    return left > 1 ? (unsigned)left : 1;
}

struct content_place exchange_place(const struct exchange *ex) {
    struct content_place place = {
        .owner = config_owner(ex->config),
        .registry = ex->registry,
        .name = ex->route.registry,
        .repository = ex->route.repository,
        .monitor = ex->config->monitor,
        .deadline_ms = time_left_ms(ex),
        .connect_timeout_ms = ex->config->limits.connect_timeout_s * 1000,
    };
    config_terms(ex->config, ex->registry, &place.terms);
    return place;
}

// --- the log line ---

/// Does the request speak of something in a registry?
static bool names_content(const struct exchange *ex) {
    switch (ex->route.kind) {
    case ROUTE_REFUSED:
    case ROUTE_BASE:
    case ROUTE_TOKEN:
    case ROUTE_SITE:
    case ROUTE_REPORT:
        return false;
    default:
        return ex->routed;
    }
}

static const char *action_word(const struct exchange *ex) {
    if (ex->route.kind == ROUTE_CONNECT || !names_content(ex))
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

static void address_text(const uint8_t addr[16], char *out) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (memcmp(addr, mapped, sizeof(mapped)) == 0)
        inet_ntop(AF_INET, addr + 12, out, PEER_TEXT_MAX);
    else
        inet_ntop(AF_INET6, addr, out, PEER_TEXT_MAX);
}

static void peer_of(h2o_req_t *req, char *out) {
    struct sockaddr_storage ss;
    uint8_t addr[16];
    out[0] = '\0';
    if (req->conn->callbacks->get_peername(req->conn, (void *)&ss) != 0 &&
        address_from_sockaddr((struct sockaddr *)&ss, addr))
        address_text(addr, out);
}

void exchange_client(const struct exchange *ex, char *out) {
    out[0] = '\0';
    if (ex->asker.has_address)
        address_text(ex->asker.address, out);
}

static void fill_record(const struct exchange *ex, const h2o_req_t *req, struct audit_record *r) {
    bool names = names_content(ex);
    r->event = "request";
    r->id = ex->id;
    r->config = ex->config->hash;
    r->listener = ex->listener->name;
    r->route = ex->routed ? form_words[ex->route.form] : NULL;
    r->registry = names ? ex->route.registry : NULL;
    r->repository = names ? ex->route.repository : NULL;
    r->who = ex->asker.name != NULL ? ex->asker.name : ex->token_for;
    r->how = ex->identity != NULL ? identity_how_word(identity_how(ex->identity)) : NULL;
    r->reference = ex->route.tag[0] != '\0' ? ex->route.tag : ex->route.digest;
    r->digest = ex->digest;
    r->media_type = ex->media_type;
    r->action = action_word(ex);
    r->decision = ex->denied ? "deny" : ex->route.kind == ROUTE_REFUSED ? NULL : "allow";
    r->would = ex->would;
    r->would_rule = ex->would_rule;
    r->rule = ex->rule;
    r->reason = ex->reason != REASON_NONE ? denial_reason_word(ex->reason) : NULL;
    r->source = source_words[ex->source];
    r->upstream = ex->upstream;
    r->hop_count = ex->hop_count;
    for (int i = 0; i < ex->hop_count; i++)
        r->hops[i] = ex->hops[i];
    r->status = req->res.status;
    r->bytes = (int64_t)req->bytes_sent;
    r->ms = clock_ms() - ex->began_ms;
    r->verified = ex->verified;
    r->message = ex->message.text;
}

static void write_log(struct exchange *ex, h2o_req_t *req) {
    struct audit_record r = {0};
    char peer[PEER_TEXT_MAX];
    char *agent = text_of(request_header(req, "user-agent")), *method = text_of(req->method);
    fill_record(ex, req, &r);
    exchange_client(ex, peer);
    r.client = peer;
    r.user_agent = agent;
    r.method = method;
    audit_write(ex->gateway->audit, &r);
    figures_exchange(ex, &r);
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
    figures_early(g, &r);
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
        c->idle_since_ms = clock_ms();
    }
    ex->req = NULL;
    sending_end(ex);
    manifest_unref(ex->manifest);
    ex->manifest = NULL;
    free(ex->body);
    ex->body = NULL;
    exchange_unref(ex);
}

void exchange_make_id(struct loop *l, char out[EXCHANGE_ID_HEX + 1]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[EXCHANGE_ID_HEX / 2];
    loop_random(l, bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[EXCHANGE_ID_HEX] = '\0';
}

static const struct listener_config *listener_of(const struct config *config, const struct listener *l) {
    for (size_t i = 0; i < config->listener_count; i++)
        if (strcmp(config->listeners[i].address, l->address) == 0)
            return &config->listeners[i];
    return l->settings; // Removed by a reload; its connections drain.
}

struct exchange *exchange_new(h2o_req_t *req) {
    struct connection *c = loop_connection(req);
    struct exchange *ex = mem_zalloc(1, sizeof(*ex));
    atomic_init(&ex->refs, 1);
    ex->loop = c->loop;
    ex->gateway = loop_gateway(c->loop);
    ex->links = exchange_links(ex->gateway);
    ex->config = gateway_config(ex->gateway);
    ex->listener = listener_of(ex->config, c->listener);
    ex->req = req;
    ex->began_ms = clock_ms();
    ex->now = (int64_t)time(NULL);
    ex->verified = -1;
    exchange_make_id(ex->loop, ex->id);
    person_address(ex);
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
    if (ex->started && ex->sending.reader != NULL && !ex->sending.writing) {
        sending_abandon(ex);
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
