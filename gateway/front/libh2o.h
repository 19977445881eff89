// SPDX-License-Identifier: Apache-2.0
//
// libh2o's header, which is not clean under -Wshadow and -Wconversion.

#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <h2o.h>
#include <h2o/http1.h>
#pragma GCC diagnostic pop
