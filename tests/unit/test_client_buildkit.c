// SPDX-License-Identifier: Apache-2.0
//
// buildkitd: its file for an empty machine and merged, the proxy, the source policy, and the builders of buildx.

#include "client_kit.h"

#include "mirrors/base/json.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define TOML "/etc/buildkit/buildkitd.toml"
#define UNIT "/etc/systemd/system/buildkit.service.d/pullgate.conf"
#define SOURCES "/etc/buildkit/pullgate-source-policy.json"

Test(client_buildkit, an_empty_machine) {
    static const struct {
        const char *path, *has, *why;
        bool absent;
    } rows[] = {
        {TOML, "[registry.\"gw.test:5443\"]", "the gateway has an entry", false},
        {TOML, "ca = [\"/etc/pullgate/ca.crt\"]", "with its authority", false},
        {TOML, "/etc/pullgate/m.key", "and the machine's key", false},
        {TOML, "[registry.\"docker.io\"]\n", "each registry has one", false},
        {TOML, "mirrors = [\"gw.test:5443\"]", "that names the gateway", false},
        {TOML, "azurecr", "a wildcard would not be read", true},
        {TOML, "# What this machine shows to the gateway.", "lines say what they are for", false},
        {UNIT, "Environment=\"HTTPS_PROXY=http://gw.test:3128\"", "what ends the fallback", false},
        {UNIT, "NO_PROXY=gw.test,registry.corp.example.com,git.corp.example.com", "and what is not asked there", false},
        {SOURCES, "\"docker-image://gw.test:5443/docker.io/${1}\"", "the client's side converts", false},
        {SOURCES, "\"DENY\", \"selector\": { \"identifier\": \"docker-image://*\" }", "denies the others", false},
        {SOURCES, "\"DENY\", \"selector\": { \"identifier\": \"https://*\" }", "and ADD", false},
        {SOURCES, "\"DENY\", \"selector\": { \"identifier\": \"git://*\" }", "and git", false},
        {SOURCES, "\"ALLOW\", \"selector\": { \"identifier\": \"docker-image://gw.test:5443/*\" }", "but the gateway",
         false},
        {SOURCES, "\"ALLOW\", \"selector\": { \"identifier\": \"git://git.corp.example.com/*\" }", "and the site's own",
         false},
    };
    char *root = kit_root();
    struct client_site *site = kit_site(true, true);
    struct kit_run r = kit_write(plan_buildkit, site, NULL, root, false);
    cr_assert(r.ok, "%s", r.err.text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = kit_get(root, rows[i].path);
        cr_expect_eq(strstr(text, rows[i].has) != NULL, !rows[i].absent, "%s: %s", rows[i].why, text);
        free(text);
    }
    cr_expect_not_null(strstr(r.out, "--driver docker-container"), "%s", r.out);
    cr_expect_not_null(strstr(r.out, "--driver kubernetes"));
    cr_expect_not_null(strstr(r.out, "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"));
    kit_done(&r);
    r = kit_write(plan_buildkit, site, NULL, root, true);
    cr_expect_eq(r.result.changed, 0, "written twice, nothing changes: %s", r.out);
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

Test(client_buildkit, order_of_the_source_policy) {
    // The last match wins: conversions first, then what is denied, then what is allowed.
    char *root = kit_root();
    struct client_site *site = kit_site(true, false);
    struct kit_run r = kit_write(plan_buildkit, site, NULL, root, false);
    char *text = kit_get(root, SOURCES);
    struct conf_document *d = conf_parse(CONF_JSON, text, strlen(text), &r.err);
    cr_assert_not_null(d, "%s: %s", r.err.text, text);
    const char *order = "CDA", *at = order;
    for (const struct conf *rule = conf_get(conf_root(d), "rules")->child; rule != NULL; rule = rule->next) {
        const char *action = conf_get_string(rule, "action");
        cr_assert_not_null(action);
        while (*at != '\0' && *at != action[0])
            at++;
        cr_expect(*at != '\0', "%s stands too late: %s", action, text);
    }
    conf_free(d);
    free(text);
    kit_done(&r);
    client_site_free(site);
    kit_drop(root);
}

Test(client_buildkit, what_is_no_table_stays) {
    static const char *const rows[] = {"[[registry]]\n", "registry = [ {}, 1 ]\n", "registry = 1\n"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *root = kit_root();
        struct client_site *site = kit_site(true, false);
        kit_put(root, TOML, rows[i]);
        struct kit_run r = kit_write(plan_buildkit, site, NULL, root, true);
        char *text = kit_get(root, TOML);
        cr_expect_str_eq(text, rows[i]);
        cr_expect_eq(r.result.refused, 1, "%s: %s", rows[i], r.out);
        free(text);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_buildkit, merged) {
    static const char before[] = "# mine\ndebug = true\n\n[registry.\"docker.io\"]\n  mirrors = [\"old\"] # theirs\n"
                                 "  http = true\n\n[registry.\"quay.io\"]\n  mirrors = [\"other\"]\n\n"
                                 "[registry.\"registry.corp.example.com\"]\n  insecure = true\n";
    static const struct {
        const char *has, *why;
        bool loose, strict;
    } rows[] = {
        {"# mine\ndebug = true\n", "what is there stays", true, true},
        {"mirrors = [\"gw.test:5443\"] # theirs", "its mirror is replaced where it stands", true, true},
        {"http = true", "no look at a certificate: named, and gone with --strict", true, false},
        {"mirrors = [\"other\"]", "another registry's mirror likewise", true, false},
        {"insecure = true", "a direct registry is the site's own matter", true, true},
    };
    for (int strict = 0; strict < 2; strict++) {
        char *root = kit_root();
        struct client_site *site = kit_site(true, false);
        kit_put(root, TOML, before);
        struct kit_run r = kit_write(plan_buildkit, site, NULL, root, strict);
        char *text = kit_get(root, TOML);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            cr_expect_eq(strstr(text, rows[i].has) != NULL, strict ? rows[i].strict : rows[i].loose, "%s: %s",
                         rows[i].why, text);
        cr_expect_eq(r.result.refused, strict ? 0 : 2, "%s", r.out);
        free(text);
        kit_done(&r);
        client_site_free(site);
        kit_drop(root);
    }
}

Test(client_buildkit, without_a_proxy) {
    struct client_site *site = kit_site(false, false);
    char *text = kit_print(plan_buildkit, site, NULL);
    cr_expect_null(strstr(text, "HTTPS_PROXY"), "%s", text);
    cr_expect_not_null(strstr(text, "no proxy that refuses"), "what stays open because of that is told: %s", text);
    free(text);
    client_site_free(site);
}
