// SPDX-License-Identifier: Apache-2.0
//
// Who is asking: from a client certificate, from what stands in Authorization, or nobody.
//
// An identity is immutable and counted by reference; any thread. Passwords and foreign tokens are never kept, logged or
// passed on. Checking a password, or fetching an issuer's keys, takes time and is done on threads of this room: the
// answer then comes later, on one of them. Every secret is compared in constant time.

#pragma once

#include "certs/peer.h"
#include "gateway/policy/policy.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IDENTITY_CREDENTIAL_MAX = 16 * 1024, ///< Bytes of an Authorization header's value; longer ones are bad.
    IDENTITY_CHECKS_MAX = 64,            ///< Password checks that wait; more are refused for a moment.
    IDENTITY_GROUPS_MAX = 256,           ///< Of one identity; a token with more is refused.
    IDENTITY_REMEMBERED_MAX = 10000,
    IDENTITY_REMEMBERED_S = 300 ///< A good password is not hashed again so soon (a keyed digest of it is kept).
};

enum identity_how { HOW_NOBODY, HOW_CERTIFICATE, HOW_PASSWORD, HOW_TOKEN, HOW_OIDC };

/// For the log: "", "certificate", "password", "token", "oidc".
const char *identity_how_word(enum identity_how how);

struct identity;

struct identity *identity_ref(struct identity *i);
void identity_unref(struct identity *i);             ///< NULL is allowed.
const char *identity_name(const struct identity *i); ///< "user:alice", "cert:ci.example.com".
enum identity_how identity_how(const struct identity *i);
size_t identity_groups(const struct identity *i, const char *const **groups);

/// Whom a verified client certificate names; NULL where it has no usable name.
struct identity *identity_of_peer(const struct peer *p);

// --- what the configuration says ---

struct oidc_settings {
    const char *issuer, *audience;
    const char *jwks; ///< An absolute file, or an https URL.
    const char *ca;   ///< For that URL, beside the system's; or NULL.
    const char *name_claim, *groups_claim;
    const char *proxy, *no_proxy; ///< On the way to that URL; a NULL `proxy`: none, whatever the environment says.
};

struct identity_settings {
    const char *state_directory; ///< NULL: no tokens of our own are given or known.
    const char *htpasswd;        ///< Absolute, or NULL.
    unsigned token_lifetime_s;
    const struct oidc_settings *oidc;
    size_t oidc_count;
    unsigned failures_max;      ///< Failed logins from an address or for a name within `failures_window_s`...
    unsigned failures_window_s; ///< ... before they are slowed down.
};

struct identities;

/// For the life of the process: its threads, what it remembers. `err` names what cannot be used.
struct identities *identities_new(const struct identity_settings *settings, struct err *err);
void identities_free(struct identities *x); ///< Nothing may be in flight. NULL is allowed.

/// A reload: files are read anew; what was remembered of passwords is forgotten. False: nothing has changed.
bool identities_reconfigure(struct identities *x, const struct identity_settings *settings, struct err *err);

/// Who hears, on a thread of this room, of files that changed into something unusable (what was read last holds on) and
/// of issuers that cannot be reached, or can again. To be set before the first check.
void identities_tell(struct identities *x, void (*tell)(void *ctx, const char *sentence), void *ctx);

/// For `check`: can the files be read? Makes and fetches nothing.
bool identity_settings_usable(const struct identity_settings *settings, struct err *err);

// --- checking ---

enum identity_verdict {
    IDENTITY_NOBODY, ///< No credential (or podman's empty one).
    IDENTITY_KNOWN,
    IDENTITY_BAD,   ///< A credential that is not good: never taken for nobody.
    IDENTITY_SLOWED ///< Too many failures: `retry_after_s`.
};

struct identity_answer {
    enum identity_verdict verdict;
    struct identity *identity; ///< IDENTITY_KNOWN: lent.
    struct err plain;          ///< For the client: says nothing about which part was wrong.
    struct err reason;         ///< For the log: "expired token", "unknown user alice", ...; no secrets.
    unsigned retry_after_s;
    /// Known by one of the gateway's own scoped tokens: what it may be used for (else NULL): see token_scope_permits().
    const char *scope;
};

typedef void (*identity_fn)(void *ctx, const struct identity_answer *a);

/// Who is this? `authorization`: the header's value, or NULL. `address`: the client's, as text. The answer comes before
/// this returns or later, once.
void identity_check(struct identities *x, const char *authorization, size_t len, const char *address,
                    identity_fn answer, void *ctx);

/// Does the scope of a token ("repository:org/app:pull ...") cover this? A NULL scope covers everything. `path`: the
/// repository as the client's path has it.
bool token_scope_permits(const char *scope, const char *path, const char *action);

// --- giving tokens: GET and POST /token of the distribution token specification ---

struct token_request {
    const char *authorization; ///< Or NULL.
    size_t authorization_len;
    const char *query; ///< GET: encoded, without '?'; or NULL.
    const char *form;  ///< POST: application/x-www-form-urlencoded; or NULL.
    size_t form_len;
    const char *address;
    struct identity *peer; ///< By certificate, or NULL.
    int64_t peer_ends;     ///< When that certificate ends, which no token for it outlives; 0: it does not say.
    bool anonymous_allowed;
};

struct token_answer {
    int status;       ///< 200, 400, 401, 429, 503.
    const char *body; ///< JSON.
    size_t len;
    unsigned retry_after_s;
    struct err reason; ///< For the log.
    const char *name;  ///< Who it was given to, "" for nobody.
};

typedef void (*token_fn)(void *ctx, const struct token_answer *a);

void identity_token(struct identities *x, const struct token_request *request, token_fn answer, void *ctx);

// --- for commands ---

/// A signed token for a machine: the caller wipes and frees it; NULL and `err`.
char *identity_issue(const char *state_directory, const char *name, const char *const *groups, size_t group_count,
                     int64_t lifetime_s, struct err *err);

/// No token with this id (jti), or of this name issued until now, is good any more.
bool identity_revoke(const char *state_directory, const char *id_or_name, struct err *err);

/// A new signing key; the old one stays good until its tokens have ended.
bool identity_rotate(const char *state_directory, struct err *err);
