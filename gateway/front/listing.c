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

/// A listing on its way to the client. It is read where it arrives, on the fetch thread: megabytes of tags, each asked
/// of the policy, would hold up a loop. What it needs of the exchange does not change while it waits.
struct listing_message {
    struct loop_message super;
    struct exchange *exchange; ///< A reference.
    struct fetch_result fetch;
    struct buf body; ///< What the client gets.
    char *content_type, *link, *filters;
    enum document_verdict verdict; ///< Of a list of referrers.
    char urls_host[256];
    struct err err; ///< Why there is no listing, "" where there is.
};

// --- reading, on the fetch thread ---

struct showing {
    const struct exchange *exchange;
    struct exchange_links links; ///< The exchange's own belong to its loop.
};

static bool tag_shown(void *ctx, const char *tag) {
    struct showing *s = ctx;
    const struct exchange *ex = s->exchange;
    struct question q = {.registry = ex->route.registry,
                         .repository = ex->route.repository,
                         .tag = tag,
                         .action = ACTION_PULL,
                         .now = ex->now};
    struct decision d;
    policy_decide(ex->config->policy, &q, exchange_reach, &s->links, &d);
    return d.allow || ex->config->monitor;
}

static void read_tags(struct listing_message *m, const struct listing_answer *l) {
    struct showing showing = {.exchange = m->exchange, .links = exchange_links(m->exchange->gateway)};
    m->content_type = mem_strdup("application/json");
    if (!listing_tags(l->body, l->len, m->exchange->route.asked, tag_shown, &showing, &m->body, &m->err))
        err_prefix(&m->err, "%s: ", l->fetch->where);
}

static void link_referrers(const struct exchange *ex, const struct document *d) {
    struct links *links = content_links(ex->gateway->content);
    for (size_t i = 0; i < d->count; i++)
        links_referrer(links, ex->route.registry, ex->route.repository, ex->route.digest, d->descriptors[i].digest);
}

/// The answer is an index whose entries are referrers of the digest that was asked for: judged like any index that a
/// client reads.
static void read_referrers(struct listing_message *m, const struct listing_answer *l) {
    const struct exchange *ex = m->exchange;
    struct document d = {0};
    m->verdict =
        document_judge(l->body, l->len, l->content_type, registry_url_permitted, (void *)ex->registry, &d, &m->err);
    memcpy(m->urls_host, d.urls_host, sizeof(m->urls_host));
    buf_add(&m->body, l->body, l->len);
    m->content_type = mem_strdup(m->verdict == DOCUMENT_OK ? d.media_type : l->content_type);
    if (m->verdict != DOCUMENT_OK)
        return;
    if (d.kind == DOCUMENT_INDEX) {
        link_referrers(ex, &d);
    } else {
        m->verdict = DOCUMENT_MALFORMED;
        err_set(&m->err, "the registry's list of referrers is no index");
    }
    document_deinit(&d);
}

static void run_listing(struct loop_message *super);

static void on_listing(void *ctx, const struct listing_answer *answer) {
    struct listing_message *m = mem_zalloc(1, sizeof(*m));
    m->super.run = run_listing;
    m->exchange = ctx;
    m->fetch = *answer->fetch;
    buf_init(&m->body, CONTENT_LISTING_MAX);
    if (answer->body != NULL) {
        m->link = mem_strdup(answer->link);
        m->filters = mem_strdup(answer->filters_applied);
        if (m->exchange->route.kind == ROUTE_TAGS)
            read_tags(m, answer);
        else
            read_referrers(m, answer);
    }
    loop_post(m->exchange->loop, &m->super);
}

// --- answering, on the loop ---

static const char *path_of(const struct exchange *ex, char *out, size_t size) {
    const struct route *r = &ex->route;
    snprintf(out, size, "%s%s/v2/%s/%s%s", r->outer[0] != '\0' ? "/" : "", r->outer, r->asked,
             r->kind == ROUTE_TAGS ? "tags/list" : "referrers/", r->kind == ROUTE_TAGS ? "" : r->digest);
    return out;
}

static void send_listing(struct exchange *ex, const struct listing_message *m) {
    char path[REPOSITORY_MAX + 2 * REGISTRY_MAX + DIGEST_TEXT_MAX + 64], link[LISTING_LINK_MAX + 1];
    listing_link(m->link, ex->upstream, path_of(ex, path, sizeof(path)), ex->route.ns[0] != '\0' ? ex->route.ns : NULL,
                 link);
    struct answer a = {.status = 200,
                       .content_type = m->content_type,
                       .body = m->body.data,
                       .len = m->body.len,
                       .content_length = SIZE_MAX,
                       .link = link,
                       .filters_applied = ex->route.kind == ROUTE_REFERRERS ? m->filters : NULL};
    answer_send(ex, &a);
}

/// In monitor mode `urls` pass, and are told.
static bool referrers_pass(struct exchange *ex, const struct listing_message *m) {
    if (m->verdict == DOCUMENT_URLS && ex->config->monitor) {
        char key[sizeof(m->urls_host) + 32];
        snprintf(key, sizeof(key), "external_urls: %s", m->urls_host);
        exchange_would(ex, "deny", key);
        return true;
    }
    return m->verdict == DOCUMENT_OK;
}

static void answer_listing(struct exchange *ex, const struct listing_message *m) {
    if (m->fetch.outcome != FETCH_OK) {
        answer_failure(ex, &m->fetch);
        return;
    }
    exchange_came_by(ex, &m->fetch);
    if (ex->route.kind == ROUTE_REFERRERS && !referrers_pass(ex, m)) {
        answer_deny(ex, answer_reason(m->verdict), m->err.text);
    } else if (ex->route.kind == ROUTE_TAGS && m->err.text[0] != '\0') {
        ex->reason = REASON_UPSTREAM_ERROR;
        answer_error(ex, 502, "UNKNOWN", m->err.text);
    } else {
        send_listing(ex, m);
    }
}

static void run_listing(struct loop_message *super) {
    struct listing_message *m = H2O_STRUCT_FROM_MEMBER(struct listing_message, super, super);
    struct exchange *ex = m->exchange;
    if (ex->req != NULL && !ex->started) // Else the client has gone.
        answer_listing(ex, m);
    exchange_unref(ex);
    buf_deinit(&m->body);
    free(m->content_type);
    free(m->link);
    free(m->filters);
    free(m);
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
