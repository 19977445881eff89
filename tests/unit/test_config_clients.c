// SPDX-License-Identifier: Apache-2.0
//
// "clients" and "compliance": errors, values, what check says of them, and reloads.

#include "gateway/config/config.h"
#include "mirrors/base/buf.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};

static struct config *parse(const char *text, struct err *err) {
    return config_parse(text, strlen(text), NULL, catalog, err);
}

static struct config *good(const char *text) {
    struct err err = {0};
    struct config *c = parse(text, &err);
    cr_assert_not_null(c, "%s: %s", text, err.text);
    return c;
}

#define CLIENTS(keys) "{\"clients\":{" keys "}}"
#define COMPLIANCE(keys) "{\"compliance\":{" keys "}}"

static const struct {
    const char *why, *text, *error;
} error_rows[] = {
    {"another type", "{\"clients\":[]}", "clients: expected { \"gateway\""},
    {"null is no object", "{\"clients\":null}", "clients: expected { \"gateway\""},
    {"an unknown key", CLIENTS("\"gatway\":\"https://gw\""), "clients.gatway: unknown key; did you mean \"gateway\"?"},
    {"a name alone", CLIENTS("\"gateway\":\"gw.example.com\""),
     "clients.gateway: expected a URL such as \"https://gateway.example.com\", found \"gw.example.com\""},
    {"a path", CLIENTS("\"gateway\":\"https://gw/v2/\""), "clients.gateway: expected a URL"},
    {"a query", CLIENTS("\"gateway\":\"https://gw?a\""), "clients.gateway: expected a URL"},
    {"a password", CLIENTS("\"gateway\":\"https://u:hunter2@gw\""), "clients.gateway: expected no user name"},
    {"no host", CLIENTS("\"gateway\":\"https://\""), "clients.gateway: "},
    {"null is only for the proxy", CLIENTS("\"gateway\":null"), "clients.gateway: expected a URL"},
    {"a SOCKS proxy refuses no CONNECT", CLIENTS("\"proxy\":\"socks5://p:1080\""), "clients.proxy: expected a URL"},
    {"direct that is no list", CLIENTS("\"direct\":\"r.corp\""), "clients.direct: expected a list of registries"},
    {"a direct registry with a path", CLIENTS("\"direct\":[\"r.corp/team\"]"), "clients.direct[0]: "},
    {"a direct registry with a wildcard", CLIENTS("\"direct\":[\"*.corp\"]"), "clients.direct[0]: "},
    {"the canary past the gateway", CLIENTS("\"direct\":[\"canary.pullgate.invalid:443\"]"),
     "clients.direct[0]: canary.pullgate.invalid"},
    {"all that is not listed past the gateway", CLIENTS("\"direct\":[\"unlisted.pullgate.invalid\"]"),
     "clients.direct[0]: unlisted.pullgate.invalid is pullgate's own"},
    {"a direct registry of another type", CLIENTS("\"direct\":[\"r.corp\",2]"),
     "clients.direct[1]: expected a registry's host"},
    {"no_proxy of everything", CLIENTS("\"no_proxy\":[\"*\"]"), "clients.no_proxy[0]: \"*\" would send every request"},
    {"no_proxy of every address", CLIENTS("\"no_proxy\":[\"0.0.0.0/0\"]"),
     "clients.no_proxy[0]: \"0.0.0.0/0\" would send"},
    {"two in one", CLIENTS("\"no_proxy\":[\"a,b\"]"), "clients.no_proxy[0]: expected a host name"},
    {"an empty one", CLIENTS("\"no_proxy\":[\"\"]"), "clients.no_proxy[0]: expected a host name"},
    {"takeover in words", CLIENTS("\"takeover\":\"yes\""), "clients.takeover: expected true or false"},
    {"compliance of another type", "{\"compliance\":true}", "compliance: expected { \"outdated_after\""},
    {"no unit", COMPLIANCE("\"outdated_after\":\"24\""), "compliance.outdated_after: expected a duration"},
    {"too soon for any timer", COMPLIANCE("\"outdated_after\":\"59s\""),
     "compliance.outdated_after: expected at least 1m and at most 365d"},
    {"a machine that is no name", COMPLIANCE("\"expected\":[\"\"]"), "compliance.expected[0]: "},
    {"a machine of two lines", COMPLIANCE("\"expected\":[\"a\\nb\"]"), "compliance.expected[0]: "},
    {"a machine of another type", COMPLIANCE("\"expected\":[1]"), "compliance.expected[0]: "},
    {"the canary is no registry", "{\"registries\":{\"canary.pullgate.invalid\":{}}}",
     "registries.\"canary.pullgate.invalid\": "},
    {"nor at a port", "{\"registries\":{\"Canary.pullgate.invalid:5000\":{}}}", "registries."},
    {"nor is what stands for unlisted ones", "{\"registries\":{\"unlisted.pullgate.invalid\":{}}}",
     "registries.\"unlisted.pullgate.invalid\": "},
    {"nor as an alias", "{\"registries\":{\"a.io\":{\"aliases\":[\"canary.pullgate.invalid\"]}}}",
     "registries.\"a.io\".aliases[0]: "},
};

