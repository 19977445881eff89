// SPDX-License-Identifier: Apache-2.0
//
// What the files of this room share while one configuration is being read. Nobody outside includes it.

#pragma once

#include "gateway/config/config.h"
#include "gateway/config/reader.h"
#include "mirrors/catalog/catalog.h"

enum {
    CREDENTIALS_MAX = 1000,
    REGISTRIES_MAX = 10000,
    ENDPOINTS_MAX = 16,
    HOST_LIST_MAX = 1000, ///< realm_hosts, redirect_hosts, external_urls, private_addresses of one registry.
    CREDENTIAL_USES_MAX = 1000,
    RESOLVE_MAX = 64,
    GROUPS_MAX = 1000,
    MEMBERS_MAX = 10000, ///< Of one group, or of one rule's `who`.
    OIDC_MAX = 16,
    USERNAME_MAX = 255
};

enum {
    CONNECTIONS_MIN = 16,
    CONNECTIONS_MAX = 1000000,
    IDLE_TIMEOUT_S = 75,
    IDLE_TIMEOUT_MAX_S = 3600,
    SEND_TIMEOUT_S = 60,
    SEND_TIMEOUT_MAX_S = 600,
    HEAD_TIMEOUT_S = 10,
    HEAD_TIMEOUT_MAX_S = 300,
    UPSTREAM_TIMEOUT_S = 25,
    UPSTREAM_TIMEOUT_MAX_S = 29, ///< Clients give up after 30 s without headers.
    CONNECT_TIMEOUT_S = 5,
    SHUTDOWN_GRACE_S = 30,
    SHUTDOWN_GRACE_MAX_S = 3600,
    THREADS_MAX = 64,
    TRANSFER_WINDOW = 1 << 20,
    TRANSFER_WINDOW_MIN = 64 << 10,
    TRANSFER_WINDOW_MAX = 64 << 20
};

enum {
    STORE_SIZE_GIB = 50,
    STORE_SIZE_MIN_MIB = 16,
    STORE_SIZE_MAX_TIB = 1024,
    STORE_MIN_FREE = 5, ///< Percent.
    STORE_TAG_TTL_S = 60,
    STORE_TAG_TTL_MAX_S = 7 * 24 * 3600,
    STORE_STALE_FOR_S = 24 * 3600,
    STORE_NEGATIVE_TTL_S = 10,
    STORE_NEGATIVE_TTL_MAX_S = 3600,
    STORE_LEARNED_FOR_S = 30 * 24 * 3600,
    STORE_TERM_MAX_S = 3650 * 24 * 3600, ///< Ten years, of stale_for and learned_for.
    STORE_FINISH_PERCENT = 50,
    STORE_KEEP_PATTERNS_MAX = 1000
};

enum {
    CLIENT_HOSTS_MAX = 1000, ///< "clients": direct, no_proxy.
    EXPECTED_MACHINES_MAX = 10000,
    MACHINE_NAME_MAX = 255,
    OUTDATED_AFTER_S = 24 * 3600,
    OUTDATED_AFTER_MIN_S = 60,
    OUTDATED_AFTER_MAX_S = 365 * 24 * 3600,
    FORGET_AFTER_S = 90 * 24 * 3600,
    FORGET_AFTER_MIN_S = 24 * 3600,
    FORGET_AFTER_MAX_S = 365 * 24 * 3600
};

enum {
    TOKEN_LIFETIME_S = 300,
    TOKEN_LIFETIME_MIN_S = 60, ///< The token specification's floor.
    TOKEN_LIFETIME_MAX_S = 24 * 3600,
    LOGIN_FAILURES = 10,
    LOGIN_FAILURES_MAX = 1000000,
    LOGIN_WINDOW_S = 300,
    LOGIN_WINDOW_MAX_S = 24 * 3600
};

/// The corporate proxies, from the file or the environment; each NULL where there is none.
struct proxies {
    char *https;
    char *http;
    char *no_proxy;
};

struct loading {
    struct config *config;
    struct catalog *catalog;
    struct proxies proxies;
    struct group_spec *groups; ///< Texts of the JSON tree.
    size_t group_count;
};

// The tables, one an object. Each reads into what its comment names.
extern const struct read_key listener_keys[];   ///< struct listener_config
extern const struct read_key tls_keys[];        ///< struct listener_config
extern const struct read_key credential_keys[]; ///< A credential on its way in.
extern const struct read_key registry_keys[];
extern const struct read_key rule_keys[];
extern const struct read_key proxy_keys[];      ///< struct proxies
extern const struct read_key limits_keys[];     ///< struct limits_config
extern const struct read_key log_keys[];        ///< struct config
extern const struct read_key store_keys[];      ///< struct store_config
extern const struct read_key admin_keys[];      ///< struct admin_config
extern const struct read_key ca_keys[];         ///< struct config
extern const struct read_key identity_keys[];   ///< struct identity_settings
extern const struct read_key clients_keys[];    ///< struct clients_config
extern const struct read_key compliance_keys[]; ///< struct compliance_config
extern const struct read_key config_root_keys[];

// What the root's table calls, in the same order as in the file's documentation.
bool read_listeners(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_credentials(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_proxy(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_registries(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_limits(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_log(struct reader *r, const struct read_key *key, const struct json *value, void *into);

bool read_store(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_state_directory(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_ca(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_identity(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_groups(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_clients(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_compliance(struct reader *r, const struct read_key *key, const struct json *value, void *into);
bool read_admin(struct reader *r, const struct read_key *key, const struct json *value, void *into);

/// The rules need the registries: called with the value, or NULL where the file has no rules, once all else was read.
bool read_rules(struct reader *r, const struct json *value);

/// A canonical registry name ("docker.io" for "index.docker.io") into *out.
bool read_registry_name(struct reader *r, const struct json *value, char **out);

/// Fill what the file did not say: the default listener, each listener's default registry, the limits' defaults.
void listeners_complete(struct config *c);
void limits_default(struct limits_config *limits);
bool limits_check(struct reader *r, const struct limits_config *limits);

/// The store's defaults; what it lacks once all was read, and what contradicts it.
void store_default(struct store_config *s);
bool store_complete(struct reader *r, struct config *c);
void store_config_deinit(struct store_config *s);

/// Where the state is, and whether what needs an authority or an identity has one.
bool state_complete(struct reader *r, struct config *c);
bool identity_complete(struct reader *r, struct config *c);
void identity_default(struct identity_settings *i);
void identity_settings_deinit(struct identity_settings *i);

/// The names that takeover serves: once the registries are read. Two registries with one alias are an error.
bool taken_build(struct reader *r, struct config *c);

/// Whether the admin address is one of its own, once the listeners are complete.
bool admin_check(struct reader *r, const struct config *c);

/// The defaults of "clients" and "compliance", and their end.
void clients_default(struct config *c);
void clients_deinit(struct config *c);

/// What clients are told, once all was read.
void site_complete(struct config *c);

/// Is this something that a no_proxy list may hold: a name, an address, a block?
bool no_proxy_entry_valid(const char *s);

/// Take the proxies from HTTPS_PROXY, HTTP_PROXY, NO_PROXY or their lower-case forms (which win).
bool proxies_from_environment(struct proxies *p, struct err *err);
void proxies_deinit(struct proxies *p);
