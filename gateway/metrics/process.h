// SPDX-License-Identifier: Apache-2.0
//
// What the kernel counts of this process, under the names that all exporters use. Any thread; reads /proc. What cannot
// be read is left out.

#pragma once

#include "mirrors/base/buf.h"

void process_write(struct buf *b);
