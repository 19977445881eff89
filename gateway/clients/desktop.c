// SPDX-License-Identifier: Apache-2.0
//
// Docker Desktop: admin-settings.json, the file that its Settings Management reads on each machine.
//
// One content for the three systems; it is written where Linux has it, and the places of the others are told. Values
// that are locked cannot be changed by the person at the machine. Docker Desktop heeds the file only for people who are
// signed in to an organization with a Business subscription.

#include "gateway/clients/clients.h"
#include "gateway/clients/common.h"
#include "gateway/clients/look.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SETTINGS_LINUX "/usr/share/docker-desktop/admin-settings.json"
#define SETTINGS_MAC "/Library/Application Support/com.docker.docker/admin-settings.json"
#define SETTINGS_WINDOWS "C:\\ProgramData\\DockerDesktop\\admin-settings.json"

static void set(struct plan_file *f, const char *why, const char *value, const char *group, const char *name,
                const char *key) {
    const char *const deep[] = {group, name, key, NULL}, *const flat[] = {group, key, NULL};
    plan_set(f, why, value, name != NULL ? deep : flat);
}

static void lock(struct plan_file *f, const char *why, const char *value, const char *group, const char *name) {
    set(f, why, value, group, name, "value");
    set(f, "The person at the machine cannot change it.", "true", group, name, "locked");
}

// --- the engine ---

/// daemon.json inside of a JSON string.
static char *daemon_options(const struct client_site *site) {
    char *mirror = json_list_of(site->gateway);
    char *insecure = site->plain ? json_list_of(site->host) : NULL;
    char *options = insecure != NULL
                        ? mem_printf("{\"registry-mirrors\":%s,\"insecure-registries\":%s}", mirror, insecure)
                        : mem_printf("{\"registry-mirrors\":%s}", mirror);
    char *quoted = json_quoted(options);
    free(options);
    free(insecure);
    free(mirror);
    return quoted;
}

/// What the site has in dockerDaemonOptions besides stays: the plan does not replace another's daemon.json unseen.
static bool options_there(const struct client_options *options, const char *group, const char *ours) {
    const char *const path[] = {group, "dockerDaemonOptions", NULL};
    struct conf_document *d = conf_there(options, SETTINGS_LINUX, CONF_JSON);
    const struct conf *at = d != NULL ? conf_at(conf_root(d), path) : NULL;
    const char *value = conf_get_string(at, "value");
    char *quoted = value != NULL ? json_quoted(value) : NULL;
    bool there = value != NULL && value[0] != '\0' && strcmp(value, "{}") != 0 && strcmp(quoted, ours) != 0;
    free(quoted);
    conf_free(d);
    return there;
}

static void plan_engine(struct plan_file *f, const struct client_site *site, const struct client_options *options,
                        struct client_plan *plan) {
    static const char *const groups[] = {"linuxVM", "windowsContainers"};
    char *quoted = daemon_options(site);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (options_there(options, groups[i], quoted))
            plan_note(
                plan,
                "%s.dockerDaemonOptions held a daemon.json of the site's own. It is replaced: bring what else was "
                "in it (it is in the backup) together with \"registry-mirrors\": [\"%s\"] by hand.",
                groups[i], site->gateway);
        lock(f, "The engine's daemon.json, as a string: docker.io is asked of the gateway.", quoted, groups[i],
             "dockerDaemonOptions");
    }
    free(quoted);
}

// --- the proxies ---

static char *exclude_list(const struct client_site *site) {
    char *no_proxy = site_no_proxy_text(site, NULL), *rest = NULL;
    struct buf b;
    buf_init(&b, CONF_TEXT_MAX);
    buf_adds(&b, "[");
    for (char *at = strtok_r(no_proxy, ",", &rest); at != NULL; at = strtok_r(NULL, ",", &rest)) {
        buf_adds(&b, b.len > 1 ? ", " : "");
        buf_add_json(&b, at, strlen(at));
    }
    buf_adds(&b, "]");
    free(no_proxy);
    return buf_steal(&b);
}

