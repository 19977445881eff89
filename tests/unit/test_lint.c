// SPDX-License-Identifier: Apache-2.0
//
// What `check` warns about, and that it keeps quiet otherwise.

#include "gateway/config/config.h"
#include "mirrors/base/buf.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { ALL_MAX = 64 * 1024 };

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};
static const int64_t now = 1790000000; // 2026-09-21

static void no_proxies(void) {
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "http_proxy",
                                        "HTTP_PROXY",  "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
}

static void hear(void *ctx, const char *path, const char *sentence) {
    buf_addf(ctx, "%s: %s\n", path, sentence);
}

/// Every warning, one a line.
static void lint(const char *text, struct buf *all) {
    struct err err = {0};
    struct config *c = config_parse(text, strlen(text), NULL, catalog, &err);
    cr_assert_not_null(c, "%s: %s", text, err.text);
    buf_init(all, ALL_MAX);
    config_lint(c, now, hear, all);
    config_unref(c);
}

#define ALLOW "\"rules\":[{\"allow\":[\"**\"]}]"
#define ROBOT "\"credentials\":{\"robot\":{\"username\":\"u\",\"password_file\":\"p\"}},"

struct row {
    const char *why, *text, *warning; ///< A part of one warning; NULL: none at all.
};

static const struct row rows[] = {
    {"nothing to say", "{\"registries\":{\"docker.io\":{}}," ALLOW "}", NULL},
    {"a default registry that nobody wrote may be unlisted", "{\"registries\":{\"quay.io\":{}}," ALLOW "}", NULL},
    {"a registry of the catalogue with a shared host", "{\"registries\":{\"gcr.io\":{}}," ALLOW "}", NULL},
    {"an account of one's own", "{\"registries\":{\"acme.azurecr.io\":{}}," ALLOW "}", NULL},
    {"what a wildcard implies is not the site's doing", "{\"registries\":{\"*\":{}}," ALLOW "}", NULL},
    {"no registry", "{}", "registries: no registry is listed"},
    {"no rules", "{\"registries\":{\"docker.io\":{}}}", "rules: there are no rules"},
    {"empty rules", "{\"registries\":{\"docker.io\":{}},\"rules\":[]}", "rules: the list is empty"},
    {"monitor", "{\"mode\":\"monitor\",\"registries\":{\"docker.io\":{}}," ALLOW "}", "mode: \"monitor\": nothing"},
    {"an unlisted default", "{\"default_registry\":\"quay.io\",\"registries\":{\"docker.io\":{}}," ALLOW "}",
     "default_registry: quay.io is not listed"},
    {"an unlisted default of a listener",
     "{\"listeners\":[{\"address\":\"1.2.3.4:5\",\"default_registry\":\"quay.io\"}],\"registries\":{\"docker.io\":{}}"
     "," ALLOW "}",
     "listeners[0].default_registry: quay.io is not listed"},
    {"anyone can open one: Azure", "{\"registries\":{\"*.azurecr.io\":{}}," ALLOW "}",
     "registries.\"*.azurecr.io\": anyone can open a registry under this name; name your account: NAME.azurecr.io"},
    {"anyone can open one: Amazon", "{\"registries\":{\"*.dkr.ecr.*.amazonaws.com\":{}}," ALLOW "}",
     "name your account: ACCOUNT.dkr.ecr.REGION.amazonaws.com"},
    {"anyone can open one: Google", "{\"registries\":{\"*-docker.pkg.dev\":{}}," ALLOW "}",
     "anyone can open a registry"},
    {"credentials for everyone, by a rule",
     "{" ROBOT "\"registries\":{\"r.example.com\":{\"credentials\":\"robot\"}}," ALLOW "}",
     "registries.\"r.example.com\": it is asked with credentials, and the rules let anyone"},
    {"credentials for everyone, by the want of rules",
     "{" ROBOT "\"registries\":{\"r.example.com\":{\"credentials\":\"robot\"}}}", "the rules let anyone"},
    {"an endpoint's credentials count too",
     "{" ROBOT "\"registries\":{\"r.example.com\":{\"endpoints\":[{\"url\":\"https://a.example.com\",\"credentials\":"
     "\"robot\"}]}}," ALLOW "}",
     "the rules let anyone"},
    {"credentials that go nowhere",
     "{" ROBOT
     "\"registries\":{\"r.example.com\":{\"credentials\":\"robot\",\"endpoints\":[\"https://a.example.com\"]}}," ALLOW
     "}",
     "its credentials are never used"},
    {"credentials that nobody names", "{" ROBOT "\"registries\":{\"docker.io\":{}}," ALLOW "}",
     "credentials.\"robot\": no registry and no endpoint uses it"},
    {"credentials in the clear",
     "{" ROBOT
     "\"registries\":{\"r.example.com\":{\"credentials\":\"robot\",\"endpoints\":[\"http://r.example.com\"]}}," ALLOW
     "}",
     "without encryption"},
    {"a private endpoint", "{\"registries\":{\"r.example.com\":{\"endpoints\":[\"https://10.1.2.3\"]}}," ALLOW "}",
     "https://10.1.2.3 cannot be reached: "},
    {"every address", "{\"registries\":{\"r.example.com\":{\"private_addresses\":[\"0.0.0.0/0\"]}}," ALLOW "}",
     "permits every address"},
    {"a proxy", "{\"proxy\":{\"https\":\"http://p.example.com:3128\"},\"registries\":{\"docker.io\":{}}," ALLOW "}",
     "proxy: connections go through http://p.example.com:3128: "},
    {"a rule for an unlisted registry", "{\"registries\":{\"docker.io\":{}},\"rules\":[{\"allow\":[\"quay.io/**\"]}]}",
     "rules[0]"},
    {"a rule that ends soon",
     "{\"registries\":{\"docker.io\":{}},\"rules\":[{\"allow\":[\"**\"],\"expires\":\"2026-09-28T00:00:00+02:00\"}]}",
     "rules[0]"},
    {"a store of one's own, and figures on loopback",
     "{\"store\":{\"max_size\":\"1GiB\",\"keep\":[\"docker.io/a/**\",\"**\"]},\"admin\":{\"address\":\"127.0.0.2:1\"},"
     "\"registries\":{\"docker.io\":{\"tag_ttl\":\"1h\"}}," ALLOW "}",
     NULL},
    {"a small store", "{\"store\":{\"max_size\":\"1023MiB\"},\"registries\":{\"docker.io\":{}}," ALLOW "}",
     "store.max_size: under 1 GiB"},
    {"a tag_ttl without a store", "{\"store\":null,\"registries\":{\"docker.io\":{\"tag_ttl\":\"2h\"}}," ALLOW "}",
     "registries.\"docker.io\": \"tag_ttl\" does nothing: \"store\" is null"},
    {"a tag_ttl of an offline registry",
     "{\"registries\":{\"docker.io\":{\"tag_ttl\":\"2h\",\"offline\":true}}," ALLOW "}",
     "registries.\"docker.io\": \"tag_ttl\" does nothing: an offline"},
    {"what is kept of an unlisted registry",
     "{\"store\":{\"keep\":[\"docker.io/a\",\"quay.io/**\"]},\"registries\":{\"docker.io\":{}}," ALLOW "}",
     "store.keep[1]: keeps nothing: the registry quay.io is not"},
    {"what is kept of unlisted registries",
     "{\"store\":{\"keep\":[\"*.azurecr.io/**\"]},\"registries\":{\"docker.io\":{}}," ALLOW "}",
     "store.keep[0]: keeps nothing: the registry *.azurecr.io is not"},
    {"figures for everyone", "{\"admin\":{\"address\":\"[::]:5081\"},\"registries\":{\"docker.io\":{}}," ALLOW "}",
     "admin.address: [::]:5081 is not a loopback address: anyone who reaches it reads"},
    {"a certificate that is not there",
     "{\"listeners\":[{\"address\":\"1.2.3.4:5\",\"tls\":{\"certificate\":\"/nonexistent/a\",\"key\":\"/nonexistent/"
     "b\"}}],"
     "\"registries\":{\"docker.io\":{}}," ALLOW "}",
     "listeners: listeners[0].tls: "},
};

