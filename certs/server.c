// SPDX-License-Identifier: Apache-2.0
//
// The server's TLS context, from files that are read once or from the authority. Errors of OpenSSL are taken from this
// thread's queue and never left in it.

#include "certs/server.h"

#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    PEM_FILE_MAX = 1024 * 1024,
    CHAIN_MAX = 16, // Certificates above the server's own.
    WARN_DAYS = 14,
    TICKET_CHAIN_MAX = 12 * 1024, // Of a client's chain in a session ticket, as DER.
};

static const char tls12_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char tls13_ciphers[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char http11[] = "http/1.1";

// --- files ---

struct pem_file {
    char *data;
    size_t len;
};

static void pem_file_deinit(struct pem_file *f) {
    if (f->data)
        OPENSSL_cleanse(f->data, f->len); // It may have been a key.
    free(f->data);
}

static bool file_usable(int fd, const char *path, bool secret, struct err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(err, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, "%s: not a regular file", path);
    if (secret && (st.st_mode & S_IRWXO) != 0)
        return err_set(err, "%s: others may use this private key's file (mode %04o): chmod o-rwx", path,
                       (unsigned)(st.st_mode & 07777));
    return true;
}

static bool read_all(int fd, const char *path, struct pem_file *out, struct err *err) {
    out->data = mem_alloc(PEM_FILE_MAX + 1);
    while (out->len <= PEM_FILE_MAX) {
        ssize_t n = read(fd, out->data + out->len, PEM_FILE_MAX + 1 - out->len);
        if (n == 0)
            return true;
        if (n > 0)
            out->len += (size_t)n;
        else if (errno != EINTR)
            return err_set(err, "%s: %s", path, strerror(errno));
    }
    return err_set(err, "%s: larger than %d bytes", path, PEM_FILE_MAX);
}

// The mode is asked of the open file, so that it is the file that is read. O_NONBLOCK: a pipe here must not hang.
static bool pem_file_read(const char *path, bool secret, struct pem_file *out, struct err *err) {
    *out = (struct pem_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_set(err, "%s: %s", path, strerror(errno));
    bool ok = file_usable(fd, path, secret, err) && read_all(fd, path, out, err);
    close(fd);
    return ok;
}

// --- OpenSSL's words ---

// The first error in this thread's queue, which is empty afterwards.
static const char *openssl_words(void) {
    unsigned long code = ERR_get_error();
    const char *words = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return words ? words : "unknown error";
}

// --- the certificate ---

static bool at_end_of_pem(void) {
    unsigned long code = ERR_peek_last_error();
    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

static bool use_chain(SSL_CTX *ctx, BIO *bio, const char *path, struct err *err) {
    for (int n = 0;; n++) {
        X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!x && at_end_of_pem()) {
            ERR_clear_error();
            return true;
        }
        if (!x)
            return err_set(err, "%s: certificate %d of the chain cannot be read: %s", path, n + 2, openssl_words());
        if (n < CHAIN_MAX && SSL_CTX_add0_chain_cert(ctx, x) == 1)
            continue;
        X509_free(x);
        if (n >= CHAIN_MAX)
            return err_set(err, "%s: more than %d certificates", path, CHAIN_MAX + 1);
        return err_set(err, "%s: certificate %d of the chain is not usable: %s", path, n + 2, openssl_words());
    }
}

static bool use_leaf(SSL_CTX *ctx, BIO *bio, const char *path, struct err *err) {
    X509 *x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
    if (!x && at_end_of_pem()) {
        ERR_clear_error();
        return err_set(err, "%s: no certificate in it (PEM, \"-----BEGIN CERTIFICATE-----\", is expected)", path);
    }
    if (!x)
        return err_set(err, "%s: the certificate cannot be read: %s", path, openssl_words());
    bool ok = SSL_CTX_use_certificate(ctx, x) == 1;
    X509_free(x);
    return ok || err_set(err, "%s: the certificate is not usable: %s", path, openssl_words());
}

static bool use_certificate(SSL_CTX *ctx, const char *path, struct err *err) {
    struct pem_file file;
    bool ok = pem_file_read(path, false, &file, err);
    if (ok) {
        BIO *bio = BIO_new_mem_buf(file.data, (int)file.len);
        ok = bio ? use_leaf(ctx, bio, path, err) && use_chain(ctx, bio, path, err)
                 : err_set(err, "%s: %s", path, openssl_words());
        BIO_free(bio);
    }
    pem_file_deinit(&file);
    return ok;
}

// --- the key ---

// Called only for an encrypted key: there is nobody to ask.
static int no_passphrase(char *out, int size, int writing, void *asked) {
    *(bool *)asked = true;
    return -1;
}

static bool use_key_bio(SSL_CTX *ctx, BIO *bio, const char *path, struct err *err) {
    bool encrypted = false;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &encrypted);
    if (!key && encrypted) {
        ERR_clear_error();
        return err_set(err, "%s: the private key is encrypted; a key without a passphrase is expected", path);
    }
    if (!key)
        return err_set(
            err, "%s: no private key that can be read in it (PEM, \"-----BEGIN PRIVATE KEY-----\", is expected): %s",
            path, openssl_words());
    // Compared here and not only by SSL_CTX_use_PrivateKey(): that one drops a certificate that does not fit.
    bool belongs = X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) == 1;
    bool ok = belongs && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    if (!belongs) {
        ERR_clear_error();
        return err_set(err, "%s: this private key does not belong to the certificate", path);
    }
    return ok || err_set(err, "%s: the private key is not usable: %s", path, openssl_words());
}

