// SPDX-License-Identifier: Apache-2.0
//
// daemon.json as dockerd reads it, and the proxy environment that systemd gives a daemon.

#include "gateway/doctor/daemon_env.h"
#include "gateway/doctor/daemon_json.h"

#include <criterion/criterion.h>
#include <string.h>

struct reading {
    const char *why;
    const char *text;
    bool usable;
    size_t mirrors, insecure;
    enum daemon_store store;
    const char *https;
};

static const struct reading readings[] = {
    {"an empty file is no settings", "", true, 0, 0, STORE_UNSAID, NULL},
    {"blanks are no settings either", " \n\t", true, 0, 0, STORE_UNSAID, NULL},
    {"an empty object", "{}", true, 0, 0, STORE_UNSAID, NULL},
    {"what pullgate writes",
     "{\"registry-mirrors\":[\"https://gw\"],\"proxies\":{\"http-proxy\":\"http://p\",\"https-proxy\":\"http://p\","
     "\"no-proxy\":\"gw\"}}",
     true, 1, 0, STORE_UNSAID, "http://p"},
    {"the containerd store", "{\"features\":{\"containerd-snapshotter\":true}}", true, 0, 0, STORE_CONTAINERD, NULL},
    {"the classic store", "{\"features\":{\"containerd-snapshotter\":false,\"buildkit\":true}}", true, 0, 0,
     STORE_CLASSIC, NULL},
    {"insecure ones", "{\"insecure-registries\":[\"a:5000\",\"10.0.0.0/8\"]}", true, 0, 2, STORE_UNSAID, NULL},
    {"an empty proxy is none", "{\"proxies\":{\"https-proxy\":\"\"}}", true, 0, 0, STORE_UNSAID, NULL},
    {"null is nothing", "{\"registry-mirrors\":null}", true, 0, 0, STORE_UNSAID, NULL},
    {"a comma too many", "{\"registry-mirrors\":[\"https://gw\"],}", false, 0, 0, STORE_UNSAID, NULL},
    {"a comment", "// mine\n{}", false, 0, 0, STORE_UNSAID, NULL},
    {"mirrors that are no list", "{\"registry-mirrors\":\"https://gw\"}", false, 0, 0, STORE_UNSAID, NULL},
    {"a list is no object", "[]", false, 0, 0, STORE_UNSAID, NULL},
    {"a number among the mirrors", "{\"registry-mirrors\":[1]}", false, 0, 0, STORE_UNSAID, NULL},
    {"a store that is no boolean", "{\"features\":{\"containerd-snapshotter\":\"yes\"}}", false, 0, 0, STORE_UNSAID,
     NULL},
};

Test(daemon_json, readings) {
    for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
        const struct reading *r = &readings[i];
        struct daemon_json d;
        daemon_json_read(r->text, strlen(r->text), &d);
        cr_expect_eq(d.usable, r->usable, "%s: %s", r->why, d.why.text);
        cr_expect_eq(d.usable, d.why.text[0] == '\0', "%s: says why", r->why);
        if (d.usable) {
            cr_expect_eq(d.mirrors.count, r->mirrors, "%s", r->why);
            cr_expect_eq(d.insecure.count, r->insecure, "%s", r->why);
            cr_expect_eq(d.store, r->store, "%s", r->why);
            cr_expect_eq(d.https_proxy == NULL, r->https == NULL, "%s", r->why);
        }
        daemon_json_deinit(&d);
    }
}

struct unit {
    const char *why;
    const char *text;
    const char *https, *no; ///< NULL: not set.
};

static const struct unit units[] = {
    {"one assignment in quotes", "[Service]\nEnvironment=\"HTTPS_PROXY=http://p\"\n", "http://p", NULL},
    {"several, and small letters", "[Service]\nEnvironment=https_proxy=http://p no_proxy=gw\n", "http://p", "gw"},
    {"the last one counts", "[Service]\nEnvironment=HTTPS_PROXY=http://a\nEnvironment=HTTPS_PROXY=http://b\n",
     "http://b", NULL},
    {"an empty line takes all back", "[Service]\nEnvironment=HTTPS_PROXY=http://a\nEnvironment=\n", NULL, NULL},
    {"another section", "[Unit]\nEnvironment=HTTPS_PROXY=http://p\n", NULL, NULL},
    {"a comment", "[Service]\n# Environment=HTTPS_PROXY=http://p\n", NULL, NULL},
    {"a line that goes on", "[Service]\nEnvironment=HTTPS_PROXY=http://p \\\n  NO_PROXY=gw\n", "http://p", "gw"},
    {"single quotes around the value", "[Service]\nEnvironment='NO_PROXY=a, b' HTTPS_PROXY=http://p\n", "http://p",
     "a, b"},
    {"no line end at the end", "[Service]\nEnvironment=HTTPS_PROXY=http://p", "http://p", NULL},
    {"a quote that does not end", "[Service]\nEnvironment=\"HTTPS_PROXY=http://p\n", "http://p", NULL},
    {"systemd's own doubled percent sign", "[Service]\nEnvironment=HTTPS_PROXY=http://u%%40:x@p\n", "http://u%40:x@p",
     NULL},
};

static void expect(const char *found, const char *wanted, const char *why) {
    cr_expect_eq(found == NULL, wanted == NULL, "%s: %s", why, found != NULL ? found : "none");
    if (found != NULL && wanted != NULL)
        cr_expect_str_eq(found, wanted, "%s: %s", why, found);
}

Test(daemon_env, units) {
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        struct daemon_env env = {0};
        struct names files = {0};
        daemon_env_unit(units[i].text, strlen(units[i].text), "a.conf", &env, &files);
        expect(env.https, units[i].https, units[i].why);
        expect(env.no, units[i].no, units[i].why);
        daemon_env_deinit(&env);
        names_deinit(&files);
    }
}

Test(daemon_env, files_of_a_unit) {
    static const char text[] = "[Service]\nEnvironmentFile=-/etc/default/docker\nEnvironmentFile=/etc/x\n";
    struct daemon_env env = {0};
    struct names files = {0};
    daemon_env_unit(text, strlen(text), "a.conf", &env, &files);
    cr_assert_eq(files.count, 2);
    cr_expect_str_eq(files.at[0], "/etc/default/docker");
    static const char lines[] = "# mine\nexport HTTPS_PROXY=\"http://p\"\n NO_PROXY=gw\nOTHER=1";
    daemon_env_file(lines, strlen(lines), files.at[0], &env);
    expect(env.https, "http://p", "export");
    expect(env.no, "gw", "a blank before it");
    expect(env.from, "/etc/default/docker", "who said so");
    names_deinit(&files);
    daemon_env_deinit(&env);
}

Test(daemon_env, process_and_prefix) {
    static const char text[] = "PATH=/bin\0CONTAINERD_HTTPS_PROXY=http://p\0NO_PROXY=gw\0HTTP_PROXY=\0";
    struct daemon_env plain = {0}, prefixed = {.prefix = "CONTAINERD_"};
    daemon_env_process(text, sizeof text - 1, &plain);
    daemon_env_process(text, sizeof text - 1, &prefixed);
    expect(plain.https, NULL, "the prefix is k3s's alone");
    expect(plain.no, "gw", "as it is");
    expect(plain.http, NULL, "an empty one is none");
    expect(prefixed.https, "http://p", "with its prefix");
    daemon_env_deinit(&plain);
    daemon_env_deinit(&prefixed);
}
