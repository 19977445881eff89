// SPDX-License-Identifier: Apache-2.0
//
// The configuration: each error's whole text, what values mean, and the files that it names.

#include "gateway/config/config.h"
#include "gateway/config/verdict.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};

static void no_proxies(void) {
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "http_proxy",
                                        "HTTP_PROXY",  "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
}

static struct config *parse(const char *text, struct err *err) {
    return config_parse(text, strlen(text), NULL, catalog, err);
}

// --- errors ---

struct error_row {
    const char *why, *text, *error;
};

#define REGISTRY(keys) "{\"registries\":{\"r.example.com\":{" keys "}}}"
#define RULES(rules) "{\"registries\":{\"docker.io\":{}},\"rules\":[" rules "]}"
#define LISTENER(keys) "{\"listeners\":[{" keys "}]}"

static const struct error_row error_rows[] = {
    {"not an object", "[]", "expected an object, found a list"},
    {"unknown key with a near one", "{\"registry\":{}}", "registry: unknown key; did you mean \"registries\"?"},
    {"swapped letters are near", "{\"ruels\":[]}", "ruels: unknown key; did you mean \"rules\"?"},
    {"unknown key without a near one", "{\"log\":{\"syslog-server\":1}}",
     "log.syslog-server: unknown key; the keys here are file, on_full"},
    {"a key is matched in its exact case", "{\"Mode\":\"monitor\"}", "Mode: unknown key; did you mean \"mode\"?"},
    {"another format", "{\"format\":2}", "format: this version of pullgate reads format 1 only"},
    {"a fraction is no format", "{\"format\":1.5}", "format: this version of pullgate reads format 1 only"},
    {"an unknown mode", "{\"mode\":\"audit\"}", "mode: expected \"enforce\" or \"monitor\", found \"audit\""},
    {"a mode of another type", "{\"mode\":true}", "mode: expected \"enforce\" or \"monitor\", found a boolean"},
    {"null is no default where it is not named", "{\"rules\":null}", "rules: expected a list of rules, found null"},
    {"a gateway's name with a slash and quotes", "{\"gateway\":\"a\\\"b\"}",
     "gateway: expected letters, digits, spaces and ._:/-[], found \"a\"b\""},
    {"control is too long for a socket",
     "{\"control\":\"/"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaa\"}",
     "control: expected a path of at most 107 bytes: a Unix socket's path cannot be longer"},

    {"no listeners", "{\"listeners\":[]}", "listeners: expected at least one listener"},
    {"a listener without address", LISTENER("\"name\":\"a\""),
     "listeners[0]: \"address\" is missing: expected an IP address and a port such as \"127.0.0.1:5080\""},
    {"a listener's address without port", LISTENER("\"address\":\"127.0.0.1\""),
     "listeners[0].address: expected a port after the address, such as \"127.0.0.1:5080\""},
    {"a port alone", LISTENER("\"address\":\":5080\""),
     "listeners[0].address: expected an address before the port; \"[::]:5080\" listens on every one"},
    {"a name as address", LISTENER("\"address\":\"gate.example.com:80\""),
     "listeners[0].address: expected an IP address and a port such as \"127.0.0.1:5080\" or \"[::]:5443\", found the "
     "name "
     "\"gate.example.com\""},
    {"one address twice", "{\"listeners\":[{\"address\":\"[::1]:1\"},{\"address\":\"[0:0::1]:1\"}]}",
     "listeners[1]: listeners[0] has the address [::1]:1 already"},
    {"one name twice",
     "{\"listeners\":[{\"address\":\"1.2.3.4:1\",\"name\":\"a\"},{\"address\":\"1.2.3.4:2\",\"name\":\"a\"}]}",
     "listeners[1]: listeners[0] has the name \"a\" already"},
    {"tls without key", LISTENER("\"address\":\"1.2.3.4:1\",\"tls\":{\"certificate\":\"a\"}"),
     "listeners[0].tls: \"key\" is missing: expected the path of a PEM file"},
    {"unknown denials", LISTENER("\"address\":\"1.2.3.4:1\",\"denials\":\"soft\""),
     "listeners[0].denials: expected \"final\" or \"plain\", found \"soft\""},

    {"the brief's own example", "{\"registries\":{\"docker.io\":{\"endpoints\":[{\"url\":7}]}}}",
     "registries.\"docker.io\".endpoints[0].url: expected a URL that begins with https:// or http://, found a number"},
    {"an endpoint without scheme", REGISTRY("\"endpoints\":[\"r.example.com\"]"),
     "registries.\"r.example.com\".endpoints[0]: expected a URL that begins with https:// or http://, found "
     "\"r.example.com\""},
    {"an endpoint of another type", REGISTRY("\"endpoints\":[1]"),
     "registries.\"r.example.com\".endpoints[0]: expected a URL or { \"url\", \"ca\", \"credentials\" }, found a "
     "number"},
    {"an endpoint with a password", REGISTRY("\"endpoints\":[\"https://u:p@r.example.com\"]"),
     "registries.\"r.example.com\".endpoints[0]: expected no user name or password in a URL: name a credential "
     "instead"},
    {"an endpoint with /v2", REGISTRY("\"endpoints\":[\"https://r.example.com/v2/\"]"),
     "registries.\"r.example.com\".endpoints[0]: expected the URL without /v2: that is where a path stands, after it"},
    {"an endpoint with a query", REGISTRY("\"endpoints\":[\"https://r.example.com/a?b\"]"),
     "registries.\"r.example.com\".endpoints[0]: expected no query and no fragment in an endpoint's URL"},
    {"an endpoint with dots in its path", REGISTRY("\"endpoints\":[\"https://r.example.com/a/../b\"]"),
     "registries.\"r.example.com\".endpoints[0]: expected a path of repository components such as "
     "https://harbor.example.com/hub-proxy"},
    {"no endpoints", REGISTRY("\"endpoints\":[]"),
     "registries.\"r.example.com\".endpoints: expected at least one endpoint; leave the key out for the usual one"},
    {"the same endpoint twice", REGISTRY("\"endpoints\":[\"https://a.example.com\",\"https://a.example.com:443/\"]"),
     "registries.\"r.example.com\".endpoints[1]: endpoints[0] is the same"},
    {"an endpoint's unknown key", REGISTRY("\"endpoints\":[{\"url\":\"https://a.example.com\",\"credential\":\"a\"}]"),
     "registries.\"r.example.com\".endpoints[0].credential: unknown key; did you mean \"credentials\"?"},
    {"an unknown credential", REGISTRY("\"credentials\":\"hub\""),
     "registries.\"r.example.com\".credentials: there is no credential \"hub\" under \"credentials\""},
    {"an unknown credential with a near one",
     "{\"credentials\":{\"robot\":{\"username\":\"u\",\"password_file\":\"p\"}},"
     "\"registries\":{\"r.example.com\":{\"credentials\":[{\"for\":[\"**\"],\"use\":\"robto\"}]}}}",
     "registries.\"r.example.com\".credentials[0].use: there is no credential \"robto\"; did you mean \"robot\"?"},
    {"credentials for a tag",
     "{\"credentials\":{\"robot\":{\"username\":\"u\",\"password_file\":\"p\"}},"
     "\"registries\":{\"r.example.com\":{\"credentials\":[{\"for\":[\"a:1\"],\"use\":\"robot\"}]}}}",
     "registries.\"r.example.com\".credentials[0].for[0]: expected a repository without a tag or digest, found "
     "\"a:1\""},
    {"a user name with a colon", "{\"credentials\":{\"a\":{\"username\":\"u:v\",\"password_file\":\"p\"}}}",
     "credentials.a.username: expected no colon: Basic authentication cannot carry one"},
    {"a credential without file", "{\"credentials\":{\"a\":{\"username\":\"u\"}}}",
     "credentials.a: \"password_file\" is missing: expected the path of a file that holds the password"},
    {"index.docker.io is docker.io", "{\"registries\":{\"docker.io\":{},\"index.docker.io\":{}}}",
     "registries.\"index.docker.io\": this is the registry docker.io, which is here already as \"docker.io\""},
    {"the canonical key is the one that stays", "{\"registries\":{\"R.example.com:443\":{},\"r.example.com\":{}}}",
     "registries.\"R.example.com:443\": this is the registry r.example.com, which is here already as "
     "\"r.example.com\""},
    {"any registry with credentials",
     "{\"credentials\":{\"a\":{\"username\":\"u\",\"password_file\":\"p\"}},\"registries\":{\"*\":{\"credentials\":"
     "\"a\"}}}",
     "registries.\"*\".credentials: \"*\" means any registry, and those are reached anonymously, over https, at public "
     "addresses: name the registry that needs this"},
    {"any registry at private addresses", "{\"registries\":{\"*\":{\"private_addresses\":[\"10.0.0.0/8\"]}}}",
     "registries.\"*\".private_addresses: \"*\" means any registry, and those are reached anonymously, over https, at "
     "public addresses: name the registry that needs this"},

    {"neither allow nor deny", RULES("{\"name\":\"a\"}"), "rules[0]: expected exactly one of \"allow\" and \"deny\""},
    {"both", RULES("{\"allow\":[\"**\"],\"deny\":[\"**\"]}"),
     "rules[0]: expected exactly one of \"allow\" and \"deny\""},
    {"no patterns", RULES("{\"allow\":[]}"), "rules[0].allow: expected at least one pattern"},
    {"a pattern that is no string", RULES("{\"allow\":[1]}"),
     "rules[0].allow[0]: expected a pattern such as \"docker.io/library/**\", found a number"},
    {"an unknown action", RULES("{\"allow\":[\"**\"],\"actions\":[\"get\"]}"),
     "rules[0].actions[0]: expected \"pull\", \"push\", \"delete\" or \"list\", found \"get\""},
    {"push cannot be allowed", RULES("{\"actions\":[\"pull\",\"push\"],\"allow\":[\"**\"]}"),
     "rules[0].actions[1]: a rule cannot allow push yet: it comes with a later version of pullgate"},
    {"one name for two rules", RULES("{\"allow\":[\"**\"],\"name\":\"a\"},{\"deny\":[\"**\"],\"name\":\"a\"}"),
     "rules[1].name: rules[0] has the name \"a\" already"},
    {"a date is no moment", RULES("{\"allow\":[\"**\"],\"expires\":\"2027-03-31\"}"),
     "rules[0].expires: expected a moment such as \"2027-03-31T00:00:00Z\", found \"2027-03-31\""},
    {"a day that does not exist", RULES("{\"allow\":[\"**\"],\"expires\":\"2027-02-29T00:00:00Z\"}"),
     "rules[0].expires: expected a moment such as \"2027-03-31T00:00:00Z\", found \"2027-02-29T00:00:00Z\""},
    {"a who without prefix", RULES("{\"allow\":[\"**\"],\"who\":[\"a\"]}"),
     "rules[0].who[0]: \"a\": expected \"anyone\", or a name behind \"user:\", \"cert:\", \"group:\" or \"address:\""},
    {"a who of nobody", RULES("{\"allow\":[\"**\"],\"who\":[]}"),
     "rules[0].who: expected 1 to 10000 members, found 0; leave the key out for everyone"},

    {"a duration without unit", "{\"limits\":{\"idle_timeout\":\"75\"}}",
     "limits.idle_timeout: expected a duration such as \"75s\" or \"5m\", found \"75\""},
    {"a duration as number", "{\"limits\":{\"idle_timeout\":75}}",
     "limits.idle_timeout: expected a duration such as \"75s\" or \"5m\", found a number"},
    {"a duration over its bound", "{\"limits\":{\"upstream_timeout\":\"1m\"}}",
     "limits.upstream_timeout: expected at least 1s and at most 29s, found \"1m\""},
    {"a number that would overflow", "{\"limits\":{\"idle_timeout\":\"99999999999999999999h\"}}",
     "limits.idle_timeout: expected a duration such as \"75s\" or \"5m\", found \"99999999999999999999h\""},
    {"a size below its bound", "{\"limits\":{\"transfer_window\":\"1KiB\"}}",
     "limits.transfer_window: expected at least 64KiB and at most 64MiB, found \"1KiB\""},
    {"megabytes of which kind", "{\"limits\":{\"transfer_window\":\"1MB\"}}",
     "limits.transfer_window: expected a size such as \"1MiB\" or \"512KiB\", found \"1MB\""},
    {"no threads", "{\"limits\":{\"threads\":0}}", "limits.threads: expected at least 1 and at most 64, found 0"},
    {"half a thread", "{\"limits\":{\"threads\":1.5}}", "limits.threads: expected a whole number"},
    {"connecting cannot last longer than all", "{\"limits\":{\"connect_timeout\":\"10s\",\"upstream_timeout\":\"5s\"}}",
     "limits.connect_timeout: 10s is longer than limits.upstream_timeout, 5s, of which it is a part"},
    {"log.on_full", "{\"log\":{\"on_full\":\"wait\"}}", "log.on_full: expected \"drop\" or \"block\", found \"wait\""},

    {"a proxy by another word", "{\"proxy\":\"off\"}",
     "proxy: expected { \"https\", \"http\", \"no_proxy\" }, \"none\" or null, found \"off\""},
    {"a proxy without scheme", "{\"proxy\":{\"https\":\"proxy:3128\"}}",
     "proxy.https: expected a URL such as \"http://proxy.example.com:3128\""},
    {"a proxy's password never stands in the file, nor in the error", "{\"proxy\":{\"https\":\"http://u:secret@p:1\"}}",
     "proxy.https: expected no user name or password here: the file holds no secrets. Set HTTPS_PROXY instead"},
    {"no_proxy is no pattern", "{\"proxy\":{\"no_proxy\":[\"a,b\"]}}",
     "proxy.no_proxy[0]: expected a host name, an address or a block such as \"10.0.0.0/8\", found \"a,b\""},
};

