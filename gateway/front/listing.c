// SPDX-License-Identifier: Apache-2.0
//
// tags/list and referrers: read whole from the upstream, cut to what the asker may pull, links to further pages
// rewritten.

#include "gateway/front/listing.h"

#include "gateway/front/answer.h"

#include "gateway/front/listing_text.h"
#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *path_of(const struct exchange *ex, char *out, size_t size) {
    const struct route *r = &ex->route;
    snprintf(out, size, "%s%s/v2/%s/%s%s", r->outer[0] != '\0' ? "/" : "", r->outer, r->asked,
             r->kind == ROUTE_TAGS ? "tags/list" : "referrers/", r->kind == ROUTE_TAGS ? "" : r->digest);
    return out;
}

static bool tag_shown(void *ctx, const char *tag) {
    const struct exchange *ex = ctx;
    struct question q = {.registry = ex->route.registry,
                         .repository = ex->route.repository,
                         .tag = tag,
                         .action = ACTION_PULL,
                         .now = ex->now};
    struct decision d;
    policy_decide(ex->config->policy, &q, exchange_reach, content_links(ex->gateway->content), &d);
    return d.allow || ex->config->monitor;
}

static void send_listing(struct exchange *ex, const struct listing_answer *l, const char *type, const char *body,
                         size_t len) {
    char path[REPOSITORY_MAX + 2 * REGISTRY_MAX + DIGEST_TEXT_MAX + 64], link[LISTING_LINK_MAX + 1];
    listing_link(l->link, ex->upstream, path_of(ex, path, sizeof(path)), ex->route.ns[0] != '\0' ? ex->route.ns : NULL,
                 link);
    struct answer a = {.status = 200,
                       .content_type = type,
                       .body = body,
                       .len = len,
                       .content_length = SIZE_MAX,
                       .link = link,
                       .filters_applied = ex->route.kind == ROUTE_REFERRERS ? l->filters_applied : NULL};
    answer_send(ex, &a);
}

static void refuse_listing(struct exchange *ex, const char *why) {
    ex->reason = REASON_UPSTREAM_ERROR;
    answer_error(ex, 502, "UNKNOWN", why);
}

static void send_tags(struct exchange *ex, const struct listing_answer *l) {
    struct buf out;
    struct err err;
    buf_init(&out, CONTENT_LISTING_MAX);
    if (listing_tags(l->body, l->len, ex->route.asked, tag_shown, ex, &out, &err))
        send_listing(ex, l, "application/json", out.data, out.len);
    else
        refuse_listing(ex, err.text);
    buf_deinit(&out);
}

/// The answer is an index whose entries are referrers of the digest that was asked for: judged like any index that a
/// client reads.
static void send_referrers(struct exchange *ex, const struct listing_answer *l) {
    struct document document;
    struct err err;
    struct links *links = content_links(ex->gateway->content);
    enum document_verdict v =
        document_judge(l->body, l->len, l->content_type, registry_url_permitted, (void *)ex->registry, &document, &err);
    if (v == DOCUMENT_URLS && ex->config->monitor) {
        snprintf(ex->would, sizeof(ex->would), "deny");
        snprintf(ex->would_rule, sizeof(ex->would_rule), "external_urls: %s", document.urls_host);
        send_listing(ex, l, l->content_type, l->body, l->len);
    } else if (v != DOCUMENT_OK || document.kind != DOCUMENT_INDEX) {
        answer_deny(ex, answer_reason(v), v != DOCUMENT_OK ? err.text : "the registry's list of referrers is no index");
    } else {
        for (size_t i = 0; i < document.count; i++)
            links_referrer(links, ex->route.registry, ex->route.repository, ex->route.digest,
                           document.descriptors[i].digest);
        send_listing(ex, l, document.media_type, l->body, l->len);
    }
    if (v == DOCUMENT_OK)
        document_deinit(&document);
}

// --- from the fetch thread ---

struct listing_message {
    struct loop_message super;
    struct exchange *exchange; ///< A reference.
    struct fetch_result fetch;
    char *body, *content_type, *link, *filters;
    size_t len;
};

static void run_listing(struct loop_message *super) {
    struct listing_message *m = H2O_STRUCT_FROM_MEMBER(struct listing_message, super, super);
    struct exchange *ex = m->exchange;
    struct listing_answer l = {.fetch = &m->fetch,
                               .body = m->body,
                               .len = m->len,
                               .content_type = m->content_type,
                               .link = m->link,
                               .filters_applied = m->filters};
    if (ex->req == NULL || ex->started) {
        // The client has gone.
    } else if (m->body == NULL) {
        answer_failure(ex, &m->fetch);
    } else {
        exchange_came_by(ex, &m->fetch);
        if (ex->route.kind == ROUTE_TAGS)
            send_tags(ex, &l);
        else
            send_referrers(ex, &l);
    }
    exchange_unref(ex);
    free(m->body);
    free(m->content_type);
    free(m->link);
    free(m->filters);
    free(m);
}

static void on_listing(void *ctx, const struct listing_answer *answer) {
    struct listing_message *m = mem_zalloc(1, sizeof(*m));
    m->super.run = run_listing;
    m->exchange = ctx;
    m->fetch = *answer->fetch;
    if (answer->body != NULL) {
        m->body = mem_strndup(answer->body, answer->len);
        m->len = answer->len;
        m->content_type = mem_strdup(answer->content_type);
        m->link = mem_strdup(answer->link);
        m->filters = mem_strdup(answer->filters_applied);
    }
    loop_post(m->exchange->loop, &m->super);
}

void listing_start(struct exchange *ex) {
    char query[LISTING_QUERY_MAX + 1];
    struct content_place place = exchange_place(ex);
    bool tags = ex->route.kind == ROUTE_TAGS;
    if (!listing_query(ex->req->input.path.base, ex->req->input.path.len, query)) {
        answer_error(ex, 400, "UNSUPPORTED", "the query is too long or has bytes that no query may have");
        return;
    }
    content_listing(ex->gateway->content, &place, tags ? FETCH_TAGS : FETCH_REFERRERS, tags ? "" : ex->route.digest,
                    query[0] != '\0' ? query : NULL, on_listing, exchange_ref(ex));
}
