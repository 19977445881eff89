// SPDX-License-Identifier: Apache-2.0
//
// The proxy environment of a daemon: from its systemd unit and drop-ins, and from the running process where it may be
// read. One thread; the parsers are pure.

#pragma once

#include "gateway/doctor/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct daemon_env {
    char *http, *https, *no; ///< Proxy URLs and exceptions; NULL: not set.
    char *from;              ///< The file that said so last, or "the process"; NULL: nobody.
    const char *prefix;      ///< Set by the caller: names with it count too ("CONTAINERD_", for k3s); NULL: none.
};

/// A unit or drop-in: `Environment=` and `EnvironmentFile=` lines of [Service]. `files` gets the latter.
void daemon_env_unit(const char *text, size_t len, const char *from, struct daemon_env *env, struct names *files);

/// An EnvironmentFile: NAME=value lines, "export" before them ignored.
void daemon_env_file(const char *text, size_t len, const char *from, struct daemon_env *env);

/// The environment of a process: NAME=value, each ended by a NUL.
void daemon_env_process(const char *text, size_t len, struct daemon_env *env);

/// What systemd will start the unit ("docker.service") with: its file, and its drop-ins in the order of their names.
/// `unreadable` gets files that may not be read.
void daemon_env_of_unit(const char *root, const char *unit, struct daemon_env *env, struct names *unreadable);

void daemon_env_deinit(struct daemon_env *env);
