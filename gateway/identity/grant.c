// SPDX-License-Identifier: Apache-2.0
//
// GET and POST /token: who asks is checked as on any request, and gets a short-lived token for what was asked for.
//
// A token never says more than the credential that it is given for: not a wider scope, not a later end. Refresh tokens
// are not given; a token of ours or of an issuer may stand where a client sends one.

#include "gateway/identity/ask.h"
#include "gateway/identity/inside.h"

#include "mirrors/base/mem.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ANSWER_MAX = 64 * 1024 };

struct grant {
    struct identities *x;
    token_fn answer;
    void *ctx;
    struct ask ask;
    struct identity *peer;
    int64_t peer_ends; ///< INT64_MAX: it does not say.
    bool post, anonymous_allowed;
};

static void grant_free(struct grant *g) {
    ask_deinit(&g->ask);
    identity_unref(g->peer);
    free(g);
}

static void finish(struct grant *g, struct token_answer *a, struct buf *body) {
    a->body = body->data != NULL ? body->data : "";
    a->len = body->len;
    a->name = a->name != NULL ? a->name : "";
    g->answer(g->ctx, a);
    if (body->data != NULL)
        OPENSSL_cleanse(body->data, body->len);
    buf_deinit(body);
    grant_free(g);
}

/// `oauth`: the word of RFC 6749 for a POST; GET has the registry's form alone, and POST both.
static void refuse(struct grant *g, int status, const char *code, const char *oauth, const char *sentence,
                   unsigned retry_after_s, const struct err *reason) {
    struct token_answer a = {.status = status, .retry_after_s = retry_after_s};
    struct buf body;
    buf_init(&body, ANSWER_MAX);
    buf_adds(&body, "{");
    if (g->post) {
        buf_addf(&body, "\"error\":\"%s\",\"error_description\":", oauth);
        buf_add_json(&body, sentence, strlen(sentence));
        buf_adds(&body, ",");
    }
    buf_addf(&body, "\"errors\":[{\"code\":\"%s\",\"message\":", code);
    buf_add_json(&body, sentence, strlen(sentence));
    buf_adds(&body, "}]}");
    if (reason != NULL)
        a.reason = *reason;
    else
        err_set(&a.reason, "%s", sentence);
    finish(g, &a, &body);
}

// --- giving ---

static void write_answer(struct buf *body, const struct grant *g, const char *token, const struct token_claims *c) {
    char issued[32];
    struct tm utc;
    time_t at = (time_t)c->issued;
    strftime(issued, sizeof issued, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &utc));
    buf_addf(body, "{\"token\":\"%s\",\"access_token\":\"%s\",\"expires_in\":%" PRId64 ",\"issued_at\":\"%s\"", token,
             token, c->ends - c->issued, issued);
    if (g->post) {
        buf_adds(body, ",\"token_type\":\"Bearer\",\"scope\":");
        buf_add_json(body, c->scope, strlen(c->scope));
    }
    buf_adds(body, "}");
}

static void give(struct grant *g, const struct known *k, const struct token_claims *c) {
    struct token_answer a = {.status = 200, .name = c->name};
    struct err err = {""};
    char *token = token_sign(k->keys, c, c->issued, &err);
    if (token == NULL)
        return refuse(g, 503, "UNAVAILABLE", "server_error", "no token can be made", 0, &err);
    struct buf body;
    buf_init(&body, ANSWER_MAX);
    write_answer(&body, g, token, c);
    mem_wipe(token);
    finish(g, &a, &body);
}

