// SPDX-License-Identifier: Apache-2.0
//
// containerd (Kubernetes's CRI, `ctr`) and nerdctl.

#include "gateway/doctor/below.h"
#include "gateway/doctor/containerd_toml.h"
#include "gateway/doctor/daemon_env.h"
#include "gateway/doctor/doctor.h"
#include "gateway/formats/conf.h"

#include "mirrors/base/mem.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

enum { CONTAINERD_TODAY = 2, REFERRERS_MINOR = 2, IMPORTS_MAX = 100 };

static const char standard_file[] = "/etc/containerd/config.toml", certs_folder[] = "/etc/containerd/certs.d";
static const char unit[] = "containerd.service";

static enum hosts_reader reader_of(const struct machine_client *c) {
    if (machine_at_least(c, CONTAINERD_TODAY, REFERRERS_MINOR))
        return HOSTS_CONTAINERD_2_2;
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
        doctor_unparsable(d, client, path, "containerd does not start with it: %s", out->why.text);
    return found == BELOW_MISSING || (found == BELOW_OK && out->usable);
}

/// What a pattern of `imports` means: beside the file that says it, where it is relative.
static void add_matching(struct doctor *d, const char *client, const char *file, const char *pattern,
                         struct names *paths) {
    char *absolute = pattern[0] == '/' ? mem_strdup(pattern)
                                       : mem_printf("%.*s/%s", (int)(strrchr(file, '/') - file), file, pattern);
    char *slash = strrchr(absolute, '/');
    struct names all = {0};
    *slash = '\0';
    if (strpbrk(absolute, "*?[") != NULL)
        doctor_unreadable(d, client, file,
                          "it imports files of folders that are named by a pattern, which is not read");
    else if (below_folder(d->root, absolute, &all) == BELOW_FORBIDDEN)
        doctor_unreadable(d, client, absolute, "the folder of what config.toml imports may not be read");
    for (size_t i = 0; i < all.count; i++) {
        if (fnmatch(slash + 1, all.at[i], 0) != 0)
            continue;
        char *path = mem_printf("%s/%s", absolute, all.at[i]);
        names_add_once(paths, path);
        free(path);
    }
    names_deinit(&all);
    free(absolute);
}

/// The file, then what it imports, then what those import. False: it cannot be told what containerd would do.
static bool read_all(struct doctor *d, const struct machine_client *c, const char *file, struct containerd_toml *out) {
    struct names paths = {0};
    bool usable = true;
    *out = (struct containerd_toml){.version = 1};
    names_add(&paths, file);
    for (size_t i = 0; usable && i < paths.count && i < IMPORTS_MAX; i++) {
        struct containerd_toml more;
        usable = read_toml(d, c->name, paths.at[i], &more);
        for (size_t j = 0; usable && j < more.imports.count; j++)
            add_matching(d, c->name, paths.at[i], more.imports.at[j], &paths);
        if (usable && i == 0)
            out->version = more.version;
        if (usable)
            containerd_toml_merge(out, &more, c->major < CONTAINERD_TODAY);
        containerd_toml_deinit(&more);
    }
    if (paths.count > IMPORTS_MAX)
        doctor_unreadable(d, c->name, file, "it imports more files than are looked at");
    names_deinit(&paths);
    return usable;
}

/// "": as good as not said.
static const char *config_path(const struct containerd_toml *t) {
    return t->config_path != NULL && t->config_path[0] != '\0' ? t->config_path : NULL;
}

// --- CRI ---

static void judge_old_mirrors(struct doctor *d, const char *client, const char *file, const struct containerd_toml *t,
                              bool held) {
    bool gateway = false;
    for (size_t i = 0; i < t->endpoints.count; i++)
        gateway |= site_is_gateway(d->site, t->endpoints.at[i]);
    if (t->mirrors.count > 0)
        doctor_leaves(d, held, client, gateway ? "fallback" : "other_mirror", file,
                      "Take registry.mirrors out, and use config_path.",
                      "registry.mirrors, the old way: after its endpoints the registry itself is asked%s",
                      gateway ? ", in silence" : ", and the gateway is not among them");
}

