// SPDX-License-Identifier: Apache-2.0
//
// Deciding a request, and manifests: decided by name, read and judged, decided again when the digest is known.
//
// Everything runs on the exchange's loop; what comes from a fetch thread comes as a loop message.

#include "gateway/front/answer.h"

#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- the question and its decision ---

static enum action action_of(const struct exchange *ex) {
    if (ex->route.push)
        return ACTION_PUSH;
    if (ex->route.erase)
        return ACTION_DELETE;
    return ex->route.kind == ROUTE_TAGS || ex->route.kind == ROUTE_REFERRERS ? ACTION_LIST : ACTION_PULL;
}

bool exchange_reach(void *links, const char *registry, const char *repository, const char *digest,
                    bool (*tag_allowed)(void *ctx, const char *tag), void *tag_ctx, char *tag) {
    return links_reach(links, registry, repository, digest, tag_allowed, tag_ctx, tag);
}

static void decide(const struct exchange *ex, const char *tag, const char *digest, struct decision *d) {
    struct question q = {
        .registry = ex->route.registry,
        .repository = ex->route.repository,
        .tag = tag,
        .digest = digest,
        .action = action_of(ex),
        .now = ex->now,
    };
    if (q.action == ACTION_LIST)
        policy_decide_list(ex->config->policy, &q, d);
    else
        policy_decide(ex->config->policy, &q, exchange_reach, content_links(ex->gateway->content), d);
}

static enum denial_reason reason_of(enum decision_reason reason) {
    switch (reason) {
    case DECIDED_NOT_LISTED:
        return REASON_REGISTRY_NOT_LISTED;
    case DECIDED_NO_RULE:
        return REASON_NO_RULE;
    case DECIDED_NO_LINK:
        return REASON_NO_LINK;
    case DECIDED_ACTION:
        return REASON_ACTION;
    case DECIDED_BY_RULE:
    case DECIDED_REGISTRIES_ONLY:
    case DECIDED_LINK:
        break;
    }
    return REASON_RULE;
}

static void note_would(struct exchange *ex, bool allow, int rule, enum denial_reason reason) {
    snprintf(ex->would, sizeof(ex->would), "%s", allow ? "allow" : "deny");
    snprintf(ex->would_rule, sizeof(ex->would_rule), "%s",
             rule != DECISION_NO_RULE ? policy_rule_name(ex->config->policy, rule) : denial_reason_word(reason));
}

/// Say no to what was decided; false: monitor mode lets it pass, and the log says what would have been.
static bool denied(struct exchange *ex, const struct decision *d) {
    if (d->would != DECISION_NO_RULE)
        note_would(ex, d->would_allow, d->would, REASON_RULE);
    if (d->allow)
        return false;
    enum denial_reason reason = reason_of(d->reason);
    bool relaxable = reason == REASON_RULE || reason == REASON_NO_RULE || reason == REASON_NO_LINK;
    if (ex->config->monitor && relaxable && !ex->route.push && !ex->route.erase) {
        note_would(ex, false, d->rule, reason);
        return false;
    }
    answer_deny(ex, reason, d->rule, NULL);
    return true;
}

// --- manifests ---

struct manifest_message {
    struct loop_message super;
    struct exchange *exchange; ///< A reference.
    struct manifest *manifest; ///< A reference, or NULL.
    struct fetch_result fetch;
    void (*next)(struct exchange *ex, struct manifest *m, const struct fetch_result *fetch);
};

struct manifest_wait {
    struct exchange *exchange; ///< A reference.
    void (*next)(struct exchange *ex, struct manifest *m, const struct fetch_result *fetch);
};

static void run_manifest(struct loop_message *super) {
    struct manifest_message *m = H2O_STRUCT_FROM_MEMBER(struct manifest_message, super, super);
    if (m->exchange->req != NULL)
        m->next(m->exchange, m->manifest, &m->fetch);
    manifest_unref(m->manifest);
    exchange_unref(m->exchange);
    free(m);
}

/// On a fetch thread (or the loop's own): carry the answer to the loop.
static void on_manifest(void *ctx, const struct manifest_answer *answer) {
    struct manifest_wait *w = ctx;
    struct manifest_message *m = mem_zalloc(1, sizeof(*m));
    m->super.run = run_manifest;
    m->exchange = w->exchange;
    m->manifest = answer->manifest != NULL ? manifest_ref(answer->manifest) : NULL;
    m->fetch = *answer->fetch;
    m->next = w->next;
    free(w);
    loop_post(m->exchange->loop, &m->super);
}

static void read_manifest(struct exchange *ex, const char *tag, const char *digest,
                          void (*next)(struct exchange *, struct manifest *, const struct fetch_result *)) {
    struct manifest_wait *w = mem_zalloc(1, sizeof(*w));
    struct content_place place = exchange_place(ex);
    w->exchange = exchange_ref(ex);
    w->next = next;
    content_manifest(ex->gateway->content, &place, tag, digest, ex->route.method == METHOD_GET, on_manifest, w);
}

