// SPDX-License-Identifier: Apache-2.0
//
// What the configuration says of who asks, of takeover, of the authority and of the state: errors, defaults, which
// names are taken over, and what check warns of.

#include "gateway/config/config.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const catalog[] = {PULLGATE_CATALOG_SOURCE, NULL};

static struct config *parse(const char *text, struct err *err) {
    unsetenv("https_proxy");
    unsetenv("HTTPS_PROXY");
    unsetenv("http_proxy");
    unsetenv("HTTP_PROXY");
    return config_parse(text, strlen(text), NULL, catalog, err);
}

#define PLAIN(keys) "{\"listeners\":[{\"address\":\"1.2.3.4:1\"," keys "}]}"
#define AUTO(keys) PLAIN("\"tls\":\"auto\"," keys)
#define REGISTRY(keys) "{\"registries\":{\"r.example.com\":{" keys "}}}"

struct error_row {
    const char *why, *text, *error;
};

static const struct error_row error_rows[] = {
    {"another word for tls", PLAIN("\"tls\":\"yes\""),
     "listeners[0].tls: expected \"auto\" or { \"certificate\", \"key\" }, found \"yes\""},
    {"no names", AUTO("\"names\":[]"), "listeners[0].names: expected 1 to 64 names, found 0"},
    {"a name with a port", AUTO("\"names\":[\"a.example.com:443\"]"),
     "listeners[0].names[0]: expected a host name or an address without a port, found \"a.example.com:443\""},
    {"a name that is a number", AUTO("\"names\":[7]"),
     "listeners[0].names[0]: expected a host name or an address, found a number"},
    {"takeover without TLS", PLAIN("\"takeover\":true"),
     "listeners[0]: takeover: clients speak TLS with a registry's name, and this listener has no \"tls\""},
    {"CONNECT takeover inside TLS", AUTO("\"connect\":\"takeover\""),
     "listeners[0]: connect: \"takeover\" stands on a listener without \"tls\": the TLS is inside the tunnel"},
    {"an unknown word for connect", PLAIN("\"connect\":\"tunnel\""),
     "listeners[0].connect: expected \"off\", \"refuse\" or \"takeover\", found \"tunnel\""},
    {"a challenge that asks nobody", PLAIN("\"challenge\":true"),
     "listeners[0]: challenge: with \"identify\": \"none\" nobody is asked who they are: write \"optional\" or "
     "\"required\""},
    {"a challenge that nobody can answer", PLAIN("\"challenge\":true,\"identify\":\"optional\""),
     "listeners[0].challenge: nobody could answer: there is no \"identity\" (\"identity\": {} knows the gateway's own "
     "tokens)"},
    {"identity required without a way", PLAIN("\"identify\":\"required\""),
     "listeners[0].identify: \"required\", and there is no way to be known here: write \"client_ca\" for this "
     "listener, "
     "or \"identity\" at the top"},
    {"client certificates without TLS", PLAIN("\"client_ca\":\"a.pem\""),
     "listeners[0]: client_ca: client certificates need \"tls\" (or \"connect\": \"takeover\")"},
    {"a must without an authority", AUTO("\"client_certificate\":\"required\""),
     "listeners[0]: client_certificate: it needs \"client_ca\", the authority of those certificates"},
    {"a list without an authority", AUTO("\"client_crl\":\"a.crl\""),
     "listeners[0]: client_crl: it needs \"client_ca\", the authority of those certificates"},
    {"names without an authority", AUTO("\"name_from\":[\"cn\"]"), "listeners[0]: name_from: it needs \"client_ca\""},
    {"a kind of names twice", AUTO("\"client_ca\":\"a\",\"name_from\":[\"cn\",\"dns\",\"cn\"]"),
     "listeners[0].name_from[2]: \"cn\" is here twice"},
    {"no kind of names", AUTO("\"client_ca\":\"a\",\"name_from\":[]"),
     "listeners[0].name_from: expected at least one of \"uri\", \"dns\", \"email\" and \"cn\""},
    {"an unknown kind of names", AUTO("\"client_ca\":\"a\",\"name_from\":[\"ip\"]"),
     "listeners[0].name_from[0]: expected \"uri\", \"dns\", \"email\" or \"cn\", found \"ip\""},
    {"an alias that is an address", REGISTRY("\"aliases\":[\"10.0.0.1\"]"),
     "registries.\"r.example.com\".aliases[0]: expected a host name: an address cannot be taken over"},
    {"an alias that is another registry's name",
     "{\"registries\":{\"a.example.com\":{},\"b.example.com\":{\"aliases\":[\"a.example.com\"]}}}",
     "registries.\"b.example.com\".aliases: a.example.com is the name of \"a.example.com\" already"},
    {"one alias twice",
     "{\"registries\":{\"a.example.com\":{\"aliases\":[\"c.example.com\"]},\"b.example.com\":{\"aliases\":"
     "[\"c.example.com\"]}}}",
     "registries.\"b.example.com\".aliases: c.example.com is the name of \"a.example.com\" already"},
    {"an alias of many", "{\"registries\":{\"*.example.com\":{\"aliases\":[\"a.test\"]}}}",
     "registries.\"*.example.com\".aliases: an alias stands for one registry, not for many"},
    {"addresses of many", "{\"registries\":{\"*\":{\"resolve\":[\"10.0.0.1\"]}}}",
     "registries.\"*\".resolve: addresses are those of one registry, not of many"},
    {"a name to resolve to", REGISTRY("\"resolve\":[\"b.example.com\"]"),
     "registries.\"r.example.com\".resolve[0]: expected an IP address such as \"140.82.121.33\", found "
     "\"b.example.com\""},
    {"half an authority", "{\"ca\":{\"certificate\":\"a.pem\"}}",
     "ca: expected both \"certificate\" and \"key\" (an authority of yours), or neither (the gateway makes one)"},
    {"constraints of somebody else's authority",
     "{\"ca\":{\"certificate\":\"a\",\"key\":\"b\",\"name_constraints\":true}}",
     "ca: name_constraints: they are those of the authority that the gateway makes, and \"certificate\" names one of "
     "yours"},
    {"an issuer without keys", "{\"identity\":{\"oidc\":[{\"issuer\":\"https://i\",\"audience\":\"a\"}]}}",
     "identity.oidc[0]: \"jwks\" is missing: expected a file with the issuer's keys, or their https URL"},
    {"keys without TLS",
     "{\"identity\":{\"oidc\":[{\"issuer\":\"https://i\",\"audience\":\"a\",\"jwks\":\"http://i/keys\"}]}}",
     "identity.oidc[0].jwks: expected a file or a URL that begins with https://, found \"http://i/keys\""},
    {"an authority for a file",
     "{\"identity\":{\"oidc\":[{\"issuer\":\"i\",\"audience\":\"a\",\"jwks\":\"k\",\"ca\":\"c\"}]}}",
     "identity.oidc[0]: ca: it is for a \"jwks\" that is fetched, and this one is a file"},
    {"one issuer twice",
     "{\"identity\":{\"oidc\":[{\"issuer\":\"i\",\"audience\":\"a\",\"jwks\":\"k\"},{\"issuer\":\"i\",\"audience\":"
     "\"a\",\"jwks\":\"l\"}]}}",
     "identity.oidc[1]: oidc[0] has this issuer and audience already"},
    {"tokens for a second", "{\"identity\":{\"token_lifetime\":\"1s\"}}",
     "identity.token_lifetime: expected at least 1m and at most 1d, found \"1s\""},
    {"no identity is not null", "{\"identity\":null}",
     "identity: expected { \"htpasswd\", \"oidc\", ... }, or {} for the gateway's own tokens only, found null"},
    {"a group that is a text", "{\"groups\":{\"a\":\"user:b\"}}",
     "groups.a: expected a list of members, found a string"},
    {"a member that is a number", "{\"groups\":{\"a\":[1]}}",
     "groups.a[0]: expected \"user:NAME\", \"cert:NAME\" or \"address:BLOCK\", found a number"},
    {"a proxy with host bits", PLAIN("\"trusted_proxies\":[\"10.0.0.1/8\"]"), NULL},
};

