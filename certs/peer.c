// SPDX-License-Identifier: Apache-2.0
//
// Client certificates, judged and read.

#include "certs/peer.h"

#include "mirrors/base/mem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AUTH_LEVEL = 2 }; // OpenSSL's: 112 bits, no SHA-1.

struct peer_trust {
    X509_STORE *store;
    STACK_OF(X509_NAME) * names;
    int64_t crl_ends;
    bool crl;
    bool crl_expired_accepted;
};

// --- trust ---

static bool load_fail(struct err *err, const char *path, const char *what) {
    ERR_clear_error();
    return err_set(err, "%s: %s", path, what);
}

static int64_t to_unix(const ASN1_TIME *t, int64_t otherwise) {
    struct tm tm;
    return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : otherwise;
}

static bool add_authority(struct peer_trust *t, X509 *x, const char *path, struct err *err) {
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));
    if (X509_check_ca(x) == 0)
        err_set(err, "%s: a certificate in it is no authority's", path);
    else if (name != NULL && X509_STORE_add_cert(t->store, x) == 1 && sk_X509_NAME_push(t->names, name) > 0)
        return true;
    else
        load_fail(err, path, "a certificate in it cannot be used");
    X509_NAME_free(name);
    return false;
}

static bool add_list(struct peer_trust *t, X509_CRL *crl, const char *path, struct err *err) {
    int64_t ends = to_unix(X509_CRL_get0_nextUpdate(crl), INT64_MAX);
    if (X509_STORE_add_crl(t->store, crl) != 1)
        return load_fail(err, path, "a revocation list in it cannot be used");
    t->crl = true;
    t->crl_ends = ends < t->crl_ends ? ends : t->crl_ends;
    return true;
}

/// Certificates and lists of one PEM file, as they come.
static bool load_file(struct peer_trust *t, const char *path, size_t *certificates, size_t *lists, struct err *err) {
    BIO *bio = BIO_new_file(path, "r");
    if (bio == NULL)
        return load_fail(err, path, "cannot be read");
    STACK_OF(X509_INFO) *all = PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL);
    BIO_free(bio);
    bool ok = all != NULL || load_fail(err, path, "is not PEM");
    for (int i = 0; ok && i < sk_X509_INFO_num(all); i++) {
        const X509_INFO *one = sk_X509_INFO_value(all, i);
        if (one->x509 != NULL) {
            ok = add_authority(t, one->x509, path, err);
            ++*certificates;
        }
        if (ok && one->crl != NULL) {
            ok = add_list(t, one->crl, path, err);
            ++*lists;
        }
    }
    sk_X509_INFO_pop_free(all, X509_INFO_free);
    ERR_clear_error();
    return ok;
}

static bool load(struct peer_trust *t, const char *ca_file, const char *crl_file, struct err *err) {
    size_t certificates = 0, lists = 0, more = 0;
    if (!load_file(t, ca_file, &certificates, &lists, err))
        return false;
    if (certificates == 0)
        return err_set(err, "%s: there is no certificate in it", ca_file);
    if (crl_file == NULL)
        return true;
    lists = 0;
    if (!load_file(t, crl_file, &more, &lists, err))
        return false;
    return lists > 0 || err_set(err, "%s: there is no revocation list in it", crl_file);
}

struct peer_trust *peer_trust_new(const char *ca_file, const char *crl_file, bool crl_expired_accepted,
                                  struct err *err) {
    struct peer_trust *t = mem_zalloc(1, sizeof(*t));
    t->store = X509_STORE_new();
    t->names = sk_X509_NAME_new_null();
    t->crl_ends = INT64_MAX;
    t->crl_expired_accepted = crl_expired_accepted;
    if (t->store != NULL && t->names != NULL && load(t, ca_file, crl_file, err))
        return t;
    peer_trust_free(t);
    return NULL;
}

void peer_trust_free(struct peer_trust *t) {
    if (t == NULL)
        return;
    X509_STORE_free(t->store);
    sk_X509_NAME_pop_free(t->names, X509_NAME_free);
    free(t);
}

STACK_OF(X509_NAME) * peer_trust_names(const struct peer_trust *t) {
    return t->names;
}

int64_t peer_trust_crl_ends(const struct peer_trust *t) {
    return t->crl_ends;
}

// --- judging ---

static void explain(const X509_STORE_CTX *ctx, struct err *err) {
    int error = X509_STORE_CTX_get_error(ctx);
    const X509 *x = X509_STORE_CTX_get_current_cert(ctx);
    const char *whose = X509_STORE_CTX_get_error_depth(ctx) == 0 ? "your client certificate"
                                                                 : "the authority of your client certificate";
    char date[32] = "?";
    time_t at = x == NULL
                    ? 0
                    : (time_t)to_unix(
                          error == X509_V_ERR_CERT_NOT_YET_VALID ? X509_get0_notBefore(x) : X509_get0_notAfter(x), 0);
    struct tm tm;
    if (gmtime_r(&at, &tm) != NULL)
        strftime(date, sizeof(date), "%Y-%m-%d", &tm);
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        err_set(err, "%s ended on %s", whose, date);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        err_set(err, "%s is not valid before %s", whose, date);
        break;
    case X509_V_ERR_CERT_REVOKED:
        err_set(err, "%s is revoked", whose);
        break;
    case X509_V_ERR_CRL_HAS_EXPIRED:
        err_set(err, "the list of revoked client certificates has expired: the gateway's operators must renew it");
        break;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
        err_set(err, "there is no revocation list of your client certificate's authority");
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        err_set(err, "your certificate is not meant for clients");
        break;
    default:
        err_set(err, "your client certificate is not accepted: %s", X509_verify_cert_error_string(error));
        break;
    }
}