Test(config, errors, .init = no_proxies) {
    for (size_t i = 0; i < sizeof error_rows / sizeof error_rows[0]; i++) {
        const struct error_row *row = &error_rows[i];
        struct err err = {0};
        struct config *c = parse(row->text, &err);
        cr_expect_null(c, "%s: was accepted", row->why);
        cr_expect_str_eq(err.text, row->error, "%s: %s", row->why, err.text);
        config_unref(c);
    }
}

/// Errors whose sentence another room writes: the path is ours.
static const struct error_row prefix_rows[] = {
    {"a public suffix", REGISTRY("\"redirect_hosts\":[\"a.example.com\",\"*.com\"]"),
     "registries.\"r.example.com\".redirect_hosts[1]: "},
    {"a host that strangers share", REGISTRY("\"redirect_hosts\":[\"storage.googleapis.com\"]"),
     "registries.\"r.example.com\".redirect_hosts[0]: "},
    {"every S3 bucket", REGISTRY("\"redirect_hosts\":[\"*.s3.*.amazonaws.com\"]"),
     "registries.\"r.example.com\".redirect_hosts[0]: "},
    {"upper case does not hide it", REGISTRY("\"realm_hosts\":[\"*.CloudFront.net\"]"),
     "registries.\"r.example.com\".realm_hosts[0]: "},
    {"external urls too", REGISTRY("\"external_urls\":[\"*.blob.core.windows.net\"]"),
     "registries.\"r.example.com\".external_urls[0]: "},
    {"a URL is no host", REGISTRY("\"redirect_hosts\":[\"https://cdn.example.com/\"]"),
     "registries.\"r.example.com\".redirect_hosts[0]: "},
    {"host bits", REGISTRY("\"private_addresses\":[\"10.1.2.3/8\"]"),
     "registries.\"r.example.com\".private_addresses[0]: "},
    {"no registry's name", "{\"registries\":{\"https://docker.io\":{}}}", "registries.\"https://docker.io\": "},
    {"a message with an unknown placeholder", "{\"message\":\"ask {admin}\"}", "message: "},
    {"a rule's message", RULES("{\"deny\":[\"**\"],\"message\":\"{\"}"), "rules[0].message: "},
    {"a pattern without slash", RULES("{\"allow\":[\"**\"]},{\"allow\":[\"docker.io/a/b\",\"alpine\"]}"),
     "rules[1].allow[1]: "},
    {"a key twice", "{\"mode\":\"enforce\",\"mode\":\"monitor\"}", "line 1"},
    {"a syntax error has its line", "{\n\"mode\": ,\n}", "line 2"},
};