Test(config_access, errors) {
    for (size_t i = 0; i < sizeof error_rows / sizeof error_rows[0]; i++) {
        const struct error_row *row = &error_rows[i];
        struct err err = {0};
        struct config *c = parse(row->text, &err);
        cr_expect_null(c, "%s", row->why);
        if (row->error != NULL)
            cr_expect_str_eq(err.text, row->error, "%s: %s", row->why, err.text);
        config_unref(c);
    }
}

Test(config_access, defaults) {
    struct err err = {0};
    setenv("STATE_DIRECTORY", "/state/a:/state/b", 1);
    struct config *c = parse("{\"listeners\":[{\"address\":\"127.0.0.1:5080\"},{\"address\":\"127.0.0.1:5443\","
                             "\"tls\":\"auto\",\"client_ca\":\"ca.pem\"},{\"address\":\"[::]:444\",\"tls\":\"auto\","
                             "\"names\":[\"Gate.Example.COM\"]}]}",
                             &err);
    cr_assert_not_null(c, "%s", err.text);
    const struct listener_config *plain = &c->listeners[0], *own = &c->listeners[1], *named = &c->listeners[2];
    cr_expect_str_eq(c->state_directory, "/state/a", "the first of systemd's list");
    cr_expect_null(c->identity.state_directory, "without \"identity\" there are no tokens");
    cr_expect(!plain->tls && !plain->takeover && !plain->challenge && plain->name_count == 0);
    cr_expect_eq(plain->connect, CONNECT_OFF);
    cr_expect_eq(plain->identify, IDENTIFY_NONE);
    cr_expect_eq(plain->client_certificate, CLIENT_CERTIFICATE_NONE);
    cr_expect(own->tls && own->tls_auto && own->certificate == NULL);
    cr_expect_eq(own->client_certificate, CLIENT_CERTIFICATE_OPTIONAL, "with client_ca");
    cr_expect(own->name_from_count == 4 && own->name_from[0] == PEER_URI && own->name_from[3] == PEER_COMMON_NAME);
    cr_assert_eq(own->name_count, 2);
    cr_expect_str_eq(own->names[0], "localhost");
    cr_expect_str_eq(own->names[1], "127.0.0.1");
    cr_assert_eq(named->name_count, 1, "[::] is no name");
    cr_expect_str_eq(named->names[0], "gate.example.com");
    cr_expect(config_needs_authority(c) && !config_identifies(c));
    config_unref(c);
}

