// SPDX-License-Identifier: Apache-2.0
//
// Names in OCI image layouts.

#include "gateway/upkeep/layout.h"

#include <stdio.h>
#include <string.h>

static const char blobs[] = "blobs/";

void layout_path(const char *digest, char *out) {
    const char *colon = strchr(digest, ':');
    snprintf(out, DIGEST_TEXT_MAX + 16, "%s%.*s/%s", blobs, (int)(colon - digest), digest, colon + 1);
}

bool layout_digest(const char *path, char *out) {
    enum digest_algorithm algorithm;
    if (strncmp(path, "./", 2) == 0)
        path += 2;
    const char *name = path + strlen(blobs);
    if (strncmp(path, blobs, strlen(blobs)) != 0 || strlen(name) > DIGEST_TEXT_MAX)
        return false;
    snprintf(out, DIGEST_TEXT_MAX + 1, "%s", name);
    char *slash = strchr(out, '/');
    if (slash == NULL)
        return false;
    *slash = ':';
    return digest_check(out, strlen(out), &algorithm) == DIGEST_OK;
}
