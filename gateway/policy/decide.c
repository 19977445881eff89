// SPDX-License-Identifier: Apache-2.0
//
// Deciding: which rule speaks first of a tag, of a digest, of a listing.
//
// For one question the patterns that speak of its repository are collected once, in order, up to the first rule that
// settles every reference; then tags and digests are decided over those few. What was learned about digests (the
// links) is asked through a callback, which asks back about tags; a tag that stands for a digest (sha256-HEX.sig) asks
// on for that digest, so both the depth and the number of such questions are bounded.

#include "gateway/policy/policy.h"

#include "gateway/policy/index.h"
#include "gateway/policy/rules.h"
#include "mirrors/base/mem.h"
#include "mirrors/content/links.h"
#include "mirrors/oci/digest.h"
#include "mirrors/oci/name.h"

#include <stdlib.h>
#include <string.h>

enum { ASK_DEPTH_MAX = 3, ASK_LINKS_MAX = 64, SPEAKING_INLINE = 32 };

// --- which patterns speak of a repository ---

struct speaker {
    const struct rule *rule;
    const struct pattern *pattern;
};

struct search {
    const struct policy *policy;
    const struct question *q;
    unsigned actions;
    bool others; // An allow matches but for whom it speaks of.
    struct index_walk walk;
};

static void search_init(struct search *s, const struct policy *p, const struct question *q, unsigned actions) {
    char name[INDEX_HEAD_MAX + 1];
    s->policy = p;
    s->q = q;
    s->actions = actions;
    s->others = false;
    index_find(p->index, name, rules_name(q->registry, q->repository, name), &s->walk);
}

static bool search_next(struct search *s, struct speaker *out) {
    for (int64_t n; (n = index_next(&s->walk)) != INDEX_END;) {
        const struct compiled *c = &s->policy->patterns[n];
        const struct rule *r = &s->policy->rules[c->rule];
        if ((r->actions & s->actions) == 0 || s->q->now >= r->expires)
            continue;
        if (!rules_pattern_matches(&c->pattern, s->q->registry, s->q->repository))
            continue;
        if (!who_speaks_of(&r->who, &s->policy->groups, s->q->asker)) {
            s->others = s->others || r->allow;
            continue;
        }
        *out = (struct speaker){r, &c->pattern};
        return true;
    }
    return false;
}

struct speaking {
    struct speaker few[SPEAKING_INLINE];
    struct speaker *all; // `few`, or from the heap.
    size_t count, cap;
    bool others; // An allow would speak of the repository to somebody else.
};

static void speaking_add(struct speaking *s, struct speaker one) {
    if (s->count == s->cap) {
        struct speaker *more = mem_resize(s->all == s->few ? NULL : s->all, 2 * s->cap, sizeof *more);
        if (s->all == s->few)
            memcpy(more, s->few, sizeof s->few);
        s->all = more;
        s->cap *= 2;
    }
    s->all[s->count++] = one;
}

static bool any_reference(const struct pattern *p) {
    return p->tag == NULL && p->digest == NULL;
}

static void speaking_init(struct speaking *s, const struct policy *p, const struct question *q) {
    s->all = s->few;
    s->count = 0;
    s->cap = SPEAKING_INLINE;
    struct search search;
    search_init(&search, p, q, q->action);
    const struct rule *settles = NULL;
    for (struct speaker one; search_next(&search, &one);) {
        // The settling rule's other patterns still count: they may name a digest.
        if (settles != NULL && one.rule != settles)
            break;
        speaking_add(s, one);
        if (any_reference(one.pattern) && !one.rule->monitor)
            settles = one.rule;
    }
    s->others = search.others;
}

static void speaking_deinit(struct speaking *s) {
    if (s->all != s->few)
        free(s->all);
}

// --- one question ---

// Digests that are denied by digest; found once per decision, when the links are first asked.
struct denied {
    const char **digests;
    size_t count;
    bool known;
};

struct asking {
    const struct policy *policy;
    const struct question *q;
    const struct speaking *speaking;
    policy_links_fn links; // NULL: there are none.
    void *links_ctx;
    unsigned depth;
    unsigned *links_left; // Over the whole decision, whatever the depth.
    struct denied *denied;
};

static int rule_number(const struct asking *a, const struct rule *r) {
    return (int)(r - a->policy->rules);
}

static void note_monitor(const struct asking *a, const struct rule *r, struct decision *out) {
    if (out->would != DECISION_NO_RULE)
        return;
    out->would = rule_number(a, r);
    out->would_allow = r->allow;
}

static void decided(const struct asking *a, const struct rule *r, struct decision *out) {
    out->allow = r->allow;
    out->reason = DECIDED_BY_RULE;
    out->rule = rule_number(a, r);
}

static void decision_init(struct decision *out) {
    *out = (struct decision){.reason = DECIDED_NO_RULE, .rule = DECISION_NO_RULE, .would = DECISION_NO_RULE};
}

