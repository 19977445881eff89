// SPDX-License-Identifier: Apache-2.0
//
// The site's policy: rules in order, the first that matches decides.
//
// A policy is compiled once from the configuration and never changed; deciding is a pure function of
// the policy and the question, the time included: no I/O, no clock, no globals. Any thread. 10,000 rules with distinct
// registry/repository prefixes cost an index look-up, not a scan.

#pragma once

#include "mirrors/base/err.h"
#include "mirrors/oci/name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum action { ACTION_PULL = 1, ACTION_PUSH = 2, ACTION_DELETE = 4, ACTION_LIST = 8, ACTION_ALL = 15 };

/// Who asks, as far as it is known. Lent for the question.
struct asker {
    const char *name;          ///< "user:alice", "cert:ci.example.com"; NULL: nobody knows ("anyone").
    const char *const *groups; ///< Those that a token, a claim or a certificate names, without prefix.
    size_t group_count;
    uint8_t address[16]; ///< As mirrors/base/cidr.h has addresses (IPv4 mapped).
    bool has_address;
};

/// `"groups": { name: [members] }`: a member is "user:NAME", "cert:NAME" or "address:CIDR", with `*` in names.
struct group_spec {
    const char *name;
    const char *const *members;
    size_t member_count;
};

enum { RULES_MAX = 100000, PATTERNS_MAX = 1000000, PATTERN_TEXT_MAX = IMAGE_TEXT_MAX + 64, WHO_MAX = 255 };

/// One rule, as the configuration read it; the strings are copied by policy_new().
struct rule_spec {
    bool allow; ///< Else deny.
    const char *const *patterns;
    size_t pattern_count;
    const char *name;         ///< NULL: "rules[N]".
    unsigned actions;         ///< Mask of enum action; 0: the default (an allow: pull; a deny: everything).
    const char *message;      ///< NULL: none.
    const char *owner, *note; ///< NULL: none.
    int64_t expires;          ///< Unix seconds; INT64_MAX: never.
    bool monitor;             ///< Never decides; its match is reported as `would`.
    /// Whom it speaks of: "user:NAME", "cert:NAME" (both with `*`), "group:NAME", "address:CIDR", "anyone". None:
    /// anyone. A rule that does not speak of the asker matches nothing.
    const char *const *who;
    size_t who_count;
};

struct policy;

/// A registry as the policy needs it: its canonical name or wildcard.
/// `rules` NULL: every listed registry may be pulled from. `rule_count` 0 with `rules` set denies all. On failure NULL;
/// `err` begins with the rule and pattern at fault ("rules[2].allow[0]: ...").
/// `groups` may be used by rules; a `who` with an unknown prefix or a group that is nowhere named is an error (but a
/// token or certificate may name any group: so an undefined group is only a lint).
struct policy *policy_new(const struct rule_spec *rules, size_t rule_count, const char *const *registries,
                          size_t registry_count, const struct group_spec *groups, size_t group_count, struct err *err);
void policy_free(struct policy *p);

struct question {
    const char *registry;   ///< Canonical.
    const char *repository; ///< Canonical.
    const char *tag;        ///< NULL when asked by digest.
    const char *digest;     ///< NULL when asked by tag and not yet known.
    enum action action;
    const struct asker *asker; ///< NULL: anyone, from nowhere.
    int64_t now;               ///< Unix seconds.
};

enum decision_reason {
    DECIDED_BY_RULE,         ///< `rule` says which.
    DECIDED_NO_RULE,         ///< Rules are there and none matched.
    DECIDED_REGISTRIES_ONLY, ///< No rules: listed registries may be pulled from.
    DECIDED_NOT_LISTED,      ///< The registry is not in the configuration.
    DECIDED_LINK,            ///< Allowed because an allowed tag (in `via`) led to this digest.
    DECIDED_NO_LINK,         ///< A digest, rules limited to tags or digests, and no allowed tag led to it.
    DECIDED_CANARY,          ///< The canary's registry: never, whatever the rules say.
    DECIDED_ACTION           ///< No rules, and the action is not pull or list.
};

enum { DECISION_NO_RULE = -1 };

