// SPDX-License-Identifier: Apache-2.0
//
// One request to a token server. It belongs to the fetch thread that started it and serves everybody who waits for the
// key (auth.h), so it goes on when the fetch that needed it first is gone. No redirects: a token
// server that sends its clients elsewhere is refused.

#include "mirrors/upstream/fetch_thread.h"

#include "mirrors/base/mem.h"
#include "mirrors/upstream/retry.h"
#include "mirrors/upstream/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct token_request {
    struct fetch_thread *thread;
    struct token_request *prev, *next;
    struct fetch_owner owner;
    struct transfer *transfer;
    char *key;
    char *name; ///< The registry's, for sentences.
    char host[HOSTPORT_TEXT_MAX + 1];
    bool unlisted;          ///< On a host that only monitor mode let pass.
    const char *credential; ///< Its name, kept alive by `owner`; NULL: anonymous.
    int64_t deadline_ms;
    int status;
    char retry_after[64];
    struct buf body;
};

static void request_free(struct token_request *q) {
    struct fetch_thread *t = q->thread;
    if (q->prev != NULL)
        q->prev->next = q->next;
    else
        t->tokens = q->next;
    if (q->next != NULL)
        q->next->prev = q->prev;
    if (q->body.data != NULL)
        explicit_bzero(q->body.data, q->body.cap);
    buf_deinit(&q->body);
    q->owner.unref(q->owner.object);
    free(q->key);
    free(q->name);
    free(q);
}

static void succeed(struct token_request *q, const char *token, int64_t lifetime_s) {
    char *value = mem_printf("Bearer %s", token);
    int64_t margin = lifetime_s > 2 * TOKEN_MARGIN_S ? TOKEN_MARGIN_S : lifetime_s / 2;
    auth_end(q->thread->fetcher->auth, q->key, value, clock_ms() + (lifetime_s - margin) * 1000, NULL);
    mem_wipe(value);
}

static void fail(struct token_request *q, enum fetch_outcome outcome, const char *what, const char *why) {
    struct fetch_result r = {.outcome = outcome, .status = q->status};
    snprintf(r.host, sizeof(r.host), "%s", q->host);
    snprintf(r.retry_after, sizeof(r.retry_after), "%s", q->retry_after);
    if (q->body.data != NULL)
        token_error_message(q->body.data, q->body.len, r.message, sizeof(r.message), r.code);
    if (outcome == FETCH_REFUSED || outcome == FETCH_CREDENTIAL)
        err_set(&r.err, "%s refused: %s", q->name, r.message[0] != '\0' ? r.message : "its token server denies access");
    else
        err_set(&r.err, "%s's token server %s %s%s%s", q->name, q->host, what, why[0] != '\0' ? ": " : "", why);
    auth_end(q->thread->fetcher->auth, q->key, NULL, 0, &r);
}

static enum transfer_flow on_head(void *ctx, const struct transfer_head *head) {
    struct token_request *q = ctx;
    q->status = head->status;
    snprintf(q->retry_after, sizeof(q->retry_after), "%s", head->retry_after);
    return TRANSFER_CONTINUE;
}

static enum transfer_flow on_body(void *ctx, const char *data, size_t len) {
    struct token_request *q = ctx;
    return buf_add(&q->body, data, len) ? TRANSFER_CONTINUE : TRANSFER_STOP;
}

/// A token server's 429 holds for its registry: without a token nothing can be asked of it.
static void note_limit(const struct token_request *q) {
    int seconds = retry_after_seconds(q->retry_after, time(NULL));
    if (!q->unlisted && (q->status == 429 || (q->status == 503 && seconds > 0)))
        experience_limited(q->thread->fetcher->experience, q->name, seconds > 0 ? seconds : RETRY_DEFAULT_S);
}

static void judge_answer(struct token_request *q) {
    char what[64];
    int64_t lifetime = 0;
    struct err err;
    if (q->status == 200) {
        char *token = token_parse(q->body.data != NULL ? q->body.data : "", q->body.len, &lifetime, &err);
        if (token == NULL) {
            fail(q, FETCH_BROKEN, "gave no token", err.text);
            return;
        }
        succeed(q, token, lifetime);
        mem_wipe(token);
        return;
    }
    note_limit(q);
    snprintf(what, sizeof(what), "answered with status %d", q->status);
    if (q->status == 401 || q->status == 403)
        fail(q, q->credential != NULL ? FETCH_CREDENTIAL : FETCH_REFUSED, what, "");
    else
        fail(q, q->status == 429 ? FETCH_LIMITED : FETCH_STATUS, what,
             q->status / 100 == 3 ? "redirects are not followed there" : "");
}

