// SPDX-License-Identifier: Apache-2.0
//
// Compiling a policy, and what it says of itself; deciding is in decide.c, warnings are in lint.c.
//
// A policy owns copies of everything; it is not changed after policy_new(), so any thread may read it.

#include "gateway/policy/policy.h"

#include "gateway/policy/index.h"
#include "gateway/policy/rules.h"
#include "mirrors/base/host.h"
#include "mirrors/base/mem.h"
#include "mirrors/oci/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- names and patterns ---

size_t rules_name(const char *registry, const char *repository, char *out) {
    size_t len = strnlen(registry, INDEX_HEAD_MAX);
    memcpy(out, registry, len);
    if (len < INDEX_HEAD_MAX)
        out[len++] = '/';
    size_t rest = strnlen(repository, INDEX_HEAD_MAX - len);
    memcpy(out + len, repository, rest);
    out[len + rest] = '\0';
    return len + rest;
}

size_t rules_head(const struct pattern *p, char *out) {
    size_t len = rules_name(p->registry, p->repository, out);
    size_t literal = strcspn(out, "*");
    return literal < len ? literal : len;
}

// A single name under a wildcard registry means Docker Hub's official image too: there it is canonically library/NAME.
static bool matches_official(const struct pattern *p, const char *registry, const char *repository) {
    const char *prefix = "library/";
    return strcmp(registry, "docker.io") == 0 && strchr(p->registry, '*') != NULL &&
           strchr(p->repository, '/') == NULL && strncmp(repository, prefix, strlen(prefix)) == 0 &&
           pattern_match_repository(p->repository, repository + strlen(prefix));
}

bool rules_pattern_matches(const struct pattern *p, const char *registry, const char *repository) {
    // The repository first: it is cheaper, and rejects most.
    if (!pattern_match_repository(p->repository, repository) && !matches_official(p, registry, repository))
        return false;
    return pattern_match_registry(p, registry);
}

// --- registries ---

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_registries(struct policy *p, const char *const *registries, size_t count) {
    p->exact = mem_zalloc(count + 1, sizeof *p->exact);
    p->wild = mem_zalloc(count + 1, sizeof *p->wild);
    for (size_t i = 0; i < count; i++) {
        bool wild = strchr(registries[i], '*') != NULL;
        *(wild ? &p->wild[p->wild_count++] : &p->exact[p->exact_count++]) = mem_strdup(registries[i]);
    }
    qsort(p->exact, p->exact_count, sizeof *p->exact, compare_strings);
}

static bool wild_match(const char *pattern, const char *registry) {
    struct pattern p = {.registry = (char *)pattern};
    return pattern_match_registry(&p, registry);
}

static const char *wild_registry(const struct policy *p, const char *registry) {
    const char *best = NULL;
    for (size_t i = 0; i < p->wild_count; i++)
        if (wild_match(p->wild[i], registry) &&
            (best == NULL || host_pattern_specificity(p->wild[i]) > host_pattern_specificity(best)))
            best = p->wild[i];
    return best;
}

const char *policy_registry(const struct policy *p, const char *registry) {
    char *const *found = bsearch(&registry, p->exact, p->exact_count, sizeof *p->exact, compare_strings);
    return found != NULL ? *found : wild_registry(p, registry);
}

// --- rules ---

static const char *verb(const struct rule_spec *spec) {
    return spec->allow ? "allow" : "deny";
}

// "acme/app" is Docker's short form; a rule that took `acme` for a registry would silently never match.
static bool check_registry(const struct policy *p, const char *text, const struct pattern *pattern, struct err *err) {
    const char *r = pattern->registry;
    if (strchr(r, '*') != NULL || name_looks_like_registry(r, strlen(r)) || policy_registry(p, r) != NULL)
        return true;
    return err_set(err, "\"%s\": \"%s\" is not a registry; write \"docker.io/%s\"", text, r, text);
}

static bool add_pattern(struct policy *p, const char *text, uint32_t rule, struct err *err) {
    struct compiled *c = &p->patterns[p->pattern_count];
    if (!pattern_parse(text, &c->pattern, err))
        return false;
    c->rule = rule;
    p->pattern_count++;
    if (!check_registry(p, text, &c->pattern, err))
        return false;
    char head[INDEX_HEAD_MAX + 1];
    size_t len = rules_head(&c->pattern, head);
    index_add(p->index, head, len, (uint32_t)(p->pattern_count - 1));
    return true;
}

static unsigned actions_of(const struct rule_spec *spec) {
    if (spec->actions != 0)
        return spec->actions;
    return spec->allow ? ACTION_PULL : ACTION_ALL;
}

static void copy_rule(struct policy *p, const struct rule_spec *spec) {
    struct rule *r = &p->rules[p->rule_count];
    *r = (struct rule){
        .allow = spec->allow,
        .monitor = spec->monitor,
        .actions = actions_of(spec),
        .expires = spec->expires,
        .name = spec->name != NULL ? mem_strdup(spec->name) : mem_printf("rules[%zu]", p->rule_count),
        .message = mem_strdup(spec->message),
        .owner = mem_strdup(spec->owner),
        .first = p->pattern_count,
        .count = spec->pattern_count,
    };
}

