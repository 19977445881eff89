// SPDX-License-Identifier: Apache-2.0
//
// Certificates made at the handshake: once each, by many threads, for the names that are taken over and no others; and
// what a context does with clients' certificates, sessions and reloads.

#include "certs/leaves.h"
#include "certs/server.h"
#include "mirrors/base/mem.h"
#include "pki.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct fixture {
    char *folder;
    struct authority *authority;
    struct leaves *leaves;
    struct err err;
};

static void setup(struct fixture *f) {
    f->folder = pki_folder();
    f->authority = authority_open(f->folder, true, NULL, 0, &f->err);
    cr_assert_not_null(f->authority, "%s", f->err.text);
    f->leaves = leaves_new(f->authority);
}

static void teardown(struct fixture *f) {
    leaves_unref(f->leaves);
    authority_unref(f->authority);
    pki_folder_free(f->folder);
}

static bool takes_over(void *ctx, const char *name) {
    return strcmp(name, "ghcr.io") == 0 || strncmp(name, "many-", 5) == 0;
}

static void count_release(void *ctx) {
    ++*(int *)ctx;
}

// --- a handshake in memory ---

struct talk {
    SSL *client, *server;
};

static SSL_CTX *client_context(const struct fixture *f) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), authority_certificate(f->authority));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return ctx;
}

static struct talk begin(SSL_CTX *server, SSL_CTX *client, const char *name, const char *verify) {
    struct talk t = {.client = SSL_new(client), .server = SSL_new(server)};
    BIO *a, *b;
    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(t.client, a, a);
    SSL_set_bio(t.server, b, b);
    SSL_set_connect_state(t.client);
    SSL_set_accept_state(t.server);
    if (name != NULL)
        SSL_set_tlsext_host_name(t.client, name);
    if (verify != NULL)
        SSL_set1_host(t.client, verify);
    return t;
}

static bool talk(struct talk *t) {
    char byte;
    for (int i = 0; i < 20; i++) {
        int c = SSL_do_handshake(t->client), s = SSL_do_handshake(t->server);
        if (c == 1 && s == 1) {
            SSL_write(t->server, "x", 1); // Carries the tickets.
            SSL_read(t->client, &byte, 1);
            return true;
        }
        if (c != 1 && SSL_get_error(t->client, c) == SSL_ERROR_SSL)
            return false;
        if (s != 1 && SSL_get_error(t->server, s) == SSL_ERROR_SSL)
            return false;
    }
    return false;
}

static void end(struct talk *t) {
    SSL_set_shutdown(t->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); // Else its session is not to be resumed.
    SSL_set_shutdown(t->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->client);
    SSL_free(t->server);
}

static bool meets(SSL_CTX *server, const struct fixture *f, const char *name, const char *verify) {
    SSL_CTX *client = client_context(f);
    struct talk t = begin(server, client, name, verify);
    bool ok = talk(&t);
    end(&t);
    SSL_CTX_free(client);
    return ok;
}

static const char *const own_names[] = {"gate.test", "10.0.0.5"};

struct name_row {
    const char *why, *name, *verify;
    bool takeover, good;
};

static const struct name_row name_rows[] = {
    {"its own name", "gate.test", "gate.test", true, true},
    {"its own name in capitals", "GATE.Test", "gate.test", true, true},
    {"a name that is taken over", "ghcr.io", "ghcr.io", true, true},
    {"in capitals, with a dot", "GHCR.io.", "ghcr.io", true, true},
    {"a name that is nobody's", "evil.test", NULL, true, false},
    {"no name: the listener's own", NULL, "gate.test", true, true},
    {"no host name", "a b", NULL, true, false},
    {"without takeover a registry's name gets the listener's own", "ghcr.io", "gate.test", false, true},
    {"and is not given for the registry", "ghcr.io", "ghcr.io", false, false},
    {"without takeover any name gets the listener's own", "evil.test", "gate.test", false, true},
};

Test(leaves, names) {
    for (size_t i = 0; i < sizeof name_rows / sizeof name_rows[0]; i++) {
        const struct name_row *row = &name_rows[i];
        struct fixture f;
        int released = 0;
        setup(&f);
        struct certs_server spec = {.names = own_names,
                                    .name_count = 2,
                                    .leaves = f.leaves,
                                    .takes_over = row->takeover ? takes_over : NULL,
                                    .ctx = &released,
                                    .release = count_release};
        SSL_CTX *server = certs_server_make(&spec, &f.err);
        cr_assert_not_null(server, "%s", f.err.text);
        cr_expect_eq(meets(server, &f, row->name, row->verify), row->good, "%s", row->why);
        SSL_CTX_free(server);
        cr_expect_eq(released, 1, "%s", row->why);
        teardown(&f);
    }
}

