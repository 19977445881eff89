// SPDX-License-Identifier: Apache-2.0
//
// Whom a rule speaks of. Private to the policy room; compiled once, then read by any thread.

#pragma once

#include "gateway/policy/policy.h"
#include "mirrors/base/host.h"

enum who_kind { WHO_ANYONE, WHO_USER, WHO_CERTIFICATE, WHO_GROUP, WHO_ADDRESS };

struct who_member {
    enum who_kind kind;
    char *name; ///< WHO_USER, WHO_CERTIFICATE: with its prefix, `*` stands for anything. WHO_GROUP: the bare name.
    struct cidr block; ///< WHO_ADDRESS.
};

/// None: it speaks of everyone.
struct who {
    struct who_member *members;
    size_t count;
};

struct who_group {
    char *name;
    struct who members;
};

struct who_groups {
    struct who_group *all; ///< Sorted by name.
    size_t count;
};

/// False: `err` says which text is at fault and what was expected.
bool who_parse(struct who *out, const char *const *texts, size_t count, struct err *err);
void who_deinit(struct who *w);

/// A group's members are people and addresses, no groups.
bool who_groups_parse(struct who_groups *out, const struct group_spec *specs, size_t count, struct err *err);
void who_groups_deinit(struct who_groups *g);
const struct who_group *who_group_find(const struct who_groups *g, const char *name); ///< NULL: there is none.

/// Does it speak of this asker (NULL: nobody known, from nowhere)?
bool who_speaks_of(const struct who *w, const struct who_groups *groups, const struct asker *asker);

/// Does it speak of everyone?
bool who_is_anyone(const struct who *w);
