// SPDX-License-Identifier: Apache-2.0
//
// All machines and how they stand, for whoever runs the gateway: those that reported, and those that the site expects
// and that never did. Any thread.

#pragma once

#include "gateway/compliance/reports.h"
#include "gateway/config/config.h"
#include "mirrors/base/buf.h"

enum { LISTING_FORMAT = 1, LISTING_TEXT_MAX = 160 * 1024 * 1024, LISTING_NAME_MAX = 1024 };

struct listing_filter {
    enum compliance status; ///< COMPLIANCE_COUNT: any.
    const char *name;       ///< Or NULL: any.
    bool findings;          ///< With what was found.
};

/// Read `status=`, `name=` and `findings=yes` out of a query (without '?'). `name` (LISTING_NAME_MAX + 1 bytes) holds
/// what the filter points to.
bool listing_filter_parse(const char *query, size_t len, struct listing_filter *out, char *name, struct err *err);

/// One JSON object; false: it did not fit.
bool listing_write(struct reports *r, const struct config *c, const struct listing_filter *filter, int64_t now,
                   struct buf *out);

/// How many machines have each status.
void listing_count(struct reports *r, const struct config *c, int64_t now, uint64_t counts[COMPLIANCE_COUNT]);