Test(config_access, identity) {
    struct err err = {0};
    struct config *c = parse(
        "{\"state_directory\":\"/s\",\"identity\":{\"htpasswd\":\"/u\",\"login_failures\":3,\"oidc\":[{\"issuer\":"
        "\"https://i.test\",\"audience\":\"a\",\"jwks\":\"https://i.test/keys\",\"name_claim\":\"email\"}]},"
        "\"listeners\":[{\"address\":\"127.0.0.1:1\",\"identify\":\"required\",\"challenge\":true,"
        "\"trusted_proxies\":[\"10.0.0.0/8\",\"::1\"]}]}",
        &err);
    cr_assert_not_null(c, "%s", err.text);
    cr_expect(c->identity_written && config_identifies(c) && !config_needs_authority(c));
    cr_expect_str_eq(c->identity.state_directory, "/s");
    cr_expect_str_eq(c->identity.htpasswd, "/u");
    cr_expect_eq(c->identity.failures_max, 3);
    cr_expect_eq(c->identity.failures_window_s, 300);
    cr_expect_eq(c->identity.token_lifetime_s, 300);
    cr_assert_eq(c->identity.oidc_count, 1);
    cr_expect_str_eq(c->identity.oidc[0].name_claim, "email");
    cr_expect_str_eq(c->identity.oidc[0].groups_claim, "groups");
    cr_expect_eq(c->listeners[0].trusted_proxy_count, 2);
    config_unref(c);
}

// --- takeover ---

struct taken_row {
    const char *why, *host, *registry; ///< NULL: nobody's.
    bool realm;
};

