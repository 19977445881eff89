// SPDX-License-Identifier: Apache-2.0
//
// The authority that a configuration names, and the certificates that it issued: counted by reference, as listeners of
// an old configuration may outlive a reload. Any thread.

#pragma once

#include "certs/leaves.h"
#include "gateway/config/config.h"

struct signer;

/// The site's own authority, or the gateway's (made at the first start). `old` (may be NULL) is kept, with what it has
/// issued, where the authority is the same. NULL and `err`: it cannot be used.
struct signer *signer_open(const struct config *config, struct signer *old, struct err *err);

struct signer *signer_ref(struct signer *i);
void signer_unref(struct signer *i); ///< NULL is allowed.

struct leaves *signer_leaves(struct signer *i);
