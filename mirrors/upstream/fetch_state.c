// SPDX-License-Identifier: Apache-2.0
//
// One fetch: which endpoint is asked next, what its answer means, where it leads. Runs on the fetch's thread only.
//
// libcurl must not be re-entered from its callbacks, so the callbacks here only decide (`next`); acting on it waits
// for the end of the transfer.

#include "mirrors/upstream/fetch_thread.h"

#include "mirrors/base/mem.h"
#include "mirrors/upstream/retry.h"
#include "mirrors/upstream/token.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void start_endpoint(struct fetch *f);
static void start_transfer(struct fetch *f);

static const struct endpoint *endpoint(const struct fetch *f) {
    return f->endpoints[f->endpoint_at];
}

// --- the end ---

static void finish(struct fetch *f, enum fetch_outcome outcome) {
    struct fetch_thread *t = f->thread;
    if (f->done)
        return;
    f->done = true;
    f->result.outcome = outcome;
    if (f->prev != NULL)
        f->prev->next_active = f->next_active;
    else
        t->active = f->next_active;
    if (f->next_active != NULL)
        f->next_active->prev = f->prev;
    if (f->auth_key != NULL)
        auth_leave(t->fetcher->auth, f->auth_key, &f->waiter);
    f->callbacks.done(f->ctx, &f->result);
    atomic_fetch_sub(&t->load, 1);
    fetch_unref(f);
}

static void fail(struct fetch *f, enum fetch_outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct fetch *f, enum fetch_outcome outcome, const char *format, ...) {
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    err_set(&f->result.err, "%s", text);
    finish(f, outcome);
}

void fetch_stop(struct fetch *f, enum fetch_outcome outcome, const char *sentence) {
    if (f->transfer != NULL)
        transfer_abort(f->transfer);
    f->transfer = NULL;
    fail(f, outcome, "%s", sentence);
}

// --- endpoints ---

static struct endpoint *wildcard_endpoint(const struct fetch *f) {
    struct endpoint *e = mem_zalloc(1, sizeof(*e));
    e->base = mem_printf("https://%s", f->spec.name);
    e->path = mem_strdup("");
    e->ca = f->spec.registry->ca;
    e->own_host = true;
    hostport_parse(f->spec.name, strlen(f->spec.name), &e->at, NULL);
    if (e->at.port == 0)
        e->at.port = 443;
    return e;
}

static bool usable(struct fetch *f, const struct endpoint *e) {
    char host[HOSTPORT_TEXT_MAX + 1];
    hostport_format(&e->at, host);
    return !experience_is_mismatched(f->thread->fetcher->experience, f->spec.name, host, f->spec.reference,
                                     &f->result.err);
}

static void add_endpoints(struct fetch *f, bool resting) {
    const struct registry *r = f->spec.registry;
    for (size_t i = 0; i < r->endpoint_count && f->endpoint_count < FETCH_ENDPOINTS_MAX; i++) {
        const struct endpoint *e = &r->endpoints[i];
        if (experience_rests(f->thread->fetcher->experience, e->base) == resting && usable(f, e))
            f->endpoints[f->endpoint_count++] = e;
    }
}

/// Those that failed a short while ago are asked last; never are none asked for that reason.
static void order_endpoints(struct fetch *f) {
    if (f->spec.registry->endpoint_count > 0) {
        add_endpoints(f, false);
        add_endpoints(f, true);
        return;
    }
    f->named = wildcard_endpoint(f);
    if (usable(f, f->named))
        f->endpoints[f->endpoint_count++] = f->named;
}

static char *make_url(const struct fetch *f) {
    static const char *const resources[] = {"manifests/", "blobs/", "tags/list", "referrers/"};
    const struct endpoint *e = endpoint(f);
    return mem_printf("%s/v2/%s%s%s/%s%s%s%s", e->base, e->path, e->path[0] != '\0' ? "/" : "", f->spec.repository,
                      resources[f->spec.resource], f->spec.reference, f->spec.query != NULL ? "?" : "",
                      f->spec.query != NULL ? f->spec.query : "");
}

