// SPDX-License-Identifier: Apache-2.0
//
// What dockerd is given: for old and new daemons, merged into what is there, and with --takeover.

#include "client_kit.h"

#include "gateway/clients/common.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char daemon_json[] = "/etc/docker/daemon.json", hosts[] = "/etc/docker/certs.d/_default/hosts.toml",
                  unit[] = "/etc/systemd/system/docker.service.d/pullgate.conf";

static const struct client_options as_29 = {.docker_version = "29.7.2"}, as_20 = {.docker_version = "20.10.24"},
                                   taken = {.docker_version = "29.7.2", .takeover = true, .address = "10.0.0.5"};

static void expect(const char *root, const char *path, const char *says, bool does, const char *why) {
    char *text = kit_get(root, path);
    cr_expect_eq(strstr(text, says) != NULL, does, "%s: %s %s \"%s\":\n%s", why, path, does ? "lacks" : "holds", says,
                 text);
    free(text);
}

Test(client_docker, fresh) {
    static const struct {
        const struct client_options *options;
        bool proxy, own;
        const char *path, *says;
        bool does;
        const char *why;
    } rows[] = {
        {&as_29, true, false, daemon_json, "\"registry-mirrors\": [\"https://gw.test:5443\"]", true, "mirror"},
        {&as_29, true, false, daemon_json, "\"http-proxy\": \"http://gw.test:3128\"", true, "the proxy as of 23.0"},
        {&as_29, true, false, daemon_json, "\"https-proxy\": \"http://gw.test:3128\"", true, "and for https"},
        {&as_29, true, false, daemon_json, "\"no-proxy\": \"gw.test,registry.corp.example.com,git.corp.example.com\"",
         true, "what goes past the proxy"},
        {&as_29, true, false, unit, "Environment", false, "no drop-in where daemon.json says it"},
        {&as_29, false, false, daemon_json, "proxies", false, "no proxy, no key"},
        {&as_20, true, false, daemon_json, "proxies", false, "20.10 does not start with that key"},
        {&as_20, true, false, daemon_json, "registry-mirrors", true, "but has the mirror"},
        {&as_20, true, false, unit, "\nEnvironment=\"HTTPS_PROXY=http://gw.test:3128\"\n", true, "and the environment"},
        {&as_20, true, false, unit,
         "\nEnvironment=\"NO_PROXY=gw.test,registry.corp.example.com,git.corp.example.com\"\n", true,
         "with what goes past"},
        {&as_29, true, false, hosts, "\nserver = \"https://gw.test:5443\"\n", true, "one server"},
        {&as_29, true, false, hosts, "\ncapabilities = [\"pull\", \"resolve\"]\n", true, "no pushes"},
        {&as_29, true, false, hosts, "\nca = \"/etc/pullgate/ca.crt\"\n", true, "the CA"},
        {&as_29, true, false, hosts, "\n[host]\n", true, "the empty table that containerd 1.6 wants"},
        {&as_29, true, false, hosts, "client =", false, "no certificate"},
        {&as_29, true, true, hosts, "\nclient = [[\"/etc/pullgate/m.crt\", \"/etc/pullgate/m.key\"]]\n", true,
         "the machine's certificate"},
        {&as_29, true, true, hosts, "\n[header]\n\"X-Team\" = \"blue\"\n", true, "the header"},
        {&as_29, true, false, "/etc/docker/certs.d/registry.corp.example.com/hosts.toml",
         "\nserver = \"https://registry.corp.example.com\"\n", true, "the direct registry is itself"},
        {&as_29, true, false, "/etc/docker/certs.d/registry.corp.example.com/hosts.toml", "capabilities", false,
         "and takes pushes"},
        {&taken, true, false, "/etc/hosts", "\n10.0.0.5 registry-1.docker.io\n", true,
         "a name that leads to the gateway"},
        {&taken, true, false, "/etc/hosts", "\n10.0.0.5 auth.docker.io\n", true, "one below the registry's own"},
        {&taken, true, false, "/etc/hosts", "\n10.0.0.5 ghcr.io\n", true, "another registry"},
        {&taken, true, false, "/etc/hosts", "cloudflare", false, "never a host of others"},
        {&taken, true, false, "/etc/hosts", "azurecr", false, "no wildcards in a hosts file"},
        {&taken, true, false, daemon_json, "registry-mirrors", false, "no mirror under own names"},
        {&taken, true, false, daemon_json, ",ghcr.io", true, "what is taken over is not asked through the proxy"},
        {&taken, true, true, "/etc/docker/certs.d/docker.io/hosts.toml",
         "\nserver = \"https://registry-1.docker.io\"\n", true, "the registry's own name"},
        {&taken, true, true, "/etc/docker/certs.d/ghcr.io/hosts.toml", "\nclient = ", true, "with what says who asks"},
        {&taken, true, false, hosts, "\nserver = \"https://gw.test:5443\"\n", true, "all others still at the gateway"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        struct client_site *site = kit_site(rows[i].proxy, rows[i].own);
        struct kit_run r = kit_write(plan_docker, site, rows[i].options, root, false);
        cr_expect(r.ok && r.result.refused == 0, "%s: %s\n%s", rows[i].why, r.err.text, r.out);
        expect(root, rows[i].path, rows[i].says, rows[i].does, rows[i].why);
        kit_done(&r);
        r = kit_write(plan_docker, site, rows[i].options, root, true);
        cr_expect_eq(r.result.changed + r.result.aside, 0, "%s: written twice\n%s", rows[i].why, r.out);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_docker, links) {
    char *root = kit_root();
    struct client_site *site = kit_site(true, true);
    struct kit_run r = kit_write(plan_docker, site, &as_29, root, false);
    static const char *const names[] = {"ca.crt", "client.cert", "client.key"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = mem_printf("/etc/docker/certs.d/gw.test:5443/%s", names[i]);
        cr_expect(kit_is(root, path), "the graphdriver store's pulls want %s", path);
        free(path);
    }
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

Test(client_docker, merge) {
    static const struct {
        const char *path, *before;
        bool strict;
        const char *after, *says, *lacks;
        size_t refused;
        const char *why;
    } rows[] = {
        {daemon_json, "{\n\t\"log-driver\": \"json-file\"\n}\n", false, daemon_json,
         "\t\"log-driver\": \"json-file\",\n", NULL, 0, "other keys and the indentation stay"},
        {daemon_json, "{\"registry-mirrors\": [\"https://old.example.com\"]}", false, daemon_json,
         "https://gw.test:5443", "old.example.com", 0, "another mirror goes"},
        {daemon_json, "{\"insecure-registries\": [\"evil.example.com\", \"127.0.0.0/8\"]}", false, daemon_json,
         "evil.example.com", NULL, 1, "registries without TLS are named"},
        {daemon_json,
         "{\"insecure-registries\": [\"evil.example.com\", \"127.0.0.0/8\", \"registry.corp.example.com\"]}", true,
         daemon_json, "[\"127.0.0.0/8\", \"registry.corp.example.com\"]", "evil.example.com", 0,
         "and go with --strict, but for this machine's own and what is direct"},
        {daemon_json, "{\"insecure-registries\": [\"evil.example.com\"]}", true, daemon_json, "registry-mirrors",
         "insecure-registries", 0, "and the key with the last of them"},
        {daemon_json, "{\"insecure-registries\": [\"gw.test:5443\"]}", true, daemon_json, "registry-mirrors",
         "insecure-registries", 0, "the gateway's certificate is to be looked at"},
        {daemon_json, "{\"log-driver\": ", true, daemon_json, "{\"log-driver\": ", "mirrors", 1,
         "what does not parse stays as it is"},
        {hosts, "server = \"https://registry-1.docker.io\"\n", false, hosts, "https://gw.test:5443", "registry-1", 0,
         "_default is the gateway's"},
        {hosts, "server = [[[\n", false, hosts, "https://gw.test:5443", "[[[", 0, "also when it did not parse"},
        {"/etc/docker/certs.d/ghcr.io", NULL, false, "/etc/docker/certs.d/ghcr.io", NULL, NULL, 1,
         "an empty folder for one registry is named"},
        {"/etc/docker/certs.d/ghcr.io/ca.crt", "x", true, "/etc/docker/ghcr.io.pullgate-aside/ca.crt", "x", NULL, 0,
         "and moved out with --strict"},
        {"/etc/docker/certs.d/registry.corp.example.com/ca.crt", "x", true,
         "/etc/docker/certs.d/registry.corp.example.com/hosts.toml", NULL, "server", 0,
         "a direct registry's own folder stays as it is"},
        {"/etc/docker/certs.d/gw.test:5443/hosts.toml", "server = \"https://evil.example.com\"\n", false,
         "/etc/docker/certs.d/gw.test:5443/hosts.toml", "evil", NULL, 1,
         "the gateway's own name led elsewhere is named"},
        {"/etc/docker/certs.d/gw.test_5443_/hosts.toml", "server = [", true,
         "/etc/docker/certs.d/gw.test_5443_/hosts.toml.pullgate-aside", "server", NULL, 0, "and ends with --strict"},
        {"/etc/docker/certs.d/gw.test:5443/hosts.toml", "server = \"https://gw.test:5443\"\nca = \"/x\"\n", true,
         "/etc/docker/certs.d/gw.test:5443/hosts.toml", "/x", NULL, 0, "one that leads to the gateway stays"},
        {"/etc/docker/certs.d/gw.test_5443_/ca.crt", "x", true, "/etc/docker/certs.d/gw.test_5443_/ca.crt", "x", NULL,
         0, "the gateway's other spelling too"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        kit_put(root, rows[i].path, rows[i].before);
        struct client_site *site = kit_site(true, false);
        struct kit_run r = kit_write(plan_docker, site, &as_29, root, rows[i].strict);
        cr_expect(r.ok, "%s: %s", rows[i].why, r.err.text);
        cr_expect_eq(r.result.refused, rows[i].refused, "%s: %s", rows[i].why, r.out);
        if (rows[i].says != NULL)
            expect(root, rows[i].after, rows[i].says, true, rows[i].why);
        if (rows[i].lacks != NULL)
            expect(root, rows[i].after, rows[i].lacks, false, rows[i].why);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_docker, older_daemon_loses_the_key) {
    char *root = kit_root();
    struct client_site *site = kit_site(true, false);
    struct kit_run r = kit_write(plan_docker, site, &as_29, root, false);
    expect(root, daemon_json, "proxies", true, "as of 23.0");
    kit_done(&r);
    r = kit_write(plan_docker, site, &as_20, root, false);
    expect(root, daemon_json, "proxies", false, "20.10 would not start with it");
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

Test(client_docker, takeover_and_back) {
    char *root = kit_root();
    kit_put(root, "/etc/hosts", "127.0.0.1 localhost\n");
    kit_put(root, "/etc/docker/certs.d/ghcr.io/hosts.toml", "server = \"https://old.example.com\"\n");
    struct client_site *site = kit_site(true, false);
    struct kit_run r = kit_write(plan_docker, site, &taken, root, false);
    expect(root, "/etc/docker/certs.d/ghcr.io/hosts.toml", "old.example.com", false, "another server under its name");
    kit_done(&r);
    r = kit_write(plan_docker, site, &as_29, root, true);
    char *text = kit_get(root, "/etc/hosts");
    cr_expect_str_eq(text, "127.0.0.1 localhost\n", "the hosts file is as it was");
    cr_expect(kit_is(root, "/etc/docker/ghcr.io.pullgate-aside"), "and the names' folders go: %s", r.out);
    free(text);
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

Test(client_docker, takeover_and_others_lines) {
    static const struct {
        const char *before;
        bool strict;
        const char *says, *lacks;
        size_t refused;
        const char *why;
    } rows[] = {
        {"192.0.2.1 ghcr.io\n", false, "\n192.0.2.1 ghcr.io\n", NULL, 1, "named as left without --strict"},
        {"192.0.2.1 ghcr.io\n", true, "\n# taken out by pullgate: 192.0.2.1 ghcr.io\n", "\n192.0.2.1", 0,
         "a comment with it"},
        {"192.0.2.1 web GHCR.io\t# mine\n", true, "\n# taken out by pullgate: 192.0.2.1 web GHCR.io\t# mine\n", NULL, 0,
         "a name is one in capitals too"},
        {"192.0.2.1 web registry-1.docker.io", false, "registry-1.docker.io", NULL, 1, "without an end of line"},
        {"10.0.0.5 ghcr.io\n", false, "\n10.0.0.5 ghcr.io\n", NULL, 0, "the gateway's address is no other"},
        {"192.0.2.1 web # ghcr.io\n", true, "\n192.0.2.1 web # ghcr.io\n", "taken out", 0, "a comment leads nowhere"},
        {"# 192.0.2.1 ghcr.io\n", true, "\n# 192.0.2.1 ghcr.io\n", "taken out", 0, "nor a line that is one"},
        {"192.0.2.1 myghcr.io ghcr.io.test\n", true, "\n192.0.2.1 myghcr.io", "taken out", 0, "other names stay"},
        {"192.0.2.1 quay.example\n", true, "\n192.0.2.1 quay.example\n", "taken out", 0, "and what is not taken over"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root(), *text = mem_printf("127.0.0.1 localhost\n%s", rows[i].before);
        kit_put(root, "/etc/hosts", text);
        struct client_site *site = kit_site(true, false);
        struct kit_run r = kit_write(plan_docker, site, &taken, root, rows[i].strict);
        cr_expect_eq(r.result.refused, rows[i].refused, "%s: %s", rows[i].why, r.out);
        expect(root, "/etc/hosts", rows[i].says, true, rows[i].why);
        expect(root, "/etc/hosts", "\n10.0.0.5 ghcr.io\n", true, rows[i].why);
        if (rows[i].lacks != NULL)
            expect(root, "/etc/hosts", rows[i].lacks, false, rows[i].why);
        cr_expect(kit_is(root, "/etc/hosts.pullgate-backup"), "%s: the old text is kept", rows[i].why);
        kit_done(&r);
        r = kit_write(plan_docker, site, &taken, root, rows[i].strict);
        cr_expect_eq(r.result.changed, 0, "%s: written twice\n%s", rows[i].why, r.out);
        kit_done(&r);
        client_site_free(site);
        free(text);
        kit_drop(root);
    }
}

Test(client_docker, says_what_stays_open) {
    static const struct {
        bool proxy;
        const char *says;
        bool does;
        const char *why;
    } rows[] = {
        {false, "no listener that refuses CONNECT", true, "without a proxy the old store is open"},
        {true, "no listener that refuses CONNECT", false, "not with one"},
        {true, "docker manifest inspect", true, "what the client does itself"},
        {true, "docker load", true, "what asks nobody"},
        {true, "systemctl restart docker", true, "what to run"},
        {true, "--docker-version 20.10", true, "that a version was assumed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client_site *site = kit_site(rows[i].proxy, false);
        char *text = kit_print(plan_docker, site, NULL);
        cr_expect_eq(strstr(text, rows[i].says) != NULL, rows[i].does, "%s: %s", rows[i].why, text);
        free(text);
        client_site_free(site);
    }
}

Test(client_docker, rivals) {
    static const struct {
        const struct client_options *options;
        const char *path, *text, *says;
        bool does;
        const char *why;
    } rows[] = {
        {&as_20, "/etc/systemd/system/docker.service.d/zz.conf", "[Service]\nEnvironment=HTTPS_PROXY=http://p\n",
         "zz.conf names a proxy too", true, "a later drop-in wins"},
        {&as_20, "/etc/systemd/system/docker.service.d/http-proxy.conf",
         "[Service]\nEnvironment=HTTPS_PROXY=http://p\n", "names a proxy too", false, "an earlier one does not"},
        {&as_20, "/etc/default/docker", "export https_proxy=http://p\n", "/etc/default/docker names a proxy too", true,
         "a file of the environment wins"},
        {&as_20, "/etc/default/docker", "#export https_proxy=http://p\n", "names a proxy too", false,
         "not in a comment"},
        {&as_29, "/etc/default/docker", "export https_proxy=http://p\n", "names a proxy too", false,
         "not over daemon.json"},
        {&as_29, "/etc/default/docker", "DOCKER_OPTS=\"--registry-mirror=https://m\"\n", "with --registry-mirror", true,
         "a flag that keeps dockerd from starting"},
        {&as_29, "/etc/systemd/system/docker.service.d/o.conf", "ExecStart=/usr/bin/dockerd --insecure-registry x\n",
         "with --insecure-registry", true, "in a drop-in too"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = kit_root();
        kit_put(root, rows[i].path, rows[i].text);
        struct client_site *site = kit_site(true, false);
        struct kit_run r = kit_write(plan_docker, site, rows[i].options, root, false);
        // The sentence is broken into lines where it is printed.
        for (char *at = r.out; (at = strstr(at, "\n  ")) != NULL;)
            memmove(at, at + 2, strlen(at + 2) + 1), *at = ' ';
        cr_expect_eq(strstr(r.out, rows[i].says) != NULL, rows[i].does, "%s:\n%s", rows[i].why, r.out);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_docker, version) {
    static const struct {
        const char *answer, *version, *why;
    } rows[] = {
        {"Docker version 20.10.24+dfsg1, build 5d6db84\n", "20.10.24", "Debian's dockerd"},
        {"Docker version 29.7.2, build abcdef0", "29.7.2", "today's"},
        {"containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n", "1.6.20",
         "Debian's containerd"},
        {"containerd github.com/containerd/containerd/v2 v2.3.4 0123456\n", "2.3.4", "a letter before it"},
        {"k3s version v1.29.2+k3s-364dfd8b (364dfd8b)\ngo version go1.21.7\n", "1.29.2", "the first that is one"},
        {"", NULL, "nothing"},
        {"flag provided but not defined: -version 3\n", NULL, "a number is no version"},
        {"1.1111111111111111111111111111111111111111111111111111111111111111111111111111\n", NULL,
         "one that is too long"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char version[VERSION_TEXT_MAX] = "";
        cr_expect_eq(version_find(rows[i].answer, version), rows[i].version != NULL, "%s", rows[i].why);
        if (rows[i].version != NULL)
            cr_expect_str_eq(version, rows[i].version, "%s", rows[i].why);
    }
    cr_expect_eq(version_major("20.10.24"), 20);
    cr_expect_eq(version_major("x"), 0);
}

Test(client_docker, takeover_needs_an_address) {
    struct client_site *site = kit_site(true, false);
    struct client_options o = {.root = "", .takeover = true, .address = "not an address"};
    struct client_plan *p = plan_new();
    struct err err = {""};
    cr_expect_not(plan_docker(site, &o, p, &err));
    cr_expect_not_null(strstr(err.text, "--address"), "%s", err.text);
    plan_free(p);
    client_site_free(site);
}
