// SPDX-License-Identifier: Apache-2.0
//
// Where a request begins.

#pragma once

#include "gateway/front/libh2o.h"

/// The handler that libh2o calls for every request. Always takes it (0).
int request_on(h2o_handler_t *self, h2o_req_t *req);