static struct credential *credential_for(const struct fetch *f) {
    const struct endpoint *e = endpoint(f);
    if (e->credential != NULL)
        return e->credential;
    return e->own_host ? registry_credential(f->spec.registry, f->spec.repository) : NULL;
}

static void set_auth_key(struct fetch *f) {
    const struct credential *c = credential_for(f);
    struct auth *auth = f->thread->fetcher->auth;
    if (f->auth_key != NULL)
        auth_leave(auth, f->auth_key, &f->waiter);
    f->token_round++;
    free(f->auth_key);
    f->auth_key = mem_printf("%s\n%s\n%s/%s\n%s\n%s", f->spec.name, endpoint(f)->base, endpoint(f)->path,
                             f->spec.repository, c != NULL ? c->name : "", c != NULL ? c->username : "");
    f->result.credential = c != NULL ? c->name : NULL;
}

static void set_authorization(struct fetch *f, char *value) {
    mem_wipe(f->authorization);
    f->authorization = value;
}

/// While other endpoints remain, one that hangs may not use up the whole deadline.
static int64_t attempt_deadline(const struct fetch *f) {
    int64_t now = clock_ms(), left = f->deadline_ms - now;
    if (f->endpoint_at + 1 >= f->endpoint_count || f->deadline_ms == INT64_MAX)
        return f->deadline_ms;
    return now + (left / 2 > f->spec.connect_timeout_ms ? left / 2 : (int64_t)f->spec.connect_timeout_ms);
}

static bool literal_refused(struct fetch *f) {
    uint8_t addr[16];
    return address_from_text(endpoint(f)->at.host, addr) && !address_permitted(f->spec.registry, addr, &f->result.err);
}

static void next_endpoint(struct fetch *f, enum fetch_outcome outcome) {
    experience_failed(f->thread->fetcher->experience, endpoint(f)->base);
    if (++f->endpoint_at < f->endpoint_count)
        start_endpoint(f);
    else
        finish(f, outcome);
}

/// The host that was asked last: the endpoint's, or where it redirected to.
static const char *asked_host(const struct fetch *f) {
    return f->result.hop_count == 0 ? f->result.upstream : f->result.hops[f->result.hop_count - 1];
}

/// People know the registry by its name; the host tells administrators which of its hosts it was.
static void name_where(struct fetch *f) {
    const char *host = asked_host(f);
    int len = (int)hostport_shown(host);
    bool same = (size_t)len == strlen(f->spec.name) && strncmp(host, f->spec.name, (size_t)len) == 0;
    if (same)
        snprintf(f->result.where, sizeof(f->result.where), "%s", f->spec.name);
    else
        snprintf(f->result.where, sizeof(f->result.where), "%s (%.*s)", f->spec.name, len, host);
}

static void start_endpoint(struct fetch *f) {
    free(f->url);
    f->url = make_url(f);
    f->at_origin = true;
    f->hop_unlisted = false;
    f->auth_fresh = false;
    f->result.hop_count = 0;
    f->result.status = 0;
    f->attempt_deadline_ms = attempt_deadline(f);
    hostport_format(&endpoint(f)->at, f->result.upstream);
    name_where(f);
    if (literal_refused(f)) {
        snprintf(f->result.host, sizeof(f->result.host), "%s", f->result.upstream);
        next_endpoint(f, FETCH_ADDRESS);
        return;
    }
    set_auth_key(f);
    set_authorization(f, auth_get(f->thread->fetcher->auth, f->auth_key, clock_ms()));
    start_transfer(f);
}

static void token_woken(struct auth_waiter *w, const char *value, const void *failure);

