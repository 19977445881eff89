// SPDX-License-Identifier: Apache-2.0
//
// containerd (CRI and its transfer service), nerdctl, and a Kubernetes node whose runtime is looked up.
//
// _default/hosts.toml with `server` leaves containerd no other place to ask. CRI reads it where `config_path` says so,
// a key whose place depends on the version of config.toml; a file of version 2 is understood by every containerd from
// 1.3 to 2.3, so that is what an empty machine gets.

#include "gateway/clients/clients.h"
#include "gateway/clients/common.h"
#include "gateway/clients/rooted.h"
#include "mirrors/base/mem.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONTAINERD_TEXT_MAX = 1024 * 1024, VERSION_OLDEST = 1, VERSION_FRESH = 2, VERSION_SPLIT = 3 };

static const char config_toml[] = "/etc/containerd/config.toml", certs_d[] = "/etc/containerd/certs.d";

// --- config.toml ---

struct toml {
    struct client_plan *p;
    const struct client_options *options;
    struct plan_file *file;
    const struct conf *root; ///< NULL: there is none, it says nothing, or it does not parse.
    const char *plugin;      ///< The plugin that holds `registry` in this version.
};

static int64_t version_of(const struct conf *root) {
    const struct conf *version = conf_get(root, "version");
    if (root == NULL)
        return VERSION_FRESH;
    return version != NULL && version->type == CONF_INTEGER ? version->integer : VERSION_OLDEST;
}

static const char *plugin_of(int64_t version) {
    if (version >= VERSION_SPLIT)
        return "io.containerd.cri.v1.images";
    return version == VERSION_FRESH ? "io.containerd.grpc.v1.cri" : "cri";
}

static const struct conf *registry_of(const struct toml *t) {
    return conf_get(conf_get(conf_get(t->root, "plugins"), t->plugin), "registry");
}

/// What containerd does not start with beside config_path. True when there was something.
static bool plan_conflicts(const struct toml *t) {
    static const char why[] = "containerd does not start with this beside config_path, and it leads past the gateway.";
    const struct conf *mirrors = conf_get(registry_of(t), "mirrors"), *configs = conf_get(registry_of(t), "configs");
    bool found = mirrors != NULL && mirrors->count > 0;
    if (found)
        plan_unset(t->file, why, true, (const char *const[]){"plugins", t->plugin, "registry", "mirrors", NULL});
    for (const struct conf *at = configs != NULL ? configs->child : NULL; at != NULL; at = at->next) {
        if (at->key == NULL || conf_get(at, "tls") == NULL)
            continue;
        plan_unset(t->file, why, true,
                   (const char *const[]){"plugins", t->plugin, "registry", "configs", at->key, "tls", NULL});
        found = true;
    }
    return found;
}

static void plan_config_path(const struct toml *t) {
    const char *const path[] = {"plugins", t->plugin, "registry", "config_path", NULL};
    char *value = json_quoted(certs_d);
    if (plan_conflicts(t))
        plan_set_strict(t->file, "CRI is to read /etc/containerd/certs.d; the old mirrors must go first.", value, path);
    else
        plan_set(t->file, "Where CRI reads which server to ask: _default/hosts.toml there names the gateway.", value,
                 path);
    free(value);
}

static void tell_disabled(const struct toml *t) {
    const struct conf *list = conf_get(t->root, "disabled_plugins");
    for (const struct conf *at = list != NULL ? list->child : NULL; at != NULL; at = at->next)
        if (at->type == CONF_STRING && strstr(at->string, "cri") != NULL)
            plan_note(t->p,
                      "%s has CRI switched off (disabled_plugins), as Docker's packages deliver it: Kubernetes "
                      "cannot use this containerd.",
                      config_toml);
}

static bool says_registry(const struct client_options *options, const char *path) {
    struct buf text;
    buf_init(&text, CONTAINERD_TEXT_MAX);
    bool says = rooted_look(options->root, path, &text) && text.data != NULL &&
                (strstr(text.data, "config_path") != NULL || strstr(text.data, "registry.mirrors") != NULL);
    buf_deinit(&text);
    return says;
}

