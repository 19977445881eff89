// SPDX-License-Identifier: Apache-2.0
//
// Giving the gateway's own tokens. On the exchange's loop; the answer comes from gateway/identity, perhaps from another
// thread.

#include "gateway/front/token.h"

#include "gateway/front/answer.h"
#include "gateway/front/person.h"
#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// A request for a token with its own memory, and then its answer.
struct token_message {
    struct loop_message super;
    struct exchange *exchange; ///< A reference.
    struct identity *peer;     ///< A reference, or NULL.
    char *authorization;       ///< Wiped when it is freed.
    size_t authorization_len;
    char *query, *form; ///< Wiped too: a form may hold a password.
    size_t form_len;
    char address[PEER_TEXT_MAX];
    int status;
    char *body; ///< Wiped too: it is a token.
    size_t len;
    unsigned retry_after_s;
    struct err reason;
    char *name;
};

static void message_free(struct token_message *m) {
    identity_unref(m->peer);
    exchange_unref(m->exchange);
    mem_wipe(m->authorization);
    mem_wipe(m->query);
    mem_wipe(m->form);
    mem_wipe(m->body);
    free(m->name);
    free(m);
}

static void tell(struct exchange *ex, struct token_message *m) {
    char seconds[16];
    snprintf(seconds, sizeof(seconds), "%u", m->retry_after_s);
    struct answer a = {.status = m->status,
                       .content_type = "application/json",
                       .body = m->body,
                       .len = m->len,
                       .content_length = SIZE_MAX,
                       .uncached = true,
                       .retry_after = m->retry_after_s > 0 ? seconds : NULL};
    if (m->status != 200) {
        ex->denied = m->status != 503;
        ex->reason = REASON_CREDENTIAL;
    }
    if (m->reason.text[0] != '\0')
        err_set(&ex->message, "%s", m->reason.text);
    if (m->name != NULL && m->name[0] != '\0')
        snprintf(ex->token_for, sizeof(ex->token_for), "%s", m->name);
    answer_send(ex, &a);
}

static void run_answered(struct loop_message *super) {
    struct token_message *m = H2O_STRUCT_FROM_MEMBER(struct token_message, super, super);
    if (m->exchange->req != NULL && !m->exchange->started)
        tell(m->exchange, m);
    message_free(m);
}

static void on_answered(void *ctx, const struct token_answer *a) {
    struct token_message *m = ctx;
    struct gateway *g = m->exchange->gateway;
    m->status = a->status;
    m->body = a->body != NULL ? mem_strndup(a->body, a->len) : NULL;
    m->len = a->len;
    m->retry_after_s = a->retry_after_s;
    m->reason = a->reason;
    m->name = mem_strdup(a->name);
    exchange_hand(m->exchange, &m->super);
    atomic_fetch_sub(&g->asking, 1);
}

static char *copy(h2o_iovec_t slice) {
    return slice.base != NULL ? mem_strndup(slice.base, slice.len) : NULL;
}

static h2o_iovec_t query_of(const h2o_req_t *req) {
    const char *question = memchr(req->input.path.base, '?', req->input.path.len);
    if (question == NULL)
        return (h2o_iovec_t){NULL, 0};
    return h2o_iovec_init(question + 1, (size_t)(req->input.path.base + req->input.path.len - question) - 1);
}

void token_start(struct exchange *ex) {
    h2o_iovec_t authorization = person_authorization(ex->req);
    bool post = ex->route.method == METHOD_POST;
    if (ex->listener->client_certificate != CLIENT_CERTIFICATE_NONE && !person_certified(ex))
        return;
    struct token_message *m = mem_zalloc(1, sizeof(*m));
    m->super.run = run_answered;
    m->exchange = exchange_ref(ex);
    m->peer = ex->identity != NULL ? identity_ref(ex->identity) : NULL;
    m->authorization = copy(authorization);
    m->authorization_len = authorization.len;
    m->query = post ? NULL : copy(query_of(ex->req));
    m->form = post ? copy(ex->req->entity) : NULL;
    m->form_len = post ? ex->req->entity.len : 0;
    exchange_client(ex, m->address);
    struct token_request request = {.authorization = m->authorization,
                                    .authorization_len = m->authorization_len,
                                    .query = m->query,
                                    .form = m->form,
                                    .form_len = m->form_len,
                                    .address = m->address,
                                    .peer = m->peer,
                                    .peer_ends = front_peer_ends(&loop_connection(ex->req)->peer),
                                    .anonymous_allowed = ex->listener->identify == IDENTIFY_OPTIONAL};
    atomic_fetch_add(&ex->gateway->asking, 1);
    exchange_ask(ex);
    identity_token(ex->gateway->identities, &request, on_answered, m);
    exchange_asked(ex);
}