static void on_done(void *ctx, enum transfer_end end, const char *why) {
    struct token_request *q = ctx;
    if (end == TRANSFER_COMPLETE)
        judge_answer(q);
    else if (end == TRANSFER_ADDRESS)
        fail(q, FETCH_ADDRESS, "may not be contacted", why);
    else if (end == TRANSFER_SILENT)
        fail(q, FETCH_TIMEOUT, "did not answer in time", "");
    else if (end == TRANSFER_CONNECT)
        fail(q, FETCH_UNREACHABLE, "could not be reached", why);
    else
        fail(q, FETCH_BROKEN, "gave no usable answer", end == TRANSFER_STOPPED ? "it is too long" : why);
    request_free(q);
}

char *token_of_credential(struct credential *c) {
    if (c == NULL)
        return NULL;
    credential_load(c, true, NULL); // When the file cannot be read, the password before is still the best there is.
    char *password = credential_password(c);
    if (password == NULL)
        return NULL;
    char *value = token_basic(c->username, password);
    mem_wipe(password);
    return value;
}

static void start_transfer(struct token_request *q, const struct fetch *f, const char *url, bool unlisted,
                           const char *authorization) {
    static const struct transfer_callbacks callbacks = {on_head, on_body, on_done};
    struct transfer_spec spec = {
        .url = url,
        .figures = q->thread->fetcher->figures,
        .name = q->name,
        .registry = f->spec.registry,
        .ca = f->endpoints[f->endpoint_at]->ca,
        .authorization = authorization,
        .accept = "application/json",
        .public_only = unlisted,
        .connect_timeout_ms = f->spec.connect_timeout_ms,
    };
    q->transfer = transfer_start(q->thread->multi, &spec, &callbacks, q);
}

static void host_of_realm(const char *url, char *out) {
    struct hostport hp;
    const char *start = strstr(url, "://");
    start = start != NULL ? start + 3 : url;
    out[0] = '\0';
    if (hostport_parse(start, strcspn(start, "/?"), &hp, NULL))
        hostport_format(&hp, out);
}

void token_request_start(struct fetch *f, const struct challenge *c, const char *realm_url, bool unlisted,
                         struct credential *credential) {
    struct token_request *q = mem_zalloc(1, sizeof(*q));
    struct challenge resolved = *c;
    snprintf(resolved.realm, sizeof(resolved.realm), "%s", realm_url);
    q->thread = f->thread;
    q->next = f->thread->tokens;
    if (q->next != NULL)
        q->next->prev = q;
    f->thread->tokens = q;
    q->owner = f->spec.owner;
    q->owner.ref(q->owner.object);
    q->key = mem_strdup(f->auth_key);
    q->name = mem_strdup(f->spec.name);
    q->credential = credential != NULL ? credential->name : NULL;
    q->unlisted = unlisted;
    q->deadline_ms = f->deadline_ms;
    buf_init(&q->body, TOKEN_ANSWER_MAX);
    host_of_realm(realm_url, q->host);
    char *repository = f->endpoints[f->endpoint_at]->path[0] != '\0'
                           ? mem_printf("%s/%s", f->endpoints[f->endpoint_at]->path, f->spec.repository)
                           : mem_strdup(f->spec.repository);
    bool fits = strlen(realm_url) < sizeof(resolved.realm);
    char *url = fits ? token_url(&resolved, repository) : NULL;
    char *authorization = token_of_credential(credential);
    if (url != NULL) {
        start_transfer(q, f, url, unlisted, authorization);
    } else {
        fail(q, FETCH_REALM_HOST, "has an address that cannot be used", "");
        request_free(q);
    }
    mem_wipe(authorization);
    free(repository);
    free(url);
}

void token_requests_check(struct fetch_thread *t, int64_t now_ms) {
    for (struct token_request *q = t->tokens, *next; q != NULL; q = next) {
        next = q->next;
        if (now_ms < q->deadline_ms)
            continue;
        transfer_expire(q->transfer);
        fail(q, FETCH_TIMEOUT, "did not answer in time", "");
        request_free(q);
    }
}

void token_requests_abort(struct fetch_thread *t) {
    while (t->tokens != NULL) {
        transfer_abort(t->tokens->transfer);
        fail(t->tokens, FETCH_CANCELLED, "is no longer asked", "");
        request_free(t->tokens);
    }
}
