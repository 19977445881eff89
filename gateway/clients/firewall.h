// SPDX-License-Identifier: Apache-2.0
//
// What the firewall's plan shares with WSL's: who may be reached, and the script for Windows. One thread.

#pragma once

#include "gateway/clients/plan.h"
#include "gateway/clients/reach.h"
#include "gateway/clients/site.h"

#include "mirrors/base/err.h"

/// Where the script is left on the machine that made it; it is for a Windows one.
#define FIREWALL_WINDOWS "/etc/pullgate/windows/pullgate-firewall.ps1"

struct firewall_reach {
    struct reach gateway; ///< The gateway and its proxy.
    struct reach others;  ///< Registries that are reached directly, and what is not asked through the proxy.
};

/// Looks the site's names up. `address` is the gateway's, or NULL: it is looked up too. False when it has none.
bool firewall_reach(const struct client_site *site, const char *address, struct firewall_reach *out, struct err *err);
void firewall_reach_deinit(struct firewall_reach *reach);

/// What these rules do not cover, in any system.
void firewall_tell(const struct firewall_reach *reach, struct client_plan *plan);

/// The PowerShell script: fresh memory.
char *firewall_windows(const struct client_site *site, const struct firewall_reach *reach);
