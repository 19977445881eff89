// SPDX-License-Identifier: Apache-2.0
//
// Client certificates, as a connection has them.

#include "gateway/front/peer.h"

#include "certs/server.h"
#include "gateway/front/loop.h"
#include "gateway/front/takeover.h"

#include <sys/socket.h>
#include <time.h>

static void forget_verdict(struct front_peer *p) {
    listener_unref(p->judge);
    identity_unref(p->identity);
    p->judge = NULL;
    p->identity = NULL;
    p->good = false;
}

void front_peer_deinit(struct front_peer *p) {
    forget_verdict(p);
    X509_free(p->certificate);
    sk_X509_pop_free(p->chain, X509_free);
    p->certificate = NULL;
    p->chain = NULL;
}

/// libh2o closes without the alert that OpenSSL has written into its buffer. This one comes before anything is
/// encrypted, and is what tells a client's user that the name is nobody's here.
static void say_unrecognized(h2o_socket_t *sock) {
    static const uint8_t alert[] = {SSL3_RT_ALERT, 3, 3, 0, 2, SSL3_AL_FATAL, SSL_AD_UNRECOGNIZED_NAME};
    ssize_t sent = send(h2o_socket_get_fd(sock), alert, sizeof(alert), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; // A client that takes nothing is closed without it.
}

/// libh2o gives no way to the SSL of a connection, but OpenSSL's BIO leads back to the socket.
static void on_info(const SSL *ssl, int where, int result) {
    h2o_socket_t *sock = BIO_get_data(SSL_get_rbio(ssl));
    struct connection *c = sock->on_close.data;
    if (where == SSL_CB_WRITE_ALERT && result == (SSL3_AL_FATAL << 8 | SSL_AD_UNRECOGNIZED_NAME))
        say_unrecognized(sock);
    if ((where & SSL_CB_HANDSHAKE_DONE) == 0)
        return;
    if (!certs_server_name(ssl, c->server_name))
        c->server_name[0] = '\0';
    struct takeover found;
    const struct listener_config *settings = c->listener->settings;
    c->taken_over = c->tunnel[0] != '\0' ||
                    (settings->takeover && takeover_of(c->listener->config, settings, c->server_name, &found));
    front_peer_deinit(&c->peer);
    c->peer.certificate = certs_server_peer((SSL *)ssl, &c->peer.chain);
}

void front_peer_watch(SSL_CTX *ctx) {
    SSL_CTX_set_info_callback(ctx, on_info);
}

int64_t front_peer_ends(const struct front_peer *p) {
    struct tm tm;
    if (p->certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(p->certificate), &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm);
}

static void identify(struct front_peer *p, const struct listener_config *settings) {
    struct peer who;
    peer_read(p->certificate, settings->name_from, settings->name_from_count, &who);
    p->identity = identity_of_peer(&who);
    peer_deinit(&who);
}

void front_peer_judge(struct front_peer *p, struct listener *listener, int64_t now) {
    if (p->certificate == NULL ||
        (p->judge == listener && now >= p->judged_at && now - p->judged_at < PEER_JUDGED_FOR_S))
        return;
    forget_verdict(p);
    p->judge = listener_ref(listener);
    p->judged_at = now;
    if (listener->trust == NULL)
        err_set(&p->why, "client certificates are no longer asked for here");
    else
        p->good = peer_verify(listener->trust, p->certificate, p->chain, now, &p->why);
    if (p->good)
        identify(p, listener->settings);
}
