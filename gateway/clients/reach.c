// SPDX-License-Identifier: Apache-2.0
//
// Addresses that a firewall is to let through.

#include "gateway/clients/reach.h"

#include "mirrors/base/mem.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_BYTES = 16, IPV4_AT = 12, IPV4_BITS_BEFORE = 96 };

static bool is_ipv4(const uint8_t a[ADDRESS_BYTES]) {
    static const uint8_t mapped[IPV4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(a, mapped, sizeof mapped) == 0;
}

static bool in_family(const struct cidr *c, enum reach_family family) {
    return (c->bits >= IPV4_BITS_BEFORE && is_ipv4(c->addr)) == (family == REACH_IPV4);
}

static bool keep(struct reach *r, const struct cidr *c) {
    for (size_t i = 0; i < r->count; i++)
        if (r->blocks[i].bits == c->bits && memcmp(r->blocks[i].addr, c->addr, ADDRESS_BYTES) == 0)
            return true;
    if (r->count == REACH_BLOCKS_MAX)
        return false;
    r->blocks = mem_resize(r->blocks, r->count + 1, sizeof *r->blocks);
    r->blocks[r->count++] = *c;
    return true;
}

static void keep_unknown(struct reach *r, const char *what) {
    if (r->unknown_count == REACH_HOSTS_MAX)
        return;
    r->unknown = mem_resize(r->unknown, r->unknown_count + 1, sizeof *r->unknown);
    r->unknown[r->unknown_count++] = mem_strdup(what);
}

static bool look_up(struct reach *r, const char *host) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool any = false;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        struct cidr one = {.bits = 128};
        if (address_from_sockaddr(a->ai_addr, one.addr))
            any |= keep(r, &one);
    }
    freeaddrinfo(found);
    return any;
}

bool reach_add(struct reach *r, const char *what) {
    struct cidr block;
    struct hostport hp;
    struct err err = {""};
    if (cidr_parse(what, &block, &err))
        return keep(r, &block);
    if (hostport_parse(what, strlen(what), &hp, &err)) {
        if (cidr_parse(hp.host, &block, &err))
            return keep(r, &block);
        if (look_up(r, hp.host))
            return true;
    }
    keep_unknown(r, what);
    return false;
}

void reach_deinit(struct reach *r) {
    for (size_t i = 0; i < r->unknown_count; i++)
        free(r->unknown[i]);
    free(r->unknown);
    free(r->blocks);
    *r = (struct reach){0};
}

size_t reach_family_count(const struct reach *r, enum reach_family family) {
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        n += in_family(&r->blocks[i], family);
    return n;
}

// --- as text ---

static void add_address(struct buf *out, enum reach_family family, const uint8_t a[ADDRESS_BYTES]) {
    char text[INET6_ADDRSTRLEN];
    if (family == REACH_IPV4)
        inet_ntop(AF_INET, a + IPV4_AT, text, sizeof text);
    else
        inet_ntop(AF_INET6, a, text, sizeof text);
    buf_adds(out, text);
}

void reach_text(const struct reach *r, enum reach_family family, struct buf *out) {
    bool first = true;
    for (size_t i = 0; i < r->count; i++) {
        const struct cidr *c = &r->blocks[i];
        if (!in_family(c, family))
            continue;
        buf_adds(out, first ? "" : ", ");
        add_address(out, family, c->addr);
        if (c->bits < 128)
            buf_addf(out, "/%d", family == REACH_IPV4 ? c->bits - IPV4_BITS_BEFORE : c->bits);
        first = false;
    }
}

// --- the others ---

struct range {
    uint8_t first[ADDRESS_BYTES], last[ADDRESS_BYTES];
};

static int by_first(const void *a, const void *b) {
    const struct range *x = a, *y = b;
    int order = memcmp(x->first, y->first, ADDRESS_BYTES);
    return order != 0 ? order : memcmp(x->last, y->last, ADDRESS_BYTES);
}

/// The address after; false: it was the last of all.
static bool next_address(uint8_t a[ADDRESS_BYTES]) {
    for (size_t i = ADDRESS_BYTES; i-- > 0;)
        if (++a[i] != 0)
            return true;
    return false;
}

static void address_before(uint8_t a[ADDRESS_BYTES]) {
    for (size_t i = ADDRESS_BYTES; i-- > 0;)
        if (a[i]-- != 0)
            return;
}

static void block_range(const struct cidr *c, struct range *out) {
    memcpy(out->first, c->addr, ADDRESS_BYTES);
    memcpy(out->last, c->addr, ADDRESS_BYTES);
    for (unsigned bit = c->bits; bit < 128; bit++)
        out->last[bit / 8] = (uint8_t)(out->last[bit / 8] | (0x80u >> bit % 8));
}

static void add_range(struct buf *out, enum reach_family family, const uint8_t first[ADDRESS_BYTES],
                      const uint8_t last[ADDRESS_BYTES], bool *any) {
    buf_adds(out, *any ? ", '" : "'");
    add_address(out, family, first);
    buf_adds(out, "-");
    add_address(out, family, last);
    buf_adds(out, "'");
    *any = true;
}

static size_t sorted_ranges(const struct reach *r, enum reach_family family, struct range *out) {
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        if (in_family(&r->blocks[i], family))
            block_range(&r->blocks[i], &out[n++]);
    qsort(out, n, sizeof *out, by_first);
    return n;
}

void reach_others(const struct reach *r, enum reach_family family, struct buf *out) {
    struct range *ranges = mem_zalloc(r->count + 1, sizeof *ranges), all;
    size_t n = sorted_ranges(r, family, ranges);
    struct cidr whole = {.bits = family == REACH_IPV4 ? IPV4_BITS_BEFORE : 0};
    if (family == REACH_IPV4)
        whole.addr[10] = whole.addr[11] = 0xff;
    block_range(&whole, &all);
    uint8_t at[ADDRESS_BYTES]; // The first address that no range has covered yet.
    memcpy(at, all.first, sizeof at);
    bool any = false, left = true;
    for (size_t i = 0; i < n && left; i++) {
        if (memcmp(ranges[i].first, at, sizeof at) > 0) {
            uint8_t last[ADDRESS_BYTES];
            memcpy(last, ranges[i].first, sizeof last);
            address_before(last);
            add_range(out, family, at, last, &any);
        }
        if (memcmp(ranges[i].last, at, sizeof at) < 0)
            continue;
        memcpy(at, ranges[i].last, sizeof at);
        left = memcmp(at, all.last, sizeof at) < 0 && next_address(at);
    }
    if (left)
        add_range(out, family, at, all.last, &any);
    free(ranges);
}
