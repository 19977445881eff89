// SPDX-License-Identifier: Apache-2.0
//
// The clock of all deadlines. Any thread.

#pragma once

#include <stdint.h>

/// Monotonic milliseconds: steps of the wall clock do not show.
int64_t clock_ms(void);
