// SPDX-License-Identifier: Apache-2.0
//
// What the tests of client configuration share: a folder that stands for a machine, a site, and one run of a plan.

#pragma once

#include "gateway/clients/clients.h"

typedef bool (*plan_fn)(const struct client_site *, const struct client_options *, struct client_plan *, struct err *);

/// A fresh empty folder, freed and emptied by kit_drop().
char *kit_root(void);
void kit_drop(char *root);

/// Write a file below it, folders made; text NULL: only an empty folder of that name.
void kit_put(const char *root, const char *path, const char *text);
/// Its text, "" where there is none; freed by the caller.
char *kit_get(const char *root, const char *path);
bool kit_is(const char *root, const char *path);

/// Names below the root that hold this word.
size_t kit_count(const char *root, const char *word);

/// gw.test:5443 with CA, proxy, docker.io, ghcr.io and *.azurecr.io, one direct registry; freed with
/// client_site_free(). `own`: certificate and a header too.
struct client_site *kit_site(bool proxy, bool own);

struct kit_run {
    bool ok;
    struct plan_result result;
    char *out; ///< Freed by kit_done().
    struct err err;
};

/// Plan and write. `options` may be NULL; its root and look are set.
struct kit_run kit_write(plan_fn plan, const struct client_site *site, const struct client_options *options,
                         const char *root, bool strict);
/// What is printed for an empty machine; freed by the caller.
char *kit_print(plan_fn plan, const struct client_site *site, const struct client_options *options);
void kit_done(struct kit_run *r);
