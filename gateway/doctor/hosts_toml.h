// SPDX-License-Identifier: Apache-2.0
//
// A hosts.toml as containerd reads it: which hosts are asked, in which order, and whether the registry itself is among
// them.
//
// containerd never refuses to work because of a file that it does not understand: it logs a line and goes to the
// registry itself. So nothing here is an error; a file that is ignored says why. Two readers differ: containerd 1.x
// wants a `[host]` table, and orders hosts by their lines; containerd 2.x and Docker Engine 29 take a file without one,
// and see only hosts that have a header of their own; 2.2 came to know one capability more. Pure; any thread.

#pragma once

#include "gateway/doctor/names.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum hosts_reader { HOSTS_CONTAINERD_1, HOSTS_CONTAINERD_2, HOSTS_CONTAINERD_2_2 };

enum hosts_problem {
    HOSTS_FINE,
    HOSTS_EMPTY,              ///< No byte in it: as if it were not there.
    HOSTS_UNPARSABLE,         ///< No TOML.
    HOSTS_NO_HOST_TABLE,      ///< 1.x only: there must be a `[host]`.
    HOSTS_WRONG_TYPE,         ///< `capabilities = "pull"`.
    HOSTS_UNKNOWN_CAPABILITY, ///< `capabilities = ["pul"]`.
    HOSTS_BAD_URL             ///< A server or host that is no URL.
};

enum { HOSTS_PULL = 1, HOSTS_RESOLVE = 2, HOSTS_PUSH = 4, HOSTS_ALL = 7 };

struct hosts_entry {
    bool itself;           ///< The registry itself, whichever is asked for; nothing below but what belongs to it.
    char *host;            ///< host[:port] as written.
    bool plain;            ///< http.
    char *path;            ///< What stands before /<name>/manifests: "/v2".
    unsigned capabilities; ///< Of HOSTS_*.
    bool skip_verify;
    struct names ca;   ///< Files; relative ones below the folder of the hosts.toml.
    struct names keys; ///< Client certificates and keys, in pairs; a key may be "": it is in the certificate's file.
    size_t headers;
    unsigned line; ///< Of its header, 0 for `server`.
};

struct hosts_file {
    enum hosts_problem problem; ///< Not HOSTS_FINE: the file is ignored and only the registry itself is asked.
    struct err why;             ///< In words, where there is a problem.
    bool has_server;
    struct hosts_entry *entries; ///< In the order in which they are asked.
    size_t count;
    struct names unknown; ///< Keys that the reader ignores ("sever", line 3).
    struct names unseen;  ///< Hosts that the file names and this reader does not see (inline tables, in 2.x).
};

/// `folder` is where relative file names begin.
void hosts_read(enum hosts_reader reader, const char *text, size_t len, const char *folder, struct hosts_file *out);
void hosts_deinit(struct hosts_file *f);

/// The host of "https://HOST:PORT/path", "HOST" and the like, split as the client does; false: it is no URL.
bool hosts_split(const char *server, bool *plain, char **host, char **path);
