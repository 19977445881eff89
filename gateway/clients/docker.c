// SPDX-License-Identifier: Apache-2.0
//
// dockerd: both stores of Docker Engine 29, and the versions before it back to 20.10.
//
// The containerd store and every BuildKit obey certs.d/_default/hosts.toml, which leaves them no other server. The
// graphdriver store (all there was before Docker 29) knows mirrors only, and leaves them for Docker Hub after any
// failure: what stops it is the proxy that refuses. It stands in daemon.json as of 23.0, which reads it however the
// daemon is started; an older one does not start with a key that it does not know, and gets its environment from
// systemd.

#include "gateway/clients/clients.h"
#include "gateway/clients/common.h"
#include "gateway/clients/takeover.h"
#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { DOCKER_TEXT_MAX = 64 * 1024, PROXIES_SINCE = 23 };

static const char daemon_json[] = "/etc/docker/daemon.json", certs_d[] = "/etc/docker/certs.d";

struct docker {
    struct client_plan *p;
    const struct client_site *site;
    const struct client_options *options;
    struct plan_file *daemon;
    char version[VERSION_TEXT_MAX]; ///< "" when it is not known.
    char *taken_over;               ///< ",ghcr.io,…" with --takeover, else NULL.
};

static bool is_old(const struct docker *d) {
    return d->version[0] != '\0' && version_major(d->version) < PROXIES_SINCE;
}

static void find_version(struct docker *d) {
    if (d->options->docker_version != NULL)
        snprintf(d->version, sizeof d->version, "%s", d->options->docker_version);
    else if (!installed_version(d->options, "dockerd", d->version))
        d->version[0] = '\0';
}

static void set(struct docker *d, const char *comment, const char *value, const char *key, const char *inner) {
    char *json = json_quoted(value);
    plan_set(d->daemon, comment, json, (const char *const[]){key, inner, NULL});
    free(json);
}

// --- the proxy ---

static void plan_proxies_key(struct docker *d) {
    char *no_proxy = site_no_proxy_text(d->site, d->taken_over);
    set(d, "Whatever dockerd would ask of anything but the gateway is refused there, with a sentence that it prints.",
        d->site->proxy, "proxies", "http-proxy");
    set(d, "The same for https, which is what registries speak.", d->site->proxy, "proxies", "https-proxy");
    set(d, "Reached without it: the gateway itself, and what the site means to be reached directly.", no_proxy,
        "proxies", "no-proxy");
    free(no_proxy);
}

/// Left by a plan for a newer daemon: this one would not start.
static void take_proxies_key_out(struct docker *d) {
    struct conf_document *there = conf_there(d->options, daemon_json, CONF_JSON);
    if (there != NULL && conf_get(conf_root(there), "proxies") != NULL)
        plan_unset(d->daemon, "dockerd before 23.0 does not start with this key.", false,
                   (const char *const[]){"proxies", NULL});
    conf_free(there);
}

static void plan_proxy(struct docker *d) {
    if (d->site->proxy == NULL) {
        plan_open(d->p, "The site has no listener that refuses CONNECT (\"connect\": \"refuse\"). Without it `docker "
                        "pull` of Docker before 29, and of Docker 29 with the graphdriver store, goes on to Docker Hub "
                        "when the gateway refuses, and asks every other registry itself; so do `docker login`, `docker "
                        "search`, `docker pull -a` and `ADD https://…` on every version.");
        return;
    }
    if (!is_old(d)) {
        plan_proxies_key(d);
        if (d->version[0] == '\0')
            plan_note(d->p, "dockerd before 23.0 does not know \"proxies\" and does not start with it. For such a "
                            "daemon use --docker-version 20.10, which writes a drop-in for systemd in its place.");
        return;
    }
    take_proxies_key_out(d);
    plan_proxy_unit(d->p, d->site, "docker.service", "", d->taken_over);
    plan_open(d->p,
              "A dockerd %s that is not started by systemd does not read the drop-in: start it with the HTTP_PROXY, "
              "HTTPS_PROXY and NO_PROXY that stand in it, or it goes to the registries itself.",
              d->version);
}

// --- registries without TLS ---

static bool may_be_insecure(const struct docker *d, const char *host) {
    return host_is_loopback(host) || strncmp(host, "127.0.0.0/", 10) == 0 || strcmp(host, "::1/128") == 0 ||
           (d->site->plain && strcmp(host, d->site->host) == 0) || site_is_direct(d->site, host);
}

/// The list less what may not stay; false when nothing has to go.
static bool without_insecure(const struct docker *d, const struct conf *list, struct buf *kept) {
    bool goes = false;
    buf_adds(kept, "[");
    for (const struct conf *at = list->child; at != NULL; at = at->next) {
        bool stays = at->type == CONF_STRING && may_be_insecure(d, at->string);
        goes = goes || !stays;
        if (!stays)
            continue;
        buf_adds(kept, kept->len > 1 ? "," : "");
        buf_add_json(kept, at->string, at->string_len);
    }
    buf_adds(kept, "]");
    return goes;
}

