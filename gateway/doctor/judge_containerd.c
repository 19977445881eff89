// SPDX-License-Identifier: Apache-2.0
//
// containerd (Kubernetes's CRI, `ctr`) and nerdctl.

#include "gateway/doctor/below.h"
#include "gateway/doctor/containerd_toml.h"
#include "gateway/doctor/doctor.h"
#include "gateway/formats/conf.h"

#include "mirrors/base/mem.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

enum { CONTAINERD_TODAY = 2, IMPORTS_MAX = 100 };

static const char config_file[] = "/etc/containerd/config.toml", certs_folder[] = "/etc/containerd/certs.d";

static enum hosts_reader reader_of(const struct machine_client *c) {
    return c->major >= CONTAINERD_TODAY ? HOSTS_CONTAINERD_2 : HOSTS_CONTAINERD_1;
}

// --- config.toml with what it imports ---

static bool read_toml(struct doctor *d, const char *client, const char *path, struct containerd_toml *out) {
    struct buf text;
    enum below found = below_text(d->root, path, &text);
    *out = (struct containerd_toml){.version = 1};
    if (found == BELOW_OK)
        containerd_toml_read(text.data, text.len, out);
    buf_deinit(&text);
    if (found == BELOW_FORBIDDEN || found == BELOW_UNUSABLE)
        doctor_unreadable(d, client, path, below_words(found));
    if (found == BELOW_OK && !out->usable)
        doctor_open(d, client, "unparsable", path, "Mend the file.", "containerd does not start with it: %s",
                    out->why.text);
    return found == BELOW_MISSING || (found == BELOW_OK && out->usable);
}

static void merge_file(struct doctor *d, const char *client, const char *path, struct containerd_toml *into) {
    struct containerd_toml more;
    if (read_toml(d, client, path, &more) && more.usable)
        containerd_toml_merge(into, &more);
    containerd_toml_deinit(&more);
}

static void merge_pattern(struct doctor *d, const char *client, const char *pattern, struct containerd_toml *into) {
    char *absolute = pattern[0] == '/' ? mem_strdup(pattern) : mem_printf("/etc/containerd/%s", pattern);
    char *slash = strrchr(absolute, '/');
    struct names all = {0};
    *slash = '\0';
    below_folder(d->root, absolute, &all);
    for (size_t i = 0; i < all.count && i < IMPORTS_MAX; i++) {
        if (fnmatch(slash + 1, all.at[i], 0) != 0)
            continue;
        char *path = mem_printf("%s/%s", absolute, all.at[i]);
        merge_file(d, client, path, into);
        free(path);
    }
    names_deinit(&all);
    free(absolute);
}

// --- CRI ---

static void judge_old_mirrors(struct doctor *d, const char *client, const struct containerd_toml *t, bool held) {
    bool gateway = false;
    for (size_t i = 0; i < t->endpoints.count; i++)
        gateway |= site_is_gateway(d->site, t->endpoints.at[i]);
    if (t->mirrors.count > 0)
        doctor_leaves(d, held, client, gateway ? "fallback" : "other_mirror", config_file,
                      "Take registry.mirrors out, and use config_path.",
                      "registry.mirrors, the old way: after its endpoints the registry itself is asked%s",
                      gateway ? ", in silence" : ", and the gateway is not among them");
}

static void judge_folders(struct doctor *d, const struct machine_client *c, const char *client, const char *list,
                          bool held, bool *uses) {
    struct names folders = {0};
    names_split(&folders, list, ":");
    bool found = false;
    for (size_t i = 0; i < folders.count; i++) {
        struct hosts_judgement hosts;
        judge_hosts(d, client, folders.at[i], reader_of(c), held, &hosts);
        found |= hosts.found;
        *uses |= hosts.gateway;
    }
    if (!found)
        doctor_leaves(d, held, client, "unused", list, "Name the gateway as `server` in its _default/hosts.toml.",
                      "there is no _default/hosts.toml: images come from the registries themselves");
    names_deinit(&folders);
}

