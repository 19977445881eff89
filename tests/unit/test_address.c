// SPDX-License-Identifier: Apache-2.0
//
// Which addresses a connection may go to.

#include "mirrors/upstream/target.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

static void to_bytes(const char *text, uint8_t out[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (inet_pton(AF_INET6, text, out) == 1)
        return;
    memcpy(out, mapped, sizeof mapped);
    cr_assert_eq(inet_pton(AF_INET, text, out + 12), 1, "%s is no address", text);
}

Test(address, without_exceptions) {
    static const struct {
        const char *address;
        bool expected;
        const char *why;
    } rows[] = {
        {"1.1.1.1", true, "public"},
        {"52.216.1.1", true, "public"},
        {"9.255.255.255", true, "just below 10/8"},
        {"10.0.0.0", false, "RFC 1918"},
        {"10.255.255.255", false, "RFC 1918"},
        {"11.0.0.0", true, "just above 10/8"},
        {"172.15.255.255", true, "just below 172.16/12"},
        {"172.16.0.1", false, "RFC 1918"},
        {"172.31.255.255", false, "RFC 1918"},
        {"172.32.0.0", true, "just above 172.16/12"},
        {"192.168.0.1", false, "RFC 1918"},
        {"192.167.255.255", true, "just below 192.168/16"},
        {"192.169.0.0", true, "just above 192.168/16"},
        {"127.0.0.1", false, "loopback"},
        {"127.255.255.254", false, "all of 127/8 is loopback"},
        {"0.0.0.0", false, "unspecified: Linux connects to itself"},
        {"0.1.2.3", false, "this network"},
        {"169.254.169.254", false, "metadata"},
        {"169.254.0.1", false, "link-local"},
        {"100.100.100.200", false, "metadata at Alibaba"},
        {"100.64.0.1", false, "carrier NAT"},
        {"100.127.255.255", false, "carrier NAT"},
        {"100.63.255.255", true, "just below carrier NAT"},
        {"100.128.0.0", true, "just above carrier NAT"},
        {"192.0.0.1", false, "IETF protocol assignments"},
        {"192.0.2.1", false, "documentation"},
        {"192.88.99.1", false, "6to4 relays"},
        {"198.18.0.1", false, "benchmarking"},
        {"198.19.255.255", false, "benchmarking"},
        {"198.20.0.0", true, "just above benchmarking"},
        {"198.51.100.7", false, "documentation"},
        {"203.0.113.7", false, "documentation"},
        {"224.0.0.1", false, "multicast"},
        {"239.255.255.255", false, "multicast"},
        {"240.0.0.1", false, "reserved"},
        {"255.255.255.255", false, "broadcast"},
        {"223.255.255.255", true, "just below multicast"},
        {"2606:4700::1111", true, "public"},
        {"2a00:1450:4001::1", true, "public"},
        {"::", false, "unspecified"},
        {"::1", false, "loopback"},
        {"::2", false, "IPv4-compatible, of 0/8"},
        {"::8.8.8.8", false, "IPv4-compatible addresses are no longer routed"},
        {"::127.0.0.1", false, "IPv4-compatible loopback"},
        {"fd00:ec2::254", false, "metadata at AWS"},
        {"fd00::1", false, "private"},
        {"fc00::1", false, "private"},
        {"fe80::1", false, "link-local"},
        {"febf::1", false, "link-local"},
        {"fec0::1", false, "site-local"},
        {"ff02::1", false, "multicast"},
        {"100::1", false, "discard only"},
        {"2001:db8::1", false, "documentation"},
        {"3fff::1", false, "documentation"},
        {"2001:2::1", false, "benchmarking"},
        {"2001:10::1", false, "protocol assignments"},
        {"2001:4860::1", true, "public, just beyond the assignments"},
        {"4000::1", false, "not global unicast"},
        {"::ffff:1.1.1.1", true, "mapped, public"},
        {"::ffff:10.0.0.1", false, "mapped, private"},
        {"::ffff:169.254.169.254", false, "mapped, metadata"},
        {"64:ff9b::1.1.1.1", true, "NAT64 of a public address: an IPv6-only site"},
        {"64:ff9b::10.0.0.1", false, "NAT64 of a private address"},
        {"64:ff9b::127.0.0.1", false, "NAT64 of loopback"},
        {"64:ff9b::169.254.169.254", false, "NAT64 of metadata"},
        {"64:ff9b:1::1.1.1.1", false, "local NAT64"},
        {"64:ff9b:2::1.1.1.1", false, "neither of the NAT64 blocks"},
        {"2002:0101:0101::1", true, "6to4 of a public address"},
        {"2002:0a00:0001::1", false, "6to4 of a private address"},
        {"2002:7f00:0001::1", false, "6to4 of loopback"},
        {"2001:0:4136:e378:8000:63bf:3fff:fdd2", false, "Teredo"},
        {"::ffff:0:1.1.1.1", false, "IPv4-translated"},
    };
    struct registry r = {.name = "registry.example.com"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t addr[16];
        struct err err = {0};
        to_bytes(rows[i].address, addr);
        bool got = address_permitted(&r, addr, &err);
        cr_expect_eq(got, rows[i].expected, "%s: %s (%s)", rows[i].why, rows[i].address, err.text);
        cr_expect_eq(err.text[0] == '\0', rows[i].expected, "%s: a sentence exactly when refused", rows[i].address);
    }
}

Test(address, exceptions) {
    static const struct {
        const char *block, *address;
        bool expected;
        const char *why;
    } rows[] = {
        {"10.0.0.0/8", "10.1.2.3", true, "listed"},
        {"10.0.0.0/8", "192.168.0.1", false, "another block"},
        {"10.0.0.0/8", "1.1.1.1", true, "public ones stay permitted"},
        {"10.1.2.3", "10.1.2.3", true, "a single address"},
        {"10.1.2.3", "10.1.2.4", false, "its neighbour"},
        {"10.0.0.0/8", "64:ff9b::10.1.2.3", true, "the carried address is listed"},
        {"10.0.0.0/8", "2002:0a01:0203::1", true, "the carried address is listed"},
        {"10.0.0.0/8", "64:ff9b::192.168.0.1", false, "the carried address is not listed"},
        {"10.0.0.0/8", "64:ff9b:1::10.1.2.3", false, "the block around it is not listed"},
        {"64:ff9b:1::/48", "64:ff9b:1::1.1.1.1", true, "local NAT64 listed, public address inside"},
        {"64:ff9b:1::/48", "64:ff9b:1::10.1.2.3", false, "local NAT64 listed, private address inside"},
        {"64:ff9b:1::/48", "64:ff9b:1:a00:1:200::", false, "the same in RFC 6052's /48 form"},
        {"64:ff9b:1::/48", "64:ff9b:1:101:1:100::", true, "a public address in the /48 form"},
        {"fd00::/8", "fd00:ec2::254", true, "a listed block covers metadata too"},
        {"fd00::/8", "fe80::1", false, "another block"},
        {"::1", "::1", true, "loopback listed"},
        {"127.0.0.1", "::1", false, "IPv4's loopback is not IPv6's"},
        {"127.0.0.0/8", "::ffff:127.0.0.1", true, "mapped is IPv4"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cidr block;
        struct err err = {0};
        uint8_t addr[16];
        cr_assert(cidr_parse(rows[i].block, &block, &err), "%s: %s", rows[i].block, err.text);
        struct registry r = {.name = "r", .private_addresses = &block, .private_address_count = 1};
        to_bytes(rows[i].address, addr);
        cr_expect_eq(address_permitted(&r, addr, &err), rows[i].expected, "%s: %s with %s (%s)", rows[i].why,
                     rows[i].address, rows[i].block, err.text);
    }
}

Test(address, sentences) {
    static const struct {
        const char *address, *expected;
    } rows[] = {
        {"10.1.2.3", "10.1.2.3 is a private address, which is not permitted: add it to "
                     "registries.\"registry.example.com\".private_addresses"},
        {"169.254.169.254", "169.254.169.254 is a cloud metadata address, which is not permitted: add it to "
                            "registries.\"registry.example.com\".private_addresses"},
        {"64:ff9b::10.0.0.1", "64:ff9b::a00:1 carries 10.0.0.1, a private address, which is not permitted: add "
                              "10.0.0.1 to registries.\"registry.example.com\".private_addresses"},
    };
    struct registry r = {.name = "registry.example.com"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t addr[16];
        struct err err = {0};
        to_bytes(rows[i].address, addr);
        cr_expect_not(address_permitted(&r, addr, &err), "%s", rows[i].address);
        cr_expect_str_eq(err.text, rows[i].expected, "%s: %s", rows[i].address, err.text);
        cr_expect_not(address_permitted(&r, addr, NULL), "a caller may not care why");
    }
}
