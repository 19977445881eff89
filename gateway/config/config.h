// SPDX-License-Identifier: Apache-2.0
//
// The configuration: one JSON file with comments, read strictly.
//
// A `struct config` is immutable once loaded and counted by reference: a request pins the one it began with. An unknown
// key, a wrong type, a key given twice or a contradiction is an error that names the key's path
// ("registries.docker.io.endpoints[0].url") and what was expected; keys that begin with "x-" are ignored everywhere.
// Relative paths count from the file that says them.

#pragma once

#include "certs/peer.h"
#include "gateway/audit/audit.h"
#include "gateway/denial/denial.h"
#include "gateway/identity/identity.h"
#include "gateway/policy/policy.h"
#include "mirrors/base/err.h"
#include "mirrors/base/host.h"
#include "mirrors/content/content.h"
#include "mirrors/upstream/registry.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONFIG_FILE_MAX = 16 * 1024 * 1024, CONFIG_HASH_HEX = 12, LISTENERS_MAX = 64 };

/// What a listener does with CONNECT.
enum connect_mode {
    CONNECT_OFF,     ///< It is no proxy: answered as any unknown method.
    CONNECT_REFUSE,  ///< Every host is refused with the denial's sentence.
    CONNECT_TAKEOVER ///< Hosts that takeover serves meet the gateway's own TLS inside; others are refused.
};

/// Are clients asked for a certificate?
enum client_certificate { CLIENT_CERTIFICATE_NONE, CLIENT_CERTIFICATE_OPTIONAL, CLIENT_CERTIFICATE_REQUIRED };

/// Do we want to know who asks? NONE: Authorization is ignored.
enum identify { IDENTIFY_NONE, IDENTIFY_OPTIONAL, IDENTIFY_REQUIRED };

enum { LISTENER_NAMES_MAX = 64, NAME_FROM_MAX = 4, TRUSTED_PROXIES_MAX = 256 };

struct listener_config {
    char *name;    ///< Default: its address. In logs.
    char *address; ///< As written, canonical: "127.0.0.1:5080", "[::]:5443". The identity of a listener across reloads.
    struct hostport at;
    bool tls;
    bool tls_auto;                 ///< Its certificate is the authority's, for `names` and the address.
    char *certificate, *key;       ///< Absolute paths; NULL with `tls_auto` or without `tls`.
    char *default_registry;        ///< Canonical.
    bool default_registry_written; ///< By the site, for this listener or at the top (check warns when unlisted).
    enum denial_style denials;
    char **names; ///< What clients call it: host names and addresses, canonical, without ports.
    size_t name_count;
    bool takeover; ///< Registries' own names are served (route 4); needs `tls` and an authority.
    enum connect_mode connect;
    bool challenge;                             ///< The unidentified are answered 401 rather than denied.
    char *client_ca, *client_crl;               ///< Absolute paths, or NULL.
    bool crl_expired_accepted;                  ///< "crl_expired": "accept".
    enum client_certificate client_certificate; ///< NONE exactly where `client_ca` is NULL.
    enum peer_name_from name_from[NAME_FROM_MAX];
    size_t name_from_count; ///< At least 1.
    enum identify identify;
    struct cidr *trusted_proxies; ///< From these, X-Forwarded-For is believed.
    size_t trusted_proxy_count;
};

/// Where a registry of the configuration comes from: what `check` needs to speak in the site's own words.
struct registry_origin {
    char *key;    ///< As the site wrote it ("index.docker.io", "*").
    bool implied; ///< From the catalogue: the wildcard in `key` covers it.
    bool opened;  ///< A rule, or the want of rules, lets anyone pull from it.
};

