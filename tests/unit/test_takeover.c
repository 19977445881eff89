// SPDX-License-Identifier: Apache-2.0
//
// Which names a listener takes over, what a proxy's reason phrase looks like, and whom the gateway takes for itself.

#include "gateway/front/connect.h"
#include "gateway/front/takeover.h"
#include "mirrors/upstream/self.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};

static const char text[] =
    "{\"listeners\":[{\"address\":\"1.2.3.4:1\",\"tls\":\"auto\",\"names\":[\"gw.example.com\",\"mine.azurecr.io\"],"
    "\"takeover\":true,\"challenge\":CHALLENGE,\"identify\":\"optional\"}],\"state_directory\":\"/nowhere\","
    "\"identity\":{},\"registries\":{\"docker.io\":{},\"ghcr.io\":{\"aliases\":[\"ghcr.corp.example.com\"]},"
    "\"*.azurecr.io\":{},\"proxy.example.com:5000\":{}}}";

static struct config *load(const char *challenge) {
    struct err err = {""};
    char with[sizeof text + 16];
    const char *at = strstr(text, "CHALLENGE");
    snprintf(with, sizeof with, "%.*s%s%s", (int)(at - text), text, challenge, at + strlen("CHALLENGE"));
    struct config *c = config_parse(with, strlen(with), NULL, catalog, &err);
    cr_assert(c, "%s", err.text);
    return c;
}

static const struct {
    const char *why, *host;
    const char *name; ///< NULL: not taken over.
    bool realm;       ///< Only where tokens are given.
} rows[] = {
    {"a registry's own name", "ghcr.io", "ghcr.io", false},
    {"Docker Hub's name", "docker.io", "docker.io", false},
    {"Docker Hub's endpoint", "registry-1.docker.io", "docker.io", false},
    {"Docker Hub's index", "index.docker.io", "docker.io", false},
    {"an alias", "ghcr.corp.example.com", "ghcr.io", false},
    {"a registry with a port, by its host", "proxy.example.com", "proxy.example.com:5000", false},
    {"under a wildcard the name is the host's own", "acme.azurecr.io", "acme.azurecr.io", false},
    {"the gateway's own name goes before a wildcard", "mine.azurecr.io", NULL, false},
    {"the gateway's own name", "gw.example.com", NULL, false},
    {"a wildcard's parent", "azurecr.io", NULL, false},
    {"nobody's", "quay.io", NULL, false},
    {"a name below", "sub.ghcr.io", NULL, false},
    {"a CDN", "production.cloudfront.docker.com", NULL, false},
    {"an address", "140.82.121.33", NULL, false},
    {"none", "", NULL, false},
    {"a token server's", "auth.docker.io", "docker.io", true},
};

Test(takeover, names) {
    for (int challenge = 0; challenge < 2; challenge++) {
        struct config *c = load(challenge ? "true" : "false");
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct takeover t;
            bool expected = rows[i].name != NULL && (challenge || !rows[i].realm);
            cr_expect_eq(takeover_of(c, &c->listeners[0], rows[i].host, &t), expected, "%s", rows[i].why);
            cr_expect_eq(t.registry != NULL, expected, "%s: a registry is named exactly then", rows[i].why);
            cr_expect_str_eq(t.name, expected ? rows[i].name : "", "%s: %s", rows[i].why, t.name);
            cr_expect_eq(t.realm, expected && rows[i].realm, "%s: realm", rows[i].why);
        }
        config_unref(c);
    }
}

Test(takeover, hosts) {
    static const struct {
        const char *why, *authority, *host;
        bool same;
    } hosts[] = {
        {"the same", "ghcr.io", "ghcr.io", true},
        {"a port does not matter", "ghcr.io:443", "ghcr.io", true},
        {"nor does case", "GHCR.io", "ghcr.io", true},
        {"another", "docker.io", "ghcr.io", false},
        {"one below", "a.ghcr.io", "ghcr.io", false},
        {"a longer one", "ghcr.io.evil.example", "ghcr.io", false},
        {"user info", "ghcr.io@evil.example", "ghcr.io", false},
        {"a path", "ghcr.io/x", "ghcr.io", false},
        {"none", "", "ghcr.io", false},
        {"a bad port", "ghcr.io:0", "ghcr.io", false},
        {"a dot more", "ghcr.io.", "ghcr.io", false},
    };
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        cr_expect_eq(takeover_same_host(hosts[i].authority, strlen(hosts[i].authority), hosts[i].host), hosts[i].same,
                     "%s", hosts[i].why);
}

Test(takeover, phrases) {
    char out[CONNECT_PHRASE_MAX + 1], lengthy[500];
    connect_phrase("no: ask platform@example.com", out);
    cr_expect_str_eq(out, "no: ask platform@example.com");
    connect_phrase("line\r\nX-Evil: 1\x7f\t\x1b[31m", out);
    cr_expect_str_eq(out, "line??X-Evil: 1???[31m", "nothing ends the line: '%s'", out);
    connect_phrase("\xc3\xa4", out);
    cr_expect_str_eq(out, "??", "ASCII only");
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    connect_phrase(lengthy, out);
    cr_expect_eq(strlen(out), CONNECT_PHRASE_MAX);
}

// --- itself ---

static struct self_listener at(const char *address, uint16_t port) {
    struct self_listener l = {.port = port};
    cr_assert(address_from_text(address, l.address), "%s", address);
    return l;
}

Test(takeover, itself_by_address) {
    static const struct {
        const char *why, *listens;
        uint16_t port;
        const char *asked;
        uint16_t asked_port;
        bool is;
    } cases[] = {
        {"the listener", "10.1.2.3", 443, "10.1.2.3", 443, true},
        {"another port", "10.1.2.3", 443, "10.1.2.3", 444, false},
        {"another address", "10.1.2.3", 443, "10.1.2.4", 443, false},
        {"IPv4 in IPv6", "10.1.2.3", 443, "::ffff:10.1.2.3", 443, true},
        {"every address has loopback", "0.0.0.0", 443, "127.0.0.1", 443, true},
        {"and all of 127/8", "0.0.0.0", 443, "127.9.9.9", 443, true},
        {"IPv6's every address", "::", 443, "::1", 443, true},
        {"dual-stack", "::", 443, "127.0.0.1", 443, true},
        {"a connection to any is one to this machine", "0.0.0.0", 443, "0.0.0.0", 443, true},
        {"every address is not the world", "0.0.0.0", 443, "203.0.113.1", 443, false},
        {"every address, another port", "::", 443, "127.0.0.1", 80, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct self *s = self_new();
        struct self_listener l = at(cases[i].listens, cases[i].port), asked = at(cases[i].asked, cases[i].asked_port);
        self_listens(s, &l, 1);
        cr_expect_eq(self_is(s, asked.address, asked.port), cases[i].is, "%s", cases[i].why);
        self_listens(s, NULL, 0);
        cr_expect(!self_is(s, asked.address, asked.port), "%s: after a reload", cases[i].why);
        self_free(s);
    }
}

Test(takeover, itself_by_header) {
    struct self *s = self_new(), *other = self_new();
    const char *via = self_via(s);
    cr_expect_eq(strlen(via), SELF_VIA_HEX);
    cr_expect(self_knows(s, via, SELF_VIA_HEX));
    cr_expect(!self_knows(s, via, SELF_VIA_HEX - 1), "cut");
    cr_expect(!self_knows(s, "", 0), "empty");
    cr_expect(!self_knows(s, self_via(other), SELF_VIA_HEX), "another process's");
    self_free(s);
    self_free(other);
}
