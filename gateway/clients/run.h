// SPDX-License-Identifier: Apache-2.0
//
// Running another program for what it says, bounded in time and in length. Blocks; for commands only.

#pragma once

#include "mirrors/base/buf.h"

/// Run a program without a shell, standard input from /dev/null, and collect at most `max` bytes of what it says on
/// both outputs. `env` (may be NULL) are further NAME=value. The exit status; -1: it could not be run; -2: it was
/// stopped at the limit. Children that it leaves behind in its process group end with it.
int program_run(const char *const *argv, const char *const *env, unsigned seconds, struct buf *out);
