// SPDX-License-Identifier: Apache-2.0
//
// What k3s and RKE2 are given.

#include "client_kit.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *folder;
    plan_fn plan;
    const char *unit;
} flavours[] = {{"/etc/rancher/k3s", plan_k3s, "/etc/systemd/system/k3s-agent.service.d/pullgate.conf"},
                {"/etc/rancher/rke2", plan_rke2, "/etc/systemd/system/rke2-agent.service.d/pullgate.conf"}};

static char *get(const char *root, const char *folder, const char *name) {
    char *path = mem_printf("%s/%s", folder, name), *text = kit_get(root, path);
    free(path);
    return text;
}

static void put(const char *root, const char *folder, const char *name, const char *text) {
    char *path = mem_printf("%s/%s", folder, name);
    kit_put(root, path, text);
    free(path);
}

Test(client_k3s, fresh) {
    for (size_t i = 0; i < 2; i++) {
        char *root = kit_root();
        struct client_site *site = kit_site(true, true);
        struct kit_run r = kit_write(flavours[i].plan, site, NULL, root, false);
        cr_expect(r.ok, "%s", r.err.text);
        static const char *const says[] = {
            "  \"*\":\n    endpoint:\n      - \"https://gw.test:5443\"\n",
            "  registry.corp.example.com:\n    endpoint:\n      - \"https://registry.corp.example.com\"\n",
            "  \"gw.test:5443\":\n    tls:\n      ca_file: \"/etc/pullgate/ca.crt\"\n",
            "      cert_file: \"/etc/pullgate/m.crt\"\n",
            "      key_file: \"/etc/pullgate/m.key\"\n",
        };
        char *registries = get(root, flavours[i].folder, "registries.yaml"),
             *config = get(root, flavours[i].folder, "config.yaml"), *unit = kit_get(root, flavours[i].unit);
        for (size_t s = 0; s < sizeof says / sizeof says[0]; s++)
            cr_expect_not_null(strstr(registries, says[s]), "%s\n%s", says[s], registries);
        cr_expect_not_null(strstr(config, "disable-default-registry-endpoint: true\n"), "%s", config);
        cr_expect_not_null(strstr(unit, "\nEnvironment=\"CONTAINERD_HTTPS_PROXY=http://gw.test:3128\"\n"), "%s", unit);
        cr_expect_not_null(strstr(r.out, "knows no headers"), "that the header cannot be sent: %s", r.out);
        free(registries);
        free(config);
        free(unit);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_k3s, merge) {
    static const struct {
        const char *name, *before;
        bool strict;
        const char *says, *lacks;
        size_t refused;
        const char *why;
    } rows[] = {
        {"config.yaml", "# node\ntoken: x # secret\n", false, "# node\ntoken: x # secret\n", NULL, 0, "comments stay"},
        {"config.yaml", "disable-default-registry-endpoint: false # for now\n", false,
         "disable-default-registry-endpoint: true", "false", 0, "a value that is there is changed"},
        {"config.yaml", "{ token: x }\n", true, "{ token: x }\n", "disable", 1, "flow YAML is not edited"},
        {"config.yaml", "a: &x 1\nb: *x\n", true, "a: &x 1\nb: *x\n", NULL, 0, "anchors elsewhere do no harm"},
        {"config.yaml", "a: [\n", true, "a: [\n", "disable", 1, "what does not parse stays"},
        {"registries.yaml", "mirrors:\n  docker.io:\n    endpoint:\n      - \"https://old.example.com\"\n", false,
         "old.example.com", NULL, 1, "an entry that wins over \"*\" is named"},
        {"registries.yaml", "mirrors:\n  docker.io:\n    endpoint:\n      - \"https://old.example.com\"\n", true,
         "https://gw.test:5443", "old.example.com", 0, "and goes with --strict"},
        {"registries.yaml", "configs:\n  docker.io:\n    auth:\n      username: u\n", true, "gw.test", "username", 0,
         "a password keeps the registry's own address"},
        {"registries.yaml", "configs:\n  \"docker.io\":\n", true, "\"docker.io\":", NULL, 0, "an empty entry does not"},
        {"registries.yaml", "configs:\n  registry.corp.example.com:\n    auth:\n      username: u\n", true,
         "username: u", NULL, 0, "nor one of a registry that is meant to be direct"},
        {"registries.yaml", "configs:\n  \"gw.test:5443\":\n    tls:\n      insecure_skip_verify: true\n", false,
         "insecure_skip_verify", NULL, 1, "whoever is taken for the gateway is named"},
        {"registries.yaml", "configs:\n  \"gw.test:5443\":\n    tls:\n      insecure_skip_verify: true\n", true,
         "ca_file", "insecure_skip_verify", 0, "and goes with --strict"},
        {"registries.yaml", "mirrors:\n  \"*\":\n    rewrite:\n      \"^(.*)$\": \"cache/$1\"\n", true, "gw.test",
         "rewrite", 0, "the gateway is asked for the name that was written"},
        {"registries.yaml", "mirrors: &m\n  \"*\":\n    endpoint: [\"https://old.example.com\"]\nx: *m\n", true, "&m",
         NULL, 1, "an anchor on the way is not edited"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        put(root, flavours[0].folder, rows[i].name, rows[i].before);
        struct client_site *site = kit_site(true, false);
        struct kit_run r = kit_write(plan_k3s, site, NULL, root, rows[i].strict);
        char *after = get(root, flavours[0].folder, rows[i].name);
        cr_expect(r.ok, "%s: %s", rows[i].why, r.err.text);
        cr_expect_eq(r.result.refused, rows[i].refused, "%s: %s", rows[i].why, r.out);
        cr_expect_not_null(strstr(after, rows[i].says), "%s: lacks \"%s\":\n%s", rows[i].why, rows[i].says, after);
        if (rows[i].lacks != NULL)
            cr_expect_null(strstr(after, rows[i].lacks), "%s: holds \"%s\":\n%s", rows[i].why, rows[i].lacks, after);
        kit_done(&r);
        r = kit_write(plan_k3s, site, NULL, root, rows[i].strict);
        cr_expect_eq(r.result.changed, 0, "%s: written twice\n%s", rows[i].why, r.out);
        kit_done(&r);
        free(after);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_k3s, overrides_are_told) {
    char *root = kit_root();
    put(root, flavours[0].folder, "config.yaml.d/90.yaml", "disable-default-registry-endpoint: false\n");
    struct client_site *site = kit_site(true, false);
    struct kit_run r = kit_write(plan_k3s, site, NULL, root, true);
    cr_expect_not_null(strstr(r.out, "/etc/rancher/k3s/config.yaml.d/90.yaml"), "%s", r.out);
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}