/// Files that are read after config.toml, and win.
static void tell_import(const struct toml *t, const char *pattern) {
    const char *slash = strrchr(pattern, '/');
    if (pattern[0] != '/' || slash == pattern)
        return;
    char *folder = mem_strndup(pattern, (size_t)(slash - pattern));
    size_t count = 0;
    char **names = rooted_names(t->options->root, folder, &count);
    for (size_t i = 0; i < count; i++) {
        char *path = mem_printf("%s/%s", folder, names[i]);
        if (fnmatch(slash + 1, names[i], 0) == 0 && says_registry(t->options, path))
            plan_left(t->p, "%s imports %s, which says something of registries and is read last: take that out.",
                      config_toml, path);
        free(path);
    }
    rooted_names_free(names, count);
    free(folder);
}

static void tell_imports(const struct toml *t) {
    const struct conf *list = conf_get(t->root, "imports");
    for (const struct conf *at = list != NULL ? list->child : NULL; at != NULL; at = at->next)
        if (at->type == CONF_STRING)
            tell_import(t, at->string);
}

static void plan_config_toml(struct client_plan *p, const struct client_options *options) {
    struct conf_document *there = conf_there(options, config_toml, CONF_TOML);
    struct toml t = {.p = p, .options = options, .root = there != NULL ? conf_root(there) : NULL};
    if (t.root != NULL && t.root->count == 0)
        t.root = NULL; // Nothing but comments.
    int64_t version = version_of(t.root);
    t.plugin = plugin_of(version);
    t.file = plan_file(p, config_toml, CONF_TOML);
    if (t.root == NULL)
        plan_set(t.file, "The form of this file; containerd 2 reads version 2 too.", "2",
                 (const char *const[]){"version", NULL});
    plan_config_path(&t);
    tell_disabled(&t);
    tell_imports(&t);
    if (!options->look)
        plan_note(p, "In a config.toml of version 3 (containerd 2) the same table is "
                     "[plugins.'io.containerd.cri.v1.images'.registry], in one of version 1 or without a version "
                     "[plugins.cri.registry]. With --write the one that fits is taken.");
    conf_free(there);
}

// --- containerd ---

static void plan_service(struct client_plan *p, const struct client_site *site, const struct client_options *options) {
    if (site->proxy == NULL) {
        plan_open(p, "The site has no listener that refuses CONNECT (\"connect\": \"refuse\"): addresses outside of a "
                     "registry that an image's own manifest names (`urls`) are fetched by containerd itself, where the "
                     "gateway lets such manifests pass.");
        return;
    }
    plan_proxy_unit(p, site, "containerd.service", "", NULL);
    plan_service_rivals(p, options, "containerd.service", "_PROXY=", NULL, NULL);
    plan_open(p, "A containerd that is not started by systemd does not read the drop-in: start it with the HTTP_PROXY, "
                 "HTTPS_PROXY and NO_PROXY that stand in it.");
}

static void tell_open(struct client_plan *p) {
    plan_open(p,
              "`ctr` of containerd 1.x and `ctr --local` ask registries themselves, in the user's own environment, "
              "and read hosts.toml only with --hosts-dir %s. The transfer service of containerd 2 asks in the "
              "daemon's environment, whose proxy refuses what is not the gateway.",
              certs_d);
    plan_open(p, "`ctr images import`, and images that are on the machine already, ask nobody.");
    plan_open(p,
              "Whoever may change these files, or run another containerd, is not held by them: `pullgate doctor` finds "
              "it, `pullgate client firewall` stops it on the network.");
}

bool plan_containerd(const struct client_site *site, const struct client_options *options, struct client_plan *p,
                     struct err *err) {
    plan_config_toml(p, options);
    plan_hosts_folder(p, site, options, certs_d, "containerd", NULL);
    plan_service(p, site, options);
    plan_run(p, site->proxy != NULL ? "systemctl daemon-reload && systemctl restart containerd"
                                    : "systemctl restart containerd");
    tell_open(p);
    return true;
}

// --- nerdctl ---

static void plan_hosts_dir(struct client_plan *p, const char *path) {
    char *folder = json_list_of(certs_d);
    plan_set(plan_file(p, path, CONF_TOML), "The only folder in which nerdctl looks up which server to ask.", folder,
             (const char *const[]){"hosts_dir", NULL});
    free(folder);
}