Test(lint, rows, .init = no_proxies) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf all;
        lint(rows[i].text, &all);
        if (rows[i].warning == NULL)
            cr_expect_eq(all.len, 0, "%s: %s", rows[i].why, all.data);
        else
            cr_expect(all.len > 0 && strstr(all.data, rows[i].warning) != NULL, "%s: %s", rows[i].why,
                      all.len > 0 ? all.data : "(no warning)");
        buf_deinit(&all);
    }
}

Test(lint, a_site_that_is_too_large_to_be_told, .init = no_proxies) {
    struct buf text, all;
    buf_init(&text, 4 * 1024 * 1024);
    buf_adds(&text, "{\"clients\":{\"gateway\":\"http://gateway.example.com\"},\"registries\":{");
    for (int i = 0; i < 6000; i++)
        buf_addf(&text, "%s\"r%d.%060d.example.com\":{}", i > 0 ? "," : "", i, 0);
    buf_adds(&text, "}," ALLOW "}");
    lint(text.data, &all);
    cr_expect(all.len > 0 && strstr(all.data, "registries: what clients are told of them is over") != NULL, "%s",
              all.len > 0 ? all.data : "(no warning)");
    buf_deinit(&text);
    buf_deinit(&all);
}

Test(lint, denied_credentials_are_fine, .init = no_proxies) {
    struct buf all;
    lint("{" ROBOT "\"registries\":{\"r.example.com\":{\"credentials\":\"robot\"},\"docker.io\":{}},"
         "\"rules\":[{\"allow\":[\"docker.io/**\"]},{\"mode\":\"monitor\",\"allow\":[\"r.example.com/**\"]}]}",
         &all);
    cr_expect(all.len == 0 || strstr(all.data, "let anyone") == NULL, "%s", all.data);
    buf_deinit(&all);
}

Test(lint, a_proxys_password_is_not_told, .init = no_proxies) {
    struct buf all;
    setenv("HTTPS_PROXY", "http://user:secret@p.example.com:3128", 1);
    lint("{\"registries\":{\"docker.io\":{}}," ALLOW "}", &all);
    cr_assert_gt(all.len, 0);
    cr_expect_null(strstr(all.data, "secret"), "%s", all.data);
    cr_expect_not_null(strstr(all.data, "p.example.com:3128 (from the environment)"), "%s", all.data);
    buf_deinit(&all);
}
