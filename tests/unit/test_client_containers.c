// SPDX-License-Identifier: Apache-2.0
//
// podman, buildah, skopeo, CRI-O: what is written for an empty machine, what of other files is overruled, kept, named
// or moved aside.

#include "client_kit.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DROP_IN "/etc/containers/registries.conf.d/zz-pullgate.conf"
#define REST "/etc/containers/registries.conf.d/zz-pullgate-rest.conf"
#define POLICY "/etc/containers/policy.json"

static const char entry_hub[] = "[[registry]]\nprefix = \"docker.io\"\nlocation = \"gw.test:5443/docker.io\"\n"
                                "blocked = true\n";

Test(client_containers, an_empty_machine) {
    static const struct {
        const char *path, *has, *why;
        bool absent;
    } rows[] = {
        {DROP_IN, entry_hub, "a registry is remapped, and blocked for what would not follow", false},
        {DROP_IN, "prefix = \"ghcr.io\"\nlocation = \"gw.test:5443/ghcr.io\"\nblocked = true", "each of them", false},
        {DROP_IN, "prefix = \"gw.test:5443\"\nlocation = \"gw.test:5443\"\n\n", "the gateway is not blocked", false},
        {DROP_IN, "prefix = \"registry.corp.example.com\"\nlocation = \"registry.corp.example.com\"\n",
         "a direct registry is itself", false},
        {DROP_IN, "azurecr", "a wildcard cannot be remapped", true},
        {DROP_IN, "insecure", "TLS is looked at", true},
        {REST, "{ prefix = \"*.io\", location = \"gw.test:5443/unlisted.pullgate.invalid\", blocked = true },",
         "the others are sent to a name that is denied", false},
        {REST, "prefix = \"*.com\"", "under every usual ending", false},
        {POLICY, "\"\": [{\"type\": \"reject\"}]", "every other registry is refused", false},
        {POLICY, "\"docker.io\": [{\"type\": \"insecureAcceptAnything\"}]", "a served one is not", false},
        {POLICY, "\"registry.corp.example.com\": [{\"type\": \"insecureAcceptAnything\"}]", "nor a direct one", false},
        {POLICY, "\"default\": [{\"type\": \"insecureAcceptAnything\"}]", "archives and local storage stay", false},
        {POLICY, "azurecr", "what cannot be had is not admitted", true},
    };
    char *root = kit_root();
    struct client_site *site = kit_site(true, true);
    struct kit_run r = kit_write(plan_podman, site, NULL, root, false);
    cr_assert(r.ok, "%s", r.err.text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = kit_get(root, rows[i].path);
        cr_expect_eq(strstr(text, rows[i].has) != NULL, !rows[i].absent, "%s: %s", rows[i].why, text);
        free(text);
    }
    cr_expect(kit_is(root, "/etc/containers/certs.d/gw.test:5443/ca.crt"), "the authority, under the gateway's name");
    cr_expect(kit_is(root, "/etc/containers/certs.d/gw.test:5443/client.cert"));
    cr_expect(kit_is(root, "/etc/containers/certs.d/gw.test:5443/client.key"));
    cr_expect_not_null(strstr(r.out, "*.azurecr.io"), "the wildcard is told: %s", r.out);
    cr_expect_not_null(strstr(r.out, "headers"), "that headers cannot be sent is told");
    cr_expect_not_null(strstr(r.out, "--registries-conf"), "what stays open is told");
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

Test(client_containers, all_share_the_files) {
    static const struct {
        plan_fn plan;
        const char *why;
    } rows[] = {
        {plan_buildah, "buildah after podman"}, {plan_skopeo, "skopeo after podman"}, {plan_podman, "podman again"}};
    char *root = kit_root();
    struct client_site *site = kit_site(false, false);
    struct kit_run r = kit_write(plan_podman, site, NULL, root, false);
    cr_expect_gt(r.result.changed, 0);
    kit_done(&r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        r = kit_write(rows[i].plan, site, NULL, root, false);
        cr_expect_eq(r.result.changed, 0, "%s changes nothing: %s", rows[i].why, r.out);
        kit_done(&r);
    }
    cr_expect_eq(kit_count(root, "pullgate-backup"), 0);
    client_site_free(site);
    kit_drop(root);
}

Test(client_containers, other_files_prefixes_are_said_again) {
    static const struct {
        const char *file, *text, *has, *why;
        bool absent;
    } rows[] = {
        {"/etc/containers/registries.conf", "[[registry]]\nprefix = \"quay.io\"\nlocation = \"old.example\"\n",
         "prefix = \"quay.io\"\nlocation = \"gw.test:5443/unlisted.pullgate.invalid\"\nblocked = true",
         "an unlisted registry", false},
        {"/etc/containers/registries.conf", "[[registry]]\nlocation = \"quay.io/team\"\n",
         "prefix = \"quay.io/team\"\nlocation = \"gw.test:5443/unlisted.pullgate.invalid/team\"\nblocked = true",
         "a location without a prefix is one", false},
        {"/etc/containers/registries.conf.d/a.conf",
         "[[registry]]\nprefix = \"docker.io/library\"\nlocation = \"old.example\"\n",
         "prefix = \"docker.io/library\"\nlocation = \"gw.test:5443/docker.io/library\"\nblocked = true",
         "a longer prefix of a served one would win", false},
        {"/etc/containers/registries.conf.d/a.conf", "registry = [ { prefix = \"*.corp.example.net\" } ]\n",
         "prefix = \"*.corp.example.net\"\nlocation = \"gw.test:5443/unlisted.pullgate.invalid\"\nblocked = true",
         "a wildcard, in an inline array", false},
        {"/etc/containers/registries.conf", "[[registry]]\nprefix = \"registry.corp.example.com/a\"\n",
         "registry.corp.example.com/a", "what is meant to be direct is left alone", true},
        {"/etc/containers/registries.conf", "[[registry]]\nprefix = \"*.io\"\n", "prefix = \"*.io\"",
         "what the other file of ours says is not said twice", true},
        {"/etc/containers/registries.conf.d/README", "[[registry]]\nprefix = \"quay.io\"\n", "quay.io",
         "a file that is not read is not answered", true},
        {"/etc/containers/registries.conf", "[[registry]\n", "quay.io", "what does not parse says nothing", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *root = kit_root();
        struct client_site *site = kit_site(false, false);
        kit_put(root, rows[i].file, rows[i].text);
        struct kit_run r = kit_write(plan_skopeo, site, NULL, root, false);
        char *text = kit_get(root, DROP_IN), *other = kit_get(root, rows[i].file);
        cr_expect_eq(strstr(text, rows[i].has) != NULL, !rows[i].absent, "%s: %s", rows[i].why, text);
        cr_expect_str_eq(other, rows[i].text, "%s: the other file is not touched", rows[i].why);
        kit_done(&r);
        r = kit_write(plan_skopeo, site, NULL, root, false);
        cr_expect_eq(r.result.changed, 0, "%s: nothing the second time", rows[i].why);
        free(other);
        free(text);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_containers, what_wins_is_named_and_moved) {
    static const char registry[] = "[[registry]]\nprefix = \"docker.io\"\n";
    static const struct {
        plan_fn plan;
        const char *file, *text, *why;
        bool moved;
    } rows[] = {
        {plan_podman, "/etc/containers/registries.conf.d/zzz.conf", registry, "a file that is read later", true},
        {plan_podman, "/etc/containers/registries.conf.d/zzz.conf", "[aliases]\n", "one without registries stays",
         false},
        {plan_podman, "/root/.config/containers/registries.conf", "", "root's own, which replaces everything", true},
        {plan_podman, "/home/ann/.config/containers/registries.conf", registry, "a user's own", true},
        {plan_podman, "/home/ann/.config/containers/policy.json", "{}", "a user's own policy", true},
        {plan_podman, "/home/ann/.config/containers/registries.conf.d/a.conf", registry, "a user's drop-in", true},
        {plan_podman, "/home/ann/.config/containers/auth.json", "{}", "credentials stay", false},
        {plan_cri_o, "/etc/crio/crio.conf.d/zzz", "[crio.image]\nsignature_policy = \"/x\"\n",
         "CRI-O reads any name there", true},
        {plan_cri_o, "/etc/crio/crio.conf.d/99-x.conf", "[crio.image]\nsignature_policy = \"/x\"\n",
         "what ours overrules stays", false},
        {plan_cri_o, "/etc/crio/policies/default.json", "{}", "a namespace's policy", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *root = kit_root();
        struct client_site *site = kit_site(false, false);
        kit_put(root, rows[i].file, rows[i].text);
        struct kit_run r = kit_write(rows[i].plan, site, NULL, root, false);
        cr_expect(kit_is(root, rows[i].file), "%s: not without --strict", rows[i].why);
        cr_expect_eq(r.result.refused, rows[i].moved ? 1 : 0, "%s: named: %s", rows[i].why, r.out);
        kit_done(&r);
        r = kit_write(rows[i].plan, site, NULL, root, true);
        cr_expect_eq(kit_is(root, rows[i].file), !rows[i].moved, "%s", rows[i].why);
        cr_expect_eq(r.result.refused, 0, "%s: %s", rows[i].why, r.out);
        kit_done(&r);
        r = kit_write(rows[i].plan, site, NULL, root, true);
        cr_expect_eq(r.result.changed + r.result.aside, 0, "%s: nothing the second time: %s", rows[i].why, r.out);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_containers, policy_is_merged) {
    static const char before[] =
        "{\n  \"default\": [{\"type\": \"reject\"}],\n  \"transports\": {\n    \"docker\": {\n"
        "      \"\": [{\"type\": \"insecureAcceptAnything\"}],\n"
        "      \"docker.io\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\", \"keyPath\": \"/k\"}],\n"
        "      \"ghcr.io/team\": [{\"type\": \"reject\"}],\n"
        "      \"quay.io/other\": [{\"type\": \"insecureAcceptAnything\"}]\n    },\n"
        "    \"docker-daemon\": {\"\": [{\"type\": \"insecureAcceptAnything\"}]}\n  }\n}\n";
    static const struct {
        const char *has, *why;
        bool loose, strict;
    } rows[] = {
        {"\"default\": [{\"type\": \"reject\"}]", "a stricter default stays", true, true},
        {"\"keyPath\": \"/k\"", "signatures that are asked for stay", true, true},
        {"\"ghcr.io/team\": [{\"type\": \"reject\"}]", "and what is below a served registry", true, true},
        {"\"docker-daemon\"", "and other transports", true, true},
        {"\"quay.io/other\"", "an unlisted one goes with --strict", true, false},
        {"\"\": [{\"type\": \"reject\"}]", "every other is refused", true, true},
    };
    for (int strict = 0; strict < 2; strict++) {
        char *root = kit_root();
        struct client_site *site = kit_site(false, false);
        kit_put(root, POLICY, before);
        struct kit_run r = kit_write(plan_podman, site, NULL, root, strict);
        char *text = kit_get(root, POLICY);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            cr_expect_eq(strstr(text, rows[i].has) != NULL, strict ? rows[i].strict : rows[i].loose, "%s: %s",
                         rows[i].why, text);
        cr_expect_eq(r.result.refused, strict ? 0 : 1, "%s", r.out);
        free(text);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_containers, a_policy_of_another_shape_stays) {
    static const char before[] = "{\"transports\": {\"docker\": [[1], {\"type\": \"reject\"}]}}\n";
    char *root = kit_root();
    struct client_site *site = kit_site(false, false);
    kit_put(root, POLICY, before);
    struct kit_run r = kit_write(plan_podman, site, NULL, root, true);
    char *text = kit_get(root, POLICY);
    cr_expect_str_eq(text, before);
    cr_expect_eq(r.result.refused, 1, "%s", r.out);
    free(text);
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

/// A user who leads their own folder to the system's does not have root take the system's files away.
Test(client_containers, links_of_users_are_not_followed) {
    static const char system[] = "/etc/containers/registries.conf";
    char *root = kit_root(), *own = mem_printf("%s/home/u/.config/containers", root);
    struct client_site *site = kit_site(false, false);
    kit_put(root, system, "# the system's\n");
    kit_put(root, "/home/u/.config", NULL);
    cr_assert_eq(symlink("/etc/containers", own), 0);
    struct kit_run r = kit_write(plan_podman, site, NULL, root, true);
    cr_expect(kit_is(root, system), "%s", r.out);
    cr_expect_eq(r.result.aside, 0, "%s", r.out);
    cr_expect_eq(r.result.refused, 1, "it is named: %s", r.out);
    kit_done(&r);
    client_site_free(site);
    free(own);
    kit_drop(root);
}

/// CRI-O reads every file of that folder, copies too.
Test(client_containers, no_copy_stands_among_crios_files) {
    char *root = kit_root();
    struct client_site *site = kit_site(false, false);
    kit_put(root, "/etc/crio/crio.conf.d/zz-pullgate.conf", "[crio.image]\nsignature_policy = \"/tmp/p\"\n");
    struct kit_run r = kit_write(plan_cri_o, site, NULL, root, true);
    cr_expect(kit_is(root, "/etc/crio/zz-pullgate.conf.pullgate-backup"), "%s", r.out);
    cr_expect_not(kit_is(root, "/etc/crio/crio.conf.d/zz-pullgate.conf.pullgate-backup"), "%s", r.out);
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

static struct client_site *site_of(const char *json) {
    struct err err = {""};
    struct client_site *site = client_site_parse(json, strlen(json), &err);
    cr_assert_not_null(site, "%s", err.text);
    return site;
}

Test(client_containers, other_sites) {
    static const struct {
        const char *site, *has, *why;
        bool absent;
    } rows[] = {
        {"{\"format\":1,\"gateway\":\"http://gw.test:5000\",\"registries\":[{\"name\":\"docker.io\"}]}",
         "location = \"gw.test:5000/docker.io\"\nblocked = true\ninsecure = true", "a gateway without TLS", false},
        {"{\"format\":1,\"gateway\":\"http://gw.test:5000\",\"registries\":[{\"name\":\"docker.io\"}]}",
         "location = \"gw.test:5000/unlisted.pullgate.invalid\", blocked = true, insecure = true", "for the rest too",
         false},
        {"{\"format\":1,\"gateway\":\"https://gw.test\",\"takeover\":true,\"registries\":[{\"name\":\"docker.io\"}]}",
         "prefix = \"docker.io\"\nlocation = \"docker.io\"\n\n", "its own name leads to the gateway", false},
        {"{\"format\":1,\"gateway\":\"https://gw.test\",\"takeover\":true,\"registries\":"
         "[{\"name\":\"*.azurecr.io\"}]}",
         "prefix = \"*.azurecr.io\"\n\n", "and so do those of a wildcard", false},
        {"{\"format\":1,\"gateway\":\"https://gw.test\",\"takeover\":true,\"registries\":"
         "[{\"name\":\"registry-*.example.com\"}]}",
         "\"registry-*", "a wildcard that the library does not know would break the file", true},
        {"{\"format\":1,\"gateway\":\"https://gw.test\",\"registries\":[{\"name\":\"px.example.com:5000\"}]}",
         "prefix = \"px.example.com:5000\"", "a port cannot stand in a location", true},
        {"{\"format\":1,\"gateway\":\"https://gw.test\",\"registries\":[{\"name\":\"px.example.com:5000\"}]}",
         "Images of px.example.com:5000 are refused", "which is told", false},
        {"{\"format\":1,\"gateway\":\"https://gw.test\",\"registries\":[{\"name\":\"*\"}]}",
         "The gateway serves every registry (\"*\")", "what a client does with \"*\" is told in words", false},
        {"{\"format\":1,\"gateway\":\"https://gw.test\",\"registries\":[{\"name\":\"*.azurecr.io\"}]}",
         "serves the registries *.azurecr.io", "and with a smaller wildcard", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct client_site *site = site_of(rows[i].site);
        char *text = kit_print(plan_podman, site, NULL);
        cr_expect_eq(strstr(text, rows[i].has) != NULL, !rows[i].absent, "%s: %.3000s", rows[i].why, text);
        free(text);
        client_site_free(site);
    }
}