static void plan_proxy(struct plan_file *f, const struct client_site *site, const char *group, const char *what) {
    char *proxy = json_quoted(site->proxy), *exclude = exclude_list(site);
    set(f, what, "true", group, NULL, "locked");
    set(f, "Not the system's proxy, but this one.", "\"manual\"", group, NULL, "mode");
    set(f, "It refuses, and says why.", proxy, group, NULL, "http");
    set(f, "It refuses, and says why.", proxy, group, NULL, "https");
    set(f, "Asked without it: the gateway, and what the site means to be reached.", exclude, group, NULL, "exclude");
    set(f, "A PAC file would win over http and https.", "\"\"", group, NULL, "pac");
    set(f, "The same.", "\"\"", group, NULL, "embeddedPac");
    free(exclude);
    free(proxy);
}

static void plan_proxies(struct plan_file *f, const struct client_site *site, struct client_plan *plan) {
    if (site->proxy == NULL) {
        plan_open(plan, "The site has no proxy that refuses (a listener with \"connect\": \"refuse\"): every registry "
                        "but docker.io is pulled from directly, and docker.io too when the gateway denies or is down.");
        return;
    }
    plan_proxy(f, site, "containersProxy", "Every pull of the engine goes this way.");
    set(f, "Containers' own traffic on these ports goes this way too: skopeo in a container, ADD in a build.",
        "\"80,443,5000\"", "containersProxy", NULL, "transparentPorts");
    plan_note(plan, "containersProxy with transparentPorts closes the web to containers and RUN steps, registries or "
                    "not: what they need belongs into \"no_proxy\" of the gateway's \"clients\".");
    plan_note(plan,
              "\"proxy\" (Docker Desktop's own traffic: signing in, updates, extensions) is left as it is: people "
              "must be able to sign in, or the file is not heeded. `docker login`, `search` and `manifest "
              "inspect` of the CLI go directly.");
}

// --- the rest ---

static void plan_others(struct plan_file *f, const struct client_site *site) {
    char *repository = mem_printf("%s/docker.io/docker", site->host), *quoted = json_quoted(repository);
    static const char *const version[] = {"configurationFileVersion", NULL};
    plan_set(f, "The form of this file.", "2", version);
    lock(f, "`docker load` brings images that no registry has seen.", "true", "blockDockerLoad", NULL);
    lock(f, "An engine that anybody on the network can tell to pull.", "false", "exposeDockerAPIOnTCP2375", NULL);
    set(f, "Docker Desktop's Kubernetes gets its own images from the gateway.", quoted, "kubernetes", NULL,
        "imagesRepository");
    free(quoted);
    free(repository);
}

static void tell(const struct client_site *site, struct client_plan *plan) {
    plan_note(plan, "Generated, not run: Docker Desktop was not at hand. Its keys are as documented for 2026.");
    plan_note(plan, "The same file belongs, in UTF-8 without a byte order mark, to " SETTINGS_MAC " on macOS and to "
                    "" SETTINGS_WINDOWS " on Windows, where only administrators may write; enforce sign-in "
                    "(\"allowedOrgs\"), or it is not heeded.");
    plan_note(plan, "Quit Docker Desktop and open it again afterwards; a restart from its menu is not enough.");
    if (site->ca != NULL)
        plan_note(plan,
                  "Docker Desktop takes certificate authorities from the system: put %s into the Windows "
                  "certificate store (Trusted Root) or the macOS key chain.",
                  site->ca);
    if (site->certificate != NULL)
        plan_note(plan, "A client certificate goes to ~/.docker/certs.d/%s/client.cert and client.key of each person.",
                  site->host);
    plan_note(plan, "Enhanced Container Isolation and Registry Access Management are left as they are; with isolation "
                    "on, nobody changes these settings from inside of the virtual machine.");
    plan_open(plan,
              "Whoever is not signed in to the organization: the file is ignored. `wsl -d docker-desktop` is root "
              "in the virtual machine.");
    plan_open(plan, "Builders of their own (`docker buildx create`), `docker login`, search and manifest inspect: see "
                    "`pullgate client buildkit` and `pullgate client firewall --windows`.");
}

bool plan_desktop(const struct client_site *site, const struct client_options *options, struct client_plan *plan,
                  struct err *err) {
    struct plan_file *f = plan_file(plan, SETTINGS_LINUX, CONF_JSON);
    plan_others(f, site);
    plan_proxies(f, site, plan);
    plan_engine(f, site, options, plan);
    tell(site, plan);
    return true;
}