Test(config, errors_of_others, .init = no_proxies) {
    for (size_t i = 0; i < sizeof prefix_rows / sizeof prefix_rows[0]; i++) {
        const struct error_row *row = &prefix_rows[i];
        struct err err = {0};
        struct config *c = parse(row->text, &err);
        cr_expect_null(c, "%s: was accepted", row->why);
        bool begins = strncmp(err.text, row->error, strlen(row->error)) == 0;
        cr_expect(begins && strlen(err.text) > strlen(row->error) + 10, "%s: %s", row->why, err.text);
        config_unref(c);
    }
}

// --- values ---

static struct config *good(const char *text) {
    struct err err = {0};
    struct config *c = parse(text, &err);
    cr_assert_not_null(c, "%s: %s", text, err.text);
    return c;
}

static bool has(char *const *list, size_t count, const char *text) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], text) == 0)
            return true;
    return false;
}

Test(config, defaults, .init = no_proxies) {
    struct config *c = good("{}");
    cr_expect_eq(c->listener_count, 1);
    cr_expect_str_eq(c->listeners[0].address, "127.0.0.1:5080");
    cr_expect_str_eq(c->listeners[0].name, "127.0.0.1:5080");
    cr_expect_str_eq(c->listeners[0].default_registry, "docker.io");
    cr_expect_not(c->listeners[0].default_registry_written);
    cr_expect_eq(c->listeners[0].denials, DENIALS_FINAL);
    cr_expect_eq(c->registry_count, 0, "what is not listed is never contacted");
    cr_expect_not(c->rules_written);
    cr_expect_eq(c->limits.upstream_timeout_s, 25);
    cr_expect_eq(c->limits.transfer_window, 1 << 20);
    cr_expect_eq(c->limits.max_connections, 0);
    cr_expect_null(c->log_file);
    cr_expect_not(c->monitor);
    config_unref(c);
}

