// SPDX-License-Identifier: Apache-2.0
//
// k3s and RKE2: registries.yaml, and the setting that ends the registry's own address. Read from their documents; they
// were not run.

#include "gateway/doctor/below.h"
#include "gateway/doctor/daemon_env.h"
#include "gateway/doctor/doctor.h"
#include "gateway/doctor/k3s.h"

#include "mirrors/base/mem.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_TEXT = 128 };

struct k3s {
    struct doctor *d;
    const char *client;
    char registries[PATH_MAX], config[PATH_MAX], folder[PATH_TEXT];
    struct names words;     ///< The command line.
    enum k3s_said disabled; ///< The registry's own address is left out.
    bool held;
    bool uses;
};

// --- config.yaml ---

static void take_path(char into[PATH_MAX], const char *path) {
    if (path != NULL && path[0] == '/' && strlen(path) < PATH_MAX)
        memmove(into, path, strlen(path) + 1);
}

static void read_config(struct k3s *k, const char *path) {
    struct buf text;
    struct err err = {0};
    enum below found = below_text(k->d->root, path, &text);
    enum k3s_said said = found == BELOW_OK ? k3s_default_endpoint_disabled(text.data, text.len, &err) : K3S_UNSAID;
    char *registries = found == BELOW_OK ? k3s_private_registry(text.data, text.len) : NULL;
    take_path(k->registries, registries);
    if (found == BELOW_FORBIDDEN || found == BELOW_UNUSABLE)
        doctor_unreadable(k->d, k->client, path, below_words(found));
    if (said == K3S_UNPARSABLE)
        doctor_unparsable(k->d, k->client, path, "%s does not start with it: %s", k->client, err.text);
    else if (said != K3S_UNSAID)
        k->disabled = said;
    free(registries);
    buf_deinit(&text);
}

static void read_words(struct k3s *k) {
    static const char flag[] = "--disable-default-registry-endpoint";
    take_path(k->registries, option_last(&k->words, "--private-registry"));
    for (size_t i = 1; i < k->words.count; i++) {
        const char *word = k->words.at[i];
        if (strncmp(word, flag, strlen(flag)) == 0 && (word[strlen(flag)] == '\0' || word[strlen(flag)] == '='))
            k->disabled = strcmp(word + strlen(flag), "=false") == 0 ? K3S_NO : K3S_YES;
    }
}

/// config.yaml, its drop-ins, the command line: what is said last counts.
static void read_settings(struct k3s *k) {
    struct names files = {0};
    take_path(k->config, option_last(&k->words, "--config"));
    take_path(k->config, option_last(&k->words, "-c"));
    names_add(&files, k->config);
    below_matching(k->d->root, k->folder, ".yaml", &files);
    for (size_t i = 0; i < files.count; i++)
        read_config(k, files.at[i]);
    read_words(k);
    names_deinit(&files);
}

static void judge_default_endpoint(struct k3s *k) {
    if (k->disabled != K3S_YES && k->uses)
        doctor_leaves(k->d, k->held, k->client, "fallback", k->config, "Set disable-default-registry-endpoint: true.",
                      "after the gateway the registry itself is asked, in silence");
}

/// A template of containerd's configuration may lead it to other folders than those that are written from
/// registries.yaml.
static void judge_templates(struct k3s *k) {
    static const char *const names[] = {"config.toml.tmpl", "config-v3.toml.tmpl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_printf("/var/lib/rancher/%s/agent/etc/containerd/%s", k->client, names[i]);
        if (below_is_there(k->d->root, path))
            report_add(k->d->report, FINDING_UNKNOWN, "user_configuration", k->client, path,
                       "See that its config_path is the folder that registries.yaml is written to.", NULL,
                       "containerd's configuration is made from this template, which is not judged");
        free(path);
    }
}

// --- registries.yaml ---

static void judge_mirror(struct k3s *k, const struct k3s_mirror *m) {
    bool gateway = site_is_gateway(k->d->site, m->name);
    if (gateway)
        return;
    if (site_is_wanted(k->d->site, m->name)) {
        report_add(k->d->report, FINDING_NOTE, "direct", k->client, k->registries, NULL, NULL,
                   "%s is reached directly, as the site wants it", m->name);
        return;
    }
    for (size_t i = 0; i < m->endpoints.count; i++) {
        if (site_is_gateway(k->d->site, m->endpoints.at[i]))
            gateway = true;
        else
            doctor_leaves(k->d, k->held, k->client, "other_mirror", k->registries, "Name the gateway alone.",
                          "images of %s are asked of %s too", strcmp(m->name, "*") == 0 ? "every registry" : m->name,
                          m->endpoints.at[i]);
    }
    k->uses |= gateway;
    if (!gateway && m->endpoints.count == 0 && strcmp(m->name, "*") != 0)
        doctor_leaves(k->d, k->held, k->client, "host_directory", k->registries, "Take this entry out.",
                      "line %u: an entry of its own without an endpoint: images of %s come from the registry itself",
                      m->line, m->name);
}

