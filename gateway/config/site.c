// SPDX-License-Identifier: Apache-2.0
//
// A site's description, out of the gateway's own configuration.
//
// What "clients" does not say is taken from the listeners: the first with TLS and a name is the gateway, the first that
// answers CONNECT the proxy. An address that is every address is no place that a client could be told. Pure.

#include "gateway/clients/site.h"
#include "gateway/clients/url.h"
#include "gateway/config/config.h"
#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

// --- where ---

static bool is_every_address(const char *host) {
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static bool is_loopback(const char *host) {
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

static bool has_place(const struct listener_config *l) {
    return l->name_count > 0 || !is_every_address(l->at.host);
}

static struct gateway_url url_of(const struct listener_config *l, const char *host) {
    struct gateway_url url = {.at = l->at, .plain = !l->tls};
    memmove(url.at.host, host, strlen(host) + 1);
    return url;
}

/// The better a place for clients, the higher; 0: none.
static int fitness(const struct listener_config *l) {
    if (!has_place(l))
        return 0;
    if (!l->tls)
        return l->connect == CONNECT_OFF ? 2 : 1;
    return l->name_count > 0 ? 4 : 3;
}

static const struct listener_config *best_listener(const struct config *c) {
    const struct listener_config *best = NULL;
    for (size_t i = 0; i < c->listener_count; i++)
        if (fitness(&c->listeners[i]) > (best != NULL ? fitness(best) : 0))
            best = &c->listeners[i];
    return best;
}

static bool find_gateway(const struct config *c, struct gateway_url *url, struct err *err) {
    if (c->clients.gateway != NULL)
        return gateway_url_parse(c->clients.gateway, url, err);
    const struct listener_config *l = best_listener(c);
    if (l == NULL)
        return err_set(err, "clients.gateway: every listener is on all addresses and has no \"names\", so it is not "
                            "known under which name clients reach the gateway: write it");
    *url = url_of(l, l->name_count > 0 ? l->names[0] : l->at.host);
    return true;
}

/// Under which host clients that reach the gateway at `gateway` reach this listener; NULL: they do not.
static const char *proxy_host(const struct listener_config *l, const struct gateway_url *gateway) {
    if (l->name_count > 0)
        return l->names[0];
    if (is_every_address(l->at.host))
        return gateway->at.host;
    if (is_loopback(l->at.host) || host_is_address(gateway->at.host))
        return is_loopback(l->at.host) && !is_loopback(gateway->at.host) ? NULL : l->at.host;
    return gateway->at.host;
}

/// A proxy that is spoken to without TLS is one that every client can speak to.
static char *find_proxy(const struct config *c, const struct gateway_url *gateway) {
    if (c->clients.proxy != NULL || c->clients.no_proxy_listener)
        return mem_strdup(c->clients.proxy);
    for (int tls = 0; tls <= 1; tls++)
        for (size_t i = 0; i < c->listener_count; i++) {
            const struct listener_config *l = &c->listeners[i];
            const char *host = l->connect != CONNECT_OFF && l->tls == (tls == 1) ? proxy_host(l, gateway) : NULL;
            if (host == NULL)
                continue;
            struct gateway_url url = url_of(l, host);
            return gateway_url_text(&url);
        }
    return NULL;
}

// --- the registries ---

static void add_host(struct site_registry *r, const char *host) {
    for (size_t i = 0; i < r->host_count; i++)
        if (strcmp(r->hosts[i], host) == 0)
            return;
    r->hosts = mem_resize(r->hosts, r->host_count + 1, sizeof *r->hosts);
    r->hosts[r->host_count++] = mem_strdup(host);
}

static void add_hosts(struct site_registry *r, char *const *hosts, size_t count) {
    for (size_t i = 0; i < count; i++)
        add_host(r, hosts[i]);
}

static void add_endpoint(struct site_registry *r, const struct endpoint *e) {
    char text[HOSTPORT_TEXT_MAX + 1];
    hostport_format(&e->at, text);
    text[hostport_shown(text)] = '\0';
    add_host(r, text);
}

/// Its own name leads to it too: docker.io is not where Docker Hub's endpoint is, and answers all the same.
static void describe(const struct registry *from, struct site_registry *to) {
    to->name = mem_strdup(from->name);
    add_hosts(to, from->home_hosts, from->home_host_count);
    for (size_t i = 0; i < from->endpoint_count; i++)
        add_endpoint(to, &from->endpoints[i]);
    if (strcmp(from->name, "*") != 0)
        add_host(to, from->name);
    if (strcmp(from->name, "docker.io") == 0)
        add_host(to, "index.docker.io");
    add_hosts(to, from->realm_hosts, from->realm_host_count);
    add_hosts(to, from->redirect_hosts, from->redirect_host_count);
}

static char **copy_list(const struct text_list *list, size_t *count) {
    char **copy = mem_zalloc(list->count + 1, sizeof *copy);
    for (size_t i = 0; i < list->count; i++)
        copy[i] = mem_strdup(list->texts[i]);
    *count = list->count;
    return copy;
}

struct client_site *config_site(const struct config *c, struct err *err) {
    struct gateway_url url;
    if (!find_gateway(c, &url, err))
        return NULL;
    struct client_site *site = mem_zalloc(1, sizeof *site);
    site->gateway = gateway_url_text(&url);
    site->host = gateway_url_host(&url);
    site->plain = url.plain;
    site->proxy = find_proxy(c, &url);
    site->message = mem_strdup(c->message);
    site->registries = mem_zalloc(c->registry_count + 1, sizeof *site->registries);
    site->registry_count = c->registry_count;
    for (size_t i = 0; i < c->registry_count; i++)
        describe(c->registries[i], &site->registries[i]);
    site->direct = copy_list(&c->clients.direct, &site->direct_count);
    site->no_proxy = copy_list(&c->clients.no_proxy, &site->no_proxy_count);
    site->takeover = c->clients.takeover;
    site->monitor = c->monitor;
    return site;
}
