// SPDX-License-Identifier: Apache-2.0
//
// What is asked of each registry, counted. Only mirrors/upstream/ includes this; others see it by fetcher_figures().
//
// A bounded table under a lock of its own: names come from clients, where a wildcard lists registries. Nobody who found
// room loses it again, so that counters never go back. Thread-safe.

#pragma once

#include "mirrors/upstream/fetch.h"

struct figures;

struct figures *figures_new(void);
void figures_free(struct figures *f);

/// One request that came to its end.
struct figures_sample {
    int64_t us;
    bool error, limited;
    int ratelimit_remaining; ///< -1: it did not say.
};

void figures_add(struct figures *f, const char *registry, const struct figures_sample *sample);

void figures_each(struct figures *f, void (*visit)(void *ctx, const struct fetch_figures *figures), void *ctx);
