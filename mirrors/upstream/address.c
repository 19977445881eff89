// SPDX-License-Identifier: Apache-2.0
//
// Which addresses a connection may go to (see address_permitted() in target.h).
//
// The table follows IANA's special-purpose registries. What is not global unicast (2000::/3) in IPv6 is refused
// without being listed one by one. Pure; any thread.

#include "mirrors/upstream/target.h"

#include <arpa/inet.h>
#include <string.h>

struct v4_block {
    uint32_t addr;
    uint8_t bits;
    const char *words; ///< What such an address is, for the sentence.
};

struct v6_block {
    uint8_t addr[16];
    uint8_t bits;
    const char *words;
};

/// The first that contains the address names it, so a narrow block stands before the wide one around it.
static const struct v4_block v4_blocks[] = {
    {0x00000000, 32, "the unspecified address"},  {0x00000000, 8, "a \"this network\" address"},
    {0x0a000000, 8, "a private address"},                                                // 10/8
    {0x646464c8, 32, "a cloud metadata address"},                                        // 100.100.100.200
    {0x64400000, 10, "a carrier NAT address"},                                           // 100.64/10
    {0x7f000000, 8, "a loopback address"},                                               // 127/8
    {0xa9fea9fe, 32, "a cloud metadata address"},                                        // 169.254.169.254
    {0xa9fe0000, 16, "a link-local address"},                                            // 169.254/16
    {0xac100000, 12, "a private address"},                                               // 172.16/12
    {0xc0000000, 24, "a reserved address"},                                              // 192.0.0/24
    {0xc0000200, 24, "a documentation address"},                                         // 192.0.2/24
    {0xc0586300, 24, "a reserved address"},                                              // 192.88.99/24, 6to4 relays
    {0xc0a80000, 16, "a private address"},                                               // 192.168/16
    {0xc6120000, 15, "a benchmarking address"},                                          // 198.18/15
    {0xc6336400, 24, "a documentation address"},                                         // 198.51.100/24
    {0xcb007100, 24, "a documentation address"},                                         // 203.0.113/24
    {0xe0000000, 4, "a multicast address"},                                              // 224/4
    {0xffffffff, 32, "the broadcast address"},    {0xf0000000, 4, "a reserved address"}, // 240/4
};

static const struct v6_block v6_blocks[] = {
    {{0}, 128, "the unspecified address"},
    {{[15] = 1}, 128, "the loopback address"},
    {{0}, 96, "an IPv4-compatible address"},
    {{[1] = 0x64, [2] = 0xff, [3] = 0x9b, [5] = 1}, 48, "a local NAT64 address"},
    {{0xfd, 0x00, 0x0e, 0xc2, [15] = 0x54, [14] = 0x02}, 128, "a cloud metadata address"},
    {{0xfc}, 7, "a private address"},
    {{0xfe, 0x80}, 10, "a link-local address"},
    {{0xfe, 0xc0}, 10, "a site-local address"},
    {{0xff}, 8, "a multicast address"},
    {{0x01}, 64, "a discard-only address"},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, "a documentation address"},
    {{0x3f, 0xff}, 20, "a documentation address"},
    {{0x20, 0x01, 0x00, 0x02}, 48, "a benchmarking address"},
    {{0x20, 0x01}, 32, "a Teredo address"},
    {{0x20, 0x01}, 23, "a reserved address"},
};

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t nat64[12] = {[1] = 0x64, [2] = 0xff, [3] = 0x9b};
static const uint8_t nat64_local[6] = {[1] = 0x64, [2] = 0xff, [3] = 0x9b, [5] = 1};
static const uint8_t translated[12] = {[8] = 0xff, [9] = 0xff}; // SIIT, ::ffff:0:a.b.c.d.
static const uint8_t zeros[16];

static bool is_v4(const uint8_t addr[16]) {
    return memcmp(addr, v4_mapped, sizeof v4_mapped) == 0;
}

