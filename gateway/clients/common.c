// SPDX-License-Identifier: Apache-2.0
//
// What the plans of several clients have in common; see common.h.

#include "gateway/clients/common.h"

#include "gateway/clients/look.h"
#include "gateway/clients/rooted.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { SHARED_TEXT_MAX = 256 * 1024 };

// --- names ---

char *host_without_port(const char *host) {
    if (host[0] == '[') {
        const char *end = strchr(host, ']');
        return end != NULL ? mem_strndup(host + 1, (size_t)(end - host) - 1) : mem_strdup(host + 1);
    }
    const char *colon = strchr(host, ':');
    bool one = colon != NULL && strchr(colon + 1, ':') == NULL;
    return one ? mem_strndup(host, (size_t)(colon - host)) : mem_strdup(host);
}

bool host_is_loopback(const char *host) {
    char *name = host_without_port(host);
    bool yes = strcmp(name, "localhost") == 0 || strncmp(name, "127.", 4) == 0 || strcmp(name, "::1") == 0;
    free(name);
    return yes;
}

bool site_is_direct(const struct client_site *site, const char *host) {
    for (size_t i = 0; i < site->direct_count; i++)
        if (strcmp(site->direct[i], host) == 0)
            return true;
    return false;
}

bool is_wildcard(const char *name) {
    return strchr(name, '*') != NULL;
}

bool list_holds(const char *list, const char *name) {
    size_t len = strlen(name);
    for (const char *at = list; at != NULL && (at = strchr(at, ',')) != NULL; at++)
        if (strncmp(at + 1, name, len) == 0 && (at[1 + len] == ',' || at[1 + len] == '\0'))
            return true;
    return false;
}

char *json_quoted(const char *s) {
    struct buf b;
    buf_init(&b, SHARED_TEXT_MAX);
    buf_add_json(&b, s, strlen(s));
    return buf_steal(&b);
}

char *json_list_of(const char *s) {
    char *string = json_quoted(s), *list = mem_printf("[%s]", string);
    free(string);
    return list;
}

// --- the proxy that refuses ---

/// "*.corp.example.com" is ".corp.example.com" for clients that are written in Go.
static void add_no_proxy(struct buf *b, const char *host) {
    char *name = host_without_port(host);
    buf_addf(b, "%s%s", b->len > 0 ? "," : "", strncmp(name, "*.", 2) == 0 ? name + 1 : name);
    free(name);
}

char *site_no_proxy_text(const struct client_site *site, const char *more) {
    struct buf b;
    buf_init(&b, SHARED_TEXT_MAX);
    add_no_proxy(&b, site->host);
    for (size_t i = 0; i < site->direct_count; i++)
        add_no_proxy(&b, site->direct[i]);
    for (size_t i = 0; i < site->no_proxy_count; i++)
        buf_addf(&b, ",%s", strncmp(site->no_proxy[i], "*.", 2) == 0 ? site->no_proxy[i] + 1 : site->no_proxy[i]);
    buf_adds(&b, more != NULL ? more : "");
    return buf_steal(&b);
}

// --- hosts.toml ---

static void add_line(struct buf *b, const char *comment, const char *key, const char *value) {
    buf_addf(b, "# %s\n%s = ", comment, key);
    buf_add_json(b, value, strlen(value));
    buf_adds(b, "\n");
}

static void add_headers(struct buf *b, const struct client_site *site) {
    if (site->header_count == 0)
        return;
    buf_adds(b, "# Sent with every request; the gateway's rules may ask for it.\n[header]\n");
    for (size_t i = 0; i < site->header_count; i++) {
        buf_add_json(b, site->headers[i].name, strlen(site->headers[i].name));
        buf_adds(b, " = ");
        buf_add_json(b, site->headers[i].value, strlen(site->headers[i].value));
        buf_adds(b, "\n");
    }
}

static void add_identity(struct buf *b, const struct client_site *site) {
    if (site->ca != NULL)
        add_line(b, "The authority that signs the gateway's certificate.", "ca", site->ca);
    if (site->certificate == NULL)
        return;
    buf_adds(b, "# The certificate and key by which the gateway knows this machine.\nclient = [[");
    buf_add_json(b, site->certificate, strlen(site->certificate));
    buf_adds(b, ", ");
    buf_add_json(b, site->key, strlen(site->key));
    buf_adds(b, "]]\n");
}

/// What follows the line with the server.
static void add_server(struct buf *b, const struct client_site *site) {
    buf_adds(b, "# Tags are resolved and content is pulled there; nothing is pushed.\n"
                "capabilities = [\"pull\", \"resolve\"]\n");
    add_identity(b, site);
    add_headers(b, site);
    buf_adds(b, "# No host but the server. Without this line containerd before 2.0 ignores the file and goes to the "
                "registry.\n[host]\n");
}

static void default_hosts(const struct client_site *site, const char *who, struct buf *b) {
    buf_addf(b, PULLGATE_MARK ". %s asks this file about every registry that has no folder of its own beside it.\n",
             who);
    add_line(b, "The one server that is asked; without this line a registry itself is asked after a refusal.", "server",
             site->gateway);
    add_server(b, site);
}

static void direct_hosts(const char *registry, struct buf *b) {
    char *url = mem_printf("%s://%s", host_is_loopback(registry) ? "http" : "https", registry);
    buf_addf(b, PULLGATE_MARK ". The site means this registry to be reached directly, for pulls and pushes.\n");
    add_line(b, "Its own address, because _default would send it to the gateway.", "server", url);
    buf_adds(b, "# No host but the server; containerd before 2.0 wants this line.\n[host]\n");
    free(url);
}

