// SPDX-License-Identifier: Apache-2.0
//
// hosts.toml as containerd 1.x and 2.x read it. Each row was seen with containerd 1.6 and 2.3 and Docker Engine 29, or
// follows from the code of their reader.

#include "gateway/doctor/hosts_dir.h"
#include "gateway/doctor/hosts_toml.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORDER_MAX = 1024 };

/// "a, b:8443(http), -": the hosts in the order in which they are asked; "-" is the registry itself.
static void order_of(const struct hosts_file *f, char out[ORDER_MAX]) {
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < f->count; i++) {
        const struct hosts_entry *e = &f->entries[i];
        len += (size_t)snprintf(out + len, ORDER_MAX - len, "%s%s%s", i > 0 ? ", " : "", e->itself ? "-" : e->host,
                                e->plain ? "(http)" : "");
    }
}

struct reading {
    const char *why;
    const char *text;
    const char *old, *today; ///< The order as 1.x and 2.x have it; "!PROBLEM" where the file is ignored.
};

static const char *const problems[] = {"fine", "!empty", "!unparsable", "!no host", "!type", "!capability", "!url"};

static const struct reading readings[] = {
    {"the recommended form: the gateway alone, on both",
     "server = \"https://gw\"\ncapabilities = [\"pull\", \"resolve\"]\n[host]\n", "gw", "gw"},
    {"without [host] 1.x ignores the file and goes to the registry", "server = \"https://gw\"\n", "!no host", "gw"},
    {"a host without a server: then the registry itself", "[host.\"https://gw\"]\n", "gw, -", "gw, -"},
    {"the server comes last", "server = \"https://b\"\n[host.\"https://a\"]\n", "a, b", "a, b"},
    {"the same twice is asked twice", "server = \"https://gw\"\n[host.\"https://gw\"]\n", "gw, gw", "gw, gw"},
    {"hosts by position, not by name", "[host.\"https://z\"]\n[host.\"https://a\"]\n[host.\"https://m\"]\n",
     "z, a, m, -", "z, a, m, -"},
    {"a host's own subtables make no second host",
     "server = \"https://b\"\n[host.\"https://a\"]\n[host.\"https://a\".header]\nx = \"y\"\n", "a, b", "a, b"},
    {"a subtable alone makes a host too", "server = \"https://b\"\n[host.\"https://a\".header]\nx = \"y\"\n", "a, b",
     "a, b"},
    {"an inline host is not seen by 2.x", "server = \"https://b\"\n[host]\n\"https://a\" = {}\n", "a, b", "b"},
    {"an empty server is the registry itself", "server = \"\"\n[host]\n", "-", "-"},
    {"a server without a scheme is https", "server = \"gw:8443\"\n[host]\n", "gw:8443", "gw:8443"},
    {"a plain server", "server = \"http://gw\"\n[host]\n", "gw(http)", "gw(http)"},
    {"no byte in it is as if it were not there", "", "!empty", "!empty"},
    {"only a comment: nothing is said", "# nothing\n", "!no host", "-"},
    {"a typing error opens everything", "server = \"https://gw\n[host]\n", "!unparsable", "!unparsable"},
    {"a key twice", "server = \"https://gw\"\nserver = \"https://gw\"\n[host]\n", "!unparsable", "!unparsable"},
    {"capabilities must be a list", "server = \"https://gw\"\ncapabilities = \"pull\"\n[host]\n", "!type", "!type"},
    {"an unknown capability", "server = \"https://gw\"\ncapabilities = [\"frobnicate\"]\n[host]\n", "!capability",
     "!capability"},
    {"capabilities in capitals are known", "server = \"https://gw\"\ncapabilities = [\"PULL\", \"Resolve\"]\n[host]\n",
     "gw", "gw"},
    {"an unknown capability of one host spoils the file",
     "server = \"https://gw\"\n[host.\"https://a\"]\ncapabilities = [\"pul\"]\n", "!capability", "!capability"},
    {"a capability that 2.2 came to know",
     "server = \"https://gw\"\ncapabilities = [\"pull\", \"referrers\"]\n[host]\n", "!capability", "!capability"},
    {"the server must be a string", "server = 1\n[host]\n", "!type", "!type"},
    {"host must be a table", "server = \"https://gw\"\nhost = \"https://a\"\n", "!no host", "!type"},
    {"skip_verify must be a boolean", "server = \"https://gw\"\nskip_verify = \"no\"\n[host]\n", "!type", "!type"},
    {"ca must be files", "server = \"https://gw\"\nca = 1\n[host]\n", "!type", "!type"},
    {"client must be pairs", "server = \"https://gw\"\nclient = [[\"a\"]]\n[host]\n", "!type", "!type"},
    {"a header must be text", "server = \"https://gw\"\n[host]\n[header]\nx = 1\n", "!type", "!type"},
    {"a URL with a space is none", "server = \"https://g w\"\n[host]\n", "!url", "!url"},
    {"unknown keys are ignored", "server = \"https://gw\"\nfrobnicate = 1\n[host]\n", "gw", "gw"},
    {"a misspelt server is none", "sever = \"https://gw\"\n[host]\n", "-", "-"},
    {"a user name in the URL is no host", "server = \"https://gw@evil.test\"\n[host]\n", "evil.test", "evil.test"},
};

