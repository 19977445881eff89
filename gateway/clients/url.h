// SPDX-License-Identifier: Apache-2.0
//
// The gateway's URL, and that of its proxy, in one canonical form. Pure; any thread.

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/base/host.h"

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_PORT_USUAL = 80, HTTPS_PORT_USUAL = 443 };

struct gateway_url {
    struct hostport at; ///< Port always set.
    bool plain;         ///< http.
};

/// "https://host[:port]" or "http://host[:port]", a trailing slash allowed; no user, path, query or fragment.
bool gateway_url_parse(const char *text, struct gateway_url *out, struct err *err);

/// The canonical text, as fresh memory: lower case, without the port that goes without saying.
char *gateway_url_text(const struct gateway_url *url);

/// The host[:port] of it, as fresh memory.
char *gateway_url_host(const struct gateway_url *url);
