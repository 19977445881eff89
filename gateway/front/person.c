// SPDX-License-Identifier: Apache-2.0
//
// Identifying a request, and refusing whom the gateway does not know.

#include "gateway/front/person.h"

#include "gateway/front/answer.h"
#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHALLENGE_MAX = 1024 };

// --- from where ---

static bool is_trusted(const struct listener_config *l, const uint8_t address[16]) {
    for (size_t i = 0; i < l->trusted_proxy_count; i++)
        if (cidr_contains(&l->trusted_proxies[i], address))
            return true;
    return false;
}

/// "203.0.113.9", "203.0.113.9:443", "2001:db8::1", "[2001:db8::1]:443".
static bool parse_hop(const char *s, size_t len, uint8_t out[16]) {
    struct hostport at;
    char text[HOST_MAX + 1];
    while (len > 0 && (s[0] == ' ' || s[0] == '\t'))
        s++, len--;
    while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    if (len == 0 || len > HOST_MAX)
        return false;
    memcpy(text, s, len);
    text[len] = '\0';
    return address_from_text(text, out) || (hostport_parse(text, len, &at, NULL) && address_from_text(at.host, out));
}

/// Walk one header from its end: each hop says who was before it, and is believed while it is trusted. False: whoever
/// stands there now is not.
static bool walk(struct exchange *ex, h2o_iovec_t value, unsigned *hops) {
    while (value.len > 0 && (*hops)++ < FORWARDED_HOPS_MAX) {
        const char *comma = memrchr(value.base, ',', value.len);
        size_t at = comma != NULL ? (size_t)(comma - value.base) + 1 : 0;
        uint8_t address[16];
        if (!is_trusted(ex->listener, ex->asker.address) || !parse_hop(value.base + at, value.len - at, address))
            return false;
        memcpy(ex->asker.address, address, sizeof(address));
        value.len = at > 0 ? at - 1 : 0;
    }
    return *hops < FORWARDED_HOPS_MAX;
}

static void follow_proxies(struct exchange *ex) {
    static const char name[] = "x-forwarded-for";
    unsigned hops = 0;
    for (size_t i = ex->req->headers.size; i-- > 0;) {
        const h2o_header_t *h = &ex->req->headers.entries[i];
        if (h2o_memis(h->name->base, h->name->len, name, sizeof(name) - 1) && !walk(ex, h->value, &hops))
            return;
    }
}

void person_address(struct exchange *ex) {
    const struct connection *c = loop_connection(ex->req);
    struct sockaddr_storage ss;
    if (c->tunnel[0] != '\0') { // What is said inside no proxy has seen: all of its headers are the client's own.
        ex->asker.has_address = c->tunnel_has_address;
        memcpy(ex->asker.address, c->tunnel_address, sizeof(ex->asker.address));
        return;
    }
    ex->asker.has_address = ex->req->conn->callbacks->get_peername(ex->req->conn, (void *)&ss) != 0 &&
                            address_from_sockaddr((struct sockaddr *)&ss, ex->asker.address);
    if (ex->asker.has_address && ex->listener->trusted_proxy_count > 0)
        follow_proxies(ex);
}

// --- refusing ---

void person_asked_host(const struct exchange *ex, char *out) {
    struct hostport at;
    if (hostport_parse(ex->req->authority.base, ex->req->authority.len, &at, NULL))
        hostport_format(&at, out);
    else
        snprintf(out, HOSTPORT_TEXT_MAX + 1, "%s",
                 ex->listener->name_count > 0 ? ex->listener->names[0] : ex->listener->address);
}

/// A proxy in front that ends TLS says so.
static bool came_by_tls(const struct exchange *ex) {
    h2o_iovec_t proto = request_header(ex->req, "x-forwarded-proto");
    uint8_t peer[16];
    struct sockaddr_storage ss;
    if (loop_connection(ex->req)->sock->ssl != NULL)
        return true;
    return h2o_lcstris(proto.base, proto.len, H2O_STRLIT("https")) &&
           ex->req->conn->callbacks->get_peername(ex->req->conn, (void *)&ss) != 0 &&
           address_from_sockaddr((struct sockaddr *)&ss, peer) && is_trusted(ex->listener, peer);
}

