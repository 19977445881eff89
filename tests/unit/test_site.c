// SPDX-License-Identifier: Apache-2.0
//
// A site's description: out of the configuration, out of its JSON and back, asked of a gateway.

#include "gateway/clients/site.h"
#include "gateway/config/config.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/mem.h"
#include "tests/unit/upstream.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};

static struct client_site *of_config(const char *text, struct err *err) {
    struct config *c = config_parse(text, strlen(text), NULL, catalog, err);
    cr_assert_not_null(c, "%s: %s", text, err->text);
    struct client_site *site = config_site(c, err);
    config_unref(c);
    return site;
}

static void expect_text(const char *found, const char *expected, const char *why) {
    if (expected == NULL)
        cr_expect_null(found, "%s: %s", why, found);
    else if (found == NULL)
        cr_expect(false, "%s: nothing, expected %s", why, expected);
    else
        cr_expect_str_eq(found, expected, "%s", why);
}

static char *written(const struct client_site *site, bool own) {
    struct buf b;
    buf_init(&b, CLIENT_SITE_TEXT_MAX);
    cr_expect(client_site_write(site, own, &b));
    char *text = buf_steal(&b);
    buf_deinit(&b);
    return text;
}

// --- where the gateway and its proxy are ---

#define TLS "\"tls\":{\"certificate\":\"c\",\"key\":\"k\"}"
#define LISTENERS(list) "{\"listeners\":[" list "]}"

static const struct {
    const char *why, *text, *gateway, *host, *proxy;
} place_rows[] = {
    {"nothing written: the default listener", "{}", "http://127.0.0.1:5080", "127.0.0.1:5080", NULL},
    {"TLS and a name, on the usual port",
     LISTENERS("{\"address\":\"0.0.0.0:443\",\"names\":[\"gateway.example.com\",\"other\"]," TLS "}"),
     "https://gateway.example.com", "gateway.example.com", NULL},
    {"another port stays", LISTENERS("{\"address\":\"0.0.0.0:5443\",\"names\":[\"gw.example.com\"]," TLS "}"),
     "https://gw.example.com:5443", "gw.example.com:5443", NULL},
    {"a name goes before an address, wherever it stands",
     LISTENERS("{\"address\":\"10.0.0.1:443\"," TLS "},{\"address\":\"0.0.0.0:444\",\"names\":[\"gw\"]," TLS "}"),
     "https://gw:444", "gw:444", NULL},
    {"TLS goes before a name",
     LISTENERS("{\"address\":\"0.0.0.0:80\",\"names\":[\"gw\"]},{\"address\":\"10.0.0.1:443\"," TLS "}"),
     "https://10.0.0.1", "10.0.0.1", NULL},
    {"IPv6 in brackets", LISTENERS("{\"address\":\"[fd00::1]:5443\"," TLS "}"), "https://[fd00::1]:5443",
     "[fd00::1]:5443", NULL},
    {"without TLS, its port 80 goes without saying", LISTENERS("{\"address\":\"0.0.0.0:80\",\"names\":[\"gw\"]}"),
     "http://gw", "gw", NULL},
    {"what only refuses CONNECT is no gateway while there is another",
     LISTENERS("{\"address\":\"10.0.0.1:3128\",\"connect\":\"refuse\"},{\"address\":\"10.0.0.1:5080\"}"),
     "http://10.0.0.1:5080", "10.0.0.1:5080", "http://10.0.0.1:3128"},
    {"a proxy on every address has the gateway's name",
     LISTENERS("{\"address\":\"0.0.0.0:443\",\"names\":[\"gw.example.com\"]," TLS
               "},{\"address\":\"0.0.0.0:3128\",\"connect\":\"refuse\"}"),
     "https://gw.example.com", "gw.example.com", "http://gw.example.com:3128"},
    {"a proxy with a name of its own",
     LISTENERS("{\"address\":\"0.0.0.0:443\",\"names\":[\"gw\"]," TLS
               "},{\"address\":\"0.0.0.0:3128\",\"connect\":\"refuse\",\"names\":[\"proxy\"]}"),
     "https://gw", "gw", "http://proxy:3128"},
    {"a proxy on an address of a gateway with a name",
     LISTENERS("{\"address\":\"10.0.0.1:443\",\"names\":[\"gw\"]," TLS
               "},{\"address\":\"10.0.0.1:3128\",\"connect\":\"takeover\"}"),
     "https://gw", "gw", "http://gw:3128"},
    {"clients elsewhere do not reach a loopback proxy",
     LISTENERS("{\"address\":\"0.0.0.0:443\",\"names\":[\"gw\"]," TLS
               "},{\"address\":\"127.0.0.1:3128\",\"connect\":\"refuse\"}"),
     "https://gw", "gw", NULL},
    {"on one machine they do",
     LISTENERS("{\"address\":\"127.0.0.1:5080\"},{\"address\":\"127.0.0.1:3128\",\"connect\":\"refuse\"}"),
     "http://127.0.0.1:5080", "127.0.0.1:5080", "http://127.0.0.1:3128"},
    {"a proxy without TLS goes before one with",
     LISTENERS("{\"address\":\"0.0.0.0:443\",\"names\":[\"gw\"],\"connect\":\"refuse\"," TLS
               "},{\"address\":\"0.0.0.0:3128\",\"connect\":\"refuse\"}"),
     "https://gw", "gw", "http://gw:3128"},
    {"one listener may be both",
     LISTENERS("{\"address\":\"0.0.0.0:443\",\"names\":[\"gw\"],\"connect\":\"refuse\"," TLS "}"), "https://gw", "gw",
     "https://gw"},
    {"what is written holds",
     "{\"listeners\":[{\"address\":\"0.0.0.0:3128\",\"connect\":\"refuse\"}],"
     "\"clients\":{\"gateway\":\"HTTPS://GateWay.example.com:443/\",\"proxy\":\"http://p.example.com:80\"}}",
     "https://gateway.example.com", "gateway.example.com", "http://p.example.com"},
    {"null: clients are told of no proxy",
     "{\"listeners\":[{\"address\":\"10.0.0.1:3128\",\"connect\":\"refuse\"}],\"clients\":{\"proxy\":null}}",
     "http://10.0.0.1:3128", "10.0.0.1:3128", NULL},
};

