// SPDX-License-Identifier: Apache-2.0
//
// Where a request may go next: redirects and token realms, host by host. Pure; any thread.

#pragma once

#include "mirrors/upstream/registry.h"

enum { REDIRECT_HOPS_MAX = 5, TARGET_URL_MAX = 16384 };

enum target_kind { TARGET_REDIRECT, TARGET_REALM };

enum target_verdict {
    TARGET_OK,
    TARGET_MALFORMED, ///< No absolute or resolvable http(s) URL, user info in it, over TARGET_URL_MAX.
    TARGET_SCHEME,    ///< http where the endpoint is https.
    TARGET_HOST,      ///< Host neither listed, nor in the catalogue, nor the endpoint's own.
    TARGET_ADDRESS    ///< An IP literal that the address rules refuse.
};

struct target {
    char *url;          ///< Absolute, without a fragment, as libcurl writes it; "" when malformed.
    struct hostport at; ///< Port always set (443 or 80 by scheme).
    bool plain;         ///< http.
    bool same_origin;   ///< Scheme, host and port equal those of the request that led here: credentials may stay.
    bool unlisted;      ///< With TARGET_HOST: https, and no private literal, so that in monitor mode the caller goes on
                        ///< without credentials (and without `private_addresses`). Not set: refused in every mode.
};

/// Judge `location` (absolute or relative), received in answer to a request for `from_url` of this
/// registry at this endpoint. `out` is filled as far as it could be parsed, also when refused (never NULL, so that the
/// host can be named), and must be released with target_deinit(). `err`: a sentence naming the host and the key to add,
/// never a path or query (presigned URLs are secrets). A listed host's entry with a port covers only that port. An IP
/// literal is covered only by an entry without `*`, and `address_permitted` must agree. The verdicts come in this
/// order: malformed, scheme, address, host.
enum target_verdict target_judge(const struct registry *r, const struct endpoint *e, enum target_kind kind,
                                 const char *from_url, const char *location, struct target *out, struct err *err);
void target_deinit(struct target *t);

/// Do the registry's `external_urls` permit this entry of a descriptor's `urls`? For document_judge(), whose context is
/// a `const struct registry *`.
bool registry_url_permitted(void *registry, const char *url);

/// The address rules: may a connection for this registry go to `addr`? Refused unless the registry's
/// `private_addresses` permit it: private (RFC 1918, fc00::/7), loopback, link-local (also metadata services such as
/// 169.254.169.254, fd00:ec2::254, 100.100.100.200), carrier NAT (100.64/10), unspecified, multicast, broadcast,
/// documentation, benchmarking and reserved blocks; IPv4 inside IPv6 (mapped, compatible, NAT64 64:ff9b::/96 and
/// 64:ff9b:1::/48, 6to4, Teredo) is judged by the IPv4 address it carries and its own block.
bool address_permitted(const struct registry *r, const uint8_t addr[16], struct err *err);
