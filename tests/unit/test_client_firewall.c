// SPDX-License-Identifier: Apache-2.0
//
// Egress rules: which addresses they let through, what is left of the address space for Windows to block, and the
// texts.

#include "client_kit.h"

#include "gateway/clients/reach.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define NFT "/etc/nftables.d/pullgate.nft"
#define UNIT "/etc/systemd/system/pullgate-firewall.service"
#define POWERSHELL "/etc/pullgate/windows/pullgate-firewall.ps1"

static char *text_of(void (*write)(const struct reach *, enum reach_family, struct buf *), const struct reach *r,
                     enum reach_family family) {
    struct buf b;
    buf_init(&b, 1024 * 1024);
    buf_adds(&b, "");
    write(r, family, &b);
    return b.data != NULL ? buf_steal(&b) : calloc(1, 1);
}

Test(client_firewall, reach) {
    static const struct {
        const char *add[5];
        const char *v4, *v6, *others4, *others6, *why;
        size_t unknown;
    } rows[] = {
        {{NULL},
         "",
         "",
         "'0.0.0.0-255.255.255.255'",
         "'::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'",
         "nothing is let through: all is left",
         0},
        {{"192.0.2.1"}, "192.0.2.1", "", "'0.0.0.0-192.0.2.0', '192.0.2.2-255.255.255.255'", NULL, "an address", 0},
        {{"192.0.2.1:8443", "192.0.2.1"},
         "192.0.2.1",
         "",
         NULL,
         NULL,
         "the port is left out, and each is kept once",
         0},
        {{"10.0.0.0/8", "10.1.2.3"},
         "10.0.0.0/8, 10.1.2.3",
         "",
         "'0.0.0.0-9.255.255.255', '11.0.0.0-255.255.255.255'",
         NULL,
         "one inside of the other",
         0},
        {{"192.0.2.2", "192.0.2.1"},
         "192.0.2.2, 192.0.2.1",
         "",
         "'0.0.0.0-192.0.2.0', '192.0.2.3-255.255.255.255'",
         NULL,
         "neighbours, in any order",
         0},
        {{"0.0.0.0", "255.255.255.255"},
         "0.0.0.0, 255.255.255.255",
         "",
         "'0.0.0.1-255.255.255.254'",
         NULL,
         "the first and the last",
         0},
        {{"0.0.0.0/0"}, "0.0.0.0/0", "", "", NULL, "everything: nothing is left", 0},
        {{"0.0.0.0/1", "128.0.0.0/1"}, "0.0.0.0/1, 128.0.0.0/1", "", "", NULL, "everything in two halves", 0},
        {{"[2001:db8::1]:5000"},
         "",
         "2001:db8::1",
         "'0.0.0.0-255.255.255.255'",
         "'::-2001:db8::', '2001:db8::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'",
         "IPv6 with a port",
         0},
        {{"fd00::/8"},
         "",
         "fd00::/8",
         NULL,
         "'::-fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'fe00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'",
         "a block of IPv6",
         0},
        {{"*.corp.example.com", ".corp.example.com", "not a name", "192.0.2.1"},
         "192.0.2.1",
         "",
         NULL,
         NULL,
         "what cannot be looked up is kept to be told",
         3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reach r = {0};
        for (size_t j = 0; rows[i].add[j] != NULL; j++)
            reach_add(&r, rows[i].add[j]);
        char *v4 = text_of(reach_text, &r, REACH_IPV4), *v6 = text_of(reach_text, &r, REACH_IPV6);
        char *o4 = text_of(reach_others, &r, REACH_IPV4), *o6 = text_of(reach_others, &r, REACH_IPV6);
        cr_expect_str_eq(v4, rows[i].v4, "%s", rows[i].why);
        cr_expect_str_eq(v6, rows[i].v6, "%s", rows[i].why);
        if (rows[i].others4 != NULL)
            cr_expect_str_eq(o4, rows[i].others4, "%s", rows[i].why);
        if (rows[i].others6 != NULL)
            cr_expect_str_eq(o6, rows[i].others6, "%s", rows[i].why);
        cr_expect_eq(r.unknown_count, rows[i].unknown, "%s", rows[i].why);
        free(v4);
        free(v6);
        free(o4);
        free(o6);
        reach_deinit(&r);
    }
}

/// Addresses only: a test asks no resolver.
static struct client_site *site(const char *gateway) {
    struct err err = {""};
    char text[1024];
    snprintf(text, sizeof text,
             "{\"format\":1,\"gateway\":\"%s\",\"proxy\":\"http://192.0.2.6:3128\",\"registries\":"
             "[{\"name\":\"docker.io\"}],\"direct\":[\"192.0.2.7:5000\"],\"no_proxy\":[\"10.0.0.0/8\",\".corp.test\"]}",
             gateway);
    struct client_site *s = client_site_parse(text, strlen(text), &err);
    cr_assert_not_null(s, "%s", err.text);
    return s;
}

Test(client_firewall, rules) {
    static const struct {
        bool windows;
        const char *path, *has, *why;
    } rows[] = {
        {false, NFT, "table inet pullgate\ndelete table inet pullgate\n\ntable inet pullgate {",
         "loaded twice is once"},
        {false, NFT, "elements = { 192.0.2.5, 192.0.2.6 }", "the gateway and its proxy"},
        {false, NFT, "elements = { 192.0.2.7, 10.0.0.0/8 }", "what the site lists"},
        {false, NFT, "tcp dport { 80, 443, 5000 } counter reject with tcp reset", "the others fail at once"},
        {false, NFT, "udp dport { 80, 443 } counter reject", "QUIC too"},
        {false, NFT, "type filter hook output", "this machine's processes"},
        {false, NFT, "type filter hook forward", "and containers"},
        {false, NFT, "ct status dnat return", "published ports are no egress"},
        {false, NFT, "ip6 daddr ::1 return", "loopback stays"},
        {false, UNIT, "ExecStart=/usr/sbin/nft -f /etc/nftables.d/pullgate.nft", "loaded at boot"},
        {false, UNIT, "PartOf=nftables.service", "and after what flushes everything"},
        {true, POWERSHELL, "New-NetFirewallRule", "Windows itself"},
        {true, POWERSHELL, "New-NetFirewallHyperVRule", "WSL"},
        {true, POWERSHELL, "-RemotePorts 80,443,5000", "the same ports"},
        {true, POWERSHELL,
         "$others4 = @('0.0.0.0-9.255.255.255', '11.0.0.0-126.255.255.255', '128.0.0.0-192.0.2.4', "
         "'192.0.2.8-255.255.255.255')",
         "all addresses but those"},
        {true, POWERSHELL, "generated, not run", "and it says that nobody tried it"},
    };
    for (int windows = 0; windows < 2; windows++) {
        const struct client_options options = {.nft = !windows, .windows = windows};
        char *root = kit_root();
        struct client_site *s = site("https://192.0.2.5");
        struct kit_run r = kit_write(plan_firewall, s, &options, root, false);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            char *text = kit_get(root, rows[i].path);
            cr_expect_eq(strstr(text, rows[i].has) != NULL, rows[i].windows == windows, "%s: %s", rows[i].why, text);
            free(text);
        }
        cr_expect_not_null(strstr(r.out, ".corp.test has no address"), "what is not let through is told: %s", r.out);
        cr_expect_not_null(strstr(r.out, "CDN"), "that addresses are shared is told: %s", r.out);
        kit_done(&r);
        r = kit_write(plan_firewall, s, &options, root, false);
        cr_expect_eq(r.result.changed, 0, "written twice, nothing changes: %s", r.out);
        kit_done(&r);
        client_site_free(s);
        kit_drop(root);
    }
}

Test(client_firewall, a_gateway_without_an_address) {
    struct client_site *s = site("https://gateway.invalid");
    struct client_options options = {.root = "", .nft = true};
    struct client_plan *p = plan_new();
    struct err err = {""};
    cr_expect_not(plan_firewall(s, &options, p, &err), "rules that would cut the machine off are not made");
    cr_expect_not_null(strstr(err.text, "gateway.invalid"), "%s", err.text);
    options.address = "192.0.2.77";
    cr_expect(plan_firewall(s, &options, p, &err), "but where the address is given: %s", err.text);
    plan_free(p);
    client_site_free(s);
}
