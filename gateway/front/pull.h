// SPDX-License-Identifier: Apache-2.0
//
// Deciding a request, and manifests.

#pragma once

#include "gateway/front/exchange.h"

void pull_start(struct exchange *ex);
