// SPDX-License-Identifier: Apache-2.0
//
// The authority: made once by whoever is first, good for what it says, and what it issues verifies as a client would.

#include "certs/authority.h"
#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"
#include "pki.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/// As a client that trusts only this authority; 0 or OpenSSL's error.
static int judge(const struct authority *a, X509 *leaf, const char *host, int64_t now) {
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, authority_certificate(a));
    X509_STORE_CTX_init(ctx, store, leaf, NULL);
    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
    X509_STORE_CTX_set_time(ctx, 0, (time_t)now);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_auth_level(param, 2);
    if (host_is_address(host))
        X509_VERIFY_PARAM_set1_ip_asc(param, host);
    else
        X509_VERIFY_PARAM_set1_host(param, host, 0);
    int error = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return error;
}

static int issue_and_judge(const struct authority *a, const char *const *names, size_t count, const char *host,
                           int64_t issued, int64_t now) {
    struct err err;
    X509 *x;
    EVP_PKEY *key;
    if (!authority_issue(a, names, count, issued, LEAF_DAYS, &x, &key, &err))
        return -1;
    int result = X509_check_private_key(x, key) == 1 ? judge(a, x, host, now) : -2;
    X509_free(x);
    EVP_PKEY_free(key);
    return result;
}

Test(authority, issues) {
    static const char *const names[] = {"gate.example.com", "10.0.0.5", "fd00::5", "under_score.test"};
    char *folder = pki_folder();
    struct err err;
    int64_t now = (int64_t)time(NULL);
    struct authority *a = authority_open(folder, true, NULL, 0, &err);
    cr_assert_not_null(a, "%s", err.text);
    for (size_t i = 0; i < 4; i++)
        cr_expect_eq(issue_and_judge(a, names, 4, names[i], now, now), X509_V_OK, "%s", names[i]);
    cr_expect_eq(issue_and_judge(a, names, 4, "other.example.com", now, now), X509_V_ERR_HOSTNAME_MISMATCH);
    cr_expect_eq(issue_and_judge(a, names, 4, "10.0.0.6", now, now), X509_V_ERR_IP_ADDRESS_MISMATCH);
    cr_expect_eq(issue_and_judge(a, names, 4, names[0], now, now - 200), X509_V_OK, "a client whose clock is behind");
    cr_expect_eq(issue_and_judge(a, names, 4, names[0], now, now + (LEAF_DAYS + 1) * PKI_DAY),
                 X509_V_ERR_CERT_HAS_EXPIRED);
    cr_expect(authority_permits(a, "any.test") && authority_permits(a, "1.2.3.4"));
    static const char *const bad[] = {"", "a b", "a,DNS:b", "a\n", "a;b", "a/b", "x:y", "@a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(issue_and_judge(a, &bad[i], 1, "a", now, now), -1, "\"%s\"", bad[i]);
    cr_expect_eq(issue_and_judge(a, names, 0, "a", now, now), -1, "no name");
    cr_expect_eq(issue_and_judge(a, names, 1, names[0], authority_ends(a), authority_ends(a)), -1, "it has ended");
    cr_expect_eq(issue_and_judge(a, names, 1, names[0], authority_ends(a) - PKI_DAY, authority_ends(a) - 60), X509_V_OK,
                 "a leaf ends with it");
    authority_unref(a);
    pki_folder_free(folder);
}

struct constraint_row {
    const char *why, *permitted[3];
    const char *name;
    bool good;
};

static const struct constraint_row constraint_rows[] = {
    {"a name", {"gate.test", "ghcr.io"}, "ghcr.io", true},
    {"a name below", {"gate.test"}, "a.gate.test", true},
    {"another name", {"gate.test"}, "ghcr.io", false},
    {"a name that only ends alike", {"gate.test"}, "fakegate.test", false},
    {"an address", {"gate.test", "10.0.0.5"}, "10.0.0.5", true},
    {"another address", {"gate.test", "10.0.0.5"}, "10.0.0.6", false},
    {"an address where only names are permitted", {"gate.test"}, "10.0.0.5", false},
    {"an IPv6 address where only names are permitted", {"gate.test"}, "fd00::1", false},
    {"an IPv6 address", {"fd00::1"}, "fd00::1", true},
    {"another IPv6 address", {"fd00::1"}, "fd00::2", false},
    {"an IPv4 address where an IPv6 address is permitted", {"fd00::1"}, "10.0.0.1", false},
    {"a name where only addresses are permitted", {"10.0.0.5"}, "gate.test", false},
};

Test(authority, constraints) {
    for (size_t i = 0; i < sizeof constraint_rows / sizeof constraint_rows[0]; i++) {
        const struct constraint_row *row = &constraint_rows[i];
        size_t count = 0;
        struct err err;
        int64_t now = (int64_t)time(NULL);
        char *folder = pki_folder();
        while (count < 3 && row->permitted[count] != NULL)
            count++;
        struct authority *a = authority_open(folder, true, row->permitted, count, &err);
        cr_assert_not_null(a, "%s: %s", row->why, err.text);
        cr_expect_eq(authority_permits(a, row->name), row->good, "%s", row->why);
        cr_expect_eq(issue_and_judge(a, &row->name, 1, row->name, now, now) == X509_V_OK, row->good, "%s", row->why);
        authority_unref(a);
        pki_folder_free(folder);
    }
}

