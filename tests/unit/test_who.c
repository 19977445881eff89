// SPDX-License-Identifier: Apache-2.0
//
// Whom rules speak of: users, certificates, groups, addresses.

#include "gateway/policy/policy.h"
#include "gateway/policy/who.h"

#include "mirrors/base/host.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { TEXTS_MAX = 4 };

static const char *const registries[] = {"ghcr.io"};
static const char *const release_members[] = {"user:alice", "cert:*.ci.example.com", "address:10.9.0.0/16"};
static const struct group_spec groups[] = {{"release", release_members, 3}};

static const char *const app[] = {"ghcr.io/acme/app"};
static const char *const all[] = {"ghcr.io/**"};

static struct asker asker_of(const char *name, const char *const *names, const char *address) {
    struct asker a = {.name = name, .groups = names};
    while (names != NULL && names[a.group_count] != NULL)
        a.group_count++;
    a.has_address = address != NULL && address_from_text(address, a.address);
    return a;
}

static void decide(const struct policy *p, const struct asker *asker, enum action action, struct decision *d) {
    struct question q = {
        .registry = "ghcr.io", .repository = "acme/app", .tag = "1", .action = action, .asker = asker, .now = 1000};
    policy_decide(p, &q, NULL, NULL, d);
}

static const char *const in_release[] = {"release", NULL};
static const char *const in_others[] = {"others", "Release", NULL};