struct limits_config {
    size_t max_connections;      ///< 0: derived from RLIMIT_NOFILE.
    unsigned idle_timeout_s;     ///< Keep-alive; 75.
    unsigned send_timeout_s;     ///< No progress on a send; 60.
    unsigned head_timeout_s;     ///< A request head; 10.
    unsigned upstream_timeout_s; ///< To headers, all of token, endpoints and hops; 25.
    unsigned connect_timeout_s;  ///< One connect; 5.
    unsigned shutdown_grace_s;   ///< 30.
    unsigned threads;            ///< Front loops and fetch threads each; 0: one a core.
    size_t transfer_window;      ///< Bytes of a blob in memory per transfer; 1 MiB.
};

/// "store": what is kept. null: nothing is.
struct store_config {
    bool enabled;
    char *directory;            ///< Absolute; NULL unless enabled.
    uint64_t max_size;          ///< Bytes on the disk.
    unsigned min_free;          ///< Percent of the file system.
    struct content_terms terms; ///< For every registry: see config_terms().
    struct pattern *keep;       ///< What is never evicted; without digests.
    size_t keep_count;
};

/// "admin": where figures and health are read. null or absent: nowhere.
struct admin_config {
    bool enabled;
    char *address; ///< Canonical, as a listener's; NULL unless enabled.
    struct hostport at;
};

struct text_list {
    char **texts;
    size_t count;
};

struct client_site; // gateway/clients/site.h

/// "clients": what client machines are told of this site.
struct clients_config {
    char *gateway;           ///< Canonical URL, or NULL: from the listeners, see config_site().
    char *proxy;             ///< The same for the proxy that refuses CONNECT...
    bool no_proxy_listener;  ///< ... and null: clients are told of none, whatever the listeners do.
    struct text_list direct; ///< Canonical registries that clients are to reach themselves.
    struct text_list no_proxy;
    bool takeover; ///< Clients meet the gateway under the registries' own names.
};

/// "compliance": how the reports of machines are judged.
struct compliance_config {
    unsigned outdated_after_s;
    unsigned forget_after_s;   ///< Who has not reported for so long is no longer listed.
    struct text_list expected; ///< Machines that are to report; sorted, each once.
};

/// A host name that takeover serves, see config_taken_over().
struct taken_name {
    const char *host;   ///< The registry's text.
    char *own;          ///< Where `host` had to be made.
    size_t registry;    ///< Of config.registries.
    unsigned char rank; ///< Lower ones hold: its own name, an alias, an endpoint's host, a realm's.
    bool ambiguous;     ///< Two registries have it with equal right: nobody's.
};

struct config {
    atomic_int refs;
    char *path;                     ///< NULL: built-in defaults.
    char hash[CONFIG_HASH_HEX + 1]; ///< Of the file's bytes.
    struct listener_config *listeners;
    size_t listener_count;
    char *default_registry; ///< Canonical.
    bool monitor;           ///< "mode": "monitor".
    char *message;          ///< Or NULL.
    struct credential **credentials;
    size_t credential_count;
    struct registry **registries;             ///< Sorted: exact names by name, then wildcards, the most specific first.
    struct registry_origin *registry_origins; ///< Parallel to `registries`.
    size_t registry_count;
    struct taken_name *taken; ///< Sorted by host, each once.
    size_t taken_count;
    size_t exact_registry_count; ///< How many of them, at the front, are exact.
    struct policy *policy;
    bool rules_written;
    struct limits_config limits;
    bool proxy_written; ///< The proxy comes from the file, else (where there is one) from the environment.
    char *log_file;     ///< NULL: standard output.
    enum audit_on_full log_on_full;
    struct store_config store;
    struct admin_config admin;
    char *state_directory;             ///< Absolute; NULL: no fitting place is known, and nothing needs one.
    bool ca_name_constraints;          ///< An authority that is made is good for ca_names() only.
    char *ca_certificate, *ca_key;     ///< A site's own authority, absolute; both or neither.
    struct identity_settings identity; ///< Its texts are owned by the configuration.
    bool identity_written;             ///< "identity" is in the file.
    struct clients_config clients;
    char *site; ///< What clients are told (clients/site.h), as JSON; NULL: it is not known where the gateway is.
    size_t site_len;
    char site_hash[CONFIG_HASH_HEX + 1]; ///< client_site_hash(), "" without `site`.
    struct compliance_config compliance;
    char *gateway_name; ///< For the log; default: the host name.
    char *control;      ///< Unix socket for `pullgate reload`, or NULL.
};

