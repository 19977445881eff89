// SPDX-License-Identifier: Apache-2.0
//
// Deciding a request, and manifests: decided by name, read and judged, decided again when the digest is known.
//
// Everything runs on the exchange's loop; what comes from another thread comes as a loop message.

#include "gateway/front/pull.h"

#include "gateway/front/answer.h"
#include "gateway/front/blob.h"
#include "gateway/front/listing.h"
#include "gateway/front/person.h"

#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- the question and its decision ---

static void decide(struct exchange *ex, const struct question *q, struct verdict *v) {
    config_verdict(ex->config, q, exchange_reach, &ex->links, v);
}

/// What a monitored rule, or enforcement, would have done.
static void note_verdict(struct exchange *ex, const struct verdict *v) {
    const struct decision *d = &v->decision;
    if (v->rule != NULL)
        snprintf(ex->rule, sizeof(ex->rule), "%s", v->rule);
    if (v->would_deny)
        exchange_would(ex, "deny", v->rule != NULL ? v->rule : "rules: nothing allows it");
    else if (d->would != DECISION_NO_RULE)
        exchange_would(ex, d->would_allow ? "allow" : "deny", policy_rule_name(ex->config->policy, d->would));
}

/// Say no to what the verdict denies.
static bool denied(struct exchange *ex, const struct verdict *v, const struct question *q) {
    note_verdict(ex, v);
    if (v->allow || (v->decision.others && person_challenge(ex, v->own)))
        return !v->allow;
    answer_verdict(ex, v, q);
    return true;
}

// --- manifests ---

typedef void (*manifest_next)(struct exchange *ex, const struct manifest_answer *answer);

/// A manifest that was asked for, and then its answer.
struct manifest_message {
    struct loop_message super;
    struct exchange *exchange; ///< A reference.
    manifest_next next;
    struct manifest *manifest; ///< A reference, or NULL.
    struct fetch_result fetch;
    enum content_source source;
};

static void run_manifest(struct loop_message *super) {
    struct manifest_message *m = H2O_STRUCT_FROM_MEMBER(struct manifest_message, super, super);
    struct manifest_answer answer = {m->manifest, &m->fetch, m->source};
    if (m->exchange->req != NULL && !m->exchange->started)
        m->next(m->exchange, &answer);
    manifest_unref(m->manifest);
    exchange_unref(m->exchange);
    free(m);
}

static void on_manifest(void *ctx, const struct manifest_answer *answer) {
    struct manifest_message *m = ctx;
    m->manifest = answer->manifest != NULL ? manifest_ref(answer->manifest) : NULL;
    m->fetch = *answer->fetch;
    m->source = answer->source;
    exchange_hand(m->exchange, &m->super);
}

static void read_manifest(struct exchange *ex, const char *tag, const char *digest, manifest_next next) {
    struct manifest_message *m = mem_zalloc(1, sizeof(*m));
    struct content_place place = exchange_place(ex);
    m->super.run = run_manifest;
    m->exchange = exchange_ref(ex);
    m->next = next;
    exchange_ask(ex);
    content_manifest(ex->gateway->content, &place, tag, digest, ex->route.method == METHOD_GET, on_manifest, m);
    exchange_asked(ex);
}

static void send_manifest(struct exchange *ex, struct manifest *m) {
    if (answer_not_modified(ex, m->digest))
        return;
    struct answer a = {.status = 200,
                       .content_type = m->media_type,
                       .digest = m->digest,
                       .body = m->body,
                       .manifest = m,
                       .len = m->len,
                       .content_length = SIZE_MAX};
    ex->verified = 1;
    answer_send(ex, &a);
}

/// Refused for what it says? In monitor mode `urls` pass, and are told.
static bool refused_document(struct exchange *ex, const struct manifest *m) {
    if (m->verdict == DOCUMENT_OK)
        return false;
    if (m->verdict == DOCUMENT_URLS && ex->config->monitor) {
        char key[sizeof(m->urls_host) + 32];
        snprintf(key, sizeof(key), "external_urls: %s", m->urls_host);
        exchange_would(ex, "deny", key);
        return false;
    }
    answer_deny(ex, answer_reason(m->verdict), m->err.text);
    return true;
}

static void got_manifest(struct exchange *ex, const struct manifest_answer *answer) {
    struct manifest *m = answer->manifest;
    struct verdict v;
    if (m == NULL) {
        answer_failure(ex, answer->fetch);
        return;
    }
    exchange_served(ex, answer->source, answer->fetch);
    memcpy(ex->digest, m->digest, sizeof(ex->digest));
    memcpy(ex->media_type, m->media_type, sizeof(ex->media_type));
    if (refused_document(ex, m))
        return;
    struct question q = exchange_question(ex);
    if (q.tag != NULL) {
        q.digest = m->digest; // Now that it is known, a rule that denies it wins.
        decide(ex, &q, &v);
        if (denied(ex, &v, &q))
            return;
    }
    if (m->sha256[0] != '\0') {
        q.tag = NULL;
        q.digest = m->sha256;
        decide(ex, &q, &v);
        if (v.decision.by_digest && denied(ex, &v, &q))
            return;
    }
    send_manifest(ex, m);
}

// --- a digest without a link: read what the indexes of allowed tags name, then ask again ---

/// Tags that this asker may pull now; see links_unread().
static bool tag_allowed(void *ctx, const char *tag, const char *led_to) {
    struct exchange *ex = ctx;
    struct question q = exchange_question(ex);
    struct decision d;
    q.tag = tag;
    q.digest = led_to;
    policy_decide(ex->config->policy, &q, exchange_reach, &ex->links, &d);
    return d.allow;
}

