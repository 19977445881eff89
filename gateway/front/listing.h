// SPDX-License-Identifier: Apache-2.0
//
// Lists of tags and of referrers.

#pragma once

#include "gateway/front/exchange.h"

void listing_start(struct exchange *ex);
