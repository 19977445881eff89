// SPDX-License-Identifier: Apache-2.0
//
// Who a client certificate names, and whether it holds today.
//
// A certificate is judged at every handshake, resumed ones too, and again for a connection's next request after a
// reload: by today's authority, revocation list and clock. Immutable once made; any thread.

#pragma once

#include "mirrors/base/err.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEER_NAME_MAX = 255, PEER_GROUPS_MAX = 64 };

enum peer_name_from { PEER_URI, PEER_DNS, PEER_EMAIL, PEER_COMMON_NAME };

struct peer_trust;

/// The authority (and, may be NULL, its revocation list) from PEM files. `crl_expired_accepted`: a list past its next
/// update is believed all the same.
struct peer_trust *peer_trust_new(const char *ca_file, const char *crl_file, bool crl_expired_accepted,
                                  struct err *err);
void peer_trust_free(struct peer_trust *t); ///< NULL is allowed.

/// The authorities' names, for the certificate request; as long as the trust.
STACK_OF(X509_NAME) * peer_trust_names(const struct peer_trust *t);

/// When the revocation list is to be renewed (Unix seconds); INT64_MAX: there is none.
int64_t peer_trust_crl_ends(const struct peer_trust *t);

/// Is this certificate (with what came along) good for a client now? False: `err` says why in plain words.
bool peer_verify(const struct peer_trust *t, X509 *certificate, STACK_OF(X509) * chain, int64_t now, struct err *err);

struct peer {
    char name[PEER_NAME_MAX + 1];  ///< "" where it has none of the kind.
    char *groups[PEER_GROUPS_MAX]; ///< From OU.
    size_t group_count;
};

/// What it says: the first name of the first kind in `order` (`order_count` of them) that it has. Names with control
/// characters or a NUL inside are left out.
void peer_read(X509 *certificate, const enum peer_name_from *order, size_t order_count, struct peer *out);
void peer_deinit(struct peer *p);
