// SPDX-License-Identifier: Apache-2.0
//
// TLS towards clients: a server context from a site's own certificate and key, or from the gateway's authority.
//
// TLS 1.2 and 1.3, modern suites, no renegotiation, no compression, ALPN http/1.1 only. A context is immutable once
// made; a reload makes a new one and new connections use it, old ones keep theirs (OpenSSL counts references). Any
// thread.
//
// Client certificates are asked for, but at this level any of them passes: a handshake that fails is something that
// dockerd passes over in silence, on its way to the registry. So "required" and "not good" are said by HTTP, and
// whoever speaks HTTP asks certs_server_peer() and peer_verify() first.

#pragma once

#include "certs/leaves.h"
#include "certs/peer.h"
#include "mirrors/base/err.h"

#include <openssl/ssl.h>

/// What a listener wants. Everything is copied or referenced by the context that is made.
struct certs_server {
    const char *certificate_file, *key_file; ///< A site's own; NULL: of `leaves`, for `names`.
    const char *const *names;                ///< What the listener is called. The first is the subject's.
    size_t name_count;                       ///< Without files and names only what is taken over is served.
    struct leaves *leaves;                   ///< NULL: files, and nothing is taken over.
    /// Is this server name (canonical: lower case, no trailing dot) one that is taken over? It is then given a leaf of
    /// its own, and any other name that is none of `names` ends the handshake with unrecognized_name. NULL: nothing is
    /// taken over, and whoever asks for another name gets the listener's own certificate. Any thread.
    bool (*takes_over)(void *ctx, const char *server_name);
    void *ctx;
    void (*release)(void *ctx);     ///< When the context's last connection has ended; or NULL.
    const struct peer_trust *trust; ///< Clients are asked for a certificate of these; NULL: they are not asked.
    /// Sessions are resumed only where this is the same: say the listener and whom it trusts.
    const char *session_context;
};

/// `err` names the file. Freed with SSL_CTX_free(). `release` is called once for every spec with one, on failure too.
SSL_CTX *certs_server_make(const struct certs_server *spec, struct err *err);

/// From files alone. Refused: a key that others can read, a key that does not belong to the certificate, an encrypted
/// key.
SSL_CTX *certs_server_new(const char *certificate_file, const char *key_file, struct err *err);

/// The client's certificate and what came along, after a whole handshake or a resumed one; NULL: it showed none. The
/// caller frees both (`*chain` may be NULL).
X509 *certs_server_peer(SSL *ssl, STACK_OF(X509) * *chain);

/// The server name that the client asked for, canonical, into `out` (HOST_MAX + 1 bytes); false: none, or no host name.
bool certs_server_name(const SSL *ssl, char *out);

/// Check the files without keeping anything; `warn` (may be NULL) is told when the certificate has ended or ends within
/// 14 days of `now`.
bool certs_server_check(const char *certificate_file, const char *key_file, int64_t now,
                        void (*warn)(void *ctx, const char *sentence), void *ctx, struct err *err);

// --- files that change ---

enum { CERTS_FILES_MAX = 512 };

/// What files looked like when they were read. Zeroed: none are watched.
struct certs_watch {
    struct certs_seen *seen;
    size_t count;
};

/// Remember how this file looks now (NULL is passed over). One thread at a time.
void certs_watch_add(struct certs_watch *w, const char *path);

/// Has any of them changed since (other bytes, another file, gone)? Asked every ten seconds or so; what was seen stays,
/// so that a half-written pair is tried again until certs_watch_clear().
bool certs_files_changed(const struct certs_watch *w);
void certs_watch_clear(struct certs_watch *w);
