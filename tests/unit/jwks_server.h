// SPDX-License-Identifier: Apache-2.0
//
// An https server for one document: an issuer's key set, in tests.

#pragma once

struct jwks_server;

/// Serves on a thread of its own; `ca` gets the path of its certificate (to be unlinked), `url` where it is.
struct jwks_server *jwks_server_new(char ca[64], char url[64]);
void jwks_server_free(struct jwks_server *s);

/// From now on 200 with this; NULL: 500.
void jwks_server_set(struct jwks_server *s, const char *document);
int jwks_server_requests(const struct jwks_server *s);
