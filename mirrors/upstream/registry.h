// SPDX-License-Identifier: Apache-2.0
//
// What the gateway knows of one upstream registry.
//
// Built by the configuration from what the site wrote and what the catalogue ships, then never
// changed: a `struct registry` is owned by its configuration and is read by any thread that holds a
// reference to that configuration. Only a credential's password may change (its file is read again), under its own
// lock.

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/base/host.h"
#include "mirrors/oci/name.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/// A user name and a password that lives in a file of its own.
struct credential {
    char *name; ///< The key under "credentials"; in logs and messages.
    char *username;
    char *password_file;  ///< Absolute.
    pthread_mutex_t lock; ///< Guards what follows.
    char *password;
    struct timespec mtime; ///< Of the file when it was read.
};

/// One place where a registry is reached.
struct endpoint {
    char *base;         ///< "https://host[:port]" without a trailing slash.
    char *path;         ///< "" or "hub-proxy" (no slashes at the ends): stands before the repository after /v2/.
    bool plain;         ///< http.
    struct hostport at; ///< Port always set.
    char *ca;           ///< PEM file beside the system's trust, or NULL: the registry's `ca` is already merged in.
    struct credential *credential; ///< Named for this endpoint, or NULL.
    bool own_host;                 ///< On the registry's own hosts: the registry's credentials may go there.
};

/// `"credentials": [ { "for": [patterns], "use": name } ]`; a plain string is one entry for "**".
struct credential_use {
    char **repositories; ///< Repository patterns as in rules, without registry.
    size_t count;
    struct credential *credential;
};

struct registry {
    char *name; ///< Canonical, or a wildcard ("*", "*.azurecr.io").
    bool wildcard;
    bool catalogued;            ///< Something came from the catalogue.
    struct endpoint *endpoints; ///< Tried in order; empty for a wildcard without endpoints: https://NAME as asked.
    size_t endpoint_count;
    char **realm_hosts; ///< Host patterns, beside each endpoint's own host.
    size_t realm_host_count;
    char **redirect_hosts;
    size_t redirect_host_count;
    char **shared_hosts; ///< Those of the catalogue's hosts that its vendor shares with strangers; shown by explain.
    size_t shared_host_count;
    char **home_hosts; ///< Where the registry itself is, as the catalogue says, whatever the endpoints are.
    size_t home_host_count;
    char **external_urls; ///< Hosts permitted in `urls` of descriptors.
    size_t external_url_count;
    struct cidr *private_addresses;
    size_t private_address_count;
    char *ca; ///< PEM file or NULL.
    struct credential_use *credentials;
    size_t credential_count;
    char *proxy;    ///< URL of the corporate proxy, or NULL: none; resolved from configuration or environment.
    char *no_proxy; ///< libcurl's CURLOPT_NOPROXY form, or NULL.
    char **aliases; ///< Other host names that lead clients here (takeover), canonical.
    size_t alias_count;
    char **resolve; ///< Addresses of the endpoints' hosts, in place of what the resolver says; literals.
    size_t resolve_count;
    unsigned tag_ttl_s; ///< UINT_MAX: the store's.
    bool offline;       ///< Never asked: what is kept is all there is.
};

/// A credential without its password yet; the texts are copied.
struct credential *credential_new(const char *name, const char *username, const char *password_file);

/// The credential that the registry's own configuration names for `repository`; NULL: anonymous.
struct credential *registry_credential(const struct registry *r, const char *repository);

/// Read the password file again if it changed (or `force`). Refuses a file that others can read or change, that is no
/// regular file, is empty, or is over 64 KiB; the password that was there before stays then. The password is kept
/// without its trailing newlines.
bool credential_load(struct credential *c, bool force, struct err *err);

/// A copy of the current password that the caller wipes and frees; NULL if it could never be read.
char *credential_password(struct credential *c);

/// Frees everything but the credentials, which the configuration owns.
void registry_free(struct registry *r);
void credential_free(struct credential *c);
