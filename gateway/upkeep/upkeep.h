// SPDX-License-Identifier: Apache-2.0
//
// Looking after the store: what `pullgate store` asks for. The running gateway carries it out for the command, over a
// socket in the store's directory (service.h); without a gateway the command does it itself. Both run this.
//
// A request is one JSON object, an answer is lines of JSON, the last of which has "end". Functions here block and
// belong to a thread of their own.

#pragma once

#include "gateway/config/config.h"
#include "mirrors/content/content.h"

enum {
    UPKEEP_REQUEST_MAX = 1 << 20,
    UPKEEP_LINE_MAX = 64 * 1024,
    UPKEEP_WORDS_MAX = 10000, ///< Images or patterns of one command.
    UPKEEP_PLATFORMS_MAX = 64
};

/// What commands work on.
struct upkeep {
    struct store *store;
    struct content *content;
    struct config *(*config)(void *ctx); ///< The configuration of today, with a reference for the caller.
    void *ctx;
};

/// How the store of this configuration is opened; `c` must live as long as the store, or until other settings replace
/// these.
struct store_settings upkeep_settings(const struct config *c);

/// One line (no newline in it) for whoever asked. False: nobody listens any more, so end.
typedef bool (*upkeep_say_fn)(void *ctx, const char *line);

/// Carry out one request:
///
///     {"command": "ls", "words": [PATTERN...], "digests": BOOL}         lines {"item": {...}}
///     {"command": "stat"}                                               one line {"stat": {...}}
///     {"command": "verify", "rate": BYTES_PER_SECOND}                   {"progress": ...}, {"bad": {...}}
///     {"command": "rm", "words": [PATTERN...], "dry_run": BOOL}         {"removed": {...}}
///     {"command": "warm", "words": [IMAGE...], "platforms": [...]}      {"progress": ...}, {"image": {...}}
///     {"command": "export", "words": [IMAGE...]}                        an OCI layout as a tar into `fd`
///     {"command": "import", "as": "REGISTRY/REPOSITORY" or null}        the same out of `fd`, which must be a file
///
/// The last line is {"end": {"ok": BOOL, "message": SENTENCE}}. `fd` is -1 where none was sent and stays the caller's.
void upkeep_run(const struct upkeep *u, const char *request, size_t len, int fd, upkeep_say_fn say, void *ctx);