static bool use_key(SSL_CTX *ctx, const char *path, struct err *err) {
    struct pem_file file;
    bool ok = pem_file_read(path, true, &file, err);
    if (ok) {
        BIO *bio = BIO_new_mem_buf(file.data, (int)file.len);
        ok = bio ? use_key_bio(ctx, bio, path, err) : err_set(err, "%s: %s", path, openssl_words());
        BIO_free(bio);
    }
    pem_file_deinit(&file);
    return ok;
}

// --- the context ---

// HTTP/1.1 where the client offers it. One that offers only others gets no ALPN and may speak HTTP/1.1 all the same.
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg) {
    const size_t want = sizeof http11 - 1;
    for (size_t at = 0; at < in_len; at += 1 + (size_t)in[at]) {
        size_t len = in[at];
        if (len > in_len - at - 1)
            return SSL_TLSEXT_ERR_NOACK;
        if (len == want && memcmp(in + at + 1, http11, want) == 0) {
            *out = in + at + 1;
            *out_len = (unsigned char)len;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static bool set_protocol(SSL_CTX *ctx, struct err *err) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    // Tickets, which OpenSSL keys per context, need no memory here; the session cache would.
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    bool ok = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_cipher_list(ctx, tls12_ciphers) == 1 && SSL_CTX_set_ciphersuites(ctx, tls13_ciphers) == 1;
    return ok || err_set(err, "this OpenSSL cannot be set up for TLS 1.2 and 1.3: %s", openssl_words());
}

// --- what a context keeps of its spec ---

struct server {
    char **names;
    size_t name_count;
    struct leaves *leaves;
    bool own_leaf; // The listener's own certificate is of `leaves`.
    bool (*takes_over)(void *ctx, const char *server_name);
    void *ctx;
    void (*release)(void *ctx);
};

static void context_free(struct server *s) {
    if (s->release)
        s->release(s->ctx);
    for (size_t i = 0; i < s->name_count; i++)
        free(s->names[i]);
    free(s->names);
    leaves_unref(s->leaves);
    free(s);
}

static struct server *server_copy(const struct certs_server *spec) {
    struct server *s = mem_zalloc(1, sizeof *s);
    s->names = mem_zalloc(spec->name_count + 1, sizeof *s->names);
    for (; s->name_count < spec->name_count; s->name_count++)
        s->names[s->name_count] = mem_strdup(spec->names[s->name_count]);
    s->leaves = spec->leaves ? leaves_ref(spec->leaves) : NULL;
    s->own_leaf = !spec->certificate_file;
    s->takes_over = spec->takes_over;
    s->ctx = spec->ctx;
    s->release = spec->release;
    return s;
}

static void on_context_free(void *parent, void *data, CRYPTO_EX_DATA *all, int index, long argl, void *argp) {
    if (data)
        context_free(data);
}

static int ex_index = -1; // Set once, under `ex_once`; OpenSSL hands it out.
static pthread_once_t ex_once = PTHREAD_ONCE_INIT;

static void make_ex_index(void) {
    ex_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_free);
}

// --- which certificate ---

bool certs_server_name(const SSL *ssl, char *out) {
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct hostport at;
    size_t len = name ? strlen(name) : 0;
    if (len > 1 && name[len - 1] == '.')
        len--;
    if (len == 0 || !hostport_parse(name, len, &at, NULL) || at.port != 0)
        return false;
    memcpy(out, at.host, strlen(at.host) + 1);
    return true;
}

static bool is_own_name(const struct server *s, const char *name) {
    for (size_t i = 0; i < s->name_count; i++)
        if (strcmp(s->names[i], name) == 0)
            return true;
    return false;
}

static bool is_taken_over(const struct server *s, const char *name) {
    return s->takes_over && !is_own_name(s, name) && s->takes_over(s->ctx, name);
}

// Asked of every handshake, resumed ones too. With takeover a name that is nobody's is refused: the client must not
// take this gateway for that host.
static int check_server_name(SSL *ssl, int *alert, void *arg) {
    const struct server *s = arg;
    char name[HOST_MAX + 1];
    if (!s->takes_over || !SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name))
        return SSL_TLSEXT_ERR_OK;
    if (certs_server_name(ssl, name) && (is_own_name(s, name) || is_taken_over(s, name)))
        return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// After the server name; not asked where a session is resumed.
static int choose_certificate(SSL *ssl, void *arg) {
    const struct server *s = arg;
    char name[HOST_MAX + 1];
    const char *const one[] = {name};
    int64_t now = (int64_t)time(NULL);
    if (certs_server_name(ssl, name) && is_taken_over(s, name))
        return leaves_use(s->leaves, ssl, one, 1, now, NULL) ? 1 : 0;
    if (!s->own_leaf)
        return 1;
    return s->name_count > 0 && leaves_use(s->leaves, ssl, (const char *const *)s->names, s->name_count, now, NULL);
}

// --- clients' certificates ---

static int let_any_pass(X509_STORE_CTX *ctx, void *arg) {
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

// A ticket keeps the client's certificate but not the chain that came with it, without which it cannot be judged again:
// so the chain is put beside it. One that is too long makes a ticket that is not taken.
static int put_chain_into_ticket(SSL *ssl, void *arg) {
    if (SSL_session_reused(ssl))
        return 1; // What the session had goes on.
    unsigned char chain[TICKET_CHAIN_MAX], *end = chain;
    STACK_OF(X509) *all = SSL_get_peer_cert_chain(ssl); // On a server without the client's own.
    for (int i = 0; i < sk_X509_num(all); i++) {
        int len = i2d_X509(sk_X509_value(all, i), NULL);
        if (len <= 0 || len > chain + sizeof chain - end)
            return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), "", 1);
        i2d_X509(sk_X509_value(all, i), &end);
    }
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), chain, (size_t)(end - chain));
}