static const char taken_text[] =
    "{\"registries\":{\"docker.io\":{},\"ghcr.io\":{\"aliases\":[\"ghcr.corp.test\"]},"
    "\"r.example.com:5000\":{\"realm_hosts\":[\"auth.example.com\",\"*.auth.example.com\"]},"
    "\"proxied.test\":{\"endpoints\":[\"https://harbor.test/hub-proxy\"]},"
    "\"a.test\":{\"endpoints\":[\"https://shared.test\",\"https://a.test\"]},"
    "\"b.test\":{\"endpoints\":[\"https://shared.test\",\"https://ghcr.io\",\"https://10.0.0.1:5000\"]},"
    "\"*.azurecr.io\":{\"redirect_hosts\":[\"cdn.x.azurecr.io\"]},\"*\":{}}}";

static const struct taken_row taken_rows[] = {
    {"its name", "ghcr.io", "ghcr.io", false},
    {"its alias", "ghcr.corp.test", "ghcr.io", false},
    {"Docker Hub's name", "docker.io", "docker.io", false},
    {"Docker Hub's endpoint", "registry-1.docker.io", "docker.io", false},
    {"Docker Hub's old name, which docker login asks for", "index.docker.io", "docker.io", false},
    {"Docker Hub's realm", "auth.docker.io", "docker.io", true},
    {"the port of a name does not matter", "r.example.com", "r.example.com:5000", false},
    {"a realm host", "auth.example.com", "r.example.com:5000", true},
    {"a realm under a pattern: the client may go anywhere", "x.auth.example.com", NULL, false},
    {"an endpoint with a path is another registry", "harbor.test", NULL, false},
    {"the registry before it is served under its own name", "proxied.test", "proxied.test", false},
    {"an endpoint that two share is nobody's", "shared.test", NULL, false},
    {"an own name goes before an endpoint of another", "a.test", "a.test", false},
    {"an address", "10.0.0.1", NULL, false},
    {"a wildcard", "x.azurecr.io", "*.azurecr.io", false},
    {"a redirect host under a wildcard", "cdn.x.azurecr.io", NULL, false},
    {"the wildcard of everything is nobody", "www.example.org", NULL, false},
    {"a CDN", "production.cloudflare.docker.com", NULL, false},
    {"nothing", "", NULL, false},
};

Test(config_access, taken_over) {
    struct err err = {0};
    struct config *c = parse(taken_text, &err);
    cr_assert_not_null(c, "%s", err.text);
    for (size_t i = 0; i < sizeof taken_rows / sizeof taken_rows[0]; i++) {
        const struct taken_row *row = &taken_rows[i];
        bool realm = true;
        const struct registry *r = config_taken_over(c, row->host, &realm);
        cr_expect_str_eq(r != NULL ? r->name : "(none)", row->registry != NULL ? row->registry : "(none)", "%s: %s",
                         row->why, r != NULL ? r->name : "(none)");
        cr_expect_eq(realm, row->realm, "%s", row->why);
        cr_expect_eq(config_taken_over(c, row->host, NULL), r, "%s", row->why);
    }
    config_unref(c);
}

static bool has(char **names, size_t count, const char *name) {
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found = found || strcmp(names[i], name) == 0;
    return found;
}

