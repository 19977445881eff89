// SPDX-License-Identifier: Apache-2.0
//
// What containerd, nerdctl and a Kubernetes node are given.

#include "client_kit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char config_toml[] = "/etc/containerd/config.toml",
                  hosts[] = "/etc/containerd/certs.d/_default/hosts.toml";

static void expect(const char *root, const char *path, const char *says, bool does, const char *why) {
    char *text = kit_get(root, path);
    cr_expect_eq(strstr(text, says) != NULL, does, "%s: %s %s \"%s\":\n%s", why, path, does ? "lacks" : "holds", says,
                 text);
    free(text);
}

Test(client_containerd, config) {
    static const struct {
        const char *before;
        bool strict;
        const char *says, *lacks;
        size_t refused;
        const char *why;
    } rows[] = {
        {NULL, false, "[plugins.\"io.containerd.grpc.v1.cri\".registry]", NULL, 0, "an empty machine gets version 2"},
        {NULL, false, "version = 2\n", NULL, 0, "which it names"},
        {NULL, false, "config_path = \"/etc/containerd/certs.d\"", NULL, 0, "and the folder"},
        {"# ours\nversion = 2\n", false, "# ours\nversion = 2\n", NULL, 0, "comments stay"},
        {"# nothing else\n", false, "version = 2\n", "plugins.cri", 0, "a file without keys is an empty one"},
        {"version = 3\n", false, "io.containerd.cri.v1.images", "grpc.v1.cri", 0, "version 3 has another plugin"},
        {"version = 4\n", false, "io.containerd.cri.v1.images", "grpc.v1.cri", 0, "and so have later ones"},
        {"version = 1\n[plugins.cri]\nsandbox_image = \"x\"\n", false, "config_path", "io.containerd", 0, "version 1"},
        {"[plugins.cri]\nsandbox_image = \"x\"\n", false, "config_path", "io.containerd", 0, "no version is version 1"},
        {"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n"
         "endpoint = [\"https://old.example.com\"]\n",
         false, "old.example.com", "config_path", 2, "containerd would not start with both: named, not touched"},
        {"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n"
         "endpoint = [\"https://old.example.com\"]\n",
         true, "config_path = \"/etc/containerd/certs.d\"", "old.example.com", 0, "and exchanged with --strict"},
        {"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"a.example\".tls]\n"
         "insecure_skip_verify = true\n",
         true, "config_path = \"/etc/containerd/certs.d\"", "insecure_skip_verify", 0, "the same with TLS settings"},
        {"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"a.example\".auth]\n"
         "username = \"u\"\n",
         true, "username = \"u\"", NULL, 0, "passwords may stay beside config_path"},
        {"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/srv/certs\"\n", false,
         "config_path = \"/etc/containerd/certs.d\"", "/srv/certs", 0, "another folder goes"},
        {"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry\n", true, "registry\n", "config_path", 1,
         "what does not parse stays"},
        {"version = 2\nplugins = { \"io.containerd.grpc.v1.cri\" = { sandbox_image = \"x\" } }\n", true,
         "sandbox_image = \"x\"", NULL, 1, "an inline table on the way is not edited"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        if (rows[i].before != NULL)
            kit_put(root, config_toml, rows[i].before);
        struct client_site *site = kit_site(true, false);
        struct kit_run r = kit_write(plan_containerd, site, NULL, root, rows[i].strict);
        cr_expect(r.ok, "%s: %s", rows[i].why, r.err.text);
        cr_expect_eq(r.result.refused, rows[i].refused, "%s: %s", rows[i].why, r.out);
        expect(root, config_toml, rows[i].says, true, rows[i].why);
        if (rows[i].lacks != NULL)
            expect(root, config_toml, rows[i].lacks, false, rows[i].why);
        kit_done(&r);
        r = kit_write(plan_containerd, site, NULL, root, rows[i].strict);
        cr_expect_eq(r.result.changed, 0, "%s: written twice\n%s", rows[i].why, r.out);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_containerd, files) {
    char *root = kit_root();
    kit_put(root, "/etc/containerd/certs.d/docker.io/hosts.toml", "server = \"https://registry-1.docker.io\"\n");
    struct client_site *site = kit_site(true, true);
    struct kit_run r = kit_write(plan_containerd, site, NULL, root, true);
    expect(root, hosts, "\nserver = \"https://gw.test:5443\"\n", true, "the server");
    expect(root, hosts, "\n[host]\n", true, "the form that 1.6 reads too");
    expect(root, "/etc/systemd/system/containerd.service.d/pullgate.conf",
           "\nEnvironment=\"HTTPS_PROXY=http://gw.test:3128\"\n", true, "the proxy that refuses");
    cr_expect(kit_is(root, "/etc/containerd/docker.io.pullgate-aside/hosts.toml"), "what wins is moved out: %s", r.out);
    cr_expect_not(kit_is(root, "/etc/containerd/certs.d/docker.io"));
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

Test(client_containerd, tells) {
    static const struct {
        const char *config, *other, *says, *why;
    } rows[] = {
        {"version = 2\ndisabled_plugins = [\"cri\"]\n", NULL, "CRI switched off", "Docker's packages do that"},
        {"version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n", "/etc/containerd/conf.d/50-old.toml",
         "/etc/containerd/conf.d/50-old.toml", "a file that is read last"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        kit_put(root, config_toml, rows[i].config);
        if (rows[i].other != NULL)
            kit_put(root, rows[i].other, "[plugins.x.registry]\nconfig_path = \"\"\n");
        struct client_site *site = kit_site(true, false);
        struct kit_run r = kit_write(plan_containerd, site, NULL, root, false);
        cr_expect_not_null(strstr(r.out, rows[i].says), "%s: %s", rows[i].why, r.out);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_containerd, nerdctl) {
    char *root = kit_root();
    kit_put(root, "/etc/nerdctl/nerdctl.toml", "# ours\nnamespace = \"k8s.io\"\nhosts_dir = [\"/srv/certs\"]\n");
    struct client_site *site = kit_site(true, false);
    struct kit_run r = kit_write(plan_nerdctl, site, NULL, root, false);
    expect(root, "/etc/nerdctl/nerdctl.toml",
           "# ours\nnamespace = \"k8s.io\"\nhosts_dir = [\"/etc/containerd/certs.d\"]", true,
           "one folder, the rest as it was");
    expect(root, hosts, "\nserver = \"https://gw.test:5443\"\n", true, "the same folder as containerd's");
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

Test(client_containerd, node) {
    static const struct {
        const char *path, *text;
        bool containerd, crio;
        const char *why;
    } rows[] = {
        {"/var/lib/kubelet/kubeadm-flags.env", "--container-runtime-endpoint=unix:///var/run/crio/crio.sock", false,
         true, "the kubelet says CRI-O"},
        {"/var/lib/kubelet/config.yaml", "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n", true,
         false, "the kubelet says containerd"},
        {"/etc/crio/crio.conf", "", false, true, "CRI-O alone is there"},
        {"/usr/bin/containerd", "", true, false, "containerd alone is there"},
        {"/etc/hostname", "x", true, true, "it cannot be told: both"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        kit_put(root, rows[i].path, rows[i].text);
        struct client_site *site = kit_site(true, false);
        struct kit_run r = kit_write(plan_kubernetes_node, site, NULL, root, false);
        cr_expect(r.ok, "%s: %s", rows[i].why, r.err.text);
        cr_expect_eq(kit_is(root, hosts), rows[i].containerd, "%s: %s", rows[i].why, r.out);
        cr_expect_eq(kit_is(root, "/etc/containers/registries.conf.d"), rows[i].crio, "%s: %s", rows[i].why, r.out);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}
