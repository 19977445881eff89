// SPDX-License-Identifier: Apache-2.0
//
// Decisions, row by row: a policy in a few words, a question, what is decided and why.

#include "gateway/policy/policy.h"
#include "mirrors/base/err.h"
#include "mirrors/base/mem.h"
#include "mirrors/content/links.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define A "sha256:" HEX_A
#define B "sha256:" HEX_B
#define C "sha256:" HEX_C
#define D "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
#define L "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define M "sha256:2222222222222222222222222222222222222222222222222222222222222222"

enum { RULES_HERE = 4, NOW = 1000000, DAY = 24 * 3600 };

static const char *const listed[] = {"docker.io", "registry.example.com", "*.wild.example", "*.deep.wild.example"};

// A rule as a test writes it: "+PATTERN PATTERN" allows, "-..." denies, a leading "?" makes it a monitor rule, and
// "<" makes it expired.
struct parsed_rule {
    char *text;
    const char *patterns[8];
    struct rule_spec spec;
};

static void parse_rule(struct parsed_rule *r, const char *text) {
    *r = (struct parsed_rule){.text = mem_strdup(text), .spec = {.expires = INT64_MAX}};
    char *s = r->text;
    for (; *s == '?' || *s == '<'; s++) {
        if (*s == '?')
            r->spec.monitor = true;
        else
            r->spec.expires = NOW;
    }
    r->spec.allow = *s == '+';
    char *save = NULL;
    for (char *word = strtok_r(s + 1, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
        r->patterns[r->spec.pattern_count++] = word;
    r->spec.patterns = r->patterns;
}

// `none`: no rules at all, which is not the same as an empty list.
static struct policy *policy_of(const char *const *rules, bool none) {
    struct parsed_rule parsed[RULES_HERE];
    struct rule_spec specs[RULES_HERE] = {0};
    size_t count = 0;
    for (; count < RULES_HERE && rules[count] != NULL; count++) {
        parse_rule(&parsed[count], rules[count]);
        specs[count] = parsed[count].spec;
        specs[count].patterns = parsed[count].patterns;
    }
    struct err err = {0};
    struct policy *p = policy_new(none ? NULL : specs, count, listed, sizeof listed / sizeof *listed, NULL, 0, &err);
    for (size_t i = 0; i < count; i++)
        free(parsed[i].text);
    cr_assert(p != NULL, "%s", err.text);
    return p;
}

static bool ask_links(void *ctx, const char *registry, const char *repository, const char *digest,
                      const struct links_asker *asker, char *tag) {
    return links_reach(ctx, registry, repository, digest, asker, tag);
}

// In acme/app the tags v1 and dev led to A and B; sha256-A.sig led to C.
static struct links *some_links(void) {
    struct links *l = links_new(NULL, NULL);
    links_tag(l, "docker.io", "acme/app", "v1", A);
    links_tag(l, "docker.io", "acme/app", "dev", B);
    links_tag(l, "docker.io", "acme/app", "sha256-" HEX_A ".sig", C);
    return l;
}

struct row {
    const char *rules[RULES_HERE + 1];
    bool none;
    const char *registry, *repository, *tag, *digest;
    enum action action;
    bool allow;
    enum decision_reason reason;
    int rule, would;
    const char *via;
    bool by_digest;
    const char *why;
};

// clang-format off
static const struct row rows[] = {
    // Registries and rules.
    {.none = true, .registry = "docker.io", .repository = "acme/app", .tag = "v1", .allow = true,
     .reason = DECIDED_REGISTRIES_ONLY, .rule = -1, .would = -1, .why = "no rules: every listed registry"},
    {.none = true, .registry = "docker.io", .repository = "acme/app", .digest = B, .allow = true,
     .reason = DECIDED_REGISTRIES_ONLY, .rule = -1, .would = -1, .why = "no rules: digests too"},
    {.none = true, .registry = "quay.io", .repository = "a/b", .tag = "v1", .reason = DECIDED_NOT_LISTED, .rule = -1,
     .would = -1, .why = "an unlisted registry"},
    {.rules = {"+**"}, .registry = "quay.io", .repository = "a/b", .tag = "v1", .reason = DECIDED_NOT_LISTED,
     .rule = -1, .would = -1, .why = "no rule opens an unlisted registry"},
    {.rules = {"+**"}, .registry = "docker.io:5000", .repository = "a/b", .tag = "v1", .reason = DECIDED_NOT_LISTED,
     .rule = -1, .would = -1, .why = "another port is another registry"},
    {.rules = {"+**"}, .registry = "a.wild.example", .repository = "a/b", .tag = "v1", .allow = true,
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "listed by a wildcard"},
    {.none = true, .registry = "docker.io", .repository = "a/b", .tag = "v1", .action = ACTION_PUSH,
     .reason = DECIDED_ACTION, .rule = -1, .would = -1, .why = "no rules permit no push"},
    {.none = true, .registry = "docker.io", .repository = "a/b", .tag = "v1", .action = ACTION_DELETE,
     .reason = DECIDED_ACTION, .rule = -1, .would = -1, .why = "no rules permit no delete"},
    {.none = true, .registry = "docker.io", .repository = "a/b", .action = ACTION_LIST, .allow = true,
     .reason = DECIDED_REGISTRIES_ONLY, .rule = -1, .would = -1, .why = "no rules permit listing"},
    {.rules = {NULL}, .registry = "docker.io", .repository = "a/b", .tag = "v1", .reason = DECIDED_NO_RULE,
     .rule = -1, .would = -1, .why = "an empty list denies all"},
    {.rules = {NULL}, .registry = "docker.io", .repository = "a/b", .action = ACTION_LIST, .reason = DECIDED_NO_RULE,
     .rule = -1, .would = -1, .why = "an empty list denies listing"},
    {.rules = {"+docker.io/library/**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .reason = DECIDED_NO_RULE, .rule = -1, .would = -1, .why = "rules and none matched"},
    {.rules = {"+docker.io/alpine"}, .registry = "docker.io", .repository = "library/alpine", .tag = "3",
     .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1,
     .why = "a short name in a rule is the canonical one"},
    {.rules = {"-*/alpine", "+**"}, .registry = "docker.io", .repository = "library/alpine", .tag = "3",
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "under any registry it is the official image, too"},
    {.rules = {"-*/alpine", "+**"}, .registry = "docker.io", .repository = "acme/alpine", .tag = "3", .allow = true,
     .reason = DECIDED_BY_RULE, .rule = 1, .would = -1, .why = "but nobody else's"},
    {.rules = {"-*/alpine", "+**"}, .registry = "registry.example.com", .repository = "library/alpine", .tag = "3",
     .allow = true, .reason = DECIDED_BY_RULE, .rule = 1, .would = -1,
     .why = "library/ is special on Docker Hub only"},
    {.rules = {"-docker.io/acme/app", "+docker.io/acme/**"}, .registry = "docker.io", .repository = "acme/app",
     .tag = "v1", .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "the first match decides"},
    {.rules = {"+docker.io/acme/**", "-docker.io/acme/app"}, .registry = "docker.io", .repository = "acme/app",
     .tag = "v1", .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1,
     .why = "the first match decides, whatever is more specific"},
    {.rules = {"+registry.example.com/** docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app",
     .tag = "v1", .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "any pattern of a rule"},
    {.rules = {"+docker.io/acme/**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .action = ACTION_PUSH, .reason = DECIDED_NO_RULE, .rule = -1, .would = -1, .why = "an allow means pull"},
    {.rules = {"-docker.io/acme/**", "+**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .action = ACTION_DELETE, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "a deny means everything"},
    // Time and monitor rules.
    {.rules = {"<+docker.io/acme/**", "-**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .reason = DECIDED_BY_RULE, .rule = 1, .would = -1,
     .why = "an expired rule matches nothing, from that second on"},
    {.rules = {"?-docker.io/acme/**", "+**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .allow = true, .reason = DECIDED_BY_RULE, .rule = 1, .would = 0, .why = "a monitor rule never decides"},
    {.rules = {"?+docker.io/acme/**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .reason = DECIDED_NO_RULE, .rule = -1, .would = 0, .why = "a monitor allow allows nothing"},
    {.rules = {"?-**:v1", "?-**", "+**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .allow = true, .reason = DECIDED_BY_RULE, .rule = 2, .would = 0, .why = "the first monitor rule is reported"},
    {.rules = {"+**", "?-**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1", .digest = A,
     .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1,
     .why = "a monitor rule after the decision changes nothing"},
    {.rules = {"+**:v*", "?-**@" A}, .registry = "docker.io", .repository = "acme/app", .tag = "v1", .digest = A,
     .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = 1,
     .why = "a monitor deny of the digest that the tag has is reported"},
    {.rules = {"+**:v*", "?-docker.io/acme/**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .digest = A, .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1,
     .why = "a monitor deny of the name stands after what decides it"},
    {.rules = {"<?-**", "+**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1", .allow = true,
     .reason = DECIDED_BY_RULE, .rule = 1, .would = -1, .why = "an expired monitor rule is not reported"},
    // Digests.
    {.rules = {"+docker.io/acme/**"}, .registry = "docker.io", .repository = "acme/app", .digest = B, .allow = true,
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "without a reference it means every reference"},
    {.rules = {"+docker.io/acme/*@" B}, .registry = "docker.io", .repository = "acme/app", .digest = B, .allow = true,
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .by_digest = true, .why = "this digest is allowed"},
    {.rules = {"+docker.io/acme/*@" B}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .reason = DECIDED_NO_LINK, .rule = -1, .would = -1, .why = "another digest is not, nor is any tag"},
    {.rules = {"+docker.io/acme/*@" B}, .registry = "docker.io", .repository = "acme/app", .tag = "dev",
     .reason = DECIDED_NO_RULE, .rule = -1, .would = -1, .why = "a tag is decided by its name"},
    {.rules = {"+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app", .digest = A, .allow = true,
     .reason = DECIDED_LINK, .rule = 0, .would = -1, .via = "v1", .why = "an allowed tag led to it"},
    {.rules = {"+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app", .digest = B,
     .reason = DECIDED_NO_LINK, .rule = -1, .would = -1, .why = "only a tag led to it that is not allowed"},
    {.rules = {"+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/other", .digest = A,
     .reason = DECIDED_NO_LINK, .rule = -1, .would = -1, .why = "a link holds in its own repository"},
    {.rules = {"+docker.io/acme/*:v*", "-**"}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .allow = true, .reason = DECIDED_LINK, .rule = 0, .would = -1, .via = "v1",
     .why = "a final deny without reference does not undo a link"},
    {.rules = {"+docker.io/acme/*:v*", "-**"}, .registry = "docker.io", .repository = "acme/app", .digest = B,
     .reason = DECIDED_NO_LINK, .rule = 1, .would = -1, .why = "no link, and the deny's message is still known"},
    {.rules = {"-**", "+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "the tag itself is denied now: no link, a plain deny"},
    {.rules = {"-docker.io/acme/**"}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "nothing speaks of tags: a plain deny"},
    {.rules = {"?+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .reason = DECIDED_NO_RULE, .rule = -1, .would = -1, .why = "a monitor rule makes no link good"},
    {.rules = {"<+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .reason = DECIDED_NO_RULE, .rule = -1, .would = -1, .why = "an expired rule makes no link good: today's rules"},
    {.rules = {"-docker.io/acme/*:v1", "+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app",
     .digest = A, .reason = DECIDED_NO_LINK, .rule = -1, .would = -1, .why = "its only tag is denied now"},
    {.rules = {"-docker.io/acme/*:v1", "+docker.io/acme/*"}, .registry = "docker.io", .repository = "acme/app",
     .digest = A, .allow = true, .reason = DECIDED_BY_RULE, .rule = 1, .would = -1,
     .why = "a deny by tag denies the name, not the content"},
    {.rules = {"-**@" A, "+**"}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .by_digest = true, .why = "one digest is denied everywhere"},
    {.rules = {"-**@" A, "+**"}, .registry = "docker.io", .repository = "acme/app", .digest = B, .allow = true,
     .reason = DECIDED_BY_RULE, .rule = 1, .would = -1, .why = "and no other"},
    {.rules = {"+docker.io/acme/*:v*", "-**@" A}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .reason = DECIDED_BY_RULE, .rule = 1, .would = -1, .by_digest = true, .why = "no link helps a denied digest"},
    {.rules = {"+docker.io/acme/*:v*", "-** **@" A}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .reason = DECIDED_BY_RULE, .rule = 1, .would = -1, .by_digest = true,
     .why = "a rule that denies all and this digest denies this digest"},
    {.rules = {"+**", "-**@" A}, .registry = "docker.io", .repository = "acme/app", .digest = A, .allow = true,
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "first match among those that speak of the digest"},
    {.rules = {"+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app", .digest = A,
     .action = ACTION_DELETE, .reason = DECIDED_NO_RULE, .rule = -1, .would = -1, .why = "delete never uses links"},
    // A tag whose digest is known.
    {.rules = {"-**@" A, "+**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1", .allow = true,
     .reason = DECIDED_BY_RULE, .rule = 1, .would = -1, .why = "by name, before anything is fetched"},
    {.rules = {"-**@" A, "+**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1", .digest = A,
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .by_digest = true,
     .why = "and again when the digest is known"},
    {.rules = {"+docker.io/acme/*:v*", "-**@" A}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .digest = A, .reason = DECIDED_BY_RULE, .rule = 1, .would = -1, .by_digest = true,
     .why = "an allow by tag does not speak of the digest, so the deny is the first that does"},
    {.rules = {"+**", "-**@" A}, .registry = "docker.io", .repository = "acme/app", .tag = "v1", .digest = A,
     .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "an allow of everything stands first"},
    {.rules = {"+docker.io/acme/*:v*", "-**"}, .registry = "docker.io", .repository = "acme/app", .tag = "v1",
     .digest = A, .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1,
     .why = "only a deny by that very digest turns it"},
    {.rules = {"+docker.io/acme/*@" A}, .registry = "docker.io", .repository = "acme/app", .tag = "dev", .digest = A,
     .reason = DECIDED_NO_RULE, .rule = -1, .would = -1, .why = "an allowed digest does not allow the tag's name"},
    // Tags that stand for a digest.
    {.rules = {"+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app",
     .tag = "sha256-" HEX_A ".sig", .allow = true, .reason = DECIDED_LINK, .rule = 0, .would = -1, .via = "v1",
     .why = "cosign's tag under :v*: an allowed tag led to its subject"},
    {.rules = {"+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app", .tag = "sha256-" HEX_A,
     .allow = true, .reason = DECIDED_LINK, .rule = 0, .would = -1, .via = "v1", .why = "the referrers tag"},
    {.rules = {"+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app",
     .tag = "sha256-" HEX_B ".att", .reason = DECIDED_NO_LINK, .rule = -1, .would = -1,
     .why = "no allowed tag led to that subject"},
    {.rules = {"+docker.io/acme/*:*"}, .registry = "docker.io", .repository = "acme/app",
     .tag = "sha256-" HEX_C ".att", .allow = true, .reason = DECIDED_LINK, .rule = 0, .would = -1,
     .via = "sha256-" HEX_A ".sig", .why = "an attestation of a signature: its subject is reached in turn"},
    {.rules = {"+docker.io/acme/*:v*"}, .registry = "docker.io", .repository = "acme/app", .digest = C, .allow = true,
     .reason = DECIDED_LINK, .rule = -1, .would = -1, .via = "sha256-" HEX_A ".sig",
     .why = "the signature by digest: its tag is allowed because its subject is"},
    {.rules = {"+docker.io/acme/*:sha256-*"}, .registry = "docker.io", .repository = "acme/app",
     .tag = "sha256-" HEX_B ".sig", .reason = DECIDED_NO_LINK, .rule = -1, .would = -1,
     .why = "such a tag is its subject, not its name"},
    {.rules = {"-**@" A, "+**"}, .registry = "docker.io", .repository = "acme/app", .tag = "sha256-" HEX_A ".sig",
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .by_digest = true, .why = "the subject is denied"},
    {.rules = {"-**@" C, "+**"}, .registry = "docker.io", .repository = "acme/app", .tag = "sha256-" HEX_A ".sig",
     .digest = C, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .by_digest = true,
     .why = "the signature's own digest is denied"},
    // Listing.
    {.rules = {"+docker.io/acme/*:v*", "-**"}, .registry = "docker.io", .repository = "acme/app",
     .action = ACTION_LIST, .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1,
     .why = "something of it may be pulled"},
    {.rules = {"+docker.io/acme/*@" A}, .registry = "docker.io", .repository = "acme/app", .action = ACTION_LIST,
     .allow = true, .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "by digest is enough"},
    {.rules = {"+docker.io/library/**"}, .registry = "docker.io", .repository = "acme/app", .action = ACTION_LIST,
     .reason = DECIDED_NO_RULE, .rule = -1, .would = -1, .why = "nothing of it may be pulled"},
    {.rules = {"-docker.io/acme/**", "+**"}, .registry = "docker.io", .repository = "acme/app", .action = ACTION_LIST,
     .reason = DECIDED_BY_RULE, .rule = 0, .would = -1, .why = "a deny of everything stands first"},
    {.rules = {"-docker.io/acme/*:v1", "+**"}, .registry = "docker.io", .repository = "acme/app",
     .action = ACTION_LIST, .allow = true, .reason = DECIDED_BY_RULE, .rule = 1, .would = -1,
     .why = "a deny of one tag is not everything"},
    {.rules = {"?-docker.io/acme/**", "+**"}, .registry = "docker.io", .repository = "acme/app",
     .action = ACTION_LIST, .allow = true, .reason = DECIDED_BY_RULE, .rule = 1, .would = 0,
     .why = "a monitor rule is reported here too"},
};
// clang-format on

Test(policy, decisions) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct policy *p = policy_of(r->rules, r->none);
        struct links *links = some_links();
        const struct question q = {.registry = r->registry,
                                   .repository = r->repository,
                                   .tag = r->tag,
                                   .digest = r->digest,
                                   .action = r->action == 0 ? ACTION_PULL : r->action,
                                   .now = NOW};
        struct decision d;
        policy_decide(p, &q, ask_links, links, &d);
        cr_expect_eq(d.allow, r->allow, "row %zu, %s: allow is %d", i, r->why, d.allow);
        cr_expect_eq(d.reason, r->reason, "row %zu, %s: reason is %d", i, r->why, (int)d.reason);
        cr_expect_eq(d.rule, r->rule, "row %zu, %s: rule is %d", i, r->why, d.rule);
        cr_expect_eq(d.would, r->would, "row %zu, %s: would is %d", i, r->why, d.would);
        cr_expect_eq(d.by_digest, r->by_digest, "row %zu, %s: by_digest is %d", i, r->why, d.by_digest);
        cr_expect_str_eq(d.via, r->via == NULL ? "" : r->via, "row %zu, %s: via %s", i, r->why, d.via);
        links_free(links);
        policy_free(p);
    }
}

// v1 is an index of A and D; v2 is A; A's layer is L, and both A and D name M.
static struct links *links_of_two_images(void) {
    const struct document index = {.kind = DOCUMENT_INDEX,
                                   .count = 2,
                                   .descriptors = (struct descriptor[]){{.role = ROLE_MANIFEST, .digest = A},
                                                                        {.role = ROLE_MANIFEST, .digest = D}}};
    const struct document a = {
        .kind = DOCUMENT_MANIFEST,
        .count = 2,
        .descriptors = (struct descriptor[]){{.role = ROLE_LAYER, .digest = L}, {.role = ROLE_LAYER, .digest = M}}};
    const struct document d = {
        .kind = DOCUMENT_MANIFEST, .count = 1, .descriptors = (struct descriptor[]){{.role = ROLE_LAYER, .digest = M}}};
    struct links *l = links_new(NULL, NULL);
    links_tag(l, "docker.io", "acme/app", "v1", C);
    links_document(l, "docker.io", "acme/app", C, &index);
    links_tag(l, "docker.io", "acme/app", "v2", A);
    links_document(l, "docker.io", "acme/app", A, &a);
    links_document(l, "docker.io", "acme/app", D, &d);
    return l;
}

// A digest that is denied leads nowhere, by whatever tag or index it was found.
Test(policy, no_link_through_a_denied_digest) {
    static const struct {
        const char *rules[RULES_HERE + 1];
        const char *digest;
        bool allow;
        const char *why;
    } cases[] = {
        {{"+docker.io/acme/*:v*", "-**"}, L, true, "nothing is denied by digest"},
        {{"-docker.io/acme/app@" A, "+docker.io/acme/*:v*", "-**"}, L, false, "what only the denied digest names"},
        {{"-docker.io/acme/app@" A, "+docker.io/acme/*:v*", "-**"}, M, true, "what another image names, too"},
        {{"-docker.io/acme/app@" A, "+docker.io/acme/*:v*", "-**"}, C, true, "the index that names it"},
        {{"+docker.io/acme/*:v*", "-**@" A " **@" D}, M, false, "both images are denied, wherever the rule stands"},
        {{"-**@" C, "+docker.io/acme/*:v1"}, D, false, "the index that the tag led to is denied"},
        {{"-**@" C, "+docker.io/acme/*:v2"}, L, true, "another tag led there past it"},
        {{"+docker.io/acme/app@" A, "-**@" A, "+docker.io/acme/*:v*"}, L, true, "an allow of the digest stands first"},
        {{"-**@" A, "+docker.io/acme/app@" A, "+docker.io/acme/*:v*"}, L, false, "an allow of it comes too late"},
        {{"-docker.io/acme/other@" A, "+docker.io/acme/*:v*"}, L, true, "denied in another repository"},
        {{"<-**@" A, "+docker.io/acme/*:v*"}, L, true, "an expired denial"},
        {{"?-**@" A, "+docker.io/acme/*:v*"}, L, true, "a monitor rule denies nothing"},
        {{"-**@" L, "+docker.io/acme/*:v*"}, M, true, "a denied layer leads nowhere anyway"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy *p = policy_of(cases[i].rules, false);
        struct links *l = links_of_two_images();
        const struct question q = {.registry = "docker.io",
                                   .repository = "acme/app",
                                   .digest = cases[i].digest,
                                   .action = ACTION_PULL,
                                   .now = NOW};
        struct decision d;
        policy_decide(p, &q, ask_links, l, &d);
        cr_expect_eq(d.allow, cases[i].allow, "row %zu, %s: reason is %d", i, cases[i].why, (int)d.reason);
        links_free(l);
        policy_free(p);
    }
}

// A links_fn that finds one tag for anything.
static bool always_v1(void *ctx, const char *registry, const char *repository, const char *digest,
                      const struct links_asker *asker, char *tag) {
    strcpy(tag, "v1");
    return asker->tag_allowed(asker->ctx, "v1", ctx);
}

Test(policy, a_tag_is_asked_about_with_what_it_led_to) {
    const char *const rules[] = {"-**@" A, "+docker.io/acme/*:v*", NULL};
    struct policy *p = policy_of(rules, false);
    const struct question q = {
        .registry = "docker.io", .repository = "acme/app", .digest = L, .action = ACTION_PULL, .now = NOW};
    struct decision d;
    policy_decide(p, &q, always_v1, A, &d);
    cr_expect_not(d.allow, "a rule that denies that digest wins");
    policy_decide(p, &q, always_v1, B, &d);
    cr_expect(d.allow, "by the tag's name otherwise");
    policy_free(p);
}

Test(policy, denied_digests) {
    const char *const rules[] = {"+**@" B, "-**@" C " **@" A " **@" B " docker.io/acme/app@" C, "+**", "-**@" D};
    struct policy *p = policy_of((const char *const[]){rules[0], rules[1], rules[2], rules[3], NULL}, false);
    const struct question q = {.registry = "docker.io", .repository = "acme/app", .action = ACTION_PULL, .now = NOW};
    const char **denied;
    size_t count = policy_denied_digests(p, &q, &denied);
    cr_assert_eq(count, 2u, "once each, without what is allowed before: %zu", count);
    cr_expect_str_eq(denied[0], A);
    cr_expect_str_eq(denied[1], C);
    free(denied);
    policy_free(p);
    p = policy_of((const char *const[]){"+**", NULL}, false);
    cr_expect_eq(policy_denied_digests(p, &q, &denied), 0u);
    cr_expect(denied == NULL, "none");
    policy_free(p);
}

Test(policy, without_links) {
    const char *const rules[] = {"+docker.io/acme/*:v*", NULL};
    struct policy *p = policy_of(rules, false);
    const struct question q = {
        .registry = "docker.io", .repository = "acme/app", .digest = A, .action = ACTION_PULL, .now = NOW};
    struct decision d;
    policy_decide(p, &q, NULL, NULL, &d);
    cr_expect(!d.allow && d.reason == DECIDED_NO_LINK, "NULL: there are none");
    policy_free(p);
}

// Signatures of signatures in a circle: each tag's subject is what another such tag led to.
Test(policy, circles_of_subjects_end) {
    const char *const rules[] = {"+docker.io/acme/*:v*", NULL};
    struct policy *p = policy_of(rules, false);
    struct links *l = links_new(NULL, NULL);
    static char hex[3][65];
    for (int i = 0; i < 200; i++) {
        char tag[100], digest[100];
        for (int k = 0; k < 3; k++)
            snprintf(hex[k], sizeof hex[k], "%064x", (i + k) % 200);
        snprintf(tag, sizeof tag, "sha256-%s.sig", hex[0]);
        snprintf(digest, sizeof digest, "sha256:%s", hex[1]);
        links_tag(l, "docker.io", "acme/app", tag, digest);
        snprintf(digest, sizeof digest, "sha256:%s", hex[2]);
        links_tag(l, "docker.io", "acme/app", tag, digest);
    }
    char digest[100];
    snprintf(digest, sizeof digest, "sha256:%064x", 7);
    const struct question q = {
        .registry = "docker.io", .repository = "acme/app", .digest = digest, .action = ACTION_PULL, .now = NOW};
    struct decision d;
    policy_decide(p, &q, ask_links, l, &d);
    cr_expect(!d.allow && d.reason == DECIDED_NO_LINK, "a circle without an allowed tag leads nowhere");
    links_free(l);
    policy_free(p);
}

Test(policy, listing_and_actions) {
    static const struct {
        unsigned first, second; // Of a deny of everything, then of an allow of everything; 0: none such.
        bool allow;
        const char *why;
    } lists[] = {
        {ACTION_LIST, ACTION_PULL, false, "a deny for list"},
        {ACTION_PULL, ACTION_PULL, false, "a deny of every pull leaves nothing to list"},
        {ACTION_PULL, ACTION_LIST, true, "but an allow for list itself"},
        {ACTION_PUSH, ACTION_PULL, true, "a deny for push is another matter"},
    };
    const char *const all[] = {"**"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct rule_spec rules[] = {
            {.patterns = all, .pattern_count = 1, .actions = lists[i].first, .expires = INT64_MAX},
            {.allow = true, .patterns = all, .pattern_count = 1, .actions = lists[i].second, .expires = INT64_MAX},
        };
        struct policy *p = policy_new(rules, 2, listed, 1, NULL, 0, NULL);
        const struct question q = {.registry = "docker.io", .repository = "a/b", .action = ACTION_LIST, .now = NOW};
        struct decision d;
        policy_decide_list(p, &q, &d);
        cr_expect_eq(d.allow, lists[i].allow, "%s", lists[i].why);
        policy_free(p);
    }
}

Test(policy, refused) {
    static const struct {
        struct rule_spec rule;
        const char *pattern, *says, *why;
    } bad[] = {
        {{.allow = true}, "alpine", "rules[1].allow[0]: \"alpine\"", "the rule and pattern at fault"},
        {{.allow = false}, "docker.io/a?", "rules[1].deny[0]: ", "of a deny, too"},
        {{.allow = true}, "acme/app", "write \"docker.io/acme/app\"", "Docker's short form"},
        {{.allow = true, .actions = ACTION_PULL | ACTION_PUSH},
         "**",
         "rules[1].actions: pushes are not supported yet",
         "push in an allow"},
        {{.allow = true, .actions = ACTION_DELETE}, "**", "not supported yet", "delete in an allow"},
        {{.allow = true, .name = "first"}, "**", "rules[1].name: \"first\"", "a name given twice"},
    };
    const char *all = "**";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rule_spec rules[2] = {{.allow = true, .name = "first", .patterns = &all, .pattern_count = 1},
                                     bad[i].rule};
        rules[1].patterns = &bad[i].pattern;
        rules[1].pattern_count = 1;
        struct err err = {0};
        cr_expect_null(policy_new(rules, 2, listed, 4, NULL, 0, &err), "%s", bad[i].why);
        cr_expect(strstr(err.text, bad[i].says) != NULL, "%s: said: %s", bad[i].why, err.text);
        cr_expect_eq(strncmp(err.text, "rules[1]", 8), 0, "%s: begins with the rule: %s", bad[i].why, err.text);
    }
    const char *acme = "acme/app", *acme_registry = "acme";
    struct rule_spec rule = {.allow = true, .patterns = &acme, .pattern_count = 1};
    struct policy *p = policy_new(&rule, 1, &acme_registry, 1, NULL, 0, NULL);
    cr_expect_not_null(p, "a listed registry may have any name");
    policy_free(p);
}

Test(policy, says_of_itself) {
    const char *all = "**";
    struct rule_spec rules[2] = {
        {.allow = true, .name = "CHG-1", .message = "ask us", .owner = "team", .patterns = &all, .pattern_count = 1},
        {.patterns = &all, .pattern_count = 1},
    };
    struct policy *p = policy_new(rules, 2, listed, 4, NULL, 0, NULL);
    cr_expect_eq(policy_rule_count(p), 2);
    cr_expect_str_eq(policy_rule_name(p, 0), "CHG-1");
    cr_expect_str_eq(policy_rule_name(p, 1), "rules[1]");
    cr_expect_str_eq(policy_rule_message(p, 0), "ask us");
    cr_expect_null(policy_rule_message(p, 1));
    cr_expect_str_eq(policy_rule_owner(p, 0), "team");
    cr_expect_null(policy_rule_owner(p, 1));
    cr_expect_null(policy_rule_name(p, DECISION_NO_RULE), "no rule has no name");
    cr_expect_str_eq(policy_registry(p, "docker.io"), "docker.io");
    cr_expect_str_eq(policy_registry(p, "a.wild.example"), "*.wild.example");
    cr_expect_str_eq(policy_registry(p, "a.deep.wild.example"), "*.deep.wild.example", "the most specific wins");
    cr_expect_null(policy_registry(p, "wild.example"));
    policy_free(p);
}

// 10,000 rules with distinct prefixes, 100 of them beginning with a wildcard: the last is found without a scan.
Test(policy, index_not_scan) {
    enum { COUNT = 10000, WILD = 100 };
    static char text[COUNT][80];
    static const char *patterns[COUNT];
    static struct rule_spec rules[COUNT];
    for (int i = 0; i < COUNT; i++) {
        const char *format = i < WILD     ? "*.r%d.wild.example/team/**"
                             : i % 3 == 0 ? "registry.example.com/team-%d/**"
                             : i % 3 == 1 ? "docker.io/team-%d/app:v*"
                                          : "docker.io/x-%d-*/**";
        snprintf(text[i], sizeof text[i], format, i);
        patterns[i] = text[i];
        rules[i] =
            (struct rule_spec){.allow = true, .patterns = &patterns[i], .pattern_count = 1, .expires = INT64_MAX};
    }
    struct err err = {0};
    struct policy *p = policy_new(rules, COUNT, listed, 4, NULL, 0, &err);
    cr_assert(p != NULL, "%s", err.text);
    const struct question q = {.registry = "registry.example.com",
                               .repository = "team-9999/app",
                               .tag = "1",
                               .action = ACTION_PULL,
                               .now = NOW};
    struct decision d;
    policy_decide(p, &q, NULL, NULL, &d);
    cr_expect(d.allow && d.rule == COUNT - 1, "the last rule decides: %d", d.rule);
    cr_expect_leq(policy_candidates(p, q.registry, q.repository), (size_t)WILD + 1, "at most the wildcards and one");
    cr_expect_leq(policy_candidates(p, "docker.io", "x-9998-a/b/c"), (size_t)WILD + 1, "a star within a component");
    cr_expect_leq(policy_candidates(p, "docker.io", "nobody/app"), (size_t)WILD, "no rule at all");
    policy_free(p);
}

// What the index finds is what a scan would find, in the same order.
Test(policy, index_keeps_the_order) {
    static const char *const patterns[] = {
        "docker.io/a/b/c:x1",
        "*/a/b/c:x2",
        "docker.io/a/**:x3",
        "**:x4",
        "docker.io/**:x5",
        "docker.io/a/b*/c:x6",
        "docker.io/a/b/*:x7",
        "*.io/a/**:x8",
        "docker.io/a/*/c:x9",
        "dock*.io/a/b/c:x10",
        "docker.io/**/c:x11",
        "docker.io/a/b/c:x12",
        "*/**",
    };
    enum { COUNT = sizeof patterns / sizeof *patterns };
    struct rule_spec rules[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        rules[i] =
            (struct rule_spec){.allow = true, .patterns = &patterns[i], .pattern_count = 1, .expires = INT64_MAX};
    struct policy *p = policy_new(rules, COUNT, listed, 4, NULL, 0, NULL);
    cr_assert_not_null(p);
    for (int i = 1; i <= COUNT; i++) {
        char tag[16];
        snprintf(tag, sizeof tag, "x%d", i);
        const struct question q = {
            .registry = "docker.io", .repository = "a/b/c", .tag = tag, .action = ACTION_PULL, .now = NOW};
        struct decision d;
        policy_decide(p, &q, NULL, NULL, &d);
        cr_expect_eq(d.rule, i - 1, "tag %s: rule %d", tag, d.rule);
    }
    policy_free(p);
}

// --- lint ---

struct heard {
    char text[4096];
};

static void hear(void *ctx, const char *path, const char *sentence) {
    struct heard *h = ctx;
    size_t len = strlen(h->text);
    snprintf(h->text + len, sizeof h->text - len, "%s %s\n", path, sentence);
}

Test(policy, lint) {
    static const struct {
        const char *rules[RULES_HERE + 1];
        const char *says; // NULL: nothing.
        const char *why;
    } lints[] = {
        {{"+docker.io/library/**", "-**"}, NULL, "nothing to say"},
        {{"+quay.io/**"}, "rules[0].allow[0] can never match: the registry quay.io is not in", "unlisted"},
        {{"+docker.io/** quay.io/**"}, "rules[0].allow[1] can never match", "one pattern of two"},
        {{"+a.wild.example/**"}, NULL, "listed by a wildcard"},
        {{"+docker.io/**", "-docker.io/acme/app"},
         "rules[1] can never match a pull: rules[0] stands before it",
         "shadowed"},
        {{"+docker.io/acme/app", "-docker.io/acme/app"}, "rules[1] can never match", "equal"},
        {{"+docker.io/acme/**", "+docker.io/acme/*/x:v1"}, "rules[1] can never match", "a subtree"},
        {{"+**", "-docker.io/a/b@" A}, "rules[1] can never match", "everything stands before"},
        {{"+docker.io/acme/*:v*", "-docker.io/acme/*:v1"}, "rules[1] can never match", "a tag within tags"},
        {{"+docker.io/acme/*", "-docker.io/acme/**"}, NULL, "the other is wider"},
        {{"+docker.io/acme/*:v*", "-docker.io/acme/*"}, NULL, "only the tags are taken"},
        {{"+docker.io/acme/*:*", "-docker.io/acme/*@" A}, NULL, "tags do not cover digests"},
        {{"?+docker.io/**", "-docker.io/acme/app"}, NULL, "a monitor rule shadows nothing"},
        {{"+docker.io/**", "-docker.io/acme/app registry.example.com/x"}, NULL, "one pattern is free"},
        {{"+docker.io/acme/app", "-docker.io/acme/app docker.io/acme/app"},
         "rules[1] can never match",
         "all are taken"},
        {{"+docker.io/**", "-*.wild.example/**", "-**"}, NULL, "separate registries"},
        {{"-docker.io/acme/app:v1", "+docker.io/**"},
         "rules[0] a deny by tag (\":v1\") denies the name, not the content",
         "a deny by tag"},
        {{"<+docker.io/acme/**"}, "rules[0] expired at 1970-01-12T13:46:40Z", "expired"},
    };
    for (size_t i = 0; i < sizeof lints / sizeof *lints; i++) {
        struct policy *p = policy_of(lints[i].rules, false);
        struct heard h = {0};
        policy_lint(p, NOW, hear, &h);
        if (lints[i].says == NULL)
            cr_expect_str_eq(h.text, "", "row %zu, %s: said: %s", i, lints[i].why, h.text);
        else
            cr_expect(strstr(h.text, lints[i].says) != NULL, "row %zu, %s: said: %s", i, lints[i].why, h.text);
        policy_free(p);
    }
}

Test(policy, lint_of_actions) {
    static const struct {
        unsigned first, second; // 0: the default of an allow, then of a deny.
        const char *says;
        const char *why;
    } lints[] = {
        {0, 0, "rules[1] can never match a pull: rules[0] stands", "the allow takes every pull, and no more"},
        {0, ACTION_PULL, "rules[1] can never match: rules[0] stands", "nothing is left"},
        {0, ACTION_PUSH, NULL, "a deny of push alone says something"},
        {ACTION_LIST, 0, NULL, "pulls are left"},
    };
    const char *all = "**";
    for (size_t i = 0; i < sizeof lints / sizeof *lints; i++) {
        struct rule_spec rules[2] = {
            {.allow = true, .patterns = &all, .pattern_count = 1, .actions = lints[i].first, .expires = INT64_MAX},
            {.patterns = &all, .pattern_count = 1, .actions = lints[i].second, .expires = INT64_MAX},
        };
        struct policy *p = policy_new(rules, 2, listed, 4, NULL, 0, NULL);
        struct heard h = {0};
        policy_lint(p, NOW, hear, &h);
        if (lints[i].says == NULL)
            cr_expect_str_eq(h.text, "", "%s: said: %s", lints[i].why, h.text);
        else
            cr_expect(strstr(h.text, lints[i].says) != NULL, "%s: said: %s", lints[i].why, h.text);
        policy_free(p);
    }
}

Test(policy, lint_of_the_end) {
    const char *all = "**";
    for (int days = 13; days <= 15; days++) {
        struct rule_spec rule = {
            .allow = true, .patterns = &all, .pattern_count = 1, .expires = NOW + (int64_t)days * DAY};
        struct policy *p = policy_new(&rule, 1, listed, 4, NULL, 0, NULL);
        struct heard h = {0};
        policy_lint(p, NOW, hear, &h);
        cr_expect_eq(strstr(h.text, "ends within 14 days") != NULL, days <= 14, "%d days: %s", days, h.text);
        policy_free(p);
    }
}
