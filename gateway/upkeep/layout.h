// SPDX-License-Identifier: Apache-2.0
//
// OCI image layouts in a tar (what skopeo calls oci-archive): names, and the two annotations by which images find home.
//
// Inside of gateway/upkeep/.

#pragma once

#include "gateway/upkeep/inside.h"

enum {
    LAYOUT_INDEX_MAX = 4 * 1024 * 1024,
    LAYOUT_DEPTH_MAX = 4,
    LAYOUT_ENTRIES_MAX = 100000,
    LAYOUT_PIECE = 256 * 1024
};

static const char layout_version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
static const char layout_tag_key[] = "org.opencontainers.image.ref.name";
static const char layout_name_key[] =
    "io.containerd.image.name"; ///< registry/repository:tag, as containerd's tools say it.

/// "blobs/sha256/HEX" for a digest; `out` has DIGEST_TEXT_MAX + 16 bytes.
void layout_path(const char *digest, char *out);

/// The digest of such a path; false for any other.
bool layout_digest(const char *path, char *out);
