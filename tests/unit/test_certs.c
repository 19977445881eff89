// SPDX-License-Identifier: Apache-2.0
//
// TLS towards clients: which files are taken and which are refused, and what a handshake with the context comes to.

#include "certs/server.h"
#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 24 * 60 * 60 };

static char dir[] = "/tmp/pullgate-certs-XXXXXX";
static EVP_PKEY *key_a, *key_b;

static char *in_dir(const char *name) {
    return mem_printf("%s/%s", dir, name);
}

// --- files to test with ---

static X509 *make_certificate(EVP_PKEY *key, EVP_PKEY *issuer, long from, long until) {
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), from);
    X509_gmtime_adj(X509_getm_notAfter(x), until);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"gate.test", -1, -1,
                               0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    cr_assert(X509_sign(x, issuer, EVP_sha256()) > 0);
    return x;
}

static FILE *create(const char *name, mode_t mode) {
    char *path = in_dir(name);
    FILE *f = fopen(path, "w");
    cr_assert(f && fchmod(fileno(f), mode) == 0);
    free(path);
    return f;
}

static void put_text(const char *name, mode_t mode, const char *text) {
    FILE *f = create(name, mode);
    fputs(text, f);
    fclose(f);
}

static void put_certificates(const char *name, int above, long from, long until) {
    FILE *f = create(name, 0644);
    X509 *leaf = make_certificate(key_a, key_b, from, until);
    PEM_write_X509(f, leaf);
    X509_free(leaf);
    for (int i = 0; i < above; i++) {
        X509 *x = make_certificate(key_b, key_b, 0, DAY);
        PEM_write_X509(f, x);
        X509_free(x);
    }
    fclose(f);
}

static void put_key(const char *name, mode_t mode, EVP_PKEY *key, const char *passphrase) {
    FILE *f = create(name, mode);
    cr_assert(PEM_write_PKCS8PrivateKey(f, key, passphrase ? EVP_aes_128_cbc() : NULL, passphrase,
                                        passphrase ? (int)strlen(passphrase) : 0, NULL, NULL) == 1);
    fclose(f);
}

static void put_both(void) {
    FILE *f = create("both.pem", 0600);
    X509 *leaf = make_certificate(key_a, key_b, -DAY, 90L * DAY);
    PEM_write_PKCS8PrivateKey(f, key_a, NULL, NULL, 0, NULL, NULL);
    PEM_write_X509(f, leaf);
    X509_free(leaf);
    fclose(f);
}

