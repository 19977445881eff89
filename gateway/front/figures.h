// SPDX-License-Identifier: Apache-2.0
//
// Between the gateway and its metrics: an exchange as it is counted, and what other rooms count, gathered when somebody
// asks. All do nothing where the gateway has no metrics.

#pragma once

#include "gateway/front/exchange.h"
#include "gateway/front/listener.h"
#include "gateway/metrics/metrics.h"

/// A request that has ended, as its line in the log tells it. On its loop.
void figures_exchange(const struct exchange *ex, const struct audit_record *record);

/// A request that libh2o refused by itself.
void figures_early(struct gateway *g, const struct audit_record *record);

/// `c` and `set` are served from now on.
void figures_configured(struct gateway *g, const struct config *c, const struct listener_set *set);

/// Write all metrics (metrics_write()). Any thread, while fetcher, content, store and log are there.
bool figures_write(struct gateway *g, struct buf *b);
