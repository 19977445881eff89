// SPDX-License-Identifier: Apache-2.0
//
// TLS towards clients: a server context from a site's own certificate and key.
//
// TLS 1.2 and 1.3, modern suites, no renegotiation, no compression, ALPN http/1.1 only. A context is immutable once
// made; a reload makes a new one and new connections use it, old ones keep theirs (OpenSSL counts references). Any
// thread.

#pragma once

#include "mirrors/base/err.h"

#include <openssl/ssl.h>

/// Load the chain and key. Refused: a key that others can read, a key that does not belong to the
/// certificate, an encrypted key. `err` names the file. Freed with SSL_CTX_free().
SSL_CTX *certs_server_new(const char *certificate_file, const char *key_file, struct err *err);

/// Check the files without keeping anything; `warn` (may be NULL) is told when the certificate has ended or ends within
/// 14 days of `now`.
bool certs_server_check(const char *certificate_file, const char *key_file, int64_t now,
                        void (*warn)(void *ctx, const char *sentence), void *ctx, struct err *err);