Test(who, a_rule_speaks_of_whom_it_names) {
    static const struct {
        const char *who[TEXTS_MAX];
        const char *name;
        const char *const *groups;
        const char *address;
        bool allowed;
        const char *why;
    } rows[] = {
        {{NULL}, NULL, NULL, NULL, true, "a rule without who speaks of everyone"},
        {{"anyone"}, NULL, NULL, NULL, true, "anyone is everyone"},
        {{"user:alice"}, "user:alice", NULL, NULL, true, "the user"},
        {{"user:alice"}, "user:bob", NULL, NULL, false, "another user"},
        {{"user:alice"}, "user:alice2", NULL, NULL, false, "a longer name"},
        {{"user:alice"}, "cert:alice", NULL, NULL, false, "a certificate is no user"},
        {{"user:alice"}, NULL, NULL, NULL, false, "nobody known"},
        {{"user:*"}, "user:x/y", NULL, NULL, true, "a star stands for anything"},
        {{"user:*"}, "cert:x", NULL, NULL, false, "but not for another kind"},
        {{"user:*"}, NULL, NULL, NULL, false, "nor for nobody"},
        {{"cert:*.ci.example.com"}, "cert:a.b.ci.example.com", NULL, NULL, true, "a star crosses dots"},
        {{"cert:*.ci.example.com"}, "cert:ci.example.com", NULL, NULL, false, "the dot must be there"},
        {{"group:release"}, "user:alice", NULL, NULL, true, "in the group by the configuration"},
        {{"group:release"}, "cert:x.ci.example.com", NULL, NULL, true, "by a star in the group"},
        {{"group:release"}, "user:bob", NULL, NULL, false, "not in the group"},
        {{"group:release"}, "user:bob", in_release, NULL, true, "put into it by a token"},
        {{"group:release"}, "user:bob", in_others, NULL, false, "groups are compared exactly"},
        {{"group:release"}, NULL, NULL, "10.9.3.4", true, "an address in the group"},
        {{"group:nowhere"}, "user:alice", NULL, NULL, false, "a group that nobody is in"},
        {{"address:10.2.0.0/16"}, NULL, NULL, "10.2.255.1", true, "an address"},
        {{"address:10.2.0.0/16"}, NULL, NULL, "10.3.0.1", false, "another address"},
        {{"address:10.2.0.0/16"}, "user:alice", NULL, NULL, false, "an address that nobody knows"},
        {{"address:fd00::/8"}, NULL, NULL, "fd12::1", true, "IPv6"},
        {{"user:bob", "group:release"}, "user:alice", NULL, NULL, true, "any of them suffices"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rule_spec rule = {.allow = true, .patterns = app, .pattern_count = 1, .expires = INT64_MAX};
        struct err err = {""};
        rule.who = rows[i].who;
        while (rule.who_count < TEXTS_MAX && rows[i].who[rule.who_count] != NULL)
            rule.who_count++;
        struct policy *p = policy_new(&rule, 1, registries, 1, groups, 1, &err);
        cr_assert_not_null(p, "%s: %s", rows[i].why, err.text);
        struct asker asker = asker_of(rows[i].name, rows[i].groups, rows[i].address);
        struct decision d;
        decide(p, &asker, ACTION_PULL, &d);
        cr_expect_eq(d.allow, rows[i].allowed, "%s", rows[i].why);
        cr_expect_eq(d.others, !rows[i].allowed, "%s: others would be allowed", rows[i].why);
        decide(p, &asker, ACTION_LIST, &d);
        cr_expect_eq(d.allow, rows[i].allowed, "%s: listings too", rows[i].why);
        policy_free(p);
    }
}

Test(who, nobody_at_all_is_like_nobody_known) {
    static const char *const alice[] = {"user:alice"};
    struct rule_spec rules[] = {
        {.allow = true, .patterns = app, .pattern_count = 1, .expires = INT64_MAX, .who = alice, .who_count = 1}};
    struct decision d;
    struct policy *p = policy_new(rules, 1, registries, 1, NULL, 0, NULL);
    decide(p, NULL, ACTION_PULL, &d);
    cr_expect_not(d.allow);
    policy_free(p);
}

Test(who, a_rule_that_does_not_speak_of_the_asker_decides_nothing) {
    static const char *const alice[] = {"user:alice"};
    struct rule_spec rules[] = {
        {.patterns = app, .pattern_count = 1, .expires = INT64_MAX, .who = alice, .who_count = 1},
        {.allow = true, .patterns = all, .pattern_count = 1, .expires = INT64_MAX}};
    struct policy *p = policy_new(rules, 2, registries, 1, NULL, 0, NULL);
    struct asker is_alice = asker_of("user:alice", NULL, NULL), is_bob = asker_of("user:bob", NULL, NULL);
    struct decision d;
    decide(p, &is_alice, ACTION_PULL, &d);
    cr_expect(!d.allow && d.rule == 0, "the deny speaks of alice");
    decide(p, &is_bob, ACTION_PULL, &d);
    cr_expect(d.allow && d.rule == 1, "and not of bob");
    cr_expect_not(policy_rule_for_anyone(p, 0));
    cr_expect(policy_rule_for_anyone(p, 1));
    policy_free(p);
}

Test(who, what_cannot_be_meant_is_refused) {
    static const struct {
        const char *who, *says, *why;
    } rows[] = {
        {"alice", "expected \"anyone\"", "no prefix"},
        {"robot:x", "expected \"anyone\"", "an unknown prefix"},
        {"user:", "nobody is named", "an empty name"},
        {"Anyone", "expected \"anyone\"", "case counts"},
        {"group:a*", "exactly", "a star in a group"},
        {"address:10.0.0.1/8", "10.0.0.0/8", "host bits, with the block that was meant"},
        {"address:here", "address:here", "no address"},
        {"user:a\nb", "one line", "a line break"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const who[] = {"user:fine", rows[i].who};
        struct rule_spec rule = {
            .allow = true, .patterns = app, .pattern_count = 1, .expires = INT64_MAX, .who = who, .who_count = 2};
        struct err err = {""};
        cr_expect_null(policy_new(&rule, 1, registries, 1, NULL, 0, &err), "%s", rows[i].why);
        cr_expect(strncmp(err.text, "rules[0].who[1]: ", 17) == 0, "%s: %s", rows[i].why, err.text);
        cr_expect_not_null(strstr(err.text, rows[i].says), "%s: %s", rows[i].why, err.text);
    }
}

Test(who, groups_hold_people_and_addresses) {
    static const char *const bad[] = {"group:other", "anyone", "bob"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct group_spec group = {"g", &bad[i], 1};
        struct err err = {""};
        cr_expect_null(policy_new(NULL, 0, registries, 1, &group, 1, &err), "%s", bad[i]);
        cr_expect(strncmp(err.text, "groups.g", 8) == 0, "%s", err.text);
    }
}

struct warnings {
    char text[1024];
};

static void note(void *ctx, const char *path, const char *sentence) {
    struct warnings *w = ctx;
    size_t len = strlen(w->text);
    snprintf(w->text + len, sizeof w->text - len, "%s %s\n", path, sentence);
}

Test(who, lint_knows_whom_rules_speak_of) {
    static const char *const unknown[] = {"group:unknown"}, *const alice[] = {"user:alice"};
    struct rule_spec rules[] = {
        {.allow = true, .patterns = all, .pattern_count = 1, .expires = INT64_MAX, .who = alice, .who_count = 1},
        {.allow = true, .patterns = app, .pattern_count = 1, .expires = INT64_MAX, .who = unknown, .who_count = 1}};
    struct warnings w = {""};
    struct policy *p = policy_new(rules, 2, registries, 1, groups, 1, NULL);
    policy_lint(p, 1000, note, &w);
    cr_expect_not_null(strstr(w.text, "rules[1] speaks of the group \"unknown\""), "%s", w.text);
    cr_expect_null(strstr(w.text, "can never match"), "a rule for one person shadows nothing: %s", w.text);
    policy_free(p);
}
