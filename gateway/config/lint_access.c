// SPDX-License-Identifier: Apache-2.0
//
// Warnings about listeners' identification and takeover, and about the authority.

#include "gateway/config/lint.h"

#include "certs/authority.h"
#include "certs/peer.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DAY_S = 24 * 60 * 60, CRL_WARN_DAYS = 7, AUTHORITY_WARN_DAYS = 60 };

static bool is_loopback(const struct listener_config *l) {
    return strncmp(l->at.host, "127.", 4) == 0 || strcmp(l->at.host, "::1") == 0;
}

static void format_day(int64_t at, char *out, size_t size) {
    time_t t = (time_t)at;
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL || strftime(out, size, "%Y-%m-%d", &tm) == 0)
        out[0] = '\0';
}

// --- who asks ---

static void lint_challenge(const struct lint *l, const struct listener_config *listener, const char *path) {
    if (!listener->challenge)
        return;
    if (strcmp(listener->default_registry, "docker.io") == 0)
        lint_warn(
            l, path,
            "\"challenge\": dockerd sends its Docker Hub password to a mirror that challenges it. Do not name this "
            "listener in \"registry-mirrors\"; a mirror's listener does without \"challenge\"");
    if (!listener->tls && !is_loopback(listener) && listener->connect != CONNECT_TAKEOVER)
        lint_warn(l, path, "\"challenge\": passwords and tokens come here without encryption: write \"tls\"");
}

static void lint_crl(const struct lint *l, const struct listener_config *listener, const char *path) {
    struct err err;
    char day[32];
    if (listener->client_crl == NULL)
        return;
    struct peer_trust *t =
        peer_trust_new(listener->client_ca, listener->client_crl, listener->crl_expired_accepted, &err);
    int64_t ends = t != NULL ? peer_trust_crl_ends(t) : INT64_MAX;
    peer_trust_free(t);
    if (ends == INT64_MAX || ends - l->now > (int64_t)CRL_WARN_DAYS * DAY_S)
        return;
    format_day(ends, day, sizeof day);
    lint_warn(l, path, "\"client_crl\": the revocation list %s on %s%s", ends <= l->now ? "ended" : "ends", day,
              listener->crl_expired_accepted ? "" : "; from then on no client certificate is good here");
}

static void lint_trusted_proxies(const struct lint *l, const struct listener_config *listener, const char *path) {
    for (size_t i = 0; i < listener->trusted_proxy_count; i++)
        if (listener->trusted_proxies[i].bits == 0 || listener->trusted_proxies[i].bits == 96)
            lint_warn(l, path,
                      "\"trusted_proxies\" has every address: any client can say where it comes from, and rules about "
                      "addresses hold nobody");
}

// --- takeover ---

static bool takes_over(const struct listener_config *l) {
    return l->takeover || l->connect == CONNECT_TAKEOVER;
}

/// Behind a proxy the proxy looks names up.
static void lint_resolve(const struct lint *l, const char *path) {
    const struct config *c = l->config;
    for (size_t i = 0; i < c->registry_count; i++) {
        const struct registry *r = c->registries[i];
        if (r->wildcard || r->offline || r->proxy != NULL || r->resolve_count > 0 || c->registry_origins[i].implied)
            continue;
        lint_warn(l, path,
                  "\"takeover\": where the resolver of this machine leads %s to the gateway too, pulls from it fail: "
                  "write registries.\"%.80s\".resolve, unless only clients see that DNS",
                  r->name, c->registry_origins[i].key);
        return; // One of them says it.
    }
}

static void lint_nobodys_names(const struct lint *l, const char *path) {
    const struct config *c = l->config;
    for (size_t i = 0; i < c->taken_count; i++)
        if (c->taken[i].ambiguous)
            lint_warn(l, path,
                      "\"takeover\": %s is an endpoint of more than one registry, so that name is not taken over",
                      c->taken[i].host);
    if (c->registry_count > 0 && strcmp(c->registries[c->registry_count - 1]->name, "*") == 0)
        lint_warn(l, path,
                  "\"takeover\": names that only \"*\" covers are not taken over: list the registries that are to be");
}

static void lint_listener(const struct lint *l, size_t index, bool *told) {
    const struct listener_config *listener = &l->config->listeners[index];
    char *path = mem_printf("listeners[%zu]", index);
    lint_challenge(l, listener, path);
    lint_crl(l, listener, path);
    lint_trusted_proxies(l, listener, path);
    if (takes_over(listener) && !*told) {
        *told = true;
        lint_resolve(l, path);
        lint_nobodys_names(l, path);
    }
    free(path);
}

void lint_access(const struct lint *l) {
    bool told = false;
    for (size_t i = 0; i < l->config->listener_count; i++)
        lint_listener(l, i, &told);
    if (l->config->identity_written && !config_identifies(l->config))
        lint_warn(l, "identity", "no listener asks who it is: write \"identify\" for one");
}

// --- the authority ---

static struct authority *open_authority(const struct lint *l) {
    const struct config *c = l->config;
    struct err err;
    struct authority *a = c->ca_certificate != NULL ? authority_load(c->ca_certificate, c->ca_key, &err)
                                                    : authority_open(c->state_directory, false, NULL, 0, &err);
    return a; // None yet: it is made at the first start. What cannot be read is said there, and by
              // config_check_certificates().
}

static void lint_end(const struct lint *l, const struct authority *a) {
    int64_t ends = authority_ends(a);
    char day[32];
    if (ends - l->now > (int64_t)AUTHORITY_WARN_DAYS * DAY_S)
        return;
    format_day(ends, day, sizeof day);
    lint_warn(l, "ca", "the authority %s on %s: another has to be made and trusted before",
              ends <= l->now ? "ended" : "ends", day);
}

static void lint_constraints(const struct lint *l, const struct authority *a) {
    size_t count = 0;
    char **names = config_authority_names(l->config, &count);
    for (size_t i = 0; i < count; i++) {
        if (!authority_permits(a, names[i]))
            lint_warn(
                l, "ca",
                "the authority is not good for %s, which its name constraints leave out: make another (`pullgate ca "
                "init --replace`) and have clients trust it",
                names[i]);
        free(names[i]);
    }
    free(names);
}

void lint_authority(const struct lint *l) {
    struct authority *a = config_needs_authority(l->config) ? open_authority(l) : NULL;
    if (a == NULL)
        return;
    lint_end(l, a);
    lint_constraints(l, a);
    authority_unref(a);
}