/// The first folder that has the registry's directory or `_default` decides; those behind a `_default` never do.
static void judge_each(struct doctor *d, const char *client, const struct names *folders, enum hosts_reader reader,
                       bool held, bool *uses) {
    bool found = false, over = false;
    for (size_t i = 0; i < folders->count && !over; i++) {
        struct hosts_judgement hosts;
        judge_hosts(d, client, folders->at[i], reader, held, &hosts);
        found |= hosts.found;
        over = hosts.standard;
        *uses |= hosts.gateway;
    }
    if (!found)
        doctor_leaves(d, held, client, "unused", folders->count > 0 ? folders->at[0] : certs_folder,
                      "Name the gateway as `server` in its _default/hosts.toml.",
                      "there is no _default/hosts.toml: images come from the registries themselves");
}

static void judge_folders(struct doctor *d, const struct machine_client *c, const char *list, bool held, bool *uses) {
    struct names folders = {0};
    names_split(&folders, list, ":");
    if (folders.count > 1 && (c->major == 0 || c->major >= CONTAINERD_TODAY))
        doctor_leaves(
            d, held, c->name, "unused", list, "Have config_path name one folder.",
            "config_path names several folders, which Kubernetes's pulls in containerd 2.1 and newer take for "
            "the name of one that is not there: images come from the registries themselves");
    judge_each(d, c->name, &folders, reader_of(c), held, uses);
    names_deinit(&folders);
}

static void judge_cri(struct doctor *d, const struct machine_client *c, const char *file,
                      const struct containerd_toml *t, bool held, bool *uses) {
    if (t->cri_disabled)
        report_add(d->report, FINDING_NOTE, "direct_commands", c->name, file, NULL, NULL,
                   "the CRI plugin is disabled: Kubernetes does not use this containerd");
    if (config_path(t) == NULL && t->misplaced != NULL)
        doctor_leaves(d, held, c->name, "unknown_key", file, "Move config_path to that version's table.",
                      "config_path stands where version %lld of the file does not look for it", (long long)t->version);
    judge_old_mirrors(d, c->name, file, t, held);
    if (config_path(t) != NULL)
        judge_folders(d, c, config_path(t), held, uses);
    else if (!t->cri_disabled && t->mirrors.count == 0)
        doctor_leaves(d, held, c->name, "unused", file, "Set config_path of the CRI plugin.",
                      "the CRI plugin has no config_path: Kubernetes's images come from the registries themselves");
    else if (t->cri_disabled && below_is_folder(d->root, certs_folder))
        judge_folders(d, c, certs_folder, held, uses);
}

static void judge_commands(struct doctor *d, const struct machine_client *c) {
    report_add(d->report, FINDING_NOTE, "direct_commands", c->name, NULL,
               "Egress rules stop those; `ctr images pull --hosts-dir /etc/containerd/certs.d` uses the gateway.",
               "pullgate client firewall --nft",
               "`ctr images pull` reads hosts.toml only with --hosts-dir, and `ctr --local` has the user's own proxy");
}

static char *file_of(struct doctor *d, const struct machine_client *c) {
    struct names words = {0};
    daemon_words(d, c, unit, &words);
    const char *file = option_last(&words, "--config");
    file = file != NULL ? file : option_last(&words, "-c");
    char *found = mem_strdup(file != NULL && file[0] == '/' ? file : standard_file);
    names_deinit(&words);
    return found;
}

void judge_containerd(struct doctor *d, const struct machine_client *c) {
    struct containerd_toml t;
    bool uses = false;
    char *file = file_of(d, c);
    struct doctor_proxy proxy = judge_unit_proxy(d, c, unit, NULL, NULL);
    if (read_all(d, c, file, &t))
        judge_cri(d, c, file, &t, proxy.refuses, &uses);
    if (!proxy.set)
        judge_no_proxy(d, c->name, false,
                       "`urls` in a manifest, and `ctr images pull` without --hosts-dir, go past the gateway");
    judge_age(d, c, file, "systemctl restart containerd");
    judge_commands(d, c);
    containerd_toml_deinit(&t);
    free(file);
    doctor_settle(d, c->name, uses);
}