Test(config, built_in, .init = no_proxies) {
    struct err err = {0};
    struct config *c = config_load(NULL, catalog, &err);
    cr_assert_not_null(c, "%s", err.text);
    cr_expect_null(c->path);
    cr_expect_eq(strlen(c->hash), CONFIG_HASH_HEX);
    cr_assert_not_null(config_registry(c, "docker.io"));
    cr_expect_null(config_registry(c, "ghcr.io"));
    config_unref(c);
}

Test(config, everything, .init = no_proxies) {
    struct config *c = good(
        "{ /* one of each */ \"format\": 1, \"gateway\": \"gate-1\", \"mode\": \"monitor\", \"store\": null,\n"
        "  \"default_registry\": \"Registry-1.docker.io\", \"control\": null, \"x-mine\": [1, {\"a\": 2}],\n"
        "  \"listeners\": [{ \"address\": \"[0::0]:5443\", \"name\": \"tls\", \"denials\": \"plain\", \"x-a\": 1,\n"
        "     \"tls\": { \"certificate\": \"c.pem\", \"key\": \"k.pem\" }, \"default_registry\": \"quay.io\" },\n"
        "     { \"address\": \"localhost:80\" }],\n"
        "  \"limits\": { \"max_connections\": 100, \"idle_timeout\": \"5m\", \"send_timeout\": \"30s\",\n"
        "     \"head_timeout\": \"5s\", \"upstream_timeout\": \"20s\", \"connect_timeout\": \"3s\",\n"
        "     \"shutdown_grace\": \"1h\", \"threads\": 3, \"transfer_window\": \"256KiB\" },\n"
        "  \"log\": { \"file\": \"gate.log\", \"on_full\": \"block\" } // the end\n}");
    cr_expect_str_eq(c->gateway_name, "gate-1");
    cr_expect_str_eq(c->default_registry, "docker.io");
    cr_expect(c->monitor);
    cr_expect_null(c->control);
    cr_expect_str_eq(c->listeners[0].address, "[::]:5443", "canonical, as it is compared across reloads");
    cr_expect_str_eq(c->listeners[0].default_registry, "quay.io");
    cr_expect_eq(c->listeners[0].denials, DENIALS_PLAIN);
    cr_expect(c->listeners[0].tls);
    cr_expect_str_eq(c->listeners[0].certificate, "c.pem");
    cr_expect_str_eq(c->listeners[1].address, "127.0.0.1:80");
    cr_expect(c->listeners[1].default_registry_written, "written at the top");
    cr_expect_eq(c->limits.max_connections, 100);
    cr_expect_eq(c->limits.idle_timeout_s, 300);
    cr_expect_eq(c->limits.send_timeout_s, 30);
    cr_expect_eq(c->limits.head_timeout_s, 5);
    cr_expect_eq(c->limits.upstream_timeout_s, 20);
    cr_expect_eq(c->limits.connect_timeout_s, 3);
    cr_expect_eq(c->limits.shutdown_grace_s, 3600);
    cr_expect_eq(c->limits.threads, 3);
    cr_expect_eq(c->limits.transfer_window, 256 * 1024);
    cr_expect_str_eq(c->log_file, "gate.log");
    cr_expect_eq(c->log_on_full, AUDIT_BLOCK);
    config_unref(c);
}

