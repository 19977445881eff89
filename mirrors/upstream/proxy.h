// SPDX-License-Identifier: Apache-2.0
//
// Does the corporate proxy stand between us and this host? Pure; any thread.

#pragma once

#include <stdbool.h>

/// `no_proxy` is a comma-separated list of host names (each covers its subdomains too), addresses and blocks, or
/// "*"; NULL: none. True when `host` is covered by none of them.
bool proxy_applies(const char *no_proxy, const char *host);
