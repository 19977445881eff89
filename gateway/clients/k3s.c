// SPDX-License-Identifier: Apache-2.0
//
// k3s and RKE2: they write their containerd's configuration themselves, from registries.yaml.
//
// mirrors."*" names the gateway for every registry without an entry of its own; an entry of its own, also one in
// `configs` with a password or TLS settings, makes a folder that wins over it and keeps the registry's own address. The
// flag ends the address that is otherwise tried last. The proxy that refuses holds whatever the two leave.

#include "gateway/clients/clients.h"
#include "gateway/clients/common.h"
#include "gateway/clients/rooted.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { K3S_TEXT_MAX = 1024 * 1024 };

struct flavour {
    const char *name, *folder;
    const char *units[2];
    const char *since;
};

static const struct flavour k3s = {
    "k3s", "/etc/rancher/k3s", {"k3s.service", "k3s-agent.service"}, "v1.26.13, v1.27.10, v1.28.6 and v1.29.1 (+k3s1)"};
static const struct flavour rke2 = {"rke2",
                                    "/etc/rancher/rke2",
                                    {"rke2-server.service", "rke2-agent.service"},
                                    "v1.26.13, v1.27.10, v1.28.6 and v1.29.1 (+rke2r1)"};

struct node {
    const struct flavour *f;
    struct client_plan *p;
    const struct client_site *site;
    const struct client_options *options;
    struct plan_file *registries;
};

// --- registries.yaml ---

static void set_tls(struct node *n, const char *comment, const char *value, const char *key) {
    if (value == NULL)
        return;
    char *json = json_quoted(value);
    plan_set(n->registries, comment, json, (const char *const[]){"configs", n->site->host, "tls", key, NULL});
    free(json);
}

static void plan_gateway(struct node *n) {
    char *endpoint = json_list_of(n->site->gateway);
    plan_set(n->registries, "Every registry without an entry of its own is asked of the gateway.", endpoint,
             (const char *const[]){"mirrors", "*", "endpoint", NULL});
    free(endpoint);
    set_tls(n, "The authority that signs the gateway's certificate.", n->site->ca, "ca_file");
    set_tls(n, "The certificate by which the gateway knows this machine.", n->site->certificate, "cert_file");
    set_tls(n, "Its key.", n->site->key, "key_file");
    if (n->site->header_count > 0)
        plan_open(n->p, "registries.yaml knows no headers: this node cannot send the ones that were given. Let the "
                        "gateway know it by its certificate.");
}

static void plan_direct(struct node *n, const char *registry) {
    char *url = mem_printf("%s://%s", host_is_loopback(registry) ? "http" : "https", registry),
         *endpoint = json_list_of(url);
    plan_set(n->registries, "The site means this registry to be reached directly.", endpoint,
             (const char *const[]){"mirrors", registry, "endpoint", NULL});
    free(endpoint);
    free(url);
}

static bool is_ours(const struct node *n, const char *name) {
    return strcmp(name, n->site->host) == 0 || site_is_direct(n->site, name);
}

/// What the gateway's own entries may not say.
static void plan_gateway_traps(struct node *n, const struct conf *root) {
    const char *const lax[] = {"configs", n->site->host, "tls", "insecure_skip_verify", NULL};
    const char *const rewrite[] = {"mirrors", "*", "rewrite", NULL};
    const struct conf *at = conf_at(root, lax);
    if (at != NULL && at->type == CONF_BOOL && at->boolean)
        plan_unset(n->registries, "The gateway's certificate would not be looked at.", true, lax);
    if (conf_at(root, rewrite) != NULL)
        plan_unset(n->registries, "The gateway would be asked for other names than the ones that were written.", true,
                   rewrite);
}

/// What else makes a folder of its own, and wins over "*".
static void plan_others(struct node *n, const struct conf *root, const char *table, const char *why) {
    const struct conf *entries = conf_get(root, table);
    for (const struct conf *at = entries != NULL ? entries->child : NULL; at != NULL; at = at->next) {
        bool wildcard = at->key != NULL && strcmp(at->key, "*") == 0;
        if (at->key == NULL || at->type == CONF_NULL || is_ours(n, at->key) ||
            (wildcard && strcmp(table, "mirrors") == 0))
            continue;
        plan_unset(n->registries, why, true, (const char *const[]){table, at->key, NULL});
    }
}

