// SPDX-License-Identifier: Apache-2.0
//
// GET and POST /token on a listener that challenges.

#pragma once

#include "gateway/front/exchange.h"

void token_start(struct exchange *ex);
