// SPDX-License-Identifier: Apache-2.0
//
// For the benchmark: how long a decision among 10,000 rules takes.
//
//     decide
//
// Distinct registry and repository prefixes, 100 of them with a wildcard in front; the request matches the last rule.
// Prints nanoseconds a decision.

#include "gateway/policy/policy.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

enum { RULES = 10000, WILD = 100, DECISIONS = 200000, TEXT = 128 };

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct policy *make(void) {
    static char text[RULES][TEXT];
    static const char *patterns[RULES];
    static struct rule_spec rules[RULES];
    static const char *const registries[] = {"*"};
    struct err err = {0};
    for (int i = 0; i < RULES; i++) {
        if (i < WILD)
            snprintf(text[i], TEXT, "*.wild%d.example/team%d/**", i, i);
        else
            snprintf(text[i], TEXT, "r%d.example/team%d/**", i % 50, i);
        patterns[i] = text[i];
        rules[i] =
            (struct rule_spec){.allow = true, .patterns = &patterns[i], .pattern_count = 1, .expires = INT64_MAX};
    }
    struct policy *p = policy_new(rules, RULES, registries, 1, NULL, 0, &err);
    if (p == NULL)
        fprintf(stderr, "decide: %s\n", err.text);
    return p;
}

int main(void) {
    char registry[TEXT], repository[TEXT];
    struct decision d = {0};
    struct policy *p = make();
    if (p == NULL)
        return 1;
    snprintf(registry, TEXT, "r%d.example", (RULES - 1) % 50);
    snprintf(repository, TEXT, "team%d/app", RULES - 1);
    struct question q = {.registry = registry, .repository = repository, .tag = "v1", .action = ACTION_PULL, .now = 1};
    double start = now_ns();
    for (int i = 0; i < DECISIONS; i++) {
        policy_decide(p, &q, NULL, NULL, &d);
        assert(d.allow && d.rule == RULES - 1);
    }
    printf("%.0f\n", (now_ns() - start) / DECISIONS);
    policy_free(p);
    return 0;
}
