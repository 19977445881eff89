// SPDX-License-Identifier: Apache-2.0
//
// What the gateway says and hears for itself, beside the registries: the description of its site, and the reports of
// machines. On the exchange's loop.

#pragma once

#include "gateway/front/exchange.h"

/// GET /pullgate/v1/site. Whoever asks is known, as far as the listener demands it.
void site_start(struct exchange *ex);

/// POST /pullgate/v1/report.
void report_start(struct exchange *ex);
