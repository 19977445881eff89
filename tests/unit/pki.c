// SPDX-License-Identifier: Apache-2.0

#include "pki.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void extend(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    cr_assert_not_null(e, "%s", value);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

static void add_entry(X509_NAME *name, const char *kind, const char *value) {
    if (value != NULL)
        X509_NAME_add_entry_by_txt(name, kind, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0);
}

struct pki_pair pki_make(const struct pki_spec *spec, const struct pki_pair *issuer) {
    struct pki_pair p = {.certificate = X509_new(), .key = EVP_EC_gen("P-256")};
    X509 *x = p.certificate, *above = issuer != NULL ? issuer->certificate : x;
    uint64_t serial = 0;
    RAND_bytes((unsigned char *)&serial, sizeof serial);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1);
    ASN1_TIME_set(X509_getm_notBefore(x), (time_t)spec->from);
    ASN1_TIME_set(X509_getm_notAfter(x), (time_t)spec->until);
    X509_set_pubkey(x, p.key);
    add_entry(X509_get_subject_name(x), "O", "test");
    add_entry(X509_get_subject_name(x), "CN", spec->name);
    add_entry(X509_get_subject_name(x), "OU", spec->unit);
    X509_set_issuer_name(x, X509_get_subject_name(above));
    extend(x, above, NID_basic_constraints, spec->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    extend(x, above, NID_key_usage, spec->authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
    if (spec->authority)
        extend(x, above, NID_subject_key_identifier, "hash");
    else
        extend(x, above, NID_ext_key_usage, spec->usage != NULL ? spec->usage : "clientAuth");
    if (spec->alternatives != NULL)
        extend(x, above, NID_subject_alt_name, spec->alternatives);
    cr_assert_gt(X509_sign(x, issuer != NULL ? issuer->key : p.key, EVP_sha256()), 0);
    return p;
}

void pki_free(struct pki_pair *p) {
    X509_free(p->certificate);
    EVP_PKEY_free(p->key);
}

void pki_set_alternatives(struct pki_pair *p, GENERAL_NAMES *names, const struct pki_pair *issuer) {
    cr_assert_eq(X509_add1_ext_i2d(p->certificate, NID_subject_alt_name, names, 0, X509V3_ADD_REPLACE), 1);
    cr_assert_gt(X509_sign(p->certificate, issuer->key, EVP_sha256()), 0);
}

X509_CRL *pki_list(const struct pki_pair *issuer, const X509 *revoked, int64_t from, int64_t until) {
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *at = ASN1_TIME_set(NULL, (time_t)from);
    X509_CRL_set_version(list, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate));
    X509_CRL_set1_lastUpdate(list, at);
    if (revoked != NULL) {
        X509_REVOKED *r = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(r, (ASN1_INTEGER *)X509_get0_serialNumber(revoked));
        X509_REVOKED_set_revocationDate(r, at);
        X509_CRL_add0_revoked(list, r);
    }
    ASN1_TIME_set(at, (time_t)until);
    X509_CRL_set1_nextUpdate(list, at);
    ASN1_TIME_free(at);
    cr_assert_gt(X509_CRL_sign(list, issuer->key, EVP_sha256()), 0);
    return list;
}

// --- files ---

char *pki_folder(void) {
    char *folder = mem_strdup("/tmp/pullgate-pki-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    return folder;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    return remove(path);
}

void pki_folder_free(char *folder) {
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

char *pki_path(const char *folder, const char *name) {
    return mem_printf("%s/%s", folder, name);
}

char *pki_write(const char *folder, const char *name, X509 *certificate, EVP_PKEY *key, X509_CRL *list, unsigned mode) {
    char *path = pki_path(folder, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    if (certificate != NULL)
        PEM_write_X509(f, certificate);
    if (key != NULL)
        PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    if (list != NULL)
        PEM_write_X509_CRL(f, list);
    fclose(f);
    chmod(path, mode);
    return path;
}