static const char *v4_words(const uint8_t addr[16]) {
    uint32_t v4 = (uint32_t)addr[12] << 24 | (uint32_t)addr[13] << 16 | (uint32_t)addr[14] << 8 | addr[15];
    for (size_t i = 0; i < sizeof v4_blocks / sizeof *v4_blocks; i++)
        if ((v4 ^ v4_blocks[i].addr) >> (32 - v4_blocks[i].bits) == 0)
            return v4_blocks[i].words;
    return NULL;
}

static const char *v6_words(const uint8_t addr[16]) {
    for (size_t i = 0; i < sizeof v6_blocks / sizeof *v6_blocks; i++) {
        struct cidr block = {.bits = v6_blocks[i].bits};
        memcpy(block.addr, v6_blocks[i].addr, sizeof block.addr);
        if (cidr_contains(&block, addr))
            return v6_blocks[i].words;
    }
    bool global_unicast = (addr[0] & 0xe0) == 0x20;
    bool public_nat64 = memcmp(addr, nat64, sizeof nat64) == 0;
    return global_unicast || public_nat64 ? NULL : "a reserved address";
}

/// What kind of special address this is, looking at its own block only; NULL: an ordinary public one.
static const char *special_words(const uint8_t addr[16]) {
    return is_v4(addr) ? v4_words(addr) : v6_words(addr);
}

static void set_v4(uint8_t out[16], uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    memcpy(out, v4_mapped, sizeof v4_mapped);
    out[12] = a;
    out[13] = b;
    out[14] = c;
    out[15] = d;
}

/// The IPv4 addresses that an IPv6 address carries (Teredo: its client and its server), at most two.
static size_t carried(const uint8_t a[16], uint8_t out[2][16]) {
    if (is_v4(a))
        return 0;
    if (a[0] == 0x20 && a[1] == 0x02) { // 6to4
        set_v4(out[0], a[2], a[3], a[4], a[5]);
        return 1;
    }
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0 && a[3] == 0) { // Teredo
        set_v4(out[0], (uint8_t)~a[12], (uint8_t)~a[13], (uint8_t)~a[14], (uint8_t)~a[15]);
        set_v4(out[1], a[4], a[5], a[6], a[7]);
        return 2;
    }
    if (memcmp(a, nat64_local, sizeof nat64_local) == 0 && memcmp(a + 11, zeros, 5) == 0) { // RFC 6052's /48 form
        set_v4(out[0], a[6], a[7], a[9], a[10]);
        return 1;
    }
    bool compatible = memcmp(a, zeros, 12) == 0 && memcmp(a + 12, zeros, 3) != 0;
    if (compatible || memcmp(a, nat64, sizeof nat64) == 0 || memcmp(a, translated, sizeof translated) == 0 ||
        memcmp(a, nat64_local, sizeof nat64_local) == 0) {
        set_v4(out[0], a[12], a[13], a[14], a[15]);
        return 1;
    }
    return 0;
}

static bool listed(const struct registry *r, const uint8_t addr[16]) {
    for (size_t i = 0; i < r->private_address_count; i++)
        if (cidr_contains(&r->private_addresses[i], addr))
            return true;
    return false;
}

static void address_text(const uint8_t addr[16], char out[INET6_ADDRSTRLEN]) {
    if (is_v4(addr))
        inet_ntop(AF_INET, addr + 12, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, addr, out, INET6_ADDRSTRLEN);
}

bool address_permitted(const struct registry *r, const uint8_t addr[16], struct err *err) {
    char text[INET6_ADDRSTRLEN], inner_text[INET6_ADDRSTRLEN];
    uint8_t inner[2][16];
    address_text(addr, text);
    const char *words = special_words(addr);
    if (words && !listed(r, addr))
        return err_set(err, "%s is %s, which is not permitted: add it to registries.\"%s\".private_addresses", text,
                       words, r->name);
    size_t count = carried(addr, inner);
    for (size_t i = 0; i < count; i++) {
        words = special_words(inner[i]);
        if (!words || listed(r, inner[i]))
            continue;
        address_text(inner[i], inner_text);
        return err_set(err, "%s carries %s, %s, which is not permitted: add %s to registries.\"%s\".private_addresses",
                       text, inner_text, words, inner_text, r->name);
    }
    return true;
}