// --- nerdctl ---

/// nerdctl.toml's hosts_dir; left empty where it says none.
static void read_nerdctl(struct doctor *d, const char *path, struct names *out) {
    struct buf text;
    enum below found = below_text(d->root, path, &text);
    struct err err = {0};
    struct conf_document *doc = found == BELOW_OK ? conf_parse(CONF_TOML, text.data, text.len, &err) : NULL;
    if (found == BELOW_OK && doc == NULL)
        doctor_unparsable(d, "nerdctl", path, "nerdctl does not start with it: %s", err.text);
    if (found == BELOW_FORBIDDEN || found == BELOW_UNUSABLE)
        doctor_unreadable(d, "nerdctl", path, below_words(found));
    const struct conf *root = doc != NULL ? conf_root(doc) : NULL;
    const struct conf *list = conf_get(root, "hosts_dir"), *insecure = conf_get(root, "insecure_registry");
    for (const struct conf *at = list != NULL && list->type == CONF_LIST ? list->child : NULL; at != NULL;
         at = at->next)
        if (at->type == CONF_STRING)
            names_add(out, at->string);
    if (insecure != NULL && insecure->type == CONF_BOOL && insecure->boolean)
        doctor_open(d, "nerdctl", "insecure_registry", path, "Take insecure_registry out.",
                    "no certificate is checked: whoever stands between can pose as the gateway");
    conf_free(doc);
    buf_deinit(&text);
}

/// `home` is "" for root's; a user's own has other files and folders.
static void judge_nerdctl_of(struct doctor *d, const char *file, const char *home, bool *uses) {
    struct names folders = {0};
    read_nerdctl(d, file, &folders);
    bool said = folders.count > 0;
    for (size_t i = 0; i < 2 && !said; i++) {
        static const char *const standard[] = {"containerd/certs.d", "docker/certs.d"};
        char *folder = mem_printf("%s%s/%s", home, home[0] != '\0' ? "/.config" : "/etc", standard[i]);
        names_add(&folders, folder);
        free(folder);
    }
    judge_each(d, "nerdctl", &folders, HOSTS_CONTAINERD_2, false, uses);
    names_deinit(&folders);
}

static bool has_rootless(struct doctor *d, const char *home, const char *file) {
    char *unit_file = mem_printf("%s/.config/systemd/user/containerd.service", home);
    bool has = below_is_there(d->root, file) || below_is_there(d->root, unit_file);
    free(unit_file);
    return has;
}

static void judge_users_nerdctl(struct doctor *d, const char *home) {
    char *file = mem_printf("%s/.config/nerdctl/nerdctl.toml", home);
    struct doctor apart = *d;
    bool uses = false;
    if (has_rootless(d, home, file)) {
        apart.report = report_new();
        judge_nerdctl_of(&apart, file, home, &uses);
        doctor_users_own(d, "nerdctl", file, apart.report,
                         "this user's own nerdctl (rootless) reads this file and folders beside it, and not /etc");
        report_free(apart.report);
    }
    free(file);
}

void judge_nerdctl(struct doctor *d, const struct machine_client *c) {
    bool uses = false;
    judge_nerdctl_of(d, "/etc/nerdctl/nerdctl.toml", "", &uses);
    for (size_t i = 0; i < d->machine->homes.count; i++)
        judge_users_nerdctl(d, d->machine->homes.at[i]);
    judge_closed_homes(d, c->name);
    report_add(d->report, FINDING_NOTE, "own_options", c->name, NULL, "Egress rules stop those.",
               "pullgate client firewall --nft", "`nerdctl --hosts-dir` and --insecure-registry are the user's choice");
    doctor_settle(d, c->name, uses);
}
