// SPDX-License-Identifier: Apache-2.0
//
// Names of host directories in a certs.d folder. containerd looks for "host_5000_", then "host:5000", then "_default",
// and takes the first that exists, even an empty one. Pure; any thread.

#pragma once

#include <stdbool.h>
#include <stddef.h>

/// The registry that a directory's name stands for: "host_5000_" is "host:5000". Fresh memory.
char *hosts_dir_registry(const char *name);

/// Is this what a tool (ours too) put aside, or a hidden one? No registry has such a name.
bool hosts_dir_is_aside(const char *name);
