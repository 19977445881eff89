// SPDX-License-Identifier: Apache-2.0
//
// Patterns from strangers' files: the first line is the pattern, the second a name to match. What was accepted must
// hold what the parser promises.

#include "gateway/policy/policy.h"
#include "mirrors/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct pattern *p, const char *name) {
    if (p->registry == NULL || p->repository == NULL || (p->tag != NULL && p->digest != NULL))
        abort();
    // A pattern without a star is a name: it matches itself.
    if (strchr(p->repository, '*') == NULL && !pattern_match_repository(p->repository, p->repository))
        abort();
    if (strchr(p->registry, '*') == NULL && !pattern_match_registry(p, p->registry))
        abort();
    pattern_match_registry(p, name);
    pattern_match_repository(p->repository, name);
    if (p->tag != NULL)
        pattern_match_tag(p->tag, name);
}

// A rule with this pattern must decide about the name without harm, however odd the name is.
static void decide(const char *text, const char *name) {
    const struct rule_spec rule = {.allow = true, .patterns = &text, .pattern_count = 1, .expires = INT64_MAX};
    const char *registries[] = {"docker.io", "*"};
    struct err err = {0};
    struct policy *p = policy_new(&rule, 1, registries, 2, NULL, 0, &err);
    if (p == NULL)
        return;
    const struct question q = {.registry = "docker.io", .repository = name, .tag = name, .action = ACTION_PULL};
    struct decision d;
    policy_decide(p, &q, NULL, NULL, &d);
    policy_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = mem_strndup((const char *)data, size);
    char *name = strchr(text, '\n');
    if (name != NULL)
        *name++ = '\0';
    struct pattern p;
    struct err err = {0};
    if (pattern_parse(text, &p, &err)) {
        check(&p, name != NULL ? name : "a/b");
        pattern_deinit(&p);
    } else if (err.text[0] == '\0') {
        abort();
    }
    decide(text, name != NULL ? name : "a/b");
    free(text);
    return 0;
}
