// SPDX-License-Identifier: Apache-2.0
//
// buildkitd on its own, and the builders that `docker buildx create` makes.
//
// buildkitd asks the mirrors of a registry in turn and then, always and in silence, the registry itself; nothing in
// buildkitd.toml ends that, and no entry stands for all registries. What ends it is the proxy that refuses, in the
// daemon's environment. A source policy says the same from the client's side: it ends even a build on a daemon that
// somebody else has configured, but only a client that gives it.

#include "gateway/clients/clients.h"
#include "gateway/clients/common.h"
#include "gateway/clients/look.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define BUILDKITD_TOML "/etc/buildkit/buildkitd.toml"
#define SOURCE_POLICY "/etc/buildkit/pullgate-source-policy.json"

// --- buildkitd.toml ---

static void set(struct plan_file *f, const char *why, const char *host, const char *key, const char *value) {
    const char *const path[] = {"registry", host, key, NULL};
    plan_set(f, why, value, path);
}

static void trust(struct plan_file *f, const struct client_site *site, const char *host) {
    if (site->ca != NULL) {
        char *ca = json_list_of(site->ca);
        set(f, "Who signed the gateway's certificate.", host, "ca", ca);
        free(ca);
    }
    if (site->certificate != NULL) {
        char *certificate = json_quoted(site->certificate), *key = json_quoted(site->key);
        char *pair = mem_printf("[{\"key\": %s, \"cert\": %s}]", key, certificate);
        set(f, "What this machine shows to the gateway.", host, "keypair", pair);
        free(pair);
        free(key);
        free(certificate);
    }
    if (site->plain)
        set(f, "The gateway is asked without TLS.", host, "http", "true");
}

static void mirror(struct plan_file *f, const struct client_site *site, const char *registry) {
    char *host = json_list_of(site->host);
    set(f, "Asked of the gateway first. What it does not give, buildkitd asks of the registry: see the proxy.",
        registry, "mirrors", host);
    free(host);
}

static void plan_registries(struct plan_file *f, const struct client_site *site, struct client_plan *plan) {
    trust(f, site, site->host);
    for (size_t i = 0; i < site->registry_count; i++) {
        const char *name = site->registries[i].name;
        if (is_wildcard(name))
            plan_open(plan,
                      "%s: buildkitd knows no wildcards. Its registries are asked directly%s, unless an image is "
                      "written %s/NAME/….",
                      name, site->proxy != NULL ? " (which the proxy refuses)" : "", site->host);
        else if (site->takeover)
            trust(f, site, name);
        else
            mirror(f, site, name);
    }
}

static bool served(const struct client_site *site, const char *name) {
    for (size_t i = 0; i < site->registry_count; i++)
        if (strcmp(site->registries[i].name, name) == 0)
            return true;
    return strcmp(site->host, name) == 0 || site_is_direct(site, name);
}

/// Entries of the file that is there: certificates that nobody looks at, and mirrors besides the gateway.
static void look_at_entry(struct plan_file *f, const struct client_site *site, const struct conf *entry) {
    static const char *const lax[] = {"insecure", "http"};
    for (size_t i = 0; i < sizeof lax / sizeof *lax; i++) {
        const struct conf *at = conf_get(entry, lax[i]);
        const char *const path[] = {"registry", entry->key, lax[i], NULL};
        bool wanted = site_is_direct(site, entry->key) || (site->plain && strcmp(entry->key, site->host) == 0);
        if (at != NULL && at->type == CONF_BOOL && at->boolean && !wanted)
            plan_unset(f, "It would be asked without a look at its certificate.", true, path);
    }
    const char *const mirrors[] = {"registry", entry->key, "mirrors", NULL};
    if (!served(site, entry->key) && conf_get(entry, "mirrors") != NULL)
        plan_unset(f, "Mirrors of a registry that the gateway does not serve.", true, mirrors);
}

static void look_at_file(struct plan_file *f, const struct client_site *site, const struct client_options *options) {
    struct conf_document *d = conf_there(options, BUILDKITD_TOML, CONF_TOML);
    const struct conf *registries = d != NULL ? conf_get(conf_root(d), "registry") : NULL;
    for (const struct conf *e = registries != NULL ? registries->child : NULL; e != NULL; e = e->next)
        if (e->key != NULL && e->type == CONF_TABLE)
            look_at_entry(f, site, e);
    conf_free(d);
}

// --- source policy ---

static void rule(struct buf *b, const char *action, const char *scheme, const char *host, const char *rest) {
    char *identifier = mem_printf("%s%s%s", scheme, host, rest);
    buf_addf(b, "%s    { \"action\": \"%s\", \"selector\": { \"identifier\": ", b->len > 20 ? ",\n" : "", action);
    buf_add_json(b, identifier, strlen(identifier));
    buf_adds(b, " }");
    free(identifier);
}

static void convert(struct buf *b, const struct client_site *site, const char *registry) {
    char *to = mem_printf("docker-image://%s/%s/${1}", site->host, registry);
    rule(b, "CONVERT", "docker-image://", registry, "/*");
    buf_adds(b, ", \"updates\": { \"identifier\": ");
    buf_add_json(b, to, strlen(to));
    buf_adds(b, " } }");
    free(to);
}

static void simple(struct buf *b, const char *action, const char *scheme, const char *host, const char *rest) {
    rule(b, action, scheme, host, rest);
    buf_adds(b, " }");
}

/// A host without the wildcard's first label is what the rest of the pattern matches on.
static void allow(struct buf *b, const char *host) {
    static const char *const schemes[] = {"https://", "http://", "git://"};
    const char *name = host[0] == '.' ? host + 1 : host;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        simple(b, "ALLOW", schemes[i], name, "/*");
        if (host[0] == '.')
            simple(b, "ALLOW", schemes[i], host, "/*");
    }
}