static void judge_cri(struct doctor *d, const struct machine_client *c, const struct containerd_toml *t, bool held,
                      bool *uses) {
    if (t->cri_disabled)
        report_add(d->report, FINDING_NOTE, "direct_commands", c->name, config_file, NULL, NULL,
                   "the CRI plugin is disabled: Kubernetes does not use this containerd");
    if (t->config_path == NULL && t->misplaced != NULL)
        doctor_leaves(d, held, c->name, "unknown_key", config_file, "Move config_path to that version's table.",
                      "config_path stands where version %lld of the file does not look for it", (long long)t->version);
    judge_old_mirrors(d, c->name, t, held);
    if (t->config_path != NULL)
        judge_folders(d, c, c->name, t->config_path, held, uses);
    else if (!t->cri_disabled && t->mirrors.count == 0)
        doctor_leaves(d, held, c->name, "unused", config_file, "Set config_path of the CRI plugin.",
                      "the CRI plugin has no config_path: Kubernetes's images come from the registries themselves");
    else if (t->config_path == NULL && t->cri_disabled && below_is_folder(d->root, certs_folder))
        judge_folders(d, c, c->name, certs_folder, held, uses);
}

static void judge_commands(struct doctor *d, const struct machine_client *c) {
    report_add(d->report, FINDING_NOTE, "direct_commands", c->name, NULL,
               "Egress rules stop those; `ctr images pull --hosts-dir /etc/containerd/certs.d` uses the gateway.",
               "pullgate client firewall --nft",
               "`ctr images pull` reads hosts.toml only with --hosts-dir, and `ctr --local` has the user's own proxy");
}

void judge_containerd(struct doctor *d, const struct machine_client *c) {
    struct containerd_toml t;
    bool uses = false;
    struct doctor_proxy proxy = judge_unit_proxy(d, c, "containerd.service", NULL);
    if (read_toml(d, c->name, config_file, &t)) {
        for (size_t i = 0; i < t.imports.count; i++)
            merge_pattern(d, c->name, t.imports.at[i], &t);
        judge_cri(d, c, &t, proxy.refuses, &uses);
    }
    if (!proxy.set)
        judge_no_proxy(d, c->name, false,
                       "`urls` in a manifest, and `ctr images pull` without --hosts-dir, go past the gateway");
    judge_age(d, c, config_file, "systemctl restart containerd");
    judge_commands(d, c);
    containerd_toml_deinit(&t);
    doctor_settle(d, c->name, uses);
}

// --- nerdctl ---

/// nerdctl.toml's hosts_dir; the default where it says none.
static void hosts_dirs(struct doctor *d, const char *path, struct names *out) {
    struct buf text;
    enum below found = below_text(d->root, path, &text);
    struct err err = {0};
    struct conf_document *doc = found == BELOW_OK ? conf_parse(CONF_TOML, text.data, text.len, &err) : NULL;
    if (found == BELOW_OK && doc == NULL)
        doctor_open(d, "nerdctl", "unparsable", path, "Mend the file.", "nerdctl does not start with it: %s", err.text);
    const struct conf *list = doc != NULL ? conf_get(conf_root(doc), "hosts_dir") : NULL;
    for (const struct conf *at = list != NULL && list->type == CONF_LIST ? list->child : NULL; at != NULL;
         at = at->next)
        if (at->type == CONF_STRING)
            names_add(out, at->string);
    conf_free(doc);
    buf_deinit(&text);
    if (out->count == 0) {
        names_add(out, certs_folder);
        names_add(out, "/etc/docker/certs.d");
    }
}

void judge_nerdctl(struct doctor *d, const struct machine_client *c) {
    static const char file[] = "/etc/nerdctl/nerdctl.toml";
    struct names folders = {0};
    bool uses = false, found = false;
    hosts_dirs(d, file, &folders);
    for (size_t i = 0; i < folders.count; i++) {
        struct hosts_judgement hosts;
        judge_hosts(d, c->name, folders.at[i], HOSTS_CONTAINERD_2, false, &hosts);
        found |= hosts.found;
        uses |= hosts.gateway;
    }
    if (!found)
        doctor_open(d, c->name, "unused", certs_folder, "Name the gateway as `server` in its _default/hosts.toml.",
                    "there is no _default/hosts.toml: images come from the registries themselves");
    for (size_t i = 0; i < d->machine->homes.count; i++) {
        char *path = mem_printf("%s/.config/nerdctl/nerdctl.toml", d->machine->homes.at[i]);
        if (below_is_there(d->root, path))
            report_add(d->report, FINDING_WARNING, "user_configuration", c->name, path, "Look at it.", NULL,
                       "this user's nerdctl reads this file, and not /etc/nerdctl");
        free(path);
    }
    report_add(d->report, FINDING_NOTE, "own_options", c->name, NULL, "Egress rules stop those.",
               "pullgate client firewall --nft", "`nerdctl --hosts-dir` and --insecure-registry are the user's choice");
    names_deinit(&folders);
    doctor_settle(d, c->name, uses);
}
