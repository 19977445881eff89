// SPDX-License-Identifier: Apache-2.0
//
// Blobs.

#pragma once

#include "gateway/front/exchange.h"

void blob_start(struct exchange *ex);
