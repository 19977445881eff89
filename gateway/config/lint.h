// SPDX-License-Identifier: Apache-2.0
//
// What the files that write check's warnings share. Nobody outside includes it.

#pragma once

#include "gateway/config/config.h"

struct lint {
    const struct config *config;
    int64_t now;
    void (*warn)(void *ctx, const char *path, const char *sentence);
    void *ctx;
};

void lint_warn(const struct lint *l, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));

/// Who may use a listener, and what is taken over.
void lint_access(const struct lint *l);

/// What client machines are told. Reads listeners' certificates.
void lint_clients(const struct lint *l);

/// The authority: when it ends, and whether it is good for today's names. Reads its files where there are any.
void lint_authority(const struct lint *l);