static void judge_listed(struct k3s *k, const struct k3s_registries *r) {
    const struct k3s_mirror *every = k3s_mirror(r, "*");
    for (size_t i = 0; i < r->mirror_count; i++)
        judge_mirror(k, &r->mirrors[i]);
    if (every == NULL || every->endpoints.count == 0)
        doctor_leaves(k->d, k->held, k->client, k->uses ? "unlisted_registry" : "unused", k->registries,
                      "Name the gateway as the endpoint of mirrors.\"*\".",
                      "registries without an entry of their own are asked directly: there is no \"*\"");
    for (size_t i = 0; i < r->configs.count; i++) {
        const char *host = r->configs.at[i];
        if (!site_is_gateway(k->d->site, host) && !site_is_wanted(k->d->site, host) && k3s_mirror(r, host) == NULL &&
            strcmp(host, "*") != 0)
            doctor_leaves(k->d, k->held, k->client, "host_directory", k->registries, "Take this entry out of configs.",
                          "settings of its own for %s win over \"*\": its images come past the gateway", host);
    }
}

static void judge_tls(struct k3s *k, const struct k3s_registries *r) {
    bool named = false;
    for (size_t i = 0; i < r->tls_count; i++) {
        const struct k3s_tls *t = &r->tls[i];
        if (!site_is_gateway(k->d->site, t->name))
            continue;
        if (t->insecure)
            doctor_open(k->d, k->client, "insecure_registry", k->registries, "Take insecure_skip_verify out.",
                        "the gateway's certificate is not checked: whoever stands between can pose as it");
        named |= t->ca != NULL;
        if (t->ca != NULL)
            judge_ca(k->d, k->client, t->ca, k->registries);
        if (t->certificate != NULL)
            judge_certificate(k->d, k->client, t->certificate, t->key);
    }
    if (!named)
        judge_no_ca(k->d, k->client, k->registries);
}

static void judge_registries(struct k3s *k) {
    struct buf text;
    struct k3s_registries r = {0};
    enum below found = below_text(k->d->root, k->registries, &text);
    if (found == BELOW_OK)
        k3s_registries_read(text.data, text.len, &r);
    buf_deinit(&text);
    if (found == BELOW_MISSING)
        doctor_leaves(k->d, k->held, k->client, "unused", k->registries, "Write one.",
                      "there is none: images come from the registries themselves");
    else if (found != BELOW_OK)
        doctor_unreadable(k->d, k->client, k->registries, below_words(found));
    else if (!r.usable)
        doctor_unparsable(k->d, k->client, k->registries, "%s does not start with it: %s", k->client, r.why.text);
    else {
        judge_listed(k, &r);
        judge_tls(k, &r);
    }
    k3s_registries_deinit(&r);
}

/// A server, else an agent.
static struct doctor_proxy read_daemon(struct k3s *k, const struct machine_client *c) {
    static const char *const ends[] = {"-server.service", "-agent.service"};
    struct doctor_proxy proxy = {0};
    for (size_t i = 0; i < sizeof ends / sizeof *ends && !proxy.set; i++) {
        bool bare = i == 0 && strcmp(c->name, "k3s") == 0;
        char *unit = mem_printf("%s%s", c->name, bare ? ".service" : ends[i]);
        proxy = judge_unit_proxy(k->d, c, unit, "CONTAINERD_", NULL);
        if (k->words.count == 0)
            daemon_words(k->d, c, unit, &k->words);
        free(unit);
    }
    return proxy;
}

void judge_k3s(struct doctor *d, const struct machine_client *c) {
    struct k3s k = {.d = d, .client = c->name};
    snprintf(k.registries, sizeof k.registries, "/etc/rancher/%s/registries.yaml", c->name);
    snprintf(k.config, sizeof k.config, "/etc/rancher/%s/config.yaml", c->name);
    snprintf(k.folder, sizeof k.folder, "/etc/rancher/%s/config.yaml.d", c->name);
    struct doctor_proxy proxy = read_daemon(&k, c);
    k.held = proxy.refuses;
    read_settings(&k);
    judge_registries(&k);
    judge_default_endpoint(&k);
    judge_templates(&k);
    judge_age(d, c, k.registries,
              strcmp(c->name, "k3s") == 0 ? "systemctl restart k3s" : "systemctl restart rke2-server");
    if (!proxy.set)
        judge_no_proxy(d, c->name, false, "`urls` in a manifest go past the gateway");
    names_deinit(&k.words);
    doctor_settle(d, c->name, k.uses);
}
