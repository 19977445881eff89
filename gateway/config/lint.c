// SPDX-License-Identifier: Apache-2.0
//
// What `check` warns about: things that load, and that a person should look at.
//
// Each warning is a path into the file and one sentence that says what follows from it and what to do. Nothing here
// contacts anyone; only the certificates' files are read.

#include "gateway/config/config.h"

#include "certs/server.h"
#include "gateway/config/lint.h"
#include "gateway/config/reader.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"
#include "mirrors/upstream/target.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINT_TEXT_MAX = 1024, LINT_STORE_SMALL_GIB = 1 };

void lint_warn(const struct lint *l, const char *path, const char *format, ...) {
    char text[LINT_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    l->warn(l->ctx, path, text);
}

// --- the whole ---

static void lint_modes(const struct lint *l) {
    const struct config *c = l->config;
    if (c->monitor)
        lint_warn(l, "mode", "\"monitor\": nothing that the rules deny is refused, it is only logged as \"would\"");
    if (c->registry_count == 0)
        lint_warn(l, "registries", "no registry is listed, so nothing can be pulled");
    else if (!c->rules_written)
        lint_warn(l, "rules", "there are no rules: everything may be pulled from every registry listed");
    else if (policy_rule_count(c->policy) == 0 && !c->monitor)
        lint_warn(l, "rules", "the list is empty, so nothing can be pulled");
}

static void lint_default_registry(const struct lint *l) {
    const struct config *c = l->config;
    for (size_t i = 0; i < c->listener_count; i++) {
        const struct listener_config *listener = &c->listeners[i];
        if (!listener->default_registry_written || config_registry(c, listener->default_registry) != NULL)
            continue;
        char *path = mem_printf("listeners[%zu].default_registry", i);
        lint_warn(l, strcmp(listener->default_registry, c->default_registry) == 0 ? "default_registry" : path,
                  "%s is not listed under \"registries\": requests that name no registry are denied",
                  listener->default_registry);
        free(path);
    }
}

static const char *without_user(const char *url) {
    const char *at = strrchr(url, '@');
    return at != NULL ? at + 1 : url;
}

static void lint_proxy(const struct lint *l) {
    const struct config *c = l->config;
    for (size_t i = 0; i < c->registry_count; i++) {
        if (c->registries[i]->proxy == NULL)
            continue;
        lint_warn(l, "proxy",
                  "connections go through %s%s: it resolves the names, so keeping private addresses out is its task",
                  without_user(c->registries[i]->proxy), c->proxy_written ? "" : " (from the environment)");
        return;
    }
}

static bool uses_credential(const struct registry *r, const struct credential *credential) {
    for (size_t i = 0; i < r->credential_count; i++)
        if (r->credentials[i].credential == credential)
            return true;
    for (size_t i = 0; i < r->endpoint_count; i++)
        if (r->endpoints[i].credential == credential)
            return true;
    return false;
}

static void lint_unused_credentials(const struct lint *l) {
    const struct config *c = l->config;
    for (size_t i = 0; i < c->credential_count; i++) {
        bool used = false;
        for (size_t k = 0; !used && k < c->registry_count; k++)
            used = uses_credential(c->registries[k], c->credentials[i]);
        if (used)
            continue;
        char *path = mem_printf("credentials.\"%s\"", c->credentials[i]->name);
        lint_warn(l, path, "no registry and no endpoint uses it");
        free(path);
    }
}

// --- what is kept ---

static bool can_be_listed(const struct config *c, const struct pattern *p) {
    if (strchr(p->registry, '*') == NULL)
        return config_registry(c, p->registry) != NULL;
    for (size_t i = 0; i < c->registry_count; i++)
        if (c->registries[i]->wildcard || pattern_match_registry(p, c->registries[i]->name))
            return true;
    return false;
}

static void lint_keep(const struct lint *l) {
    const struct store_config *s = &l->config->store;
    for (size_t i = 0; i < s->keep_count; i++) {
        if (can_be_listed(l->config, &s->keep[i]))
            continue;
        char *path = mem_printf("store.keep[%zu]", i);
        lint_warn(l, path, "keeps nothing: the registry %s is not in \"registries\"", s->keep[i].registry);
        free(path);
    }
}

static void lint_store(const struct lint *l) {
    const struct store_config *s = &l->config->store;
    if (!s->enabled)
        return;
    if (s->max_size < (uint64_t)LINT_STORE_SMALL_GIB << 30)
        lint_warn(l, "store.max_size", "under %d GiB: a few images push each other out", LINT_STORE_SMALL_GIB);
    lint_keep(l);
}

static void lint_registry_terms(const struct lint *l, const char *path, const struct registry *r) {
    if (r->tag_ttl_s == UINT_MAX)
        return;
    if (!l->config->store.enabled)
        lint_warn(l, path, "\"tag_ttl\" does nothing: \"store\" is null");
    else if (r->offline)
        lint_warn(l, path, "\"tag_ttl\" does nothing: an offline registry is never asked");
}

// --- admin ---

static void lint_admin(const struct lint *l) {
    const struct admin_config *a = &l->config->admin;
    if (a->enabled && strncmp(a->at.host, "127.", 4) != 0 && strcmp(a->at.host, "::1") != 0)
        lint_warn(
            l, "admin.address",
            "%s is not a loopback address: anyone who reaches it reads which registries and rules there are and how "
            "much is pulled",
            a->address);
}

// --- one registry ---

/// Names under which anyone can open a registry of their own, with what to write instead.
static void lint_anyone(const struct lint *l, const char *path, const char *name) {
    static const struct {
        const char *tail, *instead;
    } open_to_all[] = {
        {".azurecr.io", "NAME.azurecr.io"},
        {".amazonaws.com", "ACCOUNT.dkr.ecr.REGION.amazonaws.com"},
        {".pkg.dev", "REGION-docker.pkg.dev, and your project in the rules"},
    };
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof open_to_all / sizeof open_to_all[0]; i++) {
        size_t tail = strlen(open_to_all[i].tail);
        if (len < tail || strcmp(name + len - tail, open_to_all[i].tail) != 0)
            continue;
        lint_warn(l, path, "anyone can open a registry under this name; name your account: %s", open_to_all[i].instead);
    }
}