/// The client's own certificate needs a list. Authorities above are looked up where there is one of who issued them.
static int let_unlisted_authority_pass(int ok, X509_STORE_CTX *ctx) {
    int error = X509_STORE_CTX_get_error(ctx);
    bool unlisted = error == X509_V_ERR_UNABLE_TO_GET_CRL || error == X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER;
    return ok == 1 || (unlisted && X509_STORE_CTX_get_error_depth(ctx) > 0);
}

static int let_old_list_pass(int ok, X509_STORE_CTX *ctx) {
    return let_unlisted_authority_pass(ok, ctx) == 1 || X509_STORE_CTX_get_error(ctx) == X509_V_ERR_CRL_HAS_EXPIRED;
}

bool peer_verify(const struct peer_trust *t, X509 *certificate, STACK_OF(X509) * chain, int64_t now, struct err *err) {
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = false;
    if (ctx == NULL || X509_STORE_CTX_init(ctx, t->store, certificate, chain) != 1) {
        err_set(err, "your client certificate cannot be checked");
    } else {
        X509_STORE_CTX_set_time(ctx, 0, (time_t)now);
        X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT);
        X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(ctx), AUTH_LEVEL);
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN); // What the site names is trusted, root or not.
        if (t->crl)
            X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
        if (t->crl)
            X509_STORE_CTX_set_verify_cb(ctx,
                                         t->crl_expired_accepted ? let_old_list_pass : let_unlisted_authority_pass);
        ok = X509_verify_cert(ctx) == 1;
        if (!ok)
            explain(ctx, err);
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

// --- reading ---

static bool is_control(const unsigned char *at, int left) {
    return at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && left > 1 && at[1] < 0xa0); // The last: U+0080 to U+009F.
}

/// A text of a certificate (`ascii`: of nothing else), if it is one that a rule can speak of.
static bool read_text(const unsigned char *data, int len, bool ascii, char *out, size_t max) {
    if (len <= 0 || (size_t)len > max)
        return false;
    for (int i = 0; i < len; i++)
        if (is_control(data + i, len - i) || (ascii && data[i] > 0x7f))
            return false;
    memcpy(out, data, (size_t)len);
    out[len] = '\0';
    return true;
}

static bool read_alternative(X509 *certificate, int type, char *out) {
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; !found && i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(all, i);
        if (one->type == type) // URI, DNS and e-mail are IA5 strings alike.
            found =
                read_text(ASN1_STRING_get0_data(one->d.ia5), ASN1_STRING_length(one->d.ia5), true, out, PEER_NAME_MAX);
    }
    GENERAL_NAMES_free(all);
    return found;
}

/// The entry of the subject after `*at`, as UTF-8.
static bool read_subject(X509 *certificate, int nid, int *at, char *out) {
    X509_NAME *subject = X509_get_subject_name(certificate);
    *at = X509_NAME_get_index_by_NID(subject, nid, *at);
    if (*at < 0)
        return false;
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, *at)));
    if (!read_text(text, len, false, out, PEER_NAME_MAX))
        out[0] = '\0';
    OPENSSL_free(text);
    return true;
}

static bool read_name(X509 *certificate, enum peer_name_from from, char *out) {
    int at = -1;
    switch (from) {
    case PEER_URI:
        return read_alternative(certificate, GEN_URI, out);
    case PEER_DNS:
        return read_alternative(certificate, GEN_DNS, out);
    case PEER_EMAIL:
        return read_alternative(certificate, GEN_EMAIL, out);
    case PEER_COMMON_NAME:
        return read_subject(certificate, NID_commonName, &at, out) && out[0] != '\0';
    }
    return false;
}

void peer_read(X509 *certificate, const enum peer_name_from *order, size_t order_count, struct peer *out) {
    char group[PEER_NAME_MAX + 1];
    *out = (struct peer){0};
    for (size_t i = 0; i < order_count && !read_name(certificate, order[i], out->name); i++)
        out->name[0] = '\0';
    for (int at = -1;
         out->group_count < PEER_GROUPS_MAX && read_subject(certificate, NID_organizationalUnitName, &at, group);)
        if (group[0] != '\0')
            out->groups[out->group_count++] = mem_strdup(group);
    ERR_clear_error();
}

void peer_deinit(struct peer *p) {
    for (size_t i = 0; i < p->group_count; i++)
        free(p->groups[i]);
    p->group_count = 0;
}
