// SPDX-License-Identifier: Apache-2.0
//
// What listeners.c takes from access.c: the keys of a listener that say who may use it and what it is called.

#pragma once

#include "gateway/config/loading.h"

// Readers of listener_keys, into struct listener_config.
bool access_read_names(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_takeover(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_connect(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_challenge(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_client_ca(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_client_crl(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_crl_expired(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_client_certificate(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_name_from(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_identify(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool access_read_trusted_proxies(struct reader *r, const struct read_key *key, const struct json *value, void *into);

/// Does what was read of one listener fit together? Fails at the listener's path.
bool access_check(struct reader *r, const struct listener_config *l);

/// The defaults that depend on other keys.
void access_complete(struct listener_config *l);
void access_deinit(struct listener_config *l);

/// A host name or an address without a port.
bool read_bare_host(struct reader *r, const struct json *value, struct hostport *out);