Test(config_clients, errors) {
    for (size_t i = 0; i < sizeof error_rows / sizeof error_rows[0]; i++) {
        struct err err = {0};
        struct config *c = parse(error_rows[i].text, &err);
        cr_expect_null(c, "%s", error_rows[i].why);
        cr_expect_eq(strncmp(err.text, error_rows[i].error, strlen(error_rows[i].error)), 0, "%s: %s",
                     error_rows[i].why, err.text);
        cr_expect_null(strstr(err.text, "hunter2"), "no password is shown");
        config_unref(c);
    }
}

Test(config_clients, defaults) {
    struct config *c = good("{}");
    cr_expect_null(c->clients.gateway);
    cr_expect_null(c->clients.proxy);
    cr_expect_not(c->clients.no_proxy_listener);
    cr_expect_not(c->clients.takeover);
    cr_expect_eq(c->clients.direct.count + c->clients.no_proxy.count + c->compliance.expected.count, 0);
    cr_expect_eq(c->compliance.outdated_after_s, 24 * 3600);
    config_unref(c);
}

Test(config_clients, values) {
    struct config *c = good("{\"clients\":{\"gateway\":\"https://GW.example.com:443\",\"proxy\":\"http://GW:3128/\","
                            "\"direct\":[\"index.docker.io\",\"r.corp:5000\",\"docker.io\"],"
                            "\"no_proxy\":[\".corp\",\"10.0.0.0/8\",\".corp\"],\"takeover\":true,\"x-note\":1},"
                            "\"compliance\":{\"outdated_after\":\"7d\",\"expected\":[\"web-2\",\"web-1\",\"web-2\"]}}");
    cr_expect_str_eq(c->clients.gateway, "https://gw.example.com");
    cr_expect_str_eq(c->clients.proxy, "http://gw:3128");
    cr_assert_eq(c->clients.direct.count, 2, "each once, in their canonical form");
    cr_expect_str_eq(c->clients.direct.texts[0], "docker.io");
    cr_expect_str_eq(c->clients.direct.texts[1], "r.corp:5000");
    cr_assert_eq(c->clients.no_proxy.count, 2);
    cr_expect(c->clients.takeover);
    cr_expect_eq(c->compliance.outdated_after_s, 7 * 24 * 3600);
    cr_assert_eq(c->compliance.expected.count, 2);
    cr_expect_str_eq(c->compliance.expected.texts[0], "web-1", "sorted");
    config_unref(c);
}

// --- what check says ---

static void hear(void *ctx, const char *path, const char *sentence) {
    buf_addf(ctx, "%s: %s\n", path, sentence);
}

#define ALLOW "\"registries\":{\"docker.io\":{},\"quay.io\":{}},\"rules\":[{\"allow\":[\"**\"]}]"
#define LISTENERS(list) "\"listeners\":[" list "],"