static void permit(struct exchange *ex);

static bool is_child(const struct links_unread *children, const char *digest) {
    for (size_t i = 0; i < children->count; i++)
        if (strcmp(children->digest[i], digest) == 0)
            return true;
    return false;
}

/// Those that this request has not tried yet; one that could not be read is not tried twice.
static void add_children(struct links_unread *children, const struct links_unread *unread) {
    for (size_t i = 0; i < unread->count && children->count < LINKS_UNREAD_MAX; i++)
        if (!is_child(children, unread->digest[i]))
            memcpy(children->digest[children->count++], unread->digest[i], sizeof(unread->digest[i]));
}

static void find_children(struct exchange *ex) {
    const char **denied;
    struct question q = exchange_question(ex);
    struct links_asker asker = {.tag_allowed = tag_allowed, .ctx = ex, .steps = &ex->links.steps_left};
    asker.denied_count = policy_denied_digests(ex->config->policy, &q, &denied);
    asker.denied = denied;
    struct links_unread *unread = mem_zalloc(1, sizeof(*unread));
    links_unread(ex->links.links, ex->route.registry, ex->route.repository, &asker, unread);
    if (ex->children == NULL)
        ex->children = mem_zalloc(1, sizeof(*ex->children));
    add_children(ex->children, unread);
    free(unread);
    free(denied);
}

/// The next child to read, or NULL. The links are asked again only when all that they named were read: an index among
/// them may have named more.
static const char *next_child(struct exchange *ex) {
    if (ex->children == NULL || (ex->children_read == ex->children->count && ex->children_read < LINKS_UNREAD_MAX))
        find_children(ex);
    if (ex->children_read < ex->children->count)
        return ex->children->digest[ex->children_read++];
    ex->relinked = true;
    return NULL;
}

/// Will the registry say the same next time?
static bool lasting(const struct fetch_result *fetch) {
    return fetch->outcome == FETCH_NOT_FOUND || fetch->outcome == FETCH_REFUSED;
}

static void got_child(struct exchange *ex, const struct manifest_answer *answer) {
    const struct manifest *m = answer->manifest;
    if (m == NULL ? lasting(answer->fetch) : m->verdict != DOCUMENT_OK)
        links_skip(ex->links.links, ex->route.registry, ex->route.repository,
                   ex->children->digest[ex->children_read - 1]);
    permit(ex);
}

// --- in order ---

static bool out_of_time(const struct exchange *ex) {
    return clock_ms() - ex->began_ms > (int64_t)ex->config->limits.upstream_timeout_s * 1000;
}

static void proceed(struct exchange *ex) {
    struct question q = exchange_question(ex);
    switch (ex->route.kind) {
    case ROUTE_MANIFEST:
        read_manifest(ex, q.tag, q.digest, got_manifest);
        break;
    case ROUTE_BLOB:
        blob_start(ex);
        break;
    case ROUTE_TAGS:
    case ROUTE_REFERRERS:
        listing_start(ex);
        break;
    default:
        answer_deny(ex, REASON_ACTION, NULL);
        break;
    }
}

/// Decide by name and go on; a digest that lacks only a link gets the children of the allowed indexes read first, one
/// at a time.
static void permit(struct exchange *ex) {
    struct question q = exchange_question(ex);
    struct verdict v;
    decide(ex, &q, &v);
    if (v.reason == REASON_NO_LINK && !ex->relinked && !out_of_time(ex)) {
        const char *child = next_child(ex);
        if (child != NULL) {
            read_manifest(ex, NULL, child, got_child);
            return;
        }
    }
    if (!denied(ex, &v, &q))
        proceed(ex);
}

/// An answer that an earlier denial in this repository pointed at.
static bool told_before(struct exchange *ex) {
    struct denial_answer d;
    char id[REQUEST_ID_MAX + 1];
    if (!denials_again(ex->gateway->denials, &ex->route, ex->now, &d, id, &ex->reason))
        return false;
    struct answer a = {.status = d.status,
                       .content_type = d.content_type,
                       .digest = d.docker_content_digest,
                       .body = d.body,
                       .len = d.body_len,
                       .content_length = d.content_length};
    ex->denied = true;
    err_set(&ex->message, "follows from the denial with id %s", id);
    answer_send(ex, &a);
    denial_answer_deinit(&d);
    return true;
}

// --- links from the store ---

static void run_linked(struct loop_message *super) {
    struct exchange *ex = H2O_STRUCT_FROM_MEMBER(struct exchange, linked, super);
    if (ex->req != NULL && !ex->started)
        permit(ex);
    exchange_unref(ex);
}

static void on_linked(void *ctx) {
    struct exchange *ex = ctx;
    ex->linked.run = run_linked;
    loop_post(ex->loop, &ex->linked);
}

/// What is asked by digest, and listings (which are cut to what may be pulled), are decided by what tags led to
/// earlier; after a restart the store knows.
static bool needs_links(const struct exchange *ex) {
    return ex->registry != NULL && (ex->route.digest[0] != '\0' || ex->route.kind == ROUTE_TAGS);
}

void pull_start(struct exchange *ex) {
    if (told_before(ex))
        return;
    if (needs_links(ex)) {
        exchange_ref(ex);
        if (!content_load_links(ex->gateway->content, ex->route.registry, ex->route.repository, on_linked, ex))
            return;
        exchange_unref(ex);
    }
    permit(ex);
}
