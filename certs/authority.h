// SPDX-License-Identifier: Apache-2.0
//
// The gateway's own certificate authority: a P-256 key and certificate in the state directory, and the server
// certificates that it issues. Only the container tools are to trust it, never a whole system unless the site wants
// that.
//
// Immutable once opened, counted by reference; any thread. Keys are wiped when freed.

#pragma once

#include "mirrors/base/err.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AUTHORITY_YEARS = 10,
    LEAF_DAYS = 30,       ///< What a server certificate of ours lasts...
    LEAF_RENEW_DAYS = 20, ///< ... and when it is made anew.
    LEAF_NAMES_MAX = 100
};

struct authority;

/// Open that of the state directory. `make`: make one if there is none, good only for `names` (host names and
/// addresses; subdomains included) where `name_count` is not 0. NULL and `err`: it cannot be used, or (not `make`)
/// there is none.
struct authority *authority_open(const char *state_directory, bool make, const char *const *names, size_t name_count,
                                 struct err *err);
struct authority *authority_ref(struct authority *a);
void authority_unref(struct authority *a); ///< NULL is allowed.

/// Put what the state directory has aside (ca.crt becomes ca.crt.old), so that another can be made. True also where
/// there is none.
bool authority_retire(const char *state_directory, struct err *err);

/// A site's own, from PEM files (a key that others may read is refused). Further certificates in the file are sent
/// along with every leaf: for an authority that is itself under another.
struct authority *authority_load(const char *certificate_file, const char *key_file, struct err *err);

/// Its certificate as PEM, as long as the authority.
const char *authority_pem(const struct authority *a);

X509 *authority_certificate(const struct authority *a);

/// What is sent behind a leaf: the authority's certificate, and those above it that its file has. As long as the
/// authority.
STACK_OF(X509) * authority_chain(const struct authority *a);

/// The same certificate?
bool authority_same(const struct authority *a, const struct authority *b);

/// May it issue for this host name or address? It may for all, or its name constraints say.
bool authority_permits(const struct authority *a, const char *name);

/// Unix seconds.
int64_t authority_ends(const struct authority *a);

/// SHA-256 of the certificate, hex with colons, for people to compare; `out` has 96 bytes.
void authority_fingerprint(const struct authority *a, char *out);

/// A fresh key and a certificate for these host names and addresses, from five minutes before `now` (Unix seconds) for
/// `days`. The caller frees both. The first name is the subject's.
bool authority_issue(const struct authority *a, const char *const *names, size_t count, int64_t now, unsigned days,
                     X509 **certificate, EVP_PKEY **key, struct err *err);

/// The same as PEM, the authority's certificate behind the leaf: for `pullgate ca issue`. The caller frees both (the
/// key by state_free()).
bool authority_issue_pem(const struct authority *a, const char *const *names, size_t count, int64_t now, unsigned days,
                         char **certificate, char **key, struct err *err);