static void challenge(struct exchange *ex, enum denial_reason reason, const char *sentence) {
    char host[HOSTPORT_TEXT_MAX + 1], value[CHALLENGE_MAX], scope[REPOSITORY_MAX + REGISTRY_MAX + 64] = "";
    person_asked_host(ex, host);
    if (ex->route.asked[0] != '\0')
        snprintf(scope, sizeof(scope), ",scope=\"repository:%s:%s\"", ex->route.asked,
                 ex->route.push    ? "pull,push"
                 : ex->route.erase ? "delete"
                                   : "pull");
    snprintf(value, sizeof(value), "Bearer realm=\"%s://%s/token\",service=\"%s\"%s",
             came_by_tls(ex) ? "https" : "http", host, host, scope);
    ex->denied = true;
    ex->reason = reason;
    answer_unauthorized(ex, value, sentence);
}

/// What a client that knows nobody is told on /v2/ is that there is a registry: else it goes elsewhere.
static bool refuse(struct exchange *ex, enum denial_reason reason, const char *sentence) {
    if (ex->listener->challenge)
        challenge(ex, reason, sentence);
    else if (ex->route.kind == ROUTE_BASE)
        return false;
    else if (ex->route.kind == ROUTE_TOKEN || ex->route.kind == ROUTE_SITE || ex->route.kind == ROUTE_REPORT ||
             ex->route.kind == ROUTE_REFUSED)
        answer_deny_plain(ex, reason, sentence);
    else
        answer_deny(ex, reason, sentence);
    return true;
}

static void slow_down(struct exchange *ex, unsigned retry_after_s, const char *sentence) {
    char seconds[16];
    snprintf(seconds, sizeof(seconds), "%u", retry_after_s > 0 ? retry_after_s : 1);
    ex->denied = true;
    ex->reason = REASON_CREDENTIAL;
    answer_slow_down(ex, seconds, sentence);
}

bool person_challenge(struct exchange *ex, const char *sentence) {
    if (!ex->listener->challenge || ex->listener->identify == IDENTIFY_NONE || ex->asker.name != NULL)
        return false;
    challenge(ex, REASON_UNIDENTIFIED, sentence);
    return true;
}

// --- who ---

static void take_identity(struct exchange *ex, struct identity *identity) {
    ex->identity = identity_ref(identity);
    ex->asker.name = identity_name(identity);
    ex->asker.group_count = identity_groups(identity, &ex->asker.groups);
}

bool person_certified(struct exchange *ex) {
    struct connection *c = loop_connection(ex->req);
    char sentence[ERR_TEXT_MAX + 128];
    front_peer_judge(&c->peer, loop_listener(c), ex->now);
    if (c->peer.certificate == NULL && ex->listener->client_certificate != CLIENT_CERTIFICATE_REQUIRED)
        return true;
    if (c->peer.certificate == NULL)
        snprintf(sentence, sizeof(sentence), "this gateway knows you by client certificate: yours is missing");
    else if (!c->peer.good)
        snprintf(sentence, sizeof(sentence), "this gateway knows you by client certificate: %s", c->peer.why.text);
    else if (c->peer.identity == NULL && ex->listener->client_certificate == CLIENT_CERTIFICATE_REQUIRED)
        snprintf(sentence, sizeof(sentence), "this gateway knows you by client certificate: yours names nobody");
    else {
        if (c->peer.identity != NULL)
            take_identity(ex, c->peer.identity);
        return true;
    }
    return !refuse(ex, c->peer.certificate == NULL ? REASON_UNIDENTIFIED : REASON_CREDENTIAL, sentence);
}

/// An answer of gateway/identity, on its way to the loop.
struct person_message {
    struct loop_message super;
    struct exchange *exchange; ///< A reference.
    void (*next)(struct exchange *ex);
    enum identity_verdict verdict;
    struct identity *identity; ///< A reference, or NULL.
    char *scope;
    struct err plain, reason;
    unsigned retry_after_s;
};

static bool outside_scope(const struct exchange *ex, const char *scope) {
    if (scope == NULL || ex->route.asked[0] == '\0')
        return false;
    return !token_scope_permits(scope, ex->route.asked, ex->route.push ? "push" : ex->route.erase ? "delete" : "pull");
}

