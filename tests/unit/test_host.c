// SPDX-License-Identifier: Apache-2.0
//
// Hosts, patterns for them, address blocks.

#include "mirrors/base/host.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static bool parse(const char *s, struct hostport *out, struct err *err) {
    return hostport_parse(s, strlen(s), out, err);
}

static struct hostport host(const char *s) {
    struct hostport hp;
    cr_assert(parse(s, &hp, NULL), "%s", s);
    return hp;
}

struct accepted {
    const char *in, *host;
    uint16_t port;
    const char *formatted;
};

Test(host, accepted_in_one_form) {
    const struct accepted rows[] = {
        {"docker.io", "docker.io", 0, "docker.io"},
        {"GHCR.IO:443", "ghcr.io", 443, "ghcr.io:443"},
        {"localhost:5000", "localhost", 5000, "localhost:5000"},
        {"my_reg-1.corp:65535", "my_reg-1.corp", 65535, "my_reg-1.corp:65535"},
        {"1.2.3.4:5", "1.2.3.4", 5, "1.2.3.4:5"},
        {"[::1]:5", "::1", 5, "[::1]:5"},
        {"[2001:DB8:0:0:0:0:0:1]", "2001:db8::1", 0, "[2001:db8::1]"},
        {"1a.2b", "1a.2b", 0, "1a.2b"},
        {"0x7g", "0x7g", 0, "0x7g"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hostport hp;
        struct err err = {0};
        char text[HOSTPORT_TEXT_MAX + 1];
        cr_assert(parse(rows[i].in, &hp, &err), "%s: %s", rows[i].in, err.text);
        cr_expect_str_eq(hp.host, rows[i].host);
        cr_expect_eq(hp.port, rows[i].port);
        hostport_format(&hp, text);
        cr_expect_str_eq(text, rows[i].formatted);
    }
}

Test(host, refused) {
    const char *rows[] = {
        "",          ".",          "a.",
        ".a",        "a..b",       "a b",
        "a/b",       "a%2eb",      "user@host",
        "u:p@host",  "h\xc3\xa9",  "a:0",
        "a:65536",   "a:080",      "a:",
        ":80",       "a:8o",       "a:-1",
        "a:+1",      "a:123456",   "::1",
        "[::1",      "[]",         "[::1]5",
        "[::1]:",    "[::1%eth0]", "[1.2.3.4]",
        "[g::1]",    "1.2.3",      "0x7f.1",
        "256.1.1.1", "127.1",      "2130706433",
        "01.2.3.4",  "1.2.3.0x4",  "0x7f000001",
        "1.2.3.4.5", "0x",         "a.0x",
        "*",         "*.a",        "a?b",
        "a#b",       "a\\b",       "a\nb",
        "https://a", "1.2.3.4.",   "a:80:90",
        "[::1]:0",   "a.b:443/x",  "[::ffff:1.2.3.4.5]",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hostport hp;
        struct err err = {0};
        cr_expect_not(parse(rows[i], &hp, &err), "accepted: %s", rows[i]);
        cr_expect_str_neq(err.text, "", "no sentence for %s", rows[i]);
    }
    struct hostport hp;
    cr_expect_not(hostport_parse("a\0b", 3, &hp, NULL), "a NUL");
    cr_expect_not(hostport_parse("[::1\0]", 6, &hp, NULL), "a NUL in brackets");
}

Test(host, lengths) {
    char text[300];
    struct hostport hp;
    memset(text, 'a', sizeof text);
    cr_expect(hostport_parse(text, 63, &hp, NULL));
    cr_expect_not(hostport_parse(text, 64, &hp, NULL), "a label of 64");
    for (size_t i = 1; i < sizeof text; i += 2)
        text[i] = '.';
    cr_expect(hostport_parse(text, HOST_MAX, &hp, NULL));
    cr_expect_not(hostport_parse(text, HOST_MAX + 2, &hp, NULL));
    memcpy(text + HOST_MAX, ":65535", 6);
    cr_assert(hostport_parse(text, HOST_MAX + 6, &hp, NULL));
    char out[HOSTPORT_TEXT_MAX + 1];
    hostport_format(&hp, out);
    cr_expect_eq(strlen(out), HOST_MAX + 6);
}

Test(host, secrets_are_not_quoted) {
    const char *rows[] = {"robot:hunter2@host", "hunter2@host", "host/path?X-Amz-Signature=hunter2", "host?hunter2"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hostport hp;
        struct err err = {0};
        cr_expect_not(parse(rows[i], &hp, &err));
        cr_expect_null(strstr(err.text, "hunter2"), "%s", err.text);
        cr_expect_not(host_pattern_valid(rows[i], &err));
        cr_expect_null(strstr(err.text, "hunter2"), "%s", err.text);
    }
}

Test(host, equality) {
    struct hostport a = host("ghcr.io"), b = host("GHCR.io:443"), c = host("ghcr.io:80");
    cr_expect(hostport_equal(&a, &b, 443));
    cr_expect_not(hostport_equal(&a, &c, 443));
    cr_expect(hostport_equal(&a, &c, 80));
    cr_expect(host_is_address("10.0.0.1"));
    cr_expect(host_is_address("::1"));
    cr_expect_not(host_is_address("a.b"));
}

// --- patterns ---

struct match {
    const char *pattern, *host;
    bool matches;
};

Test(host, pattern_matching) {
    const struct match rows[] = {
        {"a.example.com", "a.example.com", true},
        {"A.Example.com", "a.example.com", true},
        {"a.example.com", "b.example.com", false},
        {"*.x.com", "x.com", false},
        {"*.x.com", "a.x.com", true},
        {"*.x.com", "a.b.x.com", true},
        {"*.x.com", "ax.com", false},
        {"*.x.com", "a.x.com.evil", false},
        {"a.*.com", "a.b.com", true},
        {"a.*.com", "a.b.c.com", false},
        {"*.*.com", "a.com", false},
        {"*.*.com", "a.b.com", true},
        {"a*.com", "a.com", false},
        {"a*.com", "ab.com", true},
        {"*a.com", "a.com", false},
        {"*a.com", "b.a.com", false},
        {"a*b*c.com", "axbxc.com", true},
        {"a*b*c.com", "abbc.com", false},
        {"a*b*c.com", "abbbc.com", true},
        {"a*b*c.com", "axbybzc.com", true},
        {"*", "anything.at.all", true},
        {"*", "localhost", true},
        {"*", "10.0.0.1", true},
        {"*.0.0.1", "10.0.0.1", false},
        {"x.com", "x.com:8443", true},
        {"x.com:443", "x.com:8443", false},
        {"x.com:443", "x.com", true},
        {"x.com:8443", "x.com", false},
        {"*.x.com:8443", "a.x.com:8443", true},
        {"*.x.com:8443", "a.x.com", false},
        {"*:5000", "a:5000", true},
        {"*:5000", "a", false},
        {"[::1]:5000", "[0:0::1]:5000", true},
        {"[::1]", "[::2]", false},
        {"*.x.com:0", "a.x.com", false},
        {"", "a", false},
        {"prod-*-starport-layer-bucket.s3.*.amazonaws.com",
         "prod-us-west-2-starport-layer-bucket.s3.us-west-2.amazonaws.com", true},
        {"prod-*-starport-layer-bucket.s3.*.amazonaws.com",
         "prod-x-starport-layer-bucket.evil.s3.us-west-2.amazonaws.com", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hostport hp = host(rows[i].host);
        cr_expect_eq(host_pattern_match(rows[i].pattern, &hp, 443), rows[i].matches, "%s against %s", rows[i].pattern,
                     rows[i].host);
    }
}

struct validity {
    const char *pattern;
    const char *says; // NULL: valid.
};

Test(host, pattern_validity) {
    const struct validity rows[] = {
        {"x.com", NULL},
        {"x.com:8443", NULL},
        {"*.x.com", NULL},
        {"a*b.x.com:1", NULL},
        {"*", NULL},
        {"[::1]:5000", NULL},
        {"10.0.0.1", NULL},
        {"", "empty"},
        {"https://x.com/", "write \"x.com\""},
        {"https://u:p@x.com:8443/v2/?a=b", "write \"x.com:8443\""},
        {"x.com/path", "write \"x.com\""},
        {"https://", "not a URL"},
        {"**.x.com", "\"**\""},
        {"*.x.com.", "no host pattern"},
        {".x.com", "empty label"},
        {"*..x", "no host pattern"},
        {"*.x.com:", "no host pattern"},
        {"*.x.com:99999", "no host pattern"},
        {"*.x.com:*", "no host pattern"},
        {"10.0.0.*", "addresses take no wildcard"},
        {"*.0.0.1", "addresses take no wildcard"},
        {"[::*]", "no host pattern"},
        {"a?.x.com", "character"},
        {"a[bc].x.com", "character"},
        {"{a,b}.x.com", "character"},
        {"!x.com", "character"},
        {"$x.com", "character"},
        {"a\\b.com", "character"},
        {"@set", "host"},
        {"x com", "character"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        bool valid = host_pattern_valid(rows[i].pattern, &err);
        cr_expect_eq(valid, rows[i].says == NULL, "%s: %s", rows[i].pattern, err.text);
        cr_expect(valid || strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].pattern, err.text);
    }
}

Test(host, the_most_specific_first) {
    const char *rows[] = {
        "a.b.example.com:443",
        "a.b.example.com",
        "*.b.example.com:443",
        "*.b.example.com",
        "ab*.example.com",
        "a*.example.com",
        "*.example.com",
        "*.com",
        "*:443",
        "*",
    };
    for (size_t i = 1; i < sizeof rows / sizeof *rows; i++)
        cr_expect_gt(host_pattern_specificity(rows[i - 1]), host_pattern_specificity(rows[i]), "%s before %s",
                     rows[i - 1], rows[i]);
}

Test(host, shared_patterns) {
    const char *rows[] = {
        "*",
        "*.com",
        "*.co.uk",
        "*.io",
        "*.com.au",
        "co.uk",
        "com",
        "foo-long-name-*.com",
        "*.*.com",
        "registry.*",
        "x.*.com",
        "foo*.co.uk",
        "*:5000",
        "amazonaws.com",
        "*.amazonaws.com",
        "*.s3.amazonaws.com",
        "*.s3.*.amazonaws.com",
        "s3.amazonaws.com",
        "s3.us-east-1.amazonaws.com",
        "S3.US-EAST-1.AmazonAWS.com",
        "s3-us-west-2.amazonaws.com",
        "s3.dualstack.eu-west-1.amazonaws.com",
        "s3.*.amazonaws.com",
        "*.s3.us-east-1.amazonaws.com:443",
        "*.dualstack.*.amazonaws.com",
        "abc*.s3.*.amazonaws.com",
        "*.mybucketname.s3.amazonaws.com",
        "*.elb.amazonaws.com",
        "*.us-east-1.elb.amazonaws.com",
        "*.s3.cn-north-1.amazonaws.com.cn",
        "*.cloudfront.net",
        "cloudfront.net",
        "d*.cloudfront.net",
        "*.r2.cloudflarestorage.com",
        "*.cloudflarestorage.com",
        "bucket.*.r2.cloudflarestorage.com",
        "*.eu.r2.cloudflarestorage.com",
        "*.blob.core.windows.net",
        "*.core.windows.net",
        "*.windows.net",
        "acc*.blob.core.windows.net",
        "storage.googleapis.com",
        "storage.googleapis.com:443",
        "*.googleapis.com",
        "*.storage.googleapis.com",
        "*.azureedge.net",
        "*.akamaized.net",
        "*.digitaloceanspaces.com",
        "*.nyc3.digitaloceanspaces.com",
        "nyc3.digitaloceanspaces.com",
        "*.b-cdn.net",
        "*.github.io",
        "raw.githubusercontent.com",
        "raw.githubusercontent.com:443",
        "*.githubusercontent.com",
        "*.map.fastly.net",
        "my-company-name-*.github.io",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        cr_expect(host_pattern_is_shared(rows[i], &err), "not shared: %s", rows[i]);
        cr_expect(strstr(err.text, rows[i]) != NULL, "%s: %s", rows[i], err.text);
    }
}

Test(host, patterns_of_one_owner) {
    const char *rows[] = {
        "registry.corp",
        "localhost",
        "registry",
        "10.0.0.1:5000",
        "[::1]:5000",
        "*.example.com",
        "*.example.co.uk",
        "a.*.example.com",
        "*.corp",
        "*.internal",
        "*.svc.cluster.local",
        "docker.io",
        "*.docker.com",
        "production.cloudflare.docker.com",
        "*.data.mcr.microsoft.com",
        "*.quay.io",
        "cdn01.quay.io",
        "pkg-containers.githubusercontent.com",
        "ghcr.io",
        "*.gcr.io",
        "bucket.s3.us-east-1.amazonaws.com",
        "my.bucket.s3.amazonaws.com",
        "d5l0dvt14r5h8.cloudfront.net",
        "d5l0dvt14r5h8.cloudfront.net:443",
        "0123abcd.r2.cloudflarestorage.com",
        "*.0123abcd.r2.cloudflarestorage.com",
        "docker-images-prod.0123abcd.r2.cloudflarestorage.com",
        "myaccount.blob.core.windows.net",
        "eusmanaged*.blob.core.windows.net",
        "bucket.storage.googleapis.com",
        "prod-registry-k8s-io-*.s3.dualstack.*.amazonaws.com",
        "prod-*-starport-layer-bucket.s3.*.amazonaws.com",
        "bucket.nyc3.digitaloceanspaces.com",
        "me.github.io",
        // Registries of one owner each; a lint of its own warns of these.
        "*.dkr.ecr.*.amazonaws.com",
        "*.dkr.ecr.us-east-1.amazonaws.com",
        "*.azurecr.io",
        "*.pkg.dev",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com",
        "notamazonaws.com",
        "*.notamazonaws.com",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        cr_expect_not(host_pattern_is_shared(rows[i], &err), "%s: %s", rows[i], err.text);
    }
}

// --- address blocks ---

struct block {
    const char *block, *inside, *outside;
};

Test(cidr, contains) {
    const struct block rows[] = {
        {"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
        {"172.16.0.0/12", "172.31.255.255", "172.32.0.0"},
        {"192.168.1.128/25", "192.168.1.128", "192.168.1.127"},
        {"1.2.3.4", "1.2.3.4", "1.2.3.5"},
        {"0.0.0.0/0", "8.8.8.8", "2001:db8::1"},
        {"fd00::/8", "fdff::1", "fe00::1"},
        {"::1", "::1", "::2"},
        {"10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"},
        {"fe80::/10", "febf::1", "fec0::1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cidr block;
        struct err err = {0};
        uint8_t in[16], out[16];
        cr_assert(cidr_parse(rows[i].block, &block, &err), "%s: %s", rows[i].block, err.text);
        cr_assert(address_from_text(rows[i].inside, in));
        cr_assert(address_from_text(rows[i].outside, out));
        cr_expect(cidr_contains(&block, in), "%s in %s", rows[i].inside, rows[i].block);
        cr_expect_not(cidr_contains(&block, out), "%s in %s", rows[i].outside, rows[i].block);
    }
}

Test(cidr, refused) {
    const struct validity rows[] = {
        {"10.0.0.1/8", "the block is \"10.0.0.0/8\""},
        {"fd00::1/8", "the block is \"fd00::/8\""},
        {"10.0.0.0/33", "from 0 to 32"},
        {"fd00::/129", "from 0 to 128"},
        {"10.0.0.0/", "prefix length"},
        {"10.0.0.0/08", "prefix length"},
        {"10.0.0.0/-1", "prefix length"},
        {"10.0.0.0/8/8", "prefix length"},
        {"10.0.0/8", "no address block"},
        {"010.0.0.0/8", "no address block"},
        {"", "no address block"},
        {"/8", "no address block"},
        {"[::1]/128", "no address block"},
        {"fe80::1%eth0", "no address block"},
        {"host", "no address block"},
        {"00000000000000000000000000000000000000000000000000000000000000001", "no address block"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cidr block;
        struct err err = {0};
        cr_expect_not(cidr_parse(rows[i].pattern, &block, &err), "accepted: %s", rows[i].pattern);
        cr_expect(strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].pattern, err.text);
    }
}

Test(cidr, sockaddrs) {
    uint8_t from_socket[16], from_text[16];
    struct sockaddr_in in = {.sin_family = AF_INET};
    inet_pton(AF_INET, "10.1.2.3", &in.sin_addr);
    cr_assert(address_from_sockaddr((struct sockaddr *)&in, from_socket));
    cr_assert(address_from_text("::ffff:10.1.2.3", from_text));
    cr_assert_arr_eq(from_socket, from_text, 16);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    cr_assert(address_from_sockaddr((struct sockaddr *)&in6, from_socket));
    cr_assert(address_from_text("::1", from_text));
    cr_assert_arr_eq(from_socket, from_text, 16);
    struct sockaddr other = {.sa_family = AF_UNIX};
    cr_assert_not(address_from_sockaddr(&other, from_socket));
}

Test(host, shown_without_the_port_that_goes_without_saying) {
    static const struct {
        const char *text, *shown, *why;
    } rows[] = {
        {"ghcr.io:443", "ghcr.io", "https's port"},
        {"ghcr.io:4430", "ghcr.io:4430", "one that begins like it"},
        {"ghcr.io:8443", "ghcr.io:8443", "one that ends like it"},
        {"ghcr.io", "ghcr.io", "none"},
        {"[::443]:443", "[::443]", "an address that looks like one"},
        {"[::443]", "[::443]", "and it alone"},
        {"", "", "nothing"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        cr_expect_eq(hostport_shown(rows[i].text), strlen(rows[i].shown), "%s", rows[i].why);
}
