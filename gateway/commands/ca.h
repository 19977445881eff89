// SPDX-License-Identifier: Apache-2.0
//
// What ca.c and ca_trust.c share.

#pragma once

#include "certs/authority.h"
#include "gateway/config/config.h"

bool ca_trust_known(const char *client); ///< "docker", "containerd", "podman", "system".

/// Print (as a shell script) or `write` the files that make this kind of client trust the authority.
bool ca_trust(const struct config *c, const struct authority *a, const char *client, bool write, struct err *err);
