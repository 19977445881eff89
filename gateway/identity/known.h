// SPDX-License-Identifier: Apache-2.0
//
// Making and renewing what is known.

#pragma once

#include "gateway/identity/inside.h"

/// Read everything. `before` (may be NULL): its remote issuers that are the same are taken over with their keys.
struct known *known_new(const struct identity_settings *s, uint64_t generation, const struct known *before,
                        struct err *err);

/// Read what has changed: what the keeper does every second.
void known_renew(struct identities *x);