/// A registry that is never asked, or not for now: the answer comes without a request.
static bool may_ask(struct fetch *f) {
    struct fetch_result *r = &f->result;
    int left = experience_limited_left(f->thread->fetcher->experience, f->spec.name);
    snprintf(r->where, sizeof(r->where), "%s", f->spec.name);
    if (f->spec.registry->offline) {
        fail(f, FETCH_UNREACHABLE, "%s is offline by this gateway's configuration", f->spec.name);
        return false;
    }
    if (left == 0)
        return true;
    snprintf(r->retry_after, sizeof(r->retry_after), "%d", left);
    fail(f, FETCH_LIMITED, "%s asked to be left alone for %d s more", f->spec.name, left);
    return false;
}

void fetch_begin(struct fetch *f) {
    struct fetch_thread *t = f->thread;
    f->next_active = t->active;
    if (t->active != NULL)
        t->active->prev = f;
    t->active = f;
    f->waiter.wake = token_woken;
    if (!may_ask(f))
        return;
    order_endpoints(f);
    if (f->endpoint_count == 0)
        finish(f, FETCH_MISMATCH);
    else
        start_endpoint(f);
}

// --- what an answer means ---

static bool encoded(const struct transfer_head *h) {
    return h->content_encoding[0] != '\0' && strcasecmp(h->content_encoding, "identity") != 0;
}