static void plan_insecure(struct docker *d) {
    struct conf_document *there = conf_there(d->options, daemon_json, CONF_JSON);
    const struct conf *list = there != NULL ? conf_get(conf_root(there), "insecure-registries") : NULL;
    struct buf kept;
    buf_init(&kept, DOCKER_TEXT_MAX);
    if (list != NULL && list->type == CONF_LIST && without_insecure(d, list, &kept)) {
        const char why[] = "Registries that are asked without TLS, where a hosts file or DNS can put anything in "
                           "their place.";
        const char *const path[] = {"insecure-registries", NULL};
        if (strcmp(kept.data, "[]") == 0)
            plan_unset(d->daemon, why, true, path);
        else
            plan_set_strict(d->daemon, why, kept.data, path);
    }
    buf_deinit(&kept);
    conf_free(there);
}

// --- the gateway as mirror and server ---

static void plan_gateway_folder(struct docker *d) {
    static const struct {
        const char *name;
        size_t at;
    } files[] = {{"ca.crt", offsetof(struct client_site, ca)},
                 {"client.cert", offsetof(struct client_site, certificate)},
                 {"client.key", offsetof(struct client_site, key)}};
    for (size_t i = 0; !d->site->plain && i < sizeof files / sizeof files[0]; i++) {
        const char *target = *(char *const *)((const char *)d->site + files[i].at);
        char *path = mem_printf("%s/%s/%s", certs_d, d->site->host, files[i].name);
        if (target != NULL)
            plan_link(d->p, path, target);
        free(path);
    }
}

static void plan_mirror(struct docker *d) {
    char *mirrors = json_list_of(d->site->gateway);
    plan_set(d->daemon,
             "Images of Docker Hub are asked of the gateway. (The containerd store asks _default/hosts.toml "
             "too, for every registry.)",
             mirrors, (const char *const[]){"registry-mirrors", NULL});
    free(mirrors);
    plan_hosts_folder(d->p, d->site, d->options, certs_d, "dockerd", NULL);
    plan_gateway_folder(d);
}

/// Flags of the command line and daemon.json may not say the same: dockerd does not start.
static void tell_rivals(struct docker *d) {
    static const char *const files[] = {"/etc/default/docker", NULL};
    static const char *const flags[] = {"--registry-mirror",
                                        "--insecure-registry",
                                        "--http-proxy",
                                        "--https-proxy",
                                        "--no-proxy",
                                        "--config-file",
                                        NULL};
    bool environment = is_old(d) && d->site->proxy != NULL; // A newer one takes daemon.json's word.
    plan_service_rivals(d->p, d->options, "docker.service", environment ? "_PROXY=" : NULL, files, flags);
    if (!d->options->look)
        plan_note(d->p, "dockerd does not start when a flag of its command line (--registry-mirror, --http-proxy, "
                        "--insecure-registry) says what daemon.json says too: take such a flag out.");
}

static void tell_open(struct docker *d) {
    plan_open(d->p, "`docker manifest inspect` and `docker buildx imagetools inspect` run in the client, with the "
                    "user's own environment: they read manifests (no layers) from the registry itself.");
    plan_open(d->p,
              "Builders of `docker buildx create` with a driver of their own (docker-container, kubernetes, remote) "
              "have a configuration of their own: `pullgate client buildkit`.");
    plan_open(d->p, "`docker load`, `docker import` and images that are on the machine already ask nobody.");
    plan_open(d->p, "What runs inside of a container (`RUN curl …`) is not dockerd's: `pullgate client firewall` stops "
                    "it on the network.");
    plan_open(d->p, "Whoever may change these files, or run another daemon, is not held by them; a rootless dockerd "
                    "reads ~/.config/docker. `pullgate doctor` finds it, `pullgate client firewall` stops it.");
}

bool plan_docker(const struct client_site *site, const struct client_options *options, struct client_plan *p,
                 struct err *err) {
    struct docker d = {.p = p, .site = site, .options = options};
    d.daemon = plan_file(p, daemon_json, CONF_JSON);
    find_version(&d);
    if (options->takeover) {
        if (!plan_takeover(p, site, options, &d.taken_over, err))
            return false;
        plan_unset(d.daemon, "A mirror is asked before the registry's own name, under which the gateway is.", true,
                   (const char *const[]){"registry-mirrors", NULL});
    } else {
        plan_mirror(&d);
        plan_no_takeover(p, options);
    }
    plan_proxy(&d);
    plan_insecure(&d);
    tell_rivals(&d);
    if (site->header_count > 0)
        plan_note(p, "Headers are sent by what reads hosts.toml. The graphdriver store (all there is before Docker 29) "
                     "reads none for `docker pull`: let the gateway know such a machine by its certificate.");
    plan_run(p, is_old(&d) && site->proxy != NULL ? "systemctl daemon-reload && systemctl restart docker"
                                                  : "systemctl restart docker");
    tell_open(&d);
    free(d.taken_over);
    return true;
}
