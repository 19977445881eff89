// SPDX-License-Identifier: Apache-2.0
//
// Making and using the authority.

#include "certs/authority.h"

#include "certs/state.h"
#include "mirrors/base/buf.h"
#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char certificate_name[] = "ca.crt";
static const char key_name[] = "ca.key";

enum { DAY = 24 * 60 * 60, BACKDATE_S = 300, EXTENSION_MAX = 64 * 1024, COMMON_NAME_MAX = 64, CHAIN_MAX = 8 };

struct authority {
    atomic_int refs;
    X509 *certificate;
    STACK_OF(X509) * chain; ///< `certificate`, then those above it.
    EVP_PKEY *key;
    char *pem;
};

static bool openssl_fail(struct err *err, const char *what) {
    unsigned long code = ERR_get_error();
    const char *words = code != 0 ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return err_set(err, "%s: %s", what, words != NULL ? words : "unknown error");
}

// --- certificates ---

static bool set_serial(X509 *x) {
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); // Positive, and of one length.
    BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok;
}

static bool set_dates(X509 *x, int64_t from, int64_t until) {
    return ASN1_TIME_set(X509_getm_notBefore(x), (time_t)from) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)until) != NULL;
}

static bool set_name(X509_NAME *name, const char *text) {
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"pullgate", -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0) == 1;
}