struct decision {
    bool allow;
    enum decision_reason reason;
    int rule;         ///< Index of the rule that decided, or DECISION_NO_RULE. DECIDED_LINK: the rule that allows the
                      ///< tag in `via`; DECIDED_NO_LINK: the deny without a reference that stood last, if any.
    bool by_digest;   ///< The rule's matching pattern names this digest.
    int would;        ///< The first monitor rule that matched, or DECISION_NO_RULE.
    bool would_allow; ///< What that rule says.
    char via[TAG_MAX + 1]; ///< DECIDED_LINK: the tag.
    bool others;           ///< Denied, but a rule allows it, or part of it, to somebody else.
};

struct links_asker; // mirrors/content/links.h

/// Ask which tags led to a digest; see links_reach(). The asker is to be called for candidates, with what they led to,
/// and says through which digests no link leads; its `steps` are NULL, for `ctx` to bound.
typedef bool (*policy_links_fn)(void *ctx, const char *registry, const char *repository, const char *digest,
                                const struct links_asker *asker, char *tag);

/// Decide. By tag with `digest` NULL: by name. By tag with the digest known: by name, and then a rule that denies that
/// digest (first match among the rules that speak of R@D) wins. By digest: the rules that speak of R@D; if they do not
/// allow it, and it is not denied by that very digest, `links` (may be NULL: there are none) is asked for a tag that is
/// allowed now, and that led there by no digest that is denied by that very digest: neither the tag's own nor one on
/// the way. A tag such as sha256-HEX.sig is decided as the digest that it refers to. `push`, `delete` never use links.
/// A rule matches nothing from the second `expires` on. Questions to `links` are bounded in number and depth.
void policy_decide(const struct policy *p, const struct question *q, policy_links_fn links, void *links_ctx,
                   struct decision *out);

/// The digests that the rules deny by digest in the question's repository, sorted by strcmp(): what no link leads
/// through. `out` is free()d by the caller; NULL where there are none. The strings live as long as the policy.
size_t policy_denied_digests(const struct policy *p, const struct question *q, const char ***out);

/// May anything of this repository be pulled (by some tag or digest): what tags/list and referrers need.
/// A deny for `list` or for everything without a reference, standing first, forbids it.
void policy_decide_list(const struct policy *p, const struct question *q, struct decision *out);

/// The listed registry (exact, else the most specific wildcard) that covers this canonical name; NULL: not listed.
const char *policy_registry(const struct policy *p, const char *registry);

/// Does this rule speak of everyone, rather than of some only?
bool policy_rule_for_anyone(const struct policy *p, int rule);

/// How many patterns a decision about this repository looks at, of all there are: for tests of the index, which hold
/// that the cost does not grow with the number of rules.
size_t policy_candidates(const struct policy *p, const char *registry, const char *repository);

size_t policy_rule_count(const struct policy *p);
const char *policy_rule_name(const struct policy *p, int rule);    ///< Never NULL for a valid index.
const char *policy_rule_message(const struct policy *p, int rule); ///< NULL: none.
const char *policy_rule_owner(const struct policy *p, int rule);   ///< NULL: none.

/// What `check` warns about in the rules themselves: a rule that can never match (registry not listed,
/// shadowed by an earlier rule, already expired), one that ends within 14 days of `now`, a deny by tag ("denies the
/// name, not the content"). `warn` gets the path ("rules[3]") and a sentence.
void policy_lint(const struct policy *p, int64_t now, void (*warn)(void *ctx, const char *path, const char *sentence),
                 void *ctx);

// --- patterns: REGISTRY/REPOSITORY[:TAG|@DIGEST] ---
//
// `*` stays within a path component, `**` is one or more whole components, alone it is everything. In the registry `*`
// is one or more characters within one DNS label and a leading `*.` one or more labels. `? [ ] { } ! $ \` are errors,
// as are a leading `@` (kept free for sets), and a pattern without a slash, for which the error proposes the full name.
// `**:TAG` and `**@DIGEST` speak of every repository everywhere. A registry without `*` is compared exactly, port
// included; one with `*` and without a port covers every port, as in host lists.

struct pattern {
    char *registry;   ///< Canonical or wildcard; "**" alone gives "*".
    char *repository; ///< "**" for everything.
    char *tag;        ///< NULL: every reference.
    char *digest;     ///< NULL.
};

bool pattern_parse(const char *text, struct pattern *out, struct err *err);
void pattern_deinit(struct pattern *p);
bool pattern_match_registry(const struct pattern *p, const char *registry);
bool pattern_match_repository(const char *pattern, const char *repository);
bool pattern_match_tag(const char *pattern, const char *tag);