static enum denial_reason reason_of_verdict(enum document_verdict v) {
    switch (v) {
    case DOCUMENT_URLS:
        return REASON_URLS;
    case DOCUMENT_SCHEMA1:
        return REASON_SCHEMA1;
    case DOCUMENT_AMBIGUOUS:
        return REASON_AMBIGUOUS;
    case DOCUMENT_MEDIA_TYPE:
        return REASON_MEDIA_TYPE;
    case DOCUMENT_TOO_LARGE:
        return REASON_TOO_LARGE;
    case DOCUMENT_DIGEST:
        return REASON_DIGEST;
    case DOCUMENT_MALFORMED:
    case DOCUMENT_OK:
        break;
    }
    return REASON_MALFORMED;
}

static void send_manifest(struct exchange *ex, struct manifest *m) {
    if (answer_not_modified(ex, m->digest))
        return;
    struct answer a = {.status = 200,
                       .content_type = m->media_type,
                       .digest = m->digest,
                       .body = m->body,
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
        snprintf(ex->would, sizeof(ex->would), "deny");
        snprintf(ex->would_rule, sizeof(ex->would_rule), "external_urls: %s", m->urls_host);
        return false;
    }
    answer_deny(ex, reason_of_verdict(m->verdict), DECISION_NO_RULE, m->err.text);
    return true;
}

static void got_manifest(struct exchange *ex, struct manifest *m, const struct fetch_result *fetch) {
    struct decision d;
    if (m == NULL) {
        answer_failure(ex, fetch);
        return;
    }
    exchange_came_by(ex, fetch);
    memcpy(ex->digest, m->digest, sizeof(ex->digest));
    memcpy(ex->media_type, m->media_type, sizeof(ex->media_type));
    if (refused_document(ex, m))
        return;
    if (ex->route.tag[0] != '\0') {
        decide(ex, ex->route.tag, m->digest, &d);
        if (denied(ex, &d))
            return;
    }
    send_manifest(ex, m);
}

// --- a digest without a link: read what the indexes of allowed tags name, then ask again ---

/// Tags that this asker may pull now; see links_unread().
static bool tag_allowed(void *ctx, const char *tag) {
    struct decision d;
    decide(ctx, tag, NULL, &d);
    return d.allow;
}

static void permit(struct exchange *ex);

static void relink(struct exchange *ex) {
    struct links_unread *unread = mem_zalloc(1, sizeof(*unread));
    struct links *links = content_links(ex->gateway->content);
    links_unread(links, ex->route.registry, ex->route.repository, tag_allowed, ex, unread);
    if (unread->count > 0 && ex->children_read < LINKS_UNREAD_MAX) {
        ex->children_read++;
        memcpy(ex->child, unread->digest[0], sizeof(ex->child));
    } else {
        ex->relinked = true;
    }
    free(unread);
}

static void got_child(struct exchange *ex, struct manifest *m, const struct fetch_result *fetch) {
    if (m == NULL || m->verdict != DOCUMENT_OK)
        links_skip(content_links(ex->gateway->content), ex->route.registry, ex->route.repository, ex->child);
    permit(ex);
}

// --- in order ---

static bool out_of_time(const struct exchange *ex) {
    return fetch_now_ms() - ex->began_ms > (int64_t)ex->config->limits.upstream_timeout_s * 1000;
}

static void proceed(struct exchange *ex) {
    switch (ex->route.kind) {
    case ROUTE_MANIFEST:
        read_manifest(ex, ex->route.tag[0] != '\0' ? ex->route.tag : NULL,
                      ex->route.tag[0] != '\0' ? NULL : ex->route.digest, got_manifest);
        break;
    case ROUTE_BLOB:
        blob_start(ex);
        break;
    case ROUTE_TAGS:
    case ROUTE_REFERRERS:
        listing_start(ex);
        break;
    default:
        answer_deny(ex, REASON_ACTION, DECISION_NO_RULE, NULL);
        break;
    }
}

/// Decide by name and go on; a digest that lacks only a link gets the children of the allowed indexes read first, one
/// at a time.
static void permit(struct exchange *ex) {
    struct decision d;
    bool by_tag = ex->route.tag[0] != '\0';
    decide(ex, by_tag ? ex->route.tag : NULL, by_tag ? NULL : ex->route.digest, &d);
    if (!d.allow && d.reason == DECIDED_NO_LINK && !ex->relinked && !out_of_time(ex)) {
        relink(ex);
        if (!ex->relinked) {
            read_manifest(ex, NULL, ex->child, got_child);
            return;
        }
    }
    if (!denied(ex, &d))
        proceed(ex);
}

/// An answer that an earlier denial in this repository pointed at.
static bool told_before(struct exchange *ex) {
    struct denial_answer d;
    char id[REQUEST_ID_MAX + 1];
    if (!denials_again(ex->gateway->denials, &ex->route, ex->now, &d, id))
        return false;
    struct answer a = {.status = d.status,
                       .content_type = d.content_type,
                       .digest = d.docker_content_digest,
                       .body = d.body,
                       .len = d.body_len,
                       .content_length = d.content_length};
    ex->denied = true;
    ex->reason = REASON_RULE;
    err_set(&ex->message, "follows from the denial with id %s", id);
    answer_send(ex, &a);
    denial_answer_deinit(&d);
    return true;
}

void pull_start(struct exchange *ex) {
    if (told_before(ex))
        return;
    if (ex->registry == NULL) {
        answer_deny(ex, REASON_REGISTRY_NOT_LISTED, DECISION_NO_RULE, NULL);
        return;
    }
    permit(ex);
}