static const char *how_to_identify(const struct listener_config *l) {
    return l->client_certificate != CLIENT_CERTIFICATE_NONE
               ? "this gateway knows you by client certificate, or by a credential: both are missing"
               : "this gateway needs to know who asks, and no credential came along";
}

static void settle(struct exchange *ex, const struct person_message *m) {
    bool refused = false;
    if (m->verdict == IDENTITY_SLOWED) {
        slow_down(ex, m->retry_after_s, m->plain.text);
        refused = true;
    } else if (m->verdict == IDENTITY_BAD) {
        refused = refuse(ex, REASON_CREDENTIAL, m->plain.text);
    } else if (m->verdict == IDENTITY_NOBODY && ex->listener->identify == IDENTIFY_REQUIRED) {
        refused = refuse(ex, REASON_UNIDENTIFIED, how_to_identify(ex->listener));
    } else if (m->verdict == IDENTITY_NOBODY && m->scope == NULL && ex->route.kind == ROUTE_BASE &&
               ex->listener->challenge) { // Where clients look for what they can log in to.
        refused = refuse(ex, REASON_UNIDENTIFIED, how_to_identify(ex->listener));
    } else if (outside_scope(ex, m->scope)) {
        refused = refuse(ex, REASON_CREDENTIAL, "this token was not given for that");
    }
    if (refused && m->reason.text[0] != '\0')
        err_set(&ex->message, "%s", m->reason.text); // For the log: more than the client is told.
    if (refused)
        return;
    if (m->identity != NULL)
        take_identity(ex, m->identity);
    m->next(ex);
}

static void run_identified(struct loop_message *super) {
    struct person_message *m = H2O_STRUCT_FROM_MEMBER(struct person_message, super, super);
    if (m->exchange->req != NULL && !m->exchange->started)
        settle(m->exchange, m);
    identity_unref(m->identity);
    exchange_unref(m->exchange);
    free(m->scope);
    free(m);
}

static void on_identified(void *ctx, const struct identity_answer *a) {
    struct person_message *m = ctx;
    struct gateway *g = m->exchange->gateway;
    m->verdict = a->verdict;
    m->identity = a->identity != NULL ? identity_ref(a->identity) : NULL;
    m->scope = mem_strdup(a->scope);
    m->plain = a->plain;
    m->reason = a->reason;
    m->retry_after_s = a->retry_after_s;
    exchange_hand(m->exchange, &m->super);
    atomic_fetch_sub(&g->asking, 1);
}

h2o_iovec_t person_authorization(const h2o_req_t *req) {
    static const char name[] = "authorization";
    ssize_t first = h2o_find_header_by_str(&req->headers, name, sizeof(name) - 1, -1);
    if (first < 0)
        return (h2o_iovec_t){NULL, 0};
    if (h2o_find_header_by_str(&req->headers, name, sizeof(name) - 1, first) >= 0)
        return h2o_iovec_init(H2O_STRLIT(",")); // As a list, which is no credential.
    return req->headers.entries[first].value;
}

static void check_credential(struct exchange *ex, void (*next)(struct exchange *ex)) {
    struct person_message *m = mem_zalloc(1, sizeof(*m));
    h2o_iovec_t authorization = person_authorization(ex->req);
    char address[PEER_TEXT_MAX];
    exchange_client(ex, address);
    m->super.run = run_identified;
    m->exchange = exchange_ref(ex);
    m->next = next;
    atomic_fetch_add(&ex->gateway->asking, 1);
    exchange_ask(ex);
    identity_check(ex->gateway->identities, authorization.base, authorization.len, address, on_identified, m);
    exchange_asked(ex);
}

void person_ask(struct exchange *ex, void (*next)(struct exchange *ex)) {
    const struct listener_config *l = ex->listener;
    if (l->client_certificate != CLIENT_CERTIFICATE_NONE && !person_certified(ex))
        return;
    if (ex->asker.name != NULL || l->identify == IDENTIFY_NONE || ex->gateway->identities == NULL)
        next(ex);
    else
        check_credential(ex, next);
}