static SSL_TICKET_RETURN judge_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_len,
                                      SSL_TICKET_STATUS status, void *arg) {
    void *data = NULL;
    size_t len = 0;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return status == SSL_TICKET_EMPTY || status == SSL_TICKET_NO_DECRYPT ? SSL_TICKET_RETURN_IGNORE_RENEW
                                                                             : SSL_TICKET_RETURN_IGNORE;
    if (SSL_SESSION_get0_ticket_appdata(session, &data, &len) == 1 && len == 1)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS_RENEW ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

static STACK_OF(X509) * chain_of_ticket(SSL *ssl) {
    void *data = NULL;
    size_t len = 0;
    if (SSL_SESSION_get0_ticket_appdata(SSL_get_session(ssl), &data, &len) != 1 || len <= 1)
        return NULL;
    STACK_OF(X509) *chain = sk_X509_new_null();
    const unsigned char *at = data, *end = at + len;
    for (X509 *x; at < end && (x = d2i_X509(NULL, &at, (long)(end - at))) != NULL;)
        sk_X509_push(chain, x);
    ERR_clear_error();
    return chain;
}

X509 *certs_server_peer(SSL *ssl, STACK_OF(X509) * *chain) {
    *chain = NULL;
    X509 *x = SSL_get1_peer_certificate(ssl);
    if (x && SSL_session_reused(ssl))
        *chain = chain_of_ticket(ssl);
    else if (x && SSL_get_peer_cert_chain(ssl))
        *chain = X509_chain_up_ref(SSL_get_peer_cert_chain(ssl));
    return x;
}

static bool ask_clients(SSL_CTX *ctx, const struct peer_trust *trust, struct err *err) {
    if (!trust)
        return true;
    STACK_OF(X509_NAME) *names = sk_X509_NAME_deep_copy(peer_trust_names(trust), X509_NAME_dup, X509_NAME_free);
    if (!names)
        return err_set(err, "OpenSSL: %s", openssl_words());
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, let_any_pass, NULL);
    return SSL_CTX_set_session_ticket_cb(ctx, put_chain_into_ticket, judge_ticket, NULL) == 1 ||
           err_set(err, "OpenSSL: %s", openssl_words());
}

