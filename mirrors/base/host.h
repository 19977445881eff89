// SPDX-License-Identifier: Apache-2.0
//
// Host names, host:port pairs, patterns for them, and address blocks.
//
// One canonical form: lower case, no trailing dot, IPv6 literals in brackets in text and without
// them in `struct hostport`. Pure functions; any thread.

#pragma once

#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { HOST_MAX = 253, HOSTPORT_TEXT_MAX = HOST_MAX + 2 + 6 };

struct hostport {
    char host[HOST_MAX + 1]; ///< Canonical: lower-case DNS name, IPv4 literal, or IPv6 literal without brackets.
    uint16_t port;           ///< 0: none was given.
};

/// Parse "host", "host:port", "1.2.3.4:5", "[::1]:5". Refused: empty or over-long labels, bytes other
/// than letters, digits, '-', '_' and '.' (so no userinfo, '/', '%', spaces, non-ASCII), a leading or trailing
/// dot, port 0 or over 65535, leading zeros in a port, an IPv4-like name that is no IPv4 address ("1.2.3", "0x7f.1",
/// "256.1.1.1").
bool hostport_parse(const char *s, size_t len, struct hostport *out, struct err *err);

/// "host" or "host:port", brackets around IPv6; `out` has HOSTPORT_TEXT_MAX + 1 bytes.
void hostport_format(const struct hostport *hp, char *out);

/// How much of hostport_format()'s text people need: its length without the port that goes without saying, :443.
size_t hostport_shown(const char *text);

/// Equal hosts, and equal ports where `default_port` stands for a missing one.
bool hostport_equal(const struct hostport *a, const struct hostport *b, uint16_t default_port);

/// An IPv4 or IPv6 literal?
bool host_is_address(const char *host);

// --- patterns in host lists (redirect_hosts, realm_hosts, external_urls, registry names) ---
//
// `*` is one or more characters within one DNS label; a leading `*.` is one or more whole labels, so
// `*.x` does not match `x`. Without a port a pattern covers every port, with one only that port.

/// Is this a usable pattern? The error says what is wrong and what was meant ("https://x/" -> "x").
bool host_pattern_valid(const char *pattern, struct err *err);

/// Does `hp` (its port, where missing, is `default_port`) match?
bool host_pattern_match(const char *pattern, const struct hostport *hp, uint16_t default_port);

/// For "the most specific wins": greater is more specific; an exact name beats every pattern, a
/// pattern with a longer literal tail beats a shorter one, "*" is the least.
int host_pattern_specificity(const char *pattern);

/// Is this pattern a public suffix or a parent under which strangers can register (`*.com`,
/// `amazonaws.com`, `*.s3.*.amazonaws.com`, `*.r2.cloudflarestorage.com`, `*.cloudfront.net`,
/// `*.blob.core.windows.net`, `storage.googleapis.com` counts too)? Such an entry would open the gate to anyone. `err`
/// explains. A fully literal host below such a parent is fine.
bool host_pattern_is_shared(const char *pattern, struct err *err);

// --- address blocks ---

struct cidr {
    uint8_t addr[16]; ///< Network order; IPv4 as ::ffff:a.b.c.d.
    uint8_t bits;     ///< Of the 128; IPv4's /8 is 104.
};

/// "10.0.0.0/8", "fd00::/8", or a single address. Host bits must be zero (the error proposes the
/// block that was meant).
bool cidr_parse(const char *text, struct cidr *out, struct err *err);
bool cidr_contains(const struct cidr *block, const uint8_t addr[16]);

/// An AF_INET or AF_INET6 sockaddr as 16 bytes (IPv4 mapped); false for other families.
bool address_from_sockaddr(const struct sockaddr *sa, uint8_t out[16]);
bool address_from_text(const char *text, uint8_t out[16]);