// By the tag's name alone.
static void walk_tag(const struct asking *a, const char *tag, struct decision *out) {
    decision_init(out);
    for (size_t i = 0; i < a->speaking->count; i++) {
        const struct speaker *s = &a->speaking->all[i];
        if (s->pattern->digest != NULL || (s->pattern->tag != NULL && !pattern_match_tag(s->pattern->tag, tag)))
            continue;
        if (!s->rule->monitor) {
            decided(a, s->rule, out);
            return;
        }
        note_monitor(a, s->rule, out);
    }
}

static bool names_digest(const struct pattern *p, const char *digest) {
    return p->digest != NULL && strcmp(p->digest, digest) == 0;
}

static bool rule_names_digest(const struct asking *a, const struct rule *r, const char *digest) {
    for (size_t i = 0; i < a->speaking->count; i++)
        if (a->speaking->all[i].rule == r && names_digest(a->speaking->all[i].pattern, digest))
            return true;
    return false;
}

// By the rules that speak of every reference or of this digest, links aside.
static void walk_digest(const struct asking *a, const char *digest, struct decision *out) {
    decision_init(out);
    for (size_t i = 0; i < a->speaking->count; i++) {
        const struct speaker *s = &a->speaking->all[i];
        if (!any_reference(s->pattern) && !names_digest(s->pattern, digest))
            continue;
        if (!s->rule->monitor) {
            decided(a, s->rule, out);
            out->by_digest = rule_names_digest(a, s->rule, digest);
            return;
        }
        note_monitor(a, s->rule, out);
    }
}

// --- which digests are denied by digest ---

static int by_digest_then_order(const void *a, const void *b) {
    const struct speaker *x = *(const struct speaker *const *)a, *y = *(const struct speaker *const *)b;
    int c = strcmp(x->pattern->digest, y->pattern->digest);
    return c != 0 ? c : (x > y) - (x < y);
}

static bool speaks_of_digest(const struct speaker *s) {
    return s->pattern->digest != NULL && !s->rule->monitor;
}

// How many patterns speak of digests, or 0 where none of them denies: then there is nothing to sort.
static size_t digest_speakers(const struct speaking *s) {
    size_t count = 0;
    bool denies = false;
    for (size_t i = 0; i < s->count; i++) {
        if (!speaks_of_digest(&s->all[i]))
            continue;
        count++;
        denies = denies || !s->all[i].rule->allow;
    }
    return denies ? count : 0;
}

// Of those that speak of a digest the first decides. What allows every reference ends the list of the speaking, so
// nothing else can come before a denial.
static void find_denied(const struct speaking *s, struct denied *out) {
    out->known = true;
    size_t count = digest_speakers(s), at = 0;
    if (count == 0)
        return;
    const struct speaker **of = mem_zalloc(count, sizeof(*of));
    for (size_t i = 0; i < s->count; i++)
        if (speaks_of_digest(&s->all[i]))
            of[at++] = &s->all[i];
    qsort(of, count, sizeof(*of), by_digest_then_order);
    out->digests = mem_zalloc(count, sizeof(*out->digests));
    for (size_t i = 0; i < count; i++) {
        bool first = i == 0 || strcmp(of[i - 1]->pattern->digest, of[i]->pattern->digest) != 0;
        if (first && !of[i]->rule->allow)
            out->digests[out->count++] = of[i]->pattern->digest;
    }
    free(of);
}

// --- links ---

static void apply_digest(const struct asking *a, const char *digest, struct decision *out);
static void ask_digest(const struct asking *a, const char *digest, struct decision *out);

static void ask_tag(const struct asking *a, const char *tag, struct decision *out) {
    char subject[DIGEST_TEXT_MAX + 1];
    if (name_tag_subject(tag, subject))
        ask_digest(a, subject, out);
    else
        walk_tag(a, tag, out);
}

static bool tag_allowed(void *ctx, const char *tag, const char *led_to) {
    struct decision d;
    ask_tag(ctx, tag, &d);
    if (d.allow)
        apply_digest(ctx, led_to, &d);
    return d.allow;
}

static bool ask_links(const struct asking *a, const char *digest, char *tag) {
    if (a->links == NULL || a->depth >= ASK_DEPTH_MAX || *a->links_left == 0)
        return false;
    --*a->links_left;
    struct asking deeper = *a;
    deeper.depth++;
    if (!a->denied->known)
        find_denied(a->speaking, a->denied);
    const struct links_asker asker = {
        .tag_allowed = tag_allowed, .ctx = &deeper, .denied = a->denied->digests, .denied_count = a->denied->count};
    return a->links(a->links_ctx, a->q->registry, a->q->repository, digest, &asker, tag);
}

// Is there an allow that is limited to tags or digests, so that a link could have helped?
static bool limited_allow(const struct asking *a) {
    for (size_t i = 0; i < a->speaking->count; i++) {
        const struct speaker *s = &a->speaking->all[i];
        if (s->rule->allow && !s->rule->monitor && !any_reference(s->pattern))
            return true;
    }
    return false;
}