static void make_files(void) {
    cr_assert(mkdtemp(dir));
    key_a = EVP_EC_gen("P-256");
    key_b = EVP_EC_gen("P-256");
    put_certificates("good.crt", 0, -DAY, 90L * DAY);
    put_certificates("chain.crt", 2, -DAY, 90L * DAY);
    put_certificates("long.crt", 17, -DAY, 90L * DAY);
    put_certificates("ended.crt", 0, -30L * DAY, -DAY);
    put_certificates("soon.crt", 0, -DAY, 5L * DAY + 60);
    put_certificates("later.crt", 0, 2L * DAY, 90L * DAY);
    put_key("good.key", 0600, key_a, NULL);
    put_key("group.key", 0640, key_a, NULL);
    put_key("world.key", 0644, key_a, NULL);
    put_key("other.key", 0600, key_b, NULL);
    put_key("encrypted.key", 0600, key_a, "secret");
    put_text("empty", 0600, "");
    put_text("words", 0600, "not PEM\n");
    put_text("broken.crt", 0644, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    put_text("broken.key", 0600, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    put_both();
    FILE *f = create("large", 0600);
    for (int i = 0; i < 1100; i++)
        fprintf(f, "%1023s\n", "");
    fclose(f);
    char *path = in_dir("pipe");
    mkfifo(path, 0600);
    free(path);
}

static void remove_files(void) {
    static const char *const names[] = {"good.crt",   "chain.crt",  "long.crt",  "ended.crt", "soon.crt",
                                        "later.crt",  "good.key",   "group.key", "world.key", "encrypted.key",
                                        "empty",      "other.key",  "words",     "large",     "pipe",
                                        "broken.crt", "broken.key", "both.pem"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = in_dir(names[i]);
        unlink(path);
        free(path);
    }
    rmdir(dir);
    EVP_PKEY_free(key_a);
    EVP_PKEY_free(key_b);
}

TestSuite(certs, .init = make_files, .fini = remove_files, .timeout = 60);

// --- which files are taken ---

Test(certs, files) {
    static const struct {
        const char *why, *certificate, *key;
        const char *error; // NULL: taken.
        const char *names; // The file that the error must name.
    } rows[] = {
        {"a certificate and its key", "good.crt", "good.key", NULL, NULL},
        {"a chain", "chain.crt", "good.key", NULL, NULL},
        {"a key that a group may read, as Debian's ssl-cert has it", "good.crt", "group.key", NULL, NULL},
        {"both in one file, the key first", "both.pem", "both.pem", NULL, NULL},
        {"an ended certificate is served all the same: check warns", "ended.crt", "good.key", NULL, NULL},
        {"a key that others can read", "good.crt", "world.key", "others", "world.key"},
        {"a key of another certificate", "good.crt", "other.key", "does not belong to the certificate", "other.key"},
        {"a key with a passphrase, without asking at the terminal", "good.crt", "encrypted.key", "encrypted",
         "encrypted.key"},
        {"no certificate file", "missing.crt", "good.key", "No such file", "missing.crt"},
        {"no key file", "good.crt", "missing.key", "No such file", "missing.key"},
        {"an empty certificate file", "empty", "good.key", "no certificate in it", "empty"},
        {"an empty key file", "good.crt", "empty", "no private key", "empty"},
        {"a certificate file that is no PEM", "words", "good.key", "no certificate in it", "words"},
        {"the two exchanged", "good.key", "good.crt", "no certificate in it", "good.key"},
        {"a certificate that is none inside", "broken.crt", "good.key", "cannot be read", "broken.crt"},
        {"a key that is none inside", "good.crt", "broken.key", "no private key", "broken.key"},
        {"more certificates than a chain has", "long.crt", "good.key", "more than", "long.crt"},
        {"a file that is far too large", "large", "good.key", "larger than", "large"},
        {"a pipe, without hanging", "pipe", "good.key", "not a regular file", "pipe"},
        {"a folder", "", "good.key", "not a regular file", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *certificate = in_dir(rows[i].certificate);
        char *key = in_dir(rows[i].key);
        struct err err = {0};
        SSL_CTX *ctx = certs_server_new(certificate, key, &err);
        if (!rows[i].error) {
            cr_expect(ctx, "%s: %s", rows[i].why, err.text);
        } else {
            cr_expect_null(ctx, "%s", rows[i].why);
            cr_expect(strstr(err.text, rows[i].error), "%s: %s", rows[i].why, err.text);
            cr_expect(strstr(err.text, rows[i].names), "%s: the file is named: %s", rows[i].why, err.text);
            cr_expect_null(certs_server_new(certificate, key, NULL), "%s: without an err", rows[i].why);
        }
        SSL_CTX_free(ctx);
        free(certificate);
        free(key);
    }
}

static void remember(void *ctx, const char *sentence) {
    char **last = ctx;
    free(*last);
    *last = mem_strdup(sentence);
}

Test(certs, dates) {
    static const struct {
        const char *why, *certificate, *warning;
    } rows[] = {
        {"a good one says nothing", "good.crt", NULL},
        {"an ended one", "ended.crt", "ended on"},
        {"one that ends soon", "soon.crt", "in 5 days"},
        {"one that has not begun", "later.crt", "not valid before"},
    };
    char *key = in_dir("good.key");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *certificate = in_dir(rows[i].certificate);
        char *said = NULL;
        struct err err = {0};
        cr_expect(certs_server_check(certificate, key, time(NULL), remember, &said, &err), "%s: %s", rows[i].why,
                  err.text);
        if (rows[i].warning)
            cr_expect(said && strstr(said, rows[i].warning) && strstr(said, rows[i].certificate), "%s: %s", rows[i].why,
                      said ? said : "(nothing)");
        else
            cr_expect_null(said, "%s: %s", rows[i].why, said);
        free(said);
        cr_expect(certs_server_check(certificate, key, time(NULL), NULL, NULL, &err), "%s: nobody to tell",
                  rows[i].why);
        free(certificate);
    }
    char *missing = in_dir("missing.crt");
    struct err err = {0};
    cr_expect_not(certs_server_check(missing, key, time(NULL), NULL, NULL, &err));
    free(missing);
    free(key);
}

// --- handshakes ---

struct server {
    SSL_CTX *ctx;
    int fd;
};

static void *serve(void *arg) {
    struct server *s = arg;
    SSL *ssl = SSL_new(s->ctx);
    SSL_set_fd(ssl, s->fd);
    char byte;
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, &byte, 1) == 1)
        SSL_write(ssl, &byte, 1);
    SSL_free(ssl);
    shutdown(s->fd, SHUT_RDWR);
    return NULL;
}

struct outcome {
    bool ok;
    int version, chain;
    char alpn[16];
    char cipher[64];
};

static struct outcome shake(SSL_CTX *server, SSL_CTX *client, const unsigned char *alpn, unsigned alpn_len) {
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct server s = {.ctx = server, .fd = fds[0]};
    pthread_t thread;
    pthread_create(&thread, NULL, serve, &s);