Test(leaves, contradictions) {
    struct fixture f;
    int released = 0;
    setup(&f);
    struct certs_server none = {.names = own_names, .name_count = 2, .ctx = &released, .release = count_release};
    cr_expect_null(certs_server_make(&none, &f.err), "no authority");
    cr_expect_eq(released, 1, "released on failure, once");
    teardown(&f);
}

// --- once each ---

struct work {
    SSL_CTX *server;
    const struct fixture *f;
    int failures;
};

static void *shake_many(void *arg) {
    struct work *w = arg;
    char name[32];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "many-%d.test", i % 10);
        w->failures += !meets(w->server, w->f, name, name);
    }
    return NULL;
}

Test(leaves, made_once) {
    struct fixture f;
    pthread_t threads[4];
    struct work work[4];
    setup(&f);
    struct certs_server spec = {.names = own_names, .name_count = 2, .leaves = f.leaves, .takes_over = takes_over};
    SSL_CTX *server = certs_server_make(&spec, &f.err);
    for (size_t i = 0; i < 4; i++) {
        work[i] = (struct work){.server = server, .f = &f};
        pthread_create(&threads[i], NULL, shake_many, &work[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(work[i].failures, 0);
    }
    cr_expect_eq(leaves_made(f.leaves), 10, "one a name: %llu", (unsigned long long)leaves_made(f.leaves));
    SSL_CTX_free(server);
    teardown(&f);
}

Test(leaves, made_anew) {
    struct fixture f;
    setup(&f);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(ctx);
    int64_t now = (int64_t)time(NULL);
    const struct {
        const char *why;
        int64_t at;
        uint64_t made;
    } rows[] = {
        {"first", now, 1},
        {"again", now + PKI_DAY, 1},
        {"shortly before it is due", now + LEAF_RENEW_DAYS * PKI_DAY - 1, 1},
        {"due", now + LEAF_RENEW_DAYS * PKI_DAY, 2},
        {"the clock goes back", now, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect(leaves_use(f.leaves, ssl, own_names, 2, rows[i].at, &f.err), "%s: %s", rows[i].why, f.err.text);
        cr_expect_eq(leaves_made(f.leaves), rows[i].made, "%s", rows[i].why);
    }
    cr_expect(!leaves_use(f.leaves, ssl, own_names, 0, now, &f.err), "no name");
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    teardown(&f);
}

// --- clients' certificates and sessions ---

static SSL_SESSION *kept; // Of the one client of a test.

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

static void resume_with(int version) {
    struct fixture f;
    int64_t now = (int64_t)time(NULL);
    setup(&f);
    struct pki_pair root =
        pki_make(&(struct pki_spec){.name = "r", .authority = true, .from = now - 60, .until = now + PKI_DAY}, NULL);
    struct pki_pair middle =
        pki_make(&(struct pki_spec){.name = "m", .authority = true, .from = now - 60, .until = now + PKI_DAY}, &root);
    struct pki_pair leaf = pki_make(&(struct pki_spec){.name = "c", .from = now - 60, .until = now + PKI_DAY}, &middle);
    char *file = pki_write(f.folder, "clients.pem", root.certificate, NULL, NULL, 0644);
    struct peer_trust *trust = peer_trust_new(file, NULL, false, &f.err);
    struct certs_server spec = {
        .names = own_names, .name_count = 2, .leaves = f.leaves, .trust = trust, .session_context = "a"};
    SSL_CTX *server = certs_server_make(&spec, &f.err);
    spec.session_context = "b";
    SSL_CTX *other = certs_server_make(&spec, &f.err), *client = client_context(&f);
    SSL_CTX_set_max_proto_version(client, version);
    SSL_CTX_use_certificate(client, leaf.certificate);
    SSL_CTX_use_PrivateKey(client, leaf.key);
    SSL_CTX_add1_chain_cert(client, middle.certificate);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, keep_session);
    for (int round = 0; round < 4; round++) {
        struct talk t = begin(round < 3 ? server : other, client, "gate.test", "gate.test");
        STACK_OF(X509) *chain = NULL;
        if (kept != NULL)
            SSL_set_session(t.client, kept);
        cr_assert(talk(&t), "round %d", round);
        cr_expect_eq(SSL_session_reused(t.server), round > 0 && round < 3, "round %d", round);
        X509 *peer = certs_server_peer(t.server, &chain);
        cr_assert_not_null(peer, "round %d", round);
        cr_expect_eq(X509_cmp(peer, leaf.certificate), 0);
        cr_expect(peer_verify(trust, peer, chain, now, &f.err), "round %d: %s", round, f.err.text);
        X509_free(peer);
        sk_X509_pop_free(chain, X509_free);
        end(&t);
    }
    SSL_SESSION_free(kept);
    kept = NULL;
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    SSL_CTX_free(other);
    peer_trust_free(trust);
    free(file);
    pki_free(&root);
    pki_free(&middle);
    pki_free(&leaf);
    teardown(&f);
}

Test(leaves, resumed_with_chain_tls13) {
    resume_with(TLS1_3_VERSION);
}

Test(leaves, resumed_with_chain_tls12) {
    resume_with(TLS1_2_VERSION);
}

Test(leaves, bad_client_certificates_meet_http) {
    struct fixture f;
    int64_t now = (int64_t)time(NULL);
    setup(&f);
    struct pki_pair root =
        pki_make(&(struct pki_spec){.name = "r", .authority = true, .from = now - 60, .until = now + PKI_DAY}, NULL);
    struct pki_pair bad = pki_make(&(struct pki_spec){.name = "c", .from = now - 60, .until = now - 30}, NULL);
    char *file = pki_write(f.folder, "clients.pem", root.certificate, NULL, NULL, 0644);
    struct peer_trust *trust = peer_trust_new(file, NULL, false, &f.err);
    struct certs_server spec = {.names = own_names, .name_count = 2, .leaves = f.leaves, .trust = trust};
    SSL_CTX *server = certs_server_make(&spec, &f.err);
    for (int shown = 0; shown < 2; shown++) {
        SSL_CTX *client = client_context(&f);
        STACK_OF(X509) *chain = NULL;
        if (shown) {
            SSL_CTX_use_certificate(client, bad.certificate);
            SSL_CTX_use_PrivateKey(client, bad.key);
        }
        struct talk t = begin(server, client, "gate.test", "gate.test");
        cr_expect(talk(&t), "the handshake passes");
        X509 *peer = certs_server_peer(t.server, &chain);
        cr_expect_eq(peer != NULL, shown == 1);
        if (peer != NULL)
            cr_expect(!peer_verify(trust, peer, chain, now, &f.err));
        X509_free(peer);
        sk_X509_pop_free(chain, X509_free);
        end(&t);
        SSL_CTX_free(client);
    }
    SSL_CTX_free(server);
    peer_trust_free(trust);
    free(file);
    pki_free(&root);
    pki_free(&bad);
    teardown(&f);
}

// --- files that change ---

Test(leaves, watch) {
    char *folder = pki_folder();
    char *a = pki_write(folder, "a", NULL, NULL, NULL, 0600), *b = pki_path(folder, "b");
    struct certs_watch w = {0};
    certs_watch_add(&w, a);
    certs_watch_add(&w, a);
    certs_watch_add(&w, b);
    certs_watch_add(&w, NULL);
    cr_expect_eq(w.count, 2);
    cr_expect(!certs_files_changed(&w));
    FILE *f = fopen(b, "w"); // Appears.
    fclose(f);
    cr_expect(certs_files_changed(&w));
    cr_expect(certs_files_changed(&w), "until it is cleared");
    certs_watch_clear(&w);
    certs_watch_add(&w, a);
    certs_watch_add(&w, b);
    cr_expect(!certs_files_changed(&w));
    rename(b, a); // Another file of that name.
    cr_expect(certs_files_changed(&w));
    certs_watch_clear(&w);
    free(a);
    free(b);
    pki_folder_free(folder);
}

static double shake_for(SSL_CTX *server, const struct fixture *f, int from) {
    struct timespec begun, done;
    char name[32];
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (int i = from; i < from + 100; i++) {
        snprintf(name, sizeof name, "many-%d.test", i);
        cr_assert(meets(server, f, name, name));
    }
    clock_gettime(CLOCK_MONOTONIC, &done);
    return ((double)(done.tv_sec - begun.tv_sec) * 1e9 + (double)(done.tv_nsec - begun.tv_nsec)) / 100e3;
}

/// Client and server together, in memory.
Test(leaves, cost_of_a_first_handshake) {
    struct fixture f;
    setup(&f);
    struct certs_server spec = {.names = own_names, .name_count = 2, .leaves = f.leaves, .takes_over = takes_over};
    SSL_CTX *server = certs_server_make(&spec, &f.err);
    shake_for(server, &f, 1000);
    double first = shake_for(server, &f, 0), again = shake_for(server, &f, 0);
    cr_log_info("a first handshake takes %.0f us, a later one %.0f us", first, again);
    cr_expect_lt(first, 50000, "%.0f us", first);
    SSL_CTX_free(server);
    teardown(&f);
}
