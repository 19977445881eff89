// SPDX-License-Identifier: Apache-2.0
//
// buildkitd.toml, containerd's config.toml, and the files of k3s.

#include "gateway/doctor/buildkitd.h"
#include "gateway/doctor/containerd_toml.h"
#include "gateway/doctor/k3s.h"

#include <criterion/criterion.h>
#include <string.h>

// --- buildkitd.toml ---

Test(buildkitd, registries) {
    static const char text[] = "debug = true\n"
                               "[registry.\"docker.io\"]\n  mirrors = [\"gw\", \"other\"]\n"
                               "[registry.\"gw\"]\n  ca = [\"/ca.crt\"]\n  insecure = true\n"
                               "  [[registry.\"gw\".keypair]]\n    key = \"/k\"\n    cert = \"/c\"\n";
    struct buildkitd b;
    buildkitd_read(text, strlen(text), &b);
    cr_assert(b.usable, "%s", b.why.text);
    cr_assert_eq(b.count, 2);
    cr_expect_eq(buildkitd_registry(&b, "docker.io")->mirrors.count, 2);
    const struct buildkitd_registry *gw = buildkitd_registry(&b, "gw");
    cr_expect(gw->insecure);
    cr_expect_str_eq(gw->ca.at[0], "/ca.crt");
    cr_expect_str_eq(gw->keys.at[0], "/c");
    cr_expect_str_eq(gw->keys.at[1], "/k");
    cr_expect_null(buildkitd_registry(&b, "ghcr.io"));
    buildkitd_deinit(&b);
}

static const struct {
    const char *why, *text;
} broken_buildkitd[] = {
    {"a typing error", "[registry.\"docker.io\"\n"},
    {"mirrors that are no list", "[registry.\"docker.io\"]\nmirrors = \"gw\"\n"},
    {"a number among the mirrors", "[registry.\"docker.io\"]\nmirrors = [1]\n"},
    {"http that is no boolean", "[registry.\"gw\"]\nhttp = \"yes\"\n"},
    {"a registry that is no table", "registry = 1\n"},
};

Test(buildkitd, broken) {
    for (size_t i = 0; i < sizeof broken_buildkitd / sizeof *broken_buildkitd; i++) {
        struct buildkitd b;
        buildkitd_read(broken_buildkitd[i].text, strlen(broken_buildkitd[i].text), &b);
        cr_expect_not(b.usable, "%s", broken_buildkitd[i].why);
        cr_expect(b.why.text[0] != '\0', "%s: says why", broken_buildkitd[i].why);
        buildkitd_deinit(&b);
    }
}

// --- config.toml ---

struct config {
    const char *why, *text;
    bool usable;
    int64_t version;
    const char *config_path, *misplaced;
    bool cri_disabled;
};

static const struct config configs[] = {
    {"nothing", "", true, 1, NULL, NULL, false},
    {"version 1's place", "[plugins.cri.registry]\nconfig_path = \"/d\"\n", true, 1, "/d", NULL, false},
    {"version 2's place", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/d\"\n", true,
     2, "/d", NULL, false},
    {"version 3's place", "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/d'\n", true,
     3, "/d", NULL, false},
    {"version 4's place is version 3's",
     "version = 4\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/d'\n", true, 4, "/d", NULL, false},
    {"version 2's place in a file of version 3",
     "version = 3\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/d\"\n", true, 3, NULL, "/d",
     false},
    {"version 2's place in a file without a version",
     "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/d\"\n", true, 1, NULL, "/d", false},
    {"an empty path takes back another file's",
     "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\"\n", true, 2, "", NULL, false},
    {"an empty path elsewhere is none",
     "version = 3\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\"\n", true, 3, NULL, NULL, false},
    {"CRI switched off, as Docker's packages deliver it", "disabled_plugins = [\"cri\"]\n", true, 1, NULL, NULL, true},
    {"CRI switched off by its long name", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n", true, 2,
     NULL, NULL, true},
    {"a version that there is not", "version = 9\n", false, 1, NULL, NULL, false},
    {"a typing error", "version = = 2\n", false, 1, NULL, NULL, false},
};

static void expect(const char *found, const char *wanted, const char *why) {
    cr_expect_eq(found == NULL, wanted == NULL, "%s: %s", why, found != NULL ? found : "none");
    if (found != NULL && wanted != NULL)
        cr_expect_str_eq(found, wanted, "%s: %s", why, found);
}