Test(config, catalogue_fills, .init = no_proxies) {
    struct config *c = good("{\"registries\":{\"index.docker.io\":{\"redirect_hosts\":[\"CDN.example.com\"]},"
                            "\"gcr.io\":{\"endpoints\":[\"https://mirror.example.com/gcr/\"]},"
                            "\"acme.azurecr.io\":{},\"nowhere.example.com:5000\":{}}}");
    const struct registry *hub = config_registry(c, "docker.io");
    cr_assert_not_null(hub, "index.docker.io is docker.io");
    cr_expect(hub->catalogued);
    cr_expect_str_eq(hub->endpoints[0].base, "https://registry-1.docker.io");
    cr_expect(hub->endpoints[0].own_host);
    cr_expect(has(hub->redirect_hosts, hub->redirect_host_count, "cdn.example.com"), "the site's own");
    cr_expect(has(hub->redirect_hosts, hub->redirect_host_count, "production.cloudflare.docker.com"),
              "and the catalogue's");
    cr_expect(has(hub->realm_hosts, hub->realm_host_count, "auth.docker.io"));
    const struct registry *gcr = config_registry(c, "gcr.io");
    cr_expect_eq(gcr->endpoint_count, 1, "what the site wrote replaces the catalogue's endpoints");
    cr_expect_str_eq(gcr->endpoints[0].base, "https://mirror.example.com");
    cr_expect_str_eq(gcr->endpoints[0].path, "gcr");
    cr_expect_not(gcr->endpoints[0].own_host);
    cr_expect(has(gcr->realm_hosts, gcr->realm_host_count, "gcr.io"), "the catalogue's realm hosts hold all the same");
    cr_expect(has(gcr->shared_hosts, gcr->shared_host_count, "storage.googleapis.com"));
    const struct registry *acr = config_registry(c, "acme.azurecr.io");
    cr_expect_str_eq(acr->endpoints[0].base, "https://acme.azurecr.io", "a wildcard of the catalogue covers it");
    cr_expect(has(acr->redirect_hosts, acr->redirect_host_count, "*.blob.core.windows.net"));
    const struct registry *other = config_registry(c, "nowhere.example.com:5000");
    cr_expect_not(other->catalogued);
    cr_expect_str_eq(other->endpoints[0].base, "https://nowhere.example.com:5000");
    cr_expect_eq(other->endpoints[0].at.port, 5000);
    cr_expect_null(config_registry(c, "nowhere.example.com"), "another port is another registry");
    config_unref(c);
}

