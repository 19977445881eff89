// SPDX-License-Identifier: Apache-2.0
//
// What `check` warns about in rules that are usable and yet probably not what was meant.
//
// Conservative: a rule is called shadowed only where that is certain, each of its patterns being covered by one
// pattern of an earlier rule that always decides. Pure; any thread.

#include "gateway/policy/policy.h"

#include "gateway/policy/index.h"
#include "gateway/policy/rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ENDING_SOON = 14 * 24 * 3600, PATH_MAX_TEXT = 64, SENTENCE_MAX = 1024 };

struct lint {
    const struct policy *p;
    int64_t now;
    void (*warn)(void *ctx, const char *path, const char *sentence);
    void *ctx;
};

__attribute__((format(printf, 3, 4))) static void warn(const struct lint *l, const char *path, const char *format,
                                                       ...) {
    char sentence[SENTENCE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    l->warn(l->ctx, path, sentence);
}

// --- registries ---

static bool has_star(const char *s) {
    return strchr(s, '*') != NULL;
}

static bool meets_listed_name(const struct policy *p, const struct pattern *pattern) {
    for (size_t i = 0; i < p->exact_count; i++)
        if (pattern_match_registry(pattern, p->exact[i]))
            return true;
    return false;
}

// Whether two wildcards meet is not worth an answer: with any listed wildcard a wildcard pattern may match.
static bool can_be_listed(const struct policy *p, const struct pattern *pattern) {
    if (has_star(pattern->registry))
        return p->wild_count > 0 || meets_listed_name(p, pattern);
    return policy_registry(p, pattern->registry) != NULL;
}

static void lint_registries(const struct lint *l, const struct rule *r, size_t number) {
    for (size_t i = 0; i < r->count; i++) {
        const struct pattern *pattern = &l->p->patterns[r->first + i].pattern;
        if (can_be_listed(l->p, pattern))
            continue;
        char path[PATH_MAX_TEXT];
        snprintf(path, sizeof path, "rules[%zu].%s[%zu]", number, r->allow ? "allow" : "deny", i);
        warn(l, path, "can never match: the registry %s is not in \"registries\"", pattern->registry);
    }
}

// --- shadows ---

static bool covers_registry(const struct pattern *a, const struct pattern *b) {
    if (strcmp(a->registry, b->registry) == 0 || strcmp(a->registry, "*") == 0)
        return true;
    return !has_star(b->registry) && pattern_match_registry(a, b->registry);
}

// "x/**" covers all that begins with "x/"; x itself may hold no star.
static bool covers_subtree(const char *a, const char *b) {
    size_t len = strlen(a);
    if (len < 3 || strcmp(a + len - 3, "/**") != 0 || strcspn(a, "*") != len - 2)
        return false;
    return strncmp(a, b, len - 2) == 0;
}

static bool covers_repository(const struct pattern *a, const struct pattern *b) {
    if (strcmp(a->repository, b->repository) == 0 || strcmp(a->repository, "**") == 0)
        return true;
    if (has_star(b->repository))
        return covers_subtree(a->repository, b->repository);
    return pattern_match_repository(a->repository, b->repository);
}

static bool covers_reference(const struct pattern *a, const struct pattern *b) {
    if (a->tag == NULL && a->digest == NULL)
        return true;
    if (a->digest != NULL)
        return b->digest != NULL && strcmp(a->digest, b->digest) == 0;
    if (b->tag == NULL)
        return false;
    if (strcmp(a->tag, b->tag) == 0 || strcmp(a->tag, "*") == 0)
        return true;
    return !has_star(b->tag) && pattern_match_tag(a->tag, b->tag);
}

static bool covers(const struct pattern *a, const struct pattern *b) {
    return covers_registry(a, b) && covers_repository(a, b) && covers_reference(a, b);
}

static bool always_decides(const struct rule *r, unsigned actions) {
    return !r->monitor && who_is_anyone(&r->who) && r->expires == INT64_MAX && (actions & ~r->actions) == 0;
}

// The earlier rule that takes everything this pattern could match for these actions; NULL: none is known. A pattern
// that covers another has a literal head that the other's begins with, so the index finds it.
static const struct rule *shadow_of(const struct policy *p, const struct rule *later, const struct pattern *pattern,
                                    unsigned actions) {
    char head[INDEX_HEAD_MAX + 1];
    struct index_walk walk;
    size_t len = rules_head(pattern, head);
    index_find(p->index, head, len, &walk);
    for (int64_t n; (n = index_next(&walk)) != INDEX_END && (size_t)n < later->first;) {
        const struct compiled *c = &p->patterns[n];
        const struct rule *earlier = &p->rules[c->rule];
        if (always_decides(earlier, actions) && covers(&c->pattern, pattern))
            return earlier;
    }
    return NULL;
}

// The first rule of those that together leave nothing of this one; NULL: something may be left.
static const struct rule *rule_shadow(const struct policy *p, const struct rule *r, unsigned actions) {
    const struct rule *first = NULL;
    for (size_t i = 0; i < r->count; i++) {
        const struct rule *shadow = shadow_of(p, r, &p->patterns[r->first + i].pattern, actions);
        if (shadow == NULL)
            return NULL;
        if (first == NULL)
            first = shadow;
    }
    return first;
}

static void lint_shadow(const struct lint *l, const struct rule *r, const char *path) {
    const struct rule *shadow = rule_shadow(l->p, r, r->actions);
    if (shadow != NULL) {
        warn(l, path, "can never match: %s stands before it and matches everything that it would", shadow->name);
        return;
    }
    // A deny means every action, an allow only pull: the exception that stands behind its allow is the common mistake.
    if ((r->actions & ACTION_PULL) != 0 && (shadow = rule_shadow(l->p, r, ACTION_PULL)) != NULL)
        warn(l, path, "can never match a pull: %s stands before it and matches every pull that it would", shadow->name);
}

// --- the rest ---

static void date_text(int64_t when, char *out, size_t size) {
    time_t t = (time_t)when;
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL || strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, size, "its end");
}

