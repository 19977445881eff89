// SPDX-License-Identifier: Apache-2.0
//
// buildkitd, and builders that `docker buildx create` made. buildkitd goes to the registry itself whenever a mirror
// fails, and no setting of its own ends that: it needs the proxy that refuses.

#include "gateway/doctor/below.h"
#include "gateway/doctor/buildkitd.h"
#include "gateway/doctor/daemon_env.h"
#include "gateway/doctor/doctor.h"
#include "gateway/formats/conf.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char name[] = "buildkit", unit[] = "buildkit.service", standard_file[] = "/etc/buildkit/buildkitd.toml";

// --- builders of users' own ---

/// Does every node of the builder have the proxy that refuses? Then what its mirrors do not give it gets nowhere.
static bool is_held(struct doctor *d, const char *client, const char *path, const struct conf *root) {
    const struct conf *nodes = conf_get(root, "Nodes");
    bool held = nodes != NULL && nodes->type == CONF_LIST && nodes->child != NULL;
    for (const struct conf *at = held ? nodes->child : NULL; at != NULL; at = at->next) {
        const struct conf *options = conf_get(at, "DriverOpts");
        const char *http = conf_get_string(options, "env.HTTP_PROXY");
        const char *https = conf_get_string(options, "env.HTTPS_PROXY");
        held &= judge_proxy(d, client, path, http, https, conf_get_string(options, "env.NO_PROXY")).refuses;
    }
    return held;
}

static void judge_driver(struct doctor *d, const char *client, const char *path, const struct conf *root) {
    const char *driver = conf_get_string(root, "Driver");
    if (driver == NULL || strcmp(driver, "docker") == 0)
        return;
    bool held = is_held(d, client, path, root);
    report_add(
        d->report, held ? FINDING_NOTE : FINDING_OPEN, "own_builder", client, path,
        held ? NULL
             : "Create it again with --buildkitd-config and the proxy's environment, as `pullgate client buildkit` "
               "prints them; egress rules hold it in any case.",
        held ? NULL : "pullgate client buildkit",
        "a builder of the driver \"%s\" reads neither dockerd's mirrors nor its certs.d%s", driver,
        held ? "; it has the gateway's proxy, which refuses all" : "");
}

void judge_builder(struct doctor *d, const char *client, const char *path) {
    struct buf text;
    enum below found = below_text(d->root, path, &text);
    struct conf_document *doc = found == BELOW_OK ? conf_parse(CONF_JSON, text.data, text.len, NULL) : NULL;
    if (doc != NULL)
        judge_driver(d, client, path, conf_root(doc));
    else if (found == BELOW_FORBIDDEN)
        doctor_unreadable(d, client, path, below_words(found));
    conf_free(doc);
    buf_deinit(&text);
}

// --- buildkitd.toml ---

static void judge_mirrors(struct doctor *d, const char *file, const struct buildkitd_registry *r, bool held) {
    bool gateway = false;
    for (size_t i = 0; i < r->mirrors.count; i++) {
        if (site_is_gateway(d->site, r->mirrors.at[i]))
            gateway = true;
        else
            doctor_leaves(d, held, name, "other_mirror", file, "Name the gateway alone.",
                          "images of %s are asked of %s too", r->name, r->mirrors.at[i]);
    }
    if (!gateway && r->mirrors.count == 0)
        doctor_leaves(d, held, name, "unlisted_registry", file, "Name the gateway as its mirror.",
                      "%s has no mirror: its images come from the registry itself", r->name);
}

static void judge_registries(struct doctor *d, const char *file, const struct buildkitd *b, bool held, bool *uses) {
    for (size_t i = 0; d->site != NULL && i < d->site->registry_count; i++) {
        const char *registry = d->site->registries[i].name;
        const struct buildkitd_registry *r = buildkitd_registry(b, registry);
        if (r != NULL)
            judge_mirrors(d, file, r, held);
        else if (strchr(registry, '*') == NULL && !doctor_taken_over(d, registry))
            doctor_leaves(d, held, name, "unlisted_registry", file, "Name the gateway as its mirror.",
                          "%s is not listed: its images come from the registry itself", registry);
    }
    for (size_t i = 0; i < b->count; i++)
        for (size_t j = 0; j < b->registries[i].mirrors.count; j++)
            *uses |= site_is_gateway(d->site, b->registries[i].mirrors.at[j]);
    if (buildkitd_registry(b, "*") != NULL)
        report_add(d->report, FINDING_WARNING, "unknown_key", name, file, "List each registry.", fix_command(name),
                   "[registry.\"*\"] means nothing to buildkitd: each registry must be named");
}