/// Root's file, or that of whoever runs this on the machine: a user's files are not to be written by root.
static void plan_nerdctl_toml(struct client_plan *p, const struct client_options *options) {
    const char *home = getenv("HOME");
    bool own = options->root[0] == '\0' && geteuid() != 0 && home != NULL && home[0] == '/';
    char *path = own ? mem_printf("%s/.config/nerdctl/nerdctl.toml", home) : mem_strdup("/etc/nerdctl/nerdctl.toml");
    plan_hosts_dir(p, path);
    if (!own)
        plan_note(p, "A rootless nerdctl reads ~/.config/nerdctl/nerdctl.toml instead: `pullgate client nerdctl "
                     "--write`, run as that user, writes the same line there.");
    free(path);
}

bool plan_nerdctl(const struct client_site *site, const struct client_options *options, struct client_plan *p,
                  struct err *err) {
    plan_nerdctl_toml(p, options);
    plan_hosts_folder(p, site, options, certs_d, "nerdctl", NULL);
    plan_open(p,
              "nerdctl asks registries itself, in the user's own environment: --hosts-dir, --insecure-registry, "
              "NERDCTL_TOML and a nerdctl.toml of the user's own lead it elsewhere. `pullgate client firewall` stops "
              "that on the network.");
    plan_open(p, "`nerdctl login` asks the registry that it names; `nerdctl load` asks nobody; `nerdctl build` is "
                 "buildkitd's: `pullgate client buildkit`.");
    plan_note(p, "Kubernetes and containerd's own pulls on this machine are `pullgate client containerd`.");
    return true;
}

// --- a Kubernetes node ---

static bool mentions(const struct client_options *options, const char *path, const char *word) {
    struct buf text;
    buf_init(&text, CONTAINERD_TEXT_MAX);
    bool yes = rooted_look(options->root, path, &text) && text.data != NULL && strstr(text.data, word) != NULL;
    buf_deinit(&text);
    return yes;
}

static bool kubelet_says(const struct client_options *options, const char *socket) {
    return mentions(options, "/var/lib/kubelet/kubeadm-flags.env", socket) ||
           mentions(options, "/var/lib/kubelet/config.yaml", socket) ||
           mentions(options, "/etc/default/kubelet", socket) ||
           mentions(options, "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", socket);
}

enum runtime { RUNTIME_UNKNOWN, RUNTIME_CONTAINERD, RUNTIME_CRI_O };

/// The kubelet's word first, then what is installed.
static enum runtime find_runtime(const struct client_options *options) {
    if (!options->look)
        return RUNTIME_UNKNOWN;
    if (kubelet_says(options, "crio.sock"))
        return RUNTIME_CRI_O;
    if (kubelet_says(options, "containerd.sock"))
        return RUNTIME_CONTAINERD;
    bool crio = rooted_has(options->root, "/etc/crio") || rooted_has(options->root, "/usr/bin/crio");
    bool containerd = rooted_has(options->root, "/etc/containerd") || rooted_has(options->root, "/usr/bin/containerd");
    if (crio != containerd)
        return crio ? RUNTIME_CRI_O : RUNTIME_CONTAINERD;
    return RUNTIME_UNKNOWN;
}

bool plan_kubernetes_node(const struct client_site *site, const struct client_options *options, struct client_plan *p,
                          struct err *err) {
    enum runtime runtime = find_runtime(options);
    if (runtime == RUNTIME_UNKNOWN)
        plan_note(p,
                  "Which runtime the kubelet uses could not be told from here, so that both containerd and CRI-O are "
                  "configured.");
    if (options->look &&
        (rooted_has(options->root, "/etc/rancher/k3s") || rooted_has(options->root, "/etc/rancher/rke2")))
        plan_open(p, "k3s and RKE2 have a containerd of their own: `pullgate client k3s`, `pullgate client rke2`.");
    plan_open(p, "imagePullPolicy Never and IfNotPresent take images that are on the node already without asking: the "
                 "admission plugin AlwaysPullImages makes the kubelet ask.");
    bool ok = runtime == RUNTIME_CRI_O || plan_containerd(site, options, p, err);
    return ok && (runtime == RUNTIME_CONTAINERD || plan_cri_o(site, options, p, err));
}