static void plan_registries(struct node *n) {
    char *path = mem_printf("%s/registries.yaml", n->f->folder);
    n->registries = plan_file(n->p, path, CONF_YAML);
    plan_gateway(n);
    for (size_t i = 0; i < n->site->direct_count; i++)
        plan_direct(n, n->site->direct[i]);
    struct conf_document *there = conf_there(n->options, path, CONF_YAML);
    if (there != NULL) {
        plan_gateway_traps(n, conf_root(there));
        plan_others(n, conf_root(there), "mirrors", "An entry of its own wins over \"*\" and leads past the gateway.");
        plan_others(n, conf_root(there), "configs",
                    "A password or TLS settings for a registry keep its own address in use, whatever the flag says.");
    }
    conf_free(there);
    free(path);
}

// --- config.yaml ---

static void tell_overrides(struct node *n) {
    char *folder = mem_printf("%s/config.yaml.d", n->f->folder);
    size_t count = 0;
    char **names = n->options->look ? rooted_names(n->options->root, folder, &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        char *path = mem_printf("%s/%s", folder, names[i]);
        struct conf_document *d = conf_there(n->options, path, CONF_YAML);
        if (d != NULL && conf_get(conf_root(d), "disable-default-registry-endpoint") != NULL)
            plan_left(n->p, "%s is read after config.yaml and says disable-default-registry-endpoint too: take it out.",
                      path);
        conf_free(d);
        free(path);
    }
    rooted_names_free(names, count);
    free(folder);
}

static void plan_flag(struct node *n) {
    char *path = mem_printf("%s/config.yaml", n->f->folder);
    plan_set(plan_file(n->p, path, CONF_YAML),
             "No registry's own address is tried after the gateway refused or could not be reached.", "true",
             (const char *const[]){"disable-default-registry-endpoint", NULL});
    plan_note(n->p,
              "%s knows disable-default-registry-endpoint as of %s, and does not start with a key that it does "
              "not know.",
              n->f->name, n->f->since);
    tell_overrides(n);
    free(path);
}

// --- the rest ---

static void plan_units(struct node *n) {
    if (n->site->proxy == NULL) {
        plan_open(n->p,
                  "The site has no listener that refuses CONNECT (\"connect\": \"refuse\"): what %s keeps of a "
                  "registry's own address, and `urls` that an image's manifest names, are then stopped only on "
                  "the network (`pullgate client firewall`).",
                  n->f->name);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        char *environment = mem_printf("/etc/systemd/system/%s.env", n->f->units[i]);
        char *defaults = mem_printf("/etc/default/%.*s", (int)strcspn(n->f->units[i], "."), n->f->units[i]);
        plan_proxy_unit(n->p, n->site, n->f->units[i], "CONTAINERD_", NULL);
        plan_service_rivals(n->p, n->options, n->f->units[i], "CONTAINERD_",
                            (const char *const[]){environment, defaults, NULL},
                            (const char *const[]){"--private-registry", NULL});
        free(environment);
        free(defaults);
    }
}

static bool plan_node(const struct flavour *f, const struct client_site *site, const struct client_options *options,
                      struct client_plan *p) {
    struct node n = {.f = f, .p = p, .site = site, .options = options};
    plan_registries(&n);
    plan_flag(&n);
    plan_units(&n);
    plan_run(p, "systemctl daemon-reload && systemctl restart %s    # on an agent: %s", f->units[0], f->units[1]);
    plan_open(p, "Archives below /var/lib/rancher/%s/agent/images are imported when %s starts, without asking anybody.",
              f->name, f->name);
    plan_open(p,
              "With the embedded registry mirror (embedded-registry: true) nodes give each other what one of them has "
              "pulled; the gateway decided about that one pull only.");
    plan_note(p, "The files are generated from %s's documents and source, and were not run in our tests.", f->name);
    return true;
}

bool plan_k3s(const struct client_site *site, const struct client_options *options, struct client_plan *p,
              struct err *err) {
    return plan_node(&k3s, site, options, p);
}

bool plan_rke2(const struct client_site *site, const struct client_options *options, struct client_plan *p,
               struct err *err) {
    return plan_node(&rke2, site, options, p);
}