Test(site, places) {
    for (size_t i = 0; i < sizeof place_rows / sizeof place_rows[0]; i++) {
        struct err err = {0};
        struct client_site *site = of_config(place_rows[i].text, &err);
        cr_assert_not_null(site, "%s: %s", place_rows[i].why, err.text);
        expect_text(site->gateway, place_rows[i].gateway, place_rows[i].why);
        expect_text(site->host, place_rows[i].host, place_rows[i].why);
        expect_text(site->proxy, place_rows[i].proxy, place_rows[i].why);
        cr_expect_eq(site->plain, strncmp(site->gateway, "http:", 5) == 0, "%s", place_rows[i].why);
        client_site_free(site);
    }
}

Test(site, no_place) {
    struct err err = {0};
    cr_expect_null(of_config(LISTENERS("{\"address\":\"0.0.0.0:5080\"},{\"address\":\"[::]:5443\"," TLS "}"), &err));
    cr_expect_not_null(strstr(err.text, "clients.gateway"), "%s", err.text);
}

// --- the registries ---

static bool has_host(const struct client_site *site, const char *registry, const char *host) {
    for (size_t i = 0; i < site->registry_count; i++)
        for (size_t k = 0; strcmp(site->registries[i].name, registry) == 0 && k < site->registries[i].host_count; k++)
            if (strcmp(site->registries[i].hosts[k], host) == 0)
                return true;
    return false;
}

static const struct {
    const char *why, *registry, *host;
    bool there;
} host_rows[] = {
    {"the endpoint of the catalogue", "docker.io", "registry-1.docker.io", true},
    {"its token host", "docker.io", "auth.docker.io", true},
    {"where it redirects to", "docker.io", "production.cloudflare.docker.com", true},
    {"its own name", "docker.io", "docker.io", true},
    {"the endpoint that the site wrote", "quay.io", "harbor.example.com:8443", true},
    {"and where the registry really is: the way around", "quay.io", "quay.io", true},
    {"no port that goes without saying", "quay.io", "quay.io:443", false},
    {"a host that the site added", "r.example.com:5000", "cdn.example.com", true},
    {"a name with a port", "r.example.com:5000", "r.example.com:5000", true},
    {"a wildcard as it is written", "*.azurecr.io", "*.azurecr.io", true},
};