static bool add_extension(X509 *x, const X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, (X509 *)issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static EVP_PKEY *make_key(void) {
    return EVP_EC_gen("P-256");
}

/// A certificate without extensions yet.
static X509 *make_certificate(EVP_PKEY *key, const char *subject, const X509_NAME *issuer, int64_t from,
                              int64_t until) {
    X509 *x = X509_new();
    if (x == NULL)
        return NULL;
    bool ok = X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && set_dates(x, from, until) &&
              X509_set_pubkey(x, key) == 1 && set_name(X509_get_subject_name(x), subject) &&
              X509_set_issuer_name(x, issuer != NULL ? issuer : X509_get_subject_name(x)) == 1;
    if (ok)
        return x;
    X509_free(x);
    return NULL;
}

/// Ed25519 and Ed448 hash by themselves.
static bool sign(X509 *x, EVP_PKEY *key) {
    bool own = EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1;
    return X509_sign(x, key, own ? NULL : EVP_sha256()) > 0;
}

// --- names in extensions ---

/// "DNS:a.test,IP:10.0.0.1": only what host names and addresses consist of gets into OpenSSL's little language.
static bool add_names(struct buf *b, const char *const *names, size_t count, const char *before, bool masks,
                      struct err *err) {
    for (size_t i = 0; i < count; i++) {
        bool address = host_is_address(names[i]);
        if (strspn(names[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:*") !=
                strlen(names[i]) ||
            names[i][0] == '\0' || strlen(names[i]) > HOST_MAX || (!address && strchr(names[i], ':') != NULL))
            return err_set(err, "%s: not a host name or address", names[i]);
        buf_addf(b, "%s%s%s:%s", b->len > 0 ? "," : "", before, address ? "IP" : "DNS", names[i]);
        if (address && masks)
            buf_adds(b,
                     strchr(names[i], ':') != NULL ? "/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" : "/255.255.255.255");
    }
    return !b->overflow || err_set(err, "these are too many names");
}

/// A kind of names of which none is permitted would be unrestricted (RFC 5280, 4.2.1.10): shut it.
static void shut_kinds(struct buf *b, const char *const *names, size_t count) {
    bool hosts = false, addresses = false;
    for (size_t i = 0; i < count; i++) {
        hosts = hosts || !host_is_address(names[i]);
        addresses = addresses || host_is_address(names[i]);
    }
    if (!hosts)
        buf_adds(b, ",permitted;DNS:invalid"); // A name that nobody can have.
    if (!addresses)
        buf_adds(b, ",excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:::/::");
}

static bool add_name_extension(X509 *x, const X509 *issuer, int nid, const char *const *names, size_t count,
                               struct err *err) {
    struct buf b;
    bool constraints = nid == NID_name_constraints;
    buf_init(&b, EXTENSION_MAX);
    if (constraints)
        buf_adds(&b, "critical");
    bool named = add_names(&b, names, count, constraints ? "permitted;" : "", constraints, err);
    if (constraints)
        shut_kinds(&b, names, count);
    bool ok = named && (!b.overflow || err_set(err, "these are too many names")) &&
              (add_extension(x, issuer, nid, b.data) || openssl_fail(err, "the certificate's names"));
    buf_deinit(&b);
    return ok;
}

// --- making one ---

static int no_passphrase(char *out, int size, int writing, void *ctx) {
    (void)out, (void)size, (void)writing, (void)ctx;
    return -1;
}

static bool sign_authority(X509 *x, EVP_PKEY *key, const char *const *names, size_t count, struct err *err) {
    if (!add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_extension(x, x, NID_subject_key_identifier, "hash"))
        return openssl_fail(err, "the authority's certificate");
    if (count > 0 && !add_name_extension(x, x, NID_name_constraints, names, count, err))
        return false;
    return sign(x, key) || openssl_fail(err, "the authority's certificate");
}

static char *to_text(BIO *bio, size_t *len) {
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    char *text = mem_strndup(data, (size_t)n);
    if (len != NULL)
        *len = (size_t)n;
    return text;
}

/// `above` may be NULL: certificates that follow.
static char *certificate_pem(X509 *x, const STACK_OF(X509) * above) {
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = bio != NULL && PEM_write_bio_X509(bio, x) == 1;
    for (int i = 0; ok && above != NULL && i < sk_X509_num(above); i++)
        ok = PEM_write_bio_X509(bio, sk_X509_value(above, i)) == 1;
    char *text = ok ? to_text(bio, NULL) : NULL;
    BIO_free(bio);
    return text;
}

static char *key_pem(EVP_PKEY *key, size_t *len) {
    BIO *bio = BIO_new(BIO_s_secmem());
    bool ok = bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    char *text = ok ? to_text(bio, len) : NULL;
    BIO_free(bio);
    return text;
}

static X509 *make_self_signed(EVP_PKEY *key, const char *const *names, size_t count, struct err *err) {
    char host[HOST_MAX + 1] = "", subject[COMMON_NAME_MAX + 1];
    int64_t now = (int64_t)time(NULL);
    gethostname(host, sizeof(host) - 1);
    snprintf(subject, sizeof(subject), "pullgate authority of %.40s", host[0] != '\0' ? host : "this site");
    X509 *x = make_certificate(key, subject, NULL, now - BACKDATE_S, now + AUTHORITY_YEARS * 365LL * DAY);
    if (x == NULL)
        openssl_fail(err, "the authority cannot be made");
    if (x == NULL || sign_authority(x, key, names, count, err))
        return x;
    X509_free(x);
    return NULL;
}

static bool store_new_key(const char *directory, struct err *err) {
    size_t len = 0;
    EVP_PKEY *key = make_key();
    char *secret = key != NULL ? key_pem(key, &len) : NULL;
    bool ok = secret != NULL || openssl_fail(err, "the authority's key cannot be made");
    ok = ok && state_write(directory, key_name, secret, len, true, false, err) != STATE_FAILED;
    state_free(secret, len);
    EVP_PKEY_free(key);
    return ok;
}

static EVP_PKEY *parse_key(const char *pem, size_t len) {
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static EVP_PKEY *read_key(const char *directory, struct err *err) {
    char *pem = NULL;
    size_t len = 0;
    if (state_read(directory, key_name, true, &pem, &len, err) != STATE_OK)
        return NULL;
    EVP_PKEY *key = parse_key(pem, len);
    state_free(pem, len);
    if (key == NULL)
        err_set(err, "%s/%s: the authority's key cannot be read", directory, key_name);
    return key;
}

/// The key first, and the certificate for the key that is there, whoever wrote it: so two makers, or one that was
/// interrupted, never leave a certificate of another key.
static bool make_authority(const char *directory, const char *const *names, size_t count, struct err *err) {
    EVP_PKEY *key = store_new_key(directory, err) ? read_key(directory, err) : NULL;
    X509 *x = key != NULL ? make_self_signed(key, names, count, err) : NULL;
    char *pem = x != NULL ? certificate_pem(x, NULL) : NULL;
    bool ok =
        pem != NULL && state_write(directory, certificate_name, pem, strlen(pem), false, false, err) != STATE_FAILED;
    free(pem);
    X509_free(x);
    EVP_PKEY_free(key);
    return ok;
}

/// The certificate goes first: a key without one is only a key that the next authority will have.
bool authority_retire(const char *directory, struct err *err) {
    static const char *const files[] = {certificate_name, key_name};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof(files) / sizeof(files[0]); i++) {
        char *from = mem_printf("%s/%s", directory, files[i]), *to = mem_printf("%s/%s.old", directory, files[i]);
        ok = rename(from, to) == 0 || errno == ENOENT || err_set(err, "%s: %s", from, strerror(errno));
        free(from);
        free(to);
    }
    return ok;
}

// --- opening one ---

/// The certificates of a PEM text, in order; NULL: there is none, or one cannot be read.
static STACK_OF(X509) * parse_chain(const char *pem, size_t len) {
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    STACK_OF(X509) *chain = sk_X509_new_null();
    for (X509 *x; sk_X509_num(chain) < CHAIN_MAX && (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL;)
        sk_X509_push(chain, x);
    BIO_free(bio);
    ERR_clear_error();
    if (sk_X509_num(chain) > 0)
        return chain;
    sk_X509_free(chain);
    return NULL;
}

static bool may_sign(X509 *x) {
    return X509_check_ca(x) == 1 && (X509_get_key_usage(x) & KU_KEY_CERT_SIGN) != 0;
}

static struct authority *from_pem(const char *certificate, size_t certificate_len, const char *key, size_t key_len,
                                  const char *where, struct err *err) {
    struct authority *a = mem_zalloc(1, sizeof(*a));
    atomic_init(&a->refs, 1);
    a->chain = parse_chain(certificate, certificate_len);
    a->certificate = a->chain != NULL ? sk_X509_value(a->chain, 0) : NULL;
    a->key = parse_key(key, key_len);
    if (a->certificate == NULL)
        err_set(err, "%s: the authority's certificate cannot be read (PEM is expected)", where);
    else if (a->key == NULL)
        err_set(err, "%s: the authority's key cannot be read (PEM without a passphrase is expected)", where);
    else if (X509_check_private_key(a->certificate, a->key) != 1)
        err_set(err, "%s: the authority's key does not belong to its certificate", where);
    else if (!may_sign(a->certificate))
        err_set(err, "%s: this certificate is no authority's", where);
    else if ((a->pem = certificate_pem(a->certificate, NULL)) != NULL)
        return a;
    ERR_clear_error();
    authority_unref(a);
    return NULL;
}

static struct authority *read_own(const char *directory, bool *missing, struct err *err) {
    char *certificate = NULL, *key = NULL;
    size_t certificate_len = 0, key_len = 0;
    struct authority *a = NULL;
    enum state_result found = state_read(directory, certificate_name, false, &certificate, &certificate_len, err);
    *missing = found == STATE_MISSING;
    if (found == STATE_OK && state_read(directory, key_name, true, &key, &key_len, err) == STATE_OK)
        a = from_pem(certificate, certificate_len, key, key_len, directory, err);
    state_free(certificate, certificate_len);
    state_free(key, key_len);
    return a;
}

struct authority *authority_open(const char *state_dir, bool make, const char *const *names, size_t name_count,
                                 struct err *err) {
    bool missing;
    if (state_directory(state_dir, make, err) != STATE_OK)
        return NULL;
    struct authority *a = read_own(state_dir, &missing, err);
    if (a != NULL || !missing || !make || !make_authority(state_dir, names, name_count, err))
        return a;
    return read_own(state_dir, &missing, err); // Another gateway's may have come first.
}

struct authority *authority_load(const char *certificate_file, const char *key_file, struct err *err) {
    char *certificate = NULL, *key = NULL;
    size_t certificate_len = 0, key_len = 0;
    struct authority *a = NULL;
    if (state_read_site(certificate_file, false, &certificate, &certificate_len, err) == STATE_OK &&
        state_read_site(key_file, true, &key, &key_len, err) == STATE_OK)
        a = from_pem(certificate, certificate_len, key, key_len, certificate_file, err);
    state_free(certificate, certificate_len);
    state_free(key, key_len);
    return a;
}

struct authority *authority_ref(struct authority *a) {
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

void authority_unref(struct authority *a) {
    if (a == NULL || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    sk_X509_pop_free(a->chain, X509_free);
    EVP_PKEY_free(a->key);
    free(a->pem);
    free(a);
}

// --- what it says ---

const char *authority_pem(const struct authority *a) {
    return a->pem;
}

X509 *authority_certificate(const struct authority *a) {
    return a->certificate;
}

STACK_OF(X509) * authority_chain(const struct authority *a) {
    return a->chain;
}

bool authority_same(const struct authority *a, const struct authority *b) {
    return X509_cmp(a->certificate, b->certificate) == 0;
}

int64_t authority_ends(const struct authority *a) {
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(a->certificate), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

void authority_fingerprint(const struct authority *a, char *out) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    X509_digest(a->certificate, EVP_sha256(), digest, &len);
    for (unsigned i = 0; i < len && i < 32; i++)
        snprintf(out + 3 * i, 4, "%02X%s", digest[i], i + 1 < len ? ":" : "");
}

/// The constraints are checked as a client will: by verifying a certificate with that name.
bool authority_permits(const struct authority *a, const char *name) {
    NAME_CONSTRAINTS *nc = X509_get_ext_d2i(a->certificate, NID_name_constraints, NULL, NULL);
    if (nc == NULL)
        return true;
    X509 *leaf = NULL;
    EVP_PKEY *key = NULL;
    struct err err;
    const char *names[] = {name};
    bool ok = authority_issue(a, names, 1, authority_ends(a) - DAY, 1, &leaf, &key, &err) &&
              X509_check_purpose(leaf, -1, 0) == 1 && // Has it read its own extensions.
              NAME_CONSTRAINTS_check(leaf, nc) == X509_V_OK;
    X509_free(leaf);
    EVP_PKEY_free(key);
    NAME_CONSTRAINTS_free(nc);
    return ok;
}

// --- issuing ---

static bool sign_leaf(const struct authority *a, X509 *x, const char *const *names, size_t count, struct err *err) {
    if (!add_extension(x, a->certificate, NID_basic_constraints, "critical,CA:FALSE") ||
        !add_extension(x, a->certificate, NID_key_usage, "critical,digitalSignature") ||
        !add_extension(x, a->certificate, NID_ext_key_usage, "serverAuth") ||
        !add_extension(x, a->certificate, NID_authority_key_identifier, "keyid"))
        return openssl_fail(err, "the certificate");
    return add_name_extension(x, a->certificate, NID_subject_alt_name, names, count, err) &&
           (sign(x, a->key) || openssl_fail(err, "the certificate"));
}

bool authority_issue(const struct authority *a, const char *const *names, size_t count, int64_t now, unsigned days,
                     X509 **certificate, EVP_PKEY **key, struct err *err) {
    char subject[COMMON_NAME_MAX + 1];
    *certificate = NULL;
    *key = NULL;
    if (count == 0 || count > LEAF_NAMES_MAX)
        return err_set(err, "a certificate is for 1 to %d names", (int)LEAF_NAMES_MAX);
    // An address as it is would be taken for a host name there, and be measured by name constraints as one.
    snprintf(subject, sizeof(subject), host_is_address(names[0]) ? "address %s" : "%s", names[0]);
    int64_t until = now + (int64_t)days * DAY, end = authority_ends(a);
    if (end <= now)
        return err_set(err, "the authority's certificate has ended: make another (`pullgate ca init --replace`)");
    *key = make_key();
    *certificate = *key == NULL ? NULL
                                : make_certificate(*key, subject, X509_get_subject_name(a->certificate),
                                                   now - BACKDATE_S, until < end ? until : end);
    bool ok = *certificate != NULL ? sign_leaf(a, *certificate, names, count, err)
                                   : openssl_fail(err, "the certificate cannot be made");
    if (ok)
        return true;
    X509_free(*certificate);
    EVP_PKEY_free(*key);
    *certificate = NULL;
    *key = NULL;
    return false;
}

bool authority_issue_pem(const struct authority *a, const char *const *names, size_t count, int64_t now, unsigned days,
                         char **certificate, char **key, struct err *err) {
    X509 *x;
    EVP_PKEY *k;
    size_t len;
    if (!authority_issue(a, names, count, now, days, &x, &k, err))
        return false;
    *certificate = certificate_pem(x, a->chain);
    *key = key_pem(k, &len);
    X509_free(x);
    EVP_PKEY_free(k);
    if (*certificate != NULL && *key != NULL)
        return true;
    free(*certificate);
    mem_wipe(*key);
    *certificate = *key = NULL;
    return openssl_fail(err, "the certificate cannot be written");
}
