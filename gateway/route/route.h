// SPDX-License-Identifier: Apache-2.0
//
// From a request target to what is asked for.
//
// One pure function knows every form in which clients address a mirror, and refuses everything else: no I/O, no
// clock, no globals. Any thread; fuzzed.
//
//   GET /v2/library/alpine/manifests/3.20?ns=docker.io        containerd, BuildKit, Docker's containerd store
//   GET /v2/library/alpine/manifests/3.20                     dockerd's registry-mirrors: the default registry
//   GET /v2/ghcr.io/org/app/manifests/1                       podman, CRI-O, skopeo, people
//   GET /ghcr.io/v2/org/app/manifests/1                       dockerd 29 with a path in its mirror's URL
//   GET /v2/org/app/manifests/1, on a registry's own name     any client that is led here by DNS or a proxy (takeover)
//   GET /pullgate/v1/site, POST /pullgate/v1/report           pullgate itself, on a client machine

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/oci/name.h"
#include "mirrors/oci/range.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    ROUTE_TARGET_MAX = 8192,
    ROUTE_LIST_LAST_MAX = TAG_MAX,
    ROUTE_LIST_N_MAX = 10000,
    ROUTE_ARTIFACT_TYPE_MAX = 255
};

enum route_kind {
    ROUTE_REFUSED, ///< `status`, `code` and `err` say why.
    ROUTE_BASE,    ///< GET /v2/
    ROUTE_MANIFEST,
    ROUTE_BLOB,
    ROUTE_TAGS,
    ROUTE_REFERRERS,
    ROUTE_UPLOAD,  ///< Any of the blob upload requests: a push.
    ROUTE_TOKEN,   ///< GET or POST /token, where tokens are given.
    ROUTE_SITE,    ///< GET or HEAD /pullgate/v1/site: what clients are to know of this site.
    ROUTE_REPORT,  ///< POST /pullgate/v1/report: what a machine found about itself.
    ROUTE_CONNECT, ///< A request as a proxy gets them. Never produced by route_parse().
    ROUTE_HEALTH   ///< Reserved for the admin listener; never produced on a client listener.
};

enum route_form {
    FORM_NS,           ///< ?ns=
    FORM_ROOT,         ///< The listener's default registry.
    FORM_PREFIX,       ///< Registry as first component after /v2/.
    FORM_OUTER_PREFIX, ///< Registry before /v2/.
    FORM_OWN,          ///< /pullgate/v1/: what the gateway is asked for itself.
    FORM_NAME,         ///< The server's name is the registry's own.
    FORM_CONNECT       ///< CONNECT, or a whole URL as to a proxy. Never produced by route_parse().
};

enum route_method { METHOD_GET, METHOD_HEAD, METHOD_PUT, METHOD_POST, METHOD_PATCH, METHOD_DELETE, METHOD_OTHER };

struct route {
    enum route_kind kind;
    enum route_form form;
    enum route_method method;
    bool ns_given;   ///< ?ns= was in the query (also with a prefix that agreed): the answer carries OCI-Namespace.
    bool at_default; ///< The registry is the listener's default registry, unnamed in the path (FORM_ROOT).
    char registry[REGISTRY_MAX + 1];     ///< Canonical.
    char repository[REPOSITORY_MAX + 1]; ///< Canonical.
    char asked[REPOSITORY_MAX + REGISTRY_MAX +
               2]; ///< The path between /v2/ and /manifests etc. as the client wrote it: for Link rewriting.
    char outer[REGISTRY_MAX + 1];       ///< FORM_OUTER_PREFIX: what stood before /v2 as written (no slashes), else "".
    char ns[REGISTRY_MAX + 1];          ///< As the client wrote it, decoded; "" without. For OCI-Namespace and Link.
    char tag[TAG_MAX + 1];              ///< ROUTE_MANIFEST by tag, else "".
    char digest[DIGEST_TEXT_MAX + 1];   ///< ROUTE_MANIFEST by digest, ROUTE_BLOB, ROUTE_REFERRERS (the subject).
    long n;                             ///< ROUTE_TAGS: ?n=, -1 without. At most ROUTE_LIST_N_MAX (greater is lowered).
    char last[ROUTE_LIST_LAST_MAX + 1]; ///< ROUTE_TAGS: ?last=.
    char artifact_type[ROUTE_ARTIFACT_TYPE_MAX + 1]; ///< ROUTE_REFERRERS: ?artifactType=.
    bool pull, push, erase; ///< What it is, for policy: reading, writing (PUT manifest, uploads), DELETE.

    int status;        ///< ROUTE_REFUSED: 400, 403, 404, 405.
    const char *code;  ///< ROUTE_REFUSED: the OCI error code (NAME_INVALID, DIGEST_INVALID, UNSUPPORTED, DENIED, ...).
    const char *allow; ///< ROUTE_REFUSED with 405: the Allow header, else NULL.
    struct err err;    ///< ROUTE_REFUSED: the sentence.
};

/// What the route depends on beside the request.
struct route_context {
    const char *default_registry; ///< Canonical.
    /// Is this canonical name a configured registry? (`ns` with a prefix that is another configured registry is 400.)
    bool (*configured)(void *ctx, const char *registry);
    void *ctx;
    /// The canonical registry to which the server's name belongs (takeover): the one that is asked for, whatever the
    /// path says. NULL: the gateway's own name.
    const char *taken_over;
    bool realm;  ///< The name is only that of `taken_over`'s token server: nothing but tokens can be had here.
    bool tokens; ///< The gateway gives tokens of its own at /token.
};

/// Route one request. `method` and `target` are as received (target: path and query, raw, not NUL-terminated).
/// An `ns=` parameter with any other registry than docker.io's names is never the default registry. On a taken-over
/// name everything but /v2/ (and /token) is a denial. `out` is filled whole. Never fails: what is not understood is
/// ROUTE_REFUSED with everything that an answer needs.
void route_parse(const struct route_context *ctx, const char *method, size_t method_len, const char *target,
                 size_t target_len, struct route *out);
