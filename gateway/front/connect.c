// SPDX-License-Identifier: Apache-2.0
//
// CONNECT, and requests for whole URLs.

#include "gateway/front/connect.h"

#include "gateway/front/answer.h"
#include "gateway/front/takeover.h"

#include <stdio.h>
#include <string.h>

enum { HTTPS_PORT = 443 };

static bool is_connect(const h2o_req_t *req) {
    return h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("CONNECT"));
}

static bool begins_with(h2o_iovec_t s, const char *prefix) {
    size_t n = strlen(prefix);
    return s.len >= n && strncasecmp(s.base, prefix, n) == 0;
}

static bool is_whole_url(const h2o_req_t *req) {
    return begins_with(req->input.path, "http://") || begins_with(req->input.path, "https://");
}

bool connect_wanted(const struct exchange *ex) {
    bool heard = ex->listener->connect != CONNECT_OFF || loop_connection(ex->req)->tunnel[0] != '\0';
    return heard && (is_connect(ex->req) || is_whole_url(ex->req));
}

// --- whom it is for ---

/// The host and port of the target; false: it is none.
static bool parse_target(const h2o_req_t *req, struct hostport *out) {
    h2o_iovec_t t = req->input.path;
    if (!is_connect(req)) {
        size_t scheme = begins_with(t, "https://") ? 8 : 7;
        size_t n = 0;
        t = h2o_iovec_init(t.base + scheme, t.len - scheme);
        while (n < t.len && strchr("/?#", t.base[n]) == NULL)
            n++;
        t.len = n;
    }
    return hostport_parse(t.base, t.len, out, NULL);
}

/// What the log says it was for: a registry where it is one's name, else the host.
static void name_target(struct exchange *ex, const struct hostport *at) {
    char host[HOSTPORT_TEXT_MAX + 1];
    if (takeover_of(ex->config, ex->listener, at->host, &ex->takeover))
        snprintf(ex->route.registry, sizeof(ex->route.registry), "%s", ex->takeover.name);
    else {
        hostport_format(at, host);
        snprintf(ex->route.registry, sizeof(ex->route.registry), "%.*s", (int)hostport_shown(host), host);
    }
    ex->registry = ex->takeover.registry;
}

static bool is_gateway(const struct exchange *ex, const struct hostport *at) {
    return takeover_own_name(ex->listener, at->host) || strcmp(at->host, ex->listener->at.host) == 0;
}

/// False: why not, in the gateway's own words.
static bool permitted(struct exchange *ex, const struct hostport *at, struct err *why) {
    struct connection *c = loop_connection(ex->req);
    if (c->tunnel[0] != '\0')
        return err_set(why, "there is no tunnel inside of a tunnel");
    if (is_gateway(ex, at))
        return err_set(why, "%s is the gateway itself: ask it without a proxy (NO_PROXY)", at->host);
    if (ex->listener->connect == CONNECT_REFUSE || !is_connect(ex->req))
        return err_set(why, "%s may not be reached directly from here", at->host);
    if (host_is_address(at->host) || ex->takeover.registry == NULL)
        return err_set(why, "%s is not a registry that this gateway serves, and nothing else is reached through it",
                       at->host);
    if (at->port != HTTPS_PORT)
        return err_set(why, "only port 443 of %s is served here", at->host);
    if (!takeover_same_host(ex->req->authority.base, ex->req->authority.len, at->host))
        return err_set(why, "CONNECT and Host name different hosts");
    return c->sock->ssl == NULL || err_set(why, "CONNECT is served on a listener without TLS only");
}

// --- no ---

void connect_phrase(const char *sentence, char out[CONNECT_PHRASE_MAX + 1]) {
    size_t n = 0;
    for (; sentence[n] != '\0' && n < CONNECT_PHRASE_MAX; n++)
        out[n] = sentence[n] >= ' ' && sentence[n] <= '~' ? sentence[n] : '?';
    out[n] = '\0';
}

static void refuse(struct exchange *ex, const char *words) {
    struct verdict v = {.reason = REASON_CONNECT, .decision = {.rule = DECISION_NO_RULE}};
    struct question q = exchange_question(ex);
    char sentence[DENIAL_SENTENCE_MAX + 1], phrase[CONNECT_PHRASE_MAX + 1];
    snprintf(v.own, sizeof(v.own), "%s", words);
    config_sentence(ex->config, &v, &q, ex->id, sentence);
    ex->denied = true;
    ex->reason = REASON_CONNECT;
    if (is_connect(ex->req))
        ex->req->http1_is_persistent = 0; // What follows may be meant for the tunnel.
    if (strlen(sentence) > CONNECT_PHRASE_MAX && ex->config->message != NULL) {
        char whole[DENIAL_SENTENCE_MAX + 1];
        v.own[0] = '\0'; // The site's words are what its people need.
        config_sentence(ex->config, &v, &q, ex->id, whole);
        connect_phrase(whole, phrase);
    } else {
        connect_phrase(sentence, phrase);
    }
    answer_phrased(ex, 403, phrase, "DENIED", sentence);
}

// --- yes ---

static void on_tunnel(void *data, h2o_socket_t *sock, size_t head_len) {
    if (sock == NULL)
        return;
    h2o_buffer_consume(&sock->input, head_len); // What follows the head belongs to TLS.
    loop_accept_inside(sock->on_close.data);
}

static void open_tunnel(struct exchange *ex, const struct hostport *at) {
    struct connection *c = loop_connection(ex->req);
    snprintf(c->tunnel, sizeof(c->tunnel), "%s", at->host);
    c->tunnel_has_address = ex->asker.has_address;
    memcpy(c->tunnel_address, ex->asker.address, sizeof(c->tunnel_address));
    ex->started = true;
    ex->req->res.status = 200;
    ex->req->res.reason = "Connection established";
    err_set(&ex->message, "CONNECT %s:%u", at->host, at->port);
    h2o_http1_upgrade(ex->req, NULL, 0, on_tunnel, NULL);
}

void connect_start(struct exchange *ex) {
    struct hostport at;
    struct err why;
    ex->routed = true;
    ex->route.kind = ROUTE_CONNECT;
    ex->route.form = FORM_CONNECT;
    ex->route.method = METHOD_OTHER;
    if (!parse_target(ex->req, &at)) {
        refuse(ex, "the request names no host and port that can be read");
        return;
    }
    name_target(ex, &at);
    if (permitted(ex, &at, &why))
        open_tunnel(ex, &at);
    else
        refuse(ex, why.text);
}
