// SPDX-License-Identifier: Apache-2.0
//
// Certificates and revocation lists for tests, made on the spot, and a folder for them.

#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdint.h>

enum { PKI_DAY = 24 * 60 * 60 };

struct pki_pair {
    X509 *certificate;
    EVP_PKEY *key;
};

/// What one is to say; NULL leaves it out. `alternatives` and `constraints` are in OpenSSL's words ("DNS:a.test").
struct pki_spec {
    const char *name, *unit, *alternatives, *usage; ///< `usage`: extendedKeyUsage; default clientAuth.
    int64_t from, until;
    bool authority;
};

struct pki_pair pki_make(const struct pki_spec *spec, const struct pki_pair *issuer); ///< NULL: by itself.
void pki_free(struct pki_pair *p);

/// An extension of raw DER, before the certificate is signed again by `issuer`.
void pki_set_alternatives(struct pki_pair *p, GENERAL_NAMES *names, const struct pki_pair *issuer);

/// A list of `issuer` with `revoked` (may be NULL) in it.
X509_CRL *pki_list(const struct pki_pair *issuer, const X509 *revoked, int64_t from, int64_t until);

char *pki_folder(void); ///< A fresh one; the caller gives it to pki_folder_free().
void pki_folder_free(char *folder);
char *pki_path(const char *folder, const char *name);
char *pki_write(const char *folder, const char *name, X509 *certificate, EVP_PKEY *key, X509_CRL *list, unsigned mode);
