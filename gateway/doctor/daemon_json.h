// SPDX-License-Identifier: Apache-2.0
//
// Docker Engine's daemon.json: what of it decides where images come from. Pure; any thread.

#pragma once

#include "gateway/doctor/names.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum daemon_store {
    STORE_UNSAID,
    STORE_CONTAINERD, ///< "features": { "containerd-snapshotter": true }
    STORE_CLASSIC     ///< ... false
};

struct daemon_json {
    bool usable;    ///< Else dockerd does not start with it.
    struct err why; ///< Where it is not.
    struct names mirrors, insecure;
    bool has_proxies;                          ///< There is a "proxies" at all: Docker Engine 23 and newer only.
    char *http_proxy, *https_proxy, *no_proxy; ///< Or NULL.
    enum daemon_store store;
    char *driver;    ///< "storage-driver"; the name of one of the classic store's chooses that store. Or NULL.
    char *data_root; ///< Or NULL.
};

void daemon_json_read(const char *text, size_t len, struct daemon_json *out);
void daemon_json_deinit(struct daemon_json *d);