    struct outcome o = {0};
    SSL *ssl = SSL_new(client);
    SSL_set_fd(ssl, fds[1]);
    if (alpn)
        SSL_set_alpn_protos(ssl, alpn, alpn_len);
    char byte = 'x';
    o.ok = SSL_connect(ssl) == 1 && SSL_write(ssl, &byte, 1) == 1 && SSL_read(ssl, &byte, 1) == 1;
    if (o.ok) {
        o.version = SSL_version(ssl);
        o.chain = sk_X509_num(SSL_get_peer_cert_chain(ssl));
        const unsigned char *selected = NULL;
        unsigned len = 0;
        SSL_get0_alpn_selected(ssl, &selected, &len);
        snprintf(o.alpn, sizeof o.alpn, "%.*s", (int)len, len ? (const char *)selected : "");
        snprintf(o.cipher, sizeof o.cipher, "%s", SSL_get_cipher_name(ssl));
    }
    SSL_free(ssl);
    shutdown(fds[1], SHUT_RDWR);
    pthread_join(thread, NULL);
    close(fds[0]);
    close(fds[1]);
    return o;
}

static SSL_CTX *good_server(void) {
    char *certificate = in_dir("chain.crt");
    char *key = in_dir("good.key");
    struct err err = {0};
    SSL_CTX *ctx = certs_server_new(certificate, key, &err);
    cr_assert(ctx, "%s", err.text);
    free(certificate);
    free(key);
    return ctx;
}

// A client that would do everything this OpenSSL can, old versions and weak suites too.
static SSL_CTX *lax_client(int version, const char *ciphers) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    cr_assert_eq(SSL_CTX_set_cipher_list(ctx, ciphers ? ciphers : "ALL:@SECLEVEL=0"), 1);
    return ctx;
}

Test(certs, versions_and_suites) {
    static const struct {
        const char *why;
        int version;
        const char *ciphers;
        bool ok;
    } rows[] = {
        {"TLS 1.3", TLS1_3_VERSION, NULL, true},
        {"TLS 1.2", TLS1_2_VERSION, NULL, true},
        {"TLS 1.1 is refused", TLS1_1_VERSION, NULL, false},
        {"TLS 1.0 is refused", TLS1_VERSION, NULL, false},
        {"1.2 with ChaCha20", TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", true},
        {"1.2 with CBC is refused", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA", false},
        {"1.2 without encryption is refused", TLS1_2_VERSION, "ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0", false},
        {"1.2 without authentication is refused", TLS1_2_VERSION, "AECDH-AES128-SHA:ADH-AES128-GCM-SHA256", false},
    };
    SSL_CTX *server = good_server();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        SSL_CTX *client = lax_client(rows[i].version, rows[i].ciphers);
        struct outcome o = shake(server, client, NULL, 0);
        cr_expect_eq(o.ok, rows[i].ok, "%s (%s)", rows[i].why, o.cipher);
        if (o.ok) {
            cr_expect_eq(o.version, rows[i].version, "%s", rows[i].why);
            cr_expect_eq(o.chain, 3, "%s: the whole chain is sent: %d", rows[i].why, o.chain);
        }
        SSL_CTX_free(client);
    }
    SSL_CTX_free(server);
}

Test(certs, alpn) {
    static const struct {
        const char *why, *offer, *selected;
    } rows[] = {
        {"none offered, none chosen", NULL, ""},
        {"http/1.1 alone", "\x08http/1.1", "http/1.1"},
        {"HTTP/2 is never chosen, though offered first", "\x02h2\x08http/1.1", "http/1.1"},
        {"only h2: no ALPN, and the handshake goes on", "\x02h2", ""},
        {"a longer name that begins alike", "\x09http/1.1x", ""},
    };
    SSL_CTX *server = good_server();
    SSL_CTX *client = lax_client(TLS1_3_VERSION, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *offer = rows[i].offer;
        struct outcome o = shake(server, client, (const unsigned char *)offer, offer ? (unsigned)strlen(offer) : 0);
        cr_expect(o.ok, "%s", rows[i].why);
        cr_expect_str_eq(o.alpn, rows[i].selected, "%s", rows[i].why);
    }
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

Test(certs, options) {
    SSL_CTX *ctx = good_server();
    uint64_t options = SSL_CTX_get_options(ctx);
    cr_expect(options & SSL_OP_NO_RENEGOTIATION, "no renegotiation");
    cr_expect(options & SSL_OP_NO_COMPRESSION, "no compression");
    cr_expect(options & SSL_OP_CIPHER_SERVER_PREFERENCE, "the server's order of suites");
    cr_expect_not(options & SSL_OP_NO_TICKET, "tickets are given");
    SSL_CTX_free(ctx);
}