static bool redirects(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static enum fetch_next judge_status(const struct fetch *f, const struct transfer_head *h) {
    if (redirects(h->status))
        return NEXT_REDIRECT;
    if (f->at_origin && !f->auth_fresh && (h->status == 401 || (h->status == 403 && f->authorization != NULL)))
        return NEXT_AUTH;
    if ((h->status == 200 || (h->status == 206 && f->spec.range != NULL)) && !encoded(h))
        return NEXT_CONTENT;
    return NEXT_ERROR;
}

static enum transfer_flow on_head(void *ctx, const struct transfer_head *h) {
    struct fetch *f = ctx;
    free(f->head.location);
    f->head = *h;
    f->head.location = mem_strdup(h->location);
    f->result.status = h->status;
    f->next = judge_status(f, h);
    if (f->next != NEXT_CONTENT)
        return TRANSFER_CONTINUE;
    f->head_delivered = true;
    experience_good(f->thread->fetcher->experience, endpoint(f)->base);
    if (!f->spec.whole)
        f->deadline_ms = INT64_MAX;
    f->attempt_deadline_ms = f->deadline_ms; // No other endpoint is asked from here on.
    return f->callbacks.head(f->ctx, &f->head, &f->result);
}

static enum transfer_flow on_body(void *ctx, const char *data, size_t len) {
    struct fetch *f = ctx;
    f->fed = true;
    if (f->next == NEXT_CONTENT)
        return f->callbacks.body(f->ctx, data, len);
    // Read off, so that the connection can be used again; but not for ever.
    return buf_add(&f->error_body, data, len) ? TRANSFER_CONTINUE : TRANSFER_STOP;
}

/// Only the last endpoint's 503 speaks for the registry; a host that only monitor mode let pass never does.
static void note_limit(struct fetch *f) {
    int seconds = retry_after_seconds(f->head.retry_after, time(NULL));
    bool last = f->endpoint_at + 1 >= f->endpoint_count;
    bool limited = f->head.status == 429 || (f->head.status == 503 && seconds > 0 && last);
    if (limited && !f->hop_unlisted)
        experience_limited(f->thread->fetcher->experience, f->spec.name, seconds > 0 ? seconds : RETRY_DEFAULT_S);
}

static bool is_bearer(const struct fetch *f) {
    static const char scheme[] = "Bearer ";
    return f->authorization != NULL && strncmp(f->authorization, scheme, sizeof(scheme) - 1) == 0;
}

static void finish_error(struct fetch *f) {
    int status = f->head.status;
    const char *name = f->spec.name;
    struct fetch_result *r = &f->result;
    token_error_message(f->error_body.data != NULL ? f->error_body.data : "", f->error_body.len, r->message,
                        sizeof(r->message), r->code);
    const char *secret = f->authorization != NULL ? strchr(f->authorization, ' ') : NULL;
    if (secret != NULL && strstr(r->message, secret + 1) != NULL)
        r->message[0] = '\0';
    note_limit(f);
    if (encoded(&f->head) && (status == 200 || status == 206))
        fail(f, FETCH_ENCODED, "%s sent its answer with Content-Encoding, although identity was asked for", name);
    else if (status == 404 || status == 410)
        fail(f, FETCH_NOT_FOUND, "%s does not have it", name);
    else if (status == 416) {
        memcpy(r->content_range, f->head.content_range, sizeof(r->content_range));
        fail(f, FETCH_RANGE, "%s cannot satisfy this range", name);
    } else if (status == 429) {
        snprintf(r->retry_after, sizeof(r->retry_after), "%s", f->head.retry_after);
        fail(f, FETCH_LIMITED, "%s limits the rate of pulls%s%s", name, r->message[0] != '\0' ? ": " : "", r->message);
    } else if (f->at_origin && (status == 401 || status == 403)) {
        // Who hands out a token has taken the password; who says 403 to Basic knows who asks.
        r->credential_good = r->credential != NULL && (is_bearer(f) || status == 403);
        fail(f, r->credential != NULL ? FETCH_CREDENTIAL : FETCH_REFUSED, "%s refused: %s", name,
             r->message[0] != '\0' ? r->message
             : status == 401       ? "authentication required"
                                   : "access denied");
    } else if (status >= 500 && f->endpoint_at + 1 < f->endpoint_count)
        next_endpoint(f, FETCH_STATUS);
    else {
        if (status >= 500)
            experience_failed(f->thread->fetcher->experience, endpoint(f)->base);
        fail(f, FETCH_STATUS, "%s answered with status %d%s%s", f->result.where, status,
             r->message[0] != '\0' ? ": " : "", r->message);
    }
}

// --- redirects ---

static void refuse_target(struct fetch *f, enum target_verdict verdict, bool realm) {
    if (verdict == TARGET_HOST)
        finish(f, realm ? FETCH_REALM_HOST : FETCH_REDIRECT_HOST);
    else if (verdict == TARGET_ADDRESS)
        finish(f, FETCH_ADDRESS);
    else
        finish(f, realm ? FETCH_REALM_HOST : FETCH_REDIRECT);
}

/// Ask the rules about a redirect or realm; in monitor mode an unlisted host is let pass and told.
static bool target_ok(struct fetch *f, enum target_kind kind, const char *location, struct target *target) {
    enum target_verdict v = target_judge(f->spec.registry, endpoint(f), kind, f->url, location, target, &f->result.err);
    if (v != TARGET_OK)
        hostport_format(&target->at, f->result.host);
    if (v == TARGET_HOST && f->spec.monitor && target->unlisted) {
        snprintf(f->result.unlisted_host, sizeof(f->result.unlisted_host), "%s", f->result.host);
        f->result.unlisted_realm = kind == TARGET_REALM;
        return true;
    }
    if (v == TARGET_OK)
        return true;
    refuse_target(f, v, kind == TARGET_REALM);
    return false;
}

static void follow_redirect(struct fetch *f) {
    struct target target;
    if (f->head.location == NULL) {
        fail(f, FETCH_BROKEN, "%s answered with status %d and no usable Location", f->result.where, f->head.status);
        return;
    }
    if (f->result.hop_count >= REDIRECT_HOPS_MAX) {
        fail(f, FETCH_REDIRECT, "%s redirected more than %d times", f->spec.name, REDIRECT_HOPS_MAX);
        return;
    }
    if (target_ok(f, TARGET_REDIRECT, f->head.location, &target)) {
        hostport_format(&target.at, f->result.hops[f->result.hop_count++]);
        name_where(f);
        f->at_origin = f->at_origin && target.same_origin;
        f->hop_unlisted = target.unlisted;
        free(f->url);
        f->url = target.url;
        target.url = NULL;
        start_transfer(f);
    }
    target_deinit(&target);
}

// --- authentication ---

static void use_value(struct fetch *f, char *value) {
    f->auth_fresh = true;
    set_authorization(f, value);
    start_transfer(f);
}

static void use_basic(struct fetch *f, struct credential *c) {
    char *value = token_of_credential(c);
    if (value == NULL || (f->authorization != NULL && strcmp(f->authorization, value) == 0)) {
        mem_wipe(value);
        finish_error(f);
        return;
    }
    auth_put(f->thread->fetcher->auth, f->auth_key, value, INT64_MAX);
    use_value(f, value);
}

static void use_bearer(struct fetch *f, const struct challenge *c) {
    struct target realm;
    char *value = NULL;
    if (target_ok(f, TARGET_REALM, c->realm, &realm)) {
        // An unlisted realm (monitor mode) is asked without credentials.
        struct credential *credential = realm.unlisted ? NULL : credential_for(f);
        f->result.credential = credential != NULL ? credential->name : NULL;
        switch (auth_begin(f->thread->fetcher->auth, f->auth_key, f->authorization, clock_ms(), &f->waiter, &value)) {
        case AUTH_USE:
            use_value(f, value);
            break;
        case AUTH_ASK:
            token_request_start(f, c, realm.url, realm.unlisted, credential);
            break;
        case AUTH_WAIT:
            break;
        case AUTH_FULL:
            fail(f, FETCH_STATUS, "too many requests wait for a token of %s", f->spec.name);
            break;
        }
    }
    target_deinit(&realm);
}

static void authenticate(struct fetch *f) {
    const struct challenge *c = f->head.status == 401 ? challenge_choose(&f->head.challenges) : NULL;
    if (c == NULL && f->authorization != NULL) {
        // A cached value that no longer suffices; without it comes the challenge.
        auth_forget(f->thread->fetcher->auth, f->auth_key, f->authorization);
        set_authorization(f, NULL);
        start_transfer(f);
        return;
    }
    if (c == NULL)
        finish_error(f);
    else if (c->scheme == CHALLENGE_BEARER)
        use_bearer(f, c);
    else
        use_basic(f, credential_for(f));
}

static struct fetch *of_waiter(struct auth_waiter *w) {
    return (struct fetch *)(void *)((char *)w - offsetof(struct fetch, waiter));
}

/// On whichever thread the token arrived: hand it over to the fetch's own.
static void token_woken(struct auth_waiter *w, const char *value, const void *failure) {
    struct fetch *f = of_waiter(w);
    struct message *m = fetch_message(MESSAGE_TOKEN, f);
    m->round = f->token_round; // Changes only after auth_leave(), so not while we are called.
    m->value = mem_strdup(value);
    if (failure != NULL) {
        m->failure = mem_alloc(sizeof(*m->failure));
        memcpy(m->failure, failure, sizeof(*m->failure));
    }
    fetch_post(f, m);
}

/// A token server that fails as an endpoint may fail: the next endpoint has perhaps another one, or needs none.
static bool endpoint_failed(const struct fetch_result *failure) {
    switch (failure->outcome) {
    case FETCH_UNREACHABLE:
    case FETCH_ADDRESS:
    case FETCH_TIMEOUT:
    case FETCH_BROKEN:
        return true;
    case FETCH_STATUS:
        return failure->status >= 500;
    default:
        return false;
    }
}

void fetch_token_arrived(struct fetch *f, unsigned round, const char *value, const struct fetch_result *failure) {
    if (round != f->token_round || f->transfer != NULL)
        return; // For an endpoint that was given up meanwhile.
    if (value != NULL) {
        use_value(f, mem_strdup(value));
        return;
    }
    struct fetch_result *r = &f->result;
    r->status = failure->status;
    r->err = failure->err;
    memcpy(r->message, failure->message, sizeof(r->message));
    memcpy(r->code, failure->code, sizeof(r->code));
    memcpy(r->host, failure->host, sizeof(r->host));
    memcpy(r->retry_after, failure->retry_after, sizeof(r->retry_after));
    if (endpoint_failed(failure))
        next_endpoint(f, failure->outcome);
    else
        finish(f, failure->outcome);
}

// --- one transfer ---

static void ended_early(struct fetch *f, enum transfer_end end, const char *why) {
    struct fetch_result *r = &f->result;
    const char *host = asked_host(f);
    if (end == TRANSFER_ADDRESS) {
        snprintf(r->host, sizeof(r->host), "%s", host);
        err_set(&r->err, "%s", why);
        next_endpoint(f, FETCH_ADDRESS);
    } else if (end == TRANSFER_SILENT) {
        err_set(&r->err, "%s did not answer in time: %s", r->where, why);
        next_endpoint(f, FETCH_TIMEOUT);
    } else if (end == TRANSFER_CONNECT) {
        err_set(&r->err, "%s could not be reached: %s", r->where, why);
        next_endpoint(f, FETCH_UNREACHABLE);
    } else {
        err_set(&r->err, "%s gave no usable answer: %s", r->where, why);
        next_endpoint(f, FETCH_BROKEN);
    }
}

static void content_ended(struct fetch *f, enum transfer_end end, const char *why) {
    if (end == TRANSFER_COMPLETE)
        finish(f, FETCH_OK);
    else if (end == TRANSFER_STOPPED)
        fail(f, FETCH_CANCELLED, "no longer wanted");
    else {
        // Whoever takes up the rest asks another endpoint first, where there is one.
        experience_failed(f->thread->fetcher->experience, endpoint(f)->base);
        fail(f, FETCH_BROKEN, "the answer of %s broke off: %s", f->result.where, why);
    }
}

static void on_done(void *ctx, enum transfer_end end, const char *why) {
    struct fetch *f = ctx;
    f->transfer = NULL;
    bool answered = f->head.status != 0;
    // A stop while an error's body was read off is our own; its head has said enough.
    if (!answered)
        ended_early(f, end, why);
    else if (f->next == NEXT_CONTENT)
        content_ended(f, end, why);
    else if (f->next == NEXT_REDIRECT)
        follow_redirect(f);
    else if (f->next == NEXT_AUTH)
        authenticate(f);
    else
        finish_error(f);
}

static void start_transfer(struct fetch *f) {
    static const struct transfer_callbacks callbacks = {on_head, on_body, on_done};
    const struct endpoint *e = endpoint(f);
    struct transfer_spec spec = {
        .url = f->url,
        .figures = f->thread->fetcher->figures,
        .name = f->spec.name,
        .registry = f->spec.registry,
        .ca = e->ca,
        .head = f->spec.head,
        .authorization = f->at_origin ? f->authorization : NULL,
        .accept = f->spec.resource == FETCH_MANIFEST ? document_accept : NULL,
        .range = f->spec.range,
        .public_only = f->hop_unlisted,
        .connect_timeout_ms = f->spec.connect_timeout_ms,
    };
    buf_clear(&f->error_body);
    f->error_body.overflow = false;
    free(f->head.location);
    memset(&f->head, 0, sizeof(f->head));
    f->transfer = transfer_start(f->thread->multi, &spec, &callbacks, f);
}

void fetch_check_deadline(struct fetch *f, int64_t now_ms) {
    if (now_ms < f->attempt_deadline_ms && now_ms < f->deadline_ms)
        return;
    bool others = f->endpoint_at + 1 < f->endpoint_count && !f->head_delivered && now_ms < f->deadline_ms;
    err_set(&f->result.err, "%s did not answer in time%s", f->result.where,
            f->transfer == NULL ? ": no token came" : "");
    if (f->transfer != NULL)
        transfer_expire(f->transfer);
    f->transfer = NULL;
    if (others) {
        next_endpoint(f, FETCH_TIMEOUT);
        return;
    }
    experience_failed(f->thread->fetcher->experience, endpoint(f)->base);
    finish(f, FETCH_TIMEOUT);
}