void plan_taken_hosts(struct client_plan *p, const struct client_site *site, const char *folder, const char *name) {
    struct buf b;
    buf_init(&b, SHARED_TEXT_MAX);
    char *url = mem_printf("https://%s", strcmp(name, "docker.io") == 0 ? "registry-1.docker.io" : name);
    char *path = mem_printf("%s/%s/hosts.toml", folder, name);
    buf_adds(&b, PULLGATE_MARK " --takeover.\n");
    add_line(&b, "The registry's own name, which leads to the gateway here.", "server", url);
    add_server(&b, site);
    plan_text(p, path, site->header_count > 0 ? 0600 : 0644, b.data);
    free(path);
    free(url);
    buf_deinit(&b);
}

/// A folder that somebody made for it stays as it is: it says more (a CA) than ours would.
static bool is_theirs(const struct client_options *options, const char *folder, const char *file) {
    if (!options->look || !rooted_has(options->root, folder))
        return false;
    struct buf text;
    buf_init(&text, SHARED_TEXT_MAX);
    bool ours =
        rooted_look(options->root, file, &text) && strncmp(text.data, PULLGATE_MARK, sizeof PULLGATE_MARK - 1) == 0;
    buf_deinit(&text);
    return !ours;
}

static void plan_direct(struct client_plan *p, const struct client_options *options, const char *folder,
                        const char *registry) {
    char *path = mem_printf("%s/%s", folder, registry), *file = mem_printf("%s/hosts.toml", path);
    if (!is_theirs(options, path, file)) {
        struct buf b;
        buf_init(&b, SHARED_TEXT_MAX);
        direct_hosts(registry, &b);
        plan_text(p, file, 0644, b.data);
        buf_deinit(&b);
    }
    free(path);
    free(file);
}

/// "registry.example.com_5000_" is "registry.example.com:5000": both are looked for.
static bool same_registry(const char *folder, const char *registry) {
    size_t len = strlen(folder);
    if (strcmp(folder, registry) == 0)
        return true;
    const char *colon = strrchr(registry, ':');
    if (colon == NULL || len != strlen(registry) + 1 || folder[len - 1] != '_')
        return false;
    size_t host = (size_t)(colon - registry);
    return strncmp(folder, registry, host) == 0 && folder[host] == '_' &&
           strncmp(folder + host + 1, colon + 1, len - host - 2) == 0;
}

static bool may_stay(const struct client_site *site, const char *taken, const char *name) {
    if (strcmp(name, "_default") == 0 || same_registry(name, site->host) || list_holds(taken, name))
        return true;
    for (size_t i = 0; i < site->direct_count; i++)
        if (same_registry(name, site->direct[i]))
            return true;
    return false;
}

static bool is_kept_copy(const char *name) {
    return strstr(name, ".pullgate-aside") != NULL || strstr(name, ".pullgate-backup") != NULL;
}

/// The gateway's own folder may hold certificates, but no hosts.toml that leads away from it.
static bool leads_elsewhere(const struct client_site *site, const struct client_options *options, const char *file) {
    if (!rooted_has(options->root, file))
        return false;
    struct conf_document *d = conf_there(options, file, CONF_TOML);
    const struct conf *root = d != NULL ? conf_root(d) : NULL, *hosts = conf_get(root, "host");
    const char *server = conf_get_string(root, "server");
    bool right = server != NULL && strcmp(server, site->gateway) == 0 && (hosts == NULL || hosts->count == 0);
    conf_free(d);
    return !right;
}

static void plan_gateway_hosts(struct client_plan *p, const struct client_site *site,
                               const struct client_options *options, const char *folder) {
    char *file = mem_printf("%s/hosts.toml", folder);
    if (leads_elsewhere(site, options, file))
        plan_aside(p, file, "it sends what is asked of the gateway by its own name elsewhere", NULL);
    free(file);
}

static void plan_others(struct client_plan *p, const struct client_site *site, const struct client_options *options,
                        const char *folder, const char *taken) {
    size_t count = 0;
    char **names = options->look ? rooted_names(options->root, folder, &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        char *path = mem_printf("%s/%s", folder, names[i]), *inside = mem_printf("%s/.", path);
        if (same_registry(names[i], site->host))
            plan_gateway_hosts(p, site, options, path);
        if (!may_stay(site, taken, names[i]) && !is_kept_copy(names[i]) && rooted_has(options->root, inside))
            plan_aside(p, path,
                       "a folder for one registry wins over _default, even an empty one, and leads past the gateway",
                       folder);
        free(path);
        free(inside);
    }
    rooted_names_free(names, count);
}

void plan_hosts_folder(struct client_plan *p, const struct client_site *site, const struct client_options *options,
                       const char *folder, const char *who, const char *taken) {
    struct buf b;
    buf_init(&b, SHARED_TEXT_MAX);
    default_hosts(site, who, &b);
    char *path = mem_printf("%s/_default/hosts.toml", folder);
    plan_text(p, path, site->header_count > 0 ? 0600 : 0644, b.data);
    free(path);
    buf_deinit(&b);
    for (size_t i = 0; i < site->direct_count; i++)
        plan_direct(p, options, folder, site->direct[i]);
    plan_others(p, site, options, folder, taken);
    if (site->header_count > 0)
        plan_note(p, "The headers are sent to whatever server the gateway redirects to as well; where they say who "
                     "asks, let the gateway not redirect, or use a certificate instead.");
}

// --- what is there ---

struct conf_document *conf_there(const struct client_options *options, const char *path, enum conf_format format) {
    return options->look ? look_conf(options->root, path, format) : NULL;
}