static bool goes_nowhere(const struct registry *r) {
    if (r->credential_count == 0 || r->endpoint_count == 0)
        return false;
    for (size_t i = 0; i < r->endpoint_count; i++)
        if (r->endpoints[i].own_host && r->endpoints[i].credential == NULL)
            return false;
    return true;
}

static bool has_credentials(const struct registry *r) {
    bool found = r->credential_count > 0;
    for (size_t i = 0; i < r->endpoint_count; i++)
        found = found || r->endpoints[i].credential != NULL;
    return found;
}

static void lint_registry_credentials(const struct lint *l, const char *path, const struct registry *r, bool opened) {
    if (opened && has_credentials(r))
        lint_warn(
            l, path,
            "it is asked with credentials, and the rules let anyone who reaches this gateway pull from it: what those "
            "credentials can read, everyone here can");
    if (goes_nowhere(r))
        lint_warn(
            l, path,
            "its credentials are never used: they go only to the registry's own hosts, and none of its endpoints is on "
            "one. Name them in the endpoint");
}

static void lint_endpoint(const struct lint *l, const char *path, const struct registry *r, const struct endpoint *e) {
    uint8_t addr[16];
    struct err err;
    if (address_from_text(e->at.host, addr) && !address_permitted(r, addr, &err))
        lint_warn(l, path, "%s cannot be reached: %s", e->base, err.text);
    if (e->plain && (e->credential != NULL || (e->own_host && r->credential_count > 0)))
        lint_warn(l, path, "credentials go to %s without encryption", e->base);
}