Test(site, registries) {
    struct err err = {0};
    struct client_site *site = of_config("{\"registries\":{\"index.docker.io\":{},\"*.azurecr.io\":{},"
                                         "\"quay.io\":{\"endpoints\":[\"https://harbor.example.com:8443/q\"]},"
                                         "\"r.example.com:5000\":{\"redirect_hosts\":[\"cdn.example.com\"]}},"
                                         "\"message\":\"Ask platform@example.com\",\"clients\":{"
                                         "\"direct\":[\"Registry.corp.example.com\",\"registry.corp.example.com:443\"],"
                                         "\"no_proxy\":[\"git.corp.example.com\"],\"takeover\":true},"
                                         "\"mode\":\"monitor\"}",
                                         &err);
    cr_assert_not_null(site, "%s", err.text);
    for (size_t i = 0; i < sizeof host_rows / sizeof host_rows[0]; i++)
        cr_expect_eq(has_host(site, host_rows[i].registry, host_rows[i].host), host_rows[i].there, "%s",
                     host_rows[i].why);
    expect_text(site->message, "Ask platform@example.com", "the site's words");
    cr_expect_eq(site->direct_count, 1, "one registry however it is written");
    expect_text(site->direct[0], "registry.corp.example.com", "canonical");
    cr_expect_eq(site->no_proxy_count, 1);
    cr_expect(site->takeover);
    cr_expect(site->monitor);
    client_site_free(site);
}

Test(site, any_registry) {
    struct err err = {0};
    struct client_site *site = of_config("{\"registries\":{\"*\":{}}}", &err);
    cr_assert_not_null(site, "%s", err.text);
    cr_expect(has_host(site, "docker.io", "registry-1.docker.io"), "the catalogue's registries are named");
    const struct site_registry *last = &site->registries[site->registry_count - 1];
    expect_text(last->name, "*", "the wildcard is last");
    cr_expect_eq(last->host_count, 0, "every host cannot be named");
    client_site_free(site);
}

// --- JSON ---

#define LEAST "{\"format\":1,\"gateway\":\"https://gw\"}"