/// Read a file, or the built-in defaults for NULL: 127.0.0.1:5080, docker.io allowed. `catalog_dirs` (NULL-terminated)
/// are searched for the catalogue, later ones win; NULL: the default search (see catalog.h). The caller holds one
/// reference.
struct config *config_load(const char *path, const char *const *catalog_dirs, struct err *err);

/// The same from memory, for tests and fuzzing; `dir` resolves relative paths, files are not opened when `dir` is NULL.
struct config *config_parse(const char *text, size_t len, const char *dir, const char *const *catalog_dirs,
                            struct err *err);

struct config *config_ref(struct config *c);
void config_unref(struct config *c);

/// It as the owner of its registries, for fetches.
struct fetch_owner config_owner(struct config *c);

/// The registry that covers this canonical name: exact, else the most specific wildcard; NULL: not listed. The
/// canary (policy/canary.h) is listed nowhere, under "*" neither.
const struct registry *config_registry(const struct config *c, const char *name);

/// For how long what is kept of `registry` holds: the store's terms with what the registry says for itself. Without a
/// store these are the defaults.
void config_terms(const struct config *c, const struct registry *registry, struct content_terms *out);

/// Does a pattern of "store.keep" cover this? `tag` NULL or "": no tag is named, and a pattern with one does not cover
/// it.
bool config_store_keeps(const struct config *c, const char *registry, const char *repository, const char *tag);

/// The registry to whose own name, endpoints' host, alias or (with `realm`) realm host this canonical host name
/// belongs: what takeover may serve. `realm` (may be NULL) is told whether it is only a realm's. Address literals and
/// names of redirect hosts belong to none.
const struct registry *config_taken_over(const struct config *c, const char *host, bool *realm);

/// Does anything in the configuration need the authority?
bool config_needs_authority(const struct config *c);

/// Is identity settings' state used: does any listener identify?
bool config_identifies(const struct config *c);

/// Every name for which the authority is to issue: listeners' names and addresses and, where a listener takes over,
/// the names of registries. The caller frees the texts and the list; `*count` of them, sorted, each once.
char **config_authority_names(const struct config *c, size_t *count);

/// From the gateway's configuration: its "clients", its registries, the first listener with TLS and a name if "clients"
/// has no "gateway". NULL with a sentence in `err`.
struct client_site *config_site(const struct config *c, struct err *err);

/// Everything `check` warns about: the policy's lint, registries under which anyone can open one, registries with
/// credentials open to anyone, credentials that never go anywhere, an unlisted default registry, monitor mode, no
/// rules, endpoints that the address guard refuses, a proxy that takes over that guard, a small store, terms
/// and patterns of it that do nothing, an admin address that others reach, certificates that end soon.
void config_lint(const struct config *c, int64_t now, void (*warn)(void *ctx, const char *path, const char *sentence),
                 void *ctx);

/// The certificates and keys of every listener, as certs_server_check() judges them; `err` names the key. `warn` (may
/// be NULL) hears of those that end soon.
bool config_check_certificates(const struct config *c, int64_t now,
                               void (*warn)(void *ctx, const char *path, const char *sentence), void *ctx,
                               struct err *err);

/// Every key that the parser knows, sorted, as dotted paths ("registries{}.endpoints[].url"): `[]` stands for each
/// member of a list, `{}` for each name of a map. The list is built once and never freed.
const char *const *config_keys(size_t *count);

/// May a reload go from `before` to `after`? Refused are changes of what only a restart can change; `err` names the
/// keys.
bool config_reloadable(const struct config *before, const struct config *after, struct err *err);