/// `who_ends`: when what they showed ends.
static void grant_to(struct grant *g, const struct identity *who, int64_t who_ends, const struct check_result *r) {
    struct known *k = identities_known(g->x);
    struct buf scope;
    buf_init(&scope, SCOPE_TEXT_MAX);
    bool fits = scope_add(&scope, g->ask.scopes.data != NULL ? g->ask.scopes.data : "", r->answer.scope);
    int64_t now = time(NULL), ends = now + k->token_lifetime_s;
    const char *const *groups = NULL;
    struct token_claims c = {.name = (char *)(who != NULL ? identity_name(who) : ""),
                             .scope = scope.data != NULL ? scope.data : (char *)"",
                             .from = (char *)r->from,
                             .issued = now,
                             .ends = ends < who_ends ? ends : who_ends};
    c.group_count = who != NULL ? identity_groups(who, &groups) : 0;
    c.groups = (char **)groups;
    if (k->keys == NULL)
        refuse(g, 503, "UNAVAILABLE", "server_error", "this gateway gives no tokens: it has no state directory", 0,
               NULL);
    else if (c.ends <= now)
        refuse(g, 401, "UNAUTHORIZED", "invalid_client", "what you are known by has just ended", 0, NULL);
    else if (!fits)
        refuse(g, 400, "UNSUPPORTED", "invalid_scope", "too much scope is asked for", 0, NULL);
    else
        give(g, k, &c);
    buf_deinit(&scope);
    known_unref(k);
}

// --- who ---

static void on_checked(void *ctx, const struct check_result *r) {
    struct grant *g = ctx;
    const struct identity_answer *a = &r->answer;
    // A token for nobody stays one, whatever certificate comes with it.
    bool unknown = a->verdict == IDENTITY_NOBODY && a->scope == NULL;
    if (a->verdict == IDENTITY_SLOWED)
        refuse(g, 429, "TOOMANYREQUESTS", "temporarily_unavailable", a->plain.text, a->retry_after_s, &a->reason);
    else if (a->verdict == IDENTITY_BAD)
        refuse(g, 401, "UNAUTHORIZED", "invalid_grant", a->plain.text, 0, &a->reason);
    else if (a->verdict == IDENTITY_KNOWN)
        grant_to(g, a->identity, r->ends, r);
    else if (unknown && g->peer != NULL)
        grant_to(g, g->peer, g->peer_ends, r);
    else if (g->anonymous_allowed)
        grant_to(g, NULL, r->ends, r);
    else
        refuse(g, 401, "UNAUTHORIZED", "invalid_client", "a user name and password, a token or a certificate is needed",
               0, NULL);
}

static void check(struct grant *g, struct credential *c, const struct err *err, const char *address) {
    check_run(g->x, c, err, address, (struct check_to){on_checked, g});
}

static void by_get(struct grant *g, const struct token_request *q) {
    struct credential c;
    struct err err = {""};
    credential_parse(q->authorization, q->authorization_len, &c, &err);
    check(g, &c, &err, q->address);
}

static bool grant_is(const struct grant *g, const char *type) {
    return g->ask.grant_type != NULL && strcmp(g->ask.grant_type, type) == 0;
}

static void by_post(struct grant *g, const struct token_request *q) {
    struct credential c;
    struct err err = {""};
    if (grant_is(g, "password") && g->ask.username != NULL && g->ask.password != NULL) {
        credential_of_fields(g->ask.username, g->ask.password, &c, &err);
    } else if (grant_is(g, "refresh_token") && g->ask.refresh_token != NULL) {
        credential_of_token(g->ask.refresh_token, &c, &err);
    } else {
        bool known = grant_is(g, "password") || grant_is(g, "refresh_token");
        return refuse(
            g, 400, "UNSUPPORTED", known ? "invalid_request" : "unsupported_grant_type",
            "grant_type=password with username and password, or grant_type=refresh_token with a token of this "
            "gateway's or of a configured issuer, is expected",
            0, NULL);
    }
    check(g, &c, &err, q->address);
}

void identity_token(struct identities *x, const struct token_request *q, token_fn answer, void *ctx) {
    struct grant *g = mem_zalloc(1, sizeof *g);
    struct err err = {""};
    *g = (struct grant){.x = x,
                        .answer = answer,
                        .ctx = ctx,
                        .peer = identity_ref(q->peer),
                        .peer_ends = q->peer_ends > 0 ? q->peer_ends : INT64_MAX,
                        .post = q->form != NULL,
                        .anonymous_allowed = q->anonymous_allowed};
    const char *text = g->post ? q->form : q->query != NULL ? q->query : "";
    if (!ask_parse(text, g->post ? q->form_len : strlen(text), &g->ask, &err))
        refuse(g, 400, "UNSUPPORTED", "invalid_request", err.text, 0, NULL);
    else if (g->post)
        by_post(g, q);
    else
        by_get(g, q);
}