static void decided_by_link(const struct asking *a, const char *tag, struct decision *out) {
    struct decision by_tag;
    walk_tag(a, tag, &by_tag);
    out->allow = true;
    out->reason = DECIDED_LINK;
    out->rule = by_tag.allow ? by_tag.rule : DECISION_NO_RULE;
    memcpy(out->via, tag, strlen(tag) + 1);
}

static void ask_digest(const struct asking *a, const char *digest, struct decision *out) {
    walk_digest(a, digest, out);
    if (out->allow || out->by_digest || a->q->action != ACTION_PULL)
        return;
    char tag[TAG_MAX + 1] = "";
    if (ask_links(a, digest, tag))
        decided_by_link(a, tag, out);
    else if (limited_allow(a))
        out->reason = DECIDED_NO_LINK;
}

// --- the interface ---

// The tag was allowed by name and its digest is known: a rule that denies that very digest wins.
static void apply_digest(const struct asking *a, const char *digest, struct decision *out) {
    struct decision d;
    walk_digest(a, digest, &d);
    int would = out->would;
    bool would_allow = out->would_allow;
    // A monitor rule counts here as the rule itself would: only if it denies this very digest.
    if (would == DECISION_NO_RULE && d.would != DECISION_NO_RULE && !d.would_allow &&
        rule_names_digest(a, &a->policy->rules[d.would], digest)) {
        would = d.would;
        would_allow = false;
    }
    if (d.reason == DECIDED_BY_RULE && !d.allow && d.by_digest)
        *out = d;
    out->would = would;
    out->would_allow = would_allow;
}

static void decide_reference(const struct asking *a, struct decision *out) {
    const struct question *q = a->q;
    if (q->tag != NULL)
        ask_tag(a, q->tag, out);
    else if (q->digest != NULL)
        ask_digest(a, q->digest, out);
    else
        walk_digest(a, "", out); // The repository as a whole: what speaks of every reference.
    if (out->allow && q->tag != NULL && q->digest != NULL)
        apply_digest(a, q->digest, out);
}

// What needs no look at the rules; false: they decide.
static bool decide_without_rules(const struct policy *p, const struct question *q, struct decision *out) {
    decision_init(out);
    if (policy_registry(p, q->registry) == NULL) {
        out->reason = DECIDED_NOT_LISTED;
        return true;
    }
    if (p->ruled)
        return false;
    out->allow = q->action == ACTION_PULL || q->action == ACTION_LIST;
    out->reason = out->allow ? DECIDED_REGISTRIES_ONLY : DECIDED_ACTION;
    return true;
}

void policy_decide(const struct policy *p, const struct question *q, policy_links_fn links, void *links_ctx,
                   struct decision *out) {
    if (q->action == ACTION_LIST) {
        policy_decide_list(p, q, out);
        return;
    }
    if (decide_without_rules(p, q, out))
        return;
    struct speaking speaking;
    speaking_init(&speaking, p, q);
    unsigned links_left = ASK_LINKS_MAX;
    struct denied denied = {0};
    struct asking a = {.policy = p,
                       .q = q,
                       .speaking = &speaking,
                       .links = links,
                       .links_ctx = links_ctx,
                       .links_left = &links_left,
                       .denied = &denied};
    decide_reference(&a, out);
    out->others = !out->allow && speaking.others;
    free(denied.digests);
    speaking_deinit(&speaking);
}

size_t policy_denied_digests(const struct policy *p, const struct question *q, const char ***out) {
    struct denied denied = {0};
    struct decision none;
    if (!decide_without_rules(p, q, &none)) {
        struct speaking speaking;
        speaking_init(&speaking, p, q);
        find_denied(&speaking, &denied);
        speaking_deinit(&speaking);
    }
    *out = denied.digests;
    return denied.count;
}

// Does this rule settle a listing? An allow does if something may be pulled by it or it permits the listing itself; a
// deny does if it speaks of every reference.
static bool settles_list(const struct speaker *s, bool pull_denied) {
    if (s->rule->allow)
        return (s->rule->actions & ACTION_LIST) != 0 || !pull_denied;
    return any_reference(s->pattern) && (s->rule->actions & ACTION_LIST) != 0;
}

static void decide_list_by_rules(const struct asking *a, struct decision *out) {
    struct search search;
    search_init(&search, a->policy, a->q, ACTION_PULL | ACTION_LIST);
    const struct rule *pull_denied = NULL;
    for (struct speaker one; search_next(&search, &one);) {
        if (settles_list(&one, pull_denied != NULL)) {
            if (!one.rule->monitor) {
                decided(a, one.rule, out);
                return;
            }
            note_monitor(a, one.rule, out);
        } else if (pull_denied == NULL && !one.rule->allow && !one.rule->monitor && any_reference(one.pattern)) {
            pull_denied = one.rule;
        }
    }
    if (pull_denied != NULL)
        decided(a, pull_denied, out);
    out->others = !out->allow && search.others;
}

void policy_decide_list(const struct policy *p, const struct question *q, struct decision *out) {
    struct question list = *q;
    list.action = ACTION_LIST;
    if (decide_without_rules(p, &list, out))
        return;
    struct asking a = {.policy = p, .q = &list};
    decide_list_by_rules(&a, out);
}
