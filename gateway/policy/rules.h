// SPDX-License-Identifier: Apache-2.0
//
// The compiled policy, shared by the files of this room only.
//
// Patterns of all rules stand in one array in the order of the rules; their numbers are what the index speaks of.

#pragma once

#include "gateway/policy/index.h"
#include "gateway/policy/policy.h"
#include "gateway/policy/who.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rule {
    bool allow;
    bool monitor;
    unsigned actions; ///< Never 0.
    int64_t expires;
    char *name;            ///< Never NULL.
    char *message, *owner; ///< NULL: none.
    size_t first, count;   ///< Its patterns.
    struct who who;
};

struct compiled {
    struct pattern pattern;
    uint32_t rule;
};

struct policy {
    bool ruled; ///< Else: every listed registry may be pulled from.
    struct rule *rules;
    size_t rule_count;
    struct compiled *patterns;
    size_t pattern_count;
    struct index *index;
    struct who_groups groups;
    char **exact; ///< Listed registries without `*`, sorted.
    size_t exact_count;
    char **wild;
    size_t wild_count;
};

/// "registry/repository", cut to what the index can use. `out` has INDEX_HEAD_MAX + 1 bytes; gives the length.
size_t rules_name(const char *registry, const char *repository, char *out);

/// What stands before the pattern's first `*`, likewise.
size_t rules_head(const struct pattern *p, char *out);

/// Does the pattern speak of this repository, its reference aside?
bool rules_pattern_matches(const struct pattern *p, const char *registry, const char *repository);
