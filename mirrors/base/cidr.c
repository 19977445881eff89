// SPDX-License-Identifier: Apache-2.0
//
// Address blocks. Every address is 16 bytes here, IPv4 as ::ffff:a.b.c.d, so that one comparison
// serves both families. Pure; any thread.

#include "mirrors/base/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { MAPPED_BITS = 96, ADDRESS_BITS = 128, CIDR_TEXT_MAX = INET6_ADDRSTRLEN + 4 };

static const uint8_t MAPPED_PREFIX[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void map_ipv4(const void *address, uint8_t out[16]) {
    memcpy(out, MAPPED_PREFIX, sizeof MAPPED_PREFIX);
    memcpy(out + sizeof MAPPED_PREFIX, address, 4);
}

bool address_from_text(const char *text, uint8_t out[16]) {
    uint8_t v4[4];
    if (inet_pton(AF_INET, text, v4) == 1) {
        map_ipv4(v4, out);
        return true;
    }
    return inet_pton(AF_INET6, text, out) == 1;
}

bool address_from_sockaddr(const struct sockaddr *sa, uint8_t out[16]) {
    // Copied: a sockaddr from a buffer need not be aligned for its family.
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        map_ipv4(&in.sin_addr, out);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        memcpy(out, &in6.sin6_addr, 16);
        return true;
    }
    return false;
}

// Zero the bits after the first `bits`.
static void mask(uint8_t addr[16], unsigned bits) {
    for (unsigned i = 0; i < 16; i++) {
        unsigned keep = bits >= (i + 1) * 8 ? 8 : bits > i * 8 ? bits - i * 8 : 0;
        addr[i] = (uint8_t)(addr[i] & (0xff00u >> keep));
    }
}

static bool parse_bits(const char *s, unsigned most, unsigned *out) {
    size_t len = strlen(s);
    if (len < 1 || len > 3 || s[strspn(s, "0123456789")] != '\0' || (s[0] == '0' && len > 1))
        return false;
    unsigned bits = 0;
    for (; *s != '\0'; s++)
        bits = bits * 10 + (unsigned)(*s - '0');
    *out = bits;
    return bits <= most;
}

static void format_block(const uint8_t addr[16], unsigned bits, bool v4, char out[CIDR_TEXT_MAX]) {
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr + sizeof MAPPED_PREFIX : addr, text, sizeof text);
    snprintf(out, CIDR_TEXT_MAX, "%s/%u", text, v4 ? bits - MAPPED_BITS : bits);
}

static bool check_host_bits(const char *text, const struct cidr *block, bool v4, struct err *err) {
    struct cidr masked = *block;
    mask(masked.addr, block->bits);
    if (memcmp(masked.addr, block->addr, sizeof masked.addr) == 0)
        return true;
    char meant[CIDR_TEXT_MAX];
    format_block(masked.addr, block->bits, v4, meant);
    return err_set(err, "\"%s\" has bits set after its prefix; the block is \"%s\"", text, meant);
}

bool cidr_parse(const char *text, struct cidr *out, struct err *err) {
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
    struct cidr block = {.bits = ADDRESS_BITS};
    if (len >= sizeof address)
        return err_set(err, "\"%.64s\" is no address block such as 10.0.0.0/8 or fd00::/8", text);
    memcpy(address, text, len);
    address[len] = '\0';
    if (!address_from_text(address, block.addr))
        return err_set(err, "\"%.64s\" is no address block such as 10.0.0.0/8 or fd00::/8", text);
    bool v4 = strchr(address, ':') == NULL;
    unsigned most = v4 ? ADDRESS_BITS - MAPPED_BITS : ADDRESS_BITS;
    unsigned bits = most;
    if (slash != NULL && !parse_bits(slash + 1, most, &bits))
        return err_set(err, "\"%.64s\" needs a prefix length from 0 to %u after the \"/\"", text, most);
    block.bits = (uint8_t)(v4 ? bits + MAPPED_BITS : bits);
    if (!check_host_bits(text, &block, v4, err))
        return false;
    *out = block;
    return true;
}

bool cidr_contains(const struct cidr *block, const uint8_t addr[16]) {
    uint8_t masked[16];
    memcpy(masked, addr, sizeof masked);
    mask(masked, block->bits);
    return memcmp(masked, block->addr, sizeof masked) == 0;
}