static void judge_gateway(struct doctor *d, const char *file, const struct buildkitd *b) {
    const struct buildkitd_registry *r = NULL;
    for (size_t i = 0; i < b->count && r == NULL; i++)
        if (site_is_gateway(d->site, b->registries[i].name))
            r = &b->registries[i];
    if (r != NULL && (r->insecure || (r->plain && !d->site->plain)))
        doctor_open(d, name, "insecure_registry", file,
                    "Take \"insecure\" and \"http\" out, and name the gateway's CA.",
                    "the gateway's certificate is not checked: whoever stands between can pose as it");
    for (size_t i = 0; r != NULL && i < r->ca.count; i++)
        judge_ca(d, name, r->ca.at[i], file);
    for (size_t i = 0; r != NULL && i + 1 < r->keys.count; i += 2)
        judge_certificate(d, name, r->keys.at[i], r->keys.at[i + 1]);
    if (r == NULL || (r->ca.count == 0 && !r->plain))
        judge_no_ca(d, name, file);
}

static void judge_file(struct doctor *d, const char *file, const struct buf *text, bool held, bool *uses) {
    struct buildkitd b;
    buildkitd_read(text->data, text->len, &b);
    if (!b.usable)
        doctor_unparsable(d, name, file, "buildkitd does not start with it: %s", b.why.text);
    else {
        judge_registries(d, file, &b, held, uses);
        judge_gateway(d, file, &b);
        if (!*uses)
            doctor_leaves(d, held, name, "unused", file, "Name the gateway as the mirror of each registry.",
                          "no registry has the gateway as its mirror: images come from the registries themselves");
        else if (!held)
            doctor_open(d, name, "fallback", file, "Have it use the gateway's proxy, which refuses all.",
                        "after its mirrors buildkitd asks the registry itself, in silence; no setting of this file "
                        "ends that");
    }
    buildkitd_deinit(&b);
}

/// A rootless buildkitd has the environment of the user's own unit, in which nobody but that user has a say.
static void judge_users(struct doctor *d, const struct machine_client *c) {
    bool found = c->rootless;
    for (size_t i = 0; i < d->machine->homes.count; i++) {
        char *path = mem_printf("%s/.config/buildkit/buildkitd.toml", d->machine->homes.at[i]);
        if (below_is_there(d->root, path)) {
            found = false;
            report_add(d->report, FINDING_OPEN, "user_configuration", name, path,
                       "Keep users from daemons of their own; egress rules stop what they do.",
                       "pullgate client firewall --nft",
                       "a buildkitd of this user's own (rootless) reads this file, and not /etc/buildkit");
        }
        free(path);
    }
    if (found)
        report_add(d->report, FINDING_OPEN, "user_configuration", name, NULL,
                   "Keep users from daemons of their own; egress rules stop what they do.",
                   "pullgate client firewall --nft", "a buildkitd of a user's own (rootless) runs");
    judge_closed_homes(d, name);
}

static char *file_of(struct doctor *d, const struct machine_client *c) {
    struct names words = {0};
    daemon_words(d, c, unit, &words);
    const char *file = option_last(&words, "--config");
    char *found = mem_strdup(file != NULL ? file : standard_file);
    names_deinit(&words);
    return found;
}

/// True: it uses the gateway.
static bool judge_daemon(struct doctor *d, const char *file, struct doctor_proxy proxy) {
    struct buf text;
    bool uses = false;
    enum below found = below_text(d->root, file, &text);
    if (found == BELOW_OK)
        judge_file(d, file, &text, proxy.refuses, &uses);
    else if (found == BELOW_MISSING)
        doctor_leaves(d, proxy.refuses, name, "unused", file, "Write one.",
                      "there is none: images come from the registries themselves");
    else
        doctor_unreadable(d, name, file, below_words(found));
    if (!proxy.set)
        judge_no_proxy(d, name, uses,
                       "what the gateway refuses, and ADD https://..., goes to the registries themselves");
    buf_deinit(&text);
    return uses;
}

static void judge_other_daemon(struct doctor *d, const struct machine_client *c, pid_t pid) {
    struct machine_client theirs = {.name = c->name, .version = c->version, .major = c->major, .pid = pid};
    struct proxy_settings nothing = {0};
    struct doctor apart = *d;
    apart.report = report_new();
    char *file = file_of(&apart, &theirs);
    judge_daemon(&apart, file, judge_process_proxy(&apart, &theirs, &nothing));
    doctor_other_daemon(d, name, pid, apart.report);
    free(file);
    report_free(apart.report);
}

void judge_buildkit(struct doctor *d, const struct machine_client *c) {
    char *file = file_of(d, c);
    bool uses = judge_daemon(d, file, judge_unit_proxy(d, c, unit, NULL, NULL));
    judge_age(d, c, file, "systemctl restart buildkit");
    for (size_t i = 0; i < c->others.count; i++)
        judge_other_daemon(d, c, c->others.at[i]);
    judge_users(d, c);
    free(file);
    doctor_settle(d, name, uses);
}