static bool add_rule(struct policy *p, const struct rule_spec *spec, struct err *err) {
    size_t number = p->rule_count;
    if (spec->allow && (spec->actions & (ACTION_PUSH | ACTION_DELETE)) != 0)
        return err_set(err, "rules[%zu].actions: pushes are not supported yet: an allow can permit pull and list",
                       number);
    copy_rule(p, spec);
    p->rule_count++;
    if (!who_parse(&p->rules[number].who, spec->who, spec->who_count, err))
        return err_prefix(err, "rules[%zu].who", number);
    for (size_t i = 0; i < spec->pattern_count; i++)
        if (!add_pattern(p, spec->patterns[i], (uint32_t)number, err))
            return err_prefix(err, "rules[%zu].%s[%zu]: ", number, verb(spec), i);
    return true;
}

static int compare_rule_names(const void *a, const void *b) {
    const struct rule *const *x = a, *const *y = b;
    int order = strcmp((*x)->name, (*y)->name);
    return order != 0 ? order : (*x < *y ? -1 : 1);
}

static bool check_names(const struct policy *p, struct err *err) {
    const struct rule **sorted = mem_zalloc(p->rule_count + 1, sizeof(const struct rule *));
    for (size_t i = 0; i < p->rule_count; i++)
        sorted[i] = &p->rules[i];
    qsort(sorted, p->rule_count, sizeof *sorted, compare_rule_names);
    bool unique = true;
    for (size_t i = 1; unique && i < p->rule_count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            unique = err_set(err, "rules[%zu].name: \"%s\" is already the name of rules[%zu]",
                             (size_t)(sorted[i] - p->rules), sorted[i]->name, (size_t)(sorted[i - 1] - p->rules));
    free(sorted);
    return unique;
}

static bool check_sizes(const struct rule_spec *rules, size_t rule_count, size_t *patterns, struct err *err) {
    if (rule_count > RULES_MAX)
        return err_set(err, "rules: there are more than %d rules", RULES_MAX);
    *patterns = 0;
    for (size_t i = 0; i < rule_count; i++) {
        if (rules[i].pattern_count > PATTERNS_MAX - *patterns)
            return err_set(err, "rules[%zu]: there are more than %d patterns", i, PATTERNS_MAX);
        *patterns += rules[i].pattern_count;
    }
    return true;
}

static bool add_rules(struct policy *p, const struct rule_spec *rules, size_t rule_count, struct err *err) {
    for (size_t i = 0; i < rule_count; i++)
        if (!add_rule(p, &rules[i], err))
            return false;
    return check_names(p, err);
}

struct policy *policy_new(const struct rule_spec *rules, size_t rule_count, const char *const *registries,
                          size_t registry_count, const struct group_spec *groups, size_t group_count, struct err *err) {
    size_t patterns = 0;
    if (rules == NULL)
        rule_count = 0;
    if (!check_sizes(rules, rule_count, &patterns, err))
        return NULL;
    struct policy *p = mem_zalloc(1, sizeof *p);
    p->ruled = rules != NULL;
    p->rules = mem_zalloc(rule_count + 1, sizeof *p->rules);
    p->patterns = mem_zalloc(patterns + 1, sizeof *p->patterns);
    p->index = index_new();
    add_registries(p, registries, registry_count);
    if (who_groups_parse(&p->groups, groups, group_count, err) && add_rules(p, rules, rule_count, err))
        return p;
    policy_free(p);
    return NULL;
}

static void free_strings(char **strings, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(strings[i]);
    free(strings);
}

void policy_free(struct policy *p) {
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->rule_count; i++) {
        free(p->rules[i].name);
        free(p->rules[i].message);
        free(p->rules[i].owner);
        who_deinit(&p->rules[i].who);
    }
    for (size_t i = 0; i < p->pattern_count; i++)
        pattern_deinit(&p->patterns[i].pattern);
    free(p->rules);
    free(p->patterns);
    who_groups_deinit(&p->groups);
    index_free(p->index);
    free_strings(p->exact, p->exact_count);
    free_strings(p->wild, p->wild_count);
    free(p);
}

// --- what it says of itself ---

static const struct rule *rule_at(const struct policy *p, int rule) {
    return rule >= 0 && (size_t)rule < p->rule_count ? &p->rules[rule] : NULL;
}

size_t policy_rule_count(const struct policy *p) {
    return p->rule_count;
}

const char *policy_rule_name(const struct policy *p, int rule) {
    const struct rule *r = rule_at(p, rule);
    return r == NULL ? NULL : r->name;
}

const char *policy_rule_message(const struct policy *p, int rule) {
    const struct rule *r = rule_at(p, rule);
    return r == NULL ? NULL : r->message;
}

const char *policy_rule_owner(const struct policy *p, int rule) {
    const struct rule *r = rule_at(p, rule);
    return r == NULL ? NULL : r->owner;
}

bool policy_rule_for_anyone(const struct policy *p, int rule) {
    const struct rule *r = rule_at(p, rule);
    return r == NULL || who_is_anyone(&r->who);
}

size_t policy_candidates(const struct policy *p, const char *registry, const char *repository) {
    char name[INDEX_HEAD_MAX + 1];
    struct index_walk walk;
    index_find(p->index, name, rules_name(registry, repository, name), &walk);
    return index_left(&walk);
}