Test(config, own_hosts_and_ca, .init = no_proxies) {
    struct config *c =
        good("{\"credentials\":{\"a\":{\"username\":\"u\",\"password_file\":\"p\"}},"
             "\"registries\":{\"r.example.com\":{\"ca\":\"all.pem\",\"credentials\":[{\"for\":[\"org/**\"],"
             "\"use\":\"a\"}],\"endpoints\":[\"https://r.example.com:5000\",\"http://10.0.0.1\","
             "{\"url\":\"https://evil-r.example.com\",\"ca\":\"one.pem\",\"credentials\":\"a\"}]},"
             "\"p.example.com:5000\":{\"endpoints\":[\"https://p.example.com:6000\"]},"
             "\"docker.io\":{\"endpoints\":[\"https://registry-1.docker.io/\",\"https://docker.io\"]}}}");
    const struct registry *r = config_registry(c, "r.example.com");
    cr_expect(r->endpoints[0].own_host, "its name, on a port that the site wrote");
    cr_expect_str_eq(r->endpoints[0].ca, "all.pem", "inherited");
    cr_expect_not(r->endpoints[1].own_host);
    cr_expect(r->endpoints[1].plain);
    cr_expect_eq(r->endpoints[1].at.port, 80);
    cr_expect_not(r->endpoints[2].own_host, "a longer name is another host");
    cr_expect_str_eq(r->endpoints[2].ca, "one.pem");
    cr_expect_str_eq(r->endpoints[2].credential->name, "a");
    cr_expect_not_null(registry_credential(r, "org/app"));
    cr_expect_null(registry_credential(r, "other/app"));
    cr_expect_not(config_registry(c, "p.example.com:5000")->endpoints[0].own_host, "a name with a port is that port");
    const struct registry *hub = config_registry(c, "docker.io");
    cr_expect(hub->endpoints[0].own_host && hub->endpoints[1].own_host, "the catalogue's host and the name");
    config_unref(c);
}

Test(config, wildcards, .init = no_proxies) {
    struct config *c = good("{\"registries\":{\"*\":{},\"*.example.com\":{\"redirect_hosts\":[\"cdn.example.org\"]},"
                            "\"*.eu.example.com\":{},\"r.example.com\":{},\"*.azurecr.io\":{}}}");
    cr_expect_str_eq(config_registry(c, "r.example.com")->name, "r.example.com", "exact first");
    cr_expect_str_eq(config_registry(c, "a.eu.example.com")->name, "*.eu.example.com", "then the most specific");
    cr_expect_str_eq(config_registry(c, "a.b.example.com:5000")->name, "*.example.com");
    cr_expect_str_eq(config_registry(c, "example.com")->name, "*", "*.x does not match x");
    cr_expect_eq(config_registry(c, "a.b.example.com")->endpoint_count, 0, "https://NAME as asked");
    const struct registry *hub = config_registry(c, "docker.io");
    cr_expect_str_eq(hub->name, "docker.io", "the catalogue's registries are known under \"*\"");
    cr_expect_str_eq(hub->endpoints[0].base, "https://registry-1.docker.io");
    const struct registry *acr = config_registry(c, "a.azurecr.io");
    cr_expect_str_eq(acr->name, "*.azurecr.io");
    cr_expect(has(acr->redirect_hosts, acr->redirect_host_count, "*.blob.core.windows.net"));
    config_unref(c);
}

Test(config, verdict, .init = no_proxies) {
    char line[DENIAL_SENTENCE_MAX + 1];
    struct config *c =
        good("{\"mode\":\"monitor\",\"message\":\"Ask us ({id}).\",\"registries\":{\"docker.io\":{}},\"rules\":"
             "[{\"deny\":[\"docker.io/library/bad\"],\"name\":\"N\",\"message\":\"{image}: no, says {rule}\"}]}");
    struct question q = {.registry = "docker.io", .repository = "library/bad", .tag = "1", .action = ACTION_PULL};
    struct verdict v;
    config_verdict(c, &q, NULL, NULL, &v);
    cr_expect(v.allow && v.would_deny && !v.decision.allow, "monitor lets pass what the rules deny");
    cr_expect_str_eq(v.rule, "N");
    config_sentence(c, &v, &q, "7", line);
    cr_expect_str_eq(line, "docker.io/library/bad:1: no, says N");
    q.registry = "ghcr.io";
    config_verdict(c, &q, NULL, NULL, &v);
    cr_expect(!v.allow && v.registry == NULL, "never an unlisted registry");
    cr_expect_eq(v.reason, REASON_REGISTRY_NOT_LISTED);
    config_sentence(c, &v, &q, "7", line);
    cr_expect_not_null(strstr(line, "ghcr.io"));
    cr_expect_not_null(strstr(line, "Ask us (7)."));
    q.registry = "docker.io";
    q.action = ACTION_PUSH;
    config_verdict(c, &q, NULL, NULL, &v);
    cr_expect_not(v.allow, "never a push");
    config_unref(c);
}

// --- the proxy ---