static void lint_expiry(const struct lint *l, const struct rule *r, const char *path) {
    if (r->expires == INT64_MAX || (r->expires > l->now && r->expires - l->now > ENDING_SOON))
        return;
    char date[64];
    date_text(r->expires, date, sizeof date);
    if (r->expires <= l->now)
        warn(l, path, "expired at %s and matches nothing any more", date);
    else
        warn(l, path, "ends within 14 days, at %s", date);
}

static void lint_deny_by_tag(const struct lint *l, const struct rule *r, const char *path) {
    if (r->allow || (r->actions & ACTION_PULL) == 0)
        return;
    for (size_t i = 0; i < r->count; i++) {
        const struct pattern *p = &l->p->patterns[r->first + i].pattern;
        if (p->tag == NULL)
            continue;
        warn(
            l, path,
            "a deny by tag (\":%s\") denies the name, not the content: what it names may be pulled by its digest or by "
            "another tag; to deny the content write its digest",
            p->tag);
        return;
    }
}

static void lint_groups(const struct lint *l, const struct rule *r, const char *path) {
    for (size_t i = 0; i < r->who.count; i++) {
        const struct who_member *m = &r->who.members[i];
        if (m->kind == WHO_GROUP && who_group_find(&l->p->groups, m->name) == NULL)
            warn(l, path,
                 "speaks of the group \"%s\", which \"groups\" does not have: only a token, a claim or a certificate "
                 "can put somebody into it",
                 m->name);
    }
}

void policy_lint(const struct policy *p, int64_t now, void (*warn_fn)(void *, const char *, const char *), void *ctx) {
    struct lint l = {.p = p, .now = now, .warn = warn_fn, .ctx = ctx};
    for (size_t i = 0; i < p->rule_count; i++) {
        const struct rule *r = &p->rules[i];
        char path[PATH_MAX_TEXT];
        snprintf(path, sizeof path, "rules[%zu]", i);
        if (r->count == 0)
            warn(&l, path, "has no pattern and matches nothing");
        lint_registries(&l, r, i);
        lint_shadow(&l, r, path);
        lint_expiry(&l, r, path);
        lint_deny_by_tag(&l, r, path);
        lint_groups(&l, r, path);
    }
}
