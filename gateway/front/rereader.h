// SPDX-License-Identifier: Apache-2.0
//
// Certificates, keys and revocation lists that change on the disk: a thread looks at them every ten seconds and has
// them read again. The configuration's own file is not among them: that is read when somebody says so.

#pragma once

#include "gateway/config/config.h"

enum { REREADER_EVERY_S = 10 };

struct rereader;

/// `reread` is called on the rereader's thread when a file has changed; where it returns false (half of a pair is
/// written: what was stays in use) it is called again in ten seconds. `config` says the files.
struct rereader *rereader_new(const struct config *config, bool (*reread)(void *ctx), void *ctx);

/// After a reload: the files of this configuration, as they are now. Any thread, also from inside `reread`.
void rereader_follow(struct rereader *r, const struct config *config);

/// No call is running when this returns. NULL is allowed.
void rereader_free(struct rereader *r);