Test(config, proxy_from_environment, .init = no_proxies) {
    static const char text[] = "{\"registries\":{\"r.example.com\":{},\"h.example.com\":{\"endpoints\":"
                               "[\"http://h.example.com\"]}}}";
    setenv("HTTPS_PROXY", "http://upper:1", 1);
    setenv("https_proxy", "http://user:pass@lower:2/", 1);
    setenv("HTTP_PROXY", "plain:3", 1);
    setenv("NO_PROXY", "localhost,10.0.0.0/8", 1);
    struct config *c = good(text);
    cr_expect_str_eq(config_registry(c, "r.example.com")->proxy, "http://user:pass@lower:2", "lower case goes first");
    cr_expect_str_eq(config_registry(c, "r.example.com")->no_proxy, "localhost,10.0.0.0/8");
    cr_expect_str_eq(config_registry(c, "h.example.com")->proxy, "http://plain:3",
                     "for http endpoints, scheme implied");
    cr_expect_not(c->proxy_written);
    config_unref(c);
    c = good("{\"proxy\":\"none\",\"registries\":{\"r.example.com\":{}}}");
    cr_expect_null(config_registry(c, "r.example.com")->proxy);
    config_unref(c);
    c = good("{\"proxy\":{\"https\":\"http://p.example.com:3128\",\"no_proxy\":[\"a.example.com\",\"fd00::/8\"]},"
             "\"registries\":{\"r.example.com\":{}}}");
    cr_expect_str_eq(config_registry(c, "r.example.com")->proxy, "http://p.example.com:3128");
    cr_expect_str_eq(config_registry(c, "r.example.com")->no_proxy, "a.example.com,fd00::/8");
    config_unref(c);
    setenv("https_proxy", "http://user:secret@a b:2", 1);
    struct err err = {0};
    cr_expect_null(parse(text, &err));
    cr_expect_null(strstr(err.text, "secret"), "%s", err.text);
    cr_expect_eq(strncmp(err.text, "https_proxy in the environment: ", 32), 0, "%s", err.text);
}

// --- files ---

/// Nobody has its key.
static const char authority[] = "-----BEGIN CERTIFICATE-----\n"
                                "MIIBjTCCATOgAwIBAgIUEaL9TB9/aW9YqXF6FIPPvYYAVmswCgYIKoZIzj0EAwIw\n"
                                "GzEZMBcGA1UEAwwQYSB0ZXN0IGF1dGhvcml0eTAgFw0yNjExMjIwMDExMzNaGA8y\n"
                                "MTI2MTAyOTAwMTEzM1owGzEZMBcGA1UEAwwQYSB0ZXN0IGF1dGhvcml0eTBZMBMG\n"
                                "ByqGSM49AgEGCCqGSM49AwEHA0IABNu06hAh0BkOpYTUZv9fjCgep0ABQNs9w6de\n"
                                "hAmEzueVDFVpCQ8RH2vK3C8/sz252CvQI2TvjqlRGx6SAhYGCMqjUzBRMB0GA1Ud\n"
                                "DgQWBBR2F7tXBi3GSscVzfKnPDLEcL3WqzAfBgNVHSMEGDAWgBR2F7tXBi3GSscV\n"
                                "zfKnPDLEcL3WqzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCH\n"
                                "A4pb8nQ7DKznvGm+YzA4ZYDAyUTRY5731ciY9X8G9QIgMcUXNquQ4z6fZ32g83wy\n"
                                "VHLfMyi2mZODL25ZyI+alpg=\n"
                                "-----END CERTIFICATE-----\n";

struct place {
    char dir[64];
};

