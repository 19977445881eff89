// SPDX-License-Identifier: Apache-2.0
//
// The names of the OCI distribution specification: registry, repository, tag, reference.
//
// The canonical form is what every comparison in pullgate uses: registry hosts in lower case without
// the default port (:443), `index.docker.io` and `registry-1.docker.io` as `docker.io`, and `library/`
// before one-component Docker Hub repositories. Pure functions; any thread.

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/base/host.h"
#include "mirrors/oci/digest.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    REGISTRY_MAX = HOSTPORT_TEXT_MAX,
    REPOSITORY_MAX = 255,
    TAG_MAX = 128,
    IMAGE_TEXT_MAX = REGISTRY_MAX + 1 + REPOSITORY_MAX + 1 + TAG_MAX + 1 + DIGEST_TEXT_MAX
};

/// What a person means by one image. Unused parts are "".
struct image_name {
    char registry[REGISTRY_MAX + 1]; ///< Canonical.
    char repository[REPOSITORY_MAX + 1];
    char tag[TAG_MAX + 1];
    char digest[DIGEST_TEXT_MAX + 1]; ///< "sha256:..." or "".
};

/// Canonical registry from what a client or person wrote; `out` has REGISTRY_MAX + 1 bytes. Refused:
/// whatever hostport_parse() refuses.
bool name_registry(const char *s, size_t len, char *out, struct err *err);

/// Does this first path component name a registry (Docker's rule: it has '.' or ':', or is
/// "localhost", case aside)?
bool name_looks_like_registry(const char *s, size_t len);

/// A repository per the specification: [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* components joined by '/', at most
/// REPOSITORY_MAX bytes.
bool name_repository_valid(const char *s, size_t len);

/// Canonical repository for that (canonical) registry: `library/` for one-component Docker Hub names.
/// `out` has REPOSITORY_MAX + 1 bytes; false when it would not fit.
bool name_repository(const char *registry, const char *s, size_t len, char *out);

/// [A-Za-z0-9_][A-Za-z0-9._-]{0,127}
bool name_tag_valid(const char *s, size_t len);

/// If `tag` is sha256-HEX, with or without .sig, .att, .sbom (cosign's and OCI's referrers tags), the
/// digest it refers to; `out` has DIGEST_TEXT_MAX + 1 bytes.
bool name_tag_subject(const char *tag, char *out);

/// Parse an image as a person writes it ("alpine", "ghcr.io/org/app:1", "app@sha256:..", tag and digest
/// together are fine). A first component that does not look like a registry belongs to
/// `default_registry`. Without tag and digest both stay "" (callers that mean "latest" say so).
bool name_parse(const char *text, const char *default_registry, struct image_name *out, struct err *err);

/// registry/repository[:tag][@digest] into `out` of IMAGE_TEXT_MAX + 1 bytes. It parses back to the same name unless
/// the registry is a single label without a port: "host:443/app" is "host/app" here, which name_parse() gives to the
/// default registry.
void name_format(const struct image_name *name, char *out);
