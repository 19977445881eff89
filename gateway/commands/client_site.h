// SPDX-License-Identifier: Apache-2.0
//
// Where `pullgate client` has its site from, and what the machine adds of its own.

#pragma once

#include "gateway/clients/site.h"
#include "mirrors/base/err.h"

enum { CLIENT_HEADERS_MAX = 32, CLIENT_WORD_MAX = 4096 };

/// As on the command line; NULL where not given.
struct site_options {
    const char *config, *site, *gateway, *ca, *certificate, *key, *proxy;
    const char *root; ///< "": the machine itself.
    const char *headers[CLIENT_HEADERS_MAX];
    size_t header_count;
};

/// The site, with the machine's own (CA, certificate, headers) in it: --config, else --site, else the gateway that
/// --gateway names, else what an earlier --write left on the machine. NULL with a sentence.
struct client_site *client_site_find(const struct site_options *o, struct err *err);

/// The PEM file that --ca names, checked to hold certificates and no key; freed by the caller.
char *client_ca_read(const char *path, struct err *err);