static bool is_host(const char *what) {
    return strchr(what, '/') == NULL && strchr(what, '*') == NULL && what[0] != '.';
}

/// The last rule that matches wins; a conversion starts the rules again, with the new name.
static char *source_policy(const struct client_site *site) {
    static const char *const denied[] = {
        "docker-image://", "docker-image+blob://", "oci-layout://", "oci-layout+blob://", "https://", "http://",
        "git://"};
    struct buf b;
    buf_init(&b, CONF_TEXT_MAX);
    buf_adds(&b, "{\n  \"rules\": [\n");
    for (size_t i = 0; i < site->registry_count && !site->takeover; i++)
        if (is_host(site->registries[i].name) && strchr(site->registries[i].name, ':') == NULL)
            convert(&b, site, site->registries[i].name);
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
        simple(&b, "DENY", denied[i], "*", "");
    simple(&b, "ALLOW", "docker-image://", site->host, "/*");
    simple(&b, "ALLOW", "docker-image+blob://", site->host, "/*");
    for (size_t i = 0; i < site->registry_count && site->takeover; i++)
        if (is_host(site->registries[i].name))
            simple(&b, "ALLOW", "docker-image://", site->registries[i].name, "/*");
    for (size_t i = 0; i < site->direct_count; i++)
        if (is_host(site->direct[i])) {
            simple(&b, "ALLOW", "docker-image://", site->direct[i], "/*");
            allow(&b, site->direct[i]);
        }
    for (size_t i = 0; i < site->no_proxy_count; i++)
        if (is_host(site->no_proxy[i]))
            allow(&b, site->no_proxy[i]);
    buf_adds(&b, "\n  ]\n}\n");
    return buf_steal(&b);
}

static void plan_policy(const struct client_site *site, struct client_plan *plan) {
    char *text = source_policy(site);
    plan_text(plan, SOURCE_POLICY, 0644, text);
    free(text);
    plan_note(plan, "The source policy is the client's: EXPERIMENTAL_BUILDKIT_SOURCE_POLICY=" SOURCE_POLICY
                    " in the environment of `docker buildx build`, `buildctl build --source-policy-file " SOURCE_POLICY
                    "`. With it a build does not leave the gateway however its daemon is configured; it also denies "
                    "ADD and git contexts from hosts that are not in \"no_proxy\", and OCI layouts.");
}

// --- builders ---

/// The value of a --driver-opt is read as CSV: what holds a comma stands in double quotes of its own.
static char *builder_options(const struct client_site *site) {
    if (site->proxy == NULL)
        return mem_strdup("");
    char *no_proxy = site_no_proxy_text(site, NULL);
    char *options = mem_printf(" --driver-opt env.HTTP_PROXY=%s --driver-opt env.HTTPS_PROXY=%s"
                               " --driver-opt '\"env.NO_PROXY=%s\"'",
                               site->proxy, site->proxy, no_proxy);
    free(no_proxy);
    return options;
}

static void plan_builders(const struct client_site *site, struct client_plan *plan) {
    static const char *const drivers[] = {"docker-container", "kubernetes"};
    char *options = builder_options(site);
    plan_run(plan, "# Builders of buildx, where they are used, are made anew:");
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        plan_run(
            plan,
            "docker buildx create --use --bootstrap --name pullgate%s --driver %s --buildkitd-config " BUILDKITD_TOML
            "%s",
            i == 0 ? "" : "-k8s", drivers[i], options);
    free(options);
    plan_note(plan, "buildx takes the file's certificates along into the builder. The image of the builder itself "
                    "(moby/buildkit) is pulled by the engine or the cluster: docker.io must be served.");
    plan_note(plan, "Rootless buildkitd reads ~/.config/buildkit/buildkitd.toml instead, with the same content.");
}

// --- what stays open ---

static void tell_open(const struct client_site *site, struct client_plan *plan) {
    if (site->proxy == NULL)
        plan_open(plan,
                  "The site has no proxy that refuses (a listener with \"connect\": \"refuse\"), so that buildkitd "
                  "goes to the registry itself, in silence, whenever the gateway denies or is down, and to every "
                  "registry that is not listed. `pullgate client firewall` closes that.");
    else
        plan_open(plan, "RUN steps have their own network and no proxy unless the build gives them one: RUN curl and "
                        "RUN skopeo copy go where the network lets them. `pullgate client firewall` closes that.");
    plan_open(plan, "A builder that somebody makes with a configuration of their own (docker buildx create without "
                    "these options) goes where it likes; its traffic is still forwarded by this machine, where "
                    "`pullgate client firewall` stops it.");
    plan_open(plan, "Tokens, `docker buildx imagetools` and registry caches are asked for by the client's own process, "
                    "in the user's environment and not in buildkitd's.");
}

bool plan_buildkit(const struct client_site *site, const struct client_options *options, struct client_plan *plan,
                   struct err *err) {
    struct plan_file *f = plan_file(plan, BUILDKITD_TOML, CONF_TOML);
    plan_registries(f, site, plan);
    look_at_file(f, site, options);
    plan_proxy_unit(plan, site, "buildkit.service", "", NULL);
    plan_service_rivals(plan, options, "buildkit.service", site->proxy != NULL ? "_PROXY=" : NULL, NULL, NULL);
    plan_policy(site, plan);
    plan_run(plan, "systemctl daemon-reload && systemctl restart buildkit");
    plan_builders(site, plan);
    if (site->header_count > 0)
        plan_note(plan, "The site's headers cannot be sent: buildkitd.toml has no setting for them.");
    tell_open(site, plan);
    return true;
}
