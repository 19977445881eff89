// SPDX-License-Identifier: Apache-2.0
//
// Requests that libh2o refuses before the handler sees them: a head it cannot read, a body over the bound.
//
// They get the same form of answer as everything else (an OCI error, an id) and the same line in the log.

#pragma once

#include "gateway/front/loop.h"

/// Watch over what `host` answers by itself.
void early_register(h2o_hostconf_t *host);
