// SPDX-License-Identifier: Apache-2.0
//
// Warnings about what client machines are told.

#include "gateway/config/lint.h"

#include "gateway/clients/site.h"
#include "gateway/clients/url.h"
#include "mirrors/base/mem.h"
#include "mirrors/upstream/proxy.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- what goes past the gateway ---

static void lint_direct(const struct lint *l) {
    const struct text_list *direct = &l->config->clients.direct;
    for (size_t i = 0; i < direct->count; i++) {
        const struct registry *r = config_registry(l->config, direct->texts[i]);
        if (r == NULL || strcmp(r->name, "*") == 0)
            continue;
        char *path = mem_printf("clients.direct[%zu]", i);
        lint_warn(l, path,
                  "%s is in \"registries\" too: clients are told to go past the gateway, so no rule holds for it",
                  direct->texts[i]);
        free(path);
    }
}

static const char *covered_host(const char *entry, const struct registry *r) {
    struct hostport at;
    if (!r->wildcard && hostport_parse(r->name, strlen(r->name), &at, NULL) && !proxy_applies(entry, at.host))
        return r->name;
    for (size_t i = 0; i < r->home_host_count; i++)
        if (!proxy_applies(entry, r->home_hosts[i]))
            return r->home_hosts[i];
    return NULL;
}

static bool is_direct(const struct lint *l, const char *name) {
    const struct text_list *direct = &l->config->clients.direct;
    for (size_t i = 0; i < direct->count; i++)
        if (strcmp(direct->texts[i], name) == 0)
            return true;
    return false;
}

/// The first registry that it opens is enough to say.
static void lint_no_proxy(const struct lint *l) {
    const struct config *c = l->config;
    for (size_t i = 0; i < c->clients.no_proxy.count; i++) {
        const char *entry = c->clients.no_proxy.texts[i], *host = NULL;
        for (size_t k = 0; host == NULL && k < c->registry_count; k++) {
            const struct registry *r = c->registries[k];
            host = is_direct(l, r->name) ? NULL : covered_host(entry, r);
            if (host == NULL)
                continue;
            char *path = mem_printf("clients.no_proxy[%zu]", i);
            lint_warn(l, path, "%s covers %s, a host of the registry %s: clients reach it past the gateway", entry,
                      host, r->name);
            free(path);
        }
    }
}

// --- where the gateway is ---

static bool certificate_names(const char *file, const char *host) {
    FILE *f = fopen(file, "re");
    X509 *x = f != NULL ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    bool named = x != NULL &&
                 (host_is_address(host) ? X509_check_ip_asc(x, host, 0) : X509_check_host(x, host, 0, 0, NULL)) == 1;
    X509_free(x);
    if (f != NULL)
        fclose(f);
    ERR_clear_error();
    return named;
}

static bool listener_names(const struct listener_config *l, const char *host) {
    if (!l->tls_auto)
        return l->certificate != NULL && certificate_names(l->certificate, host);
    for (size_t i = 0; i < l->name_count; i++)
        if (strcmp(l->names[i], host) == 0)
            return true;
    return false;
}

static void lint_gateway(const struct lint *l) {
    const struct config *c = l->config;
    struct gateway_url url;
    bool tls = false, named = false, fronted = false;
    if (c->clients.gateway == NULL || !gateway_url_parse(c->clients.gateway, &url, NULL) || url.plain)
        return;
    for (size_t i = 0; i < c->listener_count; i++) {
        const struct listener_config *listener = &c->listeners[i];
        tls = tls || listener->tls;
        fronted = fronted || listener->trusted_proxy_count > 0;
        named = named || (listener->tls && listener_names(listener, url.at.host));
    }
    if (!tls && !fronted)
        lint_warn(l, "clients.gateway",
                  "no listener speaks TLS, so clients that are told https need something in front that does");
    else if (tls && !named && !fronted)
        lint_warn(l, "clients.gateway", "no listener's certificate is for %s: clients will refuse it", url.at.host);
}

static bool any_connect(const struct config *c) {
    for (size_t i = 0; i < c->listener_count; i++)
        if (c->listeners[i].connect != CONNECT_OFF)
            return true;
    return false;
}

static bool any_takeover(const struct config *c) {
    for (size_t i = 0; i < c->listener_count; i++)
        if (c->listeners[i].takeover || c->listeners[i].connect == CONNECT_TAKEOVER)
            return true;
    return false;
}

static bool is_written(const struct clients_config *c) {
    return c->gateway != NULL || c->proxy != NULL || c->no_proxy_listener || c->takeover || c->direct.count > 0 ||
           c->no_proxy.count > 0;
}

static void lint_site(const struct lint *l) {
    static const char before[] = "clients.gateway: ";
    struct err err = {0};
    struct client_site *site = is_written(&l->config->clients) ? config_site(l->config, &err) : NULL;
    client_site_free(site);
    if (err.text[0] != '\0')
        lint_warn(l, "clients.gateway", "%s",
                  err.text + (strncmp(err.text, before, sizeof before - 1) == 0 ? sizeof before - 1 : 0));
}

/// As site_complete() leaves it: none where it does not fit.
static void lint_size(const struct lint *l) {
    struct client_site *site = l->config->site == NULL ? config_site(l->config, NULL) : NULL;
    if (site != NULL)
        lint_warn(
            l, "registries",
            "what clients are told of them is over %d bytes: GET /pullgate/v1/site tells nothing, and no report is "
            "outdated by a change",
            CLIENT_SITE_TEXT_MAX);
    client_site_free(site);
}

void lint_clients(const struct lint *l) {
    const struct clients_config *c = &l->config->clients;
    lint_site(l);
    lint_size(l);
    lint_gateway(l);
    if (c->proxy != NULL && !any_connect(l->config))
        lint_warn(l, "clients.proxy", "no listener answers CONNECT: set \"connect\" of the listener that this is");
    if (c->takeover && !any_takeover(l->config))
        lint_warn(l, "clients.takeover", "no listener takes registries' names over");
    lint_direct(l);
    lint_no_proxy(l);
    if (l->config->compliance.expected.count > 0 && !l->config->admin.enabled)
        lint_warn(l, "compliance.expected", "who reported is read at the \"admin\" address, and there is none");
}
