// SPDX-License-Identifier: Apache-2.0
//
// The texts of listings: which tags are shown, where the next page is. Pure; any thread.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { LISTING_QUERY_MAX = 2048, LISTING_LINK_MAX = 4096 };

/// {"name": NAME, "tags": [those of the upstream's that `shown` permits]} into `out`. False: the upstream's answer is
/// no tag list.
bool listing_tags(const char *body, size_t len, const char *name, bool (*shown)(void *ctx, const char *tag), void *ctx,
                  struct buf *out, struct err *err);

/// The query of a request target without its `ns` parameters, as it may be sent upstream; "" when there is none. False:
/// it is too long or has bytes that no query may have.
bool listing_query(const char *target, size_t len, char out[LISTING_QUERY_MAX + 1]);

/// The upstream's Link rewritten to the client's own form: the query of its rel="next" target behind `path` (such as
/// "/v2/ghcr.io/org/app/tags/list"), with `ns` (not NULL: percent-encoded and added). "" in `out` when there is no next
/// page or it is on another host than `upstream` (host[:port]).
void listing_link(const char *link, const char *upstream, const char *path, const char *ns,
                  char out[LISTING_LINK_MAX + 1]);