Test(authority, stays) {
    char *folder = pki_folder(), print[96], again[96];
    struct err err;
    cr_expect_null(authority_open(folder, false, NULL, 0, &err), "there is none");
    struct authority *a = authority_open(folder, true, NULL, 0, &err), *b = authority_open(folder, true, NULL, 0, &err);
    cr_assert(a != NULL && b != NULL, "%s", err.text);
    cr_expect(authority_same(a, b));
    authority_fingerprint(a, print);
    authority_fingerprint(b, again);
    cr_expect(strlen(print) == 95 && strcmp(print, again) == 0);
    authority_unref(b);
    cr_expect(authority_retire(folder, &err), "%s", err.text);
    b = authority_open(folder, true, NULL, 0, &err);
    cr_assert_not_null(b, "%s", err.text);
    cr_expect(!authority_same(a, b), "another");
    authority_unref(a);
    authority_unref(b);
    char *key = pki_path(folder, "ca.key"), *certificate = pki_path(folder, "ca.crt");
    struct stat st;
    cr_expect(stat(key, &st) == 0 && (st.st_mode & 0777) == 0600);
    chmod(key, 0640);
    cr_expect_null(authority_open(folder, true, NULL, 0, &err), "a key that others may read");
    chmod(key, 0600);
    remove(certificate); // Interrupted between the two.
    a = authority_open(folder, true, NULL, 0, &err);
    cr_expect_not_null(a, "%s", err.text);
    authority_unref(a);
    remove(key);
    cr_expect_null(authority_open(folder, true, NULL, 0, &err), "a certificate without its key is not replaced");
    free(key);
    free(certificate);
    pki_folder_free(folder);
}

static void *open_one(void *arg) {
    struct err err;
    return authority_open(arg, true, NULL, 0, &err);
}

Test(authority, many_makers) {
    for (int round = 0; round < 10; round++) {
        char *folder = pki_folder();
        pthread_t threads[8];
        struct authority *made[8];
        for (size_t i = 0; i < 8; i++)
            pthread_create(&threads[i], NULL, open_one, folder);
        for (size_t i = 0; i < 8; i++)
            pthread_join(threads[i], (void **)&made[i]);
        for (size_t i = 0; i < 8; i++) {
            cr_assert_not_null(made[i]);
            cr_expect(authority_same(made[0], made[i]), "one for all");
        }
        for (size_t i = 0; i < 8; i++)
            authority_unref(made[i]);
        pki_folder_free(folder);
    }
}

Test(authority, a_sites_own) {
    char *folder = pki_folder();
    struct err err;
    int64_t now = (int64_t)time(NULL);
    struct pki_pair root =
        pki_make(&(struct pki_spec){.name = "root", .authority = true, .from = now - 60, .until = now + PKI_DAY}, NULL);
    struct pki_pair other = pki_make(
        &(struct pki_spec){.name = "other", .authority = true, .from = now - 60, .until = now + PKI_DAY}, NULL);
    struct pki_pair leaf =
        pki_make(&(struct pki_spec){.name = "leaf", .from = now - 60, .until = now + PKI_DAY}, &root);
    char *crt = pki_write(folder, "root.crt", root.certificate, NULL, NULL, 0644);
    char *key = pki_write(folder, "root.key", NULL, root.key, NULL, 0600);
    char *open_key = pki_write(folder, "open.key", NULL, root.key, NULL, 0644);
    char *other_key = pki_write(folder, "other.key", NULL, other.key, NULL, 0600);
    char *leaf_crt = pki_write(folder, "leaf.crt", leaf.certificate, NULL, NULL, 0644);
    char *leaf_key = pki_write(folder, "leaf.key", NULL, leaf.key, NULL, 0600);
    const struct {
        const char *why, *certificate, *key, *says; ///< NULL: good.
    } rows[] = {
        {"a pair", crt, key, NULL},
        {"a key that others may read", crt, open_key, "chmod 0600"},
        {"another's key", crt, other_key, "does not belong to its certificate"},
        {"no authority", leaf_crt, leaf_key, "is no authority's"},
        {"a certificate for a key", crt, crt, "others may read it"},
        {"a key for a certificate", key, key, "certificate cannot be read"},
        {"nothing", "/nonexistent/a", key, "No such file"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct authority *a = authority_load(rows[i].certificate, rows[i].key, &err);
        cr_expect_eq(a != NULL, rows[i].says == NULL, "%s: %s", rows[i].why, err.text);
        if (rows[i].says != NULL)
            cr_expect_not_null(strstr(err.text, rows[i].says), "%s: %s", rows[i].why, err.text);
        authority_unref(a);
    }
    pki_free(&root);
    pki_free(&other);
    pki_free(&leaf);
    free(crt);
    free(key);
    free(open_key);
    free(other_key);
    free(leaf_crt);
    free(leaf_key);
    pki_folder_free(folder);
}

Test(authority, issues_files) {
    static const char *const names[] = {"a.test"};
    char *folder = pki_folder(), *certificate = NULL, *key = NULL;
    struct err err;
    struct authority *a = authority_open(folder, true, NULL, 0, &err);
    cr_assert(authority_issue_pem(a, names, 1, (int64_t)time(NULL), 7, &certificate, &key, &err), "%s", err.text);
    char *second = strstr(certificate + 1, "-----BEGIN CERTIFICATE-----");
    cr_expect(second != NULL && strcmp(second, authority_pem(a)) == 0, "the authority's behind it");
    cr_expect_not_null(strstr(key, "-----BEGIN PRIVATE KEY-----"));
    free(certificate);
    mem_wipe(key);
    authority_unref(a);
    pki_folder_free(folder);
}