static void lint_address_blocks(const struct lint *l, const char *path, const struct registry *r) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    for (size_t i = 0; i < r->private_address_count; i++) {
        const struct cidr *block = &r->private_addresses[i];
        bool all4 = block->bits == 96 && memcmp(block->addr, mapped, sizeof mapped) == 0;
        if (block->bits == 0 || all4)
            lint_warn(l, path, "\"private_addresses\" permits every address: this registry's names can lead anywhere");
    }
}

static void lint_registry(const struct lint *l, size_t index) {
    const struct registry *r = l->config->registries[index];
    const struct registry_origin *origin = &l->config->registry_origins[index];
    if (origin->implied)
        return;
    char *path = mem_printf("registries.\"%s\"", origin->key);
    if (r->wildcard)
        lint_anyone(l, path, r->name);
    lint_registry_credentials(l, path, r, origin->opened);
    lint_address_blocks(l, path, r);
    lint_registry_terms(l, path, r);
    for (size_t i = 0; i < r->endpoint_count; i++)
        lint_endpoint(l, path, r, &r->endpoints[i]);
    free(path);
}

// --- certificates ---

struct certificate_warning {
    const char *path;
    void (*warn)(void *ctx, const char *path, const char *sentence);
    void *ctx;
};

static void pass_on(void *ctx, const char *sentence) {
    const struct certificate_warning *w = ctx;
    if (w->warn != NULL)
        w->warn(w->ctx, w->path, sentence);
}

static bool check_own(const struct listener_config *l, const char *path, int64_t now, struct certificate_warning *w,
                      struct err *err) {
    if (l->certificate == NULL)
        return true;
    w->path = path;
    return certs_server_check(l->certificate, l->key, now, pass_on, w, err) || err_prefix(err, "%s: ", path);
}

static bool check_trust(const struct listener_config *l, const char *path, struct err *err) {
    if (l->client_ca == NULL)
        return true;
    struct peer_trust *t = peer_trust_new(l->client_ca, l->client_crl, l->crl_expired_accepted, err);
    peer_trust_free(t);
    return t != NULL || err_prefix(err, "%s: ", path);
}

static bool check_authority(const struct config *c, struct err *err) {
    if (c->ca_certificate == NULL)
        return true;
    struct authority *a = authority_load(c->ca_certificate, c->ca_key, err);
    authority_unref(a);
    return a != NULL || err_prefix(err, "ca: ");
}

bool config_check_certificates(const struct config *c, int64_t now,
                               void (*hear)(void *ctx, const char *path, const char *sentence), void *ctx,
                               struct err *err) {
    struct certificate_warning w = {.warn = hear, .ctx = ctx};
    bool ok = check_authority(c, err);
    for (size_t i = 0; ok && i < c->listener_count; i++) {
        char *tls = mem_printf("listeners[%zu].tls", i), *clients = mem_printf("listeners[%zu].client_ca", i);
        ok = check_own(&c->listeners[i], tls, now, &w, err) && check_trust(&c->listeners[i], clients, err);
        free(tls);
        free(clients);
    }
    return ok;
}

// --- all of it ---

void config_lint(const struct config *c, int64_t now, void (*hear)(void *ctx, const char *path, const char *sentence),
                 void *ctx) {
    struct lint l = {.config = c, .now = now, .warn = hear, .ctx = ctx};
    struct err err = {0};
    lint_modes(&l);
    lint_default_registry(&l);
    for (size_t i = 0; i < c->registry_count; i++)
        lint_registry(&l, i);
    lint_unused_credentials(&l);
    lint_proxy(&l);
    lint_store(&l);
    lint_admin(&l);
    lint_access(&l);
    lint_authority(&l);
    lint_clients(&l);
    policy_lint(c->policy, now, hear, ctx);
    if (!config_check_certificates(c, now, hear, ctx, &err))
        lint_warn(&l, "listeners", "%s", err.text);
}
