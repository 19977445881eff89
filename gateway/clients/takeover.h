// SPDX-License-Identifier: Apache-2.0
//
// The hosts-file form of a Docker machine: registries' own names lead to the gateway. See docs/takeover.md.

#pragma once

#include "gateway/clients/clients.h"

/// Plan /etc/hosts, the trust in the gateway's authority for those names, and _default for all others. `names` becomes
/// ",ghcr.io,…" (freed by the caller): what must not be asked through a proxy any more. False when the gateway's
/// address is not to be found.
bool plan_takeover(struct client_plan *p, const struct client_site *site, const struct client_options *options,
                   char **names, struct err *err);

/// Without it: what an earlier one put into /etc/hosts goes.
void plan_no_takeover(struct client_plan *p, const struct client_options *options);
