// SPDX-License-Identifier: Apache-2.0
//
// What is counted, translated.

#include "gateway/front/figures.h"

#include "gateway/compliance/listing.h"
#include "mirrors/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// --- requests ---

static enum metrics_kind kind_of(const struct exchange *ex) {
    static const enum metrics_kind kinds[] = {
        [ROUTE_REFUSED] = METRICS_OTHER, [ROUTE_BASE] = METRICS_BASE,     [ROUTE_MANIFEST] = METRICS_MANIFEST,
        [ROUTE_BLOB] = METRICS_BLOB,     [ROUTE_TAGS] = METRICS_TAGS,     [ROUTE_REFERRERS] = METRICS_REFERRERS,
        [ROUTE_UPLOAD] = METRICS_OTHER,  [ROUTE_TOKEN] = METRICS_OTHER,   [ROUTE_SITE] = METRICS_OTHER,
        [ROUTE_REPORT] = METRICS_OTHER,  [ROUTE_CONNECT] = METRICS_OTHER, [ROUTE_HEALTH] = METRICS_OTHER,
    };
    if (!ex->routed || ex->route.push || ex->route.erase)
        return METRICS_OTHER;
    return kinds[ex->route.kind];
}

static enum metrics_result result_of(const struct exchange *ex, int status) {
    static const enum metrics_result results[] = {
        [SOURCE_NONE] = METRICS_MISS, [SOURCE_HIT] = METRICS_HIT,     [SOURCE_FOLLOW] = METRICS_FOLLOW,
        [SOURCE_MISS] = METRICS_MISS, [SOURCE_STALE] = METRICS_STALE,
    };
    if (ex->denied)
        return METRICS_DENIED;
    if (status >= 400)
        return METRICS_ERROR;
    return ex->route.kind == ROUTE_BASE ? METRICS_HIT : results[ex->source];
}

static uint64_t at_least_0(int64_t value) {
    return value > 0 ? (uint64_t)value : 0;
}

void figures_exchange(const struct exchange *ex, const struct audit_record *record) {
    if (ex->gateway->metrics == NULL)
        return;
    struct metrics_request r = {
        .registry = ex->registry != NULL ? ex->registry->name : NULL,
        .kind = kind_of(ex),
        .result = result_of(ex, record->status),
        .bytes = at_least_0(record->bytes),
        .ms = at_least_0(record->ms),
        .reason = ex->reason,
        .rule = ex->rule,
        .would_deny = !ex->denied && strcmp(ex->would, "deny") == 0,
    };
    metrics_request(ex->gateway->metrics, &r);
}

void figures_early(struct gateway *g, const struct audit_record *record) {
    if (g->metrics == NULL)
        return;
    struct metrics_request r = {.kind = METRICS_OTHER, .result = METRICS_ERROR, .bytes = at_least_0(record->bytes)};
    metrics_request(g->metrics, &r);
}

// --- the configuration ---

/// False: the listener has no certificate.
static bool certificate_end(const struct listener *l, int64_t *end) {
    struct tm tm;
    X509 *certificate = l->tls != NULL ? SSL_CTX_get0_certificate(l->tls) : NULL;
    if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
        return false;
    *end = timegm(&tm);
    return *end >= 0;
}

/// False: it has no such list.
static bool revocation_end(const struct listener *l, int64_t *end) {
    *end = l->trust != NULL ? peer_trust_crl_ends(l->trust) : INT64_MAX;
    return *end >= 0 && *end != INT64_MAX;
}

static void add_end(struct metrics_certificate *list, size_t *count, const struct listener *l, int64_t end) {
    struct metrics_certificate *to = &list[(*count)++];
    to->expires = end;
    snprintf(to->listener, sizeof(to->listener), "%s", l->address); // Names may be the same.
}

void figures_configured(struct gateway *g, const struct config *c, const struct listener_set *set) {
    if (g->metrics == NULL)
        return;
    struct metrics_configuration *m = mem_zalloc(1, sizeof(*m));
    snprintf(m->hash, sizeof(m->hash), "%s", c->hash);
    m->enforced = !c->monitor;
    for (size_t i = 0; i < set->count && i < METRICS_CERTIFICATES_MAX; i++) {
        int64_t end;
        if (certificate_end(set->item[i], &end))
            add_end(m->certificates, &m->certificate_count, set->item[i], end);
        if (revocation_end(set->item[i], &end))
            add_end(m->revocations, &m->revocation_count, set->item[i], end);
    }
    metrics_configured(g->metrics, m, (int64_t)time(NULL));
    free(m);
}

// --- upstreams ---

/// The fetcher counts by the name as asked; here they are summed by the registry that the configuration lists.
struct gathering {
    const struct config *config;
    size_t count;
    struct metrics_upstream list[SLOTS_MAX + 1]; ///< [0]: "other".
};

static struct metrics_upstream *upstream_of(struct gathering *g, const char *name) {
    const struct registry *r = config_registry(g->config, name);
    if (r == NULL)
        return &g->list[0];
    for (size_t i = 1; i < g->count; i++)
        if (g->list[i].registry == r->name)
            return &g->list[i];
    if (g->count > SLOTS_MAX)
        return &g->list[0];
    g->list[g->count] = (struct metrics_upstream){.registry = r->name, .ratelimit_remaining = -1};
    return &g->list[g->count++];
}

static void gather(void *ctx, const struct fetch_figures *f) {
    struct metrics_upstream *u = upstream_of(ctx, f->registry);
    u->requests += f->requests;
    u->errors += f->errors;
    u->limited += f->limited;
    u->us += f->us;
    if (f->ratelimit_remaining >= 0 && (u->ratelimit_remaining < 0 || f->ratelimit_remaining < u->ratelimit_remaining))
        u->ratelimit_remaining = f->ratelimit_remaining;
}

// --- writing ---

static bool write_gathered(struct gateway *g, struct gathering *upstreams, struct buf *b) {
    struct metrics_figures f = {
        .upstreams = upstreams->list,
        .upstream_count = upstreams->count,
        .stored = g->store != NULL,
        .connections = atomic_load(&g->connections),
        .connections_max = g->connections_max,
        .log_dropped = audit_dropped(g->audit),
        .version = PULLGATE_VERSION,
    };
    content_stats(g->content, &f.content);
    if (f.stored)
        store_stats(g->store, &f.store);
    listing_count(g->reports, upstreams->config, (int64_t)time(NULL), f.machines);
    return metrics_write(g->metrics, &f, b);
}

bool figures_write(struct gateway *g, struct buf *b) {
    struct config *config = gateway_config(g);
    struct gathering *upstreams = mem_zalloc(1, sizeof(*upstreams));
    upstreams->config = config;
    upstreams->count = 1;
    upstreams->list[0] = (struct metrics_upstream){.registry = "other", .ratelimit_remaining = -1};
    fetcher_figures(g->fetcher, gather, upstreams);
    bool ok = write_gathered(g, upstreams, b);
    free(upstreams);
    config_unref(config);
    return ok;
}