static void write_file(const struct place *at, const char *name, const char *text, mode_t mode) {
    char *path = mem_printf("%s/%s", at->dir, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
    free(path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return remove(path);
}

static void place_init(struct place *at) {
    no_proxies();
    strcpy(at->dir, "/tmp/test_config.XXXXXX");
    cr_assert_not_null(mkdtemp(at->dir));
    write_file(at, "server.crt", "x", 0644);
    write_file(at, "server.key", "x", 0600);
    write_file(at, "corp-ca.pem", authority, 0644);
    write_file(at, "robot.secret", "hunter2\n", 0600);
}

static void place_deinit(struct place *at) {
    nftw(at->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static char *shipped_example(void) {
    FILE *f = fopen(PULLGATE_CATALOG_SOURCE "/../../docs/pullgate.example.json", "r");
    cr_assert_not_null(f, "the example is in docs/");
    char *text = mem_zalloc(1, 64 * 1024);
    cr_assert_gt(fread(text, 1, 64 * 1024 - 1, f), 0);
    fclose(f);
    return text;
}

static struct config *load(const struct place *at, struct err *err) {
    char *path = mem_printf("%s/pullgate.json", at->dir);
    struct config *c = config_load(path, catalog, err);
    free(path);
    return c;
}

Test(config, shipped_example) {
    struct place at;
    struct err err = {0};
    place_init(&at);
    char *text = shipped_example(), *secret = NULL, *expected = mem_printf("%s/server.key", at.dir);
    write_file(&at, "pullgate.json", text, 0644);
    struct config *c = load(&at, &err);
    cr_assert_not_null(c, "%s", err.text);
    cr_expect_eq(c->listener_count, 3);
    cr_expect_str_eq(c->listeners[1].key, expected, "absolute");
    const struct registry *r = config_registry(c, "registry.example.com");
    cr_assert_not_null(r);
    cr_expect_str_eq(r->endpoints[0].base, "https://10.1.2.3:5000");
    secret = credential_password(r->endpoints[0].credential);
    cr_expect_str_eq(secret, "hunter2");
    cr_expect_eq(r->private_address_count, 1);
    cr_expect_eq(policy_rule_count(c->policy), 4);
    cr_expect_str_eq(policy_rule_owner(c->policy, 1), "team-pay");
    cr_expect_eq(c->store.keep_count, 1);
    cr_expect_eq(strncmp(c->store.directory, at.dir, strlen(at.dir)), 0, "beside the file");
    cr_expect_str_eq(c->admin.address, "127.0.0.1:5081");
    free(secret);
    free(expected);
    free(text);
    config_unref(c);
    place_deinit(&at);
}

struct file_row {
    const char *why, *file; ///< Removed, emptied, or given `mode`.
    mode_t mode;            ///< 0: removed; EMPTIED: emptied.
    const char *key, *says;
};

enum { EMPTIED = 07777 };

static const struct file_row file_rows[] = {
    {"a private key for everyone", "server.key", 0644, "listeners[1].tls.key: ", "others can read this secret file"},
    {"no certificate", "server.crt", 0, "listeners[1].tls.certificate: ", "No such file"},
    {"no authority", "corp-ca.pem", 0, "registries.\"registry.example.com\".ca: ", "No such file"},
    {"an authority's file without one", "corp-ca.pem", EMPTIED,
     "registries.\"registry.example.com\".ca: ", "at least one certificate"},
    {"no secret in a password's file", "robot.secret", EMPTIED, "credentials.\"robot\": ", "empty"},
    {"a password for everyone", "robot.secret", 0644, "credentials.\"robot\": ", "robot.secret"},
    {"no password", "robot.secret", 0, "credentials.\"robot\": ", "robot.secret"},
};

Test(config, files) {
    for (size_t i = 0; i < sizeof file_rows / sizeof file_rows[0]; i++) {
        const struct file_row *row = &file_rows[i];
        struct place at;
        struct err err = {0};
        place_init(&at);
        char *text = shipped_example(), *path = mem_printf("%s/%s", at.dir, row->file);
        char *begin = mem_printf("%s/pullgate.json: %s", at.dir, row->key);
        write_file(&at, "pullgate.json", text, 0644);
        if (row->mode == 0)
            unlink(path);
        else if (row->mode == EMPTIED)
            cr_assert_eq(truncate(path, 0), 0);
        else
            chmod(path, row->mode);
        cr_expect_null(load(&at, &err), "%s: was accepted", row->why);
        cr_expect_eq(strncmp(err.text, begin, strlen(begin)), 0, "%s: %s", row->why, err.text);
        cr_expect_not_null(strstr(err.text, row->says), "%s: %s", row->why, err.text);
        cr_expect_null(strstr(err.text, "hunter2"));
        free(text);
        free(path);
        free(begin);
        place_deinit(&at);
    }
}

Test(config, file_itself) {
    struct err err = {0};
    cr_expect_null(config_load("/nonexistent/pullgate.json", catalog, &err));
    cr_expect_str_eq(err.text, "/nonexistent/pullgate.json: No such file or directory");
    cr_expect_null(config_load("/tmp", catalog, &err));
    cr_expect_str_eq(err.text, "/tmp: expected a file");
}

// --- reloads ---

struct reload_row {
    const char *why, *before, *after, *names; ///< NULL: may be reloaded.
};

static const struct reload_row reload_rows[] = {
    {"nothing changed", "{}", "{}", NULL},
    {"registries and rules", "{}", RULES("{\"deny\":[\"**\"]}"), NULL},
    {"listeners", "{}", LISTENER("\"address\":\"1.2.3.4:5\""), NULL},
    {"the upstream's limits", "{}", "{\"limits\":{\"upstream_timeout\":\"9s\",\"transfer_window\":\"2MiB\"}}", NULL},
    {"threads and the log", "{}", "{\"limits\":{\"threads\":2},\"log\":{\"file\":\"a\"}}", "log.file, limits.threads"},
    {"the control socket is taken away", "{\"control\":\"/a\"}", "{\"control\":null}", "control"},
};

Test(config, reloadable, .init = no_proxies) {
    for (size_t i = 0; i < sizeof reload_rows / sizeof reload_rows[0]; i++) {
        const struct reload_row *row = &reload_rows[i];
        struct config *before = good(row->before), *after = good(row->after);
        struct err err = {0};
        bool ok = config_reloadable(before, after, &err);
        cr_expect_eq(ok, row->names == NULL, "%s: %s", row->why, err.text);
        cr_expect(row->names == NULL || strstr(err.text, row->names) != NULL, "%s: %s", row->why, err.text);
        config_unref(before);
        config_unref(after);
    }
}
