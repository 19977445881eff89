// SPDX-License-Identifier: Apache-2.0
//
// One connection at a time, one request a connection.

#include "tests/unit/jwks_server.h"

#include "mirrors/base/mem.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct jwks_server {
    SSL_CTX *tls;
    int fd;
    pthread_t thread;
    pthread_mutex_t lock;
    char *document;
    atomic_int requests;
};

static X509 *certificate_for(EVP_PKEY *key) {
    X509 *x = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_set_version(x, 2);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    X509_sign(x, key, EVP_sha256());
    return x;
}

static void answer(struct jwks_server *s, int fd) {
    char request[4096];
    SSL *ssl = SSL_new(s->tls);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request) > 0) {
        atomic_fetch_add(&s->requests, 1);
        pthread_mutex_lock(&s->lock);
        char *text = s->document != NULL
                         ? mem_printf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                                      strlen(s->document), s->document)
                         : mem_strdup("HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        pthread_mutex_unlock(&s->lock);
        SSL_write(ssl, text, (int)strlen(text));
        SSL_shutdown(ssl);
        free(text);
    }
    SSL_free(ssl);
    close(fd);
}

static void *serve(void *ctx) {
    struct jwks_server *s = ctx;
    for (int fd; (fd = accept(s->fd, NULL, NULL)) >= 0;)
        answer(s, fd);
    return NULL;
}

struct jwks_server *jwks_server_new(char ca[64], char url[64]) {
    struct jwks_server *s = mem_zalloc(1, sizeof *s);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = certificate_for(key);
    s->tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(s->tls, certificate);
    SSL_CTX_use_PrivateKey(s->tls, key);
    strcpy(ca, "/tmp/pullgate-ca-XXXXXX");
    FILE *f = fdopen(mkstemp(ca), "w");
    PEM_write_X509(f, certificate);
    fclose(f);
    X509_free(certificate);
    EVP_PKEY_free(key);
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    bind(s->fd, (struct sockaddr *)&at, sizeof at);
    listen(s->fd, 16);
    getsockname(s->fd, (struct sockaddr *)&at, &len);
    snprintf(url, 64, "https://127.0.0.1:%d/keys", ntohs(at.sin_port));
    pthread_create(&s->thread, NULL, serve, s);
    return s;
}

void jwks_server_free(struct jwks_server *s) {
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    SSL_CTX_free(s->tls);
    free(s->document);
    free(s);
}

void jwks_server_set(struct jwks_server *s, const char *document) {
    pthread_mutex_lock(&s->lock);
    free(s->document);
    s->document = mem_strdup(document);
    pthread_mutex_unlock(&s->lock);
}

int jwks_server_requests(const struct jwks_server *s) {
    return atomic_load(&s->requests);
}