static const struct {
    const char *why, *text, *warning; ///< NULL: nothing that begins with "clients" or "compliance".
} lint_rows[] = {
    {"nothing written", "{" ALLOW "}", NULL},
    {"a direct registry of its own", "{\"clients\":{\"direct\":[\"r.corp\"]}," ALLOW "}", NULL},
    {"direct, and served too", "{\"clients\":{\"direct\":[\"r.corp\",\"quay.io\"]}," ALLOW "}",
     "clients.direct[1]: quay.io is in \"registries\" too"},
    {"direct, and covered by a wildcard",
     "{\"clients\":{\"direct\":[\"a.r.corp\"]},\"registries\":{\"*.r.corp\":{}},\"rules\":[{\"allow\":[\"**\"]}]}",
     "clients.direct[0]: a.r.corp is in \"registries\" too"},
    {"any registry does not mean this one",
     "{\"clients\":{\"direct\":[\"r.corp\"]},\"registries\":{\"*\":{}},\"rules\":[{\"allow\":[\"**\"]}]}", NULL},
    {"past the proxy to a registry's host", "{\"clients\":{\"no_proxy\":[\"registry-1.docker.io\"]}," ALLOW "}",
     "clients.no_proxy[0]: registry-1.docker.io covers registry-1.docker.io, a host of the registry docker.io"},
    {"a domain of a registry's host", "{\"clients\":{\"no_proxy\":[\".docker.io\"]}," ALLOW "}",
     "clients.no_proxy[0]: .docker.io covers docker.io"},
    {"takeover that no listener has", "{\"clients\":{\"takeover\":true}," ALLOW "}", "clients.takeover: no listener"},
    {"a gateway that its certificate names",
     "{" LISTENERS("{\"address\":\"0.0.0.0:443\",\"tls\":\"auto\",\"names\":[\"gw\"]}") "\"clients\":{\"gateway\":"
                                                                                        "\"https://gw\"}," ALLOW "}",
     NULL},
    {"a gateway that no certificate names",
     "{" LISTENERS(
         "{\"address\":\"0.0.0.0:443\",\"tls\":\"auto\",\"names\":[\"gw\"]}") "\"clients\":{\"gateway\":"
                                                                              "\"https://other.example.com\"}," ALLOW
                                                                              "}",
     "clients.gateway: no listener's certificate is for other.example.com"},
    {"https without any listener that speaks TLS", "{\"clients\":{\"gateway\":\"https://gw\"}," ALLOW "}",
     "clients.gateway: no listener speaks TLS"},
    {"something in front speaks TLS",
     "{" LISTENERS("{\"address\":\"0.0.0.0:80\",\"trusted_proxies\":[\"10.0.0.1\"]}") "\"clients\":{\"gateway\":"
                                                                                      "\"https://gw\"}," ALLOW "}",
     NULL},
    {"a proxy that no listener is", "{\"clients\":{\"proxy\":\"http://gw:3128\"}," ALLOW "}",
     "clients.proxy: no listener answers CONNECT"},
    {"machines that nobody can look at", "{\"compliance\":{\"expected\":[\"web-1\"]}," ALLOW "}",
     "compliance.expected: who reported is read at the \"admin\" address"},
    {"machines that somebody can",
     "{\"compliance\":{\"expected\":[\"web-1\"]},\"admin\":{\"address\":\"127.0.0.1:1\"}," ALLOW "}", NULL},
    {"a gateway that nobody can be told",
     "{" LISTENERS("{\"address\":\"0.0.0.0:80\"}") "\"clients\":{\"direct\":[\"r.corp\"]}," ALLOW "}",
     "clients.gateway: "},
};

Test(config_clients, lint) {
    for (size_t i = 0; i < sizeof lint_rows / sizeof lint_rows[0]; i++) {
        struct config *c = good(lint_rows[i].text);
        struct buf all;
        buf_init(&all, 64 * 1024);
        config_lint(c, 1790000000, hear, &all);
        const char *text = all.data != NULL ? all.data : "";
        if (lint_rows[i].warning != NULL)
            cr_expect_not_null(strstr(text, lint_rows[i].warning), "%s: %s", lint_rows[i].why, text);
        else
            cr_expect(strstr(text, "clients.") == NULL && strstr(text, "compliance") == NULL, "%s: %s",
                      lint_rows[i].why, text);
        buf_deinit(&all);
        config_unref(c);
    }
}

Test(config_clients, reload) {
    struct config *before = good("{}"), *after = good("{\"clients\":{\"gateway\":\"https://gw\",\"direct\":[\"r\"]},"
                                                      "\"compliance\":{\"outdated_after\":\"1h\"}}");
    struct err err = {0};
    cr_expect(config_reloadable(before, after, &err), "all of it may change: %s", err.text);
    config_unref(before);
    config_unref(after);
}
