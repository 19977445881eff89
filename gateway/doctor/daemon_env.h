// SPDX-License-Identifier: Apache-2.0
//
// The proxy environment of a daemon, and its command line: from its systemd unit and drop-ins, and from the running
// process where it may be read. One thread; the parsers are pure.

#pragma once

#include "gateway/doctor/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct daemon_env {
    char *http, *https, *no; ///< Proxy URLs and exceptions; NULL: not set.
    char *from;              ///< The file that said so last, or "the process"; NULL: nobody.
    const char *prefix;      ///< Set by the caller: names with it count too ("CONTAINERD_", for k3s); NULL: none.
    bool small[3];           ///< http, https, no: set by a name in small letters, over which one in capitals wins.
    struct names start;      ///< The words of the last `ExecStart=`, as written.
    struct names assigned;   ///< Every NAME=value, which those may mean by $NAME.
    struct names taken_away; ///< `UnsetEnvironment=`: NAME, or NAME=value.
};

/// A unit or drop-in: the lines of [Service] that set the environment and start the daemon. `files` gets what
/// `EnvironmentFile=` names.
void daemon_env_unit(const char *text, size_t len, const char *from, struct daemon_env *env, struct names *files);

/// An EnvironmentFile: NAME=value lines, "export" before them ignored.
void daemon_env_file(const char *text, size_t len, const char *from, struct daemon_env *env);

/// The environment of a process: NAME=value, each ended by a NUL.
void daemon_env_process(const char *text, size_t len, struct daemon_env *env);

/// What systemd will start the unit ("docker.service") with: its file, and its drop-ins in the order of their names.
/// `unreadable` gets files that may not be read.
void daemon_env_of_unit(const char *root, const char *unit, struct daemon_env *env, struct names *unreadable);

/// What a variable was set to last; NULL: it was not.
const char *daemon_env_value(const struct daemon_env *env, const char *name);

/// The command line, with $NAME in it replaced.
void daemon_env_words(const struct daemon_env *env, struct names *words);

void daemon_env_deinit(struct daemon_env *env);

/// The value of "--NAME VALUE" or "--NAME=VALUE" at `at`; NULL: it is another option.
const char *option_value(const struct names *words, size_t at, const char *option);

/// Of the last of these options; NULL: there is none.
const char *option_last(const struct names *words, const char *option);