static void check(const struct reading *r, enum hosts_reader reader, const char *wanted) {
    struct hosts_file f;
    char order[ORDER_MAX];
    hosts_read(reader, r->text, strlen(r->text), "/etc/containerd/certs.d/_default", &f);
    if (f.problem == HOSTS_FINE)
        order_of(&f, order);
    else
        snprintf(order, sizeof order, "%s", problems[f.problem]);
    cr_expect_str_eq(order, wanted, "%s (%s): %s, not %s: %s", r->why, reader == HOSTS_CONTAINERD_1 ? "1.x" : "2.x",
                     order, wanted, f.why.text);
    if (f.problem != HOSTS_FINE) {
        cr_expect_eq(f.count, 1, "%s", r->why);
        cr_expect(f.entries[0].itself, "%s: an ignored file means the registry itself", r->why);
        cr_expect(f.why.text[0] != '\0', "%s: says why", r->why);
    }
    hosts_deinit(&f);
}

Test(hosts_toml, order) {
    for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
        check(&readings[i], HOSTS_CONTAINERD_1, readings[i].old);
        check(&readings[i], HOSTS_CONTAINERD_2, readings[i].today);
    }
}

Test(hosts_toml, what_2_2_came_to_know) {
    static const char text[] = "server = \"https://gw\"\ncapabilities = [\"pull\", \"Referrers\"]\n";
    struct hosts_file f;
    hosts_read(HOSTS_CONTAINERD_2_2, text, strlen(text), "/d", &f);
    cr_assert_eq(f.problem, HOSTS_FINE, "%s", f.why.text);
    cr_expect_eq(f.entries[0].capabilities, (unsigned)HOSTS_PULL, "no image is resolved by it");
    hosts_deinit(&f);
}

Test(hosts_toml, what_belongs_to_a_host) {
    static const char text[] = "server = \"https://gw/v2/px\"\n"
                               "capabilities = [\"pull\", \"resolve\"]\n"
                               "ca = [\"ca.crt\", \"/abs/ca.crt\"]\n"
                               "client = [[\"/c.crt\", \"c.key\"], \"one.pem\"]\n"
                               "override_path = true\n"
                               "[header]\nx-team = \"a\"\nx-more = [\"b\", \"c\"]\n"
                               "[host.\"https://other\"]\nskip_verify = true\n";
    struct hosts_file f;
    hosts_read(HOSTS_CONTAINERD_2, text, strlen(text), "/d", &f);
    cr_assert_eq(f.problem, HOSTS_FINE, "%s", f.why.text);
    cr_assert_eq(f.count, 2);
    cr_expect(f.entries[0].skip_verify);
    cr_expect_eq(f.entries[0].capabilities, (unsigned)HOSTS_ALL, "all of them where none is said");
    cr_expect_str_eq(f.entries[0].path, "/v2");
    const struct hosts_entry *gw = &f.entries[1];
    cr_expect_str_eq(gw->path, "/v2/px", "override_path keeps the path");
    cr_expect_eq(gw->capabilities, (unsigned)(HOSTS_PULL | HOSTS_RESOLVE));
    cr_assert_eq(gw->ca.count, 2);
    cr_expect_str_eq(gw->ca.at[0], "/d/ca.crt", "beside the file");
    cr_expect_str_eq(gw->ca.at[1], "/abs/ca.crt");
    cr_assert_eq(gw->keys.count, 4);
    cr_expect_str_eq(gw->keys.at[1], "/d/c.key");
    cr_expect_str_eq(gw->keys.at[3], "", "certificate and key in one file");
    cr_expect_eq(gw->headers, 2);
    hosts_deinit(&f);
}

Test(hosts_toml, unknown_keys_are_named) {
    static const char text[] = "sever = \"https://gw\"\n[host.\"https://a\"]\ncapability = [\"pull\"]\n";
    struct hosts_file f;
    hosts_read(HOSTS_CONTAINERD_2, text, strlen(text), "/d", &f);
    cr_assert_eq(f.unknown.count, 2);
    cr_expect_str_eq(f.unknown.at[0], "sever (line 1)");
    cr_expect_str_eq(f.unknown.at[1], "capability (line 3)");
    hosts_deinit(&f);
}

struct naming {
    const char *why, *name, *registry;
};

static const struct naming namings[] = {
    {"as it is", "ghcr.io", "ghcr.io"},
    {"a port in the form that every file system takes", "host_5000_", "host:5000"},
    {"a port as written", "host:5000", "host:5000"},
    {"an underscore that is part of the name", "my_host", "my_host"},
    {"no digits between the underscores", "host__", "host__"},
    {"letters between the underscores", "host_5a_", "host_5a_"},
    {"nothing before the port", "_5000_", "_5000_"},
};

Test(hosts_dir, names) {
    for (size_t i = 0; i < sizeof namings / sizeof *namings; i++) {
        char *registry = hosts_dir_registry(namings[i].name);
        cr_expect_str_eq(registry, namings[i].registry, "%s: %s", namings[i].why, registry);
        free(registry);
    }
    cr_expect(hosts_dir_is_aside("ghcr.io.pullgate-aside.2"));
    cr_expect(hosts_dir_is_aside(".hidden"));
    cr_expect_not(hosts_dir_is_aside("ghcr.io"));
}