// --- the whole ---

static bool set_session_context(SSL_CTX *ctx, const char *text) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    return EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL) == 1 &&
           SSL_CTX_set_session_id_context(ctx, digest, len) == 1;
}

static bool set_up(SSL_CTX *ctx, const struct certs_server *spec, struct server *s, struct err *err) {
    if (!set_protocol(ctx, err) || !ask_clients(ctx, spec->trust, err))
        return false;
    if (!set_session_context(ctx, spec->session_context ? spec->session_context : "pullgate"))
        return err_set(err, "OpenSSL: %s", openssl_words());
    if (spec->certificate_file &&
        (!use_certificate(ctx, spec->certificate_file, err) || !use_key(ctx, spec->key_file, err)))
        return false;
    if ((!spec->certificate_file || s->takes_over) && !s->leaves)
        return err_set(err, "there is no authority that could issue a certificate");
    if (!s->leaves)
        return true;
    SSL_CTX_set_tlsext_servername_callback(ctx, check_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, s);
    SSL_CTX_set_cert_cb(ctx, choose_certificate, s);
    return true;
}

SSL_CTX *certs_server_make(const struct certs_server *spec, struct err *err) {
    ERR_clear_error();
    pthread_once(&ex_once, make_ex_index);
    struct server *s = server_copy(spec);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || ex_index < 0 || SSL_CTX_set_ex_data(ctx, ex_index, s) != 1) {
        err_set(err, "OpenSSL: %s", openssl_words());
        context_free(s);
    } else if (set_up(ctx, spec, s, err)) {
        return ctx;
    }
    SSL_CTX_free(ctx);
    return NULL;
}

SSL_CTX *certs_server_new(const char *certificate_file, const char *key_file, struct err *err) {
    struct certs_server spec = {.certificate_file = certificate_file, .key_file = key_file};
    return certs_server_make(&spec, err);
}

// --- dates ---

static bool to_unix(const ASN1_TIME *t, int64_t *out) {
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *out = (int64_t)timegm(&tm);
    return true;
}

// What there is to say of the dates, as fresh memory; NULL: nothing.
static char *date_warning(const char *path, const X509 *x, int64_t now) {
    enum { DAY = 24 * 60 * 60 };
    int64_t from;
    int64_t until;
    if (!to_unix(X509_get0_notBefore(x), &from) || !to_unix(X509_get0_notAfter(x), &until))
        return mem_printf("%s: the certificate's dates cannot be read", path);
    char date[32] = "?";
    struct tm tm;
    time_t shown = (time_t)(now < from ? from : until);
    if (gmtime_r(&shown, &tm))
        strftime(date, sizeof date, "%Y-%m-%d", &tm);
    if (now < from)
        return mem_printf("%s: the certificate is not valid before %s", path, date);
    if (now > until)
        return mem_printf("%s: the certificate ended on %s", path, date);
    if (until - now > WARN_DAYS * DAY)
        return NULL;
    int days = (int)((until - now) / DAY);
    return mem_printf("%s: the certificate ends on %s, in %d day%s", path, date, days, days == 1 ? "" : "s");
}

bool certs_server_check(const char *certificate_file, const char *key_file, int64_t now,
                        void (*warn)(void *ctx, const char *sentence), void *ctx, struct err *err) {
    SSL_CTX *made = certs_server_new(certificate_file, key_file, err);
    if (!made)
        return false;
    char *sentence = date_warning(certificate_file, SSL_CTX_get0_certificate(made), now);
    if (sentence && warn)
        warn(ctx, sentence);
    free(sentence);
    SSL_CTX_free(made);
    return true;
}