static const struct {
    const char *why, *text, *error; ///< NULL: it is taken.
} parse_rows[] = {
    {"the least", LEAST, NULL},
    {"a newer gateway may say more", "{\"format\":1,\"gateway\":\"https://gw\",\"news\":{\"a\":[1]}}", NULL},
    {"another format", "{\"format\":2,\"gateway\":\"https://gw\"}", "\"format\": this version"},
    {"no format", "{\"gateway\":\"https://gw\"}", "\"format\": this version"},
    {"no gateway", "{\"format\":1}", "\"gateway\" is missing"},
    {"no object", "[]", "expected an object"},
    {"no JSON", "{\"format\":1", ""},
    {"a gateway with a path", "{\"format\":1,\"gateway\":\"https://gw/v2\"}", "\"gateway\": expected a URL"},
    {"a gateway with a password", "{\"format\":1,\"gateway\":\"https://u:p@gw\"}", "\"gateway\": expected no user"},
    {"another scheme", "{\"format\":1,\"gateway\":\"ftp://gw\"}", "\"gateway\": expected a URL"},
    {"a gateway that is no string", "{\"format\":1,\"gateway\":1}", "\"gateway\": expected a string"},
    {"a gateway that would end its quotes", "{\"format\":1,\"gateway\":\"https://gw\\\"\"}", "\"gateway\": "},
    {"a proxy with a path", "{\"format\":1,\"gateway\":\"https://gw\",\"proxy\":\"http://p/x\"}", "\"proxy\": "},
    {"words with a line break, which would end a comment",
     "{\"format\":1,\"gateway\":\"https://gw\",\"message\":\"a\\nb\"}", "\"message\": expected one printable line"},
    {"a registry without a name", "{\"format\":1,\"gateway\":\"https://gw\",\"registries\":[{}]}",
     "a registry has no \"name\""},
    {"a registry with a path", "{\"format\":1,\"gateway\":\"https://gw\",\"registries\":[{\"name\":\"a/b\"}]}",
     "\"registries\": "},
    {"a registry that leads out of its folder",
     "{\"format\":1,\"gateway\":\"https://gw\",\"registries\":[{\"name\":\"..\"}]}", "\"registries\": "},
    {"any registry", "{\"format\":1,\"gateway\":\"https://gw\",\"registries\":[{\"name\":\"*\"}]}", NULL},
    {"registries in another form", "{\"format\":1,\"gateway\":\"https://gw\",\"registries\":{}}", "\"registries\": "},
    {"a host that is none",
     "{\"format\":1,\"gateway\":\"https://gw\",\"registries\":[{\"name\":\"a.io\",\"hosts\":[\"a b\"]}]}",
     "\"hosts\": "},
    {"a direct registry that leads out of its folder",
     "{\"format\":1,\"gateway\":\"https://gw\",\"direct\":[\"../../etc\"]}", "\"direct\": "},
    {"a direct registry of another type", "{\"format\":1,\"gateway\":\"https://gw\",\"direct\":[1]}", "\"direct\": "},
    {"no_proxy of every address", "{\"format\":1,\"gateway\":\"https://gw\",\"no_proxy\":[\"::/0\"]}",
     "\"no_proxy\": \"::/0\" would send"},
    {"no_proxy with a comma", "{\"format\":1,\"gateway\":\"https://gw\",\"no_proxy\":[\"a,b\"]}", "\"no_proxy\": "},
    {"monitor in words", "{\"format\":1,\"gateway\":\"https://gw\",\"monitor\":1}", "\"monitor\": "},
    {"led in words", "{\"format\":1,\"gateway\":\"https://gw\",\"led\":\"yes\"}", "\"led\": "},
    {"takeover in words", "{\"format\":1,\"gateway\":\"https://gw\",\"takeover\":\"yes\"}", "\"takeover\": "},
    {"a relative path", "{\"format\":1,\"gateway\":\"https://gw\",\"ca\":\"ca.crt\"}", "\"ca\": expected an absolute"},
    {"a certificate without its key", "{\"format\":1,\"gateway\":\"https://gw\",\"certificate\":\"/c\"}",
     "expected both"},
    {"a header with a line break", "{\"format\":1,\"gateway\":\"https://gw\",\"headers\":{\"A\":\"secret\\r\\nB: c\"}}",
     "\"headers\": expected names"},
    {"a header's name with a space", "{\"format\":1,\"gateway\":\"https://gw\",\"headers\":{\"A b\":\"c\"}}",
     "\"headers\": expected names"},
};

Test(site, parsed) {
    for (size_t i = 0; i < sizeof parse_rows / sizeof parse_rows[0]; i++) {
        struct err err = {0};
        struct client_site *site = client_site_parse(parse_rows[i].text, strlen(parse_rows[i].text), &err);
        cr_expect_eq(site != NULL, parse_rows[i].error == NULL, "%s: %s", parse_rows[i].why, err.text);
        if (parse_rows[i].error != NULL)
            cr_expect_not_null(strstr(err.text, parse_rows[i].error), "%s: %s", parse_rows[i].why, err.text);
        cr_expect_null(strstr(err.text, "secret"), "a header's value is nobody's to read");
        client_site_free(site);
    }
    cr_expect_null(client_site_parse("{}", (size_t)CLIENT_SITE_TEXT_MAX + 1, NULL), "too long, and nobody hears why");
}

static const char whole[] =
    "{\"format\":1,\"gateway\":\"https://gw.example.com:5443\",\"proxy\":\"http://gw.example.com:3128\","
    "\"message\":\"Ask \\\"us\\\"\",\"registries\":[{\"name\":\"docker.io\",\"hosts\":[\"registry-1.docker.io\"]},"
    "{\"name\":\"*\",\"hosts\":[]}],\"direct\":[\"r.corp\"],\"no_proxy\":[\"10.0.0.0/8\"],\"takeover\":true,"
    "\"monitor\":true,\"ca\":\"/etc/pullgate/ca.crt\",\"certificate\":\"/c\",\"key\":\"/"
    "k\",\"headers\":{\"X-Team\":\"a\"},\"led\":true,\"led_address\":\"10.0.0.5\"}\n";