static void free_names(char **names, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

Test(config_access, authority_names) {
    struct err err = {0};
    size_t count = 0;
    struct config *c = parse("{\"listeners\":[{\"address\":\"10.0.0.5:443\",\"tls\":\"auto\",\"names\":[\"g.test\"],"
                             "\"takeover\":true}],\"registries\":{\"ghcr.io\":{},\"*.azurecr.io\":{},\"*\":{}}}",
                             &err);
    cr_assert_not_null(c, "%s", err.text);
    char **names = config_authority_names(c, &count);
    static const char *const wanted[] = {"g.test", "10.0.0.5", "ghcr.io", "azurecr.io"};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        cr_expect(has(names, count, wanted[i]), "%s", wanted[i]);
    cr_expect(!has(names, count, "*") && !has(names, count, ""));
    for (size_t i = 1; i < count; i++)
        cr_expect_lt(strcmp(names[i - 1], names[i]), 0, "sorted, each once");
    free_names(names, count);
    config_unref(c);
    c = parse("{\"listeners\":[{\"address\":\"10.0.0.5:443\",\"tls\":\"auto\"}],\"registries\":{\"ghcr.io\":{}}}",
              &err);
    names = config_authority_names(c, &count);
    cr_expect(!has(names, count, "ghcr.io"), "without takeover only the listeners' names");
    free_names(names, count);
    config_unref(c);
}

// --- reload ---

Test(config_access, reload_rules) {
    struct err err = {0};
    struct config *a = parse("{\"state_directory\":\"/a\"}", &err), *b = parse("{\"state_directory\":\"/b\"}", &err);
    struct config *more = parse("{\"state_directory\":\"/a\",\"identity\":{},\"groups\":{\"g\":[\"user:a\"]},"
                                "\"listeners\":[{\"address\":\"127.0.0.1:5080\",\"identify\":\"optional\"}]}",
                                &err);
    cr_assert(a != NULL && b != NULL && more != NULL, "%s", err.text);
    cr_expect(!config_reloadable(a, b, &err));
    cr_expect_str_eq(err.text, "only a restart changes state_directory; nothing was changed");
    cr_expect(config_reloadable(a, more, &err), "%s", err.text);
    config_unref(a);
    config_unref(b);
    config_unref(more);
}

// --- warnings ---

struct heard {
    char text[16384];
};

static void hear(void *ctx, const char *path, const char *sentence) {
    struct heard *h = ctx;
    size_t at = strlen(h->text);
    snprintf(h->text + at, sizeof h->text - at, "%s: %s\n", path, sentence);
}

struct lint_row {
    const char *why, *text, *says; ///< `says` NULL: nothing of `not_said`.
    const char *not_said;
};

#define HUB "\"registries\":{\"docker.io\":{}}"

static const struct lint_row lint_rows[] = {
    {"a mirror that challenges",
     "{\"identity\":{},\"listeners\":[{\"address\":\"127.0.0.1:1\",\"challenge\":true,\"identify\":\"optional\"}]," HUB
     "}",
     "dockerd sends its Docker Hub password to a mirror that challenges it", "without encryption"},
    {"the same for another registry",
     "{\"identity\":{},\"default_registry\":\"ghcr.io\",\"listeners\":[{\"address\":\"127.0.0.1:1\",\"challenge\":true,"
     "\"identify\":\"optional\"}]," HUB "}",
     NULL, "dockerd sends"},
    {"passwords in the clear",
     "{\"identity\":{},\"listeners\":[{\"address\":\"10.0.0.1:1\",\"challenge\":true,\"identify\":\"optional\"}]," HUB
     "}",
     "passwords and tokens come here without encryption", NULL},
    {"takeover without addresses",
     "{\"listeners\":[{\"address\":\"10.0.0.1:443\",\"tls\":\"auto\",\"takeover\":true}]," HUB "}",
     "write registries.\"docker.io\".resolve", NULL},
    {"takeover with addresses",
     "{\"listeners\":[{\"address\":\"10.0.0.1:443\",\"tls\":\"auto\",\"takeover\":true}],\"registries\":{\"docker.io\":"
     "{\"resolve\":[\"192.0.2.1\"]}}}",
     NULL, "resolve"},
    {"takeover of everything",
     "{\"listeners\":[{\"address\":\"10.0.0.1:443\",\"tls\":\"auto\",\"takeover\":true}],\"registries\":{\"*\":{}}}",
     "names that only \"*\" covers are not taken over", NULL},
    {"everyone is a proxy", PLAIN("\"trusted_proxies\":[\"0.0.0.0/0\"]"), "\"trusted_proxies\" has every address",
     NULL},
    {"nobody is asked", "{\"identity\":{}," HUB "}", "no listener asks who it is", NULL},
};

Test(config_access, lint) {
    for (size_t i = 0; i < sizeof lint_rows / sizeof lint_rows[0]; i++) {
        const struct lint_row *row = &lint_rows[i];
        struct err err = {0};
        struct heard h = {""};
        setenv("STATE_DIRECTORY", "/nonexistent/pullgate", 1);
        struct config *c = parse(row->text, &err);
        cr_assert_not_null(c, "%s: %s", row->why, err.text);
        config_lint(c, 1800000000, hear, &h);
        if (row->says != NULL)
            cr_expect_not_null(strstr(h.text, row->says), "%s: %s", row->why, h.text);
        if (row->not_said != NULL)
            cr_expect_null(strstr(h.text, row->not_said), "%s: %s", row->why, h.text);
        config_unref(c);
    }
}
