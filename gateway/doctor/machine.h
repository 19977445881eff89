// SPDX-License-Identifier: Apache-2.0
//
// Which container clients this machine (or the image of one, below a root) has, their versions, whose homes there are,
// and which of their daemons run. Programs are run (`X --version`, bounded) only on the machine itself. One thread.

#pragma once

#include "gateway/doctor/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { MACHINE_OTHERS_MAX = 20, MACHINE_HOMES_MAX = 200, MACHINE_ID_HEX = 16, VERSION_SECONDS_MAX = 5 };

struct machine_pids {
    pid_t *at;
    size_t count;
};

struct machine_client {
    const char *name;           ///< As `pullgate client` names it, or of a tool that it cannot configure ("crane").
    char *program;              ///< "/usr/bin/dockerd"; NULL: only its configuration is there.
    char *version;              ///< NULL: not known.
    unsigned major;             ///< Of the version; 0: not known.
    pid_t pid;                  ///< Of root's running daemon, the first that was started; 0: none, or not looked for.
    bool rootless;              ///< Somebody else's runs.
    int64_t started;            ///< When that was started, Unix milliseconds; 0: not known.
    struct machine_pids others; ///< Further ones of root's, started later.
};

struct machine {
    char *name;
    char id_hash[MACHINE_ID_HEX + 1]; ///< "" where there is no /etc/machine-id.
    struct machine_client *clients;
    size_t count;
    struct names homes;
    struct names closed_homes; ///< In which something may not be looked at, or that are too many.
};

/// `root` "" is the machine itself. `named`: only these clients, whether they are found or not; empty: all that are.
void machine_look(const char *root, const struct names *named, struct machine *m);
const struct machine_client *machine_client(const struct machine *m, const char *name);
void machine_deinit(struct machine *m);

/// Is its version known, and this or a later one?
bool machine_at_least(const struct machine_client *c, unsigned major, unsigned minor);

/// The first thing that looks like a version in what a program said ("Docker version 20.10.24+dfsg1, build 297e128"),
/// as fresh memory; NULL: there is none.
char *version_in(const char *said);

/// Is this a name that machine_look() can look for?
bool machine_knows(const char *name);