Test(site, there_and_back) {
    struct err err = {0};
    struct client_site *site = client_site_parse(whole, sizeof whole - 1, &err);
    cr_assert_not_null(site, "%s", err.text);
    char *own = written(site, true), *shared = written(site, false);
    cr_expect_str_eq(own, whole, "the machine's copy");
    cr_expect_null(strstr(shared, "X-Team"), "what is the machine's own is not told");
    cr_expect_null(strstr(shared, "\"ca\""), "what is the machine's own is not told");
    cr_expect_null(strstr(shared, "\"led"), "what is the machine's own is not told");
    struct client_site *again = client_site_parse(shared, strlen(shared), &err);
    char first[CLIENT_SITE_HASH_HEX + 1], second[CLIENT_SITE_HASH_HEX + 1];
    client_site_hash(site, first);
    client_site_hash(again, second);
    cr_expect_str_eq(first, second, "the machine's own is not in the hash");
    cr_expect_eq(strlen(first), CLIENT_SITE_HASH_HEX);
    again->takeover = false;
    client_site_hash(again, second);
    cr_expect_str_neq(first, second, "another site, another hash");
    again->takeover = true;
    again->monitor = false;
    client_site_hash(again, second);
    cr_expect_str_neq(first, second, "a gateway that enforces is told from one that does not");
    client_site_free(again);
    client_site_free(site);
    free(own);
    free(shared);
}

Test(site, least_is_whole) {
    struct client_site *site = client_site_parse(LEAST, sizeof LEAST - 1, NULL);
    char *text = written(site, true);
    cr_expect_str_eq(text, "{\"format\":1,\"gateway\":\"https://gw\",\"registries\":[],\"direct\":[],\"no_proxy\":[],"
                           "\"takeover\":false}\n");
    free(text);
    client_site_free(site);
}

// --- asked ---

static const struct {
    const char *why, *status, *headers, *body, *error;
} ask_rows[] = {
    {"it is told", "200 OK", "", LEAST, NULL},
    {"it wants to know who asks", "401 Unauthorized", "", "{}", "who asks (401)"},
    {"no pullgate", "404 Not Found", "", "no", "does not describe its site (404)"},
    {"a redirect is not followed", "302 Found", "Location: http://127.0.0.1:9/\r\n", "", "it answered 302"},
    {"another page", "200 OK", "", "<html>", ""},
};

static bool answer(void *ctx, struct upstream *u, int fd, const struct upstream_request *q) {
    size_t i = *(size_t *)ctx;
    cr_expect_str_eq(q->path, "/pullgate/v1/site");
    upstream_say(fd, ask_rows[i].status, ask_rows[i].headers, ask_rows[i].body);
    return false;
}

Test(site, asked) {
    size_t row = 0;
    struct upstream *u = upstream_start(answer, &row);
    char *url = mem_printf("http://127.0.0.1:%u", upstream_port(u));
    for (; row < sizeof ask_rows / sizeof ask_rows[0]; row++) {
        struct err err = {0};
        struct client_site *site = client_site_ask(url, NULL, NULL, NULL, &err);
        cr_expect_eq(site != NULL, ask_rows[row].error == NULL, "%s: %s", ask_rows[row].why, err.text);
        if (ask_rows[row].error != NULL)
            cr_expect_not_null(strstr(err.text, ask_rows[row].error), "%s: %s", ask_rows[row].why, err.text);
        client_site_free(site);
    }
    upstream_stop(u);
    struct err err = {0};
    cr_expect_null(client_site_ask(url, NULL, NULL, NULL, &err), "nobody there");
    cr_expect_not_null(strstr(err.text, url), "%s", err.text);
    cr_expect_null(client_site_ask("gateway", NULL, NULL, NULL, &err), "no URL");
    free(url);
}