Test(containerd_toml, places) {
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct containerd_toml t;
        containerd_toml_read(configs[i].text, strlen(configs[i].text), &t);
        cr_expect_eq(t.usable, configs[i].usable, "%s: %s", configs[i].why, t.why.text);
        cr_expect_eq(t.version, configs[i].version, "%s", configs[i].why);
        expect(t.config_path, configs[i].config_path, configs[i].why);
        expect(t.misplaced, configs[i].misplaced, configs[i].why);
        cr_expect_eq(t.cri_disabled, configs[i].cri_disabled, "%s", configs[i].why);
        containerd_toml_deinit(&t);
    }
}

Test(containerd_toml, imports_win) {
    static const char main_text[] = "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n"
                                    "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/a\"\n";
    static const char more_text[] =
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/b\"\n"
        "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n"
        "endpoint = [\"https://other\"]\n";
    struct containerd_toml t, more;
    containerd_toml_read(main_text, strlen(main_text), &t);
    containerd_toml_read(more_text, strlen(more_text), &more);
    cr_assert_eq(t.imports.count, 1);
    containerd_toml_merge(&t, &more, false);
    expect(t.config_path, "/b", "the file that is imported");
    cr_assert_eq(t.mirrors.count, 1);
    cr_expect_str_eq(t.endpoints.at[0], "https://other");
    containerd_toml_deinit(&t);
    containerd_toml_deinit(&more);
}

// --- k3s ---

Test(k3s, registries) {
    static const char text[] = "mirrors:\n  \"*\":\n    endpoint:\n      - https://gw\n  quay.io:\n"
                               "configs:\n  gw:\n    tls:\n      ca_file: /ca.crt\n      insecure_skip_verify: true\n"
                               "  ghcr.io:\n    auth:\n      username: a\n";
    struct k3s_registries k;
    k3s_registries_read(text, strlen(text), &k);
    cr_assert(k.usable, "%s", k.why.text);
    cr_expect_eq(k3s_mirror(&k, "*")->endpoints.count, 1);
    cr_expect_eq(k3s_mirror(&k, "quay.io")->endpoints.count, 0, "an entry without anything");
    cr_expect_null(k3s_mirror(&k, "docker.io"));
    cr_expect_eq(k.tls_count, 1);
    cr_expect(k.tls[0].insecure);
    expect(k.tls[0].ca, "/ca.crt", "the CA");
    cr_expect_eq(k.configs.count, 2);
    k3s_registries_deinit(&k);
}

static const struct {
    const char *why, *text;
    bool usable;
} yamls[] = {
    {"an empty file", "", true},
    {"only a comment", "# nothing\n", true},
    {"mirrors that are a list", "mirrors:\n  - docker.io\n", false},
    {"an endpoint that is no list", "mirrors:\n  docker.io:\n    endpoint: https://gw\n", false},
    {"a tab where YAML has none", "mirrors:\n\tdocker.io:\n", false},
    {"a list for a file", "- a\n", false},
};

Test(k3s, forms) {
    for (size_t i = 0; i < sizeof yamls / sizeof *yamls; i++) {
        struct k3s_registries k;
        k3s_registries_read(yamls[i].text, strlen(yamls[i].text), &k);
        cr_expect_eq(k.usable, yamls[i].usable, "%s: %s", yamls[i].why, k.why.text);
        k3s_registries_deinit(&k);
    }
}

static const struct {
    const char *why, *text;
    enum k3s_said said;
} flags[] = {
    {"not said", "node-name: a\n", K3S_UNSAID},
    {"said", "disable-default-registry-endpoint: true\n", K3S_YES},
    {"in quotes", "disable-default-registry-endpoint: \"true\"\n", K3S_YES},
    {"said not", "disable-default-registry-endpoint: false\n", K3S_NO},
    {"something else", "disable-default-registry-endpoint: 1\n", K3S_NO},
    {"an empty file", "", K3S_UNSAID},
    {"broken", "a: [\n", K3S_UNPARSABLE},
};

Test(k3s, flag) {
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        struct err err = {""};
        cr_expect_eq(k3s_default_endpoint_disabled(flags[i].text, strlen(flags[i].text), &err), flags[i].said, "%s",
                     flags[i].why);
    }
}
