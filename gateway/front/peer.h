// SPDX-License-Identifier: Apache-2.0
//
// What a TLS handshake tells of a client, and what its certificate is worth today.
//
// Belongs to a connection, on its loop. A certificate is kept as it came, and judged again by today's authority and
// clock: a reload, a revocation or its end takes effect on the connection's next request.

#pragma once

#include "gateway/front/listener.h"
#include "gateway/identity/identity.h"

#include <openssl/ssl.h>

enum { PEER_JUDGED_FOR_S = 10 }; ///< A verdict is believed for so long.

struct front_peer {
    X509 *certificate; ///< NULL: none was shown.
    STACK_OF(X509) * chain;
    struct listener *judge; ///< A reference: by whose trust it was judged; NULL: not yet.
    int64_t judged_at;
    struct identity *identity; ///< A reference; NULL: it is not good, or names nobody.
    bool good;
    struct err why; ///< Why it is not.
};

void front_peer_deinit(struct front_peer *p);

/// Have the facts of every handshake with this context kept on its connection.
void front_peer_watch(SSL_CTX *ctx);

/// When the certificate ends (Unix seconds); 0: there is none, or it does not say.
int64_t front_peer_ends(const struct front_peer *p);

/// Judge the certificate by what holds now (Unix seconds), where there is one.
void front_peer_judge(struct front_peer *p, struct listener *listener, int64_t now);
